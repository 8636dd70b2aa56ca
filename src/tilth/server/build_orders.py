"""The queue of images that are to be built on runners. A build is given to one runner, and to no other afterwards."""

# ruff: noqa: S608 - what is put into the SQL are names and marks of ours; values are always bound

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import Conflict, NotFound
from tilth.records import Failure, now
from tilth.records.launching import BuildOrder, LaunchState, Runner
from tilth.server.leases import LASTS, LeaseLost, Leases, final, micros, run_out_by
from tilth.store import Delete, walk

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from tilth.records import Record
    from tilth.store.database import Cursor
    from tilth.store.sql import SqlStore

MOST_OPEN = 20  # builds of one project that wait or go on
_SEEN = timedelta(seconds=30)  # a runner that was heard of since is there
_HEARD_EVERY = timedelta(seconds=10)
_UNHEARD = timedelta(seconds=120)  # after which nobody waits any more for a build that did not begin
_KEPT = timedelta(days=1)  # after the end, for who looks at what came of it
_OPEN = (LaunchState.QUEUED, LaunchState.LEASED, LaunchState.STARTED)
LOST = Failure(reason="lost", message="its runner was lost")
_GONE = Failure(reason="cancelled", message="whoever ordered it is gone")


class BuildOrders(Leases[BuildOrder]):
    """Builds of all projects of a server.

    Args:
        store: Of the server itself, not of a project.
        lasts: As long as a lease lasts.
    """

    def __init__(self, store: SqlStore, *, lasts: timedelta = LASTS, began: datetime | None = None) -> None:
        super().__init__(store, BuildOrder, given_again=(LaunchState.LEASED,), began=began)
        self._lasts = lasts

    def order(self, order: BuildOrder, *beside: Record) -> BuildOrder:
        """Have one wait for a runner; what is beside it is written with it.

        Raises:
            Conflict: Its project has as many as it may.
        """

        def add(cursor: Cursor) -> None:
            self.store.queue_up_within(cursor, f"builds {order.project}")
            marks = ", ".join("?" * len(_OPEN))
            cursor.execute(
                f"SELECT COUNT(*) FROM build_order WHERE space = ? AND project = ? AND state IN ({marks})",
                (self.store.space, order.project, *(each.value for each in _OPEN)),
            )
            row = cursor.fetchone()
            if row is not None and row[0] >= MOST_OPEN:
                raise Conflict(
                    f"project `{order.project}` has {MOST_OPEN} images to be built on runners already",
                    mend="wait until one is done",
                )
            for each in (order, *beside):
                self.store.put_within(cursor, each)

        self.store.database.transact(add)
        return order

    def begin(self, order: BuildOrder, runner: Runner, key: str) -> BuildOrder:
        """A runner begins: from now on it is that runner's alone.

        Raises:
            LeaseLost: It has it no more, or has begun before.
        """

        def begin(found: BuildOrder) -> BuildOrder:
            if found.state is LaunchState.STARTED:
                raise LeaseLost(f"build order `{found.id}` was begun before", why="it is begun once")
            return msgspec.structs.replace(
                found, state=LaunchState.STARTED, runner_name=runner.name, runner_key=key
            )

        return self._change(order, begin)

    def heard(self, order: BuildOrder) -> None:
        """Who ordered it is still there."""
        if order.heard_at is None or now() - order.heard_at > _HEARD_EVERY:
            with contextlib.suppress(Conflict, NotFound):  # it was leased just now; the next time, then
                self.store.replace(order, msgspec.structs.replace(order, heard_at=now()))

    def close(self, order: BuildOrder, *, done: bool) -> BuildOrder:
        """Who ordered it waits for nothing more: all came, or they gave it up. Its runner is told."""

        def close(cursor: Cursor) -> BuildOrder:
            found = self._get(cursor, order.id)
            if not found.state.is_final:
                found = final(found, LaunchState.ENDED if done else LaunchState.CANCELLED)
                self.store.put_within(cursor, found)
            return found

        return self.store.database.transact(close)

    def takers(self, project: str) -> list[str]:
        """Names of the runners that are there and build images for a project."""
        moment = now() - _SEEN
        return sorted(
            {
                each.name
                for each in walk(self.store, Runner, project=["", project])
                if each.builds and each.seen_at is not None and each.seen_at > moment
            }
        )

    def fail_forgotten(self, runner: str, holds: Collection[str]) -> None:
        """Fail what a runner began and does not know of any more: it was killed, and is there again."""
        self._fail("state = ? AND runner = ?", [LaunchState.STARTED.value, runner], LOST, but=holds)

    def end_left(self) -> None:
        """Fail what was begun by runners that are lost, and what nobody waits for any more."""
        condition, values = run_out_by(self._moment(self._lasts), (LaunchState.STARTED,), "", None)
        self._fail(condition, values, LOST)
        values = [LaunchState.QUEUED.value, LaunchState.LEASED.value, micros(now() - _UNHEARD)]
        self._fail("state IN (?, ?) AND heard_at < ?", values, _GONE)

    def sweep(self) -> None:
        """Forget what ended long ago."""
        moment = now() - _KEPT
        for each in walk(self.store, BuildOrder):
            if each.finished_at is not None and each.finished_at < moment:
                self.store.write([Delete(BuildOrder, each.id)])

    def _fail(
        self, condition: str, values: list[object], failure: Failure, *, but: Collection[str] = ()
    ) -> None:
        rows = self.store.database.select(
            f"SELECT id FROM build_order WHERE space = ? AND {condition} LIMIT 1000",
            (self.store.space, *values),
        )
        for order in self.store.find(BuildOrder, id=[row[0] for row in rows], limit=1000) if rows else ():
            if order.id not in but and not order.state.is_final:
                with contextlib.suppress(Conflict, NotFound):  # it has changed just now
                    self.store.replace(order, final(order, LaunchState.FAILED, failure))
