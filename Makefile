# Everything there is to do here. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE
export NO_MKDOCS_2_WARNING = 1
BIN := .venv/bin

.PHONY: help setup quickstart dashboard pictures test services check format docs serve-docs benchmark lock clean

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## make .venv with everything in it; quick when it is there
	@scripts/setup

quickstart: setup  ## run a real training pipeline in two environments
	@export TILTH_HOME="$${TILTH_HOME:-$(CURDIR)/.cache/tilth}"; \
	$(BIN)/tilth run examples/quickstart/pipeline.py && \
	$(BIN)/tilth artifacts get --force quickstart/report/report .cache/quickstart.html

dashboard: setup  ## build the dashboard that the server serves; needs Node
	@scripts/dashboard

test: setup  ## run the tests; ARGS="-k name" goes to pytest
	@scripts/test $(ARGS)

services: setup  ## start what tests need: Docker, registries, object stores; ARGS="stop" ends it
	@scripts/services $(or $(ARGS),start)

check: setup  ## lint, formatting, types, import contracts, docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet
	scripts/dashboard check

format: setup  ## format, and mend what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	@if [ -d dashboard/node_modules ]; then cd dashboard && npm run --silent format; fi

docs: setup  ## build the docs into site/
	$(BIN)/mkdocs build --strict

serve-docs: setup  ## show the docs at a local address while they are edited
	$(BIN)/mkdocs serve

pictures: setup dashboard  ## take the pictures of the docs anew; needs Chromium
	$(BIN)/python scripts/pictures $(ARGS)

benchmark: setup  ## measure against other frameworks; ARGS="--quick"
	$(BIN)/python benchmarks/run.py $(ARGS)
	$(BIN)/python benchmarks/environments.py $(ARGS)
	@# It needs an engine and a registry.
	scripts/services status docker registry && $(BIN)/python benchmarks/images.py $(ARGS)
	scripts/services start postgres && $(BIN)/python benchmarks/server.py $(ARGS)
	scripts/dashboard && scripts/services start browser && $(BIN)/python benchmarks/dashboard.py $(ARGS)

lock: setup  ## resolve the requirements again; ARGS="--upgrade" for newer ones
	@scripts/lock $(ARGS)
	@scripts/setup

clean:  ## remove what was made here: .venv, caches, site
	@# Realised environments are read-only, folders included.
	@if [ -d .cache ]; then chmod -R u+w .cache; fi
	rm -rf dashboard/node_modules src/tilth/server/web
	rm -rf .venv .cache site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
