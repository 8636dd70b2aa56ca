"""The package index, as uv meets it: one that answers, refuses, is not there, or has another time."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tilth.client.doctor import machine
from tilth.client.doctor.finding import ERROR, OK, SKIPPED, WARNING
from tilth.client.doctor.network import Asking
from tilth.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Index(BaseHTTPRequestHandler):
    """A package index that knows one package."""

    code = 200
    date: str | None = None
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        found = self.path in ("/simple/", "/simple/packaging/", "/simple") and self.code == 200
        if self.path.endswith(".metadata"):
            found, body = True, b"Metadata-Version: 2.1\nName: packaging\nVersion: 26.0\n"
        else:
            name = "packaging-26.0-py3-none-any.whl"
            body = f'<a href="/{name}" data-dist-info-metadata="true" data-core-metadata="true">{name}</a>'.encode()
        self.send_response(200 if found else (self.code if self.code != 200 else 404))
        if self.code == 401:
            self.send_header("WWW-Authenticate", "Basic")
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body) if found else 0))
        self.end_headers()
        if found and self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.date or super().date_time_string(timestamp)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own signature
        pass


@contextmanager
def serving(**options: object) -> Iterator[str]:
    handler = type("Handler", (Index,), {"asked": [], **options})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv.toml").touch()
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.delenv("UV_OFFLINE", raising=False)


def test_an_index_that_answers_is_fine_and_so_is_a_clock_that_agrees(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        asking = Asking(offline=False)
        found = asking.index()
        assert (found.state, found.told) == (OK, f"`{url}` answers")
        found = machine.clock(asking, Home(home))
        assert (found.state, found.told) == (OK, "it agrees with that of `127.0.0.1`")


@pytest.mark.parametrize(
    ("date", "told"),
    [("Thu, 01 Jan 2026 00:00:00 GMT", "ahead of"), ("Fri, 01 Jan 2100 00:00:00 GMT", "behind")],
)
def test_a_clock_apart_from_that_of_the_index_is_found(
    home: Path, monkeypatch: pytest.MonkeyPatch, date: str, told: str
) -> None:
    with serving(date=date) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        found = machine.clock(Asking(offline=False), Home(home))
    assert found.state == WARNING
    assert f"{told} that of `127.0.0.1`" in found.told


def test_an_index_that_asks_for_a_password_is_found_and_its_own_is_not_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(code=401) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url.replace("//", "//me:hush@"))
        asking = Asking(offline=False)
        found = asking.index()
        assert found.state == ERROR
        assert "401 Unauthorized" in found.told
        assert "netrc" in found.mend
        assert "hush" not in found.told + found.mend
        assert machine.clock(asking, Home(home)).state == OK  # who refuses tells the time all the same


def test_an_index_that_does_not_answer_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", url)
    asking = Asking(offline=False)
    found = asking.index()
    assert found.state == ERROR
    assert found.told.startswith(f"`{url}` does not answer: ")
    assert "TILTH_OFFLINE=1" in found.mend
    found = machine.clock(asking, Home(home))
    assert (found.state, "does not answer" in found.told) == (SKIPPED, True)


def test_an_address_that_is_no_index_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url.replace("/simple", "/elsewhere"))
        found = Asking(offline=False).index()
    assert (found.state, "does not know `packaging`" in found.told) == (WARNING, True)


@pytest.mark.parametrize("how", ["no-index", "find-links", "offline", "told"])
def test_where_no_index_may_be_asked_none_is(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    asked: list[str] = []
    with serving(asked=asked) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        if how == "offline":
            monkeypatch.setenv("UV_OFFLINE", "1")
        elif how != "told":
            monkeypatch.delenv("UV_DEFAULT_INDEX")
            (tmp_path / "uv.toml").write_text(
                "no-index = true\n" + (f'find-links = ["{tmp_path}"]\n' if how == "find-links" else "")
            )
        asking = Asking(offline=how == "told")
        assert asking.index().state == SKIPPED
        assert machine.clock(asking, Home(home)).state == SKIPPED
    assert asked == []
