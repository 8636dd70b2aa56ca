"""Asks for the runs that schedules are due, and ends runs and builds that nobody stopped: a thread of each server.

Many may do it at once; each run comes once.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import Conflict, NotFound, TilthError
from tilth.records import Failure, Snapshot, now
from tilth.records.access import User
from tilth.records.launching import Launch, LaunchState, Overlap, Schedule
from tilth.server import timetable
from tilth.server.access import DEFAULT_PROJECT
from tilth.server.launching import check_parameters, may_run

if TYPE_CHECKING:
    from datetime import datetime

    from tilth.server.build_orders import BuildOrders
    from tilth.server.queue import Queue

EVERY_S = 1.0
_GOING_ON = (LaunchState.QUEUED.value, LaunchState.LEASED.value, LaunchState.STARTED.value)
logger = logging.getLogger("tilth.server")


class Clock:
    """Looks at schedules and cancelled launches until it is stopped.

    Args:
        schedules: Whether it starts the runs of schedules.
    """

    def __init__(
        self, queue: Queue, builds: BuildOrders, *, schedules: bool = True, every_s: float = EVERY_S
    ) -> None:
        self._queue = queue
        self._builds = builds
        self._schedules = schedules
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tilth-clock", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._queue.end_left()
                self._builds.end_left()
                if self._schedules:
                    tick(self._queue, now())
            except TilthError as error:
                logger.warning("schedules wait: %s", error.summary)
            except Exception:
                logger.exception("a schedule, or what nobody stopped, could not be looked at")


def tick(queue: Queue, moment: datetime) -> None:
    """Ask for every run that is due at a moment."""
    passed: set[str] = set()
    while True:
        found = [
            each
            for each in queue.store.find(Schedule, order="created_at", limit=1000, id=_due(queue, moment))
            if each.id not in passed
        ]
        if not found:
            return
        for schedule in found:
            passed.add(schedule.id)
            try:
                _start_due(queue, schedule, moment)
            except (Conflict, NotFound):
                continue  # it was changed or deleted just now, or another server was quicker
            except TilthError as error:
                logger.warning(
                    "schedule %s of project %s: %s", schedule.name, schedule.project, error.summary
                )


def _due(queue: Queue, moment: datetime) -> list[str]:
    """Ids of those whose next time has come: a range, which `find` does not know."""
    from tilth.store.schema import sql_value

    rows = queue.store.database.select(
        "SELECT id FROM schedule WHERE space = ? AND next_at <= ? ORDER BY next_at LIMIT 1000",
        (queue.store.space, sql_value(moment)),
    )
    return [row[0] for row in rows]


def _start_due(queue: Queue, schedule: Schedule, moment: datetime) -> None:
    times = timetable.due(schedule, moment)
    going_on = _going_on(queue, schedule)
    if going_on and schedule.overlap is Overlap.WAIT:
        return  # it stays due
    if schedule.overlap is Overlap.WAIT:
        times = times[:1]
    for at in times:
        _start(queue, schedule, at, going_on)
        going_on = _going_on(queue, schedule)
    last = times[-1]
    following = timetable.next_time(schedule, last if schedule.catch_up else max(last, moment))
    if schedule.overlap is Overlap.WAIT and schedule.catch_up:
        following = timetable.next_time(schedule, last)
    queue.store.replace(schedule, msgspec.structs.replace(schedule, last_at=last, next_at=following))


def _start(queue: Queue, schedule: Schedule, at: datetime, going_on: list[Launch]) -> None:
    key = f"schedule {schedule.id} {at.isoformat()}"
    if going_on and schedule.overlap is Overlap.SKIP:
        _note(queue, schedule, key, LaunchState.SKIPPED, None)
        return
    refused = start_for(
        queue, schedule.project, schedule.snapshot, dict(schedule.parameters), f"schedule {schedule.name}",
        schedule.user, key,
    )  # fmt: skip
    if isinstance(refused, Failure):
        _note(queue, schedule, key, LaunchState.FAILED, refused)
        return
    if schedule.overlap is Overlap.CANCEL:
        for each in going_on:
            if each.id != refused.id:
                try:
                    queue.cancel(each)
                except (Conflict, NotFound):
                    continue  # it has ended by itself


def start_for(
    queue: Queue, project: str, name: str, parameters: dict[str, object], cause: str, user_id: str, key: str
) -> Launch | Failure:
    """Ask for a run of the newest version of a snapshot for somebody, or say why that cannot be."""
    try:
        user: User | None = queue.store.get(User, user_id)
    except NotFound:
        user = None
    if not may_run(user, project, queue.store):
        who = f"`{user.name}`" if user is not None else "whoever made it"
        return Failure(
            reason="cancelled",
            message=f"{who} may not start runs in project `{project}` any more",
            mend="let somebody who may make it again",
        )
    store = queue.store.within("" if project == DEFAULT_PROJECT else project)
    found = store.find(Snapshot, name=name, order="-version", limit=1).items
    if not found:
        return Failure(
            reason="input",
            message=f"there is no snapshot `{name}` any more",
            mend=f"make one: `tilth snapshots create FILE --name {name}`",
        )
    try:
        checked = check_parameters(found[0], parameters)
    except TilthError as error:
        return Failure(reason="input", message=error.summary, mend=error.mend)
    return queue.enqueue(
        project=project, snapshot=found[0], parameters=checked, cause=cause, user=user_id, key=key
    )


def _note(queue: Queue, schedule: Schedule, key: str, state: LaunchState, failure: Failure | None) -> None:
    """Remember a time at which no run was started, once."""
    store = queue.store.within("" if schedule.project == DEFAULT_PROJECT else schedule.project)
    newest = store.find(Snapshot, name=schedule.snapshot, order="-version", limit=1).items
    launch = Launch(
        project=schedule.project,
        snapshot=newest[0].id if newest else "",
        pipeline=newest[0].pipeline if newest else "",
        state=state,
        key=key,
        user=schedule.user,
        cause=f"schedule {schedule.name}",
        parameters=dict(schedule.parameters),
        failure=failure,
        finished_at=now(),
    )
    try:
        queue.store.add(launch)
    except Conflict:
        return  # another server noted it


def _going_on(queue: Queue, schedule: Schedule) -> list[Launch]:
    found = queue.store.find(Launch, project=schedule.project, state=list(_GOING_ON), limit=1000)
    return [each for each in found if each.cause == f"schedule {schedule.name}"]
