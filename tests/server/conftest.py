"""A server for a module's tests, and ways to ask it."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.processes import OwnPostgres
from tests.server_running import PASSWORD, RunningServer, running_server

from tilth.store.sqlite import SqliteDatabase


@dataclass
class Asker:
    """Asks the API as somebody: `asker.get("/me")`. Gives the status and the JSON of each answer."""

    client: httpx.Client

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        content = more.pop("content", None if body is None else json.dumps(body).encode())
        response = self.client.request(method, f"/api/v1{path}", content=content, **more)
        return response.status_code, response.json() if response.content else None

    def get(self, path: str, **more: Any) -> tuple[int, Any]:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return self.ask("POST", path, {} if body is None else body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return self.ask("PUT", path, body, **more)

    def patch(self, path: str, body: Any) -> tuple[int, Any]:
        return self.ask("PATCH", path, body)

    def delete(self, path: str) -> tuple[int, Any]:
        return self.ask("DELETE", path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    database = SqliteDatabase(folder / "tilth.db")
    with running_server(
        database, data_folder=str(folder / "data"), secrets_key_file=str(folder / "key"), schedules=False
    ) as server:
        yield server
    database.close()


def asker(server: RunningServer, token: str = "") -> Asker:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Asker(httpx.Client(base_url=server.url, headers=headers, timeout=60))


@pytest.fixture
def admin(server):
    found = asker(server, server.token)
    yield found
    found.client.close()


@pytest.fixture
def nobody(server):
    found = asker(server)
    yield found
    found.client.close()


@pytest.fixture
def log_in(server, admin):
    """`log_in("eve")` makes a user, if there is none of that name, and asks as them."""
    opened = []

    def log_in(name: str) -> Asker:
        admin.post("/users", {"name": name, "password": PASSWORD})
        anybody = asker(server)
        status, told = anybody.post("/login", {"name": name, "password": PASSWORD})
        anybody.client.close()
        assert status == 200, told
        opened.append(asker(server, told["token"]))
        return opened[-1]

    yield log_in
    for each in opened:
        each.client.close()


@pytest.fixture
def reachable():
    """A folder where the user of PostgreSQL can reach it: folders of tests are their owner's alone."""
    folder = Path(tempfile.mkdtemp(prefix="tilth-pg-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own_postgres(postgres, reachable):
    server = OwnPostgres(reachable / "server")
    yield server.start()
    server.stop()
