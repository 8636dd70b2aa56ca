"""The items of mapped steps, of which one run may have a million: counted, or a page of them by index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import DefinitionError
from tilth.server.graphs import Counted
from tilth.store.schema import moment

if TYPE_CHECKING:
    from tilth.records import Run, State
    from tilth.server.graphs import Counts
    from tilth.store.sql import Row, SqlStore

# An attempt is recorded when it begins, so a later one has a later time.
_LATER = (
    "SELECT 1 FROM step_run AS two WHERE two.space = one.space AND two.run = one.run "
    'AND two."index" = one."index" AND two.step = one.step AND (two.created_at, two.id) > (one.created_at, one.id)'
)


def item_counts(store: SqlStore, run: Run) -> Counts:
    """How many items of each mapped step are in each state, by the last attempt at each, and when the first began."""
    where = 'one.space = ? AND one.run = ? AND one."index" IS NOT NULL'
    values = (store.space, run.id)
    sql = (
        "SELECT one.step, one.state, COUNT(*), MAX(one.attempt), MIN(one.created_at) FROM step_run AS one "  # noqa: S608
        f"WHERE {where}"
    )
    rows = store.database.select(f"{sql} GROUP BY one.step, one.state", values)
    began: dict[str, int] = {}
    for step, _, _, _, first in rows:
        began[step] = min(began.get(step, first), first)
    if run.fence > 1 or any(row[3] > 1 for row in rows):
        rows = store.database.select(f"{sql} AND NOT EXISTS ({_LATER}) GROUP BY one.step, one.state", values)
    counts: Counts = {step: Counted({}, moment(first)) for step, first in began.items()}
    for step, state, count, *_ in rows:
        counts.setdefault(step, Counted({}, None)).counts[state] = count
    return counts


def list_items(
    store: SqlStore, run: Run, step: str, states: list[State], after: str | None, limit: int
) -> tuple[list[Row], str | None]:
    """The last attempt at each item of a step, by index, and where the next page begins.

    Raises:
        DefinitionError: `after` is not where a page ends.
    """
    conditions = ["one.space = ?", "one.run = ?", "one.step = ?", f"NOT EXISTS ({_LATER})"]
    values: list[object] = [store.space, run.id, step]
    conditions.append('one."index" > ?')
    values.append(_read_index(after) if after is not None else -1)
    if states:
        # Hidden from who plans the query: of one run, its index finds them sooner than that of states.
        conditions.append(f"(one.state || '') IN ({', '.join('?' * len(states))})")
        values += [each.value for each in states]
    sql = (
        f'SELECT one.body, one.revision, one."index" FROM step_run AS one WHERE {" AND ".join(conditions)} '  # noqa: S608
        f'ORDER BY one."index" LIMIT {limit + 1:d}'
    )
    found = store.database.select(sql, values)
    following = str(found[limit - 1][2]) if len(found) > limit else None
    return [(row[0], row[1]) for row in found[:limit]], following


def _read_index(after: str) -> int:
    if not after.isdecimal() or len(after) > 15:
        raise DefinitionError(
            f"`{after[:80]}` is not where a page ends", mend="give `next` of the page before"
        )
    return int(after)
