"""Steps in the client's own process: for debuggers. No isolation, no limits, one at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tilth.orchestrators import Outcome
from tilth.runtime import client
from tilth.runtime.call import call_step
from tilth.runtime.folder import read_json
from tilth.runtime.masking import Mask
from tilth.runtime.state import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tilth.orchestrators import Task

_CANCEL_S = 0.1  # in which the loop hears of a Ctrl-C that a step was interrupted by


class InProcessLauncher:
    """Calls each step where the driver runs. What it prints goes straight to the terminal.

    Args:
        answer: What a step asks of its supervisor: (method, parameters) to a JSON value.
    """

    def __init__(self, answer: Callable[[str, dict[str, Any]], Any]) -> None:
        self._answer = answer

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        """Run one attempt, here and now."""
        del output
        for root in reversed(task.roots):
            if root not in sys.path:
                sys.path.insert(0, root)
        hiding = _hiding(Mask(task.secrets.values()))
        with _variables(task), hiding, _answered(self._answer), _interruptible():
            completed = call_step(task.folder)
        if (
            not completed
            and (read_json(task.folder / "result.json") or {}).get("type") == "KeyboardInterrupt"
        ):
            await asyncio.sleep(_CANCEL_S)
        return Outcome("done", peak_memory=peak_bytes())

    async def close(self) -> None:
        """Nothing is kept."""


@contextmanager
def _variables(task: Task) -> Iterator[None]:
    given = {**task.variables, **task.secrets}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _hiding(mask: Mask) -> Iterator[None]:
    """What Python code prints shows no secret. Child processes, and C code, write past this.

    The streams stay what they are, and write differently for a while: handlers of loggers hold them already.
    """
    with ExitStack() as stack:
        for stream in {sys.stdout, sys.stderr} - {None} if mask else ():
            stack.enter_context(_hidden(stream, mask))
        yield


@contextmanager
def _hidden(stream: Any, mask: Mask) -> Iterator[None]:
    write, flush, lock, rest = stream.write, stream.flush, threading.RLock(), ""

    def write_hidden(text: str) -> int:
        nonlocal rest
        with lock:
            # The last line is kept back until it is whole, or flushed: half a secret would not be found.
            lines, newline, rest = (rest + text).rpartition("\n")
            if newline:
                write(mask.text(lines + newline))
        return len(text)

    def flush_hidden() -> None:
        nonlocal rest
        with lock:
            rest, last = "", rest
            if last:
                write(mask.text(last))
            flush()

    own = {name: vars(stream)[name] for name in ("write", "flush") if name in getattr(stream, "__dict__", {})}
    with suppress(AttributeError):  # a stream of somebody's own that takes no attributes
        stream.write, stream.flush = write_hidden, flush_hidden
    try:
        yield
    finally:
        flush_hidden()
        for name in ("write", "flush"):
            with suppress(AttributeError):
                delattr(stream, name)
        for name, value in own.items():
            setattr(stream, name, value)


@contextmanager
def _answered(answer: Callable[[str, dict[str, Any]], Any]) -> Iterator[None]:
    client.set_transport(answer)
    try:
        yield
    finally:
        client.set_transport(None)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt the step, and tell whoever would cancel the run: the loop, blocked by it, hears it after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def both(number: int, frame: FrameType | None) -> None:
        if callable(before) and before is not signal.default_int_handler:
            before(number, frame)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, both)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is both:  # else it has been heard, and put back
            signal.signal(signal.SIGINT, before)
