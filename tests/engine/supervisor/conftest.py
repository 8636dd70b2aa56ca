"""Attempts that a supervisor runs as a process of its own, far away: another folder, an empty environment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from tilth.artifact_stores import LocalArtifactStore
from tilth.artifact_stores.cached import CachedArtifactStore
from tilth.artifact_stores.folder import FolderStore
from tilth.client.bundle import make_bundle
from tilth.client.code_root import find_code_root
from tilth.engine.delivery import deliver
from tilth.engine.remote import Follower, Order, make_order
from tilth.engine.supervisor.channel import Channel
from tilth.home import Home
from tilth.materializers.artifacts import load_artifact, save_artifact
from tilth.orchestrators import Outcome, Task
from tilth.records import CodeDelivery, ComponentUsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass
class Far:
    """A project here, a store between, and supervisors elsewhere."""

    project: Path
    home: Home
    objects: FolderStore
    elsewhere: Path
    store: ComponentUsed
    secrets: dict[str, str] = field(default_factory=dict)
    answer: Callable[[str, dict[str, Any]], Any] = lambda _method, _params: None
    lines: list[tuple[str, str]] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    count: int = 0
    lost_after_s: float = 60.0

    def __post_init__(self) -> None:
        self.artifacts = CachedArtifactStore(LocalArtifactStore(self.home.artifacts), self.objects)

    def write(self, source: str) -> None:
        (self.project / "steps.py").write_text(dedent(source), encoding="utf-8")

    def store_value(self, value: Any) -> Path:
        """The folder of an artifact of this machine."""
        folder = self.project.parent / f"value-{time.monotonic_ns()}"
        folder.mkdir()
        return self.artifacts.adopt(folder, save_artifact(value, folder)["digest"])

    def task(self, function: str, *, inputs: Mapping[str, Any] | None = None, **options: Any) -> Task:
        self.count += 1
        folder = self.project.parent / "attempts" / str(self.count)
        folder.mkdir(parents=True)
        context = {
            "run_id": "run-1", "run_name": "flow-1", "pipeline": "flow", "step": function, "attempt": self.count,
            "index": None, "parameters": {}, "extra": {}, "tags": [],
        }  # fmt: skip
        output = {
            "name": "output",
            "annotation": "Any",
            "type": "typing.Any",
            "collection": False,
            "readers": [],
        }
        spec = {
            "version": 1, "function": f"steps:{function}", "environment": "the client's", "key": "k", "fence": 1,
            "roots": [str(self.project)], "inputs": inputs or {}, "materializers": [], "outputs": [output],
            "context": context,
        }  # fmt: skip
        if options.get("secrets"):
            spec["secrets"] = list(options["secrets"])
        (folder / "step.json").write_text(json.dumps(spec))
        return Task(
            **{
                "label": function,
                "folder": folder,
                "python": Path(sys.executable),
                "roots": (str(self.project),),
                "cwd": str(self.project),
                **options,
            }
        )

    def delivered(self) -> CodeDelivery:
        (self.project / "tilth.toml").touch()
        bundle = make_bundle(find_code_root(self.project / "steps.py"), self.home)
        deliver(bundle.path, bundle.digest, self.objects)
        return CodeDelivery(how="bundle", bundle=bundle.digest)

    def order(self, task: Task, code: CodeDelivery | None = None, **options: Any) -> Order:
        given = {"beat_s": 0.2, "patience_s": 20.0, "python": sys.executable, **options}
        return make_order(
            task, code or self.delivered(), self.project, store=self.store, secrets=self.secrets, **given
        )

    def start(self, order: Order, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """The program, as an engine starts it."""
        said = self.project.parent / f"said-{len(self.processes)}"
        with open(f"{said}.out", "w") as out, open(f"{said}.err", "w") as err:
            process = self._popen(order, env or {}, out, err)
        self.processes.append(process)
        return process

    def said_by(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """What a supervisor printed until its end."""
        process.wait(timeout=180)
        said = self.project.parent / f"said-{self.processes.index(process)}"
        return Path(f"{said}.out").read_text(), Path(f"{said}.err").read_text()

    def _popen(self, order: Order, env: Mapping[str, str], out: Any, err: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tilth.engine.supervisor"],
            cwd=self.elsewhere,
            env={"PATH": os.defpath, "TMPDIR": str(self.elsewhere), **order.variables, **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
            start_new_session=True,
        )

    def follower(self, order: Order) -> Follower:
        return Follower(
            Channel(self.objects, order.assignment.channel),
            self.artifacts,
            lambda method, params: self.answer(method, params),
            poll_s=0.1,
            lost_after_s=self.lost_after_s,
        )

    def run(
        self,
        function: str,
        *,
        meanwhile: Callable[[subprocess.Popen[str], Follower], None] | None = None,
        order: dict[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Ran:
        """Run a step elsewhere.

        Args:
            meanwhile: Called in a thread with the supervisor's process, while the step is followed.
            order: Options of the assignment.
        """
        task = self.task(function, **options)
        given = self.order(task, **(order or {}))
        follower = self.follower(given)

        async def main() -> tuple[Outcome, subprocess.Popen[str]]:
            await follower.hand_over(task)
            process = self.start(given, env)
            following = asyncio.create_task(follower.follow(task, self.hear))
            if meanwhile:
                await asyncio.to_thread(meanwhile, process, follower)
            return await asyncio.wait_for(following, 180), process

        outcome, process = asyncio.run(main())
        said, trouble = self.said_by(process)
        return Ran(outcome, task, process.returncode, said, trouble, self)

    def hear(self, stream: str, data: bytes) -> None:
        self.lines.append((stream, data.decode().rstrip("\n")))

    def left_elsewhere(self) -> list[str]:
        """Folders of supervisors that are still there."""
        return sorted(each.name for each in self.elsewhere.iterdir())

    def processes_left(self) -> list[int]:
        """Processes that were started below the folder elsewhere, or their children."""
        found = []
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if not name.isdigit() or int(name) == os.getpid():
                    continue
                if f"TMPDIR={self.elsewhere}".encode() in Path(f"/proc/{name}/environ").read_bytes():
                    state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
                    if state not in "ZX":
                        found.append(int(name))
        return found


@dataclass
class Ran:
    """How an attempt ended, and how its supervisor did."""

    outcome: Outcome
    task: Task
    code: int
    stdout: str
    stderr: str
    far: Far

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.task.folder / "result.json").read_text())
        return found

    @property
    def value(self) -> Any:
        """What the step gave, through the store."""
        assert self.outcome.ended == "done", (self.outcome, self.stderr)
        assert self.result["state"] == "completed", self.result
        return load_artifact(self.far.artifacts.path(self.result["outputs"]["output"]["digest"]))


@pytest.fixture
def far(tmp_path: Path, home: Path) -> Iterator[Far]:
    for name in ("project", "elsewhere"):
        (tmp_path / name).mkdir()
    store = tmp_path / "store"
    far = Far(
        tmp_path / "project",
        Home(home),
        FolderStore(store),
        tmp_path / "elsewhere",
        ComponentUsed(flavor="local", settings={"path": str(store)}),
    )
    yield far
    for process in far.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for folder in far.elsewhere.glob("*"):
        shutil.rmtree(folder, ignore_errors=True)
