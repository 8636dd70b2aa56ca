"""How long this process waits for servers that are away, and that it leaves when somebody wants it to."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from tilth.errors import ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
_LEAVE_S = 1.2  # for which a server is waited for by somebody who wants to leave
_LOOK_S = 0.1  # between looks whether somebody does


class Patience:
    """Of all requests of a process, whichever store they are for: records, artifacts or secrets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._least_s = 0.0
        self._left_at: float | None = None
        self._was_left = False

    @contextlib.contextmanager
    def of_a_run(self, patience_s: float) -> Iterator[None]:
        """Wait so long, in seconds, for whatever a run needs of a server, and hear `leave_soon` meanwhile."""
        with self._lock:
            self._runs += 1
            self._least_s = max(self._least_s, patience_s)
        try:
            yield
        finally:
            with self._lock:
                self._runs -= 1
                if not self._runs:
                    self._least_s, self._left_at, self._was_left = 0.0, None, False

    def leave_soon(self) -> None:
        """Have a run wait no longer than a moment for what is not answered. May be called from a signal handler."""
        self._left_at = time.monotonic()

    def at_least(self, patience_s: float) -> float:
        """The patience of a request, in seconds, by what it would be without a run."""
        return max(patience_s, self._least_s)

    def ask(self, began: float, request: Callable[[], T]) -> T:
        """What a request gives; in a thread of its own where somebody may want to leave it.

        Args:
            began: When it was first tried, on the monotonic clock.
        Raises:
            ServerUnavailable: Somebody wanted to leave.
        """
        if not self._runs:
            return request()
        self._stay(began)
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put((request(), None))
            except BaseException as error:  # raised again by whoever waits
                answers.put((None, error))

        threading.Thread(target=work, name="tilth-request", daemon=True).start()
        while True:
            try:
                answer, error = answers.get(timeout=_LOOK_S)
            except queue.Empty:
                self._stay(began)
                continue
            if error is not None:
                raise error
            given: T = answer
            return given

    def pause(self, began: float, wait_s: float) -> None:
        """Wait before a request is tried again, in seconds.

        Raises:
            ServerUnavailable: Somebody wanted to leave.
        """
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            self._stay(began)
            time.sleep(min(left_s, _LOOK_S))

    def _stay(self, began: float) -> None:
        if self._left_at is None:
            return
        if self._was_left or time.monotonic() > max(began, self._left_at) + _LEAVE_S:
            self._was_left = True  # it is not asked for what else there is to say
            raise ServerUnavailable(
                "the server does not answer, and was not waited for any longer",
                mend="see whether it runs: `tilth status`",
            )


PATIENCE = Patience()
