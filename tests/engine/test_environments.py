"""Steps in environments of their own, resolved from a folder of tiny wheels."""

from __future__ import annotations

import random
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import SOON_S, is_alive, processes_of, wait_until

from tilth.engine import events
from tilth.engine.driver import Driver
from tilth.environments import uv
from tilth.environments.files import remove_tree
from tilth.errors import DefinitionError, Unresolvable
from tilth.records import Environment, Run, State, StepRun

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.play import Project

pytestmark = pytest.mark.usefixtures("only_the_index")

EXCLUDING = """
    import os
    import sys

    from tilth import Environment, pipeline, step

    old = Environment("old", requirements=["alpha==1.0"], variables={"GREETING": "hello"})
    new = Environment("new", requirements=["alpha==2.0", "beta"])


    @step(environment=old)
    def one() -> list:
        import alpha

        return [alpha.VERSION, sys.prefix, os.environ.get("GREETING")]


    @step(environment=new)
    def two(before: list) -> list:
        import alpha
        import beta

        return [alpha.VERSION, sys.prefix, os.environ.get("GREETING"), before[0]]


    @step
    def client(last: list) -> list:
        return [sys.prefix, last[0]]


    @pipeline
    def excluding():
        client(two(one()))
"""


def test_two_steps_pin_versions_that_exclude_each_other(project: Project) -> None:
    project.write(EXCLUDING)
    played = project.run()
    assert played.run.state.value == "completed"
    one, two, client = project.load("one"), project.load("two"), project.load("client")
    assert (one[0], two[0], client[1]) == ("1.0", "2.0", "2.0")
    assert len({one[1], two[1], client[0]}) == 3
    assert (one[2], two[2], two[3]) == ("hello", None, "1.0")
    assert set(played.run.environments) == {"old", "new"}
    assert played.steps["one"].environment == played.run.environments["old"]
    packages = {
        each.name: {package.name: package.version for package in each.packages}
        for each in project.records(Environment)
        if each.role == "execution"
    }
    assert packages == {"old": {"alpha": "1.0"}, "new": {"alpha": "2.0", "beta": "1.0"}}


def test_an_environment_is_locked_and_made_once(project: Project) -> None:
    project.write(EXCLUDING)

    def made(told: list[events.Event]) -> list[tuple[str, bool, bool]]:
        return sorted(
            (each.name, each.locked, each.created)
            for each in told
            if isinstance(each, events.EnvironmentReady)
        )

    assert made(project.run().told) == [("new", True, True), ("old", True, True)]
    again = project.run(cache=False, offline=True)
    assert made(again.told) == [("new", False, False), ("old", False, False)]
    assert project.run().states == {"one": "cached", "two": "cached", "client": "cached"}


def test_another_version_runs_its_steps_and_is_named(project: Project) -> None:
    project.write(EXCLUDING)
    project.run()
    project.write(EXCLUDING.replace('["alpha==1.0"]', '["alpha==1.0", "beta"]'))
    played = project.run()
    reason = played.steps["one"].cache_reason
    assert "environment `old` changed" in reason


WRITING = """
    from pathlib import Path

    from tilth import Environment, pipeline, step

    own = Environment("own", requirements=["alpha==1.0"])


    @step(environment=own, cache=False)
    def writes(how: str) -> str:
        import alpha

        path = Path(alpha.__file__)
        if how == "new":
            (path.parent / "alpha_cache.txt").write_text("left")
        if how == "changed":
            path.unlink()
            path.write_text("VERSION = 'hacked'\\n")
        return alpha.VERSION


    @pipeline
    def writing(how: str = "not"):
        writes(how)
"""


@pytest.mark.parametrize("how", ["new", "changed"])
def test_a_step_that_writes_into_its_environment_is_found_and_the_environment_remade(
    project: Project, how: str
) -> None:
    project.write(WRITING)
    assert project.run().notices == []
    played = project.run(how=how)
    if played.run.state.value == "failed":  # a file system that protects what is in use is as good
        failure = played.steps["writes"].failure
        assert failure is not None
        assert failure.type == "PermissionError"
        return
    (notice,) = played.notices
    assert "environment `own` was changed by a step" in notice
    assert "made anew" in notice
    after = project.run()
    assert after.notices == []
    assert [each.created for each in after.told if isinstance(each, events.EnvironmentReady)] == [True]
    assert project.load("writes") == "1.0"


