"""The application: routes, errors, headers, and what it opens and closes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from tilth import __version__
from tilth.errors import DatabaseUnavailable, DefinitionError, SetupError, TilthError
from tilth.home import Home
from tilth.records import now
from tilth.server import documents
from tilth.server.access import DEFAULT_PROJECT, Access
from tilth.server.api import (
    admin,
    artifacts,
    build_orders,
    builds,
    dashboard,
    environments,
    graphs,
    health,
    launches,
    live,
    login,
    objects,
    oidc,
    overview,
    projects,
    records,
    run_lists,
    runners,
    schedules,
    secrets,
    snapshots,
    stacks,
    users,
    webhooks,
)
from tilth.server.build_orders import BuildOrders
from tilth.server.clock import Clock
from tilth.server.events import Watchers
from tilth.server.keys import open_keys
from tilth.server.leftovers import Leftovers
from tilth.server.limits import Attempts, BodyLimit, TooManyAttempts
from tilth.server.logs import REQUEST_ID
from tilth.server.metrics import Metrics
from tilth.server.observed import API, Observed
from tilth.server.queue import Queue
from tilth.server.tracing import open_tracing
from tilth.settings import home_folder
from tilth.store import wire
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tilth.server.oidc import Provider
    from tilth.server.settings import ServerSettings
    from tilth.store.database import Database

logger = logging.getLogger("tilth.server")
_THREADS = 40  # in which the database is asked
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-store",
}
_AGE = {wire.HEADER: str(wire.PROTOCOL), wire.VERSION_HEADER: __version__}
_STRICT = {"Strict-Transport-Security": "max-age=31536000"}
_LONGEST = 2000  # characters of a part of an error
_AGE_HEADER = wire.HEADER.lower().encode()


class TooFarApart(TilthError):
    """Client and server cannot work together."""

    status = 426


def open_database(settings: ServerSettings) -> Database:
    """The database that a server's settings name, made or migrated when it must be.

    Raises:
        SetupError, DatabaseUnavailable: It cannot be opened.
    """
    url = settings.database_url
    if not url:
        return SqliteDatabase(Home(home_folder()).database)
    if url.startswith("sqlite:///"):
        from pathlib import Path

        return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    from tilth.store.postgres import PostgresDatabase

    return PostgresDatabase(url, most=settings.connections)


def create_app(
    settings: ServerSettings, database: Database | None = None, *, closes: bool = False
) -> FastAPI:
    """The application over one database.

    Args:
        database: By default the one that the settings name.
        closes: Whether a database that was given is closed at the end.
    Raises:
        SetupError: What the settings, or the variables of OpenTelemetry, ask for cannot be had.
    """
    tracing = open_tracing()
    opened = database if database is not None else open_database(settings)

    @contextlib.asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncIterator[None]:
        # As many as FastAPI has for endpoints of its own; the loop's usual ones are six on two processors.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "tilth-answer"))
        clock = Clock(started.state.queue, started.state.builds, schedules=settings.schedules)
        leftovers = Leftovers(SqlStore(opened), settings.data)
        clock.start()
        leftovers.start()
        yield
        await asyncio.to_thread(leftovers.stop)
        await asyncio.to_thread(clock.stop)
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
        if closes or database is None:
            opened.close()

    app = FastAPI(
        title="tilth",
        version=__version__,
        description="Pipelines, runs, artifacts and environments of a team's projects.",
        lifespan=lifespan,
        docs_url=None,  # see `pages`: FastAPI's fetches scripts from elsewhere
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
    )
    app.state.access = Access(SqlStore(opened), settings)
    app.state.began = now()
    app.state.queue = Queue(
        SqlStore(opened),
        per_project=settings.project_runs,
        per_pipeline=settings.pipeline_runs,
        began=app.state.began,
    )
    app.state.builds = BuildOrders(
        SqlStore(opened), lasts=timedelta(seconds=settings.lease_seconds), began=now()
    )
    app.state.keys = open_keys(settings)
    app.state.attempts = Attempts(settings.login_attempts)
    app.state.provider = _provider(settings)
    app.state.watchers = Watchers()
    app.state.metrics = Metrics(opened)
    # Routes are tried one after another: what is asked for all the time comes first, and FastAPI looks for the
    # routes of what is included twice.
    app.router.routes[:0] = records.router.routes
    for part in (
        live,
        graphs,
        objects,
        artifacts,
        environments,
        builds,
        health,
        login,
        oidc,
        users,
        projects,
        launches,
        build_orders,
        runners,
        schedules,
        secrets,
        webhooks,
        overview,
        run_lists,
        snapshots,
        stacks,
        admin,
    ):
        app.include_router(part.router, prefix="/api/v1")
    app.include_router(build_orders.of_runners, prefix="/api/v1")
    app.include_router(builds.queue, prefix="/api/v1")
    app.include_router(launches.anywhere, prefix="/api/v1")
    app.include_router(stacks.anywhere, prefix="/api/v1")
    app.include_router(health.probes)
    app.include_router(login.pages)
    app.include_router(dashboard.pages)

    app.add_exception_handler(TilthError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UnicodeEncodeError, _no_text)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(BodyLimit, most=settings.max_body_mb << 20)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[each.strip() for each in settings.allowed_origins.split(",")],
            allow_methods=["*"],
            allow_headers=["Authorization", "Content-Type", wire.HEADER],
        )
    app.add_middleware(Spoken, secure=settings.secure)  # around those: their answers are the server's too
    app.add_middleware(Observed, metrics=app.state.metrics, tracing=tracing)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _provider(settings: ServerSettings) -> Provider | None:
    if not settings.oidc_issuer:
        return None
    if not settings.oidc_client_id:
        raise SetupError(
            "`TILTH_SERVER_OIDC_ISSUER` is set, and `TILTH_SERVER_OIDC_CLIENT_ID` is not",
            mend="give the id that the provider knows this server as",
        )
    from tilth.server.oidc import Provider

    return Provider(
        settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret, settings.oidc_scopes
    )


def first_admin(access: Access) -> str:
    """Make the first user when there is none; the secret of a link that sets a password, unless one was given.

    Two servers that start at once make one user.
    """
    from tilth.errors import Conflict
    from tilth.records.access import Purpose, Space, User
    from tilth.server.passwords import hash_password

    settings = access.settings
    with contextlib.suppress(Conflict):
        access.store.add(Space(id=DEFAULT_PROJECT, name=DEFAULT_PROJECT))
    if access.store.find(User, limit=1).items:
        return ""
    password = hash_password(settings.admin_password) if settings.admin_password else ""
    # An id of its own, so that it is made once.
    user = User(id="first", name=settings.admin_name, admin=True, password=password)
    try:
        access.store.add(user, access.entry(None, "user.create", user.name))
    except Conflict:
        return ""
    if password:
        return ""
    secret, _ = access.issue(user, Purpose.INVITE, lasts=timedelta(days=1))
    return secret


class Spoken:
    """Middleware: refuses clients of another age, and says what every answer says."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        strict = _STRICT if secure else {}
        self._headers = [
            (name.lower().encode(), value.encode()) for name, value in (_SECURITY | strict | _AGE).items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def speak(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = {name.lower() for name, _ in message["headers"]}
                said = [each for each in self._headers if each[0] not in told]
                message = {**message, "headers": [*message["headers"], *said]}
            await send(message)

        age = next((value for name, value in scope["headers"] if name == _AGE_HEADER), b"")
        if age.isdigit() and int(age[-9:]) < wire.OLDEST:
            error = TooFarApart(
                f"this server, tilth {__version__}, does not understand clients as old as this one",
                why=f"it speaks protocols from {wire.OLDEST} to {wire.PROTOCOL}, the client {age.decode()}",
                mend=f"install `tilth=={__version__}` where you called it",
            )
            await _problem(error)(scope, receive, speak)
            return
        await self._app(scope, receive, speak)


def _problem(error: TilthError, status: int | None = None) -> Response:
    headers = {"Retry-After": "5"} if error.status == 503 else {}
    if isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(error.wait_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    # A name of 100,000 characters is not sent back to who gave it.
    told = {name: text[:_LONGEST] for name, text in error.to_json().items()}
    return documents.respond({"error": told}, status=status or error.status, headers=headers)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, TilthError)
    if isinstance(error, DatabaseUnavailable):
        request.app.state.metrics.database_errors.inc()
    return _problem(error)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return _problem(DefinitionError("the request cannot be used", why="\n".join(said)))


async def _no_text(_: Request, error: Exception) -> Response:
    assert isinstance(error, UnicodeEncodeError)
    return _problem(
        DefinitionError(
            "the request cannot be used", why="a text in it has half a character, as in `\\ud800`"
        )
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = {404: "NotFound"}.get(error.status_code, "TilthError")
    summary = f"nothing is at `{request.url.path}`" if error.status_code == 404 else str(error.detail).lower()
    body = {"error": {"type": kind, "summary": summary, "why": "", "mend": ""}}
    return documents.respond(body, status=error.status_code, headers=dict(error.headers or {}))


async def _failed(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    problem = _problem(TilthError("this is a bug in tilth's server", mend="see its log, and report it"), 500)
    strict = _STRICT if request.app.state.access.settings.secure else {}
    problem.headers.update(_SECURITY | strict | _AGE)  # it goes past the middleware
    if name := getattr(request.state, "request_id", ""):
        problem.headers[REQUEST_ID] = name
    return problem


def _openapi(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(documents.components())
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        app.openapi_schema = made
    return app.openapi_schema
