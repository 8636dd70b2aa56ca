"""Small projects, and runs of them in this process or through the command line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from tests.conftest import TILTH

from tilth.client import resuming, submit
from tilth.client.driving import RunOptions
from tilth.engine import events
from tilth.records import Artifact, Run, StepRun
from tilth.runtime.client import Client
from tilth.store import open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tilth.home import Home
    from tilth.records import Record

R = TypeVar("R", bound="Record")
PATIENCE_S = 180.0  # for what comes in a moment, on a machine that is too busy by far
# What tells "at once" from "when the step has slept enough", on such a machine too: steps sleep for ten minutes.
SOON_S = 60.0
PROJECTS = Path(__file__).parent.parent / "projects"


@dataclass
class Played:
    """A run as it ended, with all that was recorded and told about it."""

    run: Run
    records: list[StepRun]
    told: list[events.Event]

    @property
    def steps(self) -> dict[str, StepRun]:
        """The last attempt of each step; of a mapped step, the step itself."""
        return {each.step: each for each in self.records if each.index is None}

    @property
    def states(self) -> dict[str, str]:
        return {name: each.state.value for name, each in self.steps.items()}

    def items(self, step: str) -> list[StepRun]:
        """The last attempt of each item of a mapped step, in order."""
        last = {each.index: each for each in self.records if each.step == step and each.index is not None}
        return [last[index] for index in sorted(last)]

    def attempts(self, step: str) -> list[StepRun]:
        return [each for each in self.records if each.step == step]

    @property
    def notices(self) -> list[str]:
        return [each.text for each in self.told if isinstance(each, events.Notice)]

    def lines(self, step: str, stream: str = "stdout") -> list[str]:
        """What a step printed, as it was streamed."""
        return [
            each.text
            for each in self.told
            if isinstance(each, events.StepLine) and each.step == step and each.stream == stream
        ]


@dataclass
class Project:
    """A folder with a pipeline in it, and a home folder of its own."""

    folder: Path
    home: Home

    def write(self, source: str, name: str = "pipeline.py") -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source), encoding="utf-8")
        return path

    def copy(self, project: str) -> None:
        """Take the files of one of `tests/projects`."""
        for path in sorted((PROJECTS / project).glob("*.py")):
            self.write(path.read_text(encoding="utf-8"), path.name)

    @contextlib.contextmanager
    def at_home(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TILTH_HOME", str(self.home.root))
            patch.chdir(self.folder)
            yield

    def run(self, target: str = "pipeline.py", /, **parameters: Any) -> Played:
        """Run a pipeline in this process. Options that runs have are taken as such."""
        names = RunOptions.__dataclass_fields__
        options = {name: parameters.pop(name) for name in list(parameters) if name in names}
        with self.at_home():
            told: list[events.Event] = []
            ended = submit.run_file(
                target,
                {
                    name: value if isinstance(value, str) else json.dumps(value)
                    for name, value in parameters.items()
                },
                RunOptions(**{"python": sys.executable, **options}),
                told.append,
            )
        return self.played(ended, told)

    def resume(self, run: str, **options: Any) -> Played:
        with self.at_home():
            told: list[events.Event] = []
            ended = resuming.resume(run, RunOptions(**options), told.append)
        return self.played(ended, told)

    def plan(self, target: str = "pipeline.py", /, **parameters: Any) -> dict[str, Any]:
        """What a run would do: each planned step by its name."""
        names = RunOptions.__dataclass_fields__
        options = {name: parameters.pop(name) for name in list(parameters) if name in names}
        with self.at_home():
            given = {name: json.dumps(value) for name, value in parameters.items()}
            planned = submit.plan_file(target, given, RunOptions(python=sys.executable, **options))
        return {each.id: each for each in planned.steps}

    def played(self, run: Run, told: list[events.Event] | None = None) -> Played:
        return Played(run, self.records(StepRun, run=run.id), told or [])

    def records(self, kind: type[R], **where: Any) -> list[R]:
        """All records of a kind, oldest first."""
        with contextlib.closing(open_store(self.home)) as store:
            return list(walk(store, kind, order="created_at", **where))

    def last_run(self) -> Run:
        return self.records(Run)[-1]

    def load(self, step: str, output: str | None = None) -> Any:
        """The value of an output of the newest run."""
        with self.at_home():
            outputs = Client().get_run(self.last_run().id).steps[step].outputs
            return outputs[output].load() if output else next(iter(outputs.values())).load()

    def digests(self) -> dict[str, str]:
        """The digest of each output of the newest run, items of mapped steps included."""
        played = self.played(self.last_run())
        return {
            f"{each.step}[{each.index}].{name}": ref.digest
            for each in played.records
            if each.state.is_good
            for name, ref in each.outputs.items()
        }

    def artifacts(self) -> list[Artifact]:
        return self.records(Artifact)

    def calls(self, name: str = "calls") -> list[str]:
        """What the project's steps noted in a file, a line for each call."""
        path = self.folder / name
        return path.read_text(encoding="utf-8").split() if path.exists() else []

    def start(
        self, *arguments: str, program: str = str(TILTH), env: Mapping[str, str] | None = None
    ) -> Command:
        """The real command, in a process group of its own."""
        process = subprocess.Popen(
            [program, *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "TILTH_HOME": str(self.home.root),
                "TILTH_PROGRESS": "plain",
                "TILTH_PYTHON": sys.executable,
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return Command(process, self)


@dataclass
class Command:
    """A `tilth` that runs, as a terminal or a kernel would see it."""

    process: subprocess.Popen[str]
    project: Project
    stdout: str = ""
    stderr: str = ""

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Its exit code; what it printed is in `stdout` and `stderr`."""
        try:
            self.stdout, self.stderr = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return self.process.returncode

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def signal_group(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """As `kill -9` does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.stdout, self.stderr = self.process.communicate(timeout=PATIENCE_S)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


def wait_until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until `condition()` is true, and give what it gave."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_S:g} s in vain for {what or condition}")
        time.sleep(0.01)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def processes_of(home: Home) -> list[int]:
    """Every process whose environment names this home folder, this one left out."""
    mark = f"TILTH_HOME={home.root}\0".encode()
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if (
                name.isdigit()
                and int(name) != os.getpid()
                and mark in Path(f"/proc/{name}/environ").read_bytes()
            ) and is_alive(int(name)):
                found.append(int(name))
    return found


def workers_of(home: Home) -> list[int]:
    """Those of them that run steps."""
    found = []
    for pid in processes_of(home):
        with contextlib.suppress(OSError):
            if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
