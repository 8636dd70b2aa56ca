"""One attempt from its assignment to its result. Bringing and taking are retried; the step runs once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.engine.delivery import fetch_code
from tilth.engine.logs import LogWriter
from tilth.engine.supervisor.channel import Channel, Result
from tilth.engine.supervisor.heart import Heart
from tilth.engine.supervisor.inputs import found_in, replaced
from tilth.engine.supervisor.patience import patiently
from tilth.engine.supervisor.seclusion import shown
from tilth.engine.supervisor.stores import open_artifacts, open_objects
from tilth.environments.files import remove_tree
from tilth.errors import NotFound, OutsideError, SetupError, TilthError
from tilth.home import Home
from tilth.orchestrators import Outcome, Task
from tilth.orchestrators.runtimes import write_runtime
from tilth.records import new_id
from tilth.runtime.folder import read_events, read_json, write_json
from tilth.runtime.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from tilth.engine.supervisor.assignments import Assignment, SecretPlace
    from tilth.orchestrators import Launcher

    T = TypeVar("T")

logger = logging.getLogger(__name__)

REPORTED, BROKEN, MISUSED, NO_STORE, NOT_UPLOADED = (
    0,
    1,
    64,
    69,
    75,
)  # exit codes; from 64 as sysexits.h has them
_LAST_TRY_S = 5.0  # to tell of outputs that could not be stored


def read_secrets(places: Mapping[str, SecretPlace], variables: Mapping[str, str]) -> dict[str, str]:
    """The values of secrets by name.

    Raises:
        SetupError: One did not arrive.
    """
    values = {}
    for name, place in places.items():
        try:
            values[name] = (
                variables[place.variable] if place.variable else Path(place.file).read_text("utf-8")
            )
            if place.remove:
                Path(place.file).unlink()
        except (KeyError, OSError, UnicodeDecodeError) as error:
            where = f"variable `{place.variable}`" if place.variable else f"file `{place.file}`"
            why = error.strerror if isinstance(error, OSError) else "it is not set"
            raise SetupError(f"secret `{name}` did not arrive in {where}", why=why or str(error)) from None
    return values


class Supervision:
    """Supervises one attempt; use once, on a loop.

    Args:
        variables: What the supervisor was started with.
    """

    def __init__(self, assignment: Assignment, variables: Mapping[str, str]) -> None:
        self._told = assignment
        self._variables = variables
        self._secrets = read_secrets(assignment.secrets, variables)
        self._mask = Mask(self._secrets.values())
        self._folder = self._make_folder()
        self._home = Home(self._folder / "home")
        self._objects = open_objects(assignment.store, self._secrets, self._home)
        self._channel = Channel(self._objects, assignment.channel)
        self._seconds: dict[str, float] = {}
        self._interrupted = ""  # why the step is to end
        self._attempt: asyncio.Task[Outcome] | None = None
        self._is_kept = False

    async def supervise(self) -> int:
        """Do all of it; gives the exit code."""
        told = self._told
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(
            signal.SIGTERM,
            self._interrupt,
            "its node asked for its end (SIGTERM), as when it is drained or preempted",
        )
        try:
            result = await self._patiently(self._channel.result, "reading")
            if result is not None:
                logger.info("`%s` has ended already: %s", told.label, result.ended)
                await asyncio.to_thread(remove_tree, self._folder)
                return REPORTED
            before = await self._patiently(self._channel.beat, "reading")
        except OutsideError as error:
            print(f"error: {error}", file=sys.stderr)
            await asyncio.to_thread(remove_tree, self._folder)
            return NO_STORE
        self._step = self._folder / "step"
        self._artifacts = open_artifacts(self._objects, self._home)
        self._heart = Heart(
            self._channel,
            new_id(),
            self._folder / "step.log",
            every_s=told.beat_s,
            patience_s=told.patience_s,
            before=before,
            cancelled=lambda: self._interrupt("it was cancelled"),
        )
        self._heart.start()
        try:
            self._attempt = loop.create_task(self._run())
            try:
                outcome = await self._attempt
            except asyncio.CancelledError:
                if not self._interrupted:
                    raise
                outcome = Outcome("killed", self._interrupted)
            self._attempt = None  # from here on nothing is interrupted: there is less to win than to lose
            return await self._report(outcome)
        finally:
            await self._heart.stop()
            if not self._is_kept:
                await asyncio.to_thread(remove_tree, self._folder)

    def _interrupt(self, why: str) -> None:
        self._interrupted = self._interrupted or why
        if self._attempt:
            self._attempt.cancel()

    def _make_folder(self) -> Path:
        if not self._told.folder:
            return Path(tempfile.mkdtemp(prefix="tilth-"))
        folder = Path(self._told.folder)
        folder.mkdir(parents=True, exist_ok=True)
        if any(each.name != "enter" for each in folder.iterdir()):
            # A supervisor before this one, which was killed, has left something.
            for each in folder.iterdir():
                remove_tree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        return folder

    async def _run(self) -> Outcome:
        """Bring what is needed, and run the step."""
        clock = time.monotonic()
        try:
            task = await self._prepare()
        except TilthError as error:
            text = "\n".join(filter(None, (error.summary, error.why)))
            return Outcome("environment", self._mask.text(text))
        except OSError as error:
            return Outcome("environment", f"its folder cannot be written: {error}")
        self._seconds["fetching"] = round((now := time.monotonic()) - clock, 3)
        clock = now
        log = LogWriter(self._folder / "step.log", _echo, self._mask)
        launcher = self._launcher()
        self._heart.now("running" if self._told.python else "waiting")
        try:
            return await launcher.run(task, log.write)
        except OSError as error:
            return Outcome(
                "environment", f"no process could be started with `{task.python}`: {error.strerror or error}"
            )
        finally:
            await launcher.close()
            log.close()
            self._seconds["running"] = round(time.monotonic() - clock, 3)

    def _launcher(self) -> Launcher:
        runtime = write_runtime(self._folder / "runtime")
        if self._told.python:
            from tilth.orchestrators.local import LocalLauncher

            inherited = shown(self._variables, self._told.passed)
            return LocalLauncher(0, self._answer, inherited=inherited, runtime=runtime)
        from tilth.orchestrators.beside import BesideLauncher

        return BesideLauncher(self._folder, self._answer, runtime=runtime, come_in_s=self._told.come_in_s)

    async def _prepare(self) -> Task:
        """The step's folder, its code and its inputs."""
        told = self._told
        spec = await self._patiently(lambda: self._channel.get("step.json"), "reading the step")
        if spec is None:
            raise SetupError(f"there is no step at `{told.channel}`", why=self._objects.where)
        password = self._secrets.get(told.code_password, "")

        def bring_code() -> Path:
            target = self._folder / "code"
            if target.exists():  # what was begun before the connection broke
                remove_tree(target)
            return fetch_code(told.code, target, objects=self._objects, home=self._home, password=password)

        project = await self._patiently(bring_code, "bringing the code")
        places = {}
        for digest in found_in(spec["inputs"]):
            places[digest] = await self._bring(digest)
        roots = [str((project / each).resolve()) for each in told.roots]
        spec = {
            **spec,
            "roots": roots,
            "inputs": replaced(spec["inputs"], lambda digest: str(places[digest])),
        }
        self._step.mkdir()
        write_json(self._step / "step.json", spec)
        cwd = (project / told.cwd).resolve()
        return Task(
            label=told.label,
            folder=self._step,
            python=Path(told.python or "python"),
            environment=told.environment,
            prefix=Path(told.prefix) if told.prefix else None,
            variables=told.variables,
            secrets={variable: self._secrets[name] for variable, name in told.step_secrets.items()},
            roots=tuple(roots),
            # A folder without files, which no bundle has.
            cwd=str(cwd if cwd.is_dir() else project),
            timeout_s=told.timeout_s,
            memory=told.memory,
            fresh=True,
        )

    async def _bring(self, digest: str) -> Path:
        return await self._patiently(partial(self._brought, digest), "bringing an input")

    def _brought(self, digest: str) -> Path:
        place = self._artifacts.path(digest)
        if not place.exists():
            raise NotFound(f"the artifact `{digest}` is not in the store", why=self._objects.where)
        return place

    def _answer(self, method: str, params: dict[str, Any]) -> Any:
        """What the step asks: of the driver, but files are brought here. In a thread."""
        found = self._heart.ask(method, params)
        if method == "get_artifact_folder":
            return str(self._brought(params["digest"]))
        return found

    async def _report(self, outcome: Outcome) -> int:
        """Store what the step gave, then say how it ended."""
        self._heart.now("uploading")
        clock = time.monotonic()
        result = read_json(self._step / "result.json")
        events = read_events(self._step)
        patience_s = self._told.patience_s
        try:
            await self._upload(outcome, result or {}, events)
            while await self._patiently(self._heart.send_log, "sending the log"):
                pass
        except (TilthError, OSError) as error:
            self._is_kept, patience_s = True, _LAST_TRY_S
            detail = "\n".join(
                filter(None, (getattr(error, "summary", str(error)), getattr(error, "why", "")))
            )
            outcome = Outcome(
                "upload",
                f"it ended ({outcome.ended}), and what it gave could not be stored: {self._mask.text(detail)}\n"
                f"it is kept on {os.uname().nodename} in {self._folder}",
                outcome.peak_memory,
            )
        self._seconds["uploading"] = round(time.monotonic() - clock, 3)
        said = Result(
            ended=outcome.ended,
            detail=self._mask.text(outcome.detail),
            peak_memory=max(outcome.peak_memory, self._heart.peak_memory),
            notice=outcome.notice,
            result=result,
            events=events,
            logs=self._heart.chunks,
            seconds=self._seconds,
            cpu_s=round(self._heart.cpu_s, 2),
        )
        try:
            await patiently(lambda: self._channel.put("result.json", said), patience_s, "reporting")
        except (TilthError, OSError) as error:
            self._is_kept = True
            print(f"error: the end of `{self._told.label}` could not be told: {error}", file=sys.stderr)
            print(f"  what it gave is kept in {self._folder}", file=sys.stderr)
            return NOT_UPLOADED
        self._heart.now("ended")
        logger.info("`%s` ended: %s", self._told.label, said.ended)
        return NOT_UPLOADED if said.ended == "upload" else REPORTED

    async def _upload(
        self, outcome: Outcome, result: Mapping[str, Any], events: list[dict[str, Any]]
    ) -> None:
        """Outputs one by one, and what the step saved by hand."""
        made: list[tuple[str, str]] = []
        if outcome.ended == "done" and result.get("state") == "completed":
            made += [(f"outputs/{name}", each["digest"]) for name, each in result["outputs"].items()]
        made += [
            (each["folder"], each["manifest"]["digest"]) for each in events if each.get("event") == "artifact"
        ]
        for place, digest in made:
            await asyncio.to_thread(self._adopt, place, digest)
            await self._patiently(partial(self._artifacts.sync, digest), "storing an output")

    def _adopt(self, place: str, digest: str) -> None:
        folder = self._step / place
        if folder.exists():
            kept = self._artifacts.adopt(folder, digest)
            looks = self._step / "visualizations" / folder.name
            if place.startswith("outputs/") and looks.is_dir():
                with contextlib.suppress(OSError):  # another output is of the same value
                    looks.rename(kept.with_name(f"{kept.name}.visualizations"))

    async def _patiently(self, call: Callable[[], T], doing: str) -> T:
        return await patiently(call, self._told.patience_s, doing)


def _echo(stream: str, text: str) -> None:
    """For whoever looks at the supervisor's own output, as an engine's log."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr if stream == "stderr" else sys.stdout, flush=True)
