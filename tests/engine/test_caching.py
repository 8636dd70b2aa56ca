"""What is reused, what is not, and what a person is told about it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tilth.materializers.artifacts import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.play import Project

LEARNING = """
    from tilth import pipeline, step

    from helper import scaled


    @step
    def load(count: int) -> list[int]:
        note("load")
        return list(range(count))


    @step
    def train(data: list[int], rate: float = 0.5) -> float:
        note("train")
        return scaled(sum(data), rate)


    @step
    def report(score: float) -> str:
        note("report")
        return f"score {score:.1f}"


    def note(text):
        with open("calls", "a") as file:
            file.write(text + "\\n")


    @pipeline
    def learning(count: int = 4, rate: float = 0.5):
        report(train(load(count), rate))
"""
HELPER = """
    def scaled(value, rate):
        return value * rate
"""
ALL_CACHED = {"load": "cached", "train": "cached", "report": "cached"}


@pytest.fixture
def learning(project: Project) -> Project:
    """A pipeline that ran once."""
    project.write(LEARNING)
    project.write(HELPER, "helper.py")
    (project.folder / ".tilthignore").write_text("calls\n")
    project.run()
    (project.folder / "calls").unlink()
    return project


def test_a_second_run_calls_nothing_and_gives_the_same(learning: Project) -> None:
    before = learning.digests()
    played = learning.run()
    assert played.states == ALL_CACHED
    assert learning.calls() == []
    assert learning.digests() == before
    assert played.steps["train"].cache_reason == "same code, inputs and environment"
    first = next(
        each
        for each in learning.played(learning.records(type(played.run))[0]).records
        if each.step == "train"
    )
    assert played.steps["train"].reused_from == first.id


def test_a_parameter_runs_what_depends_on_it_and_is_named(learning: Project) -> None:
    played = learning.run(rate=2.0)
    assert played.states == {"load": "cached", "train": "completed", "report": "completed"}
    assert played.steps["train"].cache_reason == "input `rate` changed"
    assert played.steps["report"].cache_reason == "input `score` changed"


def test_a_step_whose_input_turns_out_equal_is_reused(learning: Project) -> None:
    learning.run(count=5)
    played = learning.run(count=4, rate=0.5)
    assert played.states == ALL_CACHED


def test_a_file_that_no_step_imports_changes_nothing(learning: Project) -> None:
    learning.write("x = 1\n", "unrelated.py")
    learning.write("text", "README.md")
    os.utime(learning.folder / "helper.py")
    assert learning.run().states == ALL_CACHED


def test_a_changed_helper_module_runs_its_steps_and_is_named(learning: Project) -> None:
    learning.write(HELPER.replace("value * rate", "value * rate + 1"), "helper.py")
    planned = learning.plan()
    assert planned["load"].cached is False
    assert planned["load"].reason == "source `helper` changed"
    played = learning.run()
    assert {name: each.cache_reason for name, each in played.steps.items()} == {
        "load": "source `helper` changed",
        "train": "source `helper` changed",
        "report": "source `helper` changed, input `score` changed",
    }


def test_a_plan_decides_as_the_run_does(learning: Project) -> None:
    planned = learning.plan(rate=2.0)
    assert [(each.cached, each.reason) for each in planned.values()] == [
        (True, "same code, inputs and environment"),
        (False, "input `rate` changed"),
        (None, "it waits for `train`"),
    ]
    assert learning.calls() == []


def test_caching_is_off_for_a_run(learning: Project) -> None:
    played = learning.run(cache=False)
    assert learning.calls() == ["load", "train", "report"]
    assert played.steps["load"].cache_reason == "caching is off for this run"
    assert learning.run().states == ALL_CACHED


def test_caching_is_off_for_a_step(learning: Project) -> None:
    source = LEARNING.replace("@step\n    def train", "@step(cache=False)\n    def train")
    learning.write(source)
    learning.run()
    (learning.folder / "calls").unlink()
    played = learning.run()
    assert learning.calls() == ["train"]
    assert played.steps["train"].cache_reason == "caching is off for this step"
    assert played.states == {**ALL_CACHED, "train": "completed"}


def test_caching_is_off_for_a_pipeline(learning: Project) -> None:
    learning.write(LEARNING.replace("@pipeline\n", "@pipeline(cache=False)\n"))
    learning.run()
    learning.run()
    assert learning.calls() == ["load", "train", "report"] * 2


def test_a_failed_step_is_not_reused(project: Project) -> None:
    project.write(
        """
        from pathlib import Path
        from tilth import pipeline, step

        @step
        def fragile() -> int:
            if not Path("mended").exists():
                raise ValueError("broken")
            return 1

        @pipeline
        def fragile_one():
            fragile()
        """
    )
    assert project.run().run.state.value == "failed"
    (project.folder / "mended").touch()
    assert project.run().states == {"fragile": "completed"}


DYNAMIC = """
    import importlib

    from tilth import pipeline, step


    @step
    def dynamic() -> int:
        return importlib.import_module("plug" + "in").VALUE


    @step
    def other() -> int:
        return 1


    @pipeline
    def dynamically():
        dynamic()
