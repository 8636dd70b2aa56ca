"""Checks that ask the package index, each question once."""

from __future__ import annotations

import os
import re
import threading
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from tilth.client.doctor.finding import ERROR, OK, SKIPPED, WARNING, Finding

_PROBE = "packaging"  # a package that every index has, or passes on
_PATIENCE_S = 10


class OtherClock(NamedTuple):
    """What an index told of its own time."""

    host: str
    offset: float  # seconds that ours is ahead
    asked_at: float  # by our own clock


class Asking:
    """What was asked of the index, and what it answered. Two checks want to know."""

    def __init__(self, *, offline: bool) -> None:
        self._offline = offline
        self._lock = threading.Lock()
        self._asked: tuple[int, str, str] | None = None

    def index(self) -> Finding:
        """Whether uv, as it is configured here, gets an answer."""
        from tilth.environments import uv

        if self._offline:
            return Finding(name="index", state=SKIPPED, told="tilth is offline: no index is asked")
        code, output, errors = self._ask()
        url = self._url()
        if "etwork was disabled" in errors:
            return Finding(name="index", state=SKIPPED, told="uv is told to work offline")
        if not url and (code == 0 or "was not found in the provided" in errors or "no-index" in errors):
            return Finding(name="index", state=SKIPPED, told="uv is told to ask no index")
        shown = uv.without_credentials(url) or "the package index"
        if code == 0:
            return Finding(name="index", state=OK, told=f"`{shown}` answers")
        refused = re.search(r"\b40[137]\b [A-Z]\w+", errors)
        if "was not found in the package registry" in errors and not refused:
            return Finding(
                name="index",
                state=WARNING,
                told=f"`{shown}` answers, and does not know `{_PROBE}`, which every index should",
                mend="see that its address is right: most end in `/simple`",
            )
        if refused:
            return Finding(
                name="index",
                state=ERROR,
                told=f"`{shown}` refuses to answer: {refused[0]}",
                mend="give user name and password in `~/.netrc` or in uv's `UV_INDEX_*` variables",
            )
        error = uv.explain(uv.Result(code, output, _without_debug(errors)), "doctor")
        reason = error.why.splitlines()[-1] if error.why else error.summary
        return Finding(
            name="index",
            state=ERROR,
            told=f"`{shown}` does not answer: {reason}",
            mend="see that it can be reached from here, and its proxy and certificates are right; "
            "`TILTH_OFFLINE=1` works with what is cached",
        )

    def clock(self) -> OtherClock | str:
        """How far ahead of the index's clock ours is; else why that is not known."""
        if self._offline:
            return "tilth is offline"
        if "etwork was disabled" in self._ask()[2]:
            return "uv is told to work offline"
        url = self._url()
        if not url:
            return "uv asks no index"
        parts = urlsplit(url)
        host = parts.hostname or ""
        bare = parts._replace(netloc=host + (f":{parts.port}" if parts.port else "")).geturl()
        if parts.scheme not in ("http", "https"):
            return f"`{parts.scheme}` tells no time"
        before = time.time()
        try:
            request = urllib.request.Request(bare, method="HEAD")  # noqa: S310 - the scheme was looked at
            with urllib.request.urlopen(request, timeout=_PATIENCE_S) as response:  # noqa: S310 - the same
                date = response.headers.get("Date")
        except urllib.error.HTTPError as error:
            with error:
                date = error.headers.get("Date")  # a refusal is dated too
        except (OSError, ValueError) as error:
            return f"`{host}` does not answer: {getattr(error, 'reason', error)}"
        after = time.time()
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return f"`{host}` does not tell the time"
        return OtherClock(host, (before + after) / 2 - theirs, after)

    def _ask(self) -> tuple[int, str, str]:
        """What uv says when it is sent to the index for one package: (code, output, errors)."""
        with self._lock:
            if self._asked is None:
                self._asked = _send_uv()
            return self._asked

    def _url(self) -> str:
        """The address that uv asked first."""
        found = re.search(
            r"(?:No cache entry for|GET request for|fetch): `?(\S+?)`?/?$", self._ask()[2], re.MULTILINE
        )
        return found[1].removesuffix(f"/{_PROBE}") if found else ""


def _send_uv() -> tuple[int, str, str]:
    from tilth.environments import uv

    held = {"UV_HTTP_TIMEOUT": str(_PATIENCE_S), "UV_HTTP_RETRIES": "0"}
    given = {name: value for name, value in held.items() if name not in os.environ}
    arguments = ["pip", "compile", "-", "--no-deps", "--no-cache", "--no-header", "--color", "never", "-v"]
    result = uv.call(arguments, text=f"{_PROBE}\n", variables=given)
    return result.code, result.output, result.errors


def _without_debug(errors: str) -> str:
    return "\n".join(line for line in errors.splitlines() if not re.match(r"\s*(DEBUG|TRACE|INFO)\b", line))
