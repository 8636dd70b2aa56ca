"""What is told of environments that cannot be had."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.index import build_wheel, write_project

from tilth.home import Home
from tilth.records import Environment, Lock, State, StepRun
from tilth.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

WANTED = """
from tilth import Environment, pipeline, step

wanted = Environment("wanted", {options})


@step(environment=wanted)
def train(alpha: int) -> int:
    return alpha


@step
def load() -> int:
    return 1


@pipeline
def learn():
    for alpha in range({count}):
        train(load(), after=()) if alpha else train(alpha)
"""


@pytest.mark.parametrize(
    "options", ['requirements=["no-such-package==1"]', 'requirements=["tilth"], python="3.99"']
)
def test_what_cannot_be_had_names_the_environment_and_its_steps(
    tilth: Any, tmp_path: Path, options: str
) -> None:
    (tmp_path / "pipeline.py").write_text(WANTED.format(options=options, count=1))
    said = tilth("run", "pipeline.py", "--offline", code=1).stderr
    assert "environment `wanted` is that of step `train`\n" in said
    (tmp_path / "pipeline.py").write_text(WANTED.format(options=options, count=15))
    said = tilth("run", "pipeline.py", "--offline", code=1).stderr
    assert "environment `wanted` is that of steps `train`, `train_2`, `train_3`, …\n" in said


USES = """
from tilth import Environment, pipeline, step

local = Environment("local", requirements=["./libs/features"])


@step(environment=local)
def train() -> int:
    import features

    return features.X


@pipeline
def learn():
    train()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline whose step uses a package of the project, built with one of the index."""
    links = tmp_path / "links"
    build_wheel(links, "helper", "1.0")
    (tmp_path / "settings.toml").write_text(f"no-index = true\nfind-links = [{json.dumps(str(links))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "settings.toml"))
    project = tmp_path / "project"
    write_project(
        project / "libs/features",
        "features",
        "1.0",
        files={"features.py": "X = 1\n"},
        build_requires=["helper"],
    )
    (project / "pipeline.py").write_text(USES)
    (project / "tilth.toml").write_text("")
    return project


def test_a_step_runs_again_when_a_package_of_the_project_has_changed(
    tilth: Any, project: Path, home: Path
) -> None:
    def run() -> StepRun:
        made = tilth("run", "pipeline.py", "--json", cwd=project).json
        with closing(open_store(Home(home))) as store:
            (step,) = store.find(StepRun, run=made["id"]).items
        return step

    first, second = run(), run()
    assert (first.state, second.state) == (State.COMPLETED, State.CACHED)
    (project / "libs/features/content/features.py").write_text("X = 2\n")
    third = run()
    assert third.state == State.COMPLETED
    assert third.environment != first.environment
    assert third.outputs != first.outputs


def test_a_run_records_what_its_packages_were_built_with(tilth: Any, project: Path, home: Path) -> None:
    tilth("run", "pipeline.py", cwd=project)
    with closing(open_store(Home(home))) as store:
        environments = {each.role: each for each in store.find(Environment).items}
        builder = environments["builder"]
        (built,) = environments["execution"].packages
        assert built.builder == builder.id
        assert (builder.name, [each.name for each in builder.packages]) == ("build-features", ["helper"])
        assert "helper" in store.get(Lock, builder.lock).text


def test_an_environment_whose_interpreter_was_removed_is_made_anew(
    tilth: Any, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "pipeline.py").write_text(WANTED.format(options="requirements=[]", count=1))
    tilth("run", "pipeline.py", "--offline")
    (python,) = home.glob("environments/*/bin/python")
    python.parent.chmod(0o755)
    python.unlink()
    python.symlink_to(tmp_path / "removed" / "python3")
    assert "locked, to be made" in tilth("plan", "pipeline.py").stdout
    again = tilth("run", "pipeline.py", "--offline", "--no-cache").stderr
    assert "environment wanted: " in again
    assert "made in" in again
    assert "completed" in again
    assert python.resolve().exists()
