"""The connection to a runner: here the tests are the runner."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.server_running import running_server

from tilth.errors import EngineUnavailable, TilthError
from tilth.image_builders.relay import BESIDE, ENDED, OUTPUT, BuildKey, Sender, received
from tilth.image_builders.runner import RunnerConnection
from tilth.server import relay
from tilth.store.http import Api
from tilth.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server_running import RunningServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    database = SqliteDatabase(tmp_path / "tilth.db")
    with running_server(database, data_folder=str(tmp_path / "data"), schedules=False) as server:
        yield server
    database.close()


class There:
    """A runner that has a build."""

    def __init__(self, server: RunningServer) -> None:
        self.api = Api(server.url, server.token)
        told = {"id": "r", "name": "box", "platform": "p", "machine": "m", "version": "1", "builds": True}
        self.ask("POST", "/runners", told)
        self.path = ""

    def ask(self, method: str, path: str, body: Any) -> Any:
        return json.loads(self.api.request(method, path, json.dumps(body).encode()))

    def begin(self) -> None:
        while not (orders := self.ask("POST", "/runners/r/poll", {"build_slots": 1})["build"]):
            pass
        (order,) = orders
        key = BuildKey()
        self.path = f"/runners/r/builds/{order['id']}"
        self.into, back = key.agree(order["key"], order["id"])
        self.ask("POST", f"{self.path}/begin", {"fence": 1, "key": key.public})
        self.sender = Sender(back, self.put)

    def put(self, offset: int, content: bytes) -> int:
        path = f"{self.path}/out?fence=1&offset={offset}"
        return int(json.loads(self.api.request("PUT", path, content))["have"])

    def get(self, offset: int) -> bytes:
        return self.api.request("GET", f"{self.path}/in?fence=1&offset={offset}&wait_s=10")


@pytest.fixture
def ends(server: RunningServer) -> Iterator[tuple[RunnerConnection, There]]:
    """Both ends of a build."""
    there = There(server)
    with ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(RunnerConnection, Api(server.url, server.token), "p", "", lambda _: None)
        there.begin()
        connection = connecting.result(60)
    yield connection, there
    connection.close(done=True)
    there.sender.stop()
    there.api.close()


def test_both_ends_hear_each_other(ends: tuple[RunnerConnection, There]) -> None:
    connection, there = ends
    connection.write(b"to it")
    assert next(received(there.into, there.get))[1] == b"to it"
    there.sender.write(OUTPUT, b"from")
    there.sender.write(OUTPUT, b" it")
    assert connection.place == "box"
    assert connection.read(5) == b"from "
    assert connection.read(2) == b"it"


def test_how_it_ended_there_is_told_with_its_last_words(ends: tuple[RunnerConnection, There]) -> None:
    connection, there = ends
    there.sender.write(BESIDE, b"no mem")
    there.sender.write(OUTPUT, b"x")
    there.sender.write(BESIDE, b"ory\nlast")
    there.sender.write(ENDED, b"-9")
    assert connection.read(10) == b"x"
    error = connection.lost(landed=True)
    assert isinstance(error, EngineUnavailable)
    assert "tilth ended on `box` before it was done, with exit code -9" in error.summary
    assert error.why == "no memory\nlast"


def test_what_the_server_takes_no_more_of_is_the_reason(
    ends: tuple[RunnerConnection, There], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = ends
    monkeypatch.setattr(relay, "MOST", 3 << 20)
    with pytest.raises(BrokenPipeError):
        connection.write(bytes(20 << 20))
    with pytest.raises(TilthError, match="more is sent for a build on a runner"):
        connection.read(1)
