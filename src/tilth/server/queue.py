"""The queue of runs that were asked for, and what becomes of those runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.errors import Conflict, NotFound
from tilth.records import Failure, Run, State, new_id, now
from tilth.records.launching import Launch, LaunchState
from tilth.server.access import DEFAULT_PROJECT
from tilth.server.leases import TOO_OFTEN, LeaseLost, Leases, micros
from tilth.store import Put

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tilth.records import Json, Record, Snapshot
    from tilth.store.database import Cursor
    from tilth.store.sql import SqlStore

_TRIES = 5  # to say how a run ended, while its driver still writes
_CANCELLED = Failure(reason="cancelled", message="the run was cancelled")


class Queue(Leases[Launch]):
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
        going_on = (LaunchState.LEASED, LaunchState.STARTED)
        super().__init__(store, Launch, given_again=going_on, began=began)
        self._per_project = per_project
        self._per_pipeline = per_pipeline

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

    def failed(self, record: Launch, failure: Failure) -> Launch:
        """Nothing will come of it; a run of it that was begun has failed for this reason."""
        done = super().failed(record, failure)
        self._end_run(done, State.FAILED, failure)
        return done

    def cancel(self, record: Launch, *, beside: Sequence[Record] = ()) -> Launch:
        """End it, and its run where no runner is there to stop that."""
        done = super().cancel(record, beside=beside)
        if done.leased_until is None or done.leased_until < now():
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
            (self.store.space, LaunchState.CANCELLED.value, micros(now())),
        )
        for launch in self.store.find(Launch, id=[row[0] for row in rows], limit=1000) if rows else ():
            self.end_cancelled(launch)

    def _given_up(self, record: Launch) -> None:
        self._end_run(record, State.FAILED, TOO_OFTEN)

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
