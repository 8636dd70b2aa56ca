"""The runner that a server starts beside itself: a process of its own, with a key for the queue alone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.client.runner import RunnerSettings, introduction
from tilth.errors import Conflict, NotFound
from tilth.home import Home
from tilth.records import new_id, now
from tilth.records.access import Purpose, Token, User
from tilth.records.launching import Runner
from tilth.settings import home_folder
from tilth.store import Put, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tilth.server.access import Access
    from tilth.server.settings import ServerSettings

logger = logging.getLogger("tilth.server")
_USER = "runner"
_STOP_S = 10.0
_LONGEST_S = 30.0


@contextlib.contextmanager
def embedded_runner(settings: ServerSettings, access: Access, url: str) -> Iterator[None]:
    """Have a runner beside this server, started again when it ends; none where the settings want none.

    What it has started goes on when the server ends, and is found again by the next server's.

    Args:
        url: Where the server answers on this machine.
    """
    if settings.runner_slots < 1:
        yield
        return
    user = _user(access)
    looked_after = _LookedAfter(settings, _token(access, user), url)
    # Known before the first request: whoever makes a snapshot then, is told that it can be started here.
    runner = Runner(**introduction(looked_after.runner), seen_at=now(), user=user.id)
    access.store.write([Put(runner)])
    thread = threading.Thread(target=looked_after.work, name="tilth-runner", daemon=True)
    thread.start()
    try:
        yield
    finally:
        looked_after.stop()
        thread.join(_STOP_S + 5)


class _LookedAfter:
    def __init__(self, settings: ServerSettings, token: str, url: str) -> None:
        home = Home(home_folder())
        folder = Path(settings.runner_folder).absolute() if settings.runner_folder else home.server / "runner"
        folder.mkdir(parents=True, exist_ok=True)
        self.runner = RunnerSettings(
            folder=folder,
            home=home,
            name=socket.gethostname(),
            slots=settings.runner_slots,
            place="server",
            builds=settings.runner_builds,
        )
        self._command = [sys.executable, "-m", "tilth.cli", "runner", "start", "--embedded"]
        self._command += ["--slots", str(settings.runner_slots), "--folder", str(folder)]
        self._command += ["--user", settings.runner_user] if settings.runner_user else []
        self._command += ["--builds"] if settings.runner_builds else []
        for name in filter(None, map(str.strip, settings.runner_variables.split(","))):
            self._command += ["--variable", name]
        # Of the server's own variables, as its database's password, it gets none.
        self._variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("TILTH_")
            or name in ("TILTH_OFFLINE", "TILTH_WORKERS")
            or name in ("TILTH_SECRETS_KEY", "TILTH_SECRET_STORE")
        }
        self._variables |= {"TILTH_HOME": str(home.root), "TILTH_SERVER_URL": url, "TILTH_API_KEY": token}
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def work(self) -> None:
        wait_s = 0.5
        while not self._stopped.is_set():
            began = time.monotonic()
            self._process = subprocess.Popen(
                self._command, env=self._variables, stdin=subprocess.DEVNULL, start_new_session=True
            )
            code = self._process.wait()
            if self._stopped.is_set():
                return
            wait_s = 0.5 if time.monotonic() - began > _LONGEST_S else min(2 * wait_s, _LONGEST_S)
            logger.warning("the server's runner ended with code %s; it is started again", code)
            self._stopped.wait(wait_s)

    def stop(self) -> None:
        self._stopped.set()
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _token(access: Access, user: User) -> str:
    """A key for the queue; those of earlier servers in this place are revoked."""
    name = f"{socket.gethostname()}:{home_folder()}"
    access.revoke(*(each for each in walk(access.store, Token, user=user.id) if each.name == name))
    return access.issue(user, Purpose.RUNNER, name=name)[0]


def _user(access: Access) -> User:
    """The service account of servers' own runners, made once."""
    try:
        return access.store.get(User, _USER)
    except NotFound:
        pass
    for name in (_USER, f"{_USER}-{new_id()[-8:]}"):  # somebody may be called that
        with contextlib.suppress(Conflict):
            return access.store.add(User(id=_USER, name=name, service=True))[0]
    return access.store.get(User, _USER)  # another server was quicker
