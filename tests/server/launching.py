"""A project, snapshots of it, and real runners: each a process that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import TILTH, run_cli

from tilth.records import Run, StepRun
from tilth.store.http import HttpStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tilth.records.launching import Launch

PROJECT = "churn"
DEADLINE_S = 120.0

PIPELINE = """
import os, time
from pathlib import Path
from tilth import pipeline, step

def said(folder: str, what: str) -> None:
    with open(Path(folder) / "said", "a") as file:
        file.write(what + "\\n")

@step(cache=False)
def load(folder: str, rows: int) -> list[int]:
    said(folder, "load")
    if (Path(folder) / "spy-on").exists():
        for pid in (Path(folder) / "spy-on").read_text().split():
            try:
                said(folder, "read" if Path("/proc", pid, "environ").read_bytes() else "nothing")
            except OSError as error:
                said(folder, type(error).__name__)
    return list(range(rows))

@step(cache=False)
def total(values: list[int], folder: str) -> int:
    said(folder, "total")
    while not (Path(folder) / "gate").exists():
        time.sleep(0.02)
    return sum(values)

@pipeline
def churn(folder: str, rows: int = 3):
    if rows == 13:
        import not_there_at_all
    while (Path(folder) / "hold-compile").exists():
        time.sleep(0.02)
    total(load(folder, rows), folder)
"""


def make_project(folder: Path) -> Path:
    """A project with a bare interpreter of its own."""
    folder.mkdir(parents=True)
    (folder / "churn.py").write_text(PIPELINE)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{PROJECT}"\nversion = "0"\n')
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    return folder


def wait_for(what: Callable[[], Any], why: str | Callable[[], str] = "") -> Any:
    """What a condition gives once it holds; `why` says what never did."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := what()):
        assert time.monotonic() < deadline, (
            f"it never came to this: {why() if callable(why) else why or what}"
        )
        time.sleep(0.05)
    return found


class RunnerInTest:
    """`tilth runner start` in a process of its own."""

    def __init__(
        self,
        url: str,
        token: str,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] = os.environ,
        **variables: str,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "runner.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(TILTH), "runner", "start", "--folder", str(folder), *arguments],
                env={**environment, "TILTH_SERVER_URL": url, "TILTH_API_KEY": token, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        begin = self.log.read_text().count("takes runs")
        wait_for(lambda: self.log.read_text().count("takes runs") > begin or self.process.poll() is not None)

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as an operator does."""
        self.process.terminate()
        self.process.wait(60)

    def drivers(self) -> list[int]:
        """Processes that drive a launch."""
        return drivers_in(self.folder)


def drivers_in(folder: Path) -> list[int]:
    """Processes that drive a launch of the runner of a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"drive" in words and any(each.startswith(os.fsencode(folder)) for each in words):
                    found.append(int(entry.name))
    return found


def kill_all(pids: list[int]) -> None:
    """End processes of ours, with their groups."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


class Asker:
    """A client of a server, in a folder with nothing of the project."""

    def __init__(self, url: str, token: str, work: Path) -> None:
        self.url = url
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        self.variables = {"TILTH_SERVER_URL": url, "TILTH_API_KEY": token, "TILTH_PROJECT": PROJECT}
        self.store = HttpStore(url, token, PROJECT)

    def tilth(self, *arguments: str | Path, cwd: Path | None = None, code: int | None = 0, **env: str) -> Any:
        """A command, as this client."""
        return run_cli(*arguments, cwd=cwd or self.work, env={**self.variables, **env}, code=code)

    def snapshot(self, project: Path, *arguments: str) -> None:
        """Make the snapshot `nightly`."""
        folder = ("--param", f"folder={self.work}")
        self.tilth("snapshots", "create", "churn.py", "--name", "nightly", *folder, *arguments, cwd=project)

    def ask(self, *arguments: str) -> Launch:
        """Ask for a run of it."""
        told = self.tilth("snapshots", "run", "nightly", "--json", *arguments).stdout
        return self.launch(json.loads(told)["id"])

    def launch(self, id: str) -> Launch:  # noqa: A002
        """One that was asked for, as it stands."""
        from tilth.client.snapshots import find_launch

        return find_launch(self.store, id)

    def ended(self, launch: Launch) -> Launch:
        """It, once it is over."""
        return wait_for(lambda: (found := self.launch(launch.id)).state.is_final and found, "the launch ends")

    def said(self) -> list[str]:
        """What steps have been called, in order."""
        path = self.work / "said"
        return path.read_text().split() if path.exists() else []

    def open_gate(self) -> None:
        """Let the second step end."""
        (self.work / "gate").touch()

    def check_once(self, launch: Launch) -> Run:
        """The one run that came of it all: complete, and nothing of it twice."""
        (run,) = self.store.find(Run).items
        assert (run.id, run.state.value) == (launch.run, "completed"), run
        good = [each.step for each in self.store.find(StepRun, run=run.id).items if each.state.is_good]
        assert sorted(good) == ["load", "total"]
        assert self.said().count("load") == 1
        return run


@contextlib.contextmanager
def asker(url: str, token: str, work: Path) -> Iterator[Asker]:
    """A client that lets go of its connections."""
    made = Asker(url, token, work)
    with made.store:
        yield made
