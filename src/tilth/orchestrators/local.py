"""Steps in warm worker processes on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from tilth.orchestrators import Outcome, Task
from tilth.orchestrators.conversation import Conversation
from tilth.orchestrators.runtimes import installed_runtime
from tilth.orchestrators.usage import oom_kills, resident, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tilth.orchestrators.runtimes import Runtime

_GRACE_S = 1.0  # from interrupting a step to killing it
_SAMPLE_S = 0.1
_COUNT_S = 1.0  # how old the count of out-of-memory kills may be: the kernel takes a while to tell it
_PIPE = 1 << 20


class LocalLauncher:
    """Keeps workers warm, each for one environment, and gives each step to an idle one or a new one.

    Args:
        keep: How many idle workers to keep at most, over all environments.
        answer: What a step asks of its supervisor: (method, parameters) to a JSON value.
        inherited: Variables that steps get besides their own; by default those of this process.
        runtime: Where the part of tilth is that enters a step's interpreter, as `write_runtime` writes it; by
            default where tilth is installed.
    """

    def __init__(
        self,
        keep: int,
        answer: Callable[[str, dict[str, Any]], Any],
        *,
        inherited: Mapping[str, str] | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._keep = keep
        self._answer = answer
        self._inherited = inherited
        self._runtime = runtime or installed_runtime()
        self._idle: list[_Worker] = []  # least recently used first
        self._all: set[_Worker] = set()

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        """Run one attempt in a worker."""
        worker = self._take(task)
        outcome = await worker.run(task, output)
        if worker.reusable and not task.fresh:
            self._idle.append(worker)
            while len(self._idle) > self._keep:
                self._idle.pop(0).close()
        else:
            worker.close()
        return outcome

    async def close(self) -> None:
        """End all workers."""
        for worker in list(self._all):
            worker.close()
        self._idle.clear()
        await asyncio.gather(*(worker.ended() for worker in list(self._all)))

    def _take(self, task: Task) -> _Worker:
        key = _key(task)
        for worker in reversed(self._idle):
            if worker.key == key and not task.fresh:
                self._idle.remove(worker)
                if worker.reusable:
                    return worker
        return self._spawn(task)

    def _spawn(self, task: Task) -> _Worker:
        variables = step_variables(task, self._inherited)
        worker = _Worker(task, self._answer, variables, self._runtime)
        self._all.add(worker)
        worker.when_ended(lambda: self._all.discard(worker))
        return worker


def _key(task: Task) -> tuple[object, ...]:
    return (
        task.python,
        task.environment,
        tuple(sorted(task.variables.items())),
        tuple(sorted(task.secrets.items())),
        task.roots,
        task.cwd,
        task.memory,
    )


class _Worker:
    """One process of this machine, and the conversation with it."""

    def __init__(
        self,
        task: Task,
        answer: Callable[[str, dict[str, Any]], Any],
        variables: Mapping[str, str],
        runtime: Runtime,
    ) -> None:
        self.key = _key(task)
        self.reusable = True
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._listeners: list[Callable[[], None]] = []
        self._done: asyncio.Future[dict[str, Any] | None] | None = None  # None: the process ended
        self._output: Callable[[str, bytes], None] = _unheard
        self._code: int | None = None
        self._kills = 0  # of the kernel's out-of-memory killer, a moment before a step began
        self._counted_at = 0.0
        ours, theirs = socket.socketpair()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        self._pipes = {out: "stdout", err: "stderr"}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            with contextlib.suppress(AttributeError, OSError):  # a larger buffer is only for speed
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            self._process = subprocess.Popen(
                _command(task, theirs.fileno(), runtime),
                stdin=subprocess.DEVNULL,
                stdout=out_end,
                stderr=err_end,
                env=variables,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            for fd in self._pipes:
                os.close(fd)
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(out_end)
            os.close(err_end)
        self._talk = Conversation(ours, answer, self._read_all)
        for pipe in self._pipes:
            self._loop.add_reader(pipe, self._read, pipe)
        self._watch()

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        """Run one step; raises only when cancelled."""
        self._output = output
        if time.monotonic() - self._counted_at > _COUNT_S:
            self._kills, self._counted_at = oom_kills(), time.monotonic()
        watch = self._loop.create_task(self._sample(task.memory)) if task.memory else None
        self._exceeded = 0
        try:
            self._done = self._talk.step(task.folder)
            if self._ended.done():
                self._talk.over()
            async with asyncio.timeout(task.timeout_s):
                # Shielded: while the step is being stopped, its answer is still waited for.
                done = await asyncio.shield(self._done)
        except asyncio.CancelledError:
            await self.stop()  # here, so that what the step prints while it ends is heard
            raise
        except TimeoutError:
            await self.stop()
            return Outcome("timeout", f"it was stopped after its timeout of {task.timeout_s:g} s")
        finally:
            self._output = _unheard
            if watch:
                watch.cancel()
        if done is not None:
            leave = done["leave"]
            self.reusable = not leave
            notice = leave[0] if leave and done["completed"] else ""
            return Outcome("done", peak_memory=done["peak"], notice=notice)
        self.reusable = False
        if self._exceeded:
            return Outcome(
                "out_of_memory",
                f"it used {size_text(self._exceeded)}; its resources allow {size_text(task.memory or 0)}",
                peak_memory=self._exceeded,
            )
        return self._end_of_process()

    async def stop(self) -> None:
        """Interrupt the step, as Ctrl-C would; after a moment, kill it with all it started."""
        self.reusable = False
        if self._talk.is_called and not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
            waiting: list[asyncio.Future[Any]] = [self._ended, *([self._done] if self._done else [])]
            await asyncio.wait(waiting, timeout=_GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        self.close()
        await self.ended()

    def close(self) -> None:
        """Kill the process and all it started."""
        self.reusable = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Wait until the process is gone."""
        await asyncio.shield(self._ended)

    def when_ended(self, call: Callable[[], None]) -> None:
        """Call this when the process is gone."""
        self._listeners.append(call)

    def _watch(self) -> None:
        """Call `_exited` on the loop when the process ends."""
        if hasattr(os, "pidfd_open"):
            fd = os.pidfd_open(self._process.pid)

            def ready() -> None:
                self._loop.remove_reader(fd)
                os.close(fd)
                self._exited()

            self._loop.add_reader(fd, ready)
        else:

            def wait() -> None:
                self._process.wait()
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
                    self._loop.call_soon_threadsafe(self._exited)

            threading.Thread(target=wait, daemon=True).start()

    def _exited(self) -> None:
        self._code = self._process.wait()
        self.reusable = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # children it left
        self._read_all()
        for pipe in list(self._pipes):
            self._loop.remove_reader(pipe)
            os.close(pipe)
        self._pipes.clear()
        if not self._ended.done():
            self._ended.set_result(None)
        self._talk.over()
        for listener in self._listeners:
            listener()

    def _read_all(self) -> None:
        for pipe in list(self._pipes):
            self._read(pipe)

    def _read(self, pipe: int) -> None:
        """Take all that is there, so that what a step printed is complete when it says it is done."""
        while True:
            try:
                data = os.read(pipe, _PIPE)
            except (BlockingIOError, InterruptedError):
                return
            if not data:
                self._loop.remove_reader(pipe)
                return
            self._output(self._pipes[pipe], data)

    async def _sample(self, limit: int) -> None:
        """Kill the process when it uses more memory than it may."""
        while not self._ended.done():
            used = resident(self._process.pid)
            if used > limit:
                self._exceeded = used
                self.close()
                return
            await asyncio.sleep(_SAMPLE_S)

    def _end_of_process(self) -> Outcome:
        code = self._code or 0
        if code >= 0:
            return Outcome("exited", f"its process exited with code {code}, without an exception")
        if -code == signal.SIGKILL and oom_kills() > self._kills:
            return Outcome("out_of_memory", "the kernel killed it because the machine ran out of memory")
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        meaning = {"SIGSEGV": ": a segmentation fault", "SIGABRT": ": it aborted", "SIGBUS": ": a bus error"}
        return Outcome("killed", f"its process was killed by {name}{meaning.get(name, '')}")


