"""What runs came to and how long they took, counted in SQL from the indexes that carry it."""

# ruff: noqa: S608 - the names in the SQL are written here; values are bound, or whole numbers

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from tilth.records import State
from tilth.store.schema import sql_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.store.sql import SqlStore

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = 1_000_000  # times are microseconds


@dataclass
class Span:
    """The runs that began in some hour or day."""

    at: datetime  # its begin
    states: dict[str, int] = field(default_factory=dict)  # state -> runs
    median_s: float | None = None  # of those that completed
    slow_s: float | None = None  # 19 of 20 of those took no longer


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended, as far as the indexes tell."""

    id: str
    created_at: datetime
    state: str
    seconds: float | None  # None while it runs, or where it never began


def spans(
    store: SqlStore, since: datetime, until: datetime, *, width_s: int, shift_s: int = 0, pipeline: str = ""
) -> list[Span]:
    """Each hour or day in which runs began, the oldest first; one without any is left out.

    Args:
        since, until: `until` is not in it.
        width_s: Of one, in seconds.
        shift_s: How far midnight where it is looked at is before midnight in UTC.
    """
    where, values = "space = ? AND created_at >= ? AND created_at < ?", [store.space]
    bounds: list[object] = [*values, sql_value(since), sql_value(until)]
    if pipeline:
        where, bounds = f"{where} AND pipeline = ?", [*bounds, pipeline]
    place = f"(created_at + {shift_s * _SECOND:d}) / {width_s * _SECOND:d}"
    found: dict[int, Span] = {}

    def span(number: int) -> Span:
        begin = _EPOCH + timedelta(seconds=number * width_s - shift_s)
        return found.setdefault(number, Span(begin))

    counted = store.database.select(
        f"SELECT {place} AS span, state, count(*) FROM run WHERE {where} GROUP BY 1, 2", bounds
    )
    for number, state, count in counted:
        span(number).states[state] = count
    timed = store.database.select(
        "SELECT span, MIN(CASE WHEN place * 2 >= runs THEN took END), "
        "MIN(CASE WHEN place * 20 >= runs * 19 THEN took END) FROM ("
        f"SELECT {place} AS span, finished_at - started_at AS took, "
        f"ROW_NUMBER() OVER (PARTITION BY {place} ORDER BY finished_at - started_at) AS place, "
        f"COUNT(*) OVER (PARTITION BY {place}) AS runs "
        f"FROM run WHERE {where} AND state = 'completed' AND finished_at >= started_at) AS timed GROUP BY span",
        bounds,
    )
    for number, median, slow in timed:
        span(number).median_s, span(number).slow_s = median / _SECOND, slow / _SECOND
    return [found[number] for number in sorted(found)]


def ended_since(
    store: SqlStore, state: str, since: datetime, *, began_after: datetime, most: int
) -> list[str]:
    """Ids of the newest runs that have come to a state since then, the last to end first."""
    rows = store.database.select(
        "SELECT id FROM run WHERE space = ? AND created_at >= ? AND (state || '') = ? AND finished_at >= ? "
        f"ORDER BY finished_at DESC, id DESC LIMIT {most:d}",
        (store.space, sql_value(began_after), state, sql_value(since)),
    )
    return [row[0] for row in rows]


def pipelines(store: SqlStore, *, after: str, limit: int) -> list[str]:
    """Names of pipelines that have runs, in order, from behind `after` on."""
    # From one name to the next: an index is skipped through, however many runs each has.
    rows = store.database.select(
        "WITH RECURSIVE named(name) AS ("
        "SELECT MIN(pipeline) FROM run WHERE space = ? AND pipeline > ? UNION ALL "
        "SELECT (SELECT MIN(pipeline) FROM run WHERE space = ? AND pipeline > named.name) FROM named "
        f"WHERE named.name IS NOT NULL) SELECT name FROM named WHERE name IS NOT NULL LIMIT {limit:d}",
        (store.space, after, store.space),
    )
    return [row[0] for row in rows]


def counts(store: SqlStore, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Pipeline -> state -> how many runs."""
    found: dict[str, dict[str, int]] = {name: {} for name in names}
    if names:
        # Summed, and not grouped, by state: that would sort what the index has in order of pipelines.
        sums = ", ".join(f"SUM(CASE WHEN state = '{each.value}' THEN 1 ELSE 0 END)" for each in State)
        rows = store.database.select(
            f"SELECT pipeline, {sums} FROM run WHERE space = ? "
            f"AND pipeline IN ({', '.join('?' * len(names))}) GROUP BY pipeline",
            (store.space, *names),
        )
        for name, *each in rows:
            found[name] = {state.value: int(count) for state, count in zip(State, each, strict=True) if count}
    return found


def newest(store: SqlStore, names: Sequence[str], each: int) -> dict[str, list[Outcome]]:
    """How the newest runs of each pipeline ended, the newest first."""
    found: dict[str, list[Outcome]] = {name: [] for name in names}
    if not names:
        return found
    part = (
        "SELECT * FROM (SELECT pipeline, id, created_at, state, finished_at - started_at AS took FROM run "
        "WHERE space = ? AND pipeline = ? ORDER BY created_at DESC, id DESC "
        f"LIMIT {each:d}) AS part"
    )
    rows = store.database.select(
        " UNION ALL ".join([part] * len(names)), [value for name in names for value in (store.space, name)]
    )
    for name, id_, created_at, state, took in rows:
        found[name].append(
            Outcome(
                id_,
                _EPOCH + timedelta(microseconds=created_at),
                state,
                None if took is None else took / _SECOND,
            )
        )
    return found
