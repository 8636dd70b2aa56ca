"""Runs by what no index leads to: a part of their name, tags, a stack; and in the order of how long they took.

What an index leads to narrows the search first. Of what is left, a bounded number is looked through at a time, and the
next page goes on from there: a search that finds little costs no more than one that finds much.
"""

# ruff: noqa: S608 - the names in the SQL are written here; values are bound, or whole numbers

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import UnknownOption, nearest
from tilth.records import Run
from tilth.store import encoding
from tilth.store.protocol import Page
from tilth.store.schema import sql_value
from tilth.store.sql import read_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tilth.store.sql import SqlStore

AT_ONCE = 5_000  # runs looked through for one page
_TOOK = "COALESCE(finished_at - started_at, -1)"
ORDERS = {"created_at": ("created_at", "id"), "name": ("pipeline", "number"), "duration": (_TOOK, "id")}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSearch:
    """What to look for; what is empty holds for every run."""

    name: str = ""  # a part of it, in any case
    states: Sequence[str] = ()  # one of them
    pipelines: Sequence[str] = ()
    stacks: Sequence[str] = ()
    tags: Sequence[str] = ()  # all of them
    since: datetime | None = None  # when it was made
    until: datetime | None = None
    order: str = "-created_at"


def search(store: SqlStore, wanted: RunSearch, *, limit: int, after: str = "") -> Page[Run]:
    """Some of the runs that are meant, in order. A page may have fewer than `limit`, or none, and yet a next.

    Raises:
        UnknownOption: There is no such order, or no page ends there.
    """
    name, down = wanted.order.removeprefix("-"), wanted.order.startswith("-")
    if name not in ORDERS:
        raise UnknownOption(f"runs are not ordered by `{name[:100]}`", mend=nearest(name, ORDERS))
    first, second = ORDERS[name]
    direction, beyond = ("DESC", "<") if down else ("ASC", ">")
    ordered = f"ORDER BY {first} {direction}, {second} {direction}"
    narrow, values = _narrow(store, wanted)
    sift, sifted = _sift(wanted, store.database.finding)
    if after:
        narrow.append(f"({first}, {second}) {beyond} (?, ?)")
        values += _read_cursor(after, name)

    end: tuple[object, object] | None = None
    if sift and name != "duration":  # no index is in the order of how long runs took: all are looked at
        rows = store.database.select(
            f"SELECT {first}, {second} FROM run WHERE {' AND '.join(narrow)} {ordered} "
            f"LIMIT 1 OFFSET {AT_ONCE - 1:d}",
            values,
        )
        if rows:
            end = (rows[0][0], rows[0][1])
            narrow.append(f"({first}, {second}) {'>=' if down else '<='} (?, ?)")
            values += end
    rows = store.database.select(
        f"SELECT found.body, found.revision, part.one, part.two FROM (SELECT id AS part_id, {first} AS one, "
        f"{second} AS two FROM run WHERE {' AND '.join([*narrow, *sift])} {ordered} LIMIT {limit + 1:d}) AS part "
        f"JOIN run AS found ON found.space = ? AND found.id = part.part_id "
        f"ORDER BY part.one {direction}, part.two {direction}",
        [*values, *sifted, store.space],
    )
    found = (read_row(Run, (body, revision)) for body, revision, *_ in rows[:limit])
    runs = tuple(each for each in found if _is_meant(each, wanted))
    if len(rows) > limit:
        end = (rows[limit - 1][2], rows[limit - 1][3])
    return Page(runs, None if end is None else msgspec.json.encode(end).decode())


def _narrow(store: SqlStore, wanted: RunSearch) -> tuple[list[str], list[object]]:
    """What an index leads to, or holds."""
    conditions: list[str] = ["space = ?"]
    values: list[object] = [store.space]
    for column, options in (("pipeline", wanted.pipelines), ("state", wanted.states)):
        if len(options) == 1:
            conditions.append(f"{column} = ?")
            values += options
    for moment, sign in ((wanted.since, ">="), (wanted.until, "<")):
        if moment is not None:
            conditions.append(f"created_at {sign} ?")
            values.append(sql_value(moment))
    return conditions, values


def _sift(wanted: RunSearch, finding: str) -> tuple[list[str], list[object]]:
    """What is looked at one run after another.

    Args:
        finding: The function that tells where in a text another is; `LIKE` takes five times as long.
    """
    conditions: list[str] = []
    values: list[object] = []
    for column, options in (("pipeline", wanted.pipelines), ("state", wanted.states)):
        if len(options) > 1:  # an index of one of them would give each value's runs apart, to be sorted
            conditions.append(f"({column} || '') IN ({', '.join('?' * len(options))})")
            values += options
    if wanted.name:
        conditions.append(f"{finding}(lower(name), ?) > 0")
        values.append(wanted.name.lower())
    if wanted.stacks:
        conditions.append(f"({' OR '.join([f'{finding}(body, ?) > 0'] * len(wanted.stacks))})")
        values += [f'"stack":{_json(each)},"orchestrator":' for each in wanted.stacks]
    for tag in wanted.tags:
        conditions.append(f"{finding}(body, ?) > 0 AND body LIKE ? ESCAPE '!'")
        # After the failure, of the run itself: a list of texts, and its metadata after that.
        values += [_json(tag), f'%"tags":[%{_literal(_json(tag))}%],"metadata":%']
    return conditions, values


def _json(text: str) -> str:
    return encoding.encode(text).decode()


def _literal(text: str) -> str:
    """A text that `LIKE` takes as it is."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _is_meant(run: Run, wanted: RunSearch) -> bool:
    """What `LIKE` cannot tell: SQLite takes no account of case, and a run's metadata may say what its tags do not."""
    return set(wanted.tags) <= set(run.tags) and (not wanted.stacks or run.stack in wanted.stacks)


def _read_cursor(text: str, order: str) -> tuple[object, object]:
    kinds = {"created_at": tuple[int, str], "name": tuple[str, int], "duration": tuple[int, str]}
    try:
        found: tuple[object, object] = msgspec.json.decode(text, type=kinds[order])
    except msgspec.DecodeError as error:
        raise UnknownOption(
            f"`{text[:100]}` is not where a page ends", mend="give `next` of the page before"
        ) from error
    return found
