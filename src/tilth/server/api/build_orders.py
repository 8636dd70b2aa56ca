"""Images that are built on runners: ordered by a client, and relayed between it and the runner that has them.

What goes through is sealed for those two (`tilth.image_builders.relay`); here it is bytes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tilth.errors import AccessDenied, Conflict, DefinitionError, NotFound
from tilth.records import Failure, now
from tilth.records.launching import BuildOrder, LaunchState, Runner
from tilth.server.api.runners import runner_of
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.files import Files
from tilth.server.leases import LeaseLost
from tilth.server.relay import Stream, folder_of, forget
from tilth.server.requests import Body, Editor, ProjectRequest, Who, access_of, builds_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.server.access import Access

router = APIRouter(prefix="/projects/{project}/build-orders", tags=["builds on runners"])
of_runners = APIRouter(prefix="/runners/{id}/builds", tags=["builds on runners"])
_QUICK_S, _SLOW_S = 0.02, 0.25  # between two looks for what comes

Key = Annotated[str, msgspec.Meta(max_length=100)]
Offset = Annotated[int, Query(ge=0)]
WaitS = Annotated[
    float, Query(ge=0, le=30, description="As long as is waited where nothing has come, in seconds.")
]
_BYTES: dict[str, Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
}
_SENT = {"requestBody": {"required": True, **_BYTES}}
_GIVEN: dict[int | str, dict[str, Any]] = {
    **answers(None),
    200: {**_BYTES, "description": "What has come; nothing where nothing did"},
    204: {"description": "Nothing comes any more"},
}


class NewBuildOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image to build. `key`: the public key of X25519 that what a runner sends is sealed for, in base64."""

    key: Key
    runner: Annotated[str, msgspec.Meta(max_length=200)] = ""  # its name; empty for any


class BuildOrderView(msgspec.Struct, frozen=True):
    """Where a build stands. `takers`: names of runners that are there and build images for the project."""

    order: BuildOrder
    takers: tuple[str, ...]


class Closed(msgspec.Struct, frozen=True):
    """Who ordered a build waits for nothing more. `done`: all has come."""

    done: bool = False


class Came(msgspec.Struct, frozen=True):
    """How many bytes of a stream have come. The part that was sent is among them, or is to be sent again later."""

    have: int


class Begun(msgspec.Struct, frozen=True):
    """A runner begins with a build. `key`: as in the order, for this build alone."""

    fence: int
    key: Key


class BuildEnded(msgspec.Struct, frozen=True):
    """A build is over on the runner's side. `failure`: why nothing came of it."""

    fence: int
    failure: Failure | None = None


@router.post(
    "",
    status_code=202,
    summary="Order a build on a runner",
    openapi_extra=accepts(NewBuildOrder),
    responses=answers(BuildOrder, 202, errors=[409]),
)
def order(request: Request, asked: Editor, body: Body) -> Response:
    """It waits for a runner that builds images; as long as its `GET` is asked for."""
    _no_run(asked)
    told = read(body, NewBuildOrder)
    made = BuildOrder(
        project=asked.project,
        user=asked.who.user.id,
        wanted=told.runner,
        key=_checked(told.key),
        heard_at=now(),
    )
    entry = asked.access.entry(asked.who, "build.order", told.runner, project=asked.project)
    return respond(builds_of(request).order(made, entry), status=202)


@router.get("/{id}", summary="Where a build stands", responses=answers(BuildOrderView))
def get_order(request: Request, asked: Editor, id: str) -> Response:  # noqa: A002
    """Asked again and again until it has begun: one that nobody asks for is given up."""
    found, builds = _own(asked, id), builds_of(request)
    if found.state in (LaunchState.QUEUED, LaunchState.LEASED):
        builds.heard(found)
    return respond(BuildOrderView(found, tuple(builds.takers(asked.project))))


@router.put(
    "/{id}/in",
    summary="Send a part to the runner",
    openapi_extra=_SENT,
    responses=answers(Came, errors=[409]),
)
def put_in(asked: Editor, id: str, body: Body, offset: Offset) -> Response:  # noqa: A002
    """From `offset` on: taken whole, or not at all while too much waits for the runner."""
    found = _own(asked, id)
    if found.state is not LaunchState.STARTED:
        raise Conflict(f"build order `{id}` does not go on", why=found.state.value)
    return respond(Came(_stream(asked.access, found, "in").put(body, offset)))


@router.get("/{id}/out", summary="What the runner sends", response_class=Response, responses=_GIVEN)
async def get_out(asked: Editor, id: str, offset: Offset, wait_s: WaitS = 0) -> Response:  # noqa: A002
    """From `offset` on, where a part begins. What lies before is forgotten."""
    return await _coming(lambda: _come(asked.access, _own(asked, id), "out", offset), wait_s)


