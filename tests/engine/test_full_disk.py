"""A home folder on a small disk that fills up: a clear error, nothing lost, and on it goes after room is made."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import Project, wait_until

from tilth.home import Home
from tilth.records import Run, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.faults


@dataclass
class Disk:
    """A small disk of its own in memory."""

    folder: Path

    def fill(self, leave: int = 0) -> None:
        """Take all but so many bytes."""
        status = os.statvfs(self.folder)
        size = status.f_bavail * status.f_frsize - leave
        with open(self.folder / "filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def empty(self) -> None:
        """Make room again."""
        (self.folder / "filler").unlink(missing_ok=True)

    def grow(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=256m", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tilth-test", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no disk can be mounted here")
    yield Disk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small(disk: Disk, tmp_path: Path) -> Project:
    """A project whose home is on the small disk."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tilth.toml").touch()
    return Project(folder, Home(disk.folder / "home"))


LARGE = """
    import os
    import time
    from pathlib import Path

    from tilth import pipeline, step


    def note(text):
        with open("calls", "a") as file:
            file.write(text + "\\n")


    @step
    def first() -> int:
        note("first")
        return 1


    @step
    def large(value: int, size: int) -> bytes:
        note("large")
        while Path("hold").exists():
            time.sleep(0.01)
        return bytes([value]) * size


    @step
    def count(data: bytes) -> int:
        return len(data)


    @pipeline
    def filling(size: int = 40_000_000):
        count(large(first(), size))
"""


def test_an_artifact_that_does_not_fit_fails_its_step_and_the_run_goes_on_after_room_is_made(
    small: Project, disk: Disk
) -> None:
    small.write(LARGE)
    played = small.run()
    assert played.run.state is State.FAILED
    failure = played.steps["large"].failure
    assert failure is not None
    assert failure.reason == "disk_full"
    assert "no space left" in failure.message
    assert played.states == {"first": "completed", "large": "failed", "count": "skipped"}
    disk.grow()
    resumed = small.resume(played.run.name)
    assert resumed.run.state is State.COMPLETED
    assert small.calls() == ["first", "large", "large"]
    assert small.load("count") == 40_000_000


@pytest.mark.parametrize("leave", [0, 4096, 40_000])
def test_records_that_cannot_be_written_end_the_client_clearly_and_lose_nothing(
    small: Project, disk: Disk, leave: int
) -> None:
    small.write(LARGE)
    (small.folder / "hold").touch()
    with small.start("run", "pipeline.py", "--param", "size=1000") as command:
        wait_until(lambda: "large" in small.calls())
        wait_until(lambda: small.played(small.last_run()).states.get("first") == "completed")
        disk.fill(leave)
        (small.folder / "hold").unlink()
        code = command.wait()
    disk.empty()
    assert code in (0, 1)
    if code:
        assert "Traceback" not in command.stderr
        assert "error: " in command.stderr
        assert "space" in command.stderr or "full" in command.stderr
        assert len(command.stderr.splitlines()) < 20
        assert small.resume("filling-1").run.state is State.COMPLETED
    assert small.calls().count("first") == 1
    assert small.load("count") == 1000
    assert small.run(size=1000).states == {"first": "cached", "large": "cached", "count": "cached"}


def test_a_disk_that_is_full_from_the_start_is_told_in_a_few_lines(small: Project, disk: Disk) -> None:
    small.write(LARGE)
    disk.fill()
    with small.start("run", "pipeline.py", "--param", "size=1000") as command:
        assert command.wait() == 1
    assert "Traceback" not in command.stderr
    assert "error: " in command.stderr
    assert "space" in command.stderr or "full" in command.stderr
    assert len(command.stderr.splitlines()) < 10
    disk.empty()
    assert small.run(size=1000).run.state is State.COMPLETED


@pytest.mark.usefixtures("only_the_index")
def test_an_environment_that_does_not_fit_fails_its_step_and_leaves_no_half_of_one(
    small: Project, disk: Disk
) -> None:
    small.write(
        """
        from tilth import Environment, pipeline, step

        @step(environment=Environment("wide", requirements=["roomy"]))
        def uses() -> int:
            import roomy

            return len((roomy.__path__))

        @pipeline
        def wide():
            uses()
        """
    )
    with small.start("run", "pipeline.py") as command:
        assert command.wait() == 1
    assert "Traceback" not in command.stderr
    assert "space" in command.stderr
    assert len(command.stderr.splitlines()) < 20, command.stderr
    disk.grow()
    if runs := small.records(Run):
        assert small.resume(runs[0].name).run.state is State.COMPLETED
    assert small.run().run.state is State.COMPLETED
    assert small.load("uses") == 1
