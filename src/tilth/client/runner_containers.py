"""A launch that is driven in the container of a runner image: what watches it from outside, and how the two talk.

The container takes one launch, with a token of that launch alone, from the server itself. Its last line on standard
output says how that went; all else that it prints is the log of the launch.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import msgspec

from tilth.client.launching import GIVEN_UP, OPTIONS, RUNS_AS, Ended, Told
from tilth.client.scrubbed import for_container
from tilth.errors import TilthError
from tilth.store.logins import active_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.home import Home
    from tilth.orchestrators import Outcome
    from tilth.records import Snapshot
    from tilth.records.launching import Launch

_SAYS = b"tilth: ended: "
_HOME = "/tmp/tilth"  # noqa: S108 - in the container, where every user may write
_KEPT = 1 << 16  # bytes of what it printed last, in which the end is looked for
_SECRETS = ("TILTH_API_KEY",)
EXITED = 1


def watch(launch: Launch, snapshot: Snapshot, home: Home) -> Ended:
    """Have the snapshot's stack run the container of a launch, to its end; its log is this process's output."""
    from tilth.client.launching import failure_of

    said = bytearray()

    def output(data: bytes) -> None:
        os.write(sys.stdout.fileno(), data)
        said.extend(data)
        del said[:-_KEPT]

    try:
        outcome = _run(launch, snapshot, home, output)
    except TilthError as error:
        return Ended(0, failure_of(error))
    except asyncio.CancelledError:
        return Ended(GIVEN_UP)
    if outcome.ended in ("done", "exited"):
        if (told := heard(bytes(said))) is not None:
            return told
        print(outcome.detail or "its container ended without a word", file=sys.stderr)  # noqa: T201 - the log
        return Ended(EXITED)
    print(outcome.detail, file=sys.stderr)  # noqa: T201 - the log
    return Ended(GIVEN_UP)


def _run(launch: Launch, snapshot: Snapshot, home: Home, output: Callable[[bytes], None]) -> Outcome:
    from pathlib import Path

    from tilth.client.runner_images import PREFIX, starter_of
    from tilth.orchestrators import RunnerTask
    from tilth.records import Component
    from tilth.stack.assembled import AssembledStack

    used = snapshot.components["orchestrator"]
    component = Component(
        project="", type="orchestrator", name=used.component, flavor=used.flavor, settings=used.settings
    )
    stack = AssembledStack(snapshot.stack, {"orchestrator": component}, "the snapshot")
    starter = starter_of(stack, Path("/"), home)
    server = active_server(home)
    assert server is not None, "a runner has one"
    given = for_container(os.environ)
    hidden = (*_SECRETS, OPTIONS, RUNS_AS)
    variables = {name: value for name, value in given.items() if name not in hidden}
    task = RunnerTask(
        launch=launch.id,
        run=launch.run,
        image=snapshot.image,
        command=(f"{PREFIX}/bin/python", "-m", "tilth.cli", "runner", "inside", launch.id),
        server=server.url,
        user=given.get(RUNS_AS) or f"{os.getuid()}:{os.getgid()}",
        options=tuple(json.loads(given.get(OPTIONS, "[]"))),
        held=RUNS_AS in given,
        variables={**variables, "TILTH_HOME": _HOME, "HOME": "/tmp"},  # noqa: S108 - in the container
        secrets={name: given[name] for name in _SECRETS if name in given},
    )

    async def run() -> Outcome:
        running = asyncio.ensure_future(starter.run_runner(task, output))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        return await running

    return asyncio.run(run())


def say(ended: Ended) -> None:
    """Tell who watches how driving a launch ended, from within its container."""
    body = {"code": ended.code, **msgspec.to_builtins(Told(ended.failure))}
    os.write(1, b"\n" + _SAYS + json.dumps(body).encode() + b"\n")


def heard(said: bytes) -> Ended | None:
    """What a container told of its end, in what it printed; None when it did not come to that."""
    lines = [each for each in said.split(b"\n") if each.startswith(_SAYS)]
    if not lines:
        return None
    try:
        told = json.loads(lines[-1][len(_SAYS) :])
        return Ended(int(told["code"]), msgspec.convert(told, Told).failure)
    except (ValueError, KeyError, TypeError):  # somebody else prints such lines
        return None


def listen() -> None:
    """Take variables from the first line of standard input; when that closes, nobody watches, and this process ends."""
    own = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nothing that is started from here hears of it
    line = bytearray()
    while not line.endswith(b"\n"):
        if not (data := os.read(own, 1)):
            os._exit(GIVEN_UP)
        line += data
    os.environ.update(json.loads(line))

    def wait() -> None:
        while os.read(own, 1024):
            pass
        os._exit(GIVEN_UP)

    threading.Thread(target=wait, name="tilth-watched", daemon=True).start()
