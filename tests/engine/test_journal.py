"""Writing behind the driver: in order, in groups, and nothing after a failure."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tilth.artifact_stores import LocalArtifactStore
from tilth.engine.journal import Journal
from tilth.errors import Conflict, DiskFull
from tilth.home import Home
from tilth.records import Run, StepRun
from tilth.store import Put, open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tilth.store import Change
    from tilth.store.sql import SqlStore


class Counting:
    """A store that counts its writes, waits before each or refuses them."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.writes = 0
        self.may_write = threading.Event()
        self.may_write.set()
        self.error: Exception | None = None
        self.refusals = 1 << 30  # how often `error` is raised

    def write(self, changes: Sequence[Change], *, holding: Run | None = None) -> Any:
        self.may_write.wait(180)
        self.writes += 1
        if self.error and self.writes <= self.refusals:
            raise self.error
        return self.store.write(changes, holding=holding)


@pytest.fixture
def store(home: Path) -> Iterator[Counting]:
    with contextlib.closing(open_store(Home(home))) as opened:
        yield Counting(opened)


@pytest.fixture
def run(store: Counting) -> Run:
    return store.store.start_run(Run(pipeline="p"))


def open_journal(
    store: Any, run: Run, home: Path, failed: Callable[[BaseException], None] = lambda _: None
) -> Journal:
    return Journal(store, LocalArtifactStore(Home(home).artifacts), run, failed=failed)


def step(run: Run, name: str) -> Put:
    return Put(StepRun(run=run.id, step=name))


def test_what_comes_within_a_moment_is_written_together_and_in_order(
    store: Counting, run: Run, home: Path
) -> None:
    journal = open_journal(store, run, home)
    store.may_write.clear()
    names = [f"s{number:03}" for number in range(200)]
    for name in names:
        journal.add(step(run, name))
    store.may_write.set()
    journal.close()
    assert [each.step for each in walk(store.store, StepRun, order="created_at", run=run.id)] == names
    assert store.writes <= 3


def test_flush_returns_when_all_before_it_is_written(store: Counting, run: Run, home: Path) -> None:
    journal = open_journal(store, run, home)
    for number in range(20):
        journal.add(step(run, f"s{number}"))
        journal.flush()
        assert len(list(walk(store.store, StepRun, run=run.id))) == number + 1
    journal.flush()
    journal.close()


def test_flush_may_be_called_from_many_threads(store: Counting, run: Run, home: Path) -> None:
    journal = open_journal(store, run, home)
    missing: list[int] = []

    def work(number: int) -> None:
        for each in range(10):
            journal.add(step(run, f"{number}-{each}"))
            journal.flush()
            if not list(walk(store.store, StepRun, run=run.id, step=f"{number}-{each}")):
                missing.append(number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    journal.close()
    assert missing == []


def test_a_folder_goes_when_its_records_are_written(
    store: Counting, run: Run, home: Path, tmp_path: Path
) -> None:
    journal = open_journal(store, run, home)
    store.may_write.clear()
    (tmp_path / "attempt").mkdir()
    journal.add(step(run, "s"), folder=tmp_path / "attempt")
    time.sleep(0.1)
    assert (tmp_path / "attempt").exists()
    store.may_write.set()
    journal.close()
    assert not (tmp_path / "attempt").exists()


def test_a_failure_is_told_once_raised_on_close_and_ends_all_waiting(
    store: Counting, run: Run, home: Path, tmp_path: Path
) -> None:
    told: list[BaseException] = []
    journal = open_journal(store, run, home, told.append)
    store.error = Conflict("the run was taken over")
    (tmp_path / "attempt").mkdir()
    journal.add(step(run, "s"), folder=tmp_path / "attempt")
    journal.flush()
    journal.add(step(run, "t"))
    journal.flush()
    with pytest.raises(Conflict):
        journal.close()
    assert told == [store.error]
    assert store.writes == 1
    assert (tmp_path / "attempt").exists()


def test_a_full_disk_is_tried_again_for_a_moment(store: Counting, run: Run, home: Path) -> None:
    store.error, store.refusals = DiskFull("no space left"), 2
    told: list[BaseException] = []
    journal = open_journal(store, run, home, told.append)
    journal.add(step(run, "s"))
    journal.close()
    assert told == []
    assert [each.step for each in walk(store.store, StepRun, run=run.id)] == ["s"]


def test_a_disk_that_stays_full_ends_the_journal(store: Counting, run: Run, home: Path) -> None:
    store.error = DiskFull("no space left")
    journal = open_journal(store, run, home)
    journal.add(step(run, "s"))
    with pytest.raises(DiskFull):
        journal.close()
    assert store.writes == 4


def test_a_driver_that_was_taken_over_writes_nothing_more(store: Counting, run: Run, home: Path) -> None:
    import msgspec

    store.store.replace(run, msgspec.structs.replace(run, fence=run.fence + 1))
    journal = open_journal(store, run, home)
    journal.add(step(run, "late"))
    with pytest.raises(Conflict):
        journal.close()
    assert list(walk(store.store, StepRun, run=run.id)) == []
