"""How much one client may ask: the size of a request, and the number of wrong passwords and codes."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import TilthError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WINDOW_S = 300.0
_MOST_COUNTED = 100_000
_SHARED = 10  # an address may be that of many: it may fail this many times as often as a name
_TOO_MANY = {
    "password": "too many wrong passwords",
    "link": "too many wrong links",
    "code": "too many wrong codes",
    "device": "too many machines ask to be let in from this address",
}


class TooLarge(TilthError):
    """A request is larger than the server takes."""

    status = 413


class TooManyAttempts(TilthError):
    """Too many tries for one name, or from one address. `wait_s`: until the next one is heard."""

    status = 429
    wait_s = 0


class Attempts:
    """Counts what strangers may try only so often: in this process, by name and by address, over five minutes.

    Args:
        most: Tries for one name; from one address there may be more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tried: dict[tuple[str, ...], deque[float]] = {}
        self._lock = threading.Lock()

    def begin(self, what: str, address: str, name: str | None = None) -> None:
        """Count a try before it is made, so that many at once are no way around.

        Args:
            what: A key of `_TOO_MANY`.
            name: Whose password or login is tried; None where nobody is named.
        Raises:
            TooManyAttempts: There were too many, and this one is not to be made.
        """
        keys = _keys(what, address, name)
        with self._lock:
            for key, most in zip(keys, (self._most * _SHARED, self._most), strict=False):
                tried = self._recent(key)
                if len(tried) >= most:
                    error = TooManyAttempts(_TOO_MANY[what])
                    error.wait_s = int(tried[0] + _WINDOW_S - time.monotonic()) + 1
                    error.mend = f"try again in {error.wait_s} seconds"
                    raise error
            for key in keys:
                self._count(key)

    def succeeded(self, what: str, address: str, name: str | None = None) -> None:
        """Forget a try that was none too many, and those before it for the same name."""
        by_address, *by_name = _keys(what, address, name)
        with self._lock:
            if tried := self._tried.get(by_address):
                tried.pop()
            for key in by_name:
                self._tried.pop(key, None)

    def is_news(self, what: str, address: str) -> bool:
        """Whether this is one of the first of an address; later ones need not be written down."""
        (key,) = _keys(f"news {what}", address, None)
        with self._lock:
            if len(self._recent(key)) >= self._most:
                return False
            self._count(key)
            return True

    def _count(self, key: tuple[str, ...]) -> None:
        if key not in self._tried and len(self._tried) >= _MOST_COUNTED:
            oldest = time.monotonic() - _WINDOW_S
            self._tried = {each: tried for each, tried in self._tried.items() if tried and tried[-1] > oldest}
            for each in list(self._tried)[: len(self._tried) - _MOST_COUNTED // 2]:
                del self._tried[each]
        self._tried.setdefault(key, deque()).append(time.monotonic())

    def _recent(self, key: tuple[str, ...]) -> deque[float]:
        tried = self._tried.get(key, deque())
        while tried and tried[0] < time.monotonic() - _WINDOW_S:
            tried.popleft()
        return tried


def _keys(what: str, address: str, name: str | None) -> list[tuple[str, ...]]:
    return [(what, "address", _network(address)), *([] if name is None else [(what, "name", name[:200])])]


def _network(address: str) -> str:
    """What one client has: an address of IPv4, and of IPv6 all those of a network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if found.version == 4:
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((int(found), 64), strict=False))


class BodyLimit:
    """Refuses requests that are larger than `most` bytes, before and while they are read."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"])
        if b"transfer-encoding" not in told:  # it is as long as it says: uvicorn holds it to that
            length = told.get(b"content-length", b"0")
            if length.isdigit() and int(length) > self._most:
                await self._refuse(send)
            else:
                await self._app(scope, receive, send)
            return
        received, begun = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise _Over
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except _Over:
            if begun:
                raise
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        error = TooLarge(
            "the request is too large",
            why=f"this server takes {self._most:,} bytes",
            mend="send less at once, or set `TILTH_SERVER_MAX_BODY_MB` on the server",
        )
        body = msgspec.json.encode({"error": error.to_json()})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Over(BaseException):  # passes through whatever handles exceptions of an endpoint
    pass