def test_requirements_that_exclude_each_other_are_told_before_anything_runs(project: Project) -> None:
    project.write(EXCLUDING.replace('"alpha==2.0", "beta"', '"alpha==2.0", "alpha==1.0"'))
    with pytest.raises(Unresolvable) as refused:
        project.run()
    assert "new" in refused.value.summary
    assert "alpha" in refused.value.why
    assert len(str(refused.value).splitlines()) < 15
    assert project.records(Run) == []


def test_a_requirement_that_does_not_exist_is_told_by_name(project: Project) -> None:
    project.write(EXCLUDING.replace('"beta"', '"no-such-thing"'))
    with pytest.raises(Unresolvable) as refused:
        project.run()
    assert "no-such-thing" in str(refused.value)
    assert len(str(refused.value).splitlines()) < 15


def test_an_import_that_the_environment_lacks_is_told_before_anything_runs(project: Project) -> None:
    project.write(EXCLUDING.replace(', "beta"]', "]"))
    with pytest.raises(DefinitionError, match="step `two` imports `beta`"):
        project.run()
    assert project.records(Run) == []


def test_a_plan_makes_nothing_and_says_what_would_be_made(project: Project) -> None:
    project.write(EXCLUDING)
    planned = project.plan()
    assert planned["one"].reason == "environment `old` is not locked yet"
    assert not project.home.environments.exists()


