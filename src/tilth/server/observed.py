"""Around every request: its id, its line in the log, its counts and its span."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from tilth.server import logs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tilth.server.metrics import Metrics
    from tilth.server.tracing import Tracing

API = "/api/v1"  # what the routes of the API are included under
NOWHERE = "(none)"  # the route of an address where nothing is
_ID_HEADER = logs.REQUEST_ID.lower().encode()
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/health", "/ready", "/metrics"})  # asked every few seconds: a line only when they fail


class Observed:
    """Middleware around all others.

    Args:
        tracing: None for no spans.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = next((value for key, value in scope["headers"] if key == _ID_HEADER), b"")
        name = logs.chosen_id(told.decode("latin-1"))
        logs.request_id.set(name)
        # What endpoints find in `request.state`, and leave there: `who` has sent the request.
        state = scope.setdefault("state", {})
        state["request_id"] = name
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status, streams = 500, False  # what a failure nobody has foreseen is answered with
        own_header = (_ID_HEADER, name.encode())

        async def noted(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], own_header]}
                if any(value.startswith(b"text/event-stream") for _, value in message["headers"]):
                    streams = True
                    self._metrics.streams.inc()
            await send(message)

        began = time.perf_counter()
        self._metrics.in_flight.inc()
        traced: contextlib.AbstractContextManager[Any] = (
            self._tracing.span(method, _headers(scope)) if self._tracing else contextlib.nullcontext()
        )
        with traced as span:
            try:
                await self._app(scope, receive, noted)
            finally:
                took_s = time.perf_counter() - began
                route = _template(scope)
                self._metrics.in_flight.dec()
                self._metrics.answered(method, route, status, None if streams else took_s)
                if streams:
                    self._metrics.streams.dec()
                if self._tracing:
                    self._tracing.end(span, method=method, route=route, status=status, request=name)
                if route not in _QUIET or status >= 400:
                    who = state.get("who")
                    logs.answered(
                        method=method,
                        route=route,
                        status=status,
                        ms=1000 * took_s,
                        user=who.user.name if who else "",
                        address=scope["client"][0] if scope.get("client") else "",
                    )


def _template(scope: Scope) -> str:
    """The address with the names of its parameters. A route knows its own part, without what it was included under."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return NOWHERE
    included = scope["path"].startswith(f"{API}/") and not path.startswith(f"{API}/")
    return API + path if included else path


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
