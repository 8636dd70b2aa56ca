"""Builds, as people look at them: the log while an image is made, and what its layers share with other images."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tilth.records import Build, Failure, Moment, State, now
from tilth.records.access import User
from tilth.records.launching import BuildOrder, LaunchState
from tilth.server.documents import answers, respond
from tilth.server.requests import Body, Editor, OneThread, Viewer, builds_of

router = APIRouter(prefix="/projects/{project}/builds/{id}", tags=["builds"], route_class=OneThread)
queue = APIRouter(prefix="/projects/{project}/build-queue", tags=["builds"], route_class=OneThread)
LOST_S = 60  # after which nobody makes an image any more who says nothing; makers do every 15 s
_OTHERS = 200  # of the newest builds, those that are looked at for shared layers
_MOST = 1 << 20  # bytes of a log in one answer


class QueuedBuild(msgspec.Struct, frozen=True, kw_only=True):
    """A build that was ordered on a runner. What goes between the two is theirs alone."""

    id: str
    state: LaunchState
    created_at: Moment
    wanted: str  # name of the runner that was asked for; empty for any
    runner: str  # name of the one that has it; empty for none yet
    user: str  # name of who ordered it
    finished_at: Moment | None
    failure: Failure | None


class BuildQueue(msgspec.Struct, frozen=True, kw_only=True):
    """Builds that were ordered on runners, newest first, and the runners that are there and build images."""

    items: tuple[QueuedBuild, ...]
    takers: tuple[str, ...]


class LogReceived(msgspec.Struct, frozen=True):
    """How many bytes of a log are here."""

    size: int


class BuildLogView(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what was told while an image was made. Each line: time, `O` or `E`, and text."""

    text: str
    next: int  # where the next part begins, in bytes
    size: int  # of the whole, in bytes
    heard_at: Moment  # when something was heard of its maker last
    lost: bool  # whether it is being made by nobody any more, and has no end
    here: bool  # whether this server has a log of it


class SharedWith(msgspec.Struct, frozen=True, kw_only=True):
    """Another image that has a layer."""

    build: str
    name: str
    image: str


class LayerView(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of an image, and the images that have it too."""

    digest: str
    size: int  # bytes
    title: str
    made: bool
    way: str  # how it came into the registry: `sent`, `copied`, `mounted`, `skipped`; empty where there is none
    shared: tuple[SharedWith, ...]


class ImageView(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of an image, the base's first."""

    image: str
    size: int  # bytes of all layers
    shared_size: int  # bytes of those that other images have too
    layers: tuple[LayerView, ...]
    compared_with: int  # other images of the newest builds


@queue.get("", summary="Builds that wait for runners, or are on some", responses=answers(BuildQueue))
def get_queue(request: Request, asked: Viewer, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Response:
    """And those that ended last."""
    store = asked.access.store
    found = store.find(BuildOrder, project=asked.project, limit=limit).items
    ids = sorted({each.user for each in found if each.user})
    names = {each.id: each.name for each in store.find(User, id=ids, limit=len(ids))} if ids else {}
    items = tuple(
        QueuedBuild(
            id=each.id,
            state=each.state,
            created_at=each.created_at,
            wanted=each.wanted,
            runner=each.runner_name,
            user=names.get(each.user, ""),
            finished_at=each.finished_at,
            failure=each.failure,
        )
        for each in found
    )
    return respond(BuildQueue(items=items, takers=tuple(builds_of(request).takers(asked.project))))


@router.get("/layers", summary="The layers of an image, and who shares them", responses=answers(ImageView))
def layers(asked: Viewer, id: str) -> Response:  # noqa: A002
    """Compared with the images of the newest 200 builds of the project."""
    build = asked.store.get(Build, id)
    known = build.layers
    if not known and build.image:  # it was found in the registry: whoever made it knows what is in it
        same = asked.store.find(Build, image=build.image, limit=20)
        known = next((each.layers for each in same if each.layers), ())
    others = {
        each.image: each
        for each in asked.store.find(Build, limit=_OTHERS)
        if each.layers and each.image != build.image
    }
    views = tuple(
        LayerView(
            digest=layer.digest,
            size=layer.size,
            title=layer.title,
            made=layer.made,
            way=layer.way,
            shared=tuple(
                SharedWith(build=each.id, name=each.name, image=each.image)
                for each in others.values()
                if any(one.digest == layer.digest for one in each.layers)
            ),
        )
        for layer in known
    )
    view = ImageView(
        image=build.image,
        size=sum(each.size for each in views),
        shared_size=sum(each.size for each in views if each.shared),
        layers=views,
        compared_with=len(others),
    )
    return respond(view)


@router.get("/log", summary="What was told while an image was made", responses=answers(BuildLogView))
def get_log(
    asked: Viewer,
    id: str,  # noqa: A002
    offset: Annotated[int, Query(ge=0, description="In bytes.")] = 0,
    limit: Annotated[
        int, Query(ge=0, le=_MOST, description="Bytes at most; 0 tells of the maker alone.")
    ] = _MOST,
) -> Response:
    """Whole lines; also whether anybody makes it still."""
    build = asked.store.get(Build, id)
    found = asked.files.build_log(id, offset, limit)
    heard_at = build.created_at
    if found is not None:
        heard_at = max(heard_at, datetime.fromtimestamp(found.heard_at, timezone.utc))
    goes_on = build.state is State.RUNNING
    view = BuildLogView(
        text=found.content.decode("utf-8", "replace") if found else "",
        next=offset + (len(found.content) if found else 0),
        size=found.size if found else 0,
        heard_at=heard_at,
        lost=goes_on and (now() - heard_at).total_seconds() > LOST_S,
        here=found is not None,
    )
    return respond(view)


@router.put(
    "/log",
    summary="Send what is told while an image is made",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses=answers(LogReceived),
)
def put_log(asked: Editor, id: str, body: Body, offset: Annotated[int, Query(ge=0)]) -> Response:  # noqa: A002
    """From `offset` on; the same part sent again changes nothing, and no content says that the maker lives."""
    asked.store.get(Build, id)
    return respond(LogReceived(asked.files.append_build_log(id, body, offset)))
