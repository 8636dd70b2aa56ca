"""A project with an index of small wheels, whose pipeline was run twice: the second time in newer packages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.index import build_sdist, build_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PIPELINE = """
from tilth import Environment, pipeline, step

training = Environment("training", requirements=[{requirements}], variables={{"THREADS": "{threads}"}})
scoring = Environment("scoring", requirements=["gamma-ray"])


@step
def load() -> int:
    return 1


@step(environment=training)
def train(frame: int) -> int:
    return frame


@step(environment=scoring)
def score(model: int) -> int:
    return model


@pipeline
def churn():
    score(train(load()))
"""
OLD = PIPELINE.format(requirements='"alpha[more]==1.0", "from-source"', threads="1")
NEW = PIPELINE.format(requirements='"alpha==2.0", "from-source"', threads="4")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index: a folder of wheels and one sdist. No test changes it."""
    folder = tmp_path_factory.mktemp("packages")
    mit = ["License-Expression: MIT"]
    build_wheel(
        folder,
        "alpha",
        "1.0",
        requires=["beta>=1"],
        extras={"more": ["delta"]},
        headers=mit,
    )
    build_wheel(folder, "alpha", "2.0", requires=["beta>=2", "none; python_version < '3'"], headers=mit)
    build_wheel(folder, "beta", "1.0", headers=["License: BSD"])
    build_wheel(folder, "beta", "2.0", headers=["Classifier: License :: OSI Approved :: BSD License"])
    build_wheel(folder, "gamma-ray", "1.0")
    # They require each other.
    build_wheel(folder, "delta", "1.0", requires=["epsilon"])
    build_wheel(folder, "epsilon", "1.0", requires=["delta"])
    build_sdist(folder, "from-source", "1.0", requires=["beta"])
    return folder


@dataclass(frozen=True)
class Project:
    """A folder with a pipeline, and the command line called in it."""

    root: Path
    packages: Path
    tilth: Callable[..., Any]

    def write(self, text: str) -> None:
        (self.root / "pipeline.py").write_text(text)

    def __call__(self, *arguments: str | Path, **options: Any) -> Any:
        return self.tilth("env", *arguments, **options)


@pytest.fixture
def project(tmp_path: Path, packages: Path, tilth: Any, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that was never run."""
    settings = tmp_path / "elsewhere" / "uv.toml"
    settings.parent.mkdir()
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(packages))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    found = Project(tmp_path, packages, tilth)
    found.write(OLD)
    return found


@pytest.fixture
def past(project: Project) -> Project:
    """The project after runs `churn-1` and `churn-2`."""
    project.tilth("run", "pipeline.py")
    project.write(NEW)
    project.tilth("run", "pipeline.py")
    return project
