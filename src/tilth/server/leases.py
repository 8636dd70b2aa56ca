"""What is leased to runners: records in the database, so that nothing killed loses or doubles one.

A record is leased to a runner for a while, and renewed while the runner lives. A lease that ran out is given to the
next runner that asks, with a higher fence: what the one before says from then on is not taken.
"""

# ruff: noqa: S608 - what is put into the SQL are names and marks of ours; values are always bound

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from tilth.errors import Conflict, NotFound
from tilth.records import Failure, now
from tilth.records.launching import LaunchState, Leased
from tilth.store.schema import sql_value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from tilth.records import Record
    from tilth.store.database import Cursor
    from tilth.store.sql import SqlStore

LASTS = timedelta(seconds=60)
MOST_LEASES = 5  # runners that may die of one
_PAGE = 100
TOO_OFTEN = Failure(
    reason="lost",
    message=f"its runner was lost {MOST_LEASES} times",
    mend="see the logs of the runners, and the memory of their machines",
)
T = TypeVar("T", bound=Leased)


class LeaseLost(Conflict):
    """A runner speaks of something that is another's by now, or nobody's."""


class Leases(Generic[T]):
    """The records of one kind, of all projects of a server.

    Args:
        store: Of the server itself, not of a project.
        given_again: States in which one whose lease ran out is given to another runner.
        began: When this server began to answer: no lease has run out that could not be renewed meanwhile.
    """

    def __init__(
        self,
        store: SqlStore,
        kind: type[T],
        *,
        given_again: Collection[LaunchState],
        began: datetime | None = None,
    ) -> None:
        self.store = store
        self._kind: type[T] = kind
        self._label = kind.kind.replace("_", " ")
        self._given_again = given_again
        self._began = began

    def lease(
        self,
        runner: str,
        *,
        projects: Sequence[str] | None = None,
        lasts: timedelta = LASTS,
        fits: Callable[[T], bool] = lambda _: True,
        holds: Collection[str] | None = None,
    ) -> T | None:
        """Give a runner the oldest that waits and that the limits let start; None when there is none.

        Args:
            runner: Id.
            projects: Those that it serves; None for all.
            fits: Whether the runner can start it at all; asks no database.
            holds: Ids of those that the runner knows of. Others that are leased to it, it has forgotten:
                it was killed, or never got the answer.
        """
        if not self._any(runner, holds):  # runners ask all the time
            return None

        def give(cursor: Cursor) -> T | None:
            self.store.queue_up_within(cursor, "queue")  # decided by one at a time: limits are counted
            found = self._run_out(cursor, runner, projects, lasts, fits, holds)
            found = found or self._waiting(cursor, projects, fits)
            if found is None:
                return None
            if found.fence >= MOST_LEASES:
                given = final(found, LaunchState.FAILED, TOO_OFTEN)
            else:
                given = msgspec.structs.replace(
                    found,
                    state=LaunchState.LEASED if found.state is LaunchState.QUEUED else found.state,
                    runner=runner,
                    fence=found.fence + 1,
                    leased_until=now() + lasts,
                )
            self.store.put_within(cursor, given)
            return given

        while True:
            given = self.store.database.transact(give)
            if given is None or not given.state.is_final:
                return given
            self._given_up(given)

    def renew(self, record: T, *, lasts: timedelta = LASTS) -> T:
        """Say that a runner still has one; gives it as it is.

        Raises:
            LeaseLost: Another has it, or it is over: cancelled, as may be.
        """
        until = now() + lasts
        return self._change(record, lambda found: msgspec.structs.replace(found, leased_until=until))

    def ended(self, record: T) -> T:
        """It has ended, however.

        Raises:
            LeaseLost: As `renew`.
        """
        return self._change(record, lambda found: final(found, LaunchState.ENDED))

    def failed(self, record: T, failure: Failure) -> T:
        """Nothing will come of it.

        Raises:
            LeaseLost: As `renew`.
        """
        return self._change(record, lambda found: final(found, LaunchState.FAILED, failure))

    def cancel(self, record: T, *, beside: Sequence[Record] = ()) -> T:
        """End it: one that waits is never started; the runner that has it is told, and stops.

        Raises:
            NotFound: It is not there any more.
            Conflict: It is over already.
        """

        def cancel(cursor: Cursor) -> T:
            found = self._get(cursor, record.id)
            if found.state is LaunchState.CANCELLED:
                return found
            if found.state.is_final:
                raise Conflict(f"{self._label} `{found.id}` is over: {found.state.value}")
            done = final(found, LaunchState.CANCELLED)
            self.store.put_within(cursor, done)
            for each in beside:
                self.store.put_within(cursor, each)
            return done

        return self.store.database.transact(cancel)

    def _given_up(self, record: T) -> None:
        """Runners were lost of it too often."""

    def _any(self, runner: str, holds: Collection[str] | None) -> bool:
        """Whether there may be something to give."""
        condition, values = run_out_by(now(), self._given_again, runner, holds)
        sql = f"SELECT 1 FROM {self._kind.kind} WHERE space = ? AND (state = ? OR {condition}) LIMIT 1"
        return bool(self.store.database.select(sql, (self.store.space, LaunchState.QUEUED.value, *values)))

    def _run_out(
        self,
        cursor: Cursor,
        runner: str,
        projects: Sequence[str] | None,
        lasts: timedelta,
        fits: Callable[[T], bool],
        holds: Collection[str] | None,
    ) -> T | None:
        """One whose runner is gone. It counts against the limits already."""
        condition, values = run_out_by(self._moment(lasts), self._given_again, runner, holds)
        only, more = _only(projects)
        found = self.store.select_within(
            cursor, self._kind, condition + only, [*values, *more], "ORDER BY created_at, id"
        )
        return next(filter(fits, found), None)

    def _waiting(self, cursor: Cursor, projects: Sequence[str] | None, fits: Callable[[T], bool]) -> T | None:
        only, more = _only(projects)
        condition, values = "state = ?" + only, [LaunchState.QUEUED.value, *more]
        for project, pipeline in self._full(cursor):
            condition += " AND NOT (project = ?" + (" AND pipeline = ?)" if pipeline else ")")
            values += [project, pipeline] if pipeline else [project]
        after = (-1 << 62, "")
        while True:
            page = self.store.select_within(
                cursor,
                self._kind,
                f"{condition} AND (created_at, id) > (?, ?)",
                [*values, *after],
                f"ORDER BY created_at, id LIMIT {_PAGE:d}",
            )
            for each in page:
                if fits(each):
                    return each
            if len(page) < _PAGE:
                return None
            after = (micros(page[-1].created_at), page[-1].id)

    def _moment(self, lasts: timedelta) -> datetime:
        """The moment before which a lease must have ended to have run out."""
        moment = now()
        if self._began is not None and moment < self._began + lasts:
            return self._began - lasts
        return moment

    def _full(self, cursor: Cursor) -> list[tuple[str, str]]:  # noqa: ARG002 - for those who inherit
        """Projects, and pipelines of projects, that have as many as they may."""
        return []

    def _change(self, record: T, change: Callable[[T], T]) -> T:
        def work(cursor: Cursor) -> T:
            found = self._get(cursor, record.id)
            if found.fence != record.fence or found.state.is_final or found.state is LaunchState.QUEUED:
                over = found.state.value if found.state.is_final else "another runner has it"
                raise LeaseLost(f"{self._label} `{record.id}` is not this runner's any more", why=over)
            changed = change(found)
            self.store.put_within(cursor, changed)
            return changed

        return self.store.database.transact(work)

    def _get(self, cursor: Cursor, id: str) -> T:  # noqa: A002
        found = self.store.select_within(cursor, self._kind, "id = ?", [id], self.store.database.locking)
        if not found:
            raise NotFound(f"no {self._label} has the id `{id}`")
        return found[0]


def final(record: T, state: LaunchState, failure: Failure | None = None) -> T:
    """As it is when it is over."""
    return msgspec.structs.replace(record, state=state, failure=failure, finished_at=now())


def run_out_by(
    moment: datetime, states: Collection[LaunchState], runner: str, holds: Collection[str] | None
) -> tuple[str, list[object]]:
    """The condition of those in some states that a runner has no more, and its values."""
    condition, values = "leased_until < ?", list[object]([micros(moment)])
    if holds is not None:
        kept = f" AND id NOT IN ({', '.join('?' * len(holds))})" if holds else ""
        condition, values = f"({condition} OR runner = ?{kept})", [*values, runner, *holds]
    marks = ", ".join("?" * len(states))
    return f"state IN ({marks}) AND {condition}", [*(each.value for each in states), *values]


def _only(projects: Sequence[str] | None) -> tuple[str, list[object]]:
    if projects is None:
        return "", []
    return f" AND project IN ({', '.join('?' * len(projects)) or 'NULL'})", list(projects)


def micros(moment: datetime) -> int:
    """A moment as its column holds it."""
    value = sql_value(moment)
    assert isinstance(value, int)
    return value
