"""Steps in the client's own process: for debuggers. No isolation, no limits, one at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tilth.orchestrators import Outcome
from tilth.runtime import client
from tilth.runtime.call import call_step
from tilth.runtime.folder import read_json
from tilth.runtime.state import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        with _variables(task), _answered(self._answer), _interruptible():
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
    before = {name: os.environ.get(name) for name in task.variables}
    os.environ.update(task.variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _answered(answer: Callable[[str, dict[str, Any]], Any]) -> Iterator[None]:
    client.set_transport(answer)
    try:
        yield
    finally:
        client.set_transport(None)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt the step: the loop, which would cancel the run, is blocked by it and hears it after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
