"""A step in a container beside this process: they share a folder, and nothing else.

    FOLDER/enter/       start.json (what the worker is told), socket, stdout and stderr (named pipes)

The container runs `entry(…)`, which waits for `start.json`, so either may be there first. What its end means (killed,
out of memory) only whoever started the container can say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from tilth.orchestrators import Outcome
from tilth.orchestrators.conversation import Conversation, Door
from tilth.runtime.folder import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tilth.orchestrators import Task
    from tilth.orchestrators.runtimes import Runtime

_GRACE_S = 1.0  # from interrupting a step to hanging up
_QUIET_S = 0.2  # after which a container that has hung up prints nothing more
_PIPE = 1 << 20
# Runs in the step's interpreter before anything of tilth's is there.
_ENTRY = """
import json, os, sys, time
start = sys.argv[1] + "/enter/start.json"
end = time.monotonic() + float(sys.argv[2])
while not os.path.exists(start):
    if time.monotonic() > end:
        sys.exit("error: no supervisor has come to " + sys.argv[1])
    time.sleep(0.05)
with open(start) as file:
    told = json.load(file)
os.environ.update(told["variables"])
os.execv(sys.executable, [sys.executable, *told["arguments"]])
"""


def entry(folder: str, *, flags: tuple[str, ...] = (), wait_s: float = 600.0) -> list[str]:
    """What the step's container runs, after its interpreter's path.

    Args:
        folder: The shared one, as the container sees it.
        flags: Of the interpreter: `-I` for one that is an environment of tilth's.
        wait_s: How long to wait for a supervisor.
    """
    return [*flags, "-c", _ENTRY, folder, str(wait_s)]


class BesideLauncher:
    """Runs one step in a container that somebody else starts; use once.

    Args:
        folder: The shared one; at the same path in the container.
        answer: What a step asks of its supervisor: (method, parameters) to a JSON value.
        runtime: As the container sees it.
        come_in_s: How long the container may take to come.
    """

    def __init__(
        self,
        folder: Path,
        answer: Callable[[str, dict[str, Any]], Any],
        *,
        runtime: Runtime,
        come_in_s: float,
    ) -> None:
        self._enter = folder / "enter"
        self._answer = answer
        self._runtime = runtime
        self._come_in_s = come_in_s
        self._pipes: dict[int, str] = {}

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        """Wait for the container, and run the attempt in it."""
        self._enter.mkdir()
        door = Door(self._enter / "socket")
        try:
            self._open_pipes()
            self._tell_start(task)
            try:
                async with asyncio.timeout(self._come_in_s):
                    connected = await door.come_in()
            except TimeoutError:
                return Outcome(
                    "environment", f"the container of the step did not start within {self._come_in_s:g} s"
                )
            return await self._converse(task, connected, output)
        finally:
            door.close()
            for pipe in self._pipes:
                os.close(pipe)
            self._pipes.clear()

    async def close(self) -> None:
        """Nothing is kept."""
        shutil.rmtree(self._enter, ignore_errors=True)

    async def _converse(self, task: Task, connected: Any, output: Callable[[str, bytes], None]) -> Outcome:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def read_all() -> None:
            for pipe, stream in self._pipes.items():
                with contextlib.suppress(BlockingIOError):
                    while data := os.read(pipe, _PIPE):
                        output(stream, data)

        async def listen() -> None:
            while True:  # not by readiness: a named pipe that nobody writes to is always ready
                read_all()
                await asyncio.sleep(0.05)

        conversation = Conversation(connected, self._answer, read_all)
        conversation.when_closed = lambda: ended.set_result(None)
        listening = loop.create_task(listen())
        done = conversation.step(task.folder)
        first: list[asyncio.Future[Any]] = [done, ended]
        try:
            async with asyncio.timeout(task.timeout_s):
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await self._stop(conversation, done, ended)
            return Outcome("timeout", f"it was stopped after its timeout of {task.timeout_s:g} s")
        except asyncio.CancelledError:
            await self._stop(conversation, done, ended)
            raise
        finally:
            if not done.done():
                await asyncio.sleep(_QUIET_S)
            listening.cancel()
            read_all()
            conversation.over()
        said = done.result()
        if said is None:
            return Outcome("exited", "the process in its container ended without an exception")
        leave = said["leave"]
        return Outcome(
            "done", peak_memory=said["peak"], notice=leave[0] if leave and said["completed"] else ""
        )

    async def _stop(self, conversation: Conversation, done: Any, ended: Any) -> None:
        if conversation.is_called and conversation.is_open:
            conversation.interrupt()
            await asyncio.wait([done, ended], timeout=_GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        conversation.close()

    def _open_pipes(self) -> None:
        for stream in ("stdout", "stderr"):
            path = self._enter / stream
            os.mkfifo(path)
            path.chmod(0o666)  # the container may run as somebody else
            self._pipes[os.open(path, os.O_RDONLY | os.O_NONBLOCK)] = stream

    def _tell_start(self, task: Task) -> None:
        settings = {
            "socket": str(self._enter / "socket"),
            "stdout": str(self._enter / "stdout"),
            "stderr": str(self._enter / "stderr"),
            "roots": list(task.roots),
            "cwd": task.cwd,
        }
        flags = ["-I"] if task.environment else []
        arguments = [
            *flags,
            str(self._runtime.bootstrap),
            "worker",
            self._runtime.cloudpickle,
            json.dumps(settings),
        ]
        told = {"arguments": arguments, "variables": {**task.variables, **task.secrets}}
        path = self._enter / "start.json"
        os.close(os.open(f"{path}.tmp", os.O_WRONLY | os.O_CREAT, 0o644))
        write_json(path, told)
