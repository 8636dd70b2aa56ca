"""Steps in the client's own process: for debuggers. No isolation, no limits, one at a time."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tilth.orchestrators import Outcome
from tilth.runtime.call import call_step
from tilth.runtime.state import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.orchestrators import Task


class InProcessLauncher:
    """Calls each step where the driver runs. What it prints goes straight to the terminal."""

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        """Run one attempt, here and now."""
        del output
        for root in reversed(task.roots):
            if root not in sys.path:
                sys.path.insert(0, root)
        before = {name: os.environ.get(name) for name in task.variables}
        os.environ.update(task.variables)
        try:
            call_step(task.folder)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        return Outcome("done", peak_memory=peak_bytes())

    async def close(self) -> None:
        """Nothing is kept."""
