"""Schedules of a project: runs of snapshots by the clock."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tilth.errors import AccessDenied, Conflict, DefinitionError, NotFound
from tilth.records import Failure, Json, Snapshot, now
from tilth.records.launching import Launch, Overlap, Schedule
from tilth.server import timetable
from tilth.server.clock import start_for
from tilth.server.documents import accepts, answers, page_of, read, respond, respond_page
from tilth.server.launching import check_parameters, launches_of
from tilth.server.requests import Body, Editor, ProjectRequest, Viewer, queue_of
from tilth.store import Delete

router = APIRouter(prefix="/projects/{project}/schedules", tags=["schedules"])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MOST_TIMES = 100


class NewSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A schedule to make: one of `cron`, `every_s` (seconds) and `at`. Times have a zone."""

    name: str
    snapshot: str
    parameters: dict[str, Json] = {}
    cron: str = ""
    timezone: str = "UTC"
    every_s: int = 0
    at: datetime | None = None
    begins_at: datetime | None = None
    ends_at: datetime | None = None
    catch_up: bool = False
    overlap: Overlap = Overlap.ALLOW
    active: bool = True


class ChangedSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to change of a schedule; what is not given stays. `cron`, `every_s` and `at` replace each other."""

    snapshot: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Json] | msgspec.UnsetType = msgspec.UNSET
    cron: str | msgspec.UnsetType = msgspec.UNSET
    timezone: str | msgspec.UnsetType = msgspec.UNSET
    every_s: int | msgspec.UnsetType = msgspec.UNSET
    at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    begins_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    ends_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    catch_up: bool | msgspec.UnsetType = msgspec.UNSET
    overlap: Overlap | msgspec.UnsetType = msgspec.UNSET
    active: bool | msgspec.UnsetType = msgspec.UNSET


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The times of a schedule that is still being written: one of `cron`, `every_s` and `at`."""

    cron: str = ""
    timezone: str = "UTC"
    every_s: int = 0
    at: datetime | None = None
    begins_at: datetime | None = None
    ends_at: datetime | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=_MOST_TIMES)] = 5


class Times(msgspec.Struct, frozen=True):
    """When runs are due, in UTC."""

    items: tuple[datetime, ...]


class Launches(msgspec.Struct, frozen=True):
    """Runs that were asked for."""

    items: tuple[Launch, ...]


_WHEN: dict[str, Any] = {"cron": "", "every_s": 0, "at": None}