def _command(task: Task, fd: int, runtime: Runtime) -> list[str]:
    flags = ["-I"] if task.environment else []
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and task.environment:
        flags.append("-B")  # -I leaves the variable unread
    settings = {"fd": fd, "roots": task.roots, "cwd": task.cwd}
    return [
        str(task.python),
        *flags,
        str(runtime.bootstrap),
        "worker",
        runtime.cloudpickle,
        json.dumps(settings),
    ]


def step_variables(task: Task, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of the process that a step runs in: the inherited ones, and what its environment says."""
    variables = dict(os.environ if inherited is None else inherited)
    if task.prefix is not None:
        for name in ("PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX"):
            variables.pop(name, None)
        variables["VIRTUAL_ENV"] = str(task.prefix)
        programs = [str(task.prefix / "bin")]
        if task.conda is not None:
            programs.append(str(task.conda / "bin"))
            variables["CONDA_PREFIX"] = str(task.conda)
            # A venv that shows what is beneath it would show the user's own packages too.
            variables["PYTHONNOUSERSITE"] = "1"
        variables["PATH"] = os.pathsep.join([*programs, variables.get("PATH", os.defpath)])
    variables.update(task.variables)
    variables.update(task.secrets)
    return variables


def _unheard(_stream: str, _data: bytes) -> None:
    """What a worker prints between two steps belongs to none."""
