"""Runs that were asked for: ask for one of a snapshot, see where it stands, and end it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tilth.errors import AccessDenied, DefinitionError, NotFound
from tilth.records import Json, Snapshot
from tilth.records.access import Role
from tilth.records.launching import Launch, LaunchState
from tilth.server.access import DEFAULT_PROJECT
from tilth.server.documents import accepts, answers, page_of, read, respond, respond_page, respond_row
from tilth.server.launching import check_parameters
from tilth.server.requests import Body, Editor, ProjectRequest, Viewer, Who, access_of, queue_of, store_of

router = APIRouter(prefix="/projects/{project}", tags=["snapshots"])
anywhere = APIRouter(tags=["snapshots"])
_LONGEST_KEY = 200


class NewLaunch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run to start. With the same `key`, the same user asks for it once, however often it is sent."""

    parameters: dict[str, Json] = {}
    key: str | None = None


@router.post(
    "/snapshots/{id}/runs",
    status_code=202,
    summary="Ask for a run of a snapshot",
    openapi_extra=accepts(NewLaunch),
    responses=answers(Launch, 202),
)
def launch(request: Request, asked: Editor, id: str, body: Body) -> Response:  # noqa: A002
    """It is started as soon as a runner takes it; `run` of the answer is the id that it will have."""
    return _launch(request, asked, id, body)


@anywhere.post(
    "/snapshots/{id}/runs",
    status_code=202,
    summary="Ask for a run of a snapshot, whatever project it is of",
    openapi_extra=accepts(NewLaunch),
    responses=answers(Launch, 202),
)
def launch_anywhere(request: Request, who: Who, id: str, body: Body) -> Response:  # noqa: A002
    """As the same within a project, for who knows the id alone."""
    access = access_of(request)
    rows = access.store.database.select("SELECT space FROM snapshot WHERE id = ? LIMIT 1", (id,))
    project = (rows[0][0] or DEFAULT_PROJECT) if rows else ""
    # Of what project it is, is told to members alone.
    if not rows or access.role(who, project) is None:
        raise NotFound(f"no snapshot has the id `{id}`")
    access.check(who, project, Role.EDITOR)
    return _launch(request, ProjectRequest(who, project, access, store_of(request, project)), id, body)


def _launch(request: Request, asked: ProjectRequest, id: str, body: bytes) -> Response:  # noqa: A002
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may start no other")
    told = read(body, NewLaunch)
    if told.key is not None and not 0 < len(told.key) <= _LONGEST_KEY:
        raise DefinitionError(f"`key` has {len(told.key)} letters", mend=f"give 1 to {_LONGEST_KEY}")
    snapshot = asked.store.get(Snapshot, id)
    parameters = check_parameters(snapshot, told.parameters)
    user = asked.who.user
    entry = asked.access.entry(asked.who, "launch.create", snapshot.label, project=asked.project)
    found = queue_of(request).enqueue(
        project=asked.project,
        snapshot=snapshot,
        parameters=parameters,
        cause=f"user {user.name}",
        user=user.id,
        key=None if told.key is None else f"{asked.project} {user.id} {told.key}",
        beside=[entry],
    )
    return respond(found, status=202)


@router.get("/launches", summary="List runs that were asked for", responses=answers(page_of(Launch)))
def find_launches(
    asked: Viewer,
    state: Annotated[list[LaunchState] | None, Query(description="One of them must hold.")] = None,
    snapshot: Annotated[str | None, Query(description="Its id.")] = None,
    pipeline: str | None = None,
    run: Annotated[str | None, Query(description="Its id.")] = None,
    order: str = "-created_at",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> Response:
    """Newest first, whatever came of them."""
    where: dict[str, Any] = {"project": asked.project}
    given = {"snapshot": snapshot, "pipeline": pipeline, "run": run}
    where |= {name: value for name, value in given.items() if value is not None}
    if state:
        where["state"] = [each.value for each in state]
    rows, following = asked.access.store.find_rows(Launch, order=order, limit=limit, after=after, where=where)
    return respond_page(rows, following)


@router.get("/launches/{id}", summary="One run that was asked for", responses=answers(Launch))
def get_launch(asked: Viewer, id: str) -> Response:  # noqa: A002
    """Where it stands, and why it failed if it did."""
    _found(asked, id)
    return respond_row(asked.access.store.get_row(Launch, id))


@router.post(
    "/launches/{id}/cancel",
    summary="End a run that was asked for",
    responses=answers(Launch, errors=[409]),
)
def cancel_launch(request: Request, asked: Editor, id: str) -> Response:  # noqa: A002
    """One that waits is never started. Of one that runs, the runner is told, and ends it."""
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may change nothing else")
    found = _found(asked, id)
    entry = asked.access.entry(asked.who, "launch.cancel", id, project=asked.project)
    return respond(queue_of(request).cancel(found, beside=[entry]))


def _found(asked: ProjectRequest, id: str) -> Launch:  # noqa: A002
    found = asked.access.store.get(Launch, id)
    if found.project != asked.project:
        raise NotFound(f"no launch has the id `{id}`")
    return found
