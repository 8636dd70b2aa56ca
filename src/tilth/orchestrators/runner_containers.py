"""The container of a runner image in a Docker or Podman engine: a whole run is compiled and driven in it.

Nothing of this machine is mounted into it, the engine's socket least of all. Its token comes over its standard input,
which is closed when whoever started it is gone: then it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tilth.errors import EngineUnavailable, ImageNotFound, SetupError
from tilth.oci.connections import is_loopback
from tilth.orchestrators import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.orchestrators import RunnerTask
    from tilth.orchestrators.docker import DockerSettings

LABEL = "dev.tilth.launch"  # of its container: the id of the launch
TOLD = "--told"  # says to `tilth runner inside` that its secrets come over standard input
_GRACE_S = 10.0  # from asking it to end to ending it
_HUNG_S = 20.0  # for an engine to kill a container
_CHUNK = 1 << 16
_TAIL = 1 << 12  # bytes
_ENGINE_FAILED = (125, 126, 127)  # exit codes of `docker run` when there is no container
_NO_IMAGE = re.compile(
    r"no such image|unable to find image|manifest unknown|pull access denied|image not known", re.IGNORECASE
).search


def runner_command(task: RunnerTask, settings: DockerSettings) -> list[str]:
    """What starts the container. No secret is in it, nor in what `docker inspect` tells.

    Raises:
        SetupError: It could not reach the server, or could do more here than the task's user.
    """
    if task.held and (more := [name for name in ("run_options", "user") if getattr(settings, name)]):
        raise SetupError(
            f"this runner starts no container with the orchestrator's `{more[0]}`",
            why="it has a user for runs, and whoever makes a snapshot could become another one by that setting",
            mend="make the snapshot with an orchestrator that leaves it out; what containers need of this machine, the "
            "runner gives them: `tilth runner start --container-option OPTION`",
        )
    if is_loopback(urlsplit(task.server).netloc) and settings.network != "host":
        raise SetupError(
            f"the container of a runner cannot reach the server at `{task.server}`",
            why="it is an address of this machine alone, and containers have a network of their own",
            mend="give runners an address of the server that others reach; or let containers use this machine's "
            "network: `tilth component update NAME --set network=host`, then make the snapshot again",
        )
    options = [
        settings.engine, "run", "--rm", "--init", "--interactive", "--name", container_name(task.launch),
        "--label", f"{LABEL}={task.launch}", "--pull", "missing" if "@" in task.image else "never",
        "--user", settings.user or task.user, "--entrypoint", task.command[0],
    ]  # fmt: skip
    if settings.engine == "podman" and os.getuid() != 0:
        options += ["--userns", "keep-id"]
    if settings.network:
        options += ["--network", settings.network]
    for name, value in task.variables.items():
        options += ["--env", f"{name}={value}"]
    return [*options, *settings.run_options, *task.options, task.image, *task.command[1:], TOLD]


def container_name(launch: str) -> str:
    """Of the one container of a launch."""
    return f"tilth-launch-{launch}"


async def run_runner(task: RunnerTask, settings: DockerSettings, output: Callable[[bytes], None]) -> Outcome:
    """Run it to its end: see `StartsRunners.run_runner`."""
    engine, name = settings.engine, container_name(task.launch)
    command = runner_command(task, settings)
    try:
        await _call(engine, "rm", "--force", name)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise _refused(task, engine, f"there is no program `{engine}`") from error
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said, last = False, b""

    async def read(stream: asyncio.StreamReader, *, of_engine: bool) -> None:
        nonlocal said, last
        while data := await stream.read(_CHUNK):
            if of_engine:  # its command line complains there too
                last = (last + data)[-_TAIL:]
            else:
                said = True
            output(data)

    reading = [read(process.stdout, of_engine=False), read(process.stderr, of_engine=True)]
    ended = asyncio.ensure_future(asyncio.gather(*reading, process.wait()))
    try:
        with contextlib.suppress(ConnectionError):  # it has ended already
            process.stdin.write(json.dumps(dict(task.secrets)).encode() + b"\n")
            await process.stdin.drain()
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        await _stop(engine, name, process, ended)
        raise
    finally:
        process.stdin.close()
    return _outcome(task, engine, process.returncode or 0, last.decode(errors="replace"), said=said)


async def _stop(
    engine: str, name: str, process: asyncio.subprocess.Process, ended: asyncio.Future[Any]
) -> None:
    """Ask it to end; after a while, end it."""
    await _call(engine, "kill", "--signal", "TERM", name)
    await asyncio.wait([ended], timeout=_GRACE_S)
    try:
        async with asyncio.timeout(_HUNG_S):
            while not ended.done():
                # Again, for `docker run` may not have come to the point where there is a container.
                await _call(engine, "kill", name)
                await asyncio.wait([ended], timeout=1.0)
    except TimeoutError:  # the engine does not answer; the container ends as its standard input closes
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await ended


def _outcome(task: RunnerTask, engine: str, code: int, last: str, *, said: bool) -> Outcome:
    if code == 0:
        return Outcome("done")
    if code in _ENGINE_FAILED and said:
        return Outcome("lost", f"the container engine went away while it ran: {_lines(last)}")
    if code in _ENGINE_FAILED:
        raise _refused(
            task, engine, _lines(last) or f"`{engine} run` ended with code {code} and said nothing"
        )
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return Outcome("killed", f"its container was killed by {name}")
    return Outcome("exited", f"its container exited with code {code}")


def _refused(task: RunnerTask, engine: str, why: str) -> EngineUnavailable | ImageNotFound:
    if _NO_IMAGE(why):
        return ImageNotFound(
            f"the engine of this runner cannot get the image `{task.image}`",
            why=why,
            mend=f"see that `{engine} pull` gets it where the runner is; where it was only in an engine, make the "
            "snapshot again",
        )
    return EngineUnavailable(
        f"`{engine}` starts no container of the image `{task.image}`",
        why=why,
        mend=f"see `{engine} info` where the runner is; a setting of the orchestrator may be wrong too",
    )


def _lines(text: str) -> str:
    found = [each for each in text.splitlines() if each.strip() and not re.search(r"--help|^Usage:", each)]
    return "\n".join(found[-4:])


async def _call(*arguments: str) -> None:
    """Call the engine; it may fail."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        raise
