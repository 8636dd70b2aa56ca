"""A package index over HTTP, of a folder of wheels and sdists: PEP 503 (HTML) and 691 (JSON), with what goes wrong.

    with SimpleIndex(folder) as index:
        index.yank("alpha-1.0-py3-none-any.whl", "it deletes files")
        index.hashes["beta-1.0-py3-none-any.whl"] = "0" * 64    # not what the file has
        index.uploaded["gamma-1.0.tar.gz"] = "2024-01-01T00:00:00Z"
        index.failures["/files/delta"] = 503                    # of every path that begins so
        index.login = ("user", "password")                      # 401 without it
        uv pip compile … --default-index {index.url}

What the folder holds is read at each request. `requests` has (method, path) of those that came.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

_JSON = "application/vnd.pypi.simple.v1+json"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up has had enough, and nobody wants to read of it."""


class SimpleIndex:
    """Serves `folder` from when it is entered until it is left.

    Args:
        metadata: Whether a wheel's metadata can be had without the wheel (PEP 658).
        html: Answer in HTML even to those who can read JSON.
    """

    def __init__(self, folder: Path, *, metadata: bool = True, html: bool = False) -> None:
        self.folder = folder
        self.metadata = metadata
        self.html = html
        self.yanked: dict[str, str] = {}  # file -> reason
        self.hashes: dict[str, str] = {}  # file -> sha256 to give instead of its own
        self.uploaded: dict[str, str] = {}  # file -> ISO 8601
        self.failures: dict[str, int] = {}  # beginning of a path -> status
        self.login: tuple[str, str] | None = None
        self.requests: list[tuple[str, str]] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        assert self._server is not None, "it serves only while it is entered"
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """For `--default-index`, without a login."""
        return f"http://{self.host}/simple/"

    @property
    def url_with_login(self) -> str:
        """The same with user and password in it."""
        assert self.login is not None
        user, password = (quote(each, safe="") for each in self.login)
        return f"http://{user}:{password}@{self.host}/simple/"

    def yank(self, file: str, reason: str = "") -> None:
        """Take a file back (PEP 592)."""
        assert (self.folder / file).exists(), file
        self.yanked[file] = reason

    def __enter__(self) -> SimpleIndex:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def projects(self) -> dict[str, list[Path]]:
        """Normalised name -> its files, sorted."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.iterdir()):
            match = re.match(r"(.+?)-\d[^-]*(-.*)?(\.whl|\.tar\.gz)$", path.name)
            if match:
                found.setdefault(re.sub(r"[-_.]+", "-", match[1]).lower(), []).append(path)
        return found

    def answer(self, path: str, *, json_wanted: bool) -> tuple[int, str, bytes]:
        """(status, content type, body) for a path."""
        parts = [unquote(each) for each in path.strip("/").split("/")]
        if parts == ["simple"]:
            return self._listing(json_wanted and not self.html)
        if len(parts) == 2 and parts[0] == "simple":
            files = self.projects().get(parts[1])
            if files is not None:
                return self._project(parts[1], files, json_wanted and not self.html)
        if len(parts) == 2 and parts[0] == "files":
            name = parts[1].removesuffix(".metadata")
            if (self.folder / name).is_file():
                whole = (self.folder / name).read_bytes()
                if name == parts[1]:
                    return 200, "application/octet-stream", whole
                if self.metadata and name.endswith(".whl"):
                    return 200, "text/plain", _metadata(self.folder / name)
        return 404, "text/plain", b"not here"

    def _listing(self, json_wanted: bool) -> tuple[int, str, bytes]:
        names = list(self.projects())
        if json_wanted:
            body = {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names]}
            return 200, _JSON, json.dumps(body).encode()
        return 200, "text/html", _page(f'<a href="/simple/{name}/">{name}</a>' for name in names)

    def _project(self, name: str, files: list[Path], json_wanted: bool) -> tuple[int, str, bytes]:
        described = [self._file(path) for path in files]
        if not json_wanted:
            return 200, "text/html", _page(map(_anchor, described))
        versions = sorted({path.name.split("-")[1].removesuffix(".tar.gz") for path in files})
        body = {"meta": {"api-version": "1.1"}, "name": name, "versions": versions, "files": described}
        return 200, _JSON, json.dumps(body).encode()

    def _file(self, path: Path) -> dict[str, Any]:
        content = path.read_bytes()
        described: dict[str, Any] = {
            "filename": path.name,
            "url": f"/files/{quote(path.name)}",
            "hashes": {"sha256": self.hashes.get(path.name) or hashlib.sha256(content).hexdigest()},
            "size": len(content),
            "yanked": (self.yanked[path.name] or True) if path.name in self.yanked else False,
        }
        if path.name in self.uploaded:
            described["upload-time"] = self.uploaded[path.name]
        if path.suffix == ".whl":
            metadata = _metadata(path)
            found = re.search(rb"(?m)^Requires-Python: (.+)$", metadata)
            if found:
                described["requires-python"] = found[1].decode().strip()
            if self.metadata:
                described["core-metadata"] = {"sha256": hashlib.sha256(metadata).hexdigest()}
        return described


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return archive.read(name)


def _page(links: Iterable[str]) -> bytes:
    head = '<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.1"></head><body>'
    return f"{head}{'<br>'.join(links)}</body></html>".encode()


def _anchor(file: dict[str, Any]) -> str:
    attributes = {"href": f"{file['url']}#sha256={file['hashes']['sha256']}"}
    if "requires-python" in file:
        attributes["data-requires-python"] = file["requires-python"]
    if file["yanked"]:
        attributes["data-yanked"] = file["yanked"] if isinstance(file["yanked"], str) else ""
    if "core-metadata" in file:
        attributes["data-core-metadata"] = f"sha256={file['core-metadata']['sha256']}"
    written = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items())
    return f"<a {written}>{file['filename']}</a>"


def _handler(index: SimpleIndex) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: apart, each answer takes 40 ms

        def do_GET(self) -> None:
            self._reply(whole=True)

        def do_HEAD(self) -> None:
            self._reply(whole=False)

        def log_message(self, *arguments: object) -> None:
            pass

        def _reply(self, *, whole: bool) -> None:
            path = urlsplit(self.path).path
            index.requests.append((self.command, path))
            failing = [status for start, status in index.failures.items() if path.startswith(start)]
            headers: dict[str, str] = {}
            if failing:
                status, kind, body = failing[0], "text/plain", b"it fails on purpose"
            elif not self._may_enter():
                status, kind, body = 401, "text/plain", b"who are you?"
                headers["WWW-Authenticate"] = 'Basic realm="index"'
            else:
                wanted = _JSON in self.headers.get("Accept", "")
                status, kind, body = index.answer(path, json_wanted=wanted)
            self.send_response(status)
            for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if whole:
                self.wfile.write(body)

        def _may_enter(self) -> bool:
            if index.login is None:
                return True
            told = base64.b64encode(":".join(index.login).encode()).decode()
            return bool(self.headers.get("Authorization") == f"Basic {told}")

    return Handler
