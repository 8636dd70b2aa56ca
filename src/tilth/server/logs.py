"""What a server writes: lines for people or JSON for collectors, and one for each request that it has answered.

Never what may hold a secret: of a request its method and the template of its address, no query, header or body.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tilth.records import new_id

if TYPE_CHECKING:
    from tilth.server.settings import ServerSettings

REQUEST_ID = "X-Request-Id"
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_access = logging.getLogger("tilth.access")


def chosen_id(told: str) -> str:
    """The id that a request is known by: the caller's, as that of a proxy, where it can be in a log, else a new one."""
    return told if _GOOD_ID.fullmatch(told) else new_id()


def answered(*, method: str, route: str, status: int, ms: float, user: str, address: str) -> None:
    """Write of a request that was answered."""
    level = logging.WARNING if status >= 500 else logging.INFO
    if not _access.isEnabledFor(level):
        return
    fields = {
        "method": method,
        "route": route,
        "status": status,
        "ms": round(ms, 2),
        "user": user,
        "address": address,
    }
    _access.log(level, "%s %s %d %.1f ms", method, route, status, ms, extra={"fields": fields})


def set_up(settings: ServerSettings) -> None:
    """Have this process write to its standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if settings.log_format == "json" else _Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # People want to know what goes wrong, collectors everything.
    if settings.log_format == "text" and settings.log_level != "debug":
        _access.setLevel(logging.WARNING)
    # A library's running commentary, with addresses in it, is for those who debug it.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Every line that a step prints, as it is told to listeners.
    logging.getLogger("sse_starlette").setLevel(logging.INFO)
    # Each try to connect; that the database is away is told to whoever asks, and by `/ready`.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class _Lines(logging.Formatter):
    """A line for people, with the id of the request that it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        said = super().format(record)
        about = request_id.get()
        return f"{said} [{about}]" if about else said


class _JsonLines(logging.Formatter):
    """One JSON object a line, as log collectors read them."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if about := request_id.get():
            told["request_id"] = about
        told.update(getattr(record, "fields", {}))
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)
