"""Steps in containers of a Docker or Podman engine on this machine, one for each.

The engine's own command line is what is called: it knows contexts, rootless engines and Podman, and streams a
step's output. A container sees its step's folder, the project, artifacts and the part of tilth that enters a
step's interpreter at the paths they have on this machine, and its environment at `/opt/env`. It talks with the
driver over a socket in its folder; when that closes, it ends, and the engine removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tilth.environments.venvs import IN_IMAGE
from tilth.errors import BuildFailed, EngineUnavailable, SetupError, TilthError
from tilth.images.settings import CODE
from tilth.orchestrators import Outcome, Task
from tilth.orchestrators.conversation import Conversation, Door
from tilth.orchestrators.runtimes import installed_runtime
from tilth.orchestrators.usage import size_text
from tilth.stack.flavors import Finding, Flavor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.orchestrators import Delivery, Launcher, Orchestrator, RunnerTask
    from tilth.stack.flavors import Context

LABEL = "dev.tilth.run"  # of every container: the id of its run
_GRACE_S = 1.0  # from interrupting a step to killing it
_CHUNK = 1 << 16
_OOM_PATIENCE_S = 3.0  # for an engine to hear that a container ran out of memory
_PATIENCE_S = 20.0  # for an engine to say that it is there
_ENGINE_FAILED = 125  # the exit code of `docker run` when there is no container
_KILLED = 137
_TAIL = 1 << 10  # bytes
_ENGINE_GONE = re.compile(
    r"error waiting for container|[Cc]annot connect to the Docker daemon|daemon running\?"
).search
_HUNG_S = 10.0  # for an engine to kill a container
# A folder of the project mounted there would hide what a base has there.
_SYSTEM = ("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/run", "/sbin", "/sys",
           "/usr", "/var")  # fmt: skip


class DockerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the Docker orchestrator.

    Attributes:
        engine: The command line to call: `docker` or `podman`.
        base_image: Base of environments that name none. `{python}` stands for the minor version of Python.
        network: Network of the containers, as `--network` takes it; by default the engine's.
        user: `UID:GID` that steps run as; by default the one who runs tilth, for they write into folders of that
            one. A rootless Docker engine has `0:0` for it.
        delivery: `mount` makes the environment on this machine and mounts it; `image` makes an image of it and
            loads what the engine lacks.
        run_options: More options of `docker run`, as `["--shm-size=2g"]`.
    """

    engine: Literal["docker", "podman"] = "docker"
    base_image: str = "python:{python}-slim"
    network: str = ""
    user: str = ""
    delivery: Literal["mount", "image"] = "mount"
    run_options: tuple[str, ...] = ()


class DockerOrchestrator:
    """Starts each step in a container of its own."""

    in_containers = True
    # From in there the engine could be reached by its socket alone, which gives whoever has it the whole machine.
    steps_in_runner = True

    def __init__(self, settings: DockerSettings) -> None:
        self.settings = settings
        self.engine: str = settings.engine
        self.delivery: Delivery = "mount" if settings.delivery == "mount" else "load"

    def base_image(self, minor: str) -> str:
        """The base of environments that name none."""
        return self.settings.base_image.replace("{python}", minor)

    def launcher(
        self, keep: int, reads: Sequence[Path], answer: Callable[[str, dict[str, Any]], Any]
    ) -> Launcher:
        """What starts the steps of one run."""
        del keep  # no container is kept for a second step
        return DockerLauncher(self.settings, reads, answer)

    async def run_runner(self, task: RunnerTask, output: Callable[[bytes], None]) -> Outcome:
        """Run the container of a runner image to its end."""
        from tilth.orchestrators.runner_containers import run_runner  # here for cost: most runs start none

        return await run_runner(task, self.settings, output)


class DockerLauncher:
    """Runs each attempt in a container."""

    def __init__(
        self, settings: DockerSettings, reads: Sequence[Path], answer: Callable[[str, dict[str, Any]], Any]
    ) -> None:
        self._settings = settings
        self._reads = reads
        self._answer = answer

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        """Run one attempt in a container, which is gone afterwards."""
        return await _Container(task, self._settings, self._answer, output).run(self._reads)

    async def close(self) -> None:
        """Nothing is kept."""


