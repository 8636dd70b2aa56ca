"""Threads and child processes that may take minutes, and that nobody who was interrupted waits for.

`ThreadPoolExecutor` and `asyncio.to_thread` have the process wait for what runs, however it ends.
"""

from __future__ import annotations

import atexit
import subprocess
import threading
from collections import deque
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
