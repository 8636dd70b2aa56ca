"""Serves the application: in this process, or in several."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from tilth.engine.supervisor.seclusion import close_to_others
from tilth.errors import DatabaseUnavailable, SetupError
from tilth.home import Home
from tilth.server import logs
from tilth.server.access import Access
from tilth.server.app import create_app, first_admin, open_database
from tilth.server.embedded import embedded_runner
from tilth.server.heads import BoundedHeads
from tilth.server.metrics import SHARED
from tilth.server.settings import ServerSettings
from tilth.server.workers import Workers, end_with_parent
from tilth.settings import home_folder
from tilth.store.sql import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

    from tilth.store.database import Database

logger = logging.getLogger("tilth.server")
_COUNTS = "counts-"
_LEVELS = ("debug", "info", "warning", "error")


def app() -> FastAPI:
    """The application as the variables describe it; what each worker process calls."""
    end_with_parent()
    settings = ServerSettings.from_environment()
    logs.set_up(settings)
    close_to_others()
    return create_app(settings, _opened_at_last(settings), closes=True)


def _opened_at_last(settings: ServerSettings) -> Database:
    """The database, waited for: a worker that is started while it is away must not end the whole server."""
    # The handlers that are there already tell the server, which nobody asks before there is an application.
    told = {each: signal.signal(each, signal.SIG_DFL) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        return _waited_for(settings)
    finally:
        for each, handler in told.items():
            signal.signal(each, handler)


def _waited_for(settings: ServerSettings) -> Database:
    wait_s = 0.5
    while True:
        try:
            return open_database(settings)
        except DatabaseUnavailable as error:
            logger.warning("a worker waits: %s", error.summary)
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, 5.0)


def serve(settings: ServerSettings, *, ready: Callable[[str, str], None]) -> None:
    """Answer requests until a signal ends it: SIGTERM and SIGINT let open requests finish.

    Args:
        ready: Called with the address, and with the secret of a link that sets the first user's password, which
            is empty when there are users; before the first request is answered, and after the port is bound.
    Raises:
        SetupError: A setting cannot be used, or the port is taken.
        DatabaseUnavailable: The database does not answer.
    """
    _check(settings)
    logs.set_up(settings)
    close_to_others()  # its own runner starts code of users, maybe as the same user of the system
    database = open_database(settings)
    access = Access(SqlStore(database), settings)
    invite = first_admin(access)
    listener = _bind(settings.host, settings.port)
    url = settings.public_url or _address(listener)
    several = settings.workers > 1
    beside = contextlib.ExitStack()
    beside.enter_context(embedded_runner(settings, access, _own_address(listener)))
    if several:
        database.close()
        os.environ.update(settings.to_environment())
        os.environ[SHARED] = str(beside.enter_context(_counts()))
    config = uvicorn.Config(
        "tilth.server.serving:app" if several else create_app(settings, database),
        factory=several,
        workers=settings.workers if several else None,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=10,
        # A worker that only starts slowly, on a machine that has much to do, does not hang.
        timeout_worker_healthcheck=60,
        loop="uvloop",
        http=BoundedHeads,
        ws="none",
    )
    try:
        ready(url, invite)
        if several:
            Workers(config, [listener]).run()
        else:
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        beside.close()
        with contextlib.suppress(OSError):
            listener.close()
        if not several:
            database.close()


@contextlib.contextmanager
def _counts() -> Iterator[Path]:
    """A folder that the processes of this server write their counts into; those of killed servers go.

    One server at a time has the home folder.
    """
    server = Home(home_folder()).server
    server.mkdir(parents=True, exist_ok=True)
    for each in server.glob(f"{_COUNTS}*"):
        shutil.rmtree(each, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_COUNTS, dir=server, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _check(settings: ServerSettings) -> None:
    sqlite = not settings.database_url or settings.database_url.startswith("sqlite:")
    if settings.workers > 1 and sqlite:
        raise SetupError(
            f"{settings.workers} workers cannot share an SQLite database as one server",
            why="what one of them writes, the others would wait for",
            mend="set `TILTH_SERVER_DATABASE_URL` to a PostgreSQL database, or use one worker",
        )
    if settings.log_format not in ("text", "json"):
        raise SetupError(
            f"`TILTH_SERVER_LOG_FORMAT` is `{settings.log_format}`", mend="give `text` or `json`"
        )
    if settings.log_level not in _LEVELS:
        raise SetupError(
            f"`TILTH_SERVER_LOG_LEVEL` is `{settings.log_level}`", mend=f"give one of {', '.join(_LEVELS)}"
        )

    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"the server cannot keep artifacts in `{settings.data}`",
            why=error.strerror or str(error),
            mend="name a folder that it may write to: `TILTH_SERVER_DATA_FOLDER`",
        ) from error


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise SetupError(
            f"the server cannot listen on {host}, port {port}",
            why=getattr(error, "strerror", None) or str(error),
            mend="choose another with `--port`, or end what listens there",
        ) from error
    listener.set_inheritable(True)
    return listener


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    if host in ("0.0.0.0", "::"):  # noqa: S104 - what was asked for
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _own_address(listener: socket.socket) -> str:
    """Where this machine reaches it, whatever others call it."""
    host, port, *_ = listener.getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is looked for, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
