"""Threads and child processes that may take minutes, and that nobody who was interrupted waits for.

`ThreadPoolExecutor` and `asyncio.to_thread` have the process wait for what runs, however it ends.
"""

from __future__ import annotations

import atexit
import subprocess
import threading
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

_children: set[subprocess.Popen[Any]] = set()
_starting = threading.Lock()
_ending = False


def in_thread(work: Callable[[], R]) -> Future[R]:
    """Begin a call in a thread of its own that ends with the process."""
    import contextvars  # here for cost, as the next: planning a run starts nothing
    from concurrent.futures import Future

    future: Future[R] = Future()
    future.set_running_or_notify_cancel()  # from here on whoever waits may leave, but not stop it

    def settle() -> None:
        try:
            result = work()
        except BaseException as error:  # raised again by whoever waits
            future.set_exception(error)
        else:
            future.set_result(result)

    # What is known of why a call is made goes along, such as for whom something is built.
    threading.Thread(target=contextvars.copy_context().run, args=(settle,), daemon=True).start()
    return future


def at_once(work: Callable[[T], R], items: Sequence[T], *, threads: int = 4) -> list[R]:
    """What `work` gives for each item, in their order, several at a time.

    Raises:
        BaseException: The first that was raised, in the order of the items; no further item is begun.
    """
    results: dict[int, R] = {}
    failures: dict[int, BaseException] = {}
    waiting = deque(enumerate(items))

    def serve() -> None:
        while True:
            try:
                index, item = waiting.popleft()
            except IndexError:
                return
            try:
                results[index] = work(item)
            except BaseException as error:  # raised again below
                failures[index] = error
                waiting.clear()

    serving = [in_thread(serve) for _ in range(min(threads, len(items)))]
    try:
        for each in serving:
            each.result()
    finally:
        waiting.clear()
    if failures:
        raise failures[min(failures)]
    return [results[index] for index in range(len(items))]


class Crew:
    """A few threads for calls that come one after another; of those that wait, the most urgent is next.

    After the first that fails none is begun any more.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int, Callable[[], object]]] = []
        self._came = count()
        self._serving = 0
        self._failure: BaseException | None = None
        self.stopped = False  # what runs may look at it, and end early

    def begin(self, work: Callable[[], object], *, urgency: int = 0) -> None:
        """Call it as soon as there is a thread.

        Raises:
            BaseException: What another call failed with.
        """
        with self._changed:
            self.check()
            if self.stopped:
                return
            heappush(self._waiting, (-urgency, next(self._came), work))
            if self._serving == self._threads:
                return
            self._serving += 1
        in_thread(self._serve)

    def check(self) -> None:
        """Go on unless a call has failed.

        Raises:
            BaseException: What the first one failed with.
        """
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Wait until all that was begun has ended.

        Raises:
            BaseException: What the first call that failed did so with.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._serving)
            self.check()

    def stop(self, *, patience_s: float | None = None) -> None:
        """Begin nothing more, and wait for what runs, but no longer than that: it ends with the process."""
        with self._changed:
            self.stopped = True
            self._waiting.clear()
            self._changed.wait_for(lambda: not self._serving, patience_s)

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._serving -= 1
                    self._changed.notify_all()
                    return
                _, _, work = heappop(self._waiting)
            try:
                work()
            except BaseException as error:  # raised again by whoever waits
                with self._changed:
                    self._waiting.clear()
                    if self._failure is None:
                        self._failure = error


def call(arguments: Sequence[Any], *, input: Any = None, **options: Any) -> subprocess.CompletedProcess[Any]:  # noqa: A002
    """As `subprocess.run`, but the child is ended when this process ends before it."""
    with _starting:
        if _ending:
            raise OSError("this process is ending")
        child = subprocess.Popen(arguments, **options)
        _children.add(child)
    try:
        with child:
            try:
                output, errors = child.communicate(input)
            except BaseException:
                child.kill()
                raise
    finally:
        _children.discard(child)
    return subprocess.CompletedProcess(arguments, child.returncode, output, errors)


@atexit.register
def _end_children() -> None:
    global _ending
    with _starting:
        _ending = True
    for child in list(_children):
        child.terminate()
