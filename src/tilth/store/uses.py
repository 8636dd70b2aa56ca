"""Which runs use an environment: a table beside the runs, kept with each that is written.

A run names its environments in its document, where no index reaches them. What was written before there was this
table is not in it.
"""

# ruff: noqa: S608 - what is put into the SQL are marks; values are always bound

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.records.roles import used_by
from tilth.store import schema

if TYPE_CHECKING:
    from tilth.records import Run
    from tilth.store.database import Cursor


def keep_uses(cursor: Cursor, space: str, run: Run) -> None:
    """Remember which environments a run names; what it named before stays."""
    created_at = schema.sql_value(run.created_at)
    rows = [(space, digest, run.id, created_at) for digest in sorted(used_by(run)) if digest]
    if rows:
        marks = ", ".join("(?, ?, ?, ?)" for _ in rows)
        cursor.execute(
            f"INSERT INTO environment_use (space, environment, run, created_at) VALUES {marks} "
            "ON CONFLICT (space, environment, run) DO NOTHING",
            [value for row in rows for value in row],
        )


def forget_uses(cursor: Cursor, space: str, run: str) -> None:
    """Forget what a run used."""
    cursor.execute("DELETE FROM environment_use WHERE space = ? AND run = ?", (space, run))


def page_of_uses(
    space: str, environments: list[str], limit: int, after: tuple[int, str] | None
) -> tuple[str, list[object]]:
    """The query for runs that use one of these, newest first, and its values: JSON, revision, time and id of each."""
    begins = "AND (created_at, run) < (?, ?)" if after else ""
    each = (
        "SELECT * FROM (SELECT run, created_at FROM environment_use WHERE space = ? AND environment = ? "
        f"{begins} ORDER BY created_at DESC, run DESC LIMIT {limit:d}) AS part"
    )
    values: list[object] = []
    for digest in environments:
        values += [space, digest, *(after or ())]
    found = " UNION ".join(each for _ in environments)  # a run that uses two of them is one
    sql = (
        f'SELECT kept.body, kept.revision, used.created_at, used.run FROM ({found}) AS used JOIN "run" AS kept '
        f"ON kept.space = ? AND kept.id = used.run ORDER BY used.created_at DESC, used.run DESC LIMIT {limit:d}"
    )
    return sql, [*values, space]
