"""`python -m tilth.cli` is `tilth`, for where only an interpreter is at hand."""

from __future__ import annotations

from tilth.cli.main import main

main()
