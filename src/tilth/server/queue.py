"""The queue of runs that were asked for: in the database, leased, so that nothing killed loses or doubles one.

A launch is leased to a runner for a while, and renewed while the runner lives. A lease that ran out is given to the
next runner that asks, with a higher fence: what the one before says from then on is not taken.
"""

# ruff: noqa: S608 - what is put into the SQL are names and marks of ours; values are always bound

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.errors import Conflict, NotFound
from tilth.records import Failure, Run, State, new_id, now
from tilth.records.launching import Launch, LaunchState
from tilth.server.access import DEFAULT_PROJECT
from tilth.store import Put
from tilth.store.schema import sql_value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from tilth.records import Json, Record, Snapshot
    from tilth.store.database import Cursor
    from tilth.store.sql import SqlStore

LASTS = timedelta(seconds=60)
MOST_LEASES = 5  # runners that may die of one launch
_LOCK = "queue"  # leasing is decided by one at a time: limits are counted
_PAGE = 100
_TRIES = 5  # to say how a run ended, while its driver still writes
_CANCELLED = Failure(reason="cancelled", message="the run was cancelled")
_TOO_OFTEN = Failure(
    reason="lost",
    message=f"its runner was lost {MOST_LEASES} times",
    mend="see the logs of the runners, and the memory of their machines",
)


class LeaseLost(Conflict):
    """A runner speaks of a launch that is another's by now, or nobody's."""


