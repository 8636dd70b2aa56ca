"""Runs as people look for them, and what they do to many at once."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from tilth.errors import AccessDenied, Conflict, DefinitionError, NotFound, TilthError
from tilth.records import Run, State, now
from tilth.records.launching import RunLease
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.requests import Body, Editor, ProjectRequest, Viewer
from tilth.server.run_rows import RunRow, row_of
from tilth.store.run_search import RunSearch, search

router = APIRouter(prefix="/projects/{project}", tags=["views"])
_MOST_AT_ONCE = 200  # runs that something is done to
_LONGEST = 200  # characters of what is looked for, and of a tag
_MOST_TAGS = 50  # of one run
_TRIES = 20


class RunRows(msgspec.Struct, frozen=True):
    """Some runs; `next` goes into `after` for the rest, and there may be a rest behind a page without any."""

    items: tuple[RunRow, ...]
    next: str | None = None


class RunAction(str, Enum):
    """What can be done to many runs."""

    CANCEL = "cancel"
    DELETE = "delete"  # with its step runs and logs; artifacts stay
    TAG = "tag"
    UNTAG = "untag"


class RunActions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to do to runs, by their ids."""

    action: RunAction
    runs: tuple[str, ...]
    tags: tuple[str, ...] = ()  # to add or take away


class ActionDone(msgspec.Struct, frozen=True):
    """What came of it for one run: `refused` says why nothing did, and `mend` what to do."""

    run: str
    name: str = ""
    done: bool = True
    refused: str = ""
    mend: str = ""


class ActionsDone(msgspec.Struct, frozen=True):
    """In the order of the runs."""

    items: tuple[ActionDone, ...]


@router.get("/run-rows", summary="Look for runs", responses=answers(RunRows))
def find_run_rows(
    asked: Viewer,
    name: Annotated[str, Query(max_length=_LONGEST, description="A part of their name, in any case.")] = "",
    state: Annotated[list[State] | None, Query(description="One of them must hold.")] = None,
    pipeline: Annotated[list[str] | None, Query(max_length=20)] = None,
    stack: Annotated[list[str] | None, Query(max_length=20)] = None,
    tag: Annotated[list[str] | None, Query(max_length=20, description="Each of them must be there.")] = None,
    since: Annotated[datetime | None, Query(description="Made then or later.")] = None,
    until: Annotated[datetime | None, Query(description="Made before.")] = None,
    order: Annotated[
        str, Query(description="`created_at`, `name`, `duration`; `-` for the largest first.")
    ] = ("-created_at"),
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[str, Query(description="`next` of the page before.")] = "",
) -> Response:
    """By part of a name, tags and stack, 5,000 runs at a time are looked through: a page may have none, and a next."""
    for moment, field in ((since, "since"), (until, "until")):
        if moment is not None and moment.tzinfo is None:
            raise DefinitionError(f"`{field}` has no time zone", mend="write it like `2026-03-01T06:30:00Z`")
    wanted = RunSearch(
        name=name,
        states=[each.value for each in state or ()],
        pipelines=pipeline or (),
        stacks=stack or (),
        tags=tag or (),
        since=since,
        until=until,
        order=order,
    )
    page = search(asked.store, wanted, limit=limit, after=after)
    return respond(RunRows(tuple(row_of(each) for each in page), page.next))


@router.post(
    "/run-actions",
    summary="Cancel, delete or tag many runs",
    openapi_extra=accepts(RunActions),
    responses=answers(ActionsDone),
)
def act(asked: Editor, body: Body) -> Response:
    """Each on its own: what cannot be done to one is told, and the others are done."""
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may change nothing else")
    told = read(body, RunActions)
    if len(told.runs) > _MOST_AT_ONCE:
        raise DefinitionError(f"these are {len(told.runs):,} runs", mend=f"give {_MOST_AT_ONCE} at most")
    if told.action in (RunAction.TAG, RunAction.UNTAG):
        _check_tags(told.tags)
    return respond(ActionsDone(tuple(_act(asked, told, each) for each in dict.fromkeys(told.runs))))


def _act(asked: ProjectRequest, told: RunActions, run: str) -> ActionDone:
    name = ""
    try:
        record = asked.store.get(Run, run)
        name = record.name
        if told.action is RunAction.CANCEL:
            _cancel(asked, record)
        elif told.action is RunAction.DELETE:
            _delete(asked, record)
        else:
            _tag(asked, record, told)
    except (Conflict, NotFound, DefinitionError) as error:
        return ActionDone(run, name, done=False, refused=str(error.summary), mend=error.mend)
    return ActionDone(run, name)


def _cancel(asked: ProjectRequest, run: Run) -> None:
    """Tell its driver; the run of a driver that is gone is cancelled here."""
    for _ in range(_TRIES):
        if run.state.is_final:
            raise Conflict(f"run `{run.name}` is over: {run.state.value}")
        lease = _lease(asked, run)
        entry = asked.access.entry(asked.who, "run.cancel", run.name, project=asked.project)
        try:
            if lease is not None and lease.expires_at > now():
                asked.access.replace(
                    lease, msgspec.structs.replace(lease, cancel=True), entry, store=asked.store
                )
            else:
                ended = msgspec.structs.replace(run, state=State.CANCELLED, finished_at=now())
                asked.access.replace(run, ended, entry, store=asked.store)
        except (Conflict, NotFound):
            run = asked.store.get(Run, run.id)
            continue
        return
    raise _too_quick(run)


def _delete(asked: ProjectRequest, run: Run) -> None:
    lease = _lease(asked, run)
    if lease is not None and lease.expires_at > now():
        raise Conflict(f"run `{run.name}` is running", mend="cancel it first")
    entry = asked.access.entry(asked.who, "run.delete", run.name, project=asked.project)
    asked.access.forget_run(run.id, entry, store=asked.store)
    asked.files.delete_run(run.id)


def _tag(asked: ProjectRequest, run: Run, told: RunActions) -> None:
    for _ in range(_TRIES):
        if told.action is RunAction.TAG:
            tags = tuple(dict.fromkeys([*run.tags, *told.tags]))
        else:
            tags = tuple(each for each in run.tags if each not in told.tags)
        if tags == run.tags:
            return
        if len(tags) > max(_MOST_TAGS, len(run.tags)):
            raise DefinitionError(f"run `{run.name}` has {len(run.tags)} tags", mend="take some away first")
        entry = asked.access.entry(
            asked.who, f"run.{told.action.value}", run.name, project=asked.project, tags=list(told.tags)
        )
        try:
            asked.access.replace(run, msgspec.structs.replace(run, tags=tags), entry, store=asked.store)
        except Conflict:
            run = asked.store.get(Run, run.id)
            continue
        return
    raise _too_quick(run)


def _check_tags(tags: tuple[str, ...]) -> None:
    if not tags:
        raise DefinitionError("no tag is given", mend="give one in `tags`")
    for each in tags:
        if not each.strip() or len(each) > _LONGEST or not each.isprintable():
            raise DefinitionError(
                f"`{each[:100]}` is no tag", mend=f"give printable characters, at most {_LONGEST}"
            )


def _too_quick(run: Run) -> TilthError:
    return Conflict(f"run `{run.name}` changes too quickly", mend="try again")


def _lease(asked: ProjectRequest, run: Run) -> RunLease | None:
    try:
        return asked.store.get(RunLease, run.id)
    except NotFound:
        return None
