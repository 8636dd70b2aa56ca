"""Runs while they go on: who drives them, what their steps print, and what happens, as it happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from sse_starlette.sse import EventSourceResponse

from tilth.errors import AccessDenied, Conflict, LoginNeeded, NotFound
from tilth.records import Moment, Run, now
from tilth.records.access import Role
from tilth.records.launching import RunLease
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.events import Listener, Watchers
from tilth.server.requests import Body, Editor, OneThread, ProjectRequest, Viewer, principal
from tilth.store import Delete

router = APIRouter(prefix="/projects/{project}/runs/{run}", tags=["live"], route_class=OneThread)
_LONGEST_S = 3600


class Beat(msgspec.Struct, frozen=True):
    """A driver that says it lives, and for how long it will not say so again."""

    holder: str
    fence: int
    lasts_s: Annotated[int, msgspec.Meta(ge=1, le=_LONGEST_S)] = 60


class Answered(msgspec.Struct, frozen=True):
    """What the driver is asked for."""

    cancel: bool


class LeaseView(msgspec.Struct, frozen=True):
    """Whether somebody drives a run now, and who."""

    held: bool
    holder: str = ""
    expires_at: Moment | None = None


class LogView(msgspec.Struct, frozen=True):
    """A log, and its size in bytes."""

    name: str
    size: int


class LogList(msgspec.Struct, frozen=True):
    """The logs of a run: one for each attempt of each step that printed something."""

    items: tuple[LogView, ...]


class Appended(msgspec.Struct, frozen=True):
    """How many bytes of a log are here."""

    size: int


@router.put(
    "/lease",
    summary="Say that a driver lives",
    openapi_extra=accepts(Beat),
    responses=answers(Answered, errors=[409]),
)
def put_lease(asked: Editor, run: str, body: Body) -> Response:
    """One drives at a time: who holds a lower fence, or comes while another holds the same, is refused."""
    told = read(body, Beat)
    _own(asked, run)
    record = asked.store.get(Run, run)
    if record.fence > told.fence:
        raise Conflict(f"run `{record.name}` was taken over by another driver")
    found = _lease(asked, run)
    if found is not None and _is_held(found) and found.fence == told.fence and found.holder != told.holder:
        raise Conflict(
            f"run `{record.name}` is being driven by another process ({found.holder})",
            mend=f"wait for it, or stop it with `tilth runs cancel {record.name}`",
        )
    lease = RunLease(
        id=run,
        holder=told.holder[:200],
        fence=told.fence,
        expires_at=now() + timedelta(seconds=told.lasts_s),
        cancel=found.cancel if found is not None else False,
    )
    try:
        if found is None:
            asked.store.add(lease)
        else:
            lease = asked.store.replace(found, lease)
    except Conflict:  # it was asked to stop just now, or another came first; the next beat tells
        again = _lease(asked, run)
        return respond(Answered(again.cancel if again is not None else False))
    return respond(Answered(lease.cancel))


@router.get("/lease", summary="Whether somebody drives a run", responses=answers(LeaseView))
def get_lease(asked: Viewer, run: str) -> Response:
    """By the server's clock."""
    found = _lease(asked, run)
    if found is None:
        return respond(LeaseView(held=False))
    return respond(LeaseView(_is_held(found), found.holder, found.expires_at))


@router.delete("/lease", summary="Say that a driver ends", status_code=204, responses=answers(None, 204))
def delete_lease(asked: Editor, run: str) -> Response:
    """Others may drive the run from now on."""
    _own(asked, run)
    asked.store.write([Delete(RunLease, run)])
    return Response(status_code=204)


@router.post("/cancel", summary="Ask the driver of a run to stop it", responses=answers(LeaseView))
def cancel(asked: Editor, run: str) -> Response:
    """It answers at its next beat; nobody may be driving it."""
    record = asked.store.get(Run, run)
    _own(asked, run)
    if record.state.is_final:
        raise Conflict(f"run `{record.name}` is over: {record.state.value}")
    for _ in range(20):
        found = _lease(asked, run)
        if found is None or not _is_held(found):
            return respond(LeaseView(held=False))
        try:
            entry = asked.access.entry(asked.who, "run.cancel", record.name, project=asked.project)
            told = msgspec.structs.replace(found, cancel=True)
            asked.access.replace(found, told, entry, store=asked.store)
        except (Conflict, NotFound):
            continue
        return respond(LeaseView(held=True, holder=found.holder, expires_at=found.expires_at))
    raise Conflict(f"run `{record.name}` changes too quickly", mend="try again")


@router.get("/logs", summary="List the logs of a run", responses=answers(LogList))
def find_logs(asked: Viewer, run: str) -> Response:
    """Named `STEP.ATTEMPT.log`, or `STEP.ITEM.ATTEMPT.log` for an item of a mapped step."""
    return respond(LogList(tuple(LogView(*each) for each in asked.files.logs(run).items())))


@router.get(
    "/logs/{name}",
    summary="What an attempt printed",
    response_class=FileResponse,
    responses={
        **answers(None),
        200: {"content": {"text/plain": {}}, "description": "Lines with time and stream"},
    },
)
def get_log(asked: Viewer, run: str, name: str) -> Response:
    """Streamed; a `Range` gives a part. Each line: time, `O` or `E` for its stream, and what was printed."""
    return FileResponse(asked.files.log(run, name), media_type="text/plain; charset=utf-8")


@router.put(
    "/logs/{name}",
    summary="Send what an attempt printed",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses=answers(Appended),
)
def put_log(asked: Editor, run: str, name: str, body: Body, offset: Annotated[int, Query(ge=0)]) -> Response:
    """From `offset` on; the same part sent again changes nothing. The answer says how much is here."""
    _own(asked, run)
    asked.store.get(Run, run)
    return respond(Appended(asked.files.append_log(run, name, body, offset)))


@router.get(
    "/events",
    summary="What happens in a run, as it happens",
    response_class=EventSourceResponse,
    responses={
        **answers(None),
        200: {
            "content": {"text/event-stream": {}},
            "description": "Server-sent events: `run`, `step_run`, `items`, `log`",
        },
    },
)
def events(
    request: Request,
    asked: Viewer,
    run: str,
    logs: Annotated[bool, Query(description="Log lines too.")] = True,
) -> EventSourceResponse:
    """First everything that has happened, then what comes, until the run has ended, or the listener may not hear it.

    `run` and `step_run` carry the record, `items` how many items of a mapped step are in each state, `log` a log's
    name, the offset, and lines.
    """
    asked.store.get(Run, run)
    watchers: Watchers = request.app.state.watchers

    def may_hear() -> bool:
        try:
            asked.access.check(principal(request), asked.project, Role.VIEWER)
        except (LoginNeeded, AccessDenied, NotFound):
            return False
        return True

    listener = Listener(asked.who.token.id, may_hear)
    return EventSourceResponse(watchers.watch(asked.store, asked.files, run, listener, logs=logs), ping=15)


def _own(asked: ProjectRequest, run: str) -> None:
    if asked.who.token.run not in ("", run):
        raise AccessDenied("this token is of another run")


def _lease(asked: ProjectRequest, run: str) -> RunLease | None:
    try:
        return asked.store.get(RunLease, run)
    except NotFound:
        return None


def _is_held(lease: RunLease) -> bool:
    return lease.expires_at > now()
