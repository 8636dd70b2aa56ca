"""A project with a past: a run that completed and one that failed, and nothing to be had from any index any more."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import run_cli
from tests.index import build_wheel

from tilth.home import Home
from tilth.records import Run, StepRun
from tilth.store import open_store, walk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Ended

PIPELINE = """
    import os
    from pathlib import Path

    from tilth import Environment, log_metadata, pipeline, step, unmapped

    from helper import add

    own = Environment("own", requirements=["alpha==1.0"], variables={"GREETING": "hello"})


    @step
    def load() -> list:
        return [1, 2, 3]


    @step(environment=own)
    def train(data: list, factor: float) -> dict:
        import alpha

        print("training with alpha", alpha.VERSION)
        if factor > 1:
            raise ValueError(f"factor {factor} is too large for {data}")
        log_metadata({"rows": len(data)})
        return {
            "model": sum(data) * factor,
            "alpha": alpha.VERSION,
            "greeting": os.environ["GREETING"],
            "noise": Path("noise.txt").read_text() if Path("noise.txt").exists() else "",
        }


    @step
    def score(x: int, scale: float, model: dict) -> float:
        if x == 2 and scale > 1:
            raise ValueError("two")
        return add(x * scale, model["model"])


    @step
    def total(scores: list, parts: list) -> float:
        return sum(scores) + len(parts)


    @pipeline(failure_mode="continue")
    def flow(factor: float = 0.5, scale: float = 1.0):
        data = load()
        model = train(data, factor)
        scores = score.map(data, scale=unmapped(scale), model=unmapped(model))
        total(scores, [data, model])
"""


@dataclass
class Past:
    """A project and the home folder that remembers its runs."""

    folder: Path
    home: Home
    variables: Mapping[str, str]

    def tilth(self, *arguments: str | Path, code: int | None = 0, **more: str) -> Ended:
        """The real command line, in the project."""
        return run_cli(*arguments, cwd=self.folder, code=code, env={**self.variables, **more})

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(dedent(text), encoding="utf-8")

    def records(self, kind: type[Any], **where: Any) -> list[Any]:
        with contextlib.closing(open_store(self.home)) as store:
            return list(walk(store, kind, order="created_at", **where))

    def run(self, name: str) -> Run:
        return next(each for each in self.records(Run) if each.name == name)

    def step(self, run: str, step: str, index: int | None = None) -> StepRun:
        """The last attempt of a step."""
        found: list[StepRun] = self.records(StepRun, run=self.run(run).id, step=step, index=index)
        return found[-1]

    def venv(self, environment: str = "own") -> Path:
        digest = self.records(Run)[-1].environments[environment]
        return self.home.environments / digest.rpartition(":")[2]


def _make(folder: Path) -> Past:
    wheels, project = folder / "index", folder / "project"
    for version in ("1.0", "2.0"):
        build_wheel(wheels, "alpha", version, scripts={"alpha-says": "alpha:main"}, files={
            "alpha/__init__.py": f"VERSION = {version!r}\ndef main():\n    print('alpha', VERSION)\n"
        })  # fmt: skip
    settings = folder / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(wheels))}]\n")
    project.mkdir()
    (project / "tilth.toml").touch()
    past = Past(
        project,
        Home(folder / "home"),
        {
            "TILTH_HOME": str(folder / "home"),
            "TILTH_PYTHON": sys.executable,
            "UV_CONFIG_FILE": str(settings),
            "UV_CACHE_DIR": str(folder / "uv"),
        },
    )
    past.write("pipeline.py", PIPELINE)
    past.write("helper.py", "def add(one, other):\n    return one + other\n")
    past.tilth("run", "pipeline.py")
    past.tilth("run", "pipeline.py", "--param", "factor=2", code=1)
    # From here on a look at the index, or at what uv has cached, finds nothing.
    for wheel in wheels.iterdir():
        wheel.unlink()
    past.variables = {**past.variables, "UV_CACHE_DIR": str(folder / "empty"), "TILTH_OFFLINE": "1"}
    return past


@pytest.fixture(scope="session")
def shared_past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """`flow-1` completed, `flow-2` failed in `train`: for tests that change nothing of it."""
    return _make(tmp_path_factory.mktemp("past"))


@pytest.fixture
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """The same, for one test to change."""
    return _make(tmp_path_factory.mktemp("past"))
