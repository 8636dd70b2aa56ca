"""Servers and databases that can be killed: processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import psycopg
from tests.conftest import TILTH
from tests.ports import free_port
from tests.server_running import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 180.0


def wait_for(what: Callable[[], Any], why: str) -> Any:
    """What a condition gives once it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := what()):
        assert time.monotonic() < deadline, f"it never came to this: {why}"
        time.sleep(0.05)
    return found


class ServerProcess:
    """`tilth server start --foreground` on a port that stays its own, with several workers."""

    def __init__(self, folder: Path, database: str, *, workers: int = 3, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self._command = [str(TILTH), "server", "start", "--foreground", "--json"]
        self._command += ["--workers", str(workers), "--port", str(self.port)]
        self._variables = {
            **os.environ,
            "TILTH_HOME": str(folder / f"home-{self.port}"),
            "TILTH_SERVER_DATABASE_URL": database,
            "TILTH_SERVER_DATA_FOLDER": str(folder / "data"),
            "TILTH_SERVER_SECRETS_KEY_FILE": str(folder / "key"),
            "TILTH_SERVER_ADMIN_PASSWORD": PASSWORD,
            "TILTH_SERVER_RUNNER_SLOTS": "0",
            "TILTH_SERVER_LOG_FORMAT": "json",
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> ServerProcess:
        """Start it, and wait until it answers."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._variables, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self.answers, "the server answers")
        return self

    def answers(self, path: str = "/ready") -> bool:
        """Whether it can work."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + path, timeout=20, trust_env=False).status_code == 200
        return False

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        assert self.process is not None
        found = []
        for each in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # one that has ended just now
                if any("spawn_main" in word for word in each.cmdline()):
                    found.append(each)
        return found

    def kill(self) -> None:
        """kill -9 of the process that was started, and of nothing else."""
        assert self.process is not None
        left = self.workers()
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(left, timeout=DEADLINE_S)
        assert not [each for each in left if each.is_running()]

    def stop(self) -> int:
        """SIGTERM; gives the code that it ends with, once no process is left."""
        if self.process is None or self.process.poll() is not None:
            return -1
        left = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_S)
        _, alive = psutil.wait_procs(left, timeout=DEADLINE_S)
        assert not alive
        return code

    def token(self) -> str:
        """A login of its first user."""
        told = httpx.post(
            f"{self.url}/api/v1/login",
            content=json.dumps({"name": "admin", "password": PASSWORD}),
            timeout=60,
            trust_env=False,
        )
        assert told.status_code == 200, told.text
        return str(told.json()["token"])


class OwnPostgres:
    """A database server of one test, to be killed."""

    def __init__(self, folder: Path) -> None:
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.folder = folder
        self.port = free_port()
        self.url = f"postgresql://tilth@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        shutil.chown(folder, "postgres", "postgres")
        subprocess.run(
            [*self._as, self._bin / "initdb", "--pgdata", folder / "data", "--username=tilth", "--auth=trust",
             "--encoding=UTF8", "--locale=C.UTF-8"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip

    def start(self) -> OwnPostgres:
        """Start it, after a crash as often as it takes: backends of the one before may still be ending."""

        def started() -> bool:
            if self.process is None or self.process.poll() is not None:
                with open(self.folder / "log", "ab") as log:
                    self.process = subprocess.Popen(
                        [*self._as, self._bin / "postgres", "-D", self.folder / "data", "-p", str(self.port),
                         "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}",
                         "-c", "max_connections=120", "-c", "shared_buffers=32MB"],
                        stdout=log, stderr=log, cwd="/",
                    )  # fmt: skip
            try:
                with psycopg.connect(self.url, connect_timeout=5):
                    return True
            except psycopg.OperationalError:
                return False

        wait_for(started, f"PostgreSQL starts: {self.folder / 'log'}")
        return self

    def kill(self) -> None:
        """kill -9 of its first process; the others end by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_backend(self) -> bool:
        """kill -9 of a process that serves a connection: PostgreSQL ends all others and recovers."""
        assert self.process is not None
        for each in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "127.0.0.1(" in " ".join(each.cmdline()):
                    each.kill()
                    return True
        return False

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(DEADLINE_S)
