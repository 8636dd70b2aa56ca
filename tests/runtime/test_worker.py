"""The worker's side of the conversation with its supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tilth
from tilth.runtime.folder import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = """
import os, signal, subprocess, sys, threading, time
from tilth import Client, get_step_context, load_artifact, log_metadata, save_artifact, step

@step
def add(a, b):
    print("adding", a, b)
    return a + b

@step
def changes():
    os.chdir("/"); os.environ["LEFT"] = "1"; sys.path.insert(0, "/x"); sys.stdout = None

@step
def sees():
    return [os.getcwd(), os.environ.get("LEFT"), "/x" in sys.path, __name__, os.getpid()]

@step
def threads():
    threading.Thread(target=time.sleep, args=(600,), name="mine", daemon=True).start()

@step
def children():
    return subprocess.Popen(["sleep", "600"], stdout=-3, stderr=-3).pid

@step
def fails():
    raise ValueError("no")

@step
def waits():
    open("waits", "w").close()
    time.sleep(600)

@step
def asks():
    return Client().get_run("flow-1").name
"""


class Supervisor:
    """Starts a worker and talks with it, as the local orchestrator does."""

    def __init__(self, folder: Path, step_folder: Any, python: str = sys.executable, *flags: str) -> None:
        self.folder = folder
        self._step_folder = step_folder
        self._given = 0
        ours, theirs = socket.socketpair()
        ours.settimeout(180)
        bootstrap = Path(tilth.__file__).parent / "runtime" / "bootstrap.py"
        settings = {"fd": theirs.fileno(), "roots": [str(folder)], "cwd": str(folder)}
        self.process = subprocess.Popen(
            [python, *flags, str(bootstrap), "worker", "", json.dumps(settings)],
            pass_fds=[theirs.fileno()], start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        self.socket = ours
        self._lines = ours.makefile("r", encoding="utf-8")
        assert self.hear() == {"ready": self.process.pid}

    def hear(self) -> dict[str, Any]:
        """The next message."""
        return json.loads(self._lines.readline())  # type: ignore[no-any-return]

    def tell(self, message: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def start(self, function: str, *outputs: str, **inputs: Any) -> Path:
        """Hand over a step and wait until its function is called."""
        self._given += 1
        folder = self.folder / f"step{self._given}"
        roots = [str(self.folder)]
        self._step_folder(folder, f"steps:{function}", roots=roots, inputs=inputs, outputs=outputs)
        self.tell({"do": "step", "folder": str(folder)})
        assert self.hear() == {"called": True}
        return folder

    def run(self, function: str, *outputs: str, **inputs: Any) -> dict[str, Any]:
        """What the worker says when the step is done, and under `result` what is in its folder."""
        folder = self.start(function, *outputs, **inputs)
        return {**self.hear(), "result": read_json(folder / "result.json"), "folder": folder}

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self._lines.close()
        self.socket.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    return tmp_path


@pytest.fixture
def worker(folder: Path, step_folder: Any) -> Iterator[Supervisor]:
    supervisor = Supervisor(folder, step_folder)
    yield supervisor
    supervisor.end()


def value(done: dict[str, Any], name: str = "output") -> Any:
    from tilth.materializers.artifacts import load_artifact

    return load_artifact(done["folder"] / "outputs" / name)


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_one_step_after_another_runs_in_one_process(worker: Supervisor) -> None:
    done = worker.run("add", "output", a=1, b=2)
    assert (done["done"], done["completed"], done["leave"]) == (True, True, [])
    assert done["peak"] > 1 << 20
    assert value(done) == 3
    done = worker.run("add", "output", a="x", b="y")
    assert value(done) == "xy"
    ready, _, _ = select.select([worker.process.stdout], [], [], 180)
    assert ready
    assert os.read(worker.process.stdout.fileno(), 1000) == b"adding 1 2\nadding x y\n"  # type: ignore[union-attr]


def test_what_a_step_changes_the_next_does_not_see(worker: Supervisor, folder: Path) -> None:
    assert worker.run("changes")["leave"] == []
    assert value(worker.run("sees", "output"))[:4] == [str(folder), None, False, "steps"]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("threads", "it left threads running: mine"),
        ("children", "it left processes running: "),
        ("fails", "its step failed"),
    ],
)
def test_a_worker_says_why_it_should_not_go_on(worker: Supervisor, step: str, told: str) -> None:
    outputs = ["output"] if step == "children" else []
    done = worker.run(step, *outputs)
    assert done["completed"] == (step != "fails")
    assert any(each.startswith(told) for each in done["leave"]), done


def test_a_failed_step_is_told_in_its_folder(worker: Supervisor) -> None:
    result = worker.run("fails")["result"]
    assert (result["reason"], result["message"]) == ("exception", "no")
    assert result["traceback"].count("File ") == 1


def test_a_question_is_answered_and_an_error_is_raised_again(worker: Supervisor) -> None:
    worker.start("asks", "output")
    asked = worker.hear()
    assert asked["params"]
    error = {"type": "NotFound", "summary": "no run", "why": "", "mend": "look"}
    worker.tell({"answer": asked["ask"], "error": error})
    done = worker.hear()
    assert not done["completed"]
    result = read_json(worker.folder / "step1" / "result.json")
    assert (result["type"], result["message"], result["mend"]) == ("tilth.errors.NotFound", "no run", "look")


def test_a_worker_ends_with_its_children_when_nobody_listens(worker: Supervisor) -> None:
    child = value(worker.run("children", "output"))
    assert is_alive(child)
    worker.start("waits")
    worker.socket.shutdown(socket.SHUT_RDWR)
    assert worker.process.wait(180) != 0
    ends = time.monotonic() + 180
    while is_alive(child) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not is_alive(child)


def test_an_interrupt_between_steps_is_harmless(worker: Supervisor) -> None:
    for _ in range(3):
        worker.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert worker.run("add", "output", a=1, b=2)["completed"]


def test_an_interrupt_fails_the_step_that_runs(worker: Supervisor) -> None:
    folder = worker.start("waits")
    ends = time.monotonic() + 180
    while not (worker.folder / "waits").exists() and time.monotonic() < ends:
        time.sleep(0.01)
    worker.process.send_signal(signal.SIGINT)
    assert not worker.hear()["completed"]
    assert read_json(folder / "result.json")["type"] == "KeyboardInterrupt"


OURS = """
import msgspec, tilth
def ours():
    return [tilth.__file__, msgspec.__file__]
"""


def test_steps_run_in_every_python_beside_another_tilth(
    folder: Path, step_folder: Any, pythons: list[Path]
) -> None:
    (folder / "steps.py").write_text(OURS)
    for index, python in enumerate(pythons):
        venv = folder / f"venv{index}"
        subprocess.run([str(python), "-m", "venv", "--without-pip", str(venv)], check=True)
        (library,) = venv.glob("lib/python3.*/site-packages")
        (library / "tilth").mkdir()
        (library / "tilth" / "__init__.py").write_text("raise SystemExit('another tilth')")
        (library / "msgspec.py").write_text("")
        supervisor = Supervisor(folder, step_folder, str(venv / "bin" / "python"), "-I")
        supervisor._given = 10 * index
        try:
            found = value(supervisor.run("ours", "output"))
        finally:
            supervisor.end()
        assert found == [tilth.__file__, str(library / "msgspec.py")]
