"""A proxy before a registry that breaks on purpose, and records what went through it.

    broken.rule("PUT", r"/blobs/uploads/", status=429, retry_after_s=1, times=2)
    broken.rule("PATCH", cut_request_at=1_000_000)
    …
    assert sum(request.received for request in broken.requests) < 2_000_000

A request goes by the first rule that fits and is not used up; without one it goes through untouched. Bodies are passed
on as a stream, so what the registry has seen when a connection is cut is what a cut connection would have shown it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 64 * 1024  # bytes
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


@dataclass(kw_only=True)
class Rule:
    """What is broken, for which requests, and how many times.

    Attributes:
        method: As `PUT`; empty fits all.
        path: A regular expression, searched in path and query.
        begins: Only requests for a part of a file whose first byte is in this range.
        times: After so many requests the rule is used up.
        skip: So many fitting requests go through first.
        status: Answered in the registry's place, after the request was read.
        early: Answer `status` before the request's body was read, and close: as gateways refuse what is too large.
            What still arrives is thrown away and not counted, else the reset would overtake the answer.
        retry_after_s: The header `Retry-After` of that answer.
        cut_request_at, cut_response_at: The connection is reset after so many bytes of the body.
        flip_request_at, flip_response_at: The byte of the body at this position arrives with its bits turned.
        delay_s: Time before the request is passed on.
        bytes_per_s: Both bodies go no faster than this; 0 is as fast as it goes.
    """

    method: str = ""
    path: str = ""
    begins: range | None = None
    times: int = 1
    skip: int = 0
    status: int = 0
    early: bool = False
    retry_after_s: int | None = None
    cut_request_at: int | None = None
    cut_response_at: int | None = None
    flip_request_at: int | None = None
    flip_response_at: int | None = None
    delay_s: float = 0
    bytes_per_s: int = 0
    used: int = 0

    def fits(self, request: Request) -> bool:
        if self.method not in ("", request.method) or not re.search(self.path, request.path):
            return False
        return self.begins is None or request.begins in self.begins


@dataclass(kw_only=True)
class Request:
    """One request as the proxy saw it; recorded when it begins, so a running one is listed too.

    Attributes:
        path: With the query.
        received: Bytes of the body that the client sent and the proxy read.
        sent: Bytes of the body sent to the client.
        status: What was answered; 0 when nothing was.
        rule: What was broken.
    """

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    received: int = 0
    sent: int = 0
    status: int = 0
    rule: Rule | None = field(default=None, repr=False)

    @property
    def begins(self) -> int | None:
        """The first byte of the part of a file that it asks for; None when it asks for no part."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = re.match(r"bytes=(\d+)-", headers.get("x-ms-range") or headers.get("range") or "")
        return int(asked[1]) if asked else None


class Cut(Exception):
    """The connection has to be reset now."""


