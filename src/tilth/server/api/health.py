"""Whether the server lives, whether it can work, and what it is."""

from __future__ import annotations

import hmac

import msgspec
from fastapi import APIRouter, Request, Response

from tilth import __version__
from tilth.errors import LoginNeeded
from tilth.records.access import User
from tilth.server.documents import answers, respond
from tilth.server.metrics import CONTENT_TYPE
from tilth.server.requests import access_of
from tilth.store import wire

router = APIRouter(tags=["server"])
probes = APIRouter(tags=["server"])


class Info(msgspec.Struct, frozen=True):
    """What answers here. `oldest_protocol` is of the oldest client that it understands."""

    name: str
    version: str
    protocol: int
    oldest_protocol: int
    login: tuple[str, ...]  # ways to log in: `password`, `oidc`


@router.get("/info", summary="What this server is", responses=answers(Info), openapi_extra={"security": []})
def info(request: Request) -> Response:
    """Needs no login."""
    login = ("password",) if request.app.state.provider is None else ("password", "oidc")
    return respond(Info("tilth", __version__, wire.PROTOCOL, wire.OLDEST, login))


@probes.get("/health", summary="Whether the process lives", include_in_schema=False)
async def health() -> Response:
    """Asks nothing of anybody."""
    return respond({"status": "ok"})


@probes.get("/ready", summary="Whether requests can be answered", include_in_schema=False)
def ready(request: Request) -> Response:
    """Asks the database; 503 when it does not answer."""
    access_of(request).store.find(User, limit=1)
    return respond({"status": "ok"})


@probes.get("/metrics", summary="What Prometheus is told", include_in_schema=False)
def metrics(request: Request) -> Response:
    """Of all processes of this server; needs `TILTH_SERVER_METRICS_TOKEN` where that is set."""
    wanted = access_of(request).settings.metrics_token
    shown = request.headers.get("authorization", "").partition(" ")[2].strip()
    if wanted and not hmac.compare_digest(shown.encode(), wanted.encode()):
        raise LoginNeeded(
            "`/metrics` wants its token",
            mend="show `TILTH_SERVER_METRICS_TOKEN` as `Authorization: Bearer …`",
        )
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)
