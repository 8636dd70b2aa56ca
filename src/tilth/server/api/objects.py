"""Files under keys, kept by the server for clients that share no store: artifacts, bundles, compiled pipelines."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from tilth.errors import AccessDenied, NotFound
from tilth.server.documents import accepts, answers, read, respond
from tilth.server.requests import Body, Editor, OneThread, ProjectRequest, Viewer

_OF_RUNS = ("runs/", "attempts/")  # how keys begin that have the id of a run next
router = APIRouter(prefix="/projects/{project}", tags=["objects"], route_class=OneThread)
_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Received(msgspec.Struct, frozen=True):
    """How much of an object is here, in bytes; it is there when that is its size."""

    have: int


class ObjectView(msgspec.Struct, frozen=True):
    """An object: its key, its size in bytes, and the digest of its content."""

    key: str
    size: int
    digest: str


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of objects that are looked for."""

    keys: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)]


class ObjectList(msgspec.Struct, frozen=True):
    """Objects in the order of their keys. `next` goes into `after` for the rest."""

    items: tuple[ObjectView, ...]
    next: str | None


@router.get("/objects", summary="List objects", responses=answers(ObjectList))
def find_objects(
    asked: Viewer,
    prefix: Annotated[str, Query(description="How keys begin; empty, or ending with `/`.")] = "",
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> Response:
    """With their sizes and digests."""
    found = asked.files.list(prefix, after, limit + 1)
    items = tuple(ObjectView(*each) for each in found[:limit])
    return respond(ObjectList(items, items[-1].key if len(found) > limit else None))


@router.post(
    "/objects/query",
    summary="Which of these objects are there",
    openapi_extra=accepts(Keys),
    responses=answers(ObjectList),
)
def query_objects(asked: Viewer, body: Body) -> Response:
    """With their sizes and digests; what is not there is left out."""
    found = (asked.files.find(key) for key in read(body, Keys).keys)
    return respond(ObjectList(tuple(ObjectView(*each) for each in found if each is not None), None))


@router.get("/uploads/{digest}", summary="How much of an object has come", responses=answers(Received))
def get_upload(asked: Viewer, digest: str) -> Response:
    """Where to go on with an upload that was broken off."""
    return respond(Received(asked.files.have(digest)))


@router.put(
    "/objects/{key:path}",
    summary="Send an object, or a part of one",
    openapi_extra=_BYTES,
    responses=answers(Received, errors=[409]),
)
def put_object(
    asked: Editor,
    key: str,
    body: Body,
    digest: Annotated[str, Query(description="Of the whole object: `sha256:…`.")],
    size: Annotated[int, Query(ge=0, description="Of the whole object, in bytes.")],
    offset: Annotated[int, Query(ge=0, description="Where in it this part begins.")] = 0,
) -> Response:
    """The answer says where the next part has to begin; the same part sent again changes nothing."""
    found = asked.files.find(key) if asked.who.token.run else None
    if key.startswith(_OF_RUNS) or (found is not None and found.digest != digest):
        _hold_to_run(asked, key)
    return respond(Received(asked.files.put(key, body, digest=digest, size=size, offset=offset)))


@router.head("/objects/{key:path}", include_in_schema=False)
def head_object(asked: Viewer, key: str) -> Response:
    """Its size and digest."""
    found = asked.files.find(key)
    if found is None:
        raise NotFound(f"there is no object `{key}`")
    headers = {"Content-Length": str(found.size), "ETag": f'"{found.digest}"'}
    return Response(headers=headers, media_type="application/octet-stream")


@router.get(
    "/objects/{key:path}",
    summary="The content of an object",
    response_class=FileResponse,
    responses={
        **answers(None),
        200: {"content": {"application/octet-stream": {}}, "description": "Its bytes"},
    },
)
def get_object(asked: Viewer, key: str) -> Response:
    """Streamed; a `Range` gives a part."""
    path, found = asked.files.path(key)
    # Nothing of a user's is shown as a page of this server.
    headers = {
        "ETag": f'"{found.digest}"',
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "sandbox",
    }
    return FileResponse(path, media_type="application/octet-stream", headers=headers)


@router.delete(
    "/objects/{key:path}", summary="Forget an object", status_code=204, responses=answers(None, 204)
)
def delete_object(asked: Editor, key: str) -> Response:
    """Nothing happens when it is not there."""
    _hold_to_run(asked, key)
    asked.files.delete(key)
    return Response(status_code=204)


def _hold_to_run(asked: ProjectRequest, key: str) -> None:
    """Let a run's own token replace and delete what is of that run alone; new objects are named by their content."""
    run = asked.who.token.run
    if run and not key.startswith(tuple(f"{each}{run}/" for each in _OF_RUNS)):
        raise AccessDenied("this token is of one run, and may change nothing that others have put here")