class Queue:
    """Launches of all projects of a server.

    Args:
        store: Of the server itself, not of a project.
        per_project: Runs of one project at once; 0 for any number.
        per_pipeline: Runs of one pipeline at once; 0 for any number.
        began: When this server began to answer: no lease has run out that could not be renewed meanwhile.
    """

    def __init__(
        self,
        store: SqlStore,
        *,
        per_project: int = 0,
        per_pipeline: int = 0,
        began: datetime | None = None,
    ) -> None:
        self.store = store
        self._per_project = per_project
        self._per_pipeline = per_pipeline
        self._began = began

    def enqueue(
        self,
        *,
        project: str,
        snapshot: Snapshot,
        parameters: dict[str, Json],
        cause: str,
        user: str,
        key: str | None = None,
        beside: Sequence[Record] = (),
    ) -> Launch:
        """Ask for a run of a snapshot.

        Args:
            parameters: Given instead of the snapshot's own; checked by who calls.
            cause: What people read: `schedule nightly`.
            user: Id of whose rights the run has.
            key: What asks: asked for again with the same one, the first launch is given and nothing is started.
            beside: What is to be remembered with it, in one transaction: an entry of the audit log, a schedule's
                next time. Not where the first launch of a key is given.
        """
        launch = Launch(
            project=project,
            snapshot=snapshot.id,
            pipeline=snapshot.pipeline,
            key=key,
            run=new_id(),
            user=user,
            cause=cause,
            parameters=parameters,
            platforms=tuple(sorted(snapshot.locks)),
            machine=snapshot.machine,
        )
        if key is not None and (found := self.store.find(Launch, key=key, limit=1).items):
            return found[0]
        try:
            self.store.write([Put(each) for each in beside] + [Put(launch)])
            return launch
        except Conflict:
            found = self.store.find(Launch, key=key, limit=1).items
            if key is None or not found:
                raise
            return found[0]

    def lease(
        self,
        runner: str,
        *,
        projects: Sequence[str] | None = None,
        lasts: timedelta = LASTS,
        fits: Callable[[Launch], bool] = lambda _: True,
        holds: Collection[str] | None = None,
    ) -> Launch | None:
        """Give a runner the oldest launch that waits and that the limits let start; None when there is none.

        Args:
            runner: Id.
            projects: Those that it serves; None for all.
            fits: Whether the runner can start it at all; asks no database.
            holds: Ids of the launches that the runner knows of. Others that are leased to it, it has forgotten:
                it was killed, or never got the answer.
        """
        if not self._any(runner, holds):  # runners ask all the time
            return None

        def give(cursor: Cursor) -> Launch | None:
            self.store.queue_up_within(cursor, _LOCK)
            found = self._run_out(cursor, runner, projects, lasts, fits, holds)
            found = found or self._waiting(cursor, projects, fits)
            if found is None:
                return None
            if found.fence >= MOST_LEASES:
                given = _final(found, LaunchState.FAILED, _TOO_OFTEN)
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
            self._end_run(given, State.FAILED, _TOO_OFTEN)

    def renew(self, launch: Launch, *, lasts: timedelta = LASTS) -> Launch:
        """Say that a runner still has a launch; gives it as it is.

        Raises:
            LeaseLost: Another has it, or it is over: cancelled, as may be.
        """
        until = now() + lasts
        return self._change(launch, lambda found: msgspec.structs.replace(found, leased_until=until))

    def started(self, launch: Launch, run: str) -> Launch:
        """Its run is recorded.

        Raises:
            LeaseLost: As `renew`.
        """
        assert run == launch.run, "a launch has one run"
        return self._change(launch, lambda found: msgspec.structs.replace(found, state=LaunchState.STARTED))

    def began_run(self, run: str) -> None:
        """A run that was asked for, by its id, is recorded by its driver."""
        for launch in self.store.find(Launch, run=run, limit=1):
            with contextlib.suppress(LeaseLost):  # cancelled meanwhile; its driver will be told
                self.started(launch, run)

    def ended(self, launch: Launch) -> Launch:
        """Its run has ended, however.

        Raises:
            LeaseLost: As `renew`.
        """
        return self._change(launch, lambda found: _final(found, LaunchState.ENDED))

    def failed(self, launch: Launch, failure: Failure) -> Launch:
        """Nothing will come of it; a run of it that was begun has failed for this reason.

        Raises:
            LeaseLost: As `renew`.
        """
        done = self._change(launch, lambda found: _final(found, LaunchState.FAILED, failure))
        self._end_run(done, State.FAILED, failure)
        return done

    def cancel(self, launch: Launch, *, beside: Sequence[Record] = ()) -> Launch:
        """End it: one that waits is never started; the runner that has it is told, and stops its run.

        Raises:
            NotFound: It is not there any more.
            Conflict: It is over already.
        """

        def cancel(cursor: Cursor) -> Launch:
            found = self._get(cursor, launch.id)
            if found.state is LaunchState.CANCELLED:
                return found
            if found.state.is_final:
                raise Conflict(f"launch `{found.id}` is over: {found.state.value}")
            done = _final(found, LaunchState.CANCELLED)
            for each in (done, *beside):
                self.store.put_within(cursor, each)
            return done

        done = self.store.database.transact(cancel)
        if done.leased_until is None or done.leased_until < now():  # nobody is there to stop it
            self._end_run(done, State.CANCELLED, _CANCELLED)
        return done

    def end_cancelled(self, launch: Launch) -> None:
        """The runner of a cancelled launch has stopped: a run that was killed before it could say so, has ended."""
        if launch.state is LaunchState.CANCELLED:
            self._end_run(launch, State.CANCELLED, _CANCELLED)
            with contextlib.suppress(Conflict, NotFound):  # another server was quicker
                self.store.replace(launch, msgspec.structs.replace(launch, leased_until=None))

    def end_left(self) -> None:
        """End the runs of cancelled launches that nobody stopped: the runner, or its driver, was lost just then."""
        rows = self.store.database.select(
            "SELECT id FROM launch WHERE space = ? AND state = ? AND leased_until < ? LIMIT 1000",
            (self.store.space, LaunchState.CANCELLED.value, _micros(now())),
        )
        for launch in self.store.find(Launch, id=[row[0] for row in rows], limit=1000) if rows else ():
            self.end_cancelled(launch)

    def _any(self, runner: str, holds: Collection[str] | None) -> bool:
        """Whether there may be something to give."""
        condition, values = _run_out_by(now(), runner, holds)
        sql = f"SELECT 1 FROM launch WHERE space = ? AND (state = ? OR {condition}) LIMIT 1"
        return bool(self.store.database.select(sql, (self.store.space, LaunchState.QUEUED.value, *values)))

    def _run_out(
        self,
        cursor: Cursor,
        runner: str,
        projects: Sequence[str] | None,
        lasts: timedelta,
        fits: Callable[[Launch], bool],
        holds: Collection[str] | None,
    ) -> Launch | None:
        """A launch whose runner is gone. It counts against the limits already."""
        moment = now()
        if self._began is not None and moment < self._began + lasts:
            moment = self._began - lasts
        condition, values = _run_out_by(moment, runner, holds)
        only, more = _only(projects)
        found = self.store.select_within(
            cursor, Launch, condition + only, [*values, *more], "ORDER BY created_at, id"
        )
        return next(filter(fits, found), None)

    def _waiting(
        self, cursor: Cursor, projects: Sequence[str] | None, fits: Callable[[Launch], bool]
    ) -> Launch | None:
        only, more = _only(projects)
        condition, values = "state = ?" + only, [LaunchState.QUEUED.value, *more]
        for project, pipeline in self._full(cursor):
            condition += " AND NOT (project = ?" + (" AND pipeline = ?)" if pipeline else ")")
            values += [project, pipeline] if pipeline else [project]
        after = (-1 << 62, "")
        while True:
            page = self.store.select_within(
                cursor,
                Launch,
                f"{condition} AND (created_at, id) > (?, ?)",
                [*values, *after],
                f"ORDER BY created_at, id LIMIT {_PAGE:d}",
            )
            for each in page:
                if fits(each):
                    return each
            if len(page) < _PAGE:
                return None
            after = (_micros(page[-1].created_at), page[-1].id)

    def _full(self, cursor: Cursor) -> list[tuple[str, str]]:
        """Projects, and pipelines of projects, that have as many runs as they may."""
        if not self._per_project and not self._per_pipeline:
            return []
        cursor.execute(
            "SELECT project, pipeline, COUNT(*) FROM launch WHERE space = ? AND state IN (?, ?) "
            "GROUP BY project, pipeline",
            (self.store.space, LaunchState.LEASED.value, LaunchState.STARTED.value),
        )
        rows = cursor.fetchall()
        full = [(project, pipeline) for project, pipeline, count in rows if 0 < self._per_pipeline <= count]
        if self._per_project:
            totals: dict[str, int] = {}
            for project, _, count in rows:
                totals[project] = totals.get(project, 0) + count
            full += [(project, "") for project, count in totals.items() if count >= self._per_project]
        return full

    def _change(self, launch: Launch, change: Callable[[Launch], Launch]) -> Launch:
        def work(cursor: Cursor) -> Launch:
            found = self._get(cursor, launch.id)
            if found.fence != launch.fence or found.state.is_final or found.state is LaunchState.QUEUED:
                over = found.state.value if found.state.is_final else "another runner has it"
                raise LeaseLost(f"launch `{launch.id}` is not this runner's any more", why=over)
            changed = change(found)
            self.store.put_within(cursor, changed)
            return changed

        return self.store.database.transact(work)

    def _get(self, cursor: Cursor, id: str) -> Launch:  # noqa: A002
        found = self.store.select_within(cursor, Launch, "id = ?", [id], self.store.database.locking)
        if not found:
            raise NotFound(f"no launch has the id `{id}`")
        return found[0]

    def _end_run(self, launch: Launch, state: State, failure: Failure) -> None:
        """Say of a run that was begun how it ended, where its driver will not."""
        records = self.store.within("" if launch.project == DEFAULT_PROJECT else launch.project)
        told: dict[str, Any] = {"state": state, "failure": failure, "finished_at": now()}
        for _ in range(_TRIES):
            try:
                run = records.get(Run, launch.run)
            except NotFound:
                if state is State.FAILED:  # so that whoever looks for runs finds why there is none
                    told |= {"parameters": launch.parameters, "snapshot": launch.snapshot}
                    records.start_run(Run(id=launch.run, pipeline=launch.pipeline, **told))
                return
            if run.state.is_final:
                return
            with contextlib.suppress(Conflict, NotFound):  # its driver was quicker, maybe with something else
                records.replace(run, msgspec.structs.replace(run, **told, fence=run.fence + 1))
                return


def _final(launch: Launch, state: LaunchState, failure: Failure | None = None) -> Launch:
    return msgspec.structs.replace(launch, state=state, failure=failure, finished_at=now())


def _run_out_by(moment: datetime, runner: str, holds: Collection[str] | None) -> tuple[str, list[object]]:
    """The condition of launches that a runner has no more, and its values."""
    condition, values = "leased_until < ?", list[object]([_micros(moment)])
    if holds is not None:
        kept = f" AND id NOT IN ({', '.join('?' * len(holds))})" if holds else ""
        condition, values = f"({condition} OR runner = ?{kept})", [*values, runner, *holds]
    return f"state IN (?, ?) AND {condition}", [LaunchState.LEASED.value, LaunchState.STARTED.value, *values]


def _only(projects: Sequence[str] | None) -> tuple[str, list[object]]:
    if projects is None:
        return "", []
    return f" AND project IN ({', '.join('?' * len(projects)) or 'NULL'})", list(projects)


def _micros(moment: datetime) -> int:
    value = sql_value(moment)
    assert isinstance(value, int)
    return value
