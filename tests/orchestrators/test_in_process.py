"""`--in-process`: steps where the client runs, for debuggers, and what that gives up."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import SOON_S, Project, wait_until
from tests.index import build_wheel

from tilth.home import Home
from tilth.orchestrators.in_process import InProcessLauncher
from tilth.records import State
from tilth.runtime.folder import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from tests.orchestrators.conftest import Bench

STEPS = """
    import os
    import time

    from tilth import Environment, load_artifact, pipeline, save_artifact, step

    alpha = Environment("alpha", requirements=["alpha"])


    @step(environment=alpha)
    def pid() -> int:
        print("in step", os.getpid())
        save_artifact([1], "beside")
        return os.getpid()


    @step
    def loads(pid: int) -> list:
        return load_artifact("beside")


    @step
    def sleeps(pid: int) -> int:
        open("sleeping", "w").close()
        time.sleep(600)


    @step
    def fails() -> int:
        raise ValueError("bad")


    @pipeline
    def quick():
        loads(pid())


    @pipeline
    def slow():
        sleeps(pid())


    @pipeline
    def failing():
        fails()
"""


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Project:
    (tmp_path / "tilth.toml").touch()
    made = Project(tmp_path, Home(home))
    made.write(STEPS)
    return made


def test_steps_run_in_the_client_and_their_records_say_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project.start("run", "pipeline.py:quick", "--in-process") as command:
        pid = command.process.pid
        assert command.wait() == 0, command.stderr
    assert f"in step {pid}" in command.stdout
    assert "steps run in this process" in command.stderr
    assert project.load("loads") == [1]
    played = project.played(project.last_run())
    assert played.run.environments == {}
    assert played.steps["pid"].environment == ""
    assert not project.home.environments.exists()
    # What was made in another interpreter than the step declares is not reused where it is declared.
    index = project.folder / "index"
    build_wheel(index, "alpha", "1.0")
    (project.folder / "uv.toml").write_text(f"no-index = true\nfind-links = [{json.dumps(str(index))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(project.folder / "uv.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(project.folder / "cache"))
    assert project.run("pipeline.py:quick").states["pid"] == "completed"


def test_a_failed_step_fails_the_run(project: Project) -> None:
    with project.start("run", "pipeline.py:failing", "--in-process") as command:
        assert command.wait() == 1
    assert "ValueError: bad" in command.stderr
    assert "During handling" not in command.stderr
    assert project.last_run().state is State.FAILED


@pytest.mark.faults
def test_ctrl_c_interrupts_the_step_and_cancels_the_run(project: Project) -> None:
    with project.start("run", "pipeline.py:slow", "--in-process") as command:
        wait_until((project.folder / "sleeping").exists)
        began = time.monotonic()
        command.signal(signal.SIGINT)
        assert command.wait() == 130, command.stderr
        assert time.monotonic() - began < SOON_S
    played = project.played(project.last_run())
    assert played.run.state is State.CANCELLED
    assert played.states == {"pid": "completed", "sleeps": "cancelled"}


def test_streams_hide_secrets_for_as_long_as_the_step_runs(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where somebody else has held the stream since before, and when it is written letter by letter."""
    held = sys.stdout
    handler = logging.StreamHandler(sys.stderr)
    bench.write("""
        import logging, os, sys, threading
        def tell():
            for letter in "spelled: " + os.environ["TOKEN"]:
                sys.stdout.write(letter)
            print()
            print("asked:", os.environ["TOKEN"], end=" ", flush=True)
            logging.getLogger("told").warning(os.environ["TOKEN"])
            return [os.environ["TOKEN"] == "correct-horse", os.environ["PLAIN"]]
    """)
    task = bench.task("tell", secrets={"TOKEN": "correct-horse"}, variables={"PLAIN": "p"})
    assert "correct" not in repr(task)
    logging.getLogger("told").addHandler(handler)
    try:
        asyncio.run(InProcessLauncher(lambda *_: None).run(task, lambda *_: None))
    finally:
        logging.getLogger("told").removeHandler(handler)
    assert read_json(task.folder / "result.json")["state"] == "completed"
    assert sys.stdout is held
    print("after: correct-horse")
    captured = capsys.readouterr()
    assert captured.out == "spelled: ***\nasked: *** after: correct-horse\n"
    assert captured.err == "***\n"
    assert "TOKEN" not in os.environ
    assert "write" not in vars(sys.stdout)
