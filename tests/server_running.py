"""A server for tests: the real application under a real uvicorn, in a thread of the test's own process."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import uvicorn

from tilth.records.access import Purpose, User
from tilth.server.access import Access
from tilth.server.app import create_app, first_admin
from tilth.server.heads import BoundedHeads
from tilth.server.settings import ServerSettings
from tilth.store.sql import SqlStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tilth.store.database import Database

PASSWORD = "correct horse battery"


class RunningServer:
    """Where it is, and its first user's login."""

    def __init__(self, url: str, access: Access, token: str) -> None:
        self.url = url
        self.access = access
        self.token = token


@contextlib.contextmanager
def running_server(database: Database, **settings: Any) -> Iterator[RunningServer]:
    """Serve a database on a free port of loopback."""
    told = ServerSettings(admin_password=PASSWORD, **settings)
    access = Access(SqlStore(database), told)
    first_admin(access)
    config = uvicorn.Config(
        create_app(told, database),
        host="127.0.0.1",
        port=0,
        log_config=None,
        access_log=False,
        lifespan="on",
        http=BoundedHeads,
        ws="none",
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server ended"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    token, _ = access.issue(access.store.get(User, "first"), Purpose.SESSION, lasts=timedelta(days=1))
    try:
        yield RunningServer(url, access, token)
    finally:
        server.should_exit = True
        thread.join(timeout=60)
