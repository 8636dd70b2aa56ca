"""Does again what was done before: one step in a folder, or a whole run as a new one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilth.client import queries
from tilth.client.checkout import check_out
from tilth.client.entering import different_client, foreground
from tilth.client.installed import client_environment, not_recorded
from tilth.client.lookup import find_run
from tilth.client.recorded import client_differences
from tilth.client.reopening import reopen_run
from tilth.client.resuming import own_code
from tilth.client.secrets import step_secrets
from tilth.client.submit import compiled_in, new_run, start
from tilth.client.wording import short_digest
from tilth.engine import events
from tilth.environments.files import scratch, sweep
from tilth.errors import TilthError
from tilth.home import Home
from tilth.orchestrators.conversation import Door
from tilth.runtime.folder import read_json
from tilth.runtime.masking import Mask
from tilth.settings import home_folder
from tilth.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tilth.client.driving import RunOptions
    from tilth.records import Run


@dataclass(frozen=True)
class Rerun:
    """How a step ended that was run again.

    Attributes:
        name: As `churn-3/train`.
        code: 0 when it completed, whatever it gave; 1 when it failed, 130 when it was interrupted.
        recorded: State, digests of outputs, and failure, as they were recorded.
        result: The same of now, as `result.json` has it; empty when the step ended its process.
    """

    name: str
    code: int
    recorded: dict[str, Any]
    result: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `outputs` says of each whether it is the same."""
        then = self.recorded["outputs"]
        now = {name: each["digest"] for name, each in self.result.get("outputs", {}).items()}
        return {
            "step": self.name,
            "state": self.result.get("state", "failed"),
            "recorded_state": self.recorded["state"],
            "outputs": {
                name: {
                    "digest": now.get(name),
                    "recorded": then.get(name),
                    "same": now.get(name) == then.get(name),
                }
                for name in {**then, **now}
            },
            "failure": {
                name: self.result.get(name, "") for name in ("type", "reason", "message", "traceback")
            }
            if self.result.get("state") != "completed"
            else None,
            "recorded_failure": self.recorded["failure"],
        }


def rerun_step(
    wanted: str,
    *,
    debug: bool,
    keep: Path | None,
    offline: bool,
    tell: Callable[[str], None],
    stdout: int | None = None,
) -> Rerun:
    """Check a step out and run it there, on this terminal.

    Args:
        wanted: `RUN/STEP` or `RUN/STEP[3]`.
        debug: Under pdb. What it prints then goes straight to the terminal, secrets and all.
        keep: Where to check it out and leave it; else it is gone afterwards.
        stdout: Where what the step prints goes instead of this process's standard output.
    """
    home = Home(home_folder())
    with _folder(keep, home) as folder:
        made = check_out(wanted, folder, offline=offline, tell=tell)
        assert made.step_run is not None
        secrets, mask = step_secrets(made.pipeline, made.step_run.step, home)
        variables = {**os.environ, **secrets}
        # No descriptor is inherited by a container: what is in there comes in by a socket in the folder.
        door = folder / "step" / ".socket" if made.in_container else None
        with _answers(door) as (answers, fds), _hiding(Mask() if debug else mask, stdout) as (out, err):
            command = [str(folder / "run"), "--answers", answers, *(["--debug"] if debug else [])]
            code = foreground(command, variables, pass_fds=fds, stdout=out, stderr=err)
        recorded, result = (
            read_json(folder / "step" / "recorded.json"),
            read_json(folder / "step" / "result.json"),
        )
        if not result:
            tell(f"error: step `{made.name}` ended its process: exit code {code}")
        return Rerun(made.name, code if result else 1, recorded, result or {})


