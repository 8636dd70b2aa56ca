"""How much one client may ask: the size of a request, and the number of wrong passwords."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import TilthError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WINDOW_S = 300.0
_MOST_NAMES = 100_000
_SHARED = 10  # an address may be that of many: it may fail this many times as often as a name


class TooLarge(TilthError):
    """A request is larger than the server takes."""

    status = 413


class TooManyAttempts(TilthError):
    """Too many wrong passwords for one name, or from one address."""

    status = 429


class Attempts:
    """Counts failed logins of this process by name and by address, over five minutes.

    Args:
        most: Failures for one name; from one address there may be more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._failed: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def check(self, name: str, address: str) -> None:
        """Let pass who has not failed too often.

        Raises:
            TooManyAttempts: They have.
        """
        with self._lock:
            for key, most in ((f"name {name}", self._most), (f"address {address}", self._most * _SHARED)):
                failed = self._recent(key)
                if len(failed) >= most:
                    wait = int(failed[0] + _WINDOW_S - time.monotonic()) + 1
                    raise TooManyAttempts("too many wrong passwords", mend=f"try again in {wait} seconds")

    def failed(self, name: str, address: str) -> None:
        """Count a failed login."""
        with self._lock:
            if len(self._failed) > _MOST_NAMES:
                self._failed.clear()
            for key in (f"name {name}", f"address {address}"):
                self._recent(key).append(time.monotonic())

    def succeeded(self, name: str) -> None:
        """Forget what failed before for a name."""
        with self._lock:
            self._failed.pop(f"name {name}", None)

    def _recent(self, key: str) -> deque[float]:
        failed = self._failed[key]
        while failed and failed[0] < time.monotonic() - _WINDOW_S:
            failed.popleft()
        return failed


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