class _Container:
    """One container from its start to its end."""

    def __init__(
        self,
        task: Task,
        settings: DockerSettings,
        answer: Callable[[str, dict[str, Any]], Any],
        output: Callable[[str, bytes], None],
    ) -> None:
        self._task = task
        self._engine = settings.engine
        self._settings = settings
        self._answer = answer
        self._output = output
        self._name = f"tilth-{_plain(task.label)}-{os.urandom(5).hex()}"
        self._worker: Conversation | None = None
        self._done: dict[str, Any] | None = None
        self._complaint = b""  # the engine's own, while there is no worker
        self._last = b""  # of what came on standard error, where the engine's command line complains too

    async def run(self, reads: Sequence[Path]) -> Outcome:
        """Run the step; raises when cancelled, or when the engine starts no container."""
        for each in reads:  # Docker would make what is absent, as root; Podman refuses
            each.mkdir(parents=True, exist_ok=True)
        door = Door(self._task.folder / ".socket")
        began = time.time()
        try:
            process = await asyncio.create_subprocess_exec(
                *command(self._task, self._settings, self._name, door.path, reads),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the driver's to deal with
            )
        except BaseException as error:
            door.close()
            if isinstance(error, FileNotFoundError):
                raise _no_engine(self._engine, f"there is no program `{self._engine}`") from error
            raise
        talking = asyncio.ensure_future(self._talk(door))
        try:
            return await self._until_it_ends(process, began)
        finally:
            talking.cancel()
            door.close()
            if self._worker is not None:
                self._worker.over()

    async def _talk(self, door: Door) -> None:
        """Give the worker its step when it comes, and hang up when that is done: the container ends then."""
        self._worker = Conversation(await door.come_in(), self._answer)
        self._done = await self._worker.step(self._task.folder, self._task.secrets)
        self._worker.close()

    async def _until_it_ends(self, process: asyncio.subprocess.Process, began: float) -> Outcome:
        assert process.stdout is not None
        assert process.stderr is not None
        ended = asyncio.ensure_future(
            asyncio.gather(
                self._read(process.stdout, "stdout"), self._read(process.stderr, "stderr"), process.wait()
            )
        )
        try:
            async with asyncio.timeout(self._task.timeout_s):
                await asyncio.shield(ended)
        except asyncio.CancelledError:
            await self._stop(process, ended)
            raise
        except TimeoutError:
            await self._stop(process, ended)
            return Outcome("timeout", f"it was stopped after its timeout of {self._task.timeout_s:g} s")
        if self._done is not None:
            return Outcome("done", peak_memory=self._done["peak"])
        return await self._end_of_container(process.returncode or 0, began)

    async def _stop(self, process: asyncio.subprocess.Process, ended: asyncio.Future[Any]) -> None:
        """Interrupt the step, as Ctrl-C would; after a moment, kill it with all it started."""
        try:
            async with asyncio.timeout(_HUNG_S):
                if self._worker is not None and self._worker.is_called and not ended.done():
                    await _call(self._engine, "kill", "--signal", "INT", self._name)
                    await asyncio.wait([ended], timeout=_GRACE_S)
                while not ended.done():
                    # Again, for `docker run` may not have come to the point where there is a container.
                    await _call(self._engine, "kill", self._name)
                    await asyncio.wait([ended], timeout=_GRACE_S)
        except TimeoutError:
            # The engine does not answer. Its container ends by itself, for `run` hangs up; what waits for it here
            # would wait for ever.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await ended

    async def _read(self, stream: asyncio.StreamReader, name: str) -> None:
        while data := await stream.read(_CHUNK):
            if self._worker is not None:
                self._output(name, data)
            else:
                self._complaint = (self._complaint + data)[-_CHUNK:]
            if name == "stderr":
                self._last = (self._last + data)[-_TAIL:]

    async def _end_of_container(self, code: int, began: float) -> Outcome:
        """How a container ended that gave no result."""
        if self._worker is None:
            raise explain(self._complaint.decode(errors="replace"), code, self._task, self._engine)
        if code == _ENGINE_FAILED and (said := engine_lost(self._last)):
            return Outcome("lost", f"the container engine went away while it ran: {said}")
        if code == 1 and self._settings.user and not self._worker.is_called:
            raise _may_not(self._task, f"it ended before the step was called, as user {self._settings.user}")
        if code == _KILLED and await self._ran_out_of_memory(began):
            allowed = self._task.memory
            limit = f"; its resources allow {size_text(allowed)}" if allowed else ""
            return Outcome(
                "out_of_memory", f"the kernel killed it because its container ran out of memory{limit}"
            )
        if code <= 128:
            return Outcome("exited", f"its process exited with code {code}, without an exception")
        number = code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        if code == _KILLED and self._task.memory:
            # Podman has no event for it, and Docker loses one now and then.
            return Outcome(
                "killed",
                "its process was killed by SIGKILL, perhaps for want of memory, of which its resources allow "
                f"{size_text(self._task.memory)}; the engine does not say",
            )
        meaning = {"SIGSEGV": ": a segmentation fault", "SIGABRT": ": it aborted", "SIGBUS": ": a bus error"}
        return Outcome("killed", f"its process was killed by {name}{meaning.get(name, '')}")

    async def _ran_out_of_memory(self, began: float) -> bool:
        """The engine remembers that of a container which it has removed; it may take a moment to hear of it."""
        patience = _OOM_PATIENCE_S if self._task.memory else 0.5
        process = await asyncio.create_subprocess_exec(
            self._engine, "events", "--since", f"{began - 1:.3f}", "--until", f"{time.time() + patience:.3f}",
            "--filter", f"container={self._name}", "--filter", "event=oom", "--format", "{{.Status}}",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            async with asyncio.timeout(patience + _PATIENCE_S):
                return b"oom" in await process.stdout.readline()
        except TimeoutError:
            return False
        finally:
            # Not by `process.kill`: that collects a process which has just ended, and asyncio warns that it is gone.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()


def command(
    task: Task, settings: DockerSettings, name: str, socket: Path, reads: Sequence[Path]
) -> list[str]:
    """What starts the container of a step.

    Secrets are not in it, nor in what `docker inspect` tells: the worker hears them from the driver.

    Args:
        socket: Where the worker finds the driver.
        reads: Folders that it reads besides its own.
    Raises:
        SetupError: A folder of the project cannot be mounted.
    """
    worker = {"socket": str(socket), "roots": task.roots, "cwd": task.cwd}
    runtime = installed_runtime()
    return [
        *container(task, settings, name, [*runtime.folders, *reads]),
        "--entrypoint", str(task.python), task.image,
        "-I", str(runtime.bootstrap), "worker", runtime.cloudpickle, json.dumps(worker),
    ]  # fmt: skip


def container(task: Task, settings: DockerSettings, name: str, reads: Sequence[Path]) -> list[str]:
    """What starts a container with the environment, the resources and the folders of a task, without the image.

    Args:
        reads: Folders that are mounted to be read.
    Raises:
        SetupError: A folder of the project cannot be mounted.
    """
    options = [
        settings.engine, "run", "--rm", "--init", "--name", name, "--label", f"{LABEL}={task.run}",
        "--user", settings.user or f"{os.getuid()}:{os.getgid()}", "--workdir", task.cwd,
    ]  # fmt: skip
    if settings.engine == "podman" and os.getuid() != 0:
        options += ["--userns", "keep-id"]
    if settings.network:
        options += ["--network", settings.network]
    if task.memory:
        options += ["--memory", str(task.memory), "--memory-swap", str(task.memory)]
    if task.cpu:
        options += ["--cpus", f"{min(task.cpu, os.cpu_count() or 1):g}"]
    if task.gpu:
        options += (
            ["--gpus", str(task.gpu)] if settings.engine == "docker" else ["--device", "nvidia.com/gpu=all"]
        )
    for path, writable in _mounted(task, reads):
        options += ["--volume", f"{path}:{path}" + ("" if writable else ":ro")]
    if task.prefix is not None:
        options += ["--volume", f"{task.prefix}:{IN_IMAGE}:ro"]
    for variable, value in {"HOME": "/tmp", **task.variables}.items():  # noqa: S108 - in the container
        options += ["--env", f"{variable}={value}"]
    return [*options, *settings.run_options]


def _mounted(task: Task, reads: Sequence[Path]) -> list[tuple[str, bool]]:
    """Folders at the paths they have on this machine, and whether they can be written to."""
    # What is in the image is not on this machine.
    project = {each for each in (*task.roots, task.cwd) if not Path(each).is_relative_to(CODE)}
    for each in sorted(project):
        if each in _SYSTEM or ":" in each:
            raise SetupError(
                f"the project's folder `{each}` cannot be mounted into a container",
                why="it would hide what the base image has there"
                if ":" not in each
                else "its name has a colon",
                mend="move the project into a folder of its own",
            )
    mounted = [*((str(each), False) for each in reads), *((each, True) for each in project)]
    # Last: it lies within others, which would hide it.
    return [*sorted(mounted), (str(task.folder), True)]


def engine_lost(said: bytes) -> str:
    """What the engine's command line says last when the engine is gone; empty when it says nothing of that."""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return last if _ENGINE_GONE(last) else ""


def explain(complaint: str, code: int, task: Task, engine: str) -> TilthError:
    """Why `docker run` has started no container, or its Python did not come up."""
    lines = [
        line
        for line in complaint.strip().splitlines()
        if line.strip() and not re.search(r"--help|^Usage:", line)
    ]
    said = "\n".join(lines[-4:]) or f"`{engine} run` ended with code {code} and said nothing"
    if "Cannot connect to the Docker daemon" in complaint or "connect: no such file" in complaint:
        return _no_engine(engine, said)
    if re.search(r"permission denied while trying to connect", complaint, re.IGNORECASE):
        return _no_engine(engine, said)
    if "could not select device driver" in complaint:
        return SetupError(
            f"step `{task.label}` asks for a GPU, and the engine gives its containers none",
            why=said,
            mend="install the NVIDIA container toolkit, or take `gpu` out of the step's resources",
        )
    if "container-init binary not found" in complaint:
        return SetupError(
            f"`{engine}` lacks the small init process that containers of steps are started with",
            why=said,
            mend="install `catatonit`; or name another one in the orchestrator's `run_options`: "
            '`["--init-path=/usr/bin/tini"]`',
        )
    if "error setting rlimit" in complaint:
        return SetupError(
            f"`{engine}` may not raise the limits of a container for step `{task.label}`",
            why=said,
            mend="lower them in the orchestrator's `run_options`: "
            '`["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]`',
        )
    if code == _ENGINE_FAILED:
        return EngineUnavailable(
            f"`{engine}` starts no container for step `{task.label}`",
            why=said,
            mend="where that comes of the step's resources, change them; where it comes of a setting of the "
            "orchestrator (`user`, `network`, `run_options`), `tilth component update NAME --set …`",
        )
    if "PermissionError: [Errno 13]" in complaint:
        return _may_not(task, lines[-1].strip())
    return BuildFailed(
        f"the Python of step `{task.label}` does not start in `{task.image}`",
        why=said,
        mend=f"try it: `{engine} run --rm --entrypoint {task.python} {task.image} --version`",
    )


def _may_not(task: Task, why: str) -> SetupError:
    return SetupError(
        f"the container of step `{task.label}` may not use its folder on this machine",
        why=why,
        mend="it runs as the one who runs tilth, unless the orchestrator's setting `user` names another; "
        "a rootless Docker engine needs `user=0:0`",
    )


def _no_engine(engine: str, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the orchestrator of this stack needs a container engine, and `{engine}` does not answer",
        why=why,
        mend=f"start it, see `{engine} info`; or run on this machine alone: `tilth stack set default`. "
        "Making images needs no engine",
    )


async def _call(*arguments: str) -> None:
    """Call the engine; it may fail."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        raise


def _plain(label: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_.-]", "-", label)[:40]


class DockerFlavor(Flavor[DockerSettings]):
    """Containers of an engine on this machine."""

    type = "orchestrator"
    name = "docker"
    title = "steps in containers of a Docker or Podman engine on this machine"
    settings = DockerSettings

    def make(self, settings: DockerSettings, context: Context) -> Orchestrator:
        """What starts steps."""
        del context
        return DockerOrchestrator(settings)

    def check(self, settings: DockerSettings, context: Context) -> Sequence[Finding]:
        """Whether the engine answers."""
        del context
        try:
            answer = subprocess.run(
                [settings.engine, "version", "--format", "{{.Server.Version}}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _no_answer(settings.engine, str(error)) from error
        if answer.returncode != 0:
            raise _no_answer(settings.engine, answer.stderr.strip())
        return [Finding(level="ok", what=f"{settings.engine} {answer.stdout.strip()} answers")]


def _no_answer(engine: str, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the container engine `{engine}` does not answer", why=why, mend=f"start it, see `{engine} info`"
    )
