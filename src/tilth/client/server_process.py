"""A server on this machine: started in the background, found again, and stopped by its process id."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tilth.engine.lease import Lease, is_held
from tilth.errors import Conflict, NotFound, SetupError
from tilth.store.logins import Login, Logins, read_logins, write_logins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tilth.home import Home

_START_S, _STOP_S = 60.0, 20.0


@dataclass(frozen=True)
class Started:
    """A server that answers.

    Attributes:
        invite: Secret of a link that sets the first user's password; empty when there are users.
    """

    url: str
    pid: int
    invite: str = ""


def log_of(home: Home) -> Path:
    """The file that a server in the background writes to."""
    return home.server / "server.log"


def running(home: Home) -> Started | None:
    """The server of this home folder, if one runs."""
    if not is_held(home.server):
        return None
    try:
        told = json.loads((home.server / "server.json").read_text("utf-8"))
        return Started(told["url"], told["pid"])
    except (OSError, ValueError, KeyError):
        return None  # it is about to say


@contextlib.contextmanager
def announced(home: Home) -> Iterator[Path]:
    """Be the server of this home folder; gives the file in which to say where.

    Raises:
        Conflict: Another is.
    """
    try:
        with Lease(home.server, "server"):
            said = home.server / "server.json"
            said.unlink(missing_ok=True)
            yield said
            said.unlink(missing_ok=True)
    except Conflict:
        found = running(home)
        raise Conflict(
            "a server runs for this home folder" + (f": {found.url}" if found else " already"),
            mend="stop it with `tilth server stop`, or give another one its own `TILTH_HOME`",
        ) from None


def say_where(said: Path, url: str) -> None:
    """Tell others of this home folder where the server is."""
    aside = said.with_name(f"{said.name}.{os.getpid()}")
    aside.write_text(json.dumps({"url": url, "pid": os.getpid()}), "utf-8")
    aside.replace(said)


def start_in_background(home: Home, variables: Mapping[str, str]) -> Started:
    """Start a server that outlives this process and its terminal; gives it when it answers.

    Args:
        variables: `TILTH_SERVER_*` that it is told.
    Raises:
        Conflict: One runs already.
        SetupError: It ended instead; what it said is told.
    """
    if is_held(home.server):
        with announced(home):  # raises, unless it ended just now
            pass
    home.server.mkdir(parents=True, exist_ok=True)
    log = log_of(home)
    begin = log.stat().st_size if log.exists() else 0
    # What is for the user alone comes through a pipe: a log is read by many.
    ours, theirs = os.pipe()
    try:
        with open(log, "ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tilth.cli", "server", "start", "--foreground", "--tell", str(theirs)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **variables, "TILTH_HOME": str(home.root)},
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)
        theirs = -1
        told = _line(ours, process)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    if not told:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        with open(log, encoding="utf-8", errors="replace") as file:
            file.seek(begin)
            said = [line.strip() for line in file.read().splitlines() if line.strip()]
        raise SetupError(
            "the server did not start",
            why="\n".join(said[-8:]) or f"it said nothing within {_START_S:.0f} seconds",
            mend=f"see `{log}`",
        )
    found = json.loads(told)
    return Started(found["url"], process.pid, found["invite"])


def stop(home: Home) -> None:
    """End the server of this home folder, after the requests that are open.

    Raises:
        NotFound: None runs.
    """
    found = running(home)
    if found is None:
        raise NotFound("no server runs for this home folder", mend="start one with `tilth server start`")
    for sent, patience_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, sent)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not is_held(home.server):
                return
            time.sleep(0.05)
    raise SetupError(
        f"the server did not end: process {found.pid}", mend=f"end it by hand: `kill -9 {found.pid}`"
    )


def remember_login(home: Home, url: str, token: str, user: str, *, active: bool, own: bool = False) -> None:
    """Keep a login, and use it from now on when it is to be active."""
    logins = read_logins(home)
    known = logins.servers.get(url)
    own = own or (known is not None and known.own and known.token == token)
    servers = {**logins.servers, url: Login(token=token, user=user, own=own)}
    write_logins(home, Logins(active=url if active else logins.active, servers=servers))


def forget_login(home: Home, url: str) -> bool:
    """Keep records on this machine from now on; gives whether the login is forgotten, and may end at the server.

    That of the server of this home folder stays: it is what `tilth login` takes here instead of a password.
    """
    logins = read_logins(home)
    login = logins.servers.get(url)
    stays = login is not None and login.own
    servers = {name: each for name, each in logins.servers.items() if name != url or stays}
    write_logins(home, Logins(active="", servers=servers))
    return not stays


def _line(descriptor: int, process: subprocess.Popen[bytes]) -> bytes:
    """What comes up to the first newline; nothing when the process ends first, or takes too long."""
    deadline, told = time.monotonic() + _START_S, b""
    while not told.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], 0.2)
        if readable:
            part = os.read(descriptor, 4096)
            if not part:
                return b""
            told += part
        elif process.poll() is not None or time.monotonic() > deadline:
            return b""
    return told
