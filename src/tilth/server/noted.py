"""The records of a project, as somebody changes them: what they did goes to the audit log with each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tilth.records import Record
from tilth.store import Put
from tilth.store.sql import SqlStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.records import Run
    from tilth.server.requests import ProjectRequest
    from tilth.store import Change
    from tilth.store.database import Cursor

R = TypeVar("R", bound=Record)


class NotedStore(SqlStore):
    """One change of a project's records and the entry of who made it: both, or none.

    Args:
        action: What the audit log calls it: `stack.update`.
        subject: What it is done to.
    """

    def __init__(self, asked: ProjectRequest, action: str, subject: str) -> None:
        super().__init__(asked.store.database, asked.store.space)
        self._access = asked.access
        self._entry = asked.access.entry(asked.who, action, subject, project=asked.project)

    def add(self, *records: R) -> tuple[R, ...]:
        def add(cursor: Cursor) -> tuple[R, ...]:
            added = tuple(self._add(cursor, each) for each in records)
            self._note(cursor)
            return added

        return self.database.transact(add)

    def replace(self, old: R, new: R) -> R:
        return self._access.replace(old, new, self._entry, store=self)

    def write(self, changes: Sequence[Change], *, holding: Run | None = None) -> tuple[Record, ...]:
        assert holding is None, "runs are changed by their drivers"

        def write(cursor: Cursor) -> tuple[Record, ...]:
            kept = tuple(filter(None, [self.change_within(cursor, each) for each in changes]))
            self._note(cursor)
            return kept

        return self.database.transact(write)

    def _note(self, cursor: Cursor) -> None:
        self._access.store.change_within(cursor, Put(self._entry))
