"""A runner: takes launches, and builds, from a server's queues and looks after the processes that drive them.

It asks, and is never asked: nothing need reach its machine. What it has lies in its folder, so a runner that was
killed finds the drivers it left, which went on without it. No code of a user runs in it, nor with its key.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tilth import __version__
from tilth.client.launching import ENDED, GIVEN_UP, LAUNCH, OPTIONS, RUNS_AS
from tilth.client.runner_builds import Builds
from tilth.client.scrubbed import scrubbed
from tilth.engine.lease import Lease, is_held
from tilth.errors import AccessDenied, Conflict, NotFound, OutsideError, SetupError, TilthError
from tilth.home import Home
from tilth.machine import this_machine
from tilth.records import new_id
from tilth.runtime.folder import read_json, write_json
from tilth.store import encoding
from tilth.store.http import Api

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

logger = logging.getLogger("tilth.runner")
LOG = "driver.log"
_POLL_S = 1.0
_LONGEST_S = 15.0  # between two tries to reach a server that is away
_ABANDONED_S = 7 * 86_400.0  # after which the log of a driver that was lost is of no interest
_STOP_S = 20.0  # that a cancelled run has to end by itself


@dataclass(frozen=True, kw_only=True)
class RunnerSettings:
    """How a runner works.

    Attributes:
        folder: Its own: who it is, and what it has.
        home: Of the runs that it starts.
        project: The only one it serves; empty for all.
        slots: Runs at once.
        place: `server` for the one that a server started.
        user: Of the system, that runs belong to; empty for the runner's own.
        variables: Names of more variables that runs get.
        container_options: Of the engine, for the containers of runner images.
        builds: Whether it builds images too, as many at once as runs.
    """

    folder: Path
    home: Home
    name: str
    project: str = ""
    slots: int = 1
    place: str = "machine"
    user: str = ""
    variables: tuple[str, ...] = ()
    container_options: tuple[str, ...] = ()
    builds: bool = False


@dataclass
class Driven:
    """A launch that this runner has, and the process that drives it.

    Attributes:
        process: None where it was found, and when it is over.
        code: That it ended with, where that is known.
    """

    id: str
    fence: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    stopping_since: float | None = None
    failure: dict[str, Any] | None = None
    code: int = 0

    def is_over(self) -> bool:
        """Whether its process has ended."""
        if self.process is not None:
            # Looked at before it is reaped: until then, nobody else can get its number, nor that of its group.
            if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            _kill_group(self.process.pid)
            self.code = self.process.wait()
            self.process = None
        return not is_held(self.folder)

    def stop(self, *, at_once: bool) -> None:
        """End its process: by a signal that cancels the run, or without ado."""
        pid = self.process.pid if self.process is not None else _pid(self.folder)
        if not pid or not is_held(self.folder):
            return
        if at_once:
            _kill_group(pid)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)


class RunnerProcess:
    """A runner of one server.

    Args:
        tell: Is told what happens, a line at a time.
    """

    def __init__(
        self, url: str, token: str, settings: RunnerSettings, tell: Callable[[str], None] = logger.info
    ) -> None:
        self._api = Api(url, token, patience_s=0)
        self._url = url
        self._settings = settings
        self._tell = tell
        self._launches = settings.folder / "launches"
        self._id = ""
        self._driven: dict[str, Driven] = {}
        self._builds = Builds(self._api, self._start_build, tell)
        self._as = _user(settings.user)

    def work(self, stopped: threading.Event, *, until_idle: bool = False) -> None:
        """Take launches until `stopped` is set; runs then go on without this process, and builds end with it.

        Args:
            until_idle: Return too when there is nothing to do.
        Raises:
            Conflict: Another runner works in this folder.
            TilthError: The server refuses this runner.
        """
        settings = self._settings
        settings.folder.mkdir(parents=True, exist_ok=True)
        try:
            held = Lease(settings.folder, "runner").__enter__()
        except Conflict:
            raise Conflict(
                f"a runner works in `{settings.folder}` already",
                mend="give another one a folder of its own: `--folder`",
            ) from None
        try:
            self._id = own_id(settings.folder)
            self._begin(stopped)
            self._find_left()
            wait_s = _POLL_S
            while not stopped.is_set():
                try:
                    self._round()
                    wait_s = _POLL_S
                except NotFound:  # another database than before
                    self._begin(stopped)
                except AccessDenied:
                    raise
                except TilthError as error:
                    if wait_s == _POLL_S:
                        away = "the server does not answer: " if isinstance(error, OutsideError) else ""
                        self._tell(away + (error.why or error.summary))
                    wait_s = min(2 * wait_s, _LONGEST_S)
                if until_idle and not self._driven and not self._builds:
                    return
                stopped.wait(wait_s)
            if self._driven:
                self._tell(f"left to themselves until the next runner comes: {len(self._driven)}")
        finally:
            self._builds.stop_all()
            self._api.close()
            held.__exit__(None, None, None)

    def _begin(self, stopped: threading.Event) -> None:
        told = introduction(self._settings)
        wait_s, first = 0.2, True
        while not stopped.is_set():
            try:
                self._api.request("POST", "/runners", encoding.encode(told))
            except OutsideError as error:
                if first:
                    self._tell(f"the server does not answer: {error.why or error.summary}")
                first, wait_s = False, min(2 * wait_s, _LONGEST_S)
                stopped.wait(wait_s)
            else:
                what = "runs and builds" if self._settings.builds else "runs"
                self._tell(f"takes {what} from {self._url}, {self._settings.slots} at once")
                return

    def _find_left(self) -> None:
        """Launches of the runner before this one: what still runs, and what has an end to be told."""
        if not self._launches.is_dir():
            return
        for folder in sorted(self._launches.iterdir()):
            told = read_json(folder / LAUNCH)
            left = is_held(folder) or (folder / ENDED).exists()
            if not left and folder.stat().st_mtime < time.time() - _ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)
            elif told is not None and left:
                launch = told["launch"]
                self._driven[launch["id"]] = Driven(launch["id"], launch["fence"], folder)
                self._tell(f"launch {launch['id']}: found again")

    def _round(self) -> None:
        for driven in list(self._driven.values()):
            self._look_at(driven)
        free = max(0, self._settings.slots - len(self._driven))
        held = [{"launch": each.id, "fence": each.fence} for each in self._driven.values()]
        told: dict[str, Any] = {"held": held, "slots": free}
        if self._settings.builds:
            told["held_builds"] = self._builds.held()
            told["build_slots"] = max(0, self._settings.slots - len(self._builds))
        answer = self._api.request("POST", f"/runners/{quote(self._id)}/poll", encoding.encode(told))
        orders = msgspec.json.decode(answer, type=dict[str, Any])
        for each in orders["stop"]:
            self._stop(self._driven[each["launch"]], each["why"])
        for each in orders["start"]:
            self._start(each)
        for each in orders.get("stop_builds", ()):  # a server that is older has none
            self._builds.stop(each)
        for each in orders.get("build", ()):
            self._tell(f"build {each['id']}: for project `{each['project']}`")
            self._builds.begin(self._id, each)

    def _look_at(self, driven: Driven) -> None:
        if driven.stopping_since is not None and time.monotonic() - driven.stopping_since > _STOP_S:
            driven.stop(at_once=True)
        if not driven.is_over():
            return
        told = read_json(driven.folder / ENDED)
        failure = driven.failure if told is None else told["failure"]
        if told is None and driven.stopping_since is not None:
            failure = failure or {"reason": "cancelled", "message": "the run was cancelled"}
        elif told is None and driven.code > 0 and driven.code != GIVEN_UP:
            failure = failure or _exited(driven)
        if told is None and failure is None:
            self._tell(f"launch {driven.id}: its driver is gone; see {driven.folder / LOG}")
            del self._driven[driven.id]  # the server gives it again
            return
        try:
            self._api.request(
                "POST",
                f"/runners/{quote(self._id)}/launches/{quote(driven.id)}/ended",
                encoding.encode({"fence": driven.fence, "failure": failure}),
            )
        except (NotFound, Conflict) as error:
            self._tell(f"launch {driven.id}: {error.summary}")
        else:
            why = f": {failure['message'].partition(chr(10))[0]}" if failure else ""
            self._tell(f"launch {driven.id}: over{why}")
        del self._driven[driven.id]
        shutil.rmtree(driven.folder, ignore_errors=True)

    def _stop(self, driven: Driven, why: str) -> None:
        if why == "cancelled":
            if driven.stopping_since is None:
                self._tell(f"launch {driven.id}: cancelled")
                driven.stopping_since = time.monotonic()
                driven.stop(at_once=False)
            return
        self._tell(f"launch {driven.id}: another runner has it")
        driven.stop(at_once=True)
        del self._driven[driven.id]

    def _start(self, assignment: dict[str, Any]) -> None:
        launch = assignment["launch"]
        folder = self._launches / launch["id"]
        driven = Driven(launch["id"], launch["fence"], folder)
        self._driven[driven.id] = driven
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _hold(folder, driven) as lease:
                (folder / ENDED).unlink(missing_ok=True)
                write_json(folder / LAUNCH, {"launch": launch, "snapshot": assignment["snapshot"]})
                driven.process = self._spawn(folder, assignment, lease)
        except (OSError, TilthError, subprocess.SubprocessError) as error:
            driven.failure = {
                "reason": "exception",
                "type": type(error).__name__,
                "message": f"the runner could not start it: {error}",
            }
            self._tell(f"launch {driven.id}: {error}")
            return
        self._tell(f"launch {driven.id}: run {launch['run']} of `{launch['pipeline']}`")

    def _spawn(self, folder: Path, assignment: dict[str, Any], lease: int) -> subprocess.Popen[bytes]:
        settings, launch = self._settings, assignment["launch"]
        # What watches the container of a runner image runs no code of users, and needs the engine, which is root's.
        watches = bool(assignment["snapshot"].get("image"))
        another = None if watches else self._as
        home = settings.folder / "watching" if watches else settings.home.root
        variables, identity = self._given(home, another)
        variables |= {
            "TILTH_HOME": str(home),
            "TILTH_SERVER_URL": self._url,
            "TILTH_API_KEY": assignment["token"],
            "TILTH_PROJECT": launch["project"],
            "TILTH_PROGRESS": "plain",
            "NO_COLOR": "1",
        }
        if watches:
            variables[OPTIONS] = json.dumps(settings.container_options)
        if watches and self._as is not None:
            variables[RUNS_AS] = f"{self._as.uid}:{self._as.gid}"
        if another is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, another.uid, another.gid)
        with open(folder / LOG, "ab") as log:
            if another is not None:
                os.chown(folder / LOG, another.uid, another.gid)
            process = subprocess.Popen(
                [sys.executable, "-m", "tilth.cli", "runner", "drive", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=variables,
                pass_fds=[
                    lease
                ],  # held by the driver from its first moment, also when this process is killed now
                start_new_session=True,
                **identity,
            )
        os.ftruncate(lease, 0)
        os.pwrite(lease, f"process {process.pid}".encode(), 0)
        return process

    def _start_build(self, command: list[str]) -> subprocess.Popen[bytes]:
        """A program that builds, as the user that runs belong to."""
        variables, identity = self._given(self._settings.home.root, self._as)
        # uv comes with tilth: it is beside this Python.
        variables["PATH"] = os.pathsep.join(
            filter(None, (variables.get("PATH"), os.path.dirname(sys.executable)))  # noqa: PTH120
        )
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=variables,
            start_new_session=True,
            **identity,
        )

    def _given(self, home: Path, another: _User | None) -> tuple[dict[str, str], dict[str, Any]]:
        """The variables of what is started, and as whom."""
        variables = scrubbed(os.environ, more=self._settings.variables, another_user=another is not None)
        if another is None:
            return variables, {}
        variables |= {"HOME": str(home), "USER": another.name, "LOGNAME": another.name}
        home.mkdir(parents=True, exist_ok=True)
        os.chown(home, another.uid, another.gid)
        return variables, {"user": another.uid, "group": another.gid, "extra_groups": []}


@dataclass(frozen=True)
class _User:
    name: str
    uid: int
    gid: int


def _user(name: str) -> _User | None:
    if not name:
        return None
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise SetupError(f"this machine has no user `{name}`", mend="make it, or name another") from None
    if found.pw_uid == os.getuid():
        return None
    if os.getuid() != 0:
        raise SetupError(
            f"runs cannot belong to user `{name}`",
            why="only a runner that runs as root can start processes of other users",
            mend="start it as root, or as that user",
        )
    return _User(name, found.pw_uid, found.pw_gid)


@contextlib.contextmanager
def _hold(folder: Path, driven: Driven) -> Any:
    """The lease of a launch's folder, to be handed to its driver. One that an earlier driver holds is taken away."""
    descriptor = os.open(folder / "lease", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + _STOP_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                driven.stop(at_once=True)
                if time.monotonic() > deadline:
                    raise SetupError(f"a driver in `{folder}` does not end", mend="end it by hand") from None
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def _exited(driven: Driven) -> dict[str, Any]:
    """Why nothing came of a launch whose driver ended without a word: what it printed last."""
    with open(driven.folder / LOG, encoding="utf-8", errors="replace") as file:
        said = [line.rstrip() for line in deque(file, 12) if line.strip()]
    message = "\n".join([f"its driver ended with code {driven.code}", *said])
    return {"reason": "exited", "message": message, "mend": "see the log of the runner"}


def own_id(folder: Path) -> str:
    """Who the runner of a folder is, whenever it runs."""
    path = folder / "runner.json"
    try:
        return str(json.loads(path.read_text("utf-8"))["id"])
    except (OSError, ValueError, KeyError):
        made = new_id()
        write_json(path, {"id": made})
        return made


def introduction(settings: RunnerSettings) -> dict[str, Any]:
    """What a runner says of itself when it begins."""
    from tilth.environments import probe  # here for cost

    return {
        "id": own_id(settings.folder),
        "name": settings.name,
        "project": settings.project,
        "place": settings.place,
        # Not in the home folder of runs, which may be another user's.
        "platform": probe(Path(sys.executable), Home(settings.folder)).platform,
        "machine": this_machine(),
        "version": __version__,
        "slots": settings.slots,
        "builds": settings.builds,
    }


def _pid(folder: Path) -> int:
    try:
        word, _, number = (folder / "lease").read_text("ascii").partition(" ")
    except (OSError, UnicodeDecodeError):
        return 0
    return int(number) if word == "process" and number.isdecimal() else 0


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
