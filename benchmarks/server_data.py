"""Fill a server's database with runs that never were. Writes rows of the store's own tables, past the store."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from tilth.records import (
    ClientEnvironment,
    Failure,
    Git,
    OutputRef,
    Record,
    Run,
    State,
    StepRun,
)
from tilth.store.sql import _table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tilth.store.postgres import PostgresDatabase
    from tilth.store.sqlite import SqliteDatabase

PIPELINES = 50
STEPS = 10  # of each run
LARGE, LARGE_STEPS = 20, 200  # the newest few runs have that many
_STATES = [State.COMPLETED] * 92 + [State.FAILED] * 6 + [State.CANCELLED] * 2
_END = datetime(2026, 11, 1, tzinfo=timezone.utc)
_CLIENT = ClientEnvironment(
    python="3.12.7",
    implementation="cpython",
    executable="/home/user/project/.venv/bin/python",
    platform="linux-x86_64 6.1",
    tilth="0.5.0",
    environment="sha256:" + "e" * 64,
    git=Git(commit="c" * 40, branch="main", dirty=False),
)


def runs(count: int) -> Iterator[Run]:
    """Runs in the order they were made, the oldest first."""
    chance = random.Random(5)
    for index in range(count):
        began = _END - timedelta(minutes=5 * (count - index))
        pipeline, number = f"pipeline-{index % PIPELINES:02d}", index // PIPELINES + 1
        state = chance.choice(_STATES)
        yield Run(
            id=_id(began, index),
            created_at=began,
            name=f"{pipeline}-{number}",
            pipeline=pipeline,
            number=number,
            state=state,
            parameters={"alpha": round(chance.random(), 6), "rows": 10_000, "name": "churn"},
            pipeline_digest=_digest(chance),
            bundle=_digest(chance),
            environments={"training": _digest(chance)},
            client=_CLIENT,
            steps=LARGE_STEPS if index >= count - LARGE else STEPS,
            started_at=began,
            finished_at=began + timedelta(seconds=90),
            failure=_failure(state),
            tags=("nightly",) if index % 7 == 0 else (),
            metadata={"accuracy": round(chance.random(), 6)},
        )


def step_runs(count: int) -> Iterator[StepRun]:
    """The steps of `runs(count)`, in their order."""
    chance = random.Random(6)
    key = 0
    for run in runs(count):
        for index in range(run.steps):
            key += 1
            began = run.created_at + timedelta(milliseconds=200 * index)
            state = run.state if index == run.steps - 1 else State.COMPLETED
            yield StepRun(
                id=_id(began, key),
                created_at=began,
                run=run.id,
                step=f"step_{index:03d}",
                pipeline=run.pipeline,
                state=state,
                cache_key=_digest(chance),
                cache_parts={"source": "a" * 64, "parameters": "b" * 64, "environment": "c" * 64},
                cache_reason="nothing was kept for it",
                environment="sha256:" + "e" * 64,
                inputs={"frame": {"$artifact": "sha256:" + "d" * 64, "from": "step_000"}, "alpha": 0.5},
                outputs={"output": OutputRef(digest=_digest(chance), artifact=_id(began, key))},
                started_at=began,
                finished_at=began + timedelta(seconds=9),
                seconds={"queued": 0.01, "loading": 0.2, "running": 8.5, "saving": 0.1},
                peak_memory=412_000_000,
                log_bytes=1200,
                failure=_failure(state),
            )


def fill_sqlite(database: SqliteDatabase, count: int) -> None:
    """Put the runs and their steps into the records of a home folder, which a server calls `default`."""

    def insert(cursor: Any) -> None:
        for records in (runs(count), step_runs(count)):
            for table, rows in _rows(records):
                cursor.executemany(table.insert, rows)
        cursor.executemany("INSERT INTO counter VALUES ('', ?, ?)", _counters(count))

    database.transact(insert)  # without ANALYZE: nobody's home folder has statistics


def fill_postgres(database: PostgresDatabase, count: int) -> None:
    """The same, in PostgreSQL."""

    def insert(marking: Any) -> None:
        cursor = marking._cursor
        for records in (runs(count), step_runs(count)):
            for table, rows in _rows(records):
                names = ", ".join(f'"{name}"' for name in ["space", *table.columns, "body"])
                with cursor.copy(f'COPY "{table.kind.kind}" ({names}) FROM STDIN') as copy:
                    for row in rows:
                        copy.write_row(row)
        cursor.executemany("INSERT INTO counter VALUES ('', %s, %s)", _counters(count))

    database.transact(insert)
    for kind in ("run", "step_run"):
        database.transact(lambda cursor, kind=kind: cursor.execute(f'ANALYZE "{kind}"'))


def _rows(records: Iterable[Record]) -> Iterator[tuple[Any, Iterator[list[Any]]]]:
    records = iter(records)
    first = next(records)
    table = _table(type(first))

    def rows() -> Iterator[list[Any]]:
        yield table.values("", first)
        for each in records:
            yield table.values("", each)

    yield table, rows()


def _counters(count: int) -> list[tuple[str, int]]:
    return [(f"run pipeline-{index:02d}", count // PIPELINES + 1) for index in range(PIPELINES)]


def _id(moment: datetime, number: int) -> str:
    text = f"{int(moment.timestamp() * 1000):012x}7{number >> 48 & 0xFFF:03x}8{number:015x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _digest(chance: random.Random) -> str:
    return f"sha256:{chance.getrandbits(256):064x}"


def _failure(state: State) -> Failure | None:
    if state is not State.FAILED:
        return None
    return Failure(reason="exception", type="ValueError", message="a value is missing", traceback="…" * 200)