@router.post(
    "/{id}/close",
    summary="Wait for a build no longer",
    openapi_extra=accepts(Closed),
    responses=answers(BuildOrder),
)
def close(request: Request, asked: Editor, id: str, body: Body) -> Response:  # noqa: A002
    """What is not done is cancelled, and its runner told."""
    found = builds_of(request).close(_own(asked, id), done=read(body, Closed).done)
    forget(asked.files, found.id)
    return respond(found)


@of_runners.post(
    "/{build}/begin",
    summary="Begin with a build",
    openapi_extra=accepts(Begun),
    responses=answers(BuildOrder, errors=[409]),
)
def begin(request: Request, who: Who, id: str, build: str, body: Body) -> Response:  # noqa: A002
    """Once: from now on no other runner gets it."""
    access = access_of(request)
    runner, told = runner_of(access, who, id), read(body, Begun)
    found = _held(access, runner, build, told.fence)
    return respond(builds_of(request).begin(found, runner, _checked(told.key)))


@of_runners.get("/{build}/in", summary="What a runner is sent", response_class=Response, responses=_GIVEN)
async def get_in(
    request: Request,
    who: Who,
    id: str,  # noqa: A002
    build: str,
    fence: int,
    offset: Offset,
    wait_s: WaitS = 0,
) -> Response:
    """As who ordered it gets what the runner sends."""
    access = access_of(request)
    runner = await asyncio.to_thread(runner_of, access, who, id)
    return await _coming(lambda: _come(access, _held(access, runner, build, fence), "in", offset), wait_s)


@of_runners.put(
    "/{build}/out",
    summary="Send a part to who ordered a build",
    openapi_extra=_SENT,
    responses=answers(Came, errors=[409]),
)
def put_out(
    request: Request,
    who: Who,
    id: str,  # noqa: A002
    build: str,
    body: Body,
    fence: int,
    offset: Offset,
) -> Response:
    """As who ordered it sends to the runner."""
    access = access_of(request)
    found = _held(access, runner_of(access, who, id), build, fence)
    if found.state is not LaunchState.STARTED:
        raise LeaseLost(f"build order `{build}` does not go on", why=found.state.value)
    return respond(Came(_stream(access, found, "out").put(body, offset)))


@of_runners.post(
    "/{build}/ended",
    summary="Say that a build is over",
    openapi_extra=accepts(BuildEnded),
    responses=answers(BuildOrder, errors=[409]),
)
def ended(request: Request, who: Who, id: str, build: str, body: Body) -> Response:  # noqa: A002
    """Whatever came of it, who ordered it has been sent; or there is a reason why nothing was."""
    access, builds = access_of(request), builds_of(request)
    runner, told = runner_of(access, who, id), read(body, BuildEnded)
    found = _held(access, runner, build, told.fence)
    if not found.state.is_final:
        found = builds.failed(found, told.failure) if told.failure else builds.ended(found)
    return respond(found)


async def _coming(look: Callable[[], tuple[bytes, bool]], wait_s: float) -> Response:
    """What has come as soon as there is something, or that nothing comes any more. Holds no thread meanwhile."""
    until, pause_s = time.monotonic() + wait_s, _QUICK_S
    while True:
        content, over = await asyncio.to_thread(look)
        if content or over or time.monotonic() >= until:
            return Response(content, 204 if over else 200, media_type="application/octet-stream")
        await asyncio.sleep(pause_s)
        pause_s = min(1.5 * pause_s, _SLOW_S)


def _come(access: Access, found: BuildOrder, name: str, offset: int) -> tuple[bytes, bool]:
    """What has come of a stream, and whether that was all: what is sent before the end is there at the end."""
    content = _stream(access, found, name).take(offset)
    return content, found.state.is_final and not content


def _stream(access: Access, found: BuildOrder, name: str) -> Stream:
    return Stream(folder_of(Files(access.data, found.project), found.id) / name)


def _no_run(asked: ProjectRequest) -> None:
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may order no build")


def _own(asked: ProjectRequest, id: str) -> BuildOrder:  # noqa: A002
    """A build of who asks: nobody else could read what comes of it."""
    _no_run(asked)
    found = asked.access.store.get(BuildOrder, id)
    if found.project != asked.project or found.user != asked.who.user.id:
        raise NotFound(f"no build order has the id `{id}`")
    return found


def _held(access: Access, runner: Runner, build: str, fence: int) -> BuildOrder:
    found = access.store.get(BuildOrder, build)
    if found.runner != runner.id or found.fence != fence:
        raise LeaseLost(f"build order `{build}` is not this runner's any more", why="another runner has it")
    return found


def _checked(key: str) -> str:
    try:
        material = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        material = b""
    if len(material) != 32:
        raise DefinitionError("`key` is no public key of X25519", mend="give its 32 bytes in base64")
    return key
