"""Calling a pipeline in Python, and the runs it makes."""

from __future__ import annotations

import asyncio
import errno
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

import tilth
from tilth.client import submit
from tilth.errors import DefinitionError, DiskFull, RunFailed, UnknownOption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLOW = """
from dataclasses import dataclass
from typing import Annotated
from tilth import pipeline, step, unmapped

@dataclass
class Point:
    x: int

@step
def load(count: int) -> tuple[Annotated[list, "values"], Annotated[int, "count"]]:
    return list(range(count)), count

@step
def move(value: int, by: Point) -> Point:
    return Point(value + by.x)

@step
async def total(points, first: Point) -> int:
    if first.x > 100:
        raise ValueError("too far")
    return sum(each.x for each in points) + first.x

@step
def tell() -> None: ...

@pipeline
def flow(count: int = 3, by: Point = Point(10)):
    values, number = load(count)
    moved = move.map(values, by=unmapped(by))
    total(moved, by, after=tell())

@pipeline
def empty():
    total(move.map([], by=unmapped(Point(1))), Point(0))

@pipeline
def uneven():
    values, number = load(3)
    plus.map(values, [1, 2])

@step
def plus(a, b): return a + b
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A project's module, imported by this process."""
    (tmp_path / "tilth.toml").touch()
    (tmp_path / "submitted.py").write_text(FLOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TILTH_PROGRESS", "none")
    yield importlib.import_module("submitted")
    del sys.modules["submitted"]


def test_a_call_runs_the_pipeline_and_gives_its_run(module: Any) -> None:
    run = module.flow(4, by=module.Point(10))
    assert run.name == "flow-1"
    assert run.steps["total"].outputs["output"].load() == 10 + 11 + 12 + 13 + 10
    assert run.steps["load"].outputs["count"].load() == 4
    assert run.steps["load"].outputs["values"].load() == [0, 1, 2, 3]
    assert tilth.Client().get_run("flow-1").parameters["count"] == 4


def test_nothing_to_map_over_gives_no_items(module: Any) -> None:
    assert module.empty().steps["total"].outputs["output"].load() == 0


def test_a_run_that_fails_raises_with_the_step_and_the_cause(module: Any) -> None:
    with pytest.raises(RunFailed, match="run `flow-1` failed in step `total`: ValueError: too far"):
        module.flow(by=module.Point(101))
    with pytest.raises(RunFailed, match="`plus` is mapped over inputs of different lengths"):
        module.uneven()


def test_a_pipeline_runs_where_an_event_loop_runs_already(module: Any) -> None:
    async def notebook() -> Any:
        return module.flow()

    assert asyncio.run(notebook()).steps["total"].outputs["output"].load() == 43


def test_a_plan_and_a_run_agree(module: Any, tmp_path: Path) -> None:
    target = str(tmp_path / "submitted.py") + ":flow"
    before = submit.plan_file(target, {}, submit.RunOptions())
    decided = {"load": False, "tell": False, "move": None, "total": None}
    assert {each.id: each.cached for each in before.steps} == decided
    module.flow()
    after = submit.plan_file(target, {"count": "3"}, submit.RunOptions())
    assert all(each.cached for each in after.steps)
    changed = submit.plan_file(target, {"by": '{"x": 5}'}, submit.RunOptions())
    assert {each.id: each.cached for each in changed.steps} == {
        "load": True,
        "tell": True,
        "move": False,
        "total": None,
    }
    off = submit.plan_file(target, {}, submit.RunOptions(cache=False))
    assert not any(each.cached for each in off.steps)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (submit.RunOptions(failure_mode="stop"), "`stop` is no failure mode"),
        (submit.RunOptions(workers=0), "`workers` is 0"),
    ],
)
def test_a_wrong_option_of_a_run_is_refused(
    module: Any, tmp_path: Path, options: submit.RunOptions, told: str
) -> None:
    heard: list[Any] = []
    with pytest.raises(UnknownOption, match=told):
        submit.run_file(str(tmp_path / "submitted.py") + ":flow", {}, options, heard.append)


@pytest.mark.parametrize(
    ("last", "refused"),
    [
        ("flow()", True),
        ("for _ in range(1):\n    flow()", True),
        ("def main():\n    flow()\nmain()", True),
        ("if True:\n    flow()", True),
        ("if __name__ == '__main__':\n    flow()", False),
        ("def main():\n    flow()\nif '__main__' == __name__:\n    main()", False),
        ("if __name__ == '__main__' and True:\n    flow()", False),
    ],
)
def test_the_program_s_own_call_stands_under_the_guard(
    last: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        f"from tilth import pipeline, step\n@step\ndef f(): ...\n@pipeline\ndef flow(): f()\n{last}\n"
    )
    reached: list[Any] = []
    monkeypatch.setattr(submit, "compile_call", lambda *given, **more: reached.append(given) or 1 / 0)
    scope = {"__name__": "__main__", "__file__": str(path)}
    with pytest.raises(DefinitionError if refused else ZeroDivisionError):
        exec(compile(path.read_text(), str(path), "exec"), scope)
    assert bool(reached) != refused


@pytest.mark.parametrize("there", [False, True])
def test_planning_makes_no_home(tilth: Any, tmp_path: Path, home: Path, *, there: bool) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    if there:
        home.mkdir()
    assert "it has not run before" in tilth("plan", "flow.py:flow").stdout
    assert home.exists() == there
    assert not list(home.glob("tilth.db*"))


def test_a_disk_that_is_full_before_a_run_begins_is_told_as_such(
    module: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, value: object) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(submit, "write_json", fail)
    with pytest.raises(DiskFull, match="no space left to begin a run"):
        module.flow()
    assert list((home / "runs").iterdir()) == []
    assert list(tilth.Client().find_runs()) == []
