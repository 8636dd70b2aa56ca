"""Where a run meets what is around it: closed pipes, other loops, lost files, orders that cross."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import processes_of, wait_until

from tilth.artifact_stores import LocalArtifactStore
from tilth.client import runs as past
from tilth.records import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.play import Project


def lose(folder: Path) -> None:
    """Delete a stored artifact."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


def damage(folder: Path) -> None:
    """Write something else into a stored artifact."""
    for path in folder.iterdir():
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize("harm", [lose, damage])
@pytest.mark.parametrize("step", ["load[None]", "square[1]", "square[None]"])
def test_a_resumed_run_makes_again_what_was_lost_meanwhile(
    project: Project, step: str, harm: Callable[[Path], None]
) -> None:
    project.copy("counted")
    (project.folder / ".tilthignore").write_text("calls\nfail\n")
    (project.folder / "fail").touch()
    assert project.run(failure_mode="continue").run.state is State.FAILED
    harm(LocalArtifactStore(project.home.artifacts).path(project.digests()[f"{step}.output"]))
    (project.folder / "fail").unlink()
    played = project.resume("counted-1")
    assert played.run.state is State.COMPLETED
    assert project.load("total") == {"squares": 14, "trained": 3.0}


def test_steps_that_wait_for_room_when_a_run_stops_are_told_as_not_started(project: Project) -> None:
    project.write(
        """
        from tilth import pipeline, step

        @step
        def fails(number: int) -> int:
            if number == 0:
                raise ValueError("bad")
            return number

        @step
        def item(number: int) -> int:
            return number

        @pipeline
        def crowded():
            for each in range(5):
                fails(each)
            item.map([1, 2, 3])
        """
    )
    played = project.run(workers=1)
    assert played.run.state is State.FAILED
    assert list(played.states.values()) == ["failed"] + ["skipped"] * 5
    assert project.resume(played.run.name).run.state is State.FAILED


def test_a_reader_that_closes_its_end_does_not_break_the_run(project: Project) -> None:
    project.write(
        """
        from tilth import pipeline, step

        @step
        def chatty() -> int:
            for each in range(20_000):
                print("line", each)
            return 1

        @step
        def after(number: int) -> int:
            print("more")
            return number

        @pipeline
        def piped():
            after(chatty())
        """
    )
    with project.start("run", "pipeline.py") as command:
        assert command.process.stdout is not None
        command.process.stdout.readline()
        command.process.stdout.close()
        command.process.stdout = None
        command.wait()
    assert "Traceback" not in command.stderr
    assert project.last_run().state in (State.COMPLETED, State.CANCELLED)
    wait_until(lambda: not processes_of(project.home), "the end of all processes")


def test_a_pipeline_is_called_where_a_loop_runs_already(project: Project) -> None:
    path = project.write(
        """
        import asyncio

        from tilth import pipeline, step

        @step
        async def one() -> int:
            return 1

        @pipeline
        def notebook():
            one()

        async def main():
            run = notebook()
            print("state", run.state, run.steps["one"].outputs["output"].load())

        if __name__ == "__main__":
            asyncio.run(main())
        """
    )
    with project.start(str(path), program=sys.executable) as command:
        assert command.wait() == 0, command.stderr
    assert "state completed 1" in command.stdout


@pytest.mark.faults
def test_an_interrupted_run_can_be_cancelled_and_resumed_after_that(project: Project) -> None:
    project.copy("counted")
    (project.folder / "hold").touch()
    with project.start("run", "pipeline.py") as command:
        wait_until(lambda: "train-begins" in project.calls())
        command.kill()
    assert project.last_run().state is State.RUNNING
    with project.at_home():
        assert past.cancel("counted-1").state is State.CANCELLED
    (project.folder / "hold").unlink()
    assert project.resume("counted-1").run.state is State.COMPLETED


@pytest.mark.faults
def test_a_large_map_is_cancelled_at_once_and_resumed(project: Project) -> None:
    project.write(
        """
        import time
        from pathlib import Path

        from tilth import pipeline, step

        @step
        def item(number: int) -> int:
            with open("calls", "a") as file:
                file.write(f"{number}\\n")
            if number >= 20:
                while not Path("go").exists():
                    time.sleep(0.01)
            return number

        @step
        def total(items: list) -> int:
            return sum(items)

        @pipeline
        def wide():
            total(item.map(range(300)))
        """
    )
    with project.start("run", "pipeline.py") as command:
        wait_until(lambda: len(project.calls()) >= 22)
        command.signal(signal.SIGINT)
        assert command.wait() == 130
    played = project.played(project.last_run())
    assert played.states["item"] == "cancelled"
    done = {str(each.index) for each in played.items("item") if each.state is State.COMPLETED}
    assert len(done) == 20
    (project.folder / "go").touch()
    (project.folder / "calls").unlink()
    assert project.resume("wide-1").run.state is State.COMPLETED
    assert set(project.calls()).isdisjoint(done)
    assert project.load("total") == sum(range(300))


@pytest.mark.faults
def test_what_a_step_left_running_in_a_session_of_its_own_does_not_hold_the_run(project: Project) -> None:
    project.write(
        """
        import subprocess
        import sys

        from tilth import pipeline, step

        @step
        def daemon() -> int:
            code = "import os, time; open('daemon', 'w').write(str(os.getpid())); time.sleep(600)"
            subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
            return 1

        @step
        def after(number: int) -> int:
            return number

        @pipeline
        def daemons():
            after(daemon())
        """
    )
    played = project.run()
    assert played.run.state is State.COMPLETED
    assert any("left processes running" in each for each in played.notices)
    wait_until((project.folder / "daemon").exists)
    with contextlib.suppress(ProcessLookupError):
        os.kill(int((project.folder / "daemon").read_text()), signal.SIGKILL)


def test_a_step_that_takes_its_streams_away_harms_nobody(project: Project) -> None:
    project.write(
        """
        import os
        import sys

        from tilth import pipeline, step

        @step
        def closes() -> int:
            os.close(1)
            sys.stderr.close()
            return 1

        @step
        def after(number: int) -> int:
            print("heard")
            return number

        @pipeline
        def closing():
            after(closes())
        """
    )
    played = project.run()
    assert played.run.state is State.COMPLETED
    assert played.lines("after") == ["heard"]


def test_a_run_is_started_from_a_thread(project: Project) -> None:
    project.copy("counted")

    async def main() -> State:
        return (await asyncio.to_thread(project.run)).run.state

    assert asyncio.run(main()) is State.COMPLETED
