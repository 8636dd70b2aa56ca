"""Looking after runs that exist."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tilth.client import runs
from tilth.engine.lease import Lease
from tilth.engine.logs import LogWriter, log_name
from tilth.errors import NotFound
from tilth.home import Home
from tilth.records import Run, State
from tilth.runtime.folder import write_json
from tilth.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(home: Path) -> Path:
    """The folder of a run of two steps that has begun."""
    with open_store(Home(home)) as store:
        run = store.start_run(Run(pipeline="flow"))
    folder = Home(home).runs / run.id
    folder.mkdir(parents=True)
    write_json(folder / "pipeline.json", {"nodes": [{"id": "load"}, {"id": "train.2"}]})
    return folder


def log(folder: Path, step: str, *lines: str, index: int | None = None, attempt: int = 1) -> None:
    writer = LogWriter(folder / "logs" / log_name(step, index, attempt), lambda stream, text: None)
    for line in lines:
        writer.write("stdout", f"{line}\n".encode())
    writer.close()


def test_a_run_whose_folder_is_gone_can_be_cancelled(folder: Path) -> None:
    shutil.rmtree(folder)
    assert runs.cancel("flow-1").state is State.CANCELLED


@pytest.mark.parametrize("read", [runs.logs, runs.follow_logs])
def test_logs_of_an_unknown_step_are_refused(folder: Path, read: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match="no step `lood`"):
        list(read("flow-1", "lood"))  # type: ignore[call-overload]


@pytest.mark.parametrize("read", [runs.logs, runs.follow_logs])
def test_many_logs_cost_one_look_at_the_pipeline(
    folder: Path, read: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(20):
        log(folder, "load", f"item {index}", index=index)
    log(folder, "train.2", "training")
    looks = []
    real = runs.read_json
    monkeypatch.setattr(runs, "read_json", lambda path: looks.append(path) or real(path))
    lines = list(read("flow-1"))  # type: ignore[call-overload]
    assert len(looks) == 1
    assert {(each.step, each.index) for each in lines} == {("train.2", None)} | {
        ("load", index) for index in range(20)
    }


def test_following_reads_only_logs_that_have_grown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(folder, "load", "one")
    log(folder, "train.2", "two")
    reads: list[str] = []
    real = runs.read_log
    monkeypatch.setattr(runs, "read_log", lambda path, *of: reads.append(path.name) or real(path, *of))
    with Lease(folder, "flow-1") as lease:
        lines = runs.follow_logs("flow-1")
        assert [next(lines).text, next(lines).text] == ["one", "two"]
        log(folder, "load", "three")
        assert next(lines).text == "three"
        lease.__exit__(None, None, None)
        assert list(lines) == []
        lease.__enter__()
    assert reads == ["load.1.log", "train.2.1.log", "load.1.log"]