"""


def test_a_module_that_imports_by_computed_names_depends_on_every_file(project: Project) -> None:
    project.write(DYNAMIC)
    project.write("VALUE = 1\n", "plugin.py")
    project.run()
    assert project.load("dynamic") == 1
    assert project.run().states == {"dynamic": "cached"}
    # Of another size: Python takes bytecode as current by the size and the whole second of its source.
    project.write("VALUE = 2222\n", "plugin.py")
    played = project.run()
    assert played.steps["dynamic"].cache_reason == "the project's files changed"
    assert project.load("dynamic") == 2222


def flip(path: Path) -> None:
    """Change one bit of a file that is kept read-only."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def first_file(folder: Path) -> Path:
    return folder / next(iter(sorted(read_manifest(folder)["files"])))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: flip(first_file(folder)), id="a bit flipped"),
        pytest.param(lambda folder: (folder.chmod(0o755), first_file(folder).unlink()), id="a file gone"),
        pytest.param(lambda folder: flip(folder / "artifact.json"), id="a bit of the manifest flipped"),
        pytest.param(
            lambda folder: (
                folder.chmod(0o755),
                (folder / "artifact.json").chmod(0o644),
                os.truncate(folder / "artifact.json", 0),
            ),
            id="the manifest empty",
        ),
    ],
)
def test_a_damaged_artifact_is_found_said_put_aside_and_made_again(
    learning: Project, damage: Callable[[Path], None]
) -> None:
    digest = learning.digests()["train[None].output"]
    with learning.at_home():
        from tilth.artifact_stores import LocalArtifactStore

        folder = LocalArtifactStore(learning.home.artifacts).path(digest)
    damage(folder)
    played = learning.run()
    assert learning.calls() == ["train"]
    assert played.states == {"load": "cached", "train": "completed", "report": "cached"}
    assert any("stored output `output` of step `train` is damaged" in each for each in played.notices)
    assert learning.load("train") == 3.0
    assert learning.run().states == ALL_CACHED


def test_an_artifact_that_is_gone_is_made_again(learning: Project) -> None:
    digest = learning.digests()["load[None].output"]
    from tilth.artifact_stores import LocalArtifactStore

    folder = LocalArtifactStore(learning.home.artifacts).path(digest)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)
    assert learning.run().states == {"load": "completed", "train": "cached", "report": "cached"}
    assert learning.load("load") == [0, 1, 2, 3]


def test_the_database_may_go_and_everything_is_made_again(learning: Project) -> None:
    for path in learning.home.root.glob("tilth.db*"):
        path.unlink()
    played = learning.run()
    assert set(played.states.values()) == {"completed"}
    assert played.steps["train"].cache_reason == "it has not run before"