class BrokenRegistry:
    """The proxy, listening while the `with` block runs.

    Attributes:
        host: `127.0.0.1:PORT`; repositories are those of the registry behind.
        requests: In the order they came.
    """

    def __init__(self, behind: str) -> None:
        self.behind = behind
        self.requests: list[Request] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), Proxy)
        self._server.registry = self
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def received(self) -> int:
        """Bytes of all bodies that clients sent."""
        return sum(request.received for request in self.requests)

    @property
    def sent(self) -> int:
        """Bytes of all bodies that clients got."""
        return sum(request.sent for request in self.requests)

    def rule(self, method: str = "", path: str = "", **what: Any) -> Rule:
        """Break what fits from now on; see `Rule`. Tells by `.used` how often it did."""
        rule = Rule(method=method, path=path, **what)
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Forget the rules. Requests stay recorded."""
        with self._lock:
            self._rules.clear()

    def close(self) -> None:
        """Refuse connections from now on: the registry is down."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def begin(self, request: Request) -> Rule:
        """Record a request and find what is to break about it."""
        with self._lock:
            self.requests.append(request)
            for rule in self._rules:
                if not rule.fits(request) or rule.used >= rule.times:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.used += 1
                request.rule = rule
                return rule
        return Rule()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Server(ThreadingHTTPServer):
    registry: BrokenRegistry
    daemon_threads = True
    block_on_close = False  # a client's idle connection would hold the test's end
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections end in all ways here; what matters is recorded."""


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_any(self) -> None:
        headers = dict(self.headers.items())
        self.seen = Request(method=self.command, path=self.path, headers=headers)
        rule = self.server.registry.begin(self.seen)
        time.sleep(rule.delay_s)
        try:
            if rule.status:
                self.refuse(rule)
            else:
                self.pass_on(rule)
        except Cut:
            self.reset()
        except (OSError, HTTPException):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def refuse(self, rule: Rule) -> None:
        if rule.early:
            self.close_connection = True
        else:
            for _ in self.request_body(rule):
                pass
        body = b'{"errors": [{"code": "BROKEN", "message": "broken on purpose"}]}'
        self.seen.status = rule.status
        self.send_response(rule.status)
        if rule.retry_after_s is not None:
            self.send_header("Retry-After", str(rule.retry_after_s))
        if rule.status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="broken"')
        if rule.early:
            self.send_header("Connection", "close")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.seen.sent += len(body)
        self.wfile.flush()
        if rule.early:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(120)
            while self.connection.recv(CHUNK):
                pass

    def pass_on(self, rule: Rule) -> None:
        upstream = HTTPConnection(self.server.registry.behind, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
            for name, value in self.headers.items():
                # `Host` stays the proxy's: the registry makes the addresses of uploads of it.
                if name.lower() not in HOP_BY_HOP | {"expect"}:
                    upstream.putheader(name, value)
            if chunked:
                upstream.putheader("Transfer-Encoding", "chunked")
            upstream.endheaders()
            for piece in self.request_body(rule):
                upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                upstream.send(b"0\r\n\r\n")
            response = upstream.getresponse()
            self.seen.status = response.status
            self.send_response_only(response.status, response.reason)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            bodiless = self.command == "HEAD" or response.status in (204, 304)
            measured = bodiless or response.getheader("Content-Length") is not None
            if not measured:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            pieces = iter(()) if bodiless else iter(lambda: response.read1(CHUNK), b"")
            for piece in broken(pieces, rule.cut_response_at, rule.flip_response_at, rule.bytes_per_s):
                self.wfile.write(piece)
                self.wfile.flush()
                self.seen.sent += len(piece)
        finally:
            upstream.close()

    def request_body(self, rule: Rule) -> Iterator[bytes]:
        """The body's pieces, read from the client and broken as the rule says."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = self.chunks()
        else:
            pieces = self.exactly(int(self.headers.get("Content-Length", "0")))
        return broken(self.counted(pieces), rule.cut_request_at, rule.flip_request_at, rule.bytes_per_s)

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.seen.received += len(piece)
            yield piece

    def exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read1(min(size, CHUNK))  # type: ignore[attr-defined]
            if not piece:
                raise ConnectionError("the client went away")
            size -= len(piece)
            yield piece

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield from self.exactly(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def reset(self) -> None:
        """End the connection by a reset, as a cut one ends, and not by an orderly close."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name there
        """Requests are recorded, not printed."""


def broken(
    pieces: Iterator[bytes],
    cut_at: int | None,
    flip_at: int | None,
    bytes_per_s: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """The pieces, one byte flipped, no faster than asked, and up to where they are cut.

    Raises:
        Cut: After `cut_at` bytes were given; also when the body has no more than that.
    """
    position = 0
    for whole in pieces:
        piece = whole if cut_at is None else whole[: cut_at - position]
        if flip_at is not None and position <= flip_at < position + len(piece):
            at = flip_at - position
            piece = piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
        if bytes_per_s:
            sleep(len(piece) / bytes_per_s)
        position += len(piece)
        if piece:
            yield piece
        if cut_at is not None and position >= cut_at:
            raise Cut
    if cut_at is not None:
        raise Cut
