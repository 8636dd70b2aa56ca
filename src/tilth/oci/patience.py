"""How long one goes on asking a registry that does not answer as it should."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tilth.errors import TilthError

_MOST_RESTARTS = 10  # of the count of tries, by progress: a registry that breaks off after each byte ends too


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds."""

    tries: int = 5  # in a row without any progress
    first_wait_s: float = 0.5  # doubled with every try
    longest_wait_s: float = 30
    longest_asked_wait_s: float = 120  # a registry that asks for more by `Retry-After` is not waited for
    connect_s: float = 10
    silence_s: float = 60  # how long nothing may come, or be taken


class Passing(Exception):
    """A failure that may pass; `error` is what to raise when it does not."""

    def __init__(self, error: TilthError, *, wait_s: float | None = None) -> None:
        super().__init__(error.summary)
        self.error = error
        self.wait_s = wait_s  # as the registry asks


class Tries:
    """The tries of one operation."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failed = 0
        self._restarts = 0
        self._began = time.monotonic()

    def wait(self, passing: Passing) -> None:
        """Sleep before the next try.

        Raises:
            TilthError: There is none, or the registry asks to wait for too long.
        """
        self._failed += 1
        patience = self._patience
        if self._failed >= patience.tries:
            raise self._given_up(passing) from passing
        if passing.wait_s is not None and passing.wait_s > patience.longest_asked_wait_s:
            passing.error.why = _and(passing.error.why, f"it asks to wait for {passing.wait_s:.0f} s")
            raise passing.error from passing
        time.sleep(delay_s(self._failed, patience, passing.wait_s))

    def progressed(self) -> None:
        """Something came of the last try: the next failure is the first."""
        if self._failed and self._restarts < _MOST_RESTARTS:
            self._failed = 0
            self._restarts += 1

    def _given_up(self, passing: Passing) -> TilthError:
        error = passing.error
        if self._failed > 1:
            lasted = time.monotonic() - self._began
            error.why = _and(error.why, f"tried {self._failed} times in {lasted:.1f} s")
        return error


def delay_s(failed: int, patience: Patience, asked_s: float | None) -> float:
    """Seconds to wait after so many failures: as asked for, else twice the last, less up to a quarter by chance."""
    if asked_s is not None:
        return max(asked_s, 0)
    full = min(patience.first_wait_s * 2.0 ** (failed - 1), patience.longest_wait_s)
    return full * random.uniform(0.75, 1)  # noqa: S311 - so that many clients do not come back at once


def asked_wait_s(retry_after: str) -> float | None:
    """Seconds from a `Retry-After` header: a number, or a date."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    from email.utils import parsedate_to_datetime  # twelve milliseconds, hardly ever needed

    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0)
    except ValueError:
        return None


def _and(why: str, more: str) -> str:
    return f"{why}\n{more}" if why else more