def rerun(run: str, options: RunOptions, listener: events.Listener) -> Run:
    """Run a whole pipeline again, as it was compiled, with the run's own code and locks; gives the new run.

    Raises:
        NotFound: There is no such run, or its code is gone.
        SetupError: Its interpreter is gone, or a lock is for another platform.
    """
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        opened = reopen_run(found, options, store, home, listener)
        recorded, environments, interpreter = opened.recorded, opened.environments, opened.interpreter
        pipeline, options = recorded.pipeline, opened.options
        if any(node.environment is None for node in pipeline.nodes) and (
            changed := client_differences(found, interpreter, store, home)
        ):
            listener(events.Notice(different_client(found, changed)))
        client = client_environment(interpreter, environments.inventory())
        new = new_run(
            pipeline,
            environments,
            bundle=found.bundle,
            client=compiled_in(interpreter, client.id, found.client.git if found.client else None),
            options={**options.to_json(), "rerun_of": found.name},
            running=opened.running,
            images=opened.images,
            code=found.code,
        )
        folder = home.runs / new.id
        try:
            tree = own_code(recorded, folder, home, listener, does="this one has")
        except TilthError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        same = tree.roots == recorded.roots
        listener(events.Notice(_told(found, same=same, digests=environments.digests())))
        return start(
            new, pipeline, recorded.project, tree, environments, beside=not_recorded(client, store),
            options=options, listener=listener, home=home, store=store, secrets=opened.secrets,
            running=opened.running,
        )  # fmt: skip


def _told(run: Run, *, same: bool, digests: dict[str, str]) -> str:
    """Which code and locks a rerun uses."""
    code = "it has not changed in the working tree" if same else f"bundle {short_digest(run.bundle)}"
    locks = ", ".join(f"{name} {short_digest(digest)}" for name, digest in digests.items())
    return f"rerun of {run.name} with its code ({code})" + (f" and its locks ({locks})" if locks else "")


@contextlib.contextmanager
def _folder(keep: Path | None, home: Home) -> Iterator[Path]:
    if keep is not None:
        yield keep.absolute()
        return
    # In the home folder, where environments are linked rather than copied.
    place = home.cache / "reruns"
    sweep(place)
    with scratch(place) as folder:
        yield folder / "step"


@contextlib.contextmanager
def _hiding(mask: Mask, stdout: int | None) -> Iterator[tuple[int | None, int | None]]:
    """What a command is to have for standard output and error, so that no secret is shown there."""
    if not mask:
        yield stdout, None
        return
    sys.stdout.flush()
    pumps, ends = [], []
    for target in (1 if stdout is None else stdout, 2):
        reader, writer = os.pipe()
        ends.append(writer)
        pumps.append(threading.Thread(target=_pump, args=(reader, target, mask)))
        pumps[-1].start()
    try:
        yield ends[0], ends[1]
    finally:
        for end in ends:
            os.close(end)
        for pump in pumps:
            pump.join()


def _pump(reader: int, target: int, mask: Mask) -> None:
    """Copy line by line, for half a secret would not be found."""
    with open(reader, "rb") as lines:
        for line in lines:
            data = mask.bytes(line)
            while data:
                data = data[os.write(target, data) :]


@contextlib.contextmanager
def _answers(door: Path | None) -> Iterator[tuple[str, list[int]]]:
    """What to tell a step about where `Client` is answered while this lasts, and descriptors to inherit.

    Args:
        door: Where to listen for a step that inherits none.
    """
    if door is not None:
        with _open_door(door):
            yield str(door), []
        return
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=_answer, args=[ours], name="tilth-answers")
    thread.start()
    try:
        yield str(theirs.fileno()), [theirs.fileno()]
    finally:
        with contextlib.suppress(OSError):
            theirs.shutdown(socket.SHUT_RDWR)  # whoever has inherited it
        theirs.close()
        thread.join()


@contextlib.contextmanager
def _open_door(path: Path) -> Iterator[None]:
    """Answer whoever comes in by a socket at a path, while this lasts."""
    door = Door(path)
    loop = asyncio.new_event_loop()
    coming = loop.create_task(door.come_in())
    came: list[socket.socket] = []

    def wait() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            came.append(loop.run_until_complete(coming))
            came[0].setblocking(True)
            _answer(came[0])
        loop.close()

    thread = threading.Thread(target=wait, name="tilth-answers")
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # it is closed: who came has gone again
            loop.call_soon_threadsafe(coming.cancel)
        for each in came:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        thread.join()


def _answer(connected: socket.socket) -> None:
    """Answer one step until it hangs up."""
    with connected, connected.makefile("rb") as lines:
        for line in lines:
            message = json.loads(line)
            reply: dict[str, Any] = {"answer": message["ask"]}
            try:
                reply["result"] = queries.answer(message["method"], message["params"])
            except TilthError as error:
                reply["error"] = error.to_json()
            with contextlib.suppress(OSError):  # the step has ended meanwhile
                connected.sendall(json.dumps(reply).encode() + b"\n")
    queries.close()  # in the thread that opened it
