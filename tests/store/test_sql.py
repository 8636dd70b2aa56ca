from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from tilth.errors import Conflict, DiskFull, SetupError
from tilth.home import Home
from tilth.records import Artifact, Run, State, StepRun
from tilth.store import Put, open_store, walk
from tilth.store.sql import SqlStore, _table as sql_of
from tilth.store.sqlite import SqliteDatabase
from tilth.testing.store import StoreContract

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys
from pathlib import Path
from tilth.home import Home
from tilth.records import Artifact, Run, StepRun
from tilth.store import Put, open_store

store = open_store(Home(Path(sys.argv[1])))
print("open", flush=True)
for n in range(int(sys.argv[2])):
    run = store.start_run(Run(pipeline="p", steps=5))
    steps = [Put(StepRun(run=run.id, step=str(k))) for k in range(5)]
    store.write([*steps, Put(Artifact(name="model", digest=str(n), run=run.id))], holding=run)
    print(run.id, flush=True)
"""


def writer(home: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home), str(count)], stdout=subprocess.PIPE, text=True
    )


class TestSqlStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        numbers = itertools.count()
        return lambda: SqlStore(SqliteDatabase(tmp_path / f"{next(numbers)}.db"))


@pytest.fixture
def store(home):
    with open_store(Home(home)) as store:
        yield store


def test_ten_processes_that_make_and_write_one_database_lose_nothing(home):
    writers = [writer(home, 10) for _ in range(10)]
    assert [each.wait() for each in writers] == [0] * 10
    for each in writers:
        each.stdout.close()
    with open_store(Home(home)) as store:
        assert sorted(run.number for run in walk(store, Run)) == list(range(1, 101))
        assert sorted(each.version for each in walk(store, Artifact)) == list(range(1, 101))
        assert len(list(walk(store, StepRun))) == 500


@pytest.mark.faults
def test_a_process_killed_in_the_middle_of_writing_leaves_whole_writes(home):
    told: list[str] = []
    for _ in range(6):
        with writer(home, 100_000) as process:
            assert process.stdout.readline() == "open\n"
            time.sleep(random.uniform(0, 0.08))
            process.send_signal(signal.SIGKILL)
            told += [
                line.strip()
                for line in process.stdout.read().splitlines(keepends=True)
                if line.endswith("\n")
            ]
    with open_store(Home(home)) as store:
        runs = {run.id for run in walk(store, Run)}
        assert set(told) <= runs
        for run in runs:
            steps, artifacts = store.find(StepRun, run=run), store.find(Artifact, run=run)
            assert (len(steps), len(artifacts)) in {(5, 1)} | ({(0, 0)} if run not in told else set())
    with sqlite3.connect(Home(home).database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.faults
def test_a_process_killed_while_it_makes_the_database_is_no_hindrance(tmp_path):
    for n in range(8):
        with writer(tmp_path / str(n), 1) as process:
            time.sleep(0.05 + n * 0.02)  # around the time it takes to import and to make the tables
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
        with open_store(Home(tmp_path / str(n))) as store:
            assert store.start_run(Run(pipeline="p")).number in (1, 2)


@pytest.mark.faults
def test_a_full_disk_is_said_to_be_full_and_what_was_kept_stays(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], check=False).returncode:
        pytest.skip("needs to mount a small file system")
    try:
        with open_store(Home(small)) as store:
            kept = store.start_run(Run(pipeline="p"))

            def fill() -> None:
                for n in range(1000):
                    store.write([Put(StepRun(run=kept.id, step="x" * 20_000, index=n))])

            with pytest.raises(DiskFull, match="no space left for the database") as caught:
                fill()
            assert "TILTH_HOME" in caught.value.mend
            written = len(list(walk(store, StepRun)))
            assert store.get(Run, kept.id) == kept
        with open_store(Home(small)) as store:
            assert len(list(walk(store, StepRun))) == written > 0
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_reader_does_not_wait_for_a_writer(store):
    run = store.start_run(Run(pipeline="p"))
    other = sqlite3.connect(store.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        # One that waited would be told, after a minute, that the database is held.
        with open_store(Home(store.database.path.parent)) as another:
            assert another.get(Run, run.id) == run
    finally:
        other.close()


def test_a_database_that_nobody_lets_go_of_is_told(store, monkeypatch):
    monkeypatch.setattr("tilth.store.sqlite.PATIENCE_S", 0.05)
    other = sqlite3.connect(store.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(SetupError, match="held by another process"):
            store.start_run(Run(pipeline="p"))
    finally:
        other.close()
    assert store.start_run(Run(pipeline="p")).number == 1


def test_writing_goes_on_after_a_refused_write(store):
    run = store.start_run(Run(pipeline="p"))
    with pytest.raises(Conflict):
        store.add(run)
    assert store.start_run(Run(pipeline="p")).number == 2


def test_a_field_of_a_later_version_is_left_out(store):
    run = store.start_run(Run(pipeline="p"))
    with sqlite3.connect(store.database.path) as connection:
        connection.execute("UPDATE run SET body = json_set(body, '$.moon_phase', 'full')")
    connection.close()
    assert store.get(Run, run.id) == run


def test_a_value_of_a_later_version_is_told_and_harms_no_other(store):
    run, other = store.start_run(Run(pipeline="p")), store.start_run(Run(pipeline="p"))
    with sqlite3.connect(store.database.path) as connection:
        connection.execute(
            "UPDATE run SET body = json_set(body, '$.state', 'paused') WHERE id = ?", (run.id,)
        )
    connection.close()
    with pytest.raises(SetupError, match="cannot be read") as caught:
        store.get(Run, run.id)
    assert "paused" in caught.value.why
    assert store.get(Run, other.id) == other


def test_lists_are_read_through_the_index_that_leaves_fewest(store):
    plans = [
        (StepRun, "-created_at", {"cache_key": "k", "state": ["completed", "cached"]}, "cache_key_created_at_id"),
        (StepRun, "created_at", {"run": "r", "index": None}, "run_index_created_at_id"),
        (StepRun, "-created_at", {"run": "r", "state": "failed"}, "run_created_at_id"),
        (StepRun, "-created_at", {"pipeline": "p", "step": "s"}, "pipeline_step_created_at_id"),
        (StepRun, "-created_at", {"pipeline": "p", "step": "s", "state": "failed"}, "pipeline_step_created_at_id"),
        (StepRun, "-created_at", {"state": "running"}, "state_created_at_id"),
        (StepRun, "-created_at", {}, "created_at_id"),
        (Run, "-created_at", {}, "created_at_id_state_started_at_finished_at"),
        (Run, "-created_at", {"pipeline": "p"}, "pipeline_created_at_id_state_started_at_finished_at"),
        (Run, "-created_at", {"state": ["queued", "running"]}, "state_created_at_id"),
        (Run, "-number", {"pipeline": "p"}, "pipeline_number"),
        (Run, "-number", {}, "number_created_at_id"),
        (Run, "name", {}, "name"),
        (Artifact, "-version", {"name": "model"}, "name_version"),
    ]  # fmt: skip
    with contextlib.closing(sqlite3.connect(store.database.path)) as connection:
        for kind, order, where, index in plans:
            sql, values = sql_of(kind).find("", order, 100, None, "", where)
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            looks = [line for line in plan if f" {kind.kind} " in line]
            assert looks, (where, plan)
            assert all(f" INDEX {kind.kind}_by_{index} " in line for line in looks), (where, order, plan)
            # Where several values are asked for, each part is in order already, and few of each are sorted together.
            assert len(looks) > 1 or "USE TEMP B-TREE FOR ORDER BY" not in plan, (where, order, plan)


def test_a_big_write_is_one_transaction(store):
    records = [StepRun(run="r", step="s", index=n, state=State.COMPLETED) for n in range(5000)]
    store.write([Put(record) for record in records])
    store.write([Put(msgspec.structs.replace(record, state=State.CACHED)) for record in records])
    assert sum(1 for _ in walk(store, StepRun, state="cached")) == 5000


def test_a_store_opened_here_is_seen_from_another_process(store):
    run = store.start_run(Run(pipeline="p"))
    with writer(store.database.path.parent, 1) as process:
        assert process.wait() == 0
        process.stdout.read()
    assert {each.name for each in store.find(Run)} == {run.name, "p-2"}
    assert os.environ["TILTH_HOME"] == str(store.database.path.parent)


def test_a_record_that_cannot_be_read_is_told_in_good_english(store: SqlStore) -> None:
    (artifact,) = store.add(Artifact(name="model", digest="1"))
    (step,) = store.add(StepRun(run="1", step="train"))
    with sqlite3.connect(store.database.path) as connection:
        connection.execute("UPDATE artifact SET body = '{}'")
        connection.execute("UPDATE step_run SET body = '{}'")
    connection.close()
    with pytest.raises(SetupError, match=r"^an artifact in the database cannot be read"):
        store.get(Artifact, artifact.id)
    with pytest.raises(SetupError, match=r"^a step run in the database cannot be read"):
        store.get(StepRun, step.id)
