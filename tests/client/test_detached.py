"""Runs that a driver in the background goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.engine.conftest import project as project
from tests.engine.play import processes_of, wait_until

from tilth.records import State

if TYPE_CHECKING:
    from tests.engine.play import Project


@pytest.fixture
def counted(project: Project) -> Project:
    project.copy("counted")
    (project.folder / ".tilthignore").write_text("calls\nhold\nfail\n")
    return project


def test_a_detached_run_outlives_the_command_that_started_it(counted: Project) -> None:
    (counted.folder / "hold").touch()
    with counted.start("run", "--detach", "pipeline.py") as command:
        assert command.wait() == 0
    assert "goes on in the background" in command.stderr
    assert counted.last_run().state is State.RUNNING
    wait_until(lambda: "train-begins" in counted.calls())
    (counted.folder / "hold").unlink()
    wait_until(lambda: counted.last_run().state is State.COMPLETED)
    wait_until(lambda: not processes_of(counted.home))


def test_a_module_of_the_project_does_not_stand_in_for_one_that_the_driver_imports(counted: Project) -> None:
    for name in ("json", "msgspec", "secrets"):
        (counted.folder / f"{name}.py").write_text("raise RuntimeError('this is the project')\n")
    with counted.start("run", "--detach", "pipeline.py") as command:
        assert command.wait() == 0, command.stderr
    wait_until(lambda: counted.last_run().state is State.COMPLETED)


def test_a_detached_run_is_cancelled_as_any_other(counted: Project) -> None:
    (counted.folder / "hold").touch()
    with counted.start("run", "--detach", "pipeline.py") as command:
        assert command.wait() == 0
    wait_until(lambda: "train-begins" in counted.calls())
    with counted.start("runs", "cancel", counted.last_run().name) as command:
        assert command.wait() == 0
    wait_until(lambda: counted.last_run().state is State.CANCELLED)
    wait_until(lambda: not processes_of(counted.home))


def test_a_detached_run_is_not_for_a_debugger(counted: Project) -> None:
    with counted.start("run", "--detach", "--in-process", "pipeline.py") as command:
        assert command.wait() == 2
    assert "exclude each other" in command.stderr
