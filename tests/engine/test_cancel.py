"""Stopping a run: Ctrl-C, from another process, and at once; nothing is left running."""

from __future__ import annotations

import random
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import SOON_S, is_alive, processes_of, wait_until

from tilth.client import runs as past
from tilth.errors import Conflict
from tilth.records import Run, State

if TYPE_CHECKING:
    from tests.engine.play import Command, Project

pytestmark = pytest.mark.faults

WAITING = """
    import os
    import subprocess
    import sys
    import time

    from tilth import Retry, pipeline, step


    def begin(name):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(f"pids-{name}.new", "w") as file:
            file.write(f"{os.getpid()} {child.pid}")
        os.rename(f"pids-{name}.new", f"pids-{name}")


    @step
    def quick() -> int:
        return 1


    @step
    def polite(before: int) -> int:
        try:
            begin("polite")
            time.sleep(600)
        finally:
            open("cleaned-up", "w").close()


    @step
    def deaf(before: int) -> int:
        begin("deaf")
        while True:
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                pass


    @step(retry=Retry(1, delay=600))
    def between_tries(before: int) -> int:
        raise ValueError("once")


    @step
    def never(a: int) -> int:
        return 1


    @pipeline
    def waiting():
        before = quick()
        never(polite(before))
        deaf(before)


    @pipeline
    def retrying():
        never(between_tries(quick()))
"""


def started(project: Project, *arguments: str) -> tuple[Command, list[int]]:
    """A run both of whose steps wait, and the processes of those with their children."""
    project.write(WAITING)
    command = project.start("run", "pipeline.py:waiting", "--workers", "2", *arguments)
    files = [project.folder / "pids-polite", project.folder / "pids-deaf"]
    wait_until(lambda: command.process.poll() is not None or all(each.exists() for each in files))
    assert command.process.poll() is None, command.process.communicate()
    return command, [int(pid) for each in files for pid in each.read_text().split()]


def check_cancelled(project: Project, pids: list[int]) -> None:
    played = project.played(project.last_run())
    assert played.run.state is State.CANCELLED
    assert played.run.finished_at is not None
    assert played.run.failure is not None
    assert played.run.failure.reason == "cancelled"
    assert played.states["quick"] == "completed"
    assert played.states["polite"] == played.states["deaf"] == "cancelled"
    assert played.states.get("never", "skipped") == "skipped"
    assert (project.folder / "cleaned-up").exists()
    # They were killed, and go when their turn comes.
    wait_until(lambda: not any(map(is_alive, pids)), "the end of all that the steps started")
    wait_until(lambda: not processes_of(project.home), "the end of all processes")


@pytest.mark.parametrize("to", ["process", "group"])
def test_ctrl_c_cancels_long_before_the_steps_would_end(project: Project, to: str) -> None:
    command, pids = started(project)
    with command:
        began = time.monotonic()
        (command.signal if to == "process" else command.signal_group)(signal.SIGINT)
        assert command.wait() == 130
        assert time.monotonic() - began < SOON_S
        check_cancelled(project, pids)
        assert "cancelled" in command.stderr
        assert "Traceback" not in command.stderr


def test_a_plain_kill_cancels_too(project: Project) -> None:
    command, pids = started(project)
    with command:
        command.signal(signal.SIGTERM)
        assert command.wait() == 130
        check_cancelled(project, pids)


def test_a_second_ctrl_c_ends_the_client_at_once_and_its_workers_with_it(project: Project) -> None:
    command, pids = started(project)
    with command:
        command.signal(signal.SIGINT)
        wait_until((project.folder / "cleaned-up").exists, "the first one to be heard")
        began = time.monotonic()
        command.signal(signal.SIGINT)
        assert command.wait() == 130
        assert time.monotonic() - began < SOON_S
        assert "Traceback" not in command.stderr
        wait_until(lambda: not any(map(is_alive, pids)), "the end of all workers")


def test_another_process_cancels_a_run(project: Project) -> None:
    command, pids = started(project)
    with command:
        began = time.monotonic()
        with project.at_home():
            ended = past.cancel("waiting-1")
        assert time.monotonic() - began < SOON_S
        assert ended.state is State.CANCELLED
        assert command.wait() == 130
        check_cancelled(project, pids)
        with project.at_home(), pytest.raises(Conflict, match="is over"):
            past.cancel("waiting-1")


def test_a_run_is_cancelled_between_two_tries(project: Project) -> None:
    project.write(WAITING)
    with project.start("run", "pipeline.py:retrying") as command:
        wait_until(lambda: any(each.step == "between_tries" for each in records(project)))
        began = time.monotonic()
        command.signal(signal.SIGINT)
        assert command.wait() == 130
        assert time.monotonic() - began < SOON_S
    assert project.last_run().state is State.CANCELLED


def records(project: Project) -> list[object]:
    from tilth.records import StepRun

    try:
        return [each for each in project.records(StepRun) if each.state is State.FAILED]
    except Exception:
        return []


def test_a_cancelled_run_is_resumed(project: Project) -> None:
    project.copy("counted")
    (project.folder / "hold").touch()
    with project.start("run", "pipeline.py") as command:
        wait_until(lambda: "train-begins" in project.calls())
        command.signal(signal.SIGINT)
        assert command.wait() == 130
    (project.folder / "hold").unlink()
    played = project.resume("counted-1")
    assert played.run.state is State.COMPLETED
    assert project.calls().count("load") == 1
    assert project.calls().count("train-begins") == 2
    assert project.load("total") == {"squares": 14, "trained": 3.0}


def test_a_script_is_cancelled_like_a_command(project: Project) -> None:
    project.write(WAITING + '\n\n    if __name__ == "__main__":\n        waiting()\n')
    with project.start("pipeline.py", program=sys.executable) as command:
        wait_until((project.folder / "pids-deaf").exists)
        wait_until((project.folder / "pids-polite").exists)
        command.signal_group(signal.SIGINT)
        assert command.wait() != 0
        assert "was cancelled" in command.stderr
    assert project.last_run().state is State.CANCELLED
    wait_until(lambda: not processes_of(project.home), "the end of all processes")


MAIN = "from tilth.cli.main import main; print('main', flush=True); main()"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_ctrl_c_at_any_moment_leaves_no_run_behind_that_seems_to_go_on(project: Project, seed: int) -> None:
    project.copy("counted")
    rng = random.Random(seed)
    # Before its `main` is called, Python itself says that it was interrupted.
    with project.start("-c", MAIN, "run", "pipeline.py", program=sys.executable) as command:
        assert command.process.stdout is not None
        assert command.process.stdout.readline() == "main\n"
        if seed % 4:  # around the moment at which the run is recorded and its workers start
            wait_until(lambda: list(project.home.runs.glob("*/lease")))
            time.sleep(rng.uniform(0, 0.1))
        else:
            time.sleep(rng.uniform(0.01, 0.5))
        command.signal_group(signal.SIGINT)
        code = command.wait()
    # On a busy machine the interpreter may not have come to tilth's first line, and ends in its own way.
    assert code == 130 or (code == -signal.SIGINT and not project.home.root.exists())
    assert code != 130 or "Traceback" not in command.stderr
    wait_until(lambda: not processes_of(project.home), "the end of all processes")
    if project.home.database.exists():
        assert {each.state for each in project.records(Run)} <= {State.CANCELLED}
