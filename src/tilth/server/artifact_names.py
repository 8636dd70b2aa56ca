"""The names that artifacts of a project have, each with its newest version: found by the index of names alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tilth.records import Artifact
from tilth.store.sql import read_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.store.sql import SqlStore

_TOGETHER = 200  # names in one question
_LOOKED_AT = 4000  # names in one page, however few are wanted

# From each name to the next one: there may be 100,000 versions of one, and the index is in their order.
_NEXT = """
WITH RECURSIVE names(name, at) AS (
    SELECT name, 1 FROM
        (SELECT name FROM artifact WHERE space = ? AND name > ? ORDER BY name LIMIT 1) AS first
    UNION ALL
    SELECT (SELECT a.name FROM artifact AS a WHERE a.space = ? AND a.name > names.name ORDER BY a.name LIMIT 1),
        at + 1
    FROM names WHERE names.name IS NOT NULL AND at <= ?
)
SELECT name FROM names WHERE name IS NOT NULL
"""
_NEWEST = "SELECT body, revision FROM artifact WHERE space = ? AND name = ? ORDER BY version DESC LIMIT 1"


class Named(NamedTuple):
    """The newest version of each of some names, and the name that the rest comes after."""

    newest: list[Artifact]
    next: str | None


def find_names(
    store: SqlStore, *, search: str, after: str, limit: int, fits: Callable[[Artifact], bool] = lambda _: True
) -> Named:
    """Names in the order of the database that hold `search`, in small or capital letters alike.

    Args:
        fits: Whether the newest version of a name is one that is looked for.
    Returns:
        Up to `limit`; fewer also where few of many thousands fit, and then with a place to go on from.
    """
    wanted = search.casefold()
    found: list[Artifact] = []
    looked_at = 0
    while looked_at < _LOOKED_AT:
        values = (store.space, after, store.space, _TOGETHER)
        names = [row[0] for row in store.database.select(_NEXT, values)][:_TOGETHER]
        for name in names:
            after, looked_at = name, looked_at + 1
            if wanted not in name.casefold():
                continue
            rows = store.database.select(_NEWEST, (store.space, name))
            if rows and fits(artifact := read_row(Artifact, (rows[0][0], rows[0][1]))):
                found.append(artifact)
                if len(found) >= limit:
                    return Named(found, after)
        if len(names) < _TOGETHER:
            return Named(found, None)
    return Named(found, after)