def test_an_environment_that_cannot_be_made_fails_its_steps_with_the_reason(
    project: Project, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(EXCLUDING)
    project.run()
    for folder in (project.home.environments, project.home.wheels):
        for path in [folder, *folder.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)
    monkeypatch.setenv("UV_CACHE_DIR", str(project.folder / "empty"))
    wheel = next(index.glob("alpha-1.0*"))
    away = wheel.rename(wheel.with_suffix(".away"))
    try:
        played = project.run(cache=False)
    finally:
        away.rename(wheel)
    failure = played.steps["one"].failure
    assert failure is not None
    assert failure.reason == "environment"
    assert "`old`" in failure.message
    assert "alpha" in failure.message
    assert played.states["two"] == "skipped"
    assert project.resume(played.run.name).run.state.value == "completed"


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_client_killed_while_environments_are_locked_and_made_leaves_nothing_half_made(
    project: Project, seed: int
) -> None:
    project.write(EXCLUDING)
    rng = random.Random(seed)
    for _ in range(3):
        with project.start("run", "pipeline.py") as command:
            time.sleep(rng.uniform(0.1, 1.2))
            command.kill()
        wait_until(lambda: not processes_of(project.home), "the end of all processes")
    for run in project.records(Run):
        if run.state is State.RUNNING:
            assert project.resume(run.name).run.state is State.COMPLETED
    assert project.run().run.state is State.COMPLETED
    assert [project.load("one")[0], project.load("two")[0]] == ["1.0", "2.0"]
    assert project.run(cache=False).notices == []


SLOW_UV = """#!/bin/sh
case "$2" in {slow}) echo $$ > {began}.new; mv {began}.new {began}; exec sleep 600;; esac
exec {uv} "$@"
"""


@pytest.mark.faults
@pytest.mark.parametrize("while_", ["locking", "imports are checked", "steps run"])
def test_ctrl_c_while_an_environment_is_made_ends_all_long_before_it_is_made(
    project: Project, tmp_path_factory: pytest.TempPathFactory, while_: str
) -> None:
    project.write(EXCLUDING)
    if while_ == "steps run":
        project.run()
        for folder in (project.home.environments, project.home.wheels):
            remove_tree(folder)
    shim = tmp_path_factory.mktemp("shim")
    began, script = shim / "began", shim / "slow-uv"
    slow = "compile" if while_ == "locking" else "sync"
    script.write_text(SLOW_UV.format(slow=slow, began=began, uv=uv.binary()))
    script.chmod(0o755)
    (shim / "uv.py").write_text(f"def find_uv_bin():\n    return {str(script)!r}\n")
    with project.start("run", "pipeline.py", "--no-cache", env={"PYTHONPATH": str(shim)}) as command:
        wait_until(began.exists, "uv")
        clock = time.monotonic()
        command.signal(signal.SIGINT)
        assert command.wait() == 130
        assert time.monotonic() - clock < SOON_S
    wait_until(lambda: not is_alive(int(began.read_text())), "the end of uv")
    wait_until(lambda: not processes_of(project.home), "the end of all processes")
    states = [each.state for each in project.records(Run)]
    assert states == ([State.COMPLETED, State.CANCELLED] if while_ == "steps run" else [])


def test_what_ran_in_an_environment_that_was_changed_is_not_reused(project: Project) -> None:
    project.write(WRITING.replace(", cache=False", ""))
    first = project.run(how="new")
    if first.run.state is State.FAILED:
        pytest.skip("this file system protects environments from being written to")
    again = project.run(how="new")
    assert again.states == {"writes": "completed"}
    assert again.steps["writes"].cache_reason == "a step changed its environment the last time"


SHARED = """
    import time
    from pathlib import Path

    from tilth import Environment, pipeline, step

    own = Environment("own", requirements=["alpha==1.0"])


    @step(environment=own)
    def begins() -> str:
        import alpha

        Path("began").touch()
        while not Path("go").exists():
            time.sleep(0.01)
        return alpha.VERSION


    @step(environment=own, worker="fresh")
    def goes_on(before: str) -> str:
        import alpha

        return alpha.VERSION + before


    @pipeline
    def shared():
        goes_on(begins())


    @step(environment=own, cache=False)
    def writes(die: bool) -> None:
        import alpha

        (Path(alpha.__file__).parent / "left.txt").write_text("left")
        Path("wrote").touch()
        while die:
            time.sleep(0.01)


    @step(environment=own)
    def first() -> int:
        import alpha

        with open("calls", "a") as file:
            file.write("first\\n")
        return 1


    @pipeline
    def writing(die: bool = False):
        writes(die, after=first())
"""


@pytest.mark.faults
def test_a_run_that_writes_into_an_environment_does_not_break_another_that_uses_it(project: Project) -> None:
    project.write(SHARED)
    with project.start("run", "pipeline.py:shared") as command:
        wait_until((project.folder / "began").exists, "the first step")
        played = project.run("pipeline.py:writing")
        if played.run.state is State.FAILED:
            pytest.skip("this file system protects environments from being written to")
        (notice,) = played.notices
        assert "environment `own` was changed by a step" in notice
        assert "made anew when no other run uses it" in notice
        (project.folder / "go").touch()
        assert command.wait() == 0, command.stderr
    assert "environment `own` was changed by a step" in command.stderr
    again = project.run("pipeline.py:shared")
    assert again.states == {"begins": "completed", "goes_on": "completed"}
    assert again.notices == []


def test_what_ran_before_in_an_environment_that_another_run_changed_is_not_reused(project: Project) -> None:
    project.write(SHARED)
    (project.folder / "go").touch()
    assert project.run("pipeline.py:shared").run.state is State.COMPLETED
    if project.run("pipeline.py:writing").run.state is State.FAILED:
        pytest.skip("this file system protects environments from being written to")
    assert project.run("pipeline.py:shared").states == {"begins": "completed", "goes_on": "completed"}
    assert project.run("pipeline.py:shared").states == {"begins": "cached", "goes_on": "cached"}


@pytest.mark.faults
def test_what_a_killed_run_wrote_into_its_environment_is_found_when_it_is_resumed(project: Project) -> None:
    project.write(SHARED)
    with project.start("run", "pipeline.py:writing", "--param", "die=true") as command:
        wait_until(lambda: (project.folder / "wrote").exists() or command.process.poll() is not None)
        if command.process.poll() is not None:
            pytest.skip("this file system protects environments from being written to")
        wait_until(lambda: "first" in [each.step for each in project.records(StepRun) if each.state.is_good])
        command.kill()
    wait_until(lambda: not processes_of(project.home), "the end of all processes")
    with project.start("runs", "resume", "writing-1") as command:
        wait_until(lambda: project.calls() == ["first", "first"], "the first step again")
        command.signal(signal.SIGINT)
        assert command.wait() == 130
    assert "environment `own` was changed by a step" in command.stderr


def test_what_a_step_wrote_is_found_when_its_driver_breaks(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(SHARED)

    def broken(driver: Driver) -> Run:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "_finish", broken)
        with pytest.raises(RuntimeError, match="broken"):
            project.run("pipeline.py:writing")
    if any(each.state is State.FAILED for each in project.records(StepRun)):
        pytest.skip("this file system protects environments from being written to")
    assert list((project.home.environments / ".quarantine").iterdir())
