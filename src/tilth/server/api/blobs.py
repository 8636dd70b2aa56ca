"""Files that snapshots are made of, by digest: sent and fetched in a stream, never whole in memory."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse

from tilth.errors import AccessDenied
from tilth.server.blobs import Blobs
from tilth.server.documents import answers
from tilth.server.requests import Editor, Viewer  # noqa: TC001 - FastAPI reads the annotations

router = APIRouter(prefix="/projects/{project}/blobs/{digest}", tags=["snapshots"])
_PART = 1 << 20
_CONTENT: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_FILE: dict[int | str, dict[str, Any]] = {
    **answers(None),
    200: {"description": "The file", "content": _CONTENT},
}


def blobs_of(request: Request) -> Blobs:
    """The server's files."""
    blobs: Blobs = request.app.state.blobs
    return blobs


Files = Annotated[Blobs, Depends(blobs_of)]


@router.put(
    "/content",
    status_code=204,
    summary="Keep a file under its digest",
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    responses=answers(None, 204, errors=[507]),
)
async def put(request: Request, asked: Editor, digest: str, blobs: Files) -> Response:
    """It is kept when it is what its digest says, and may be sent again."""
    if asked.who.token.run:
        raise AccessDenied("this token is of one run, and may change nothing else")
    incoming = await anyio.to_thread.run_sync(blobs.incoming, asked.project, digest)
    try:
        waiting = bytearray()
        async for part in request.stream():
            waiting += part
            if len(waiting) >= _PART:
                await anyio.to_thread.run_sync(incoming.write, bytes(waiting))
                waiting.clear()
        await anyio.to_thread.run_sync(incoming.write, bytes(waiting))
        await anyio.to_thread.run_sync(incoming.finish)
    except ClientDisconnect:
        pass  # nobody hears the answer
    finally:
        await anyio.to_thread.run_sync(incoming.abandon)
    return Response(status_code=204)


@router.head("/content", summary="Whether a file is there", responses=_FILE)
@router.get("/content", summary="A file, by its digest", responses=_FILE, response_class=FileResponse)
def get(asked: Viewer, digest: str, blobs: Files) -> Response:
    """Parts of it are given to who asks for a range."""
    return FileResponse(blobs.find(asked.project, digest), media_type="application/octet-stream")