@router.get("", summary="List schedules", responses=answers(page_of(Schedule)))
def find_schedules(
    asked: Viewer,
    name: str | None = None,
    order: str = "-created_at",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> Response:
    """Of the project."""
    where: dict[str, Any] = {"project": asked.project, **({} if name is None else {"name": name})}
    return respond_page(
        *asked.access.store.find_rows(Schedule, order=order, limit=limit, after=after, where=where)
    )


@router.post(
    "",
    status_code=201,
    summary="Make a schedule",
    openapi_extra=accepts(NewSchedule),
    responses=answers(Schedule, 201, errors=[409]),
)
def add_schedule(asked: Editor, body: Body) -> Response:
    """Its runs have the rights of whoever makes it."""
    _not_for_runs(asked)
    told = read(body, NewSchedule)
    if not _NAME.fullmatch(told.name):
        raise DefinitionError(
            f"`{told.name[:100]}` is no name of a schedule",
            mend="give letters, digits, `.`, `_` and `-`, at most 100",
        )
    given = {name: getattr(told, name) for name in told.__struct_fields__}
    made = _checked(asked, Schedule(project=asked.project, user=asked.who.user.id, **given))
    entry = asked.access.entry(asked.who, "schedule.create", made.name, project=asked.project)
    try:
        asked.access.store.add(made, entry)
    except Conflict as error:
        raise Conflict(
            f"there is a schedule `{told.name}` already",
            mend=f"change it: `tilth schedules update {told.name}`",
        ) from error
    return respond(made, status=201)


@router.post(
    "/times",
    summary="When the runs of a schedule would be due",
    openapi_extra=accepts(When),
    responses=answers(Times),
)
def preview(asked: Viewer, body: Body) -> Response:
    """Of one that is not made yet."""
    told = msgspec.structs.asdict(read(body, When))
    count = told.pop("count")
    schedule = Schedule(project=asked.project, name="new", snapshot="", **told)
    _check_times(schedule)
    return respond(_following(schedule, count))


@router.get("/{name}", summary="One schedule", responses=answers(Schedule))
def get_schedule(asked: Viewer, name: str) -> Response:
    """When its next run is due, too."""
    return respond(_found(asked, name))


@router.get("/{name}/times", summary="When its next runs are due", responses=answers(Times))
def get_times(asked: Viewer, name: str, count: Annotated[int, Query(ge=1, le=_MOST_TIMES)] = 5) -> Response:
    """As if it were not paused."""
    return respond(_following(_found(asked, name), count))


@router.get(
    "/{name}/launches", summary="What became of its last times, newest first", responses=answers(Launches)
)
def get_launches(asked: Viewer, name: str, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Response:
    """What was skipped, or could not be started, too."""
    schedule, store = _found(asked, name), asked.access.store
    # By the clock the key goes on with a year; years of four digits begin with 1 or 2.
    beginnings = [f"schedule {schedule.id} {each}" for each in ("1", "2", "by hand ")]
    found = [launch for each in beginnings for launch in launches_of(store, each, limit, in_order=True)]
    newest = sorted(found, key=lambda each: each.created_at, reverse=True)
    return respond(Launches(tuple(newest[:limit])))


@router.patch(
    "/{name}",
    summary="Change, pause or resume a schedule",
    openapi_extra=accepts(ChangedSchedule),
    responses=answers(Schedule, errors=[409]),
)
def change_schedule(asked: Editor, name: str, body: Body) -> Response:
    """Its runs have the rights of whoever changed it last. What was missed while it was paused stays missed."""
    _not_for_runs(asked)
    told = read(body, ChangedSchedule)
    given = {
        field: value
        for field in told.__struct_fields__
        if (value := getattr(told, field)) is not msgspec.UNSET
    }
    if any(given.get(each) for each in _WHEN):
        given = {**_WHEN, **given}
    found = _found(asked, name)
    changed = _checked(asked, msgspec.structs.replace(found, user=asked.who.user.id, **given))
    entry = asked.access.entry(
        asked.who, "schedule.update", name, project=asked.project, changed=sorted(given)
    )
    kept = asked.access.replace(found, changed, entry)
    return respond(kept)


@router.post(
    "/{name}/runs",
    status_code=202,
    summary="Ask for a run of a schedule now",
    responses=answers(Launch, 202, errors=[409]),
)
def run_now(request: Request, asked: Editor, name: str) -> Response:
    """Beside those that are due."""
    _not_for_runs(asked)
    schedule = _found(asked, name)
    key = f"schedule {schedule.id} by hand {now().isoformat()}"
    started = start_for(
        queue_of(request), schedule.project, schedule.snapshot, dict(schedule.parameters),
        f"schedule {schedule.name}", asked.who.user.id, key,
    )  # fmt: skip
    if isinstance(started, Failure):
        raise DefinitionError(started.message, mend=started.mend)
    asked.access.change(asked.who, "schedule.run", name, project=asked.project)
    return respond(started, status=202)


@router.delete("/{name}", summary="Delete a schedule", status_code=204, responses=answers(None, 204))
def delete_schedule(asked: Editor, name: str) -> Response:
    """Runs that it has asked for stay."""
    _not_for_runs(asked)
    found = _found(asked, name)
    asked.access.change(asked.who, "schedule.delete", name, Delete(Schedule, found.id), project=asked.project)
    return Response(status_code=204)


def _following(schedule: Schedule, count: int) -> Times:
    return Times(tuple(islice(timetable.times(schedule, now()), count)))


def _check_times(schedule: Schedule) -> None:
    for field in ("at", "begins_at", "ends_at"):
        moment = getattr(schedule, field)
        if moment is not None and moment.tzinfo is None:
            raise DefinitionError(
                f"`{field}` has no time zone", mend="write it like `2026-03-01T06:30:00+01:00`"
            )
    timetable.check(schedule)


def _checked(asked: ProjectRequest, schedule: Schedule) -> Schedule:
    """A schedule that can work, with the time that is next."""
    _check_times(schedule)
    newest = asked.store.find(Snapshot, name=schedule.snapshot, order="-version", limit=1).items
    if not newest:
        raise NotFound(
            f"no snapshot `{schedule.snapshot}`", mend="`tilth snapshots list` shows those that are there"
        )
    check_parameters(newest[0], schedule.parameters)
    following = timetable.next_time(schedule, now())
    if following is None and schedule.active:
        raise DefinitionError(
            f"schedule `{schedule.name}` would never start a run", why="all of its times are over"
        )
    return msgspec.structs.replace(schedule, next_at=following)


def _found(asked: ProjectRequest, name: str) -> Schedule:
    found = asked.access.store.find(Schedule, project=asked.project, name=name, limit=1).items
    if not found:
        raise NotFound(f"no schedule `{name}` in project `{asked.project}`")
    return found[0]


def _not_for_runs(asked: ProjectRequest) -> None:
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may change nothing else")
