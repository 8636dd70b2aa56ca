"""When steps run: side by side, within the machine's resources, again after a failure, and not at all."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import SOON_S, wait_until

from tilth.engine import events
from tilth.errors import SetupError
from tilth.records import StepRun

if TYPE_CHECKING:
    from tests.engine.play import Played, Project

SLEEPS = """
    import time
    from pathlib import Path

    from tilth import Resources, pipeline, step

    MEMORY = {memory}


    @step
    def sleep(name: str) -> float:
        with open("calls", "a") as file:
            file.write(f"{{name}}-begins\\n")
        time.sleep(0.2)
        with open("calls", "a") as file:
            file.write(f"{{name}}-ends\\n")
        return time.time()


    @step
    def meet(name: str, other: str) -> bool:
        Path(name).touch()
        deadline = time.monotonic() + 300
        while not Path(other).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return Path(other).exists()


    @pipeline
    def meeting():
        meet("a", "b")
        meet("b", "a")


    @pipeline
    def free():
        sleep("a")
        sleep("b")


    @pipeline(resources=Resources(memory=MEMORY))
    def all_of_the_memory():
        sleep("a")
        sleep("b")


    @pipeline
    def all_of_the_cores():
        sleep.with_options(resources=Resources(cpu=2))("a")
        sleep.with_options(resources=Resources(cpu=2))("b")


    @pipeline(resources=Resources(memory=MEMORY * 2))
    def more_than_there_is():
        sleep("a")


    @pipeline(resources=Resources(cpu=1000))
    def more_cores_than_there_are():
        sleep("a")


    @pipeline(resources=Resources(gpu=99))
    def more_gpus_than_there_are():
        sleep("a")
"""


@pytest.fixture
def sleeps(project: Project) -> Project:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    project.write(SLEEPS.format(memory=memory))
    return project


def overlap(project: Project) -> bool:
    """Whether the second step began before the first one ended."""
    return [each.partition("-")[2] for each in project.calls()] == ["begins", "begins", "ends", "ends"]


def test_independent_steps_run_side_by_side(sleeps: Project) -> None:
    played = sleeps.run("pipeline.py:meeting", workers=2)
    assert played.run.state.value == "completed"
    assert sleeps.load("meet") is True
    assert sleeps.load("meet_2") is True


def test_one_worker_runs_one_step_at_a_time(sleeps: Project) -> None:
    sleeps.run("pipeline.py:free", workers=1)
    assert not overlap(sleeps)


@pytest.mark.parametrize("pipeline", ["all_of_the_memory", "all_of_the_cores"])
def test_two_steps_that_each_ask_for_everything_do_not_overlap(sleeps: Project, pipeline: str) -> None:
    played = sleeps.run(f"pipeline.py:{pipeline}", workers=2)
    assert played.run.state.value == "completed"
    assert not overlap(sleeps)


@pytest.mark.parametrize(
    ("pipeline", "named"), [("more_than_there_is", "memory"), ("more_gpus_than_there_are", "gpu")]
)
def test_more_than_the_machine_has_is_refused_before_anything_runs(
    sleeps: Project, pipeline: str, named: str
) -> None:
    with pytest.raises(SetupError, match="cannot be placed on this machine") as refused:
        sleeps.run(f"pipeline.py:{pipeline}", workers=2)
    assert f"lower `{named}`" in refused.value.mend
    assert sleeps.calls() == []
    from tilth.records import Run

    assert sleeps.records(Run) == []


def test_more_cores_than_there_are_is_all_of_them(sleeps: Project) -> None:
    played = sleeps.run("pipeline.py:more_cores_than_there_are", workers=2)
    assert played.run.state.value == "completed"


RETRIES = """
    from pathlib import Path

    from tilth import Retry, get_step_context, pipeline, step


    @step(retry=Retry(2, delay="50ms", backoff=3))
    def fails_twice() -> int:
        attempt = get_step_context().attempt
        if attempt < 3:
            raise ConnectionError(f"attempt {attempt}")
        return attempt


    @step(retry=1)
    def never_works() -> int:
        raise ValueError("never")


    @step(retry=1)
    def dies_once() -> int:
        import os

        if get_step_context().attempt == 1:
            os._exit(3)
        return 1


    @step(retry=1)
    def item(number: int) -> int:
        if number == 1 and get_step_context().attempt == 1:
            raise ValueError("once")
        return number


    @pipeline(failure_mode="continue")
    def retries():
        fails_twice()
        dies_once()
        never_works.with_options(retry=Retry(1, delay=0))()
        item.with_options(retry=Retry(1, delay=0)).map([0, 1])
"""


def test_a_failed_step_is_tried_again_later_each_time(project: Project) -> None:
    project.write(RETRIES.replace("@step(retry=1)", "@step(retry=Retry(1, delay=0))"))
    played = project.run()
    tries = played.attempts("fails_twice")
    assert [(each.attempt, each.state.value) for each in tries] == [
        (1, "failed"),
        (2, "failed"),
        (3, "completed"),
    ]
    assert [each.failure.message for each in tries[:2] if each.failure] == ["attempt 1", "attempt 2"]
    delays = [
        each.delay_s
        for each in played.told
        if isinstance(each, events.StepRetrying) and each.step == "fails_twice"
    ]
    assert delays == pytest.approx([0.05, 0.15])
    assert [each.state.value for each in played.attempts("dies_once")] == ["failed", "completed"]
    assert [each.state.value for each in played.attempts("never_works")] == ["failed", "failed"]
    assert [each.state.value for each in played.items("item")] == ["completed", "completed"]
    assert played.states["item"] == "completed"
    assert played.run.failure is not None
    assert played.run.failure.message == "step `never_works`: never"


TIMEOUTS = """
    import time

    from tilth import Retry, pipeline, step


    @step(timeout="3000ms")
    def too_long() -> int:
        print("begun", flush=True)
        time.sleep(600)


    @step(timeout=3.0)
    def deaf() -> int:
        while True:
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                pass


    @step
    def other() -> int:
        time.sleep(0.5)
        return 1


    @pipeline(failure_mode="continue")
    def timeouts():
        too_long()
        deaf()
        other()
"""


def test_a_step_is_stopped_after_its_timeout_also_when_it_does_not_listen(project: Project) -> None:
    project.write(TIMEOUTS)
    began = time.monotonic()
    played = project.run(workers=3)
    assert time.monotonic() - began < SOON_S
    assert played.states == {"too_long": "failed", "deaf": "failed", "other": "completed"}
    for step in ("too_long", "deaf"):
        failure = played.steps[step].failure
        assert failure is not None
        assert (failure.reason, failure.message) == ("timeout", "it was stopped after its timeout of 3 s")
    assert played.lines("too_long") == ["begun"]


MODES = """
    import time
    from pathlib import Path

    from tilth import pipeline, step


    def note(text):
        with open("calls", "a") as file:
            file.write(text + "\\n")


    @step
    def fails() -> int:
        while not Path("calls").exists():  # until the other one runs
            time.sleep(0.01)
        raise ValueError("bad")


    @step
    def running() -> int:
        note("running-begins")
        while not Path("go").exists():  # until that is recorded
            time.sleep(0.01)
        note("running-ends")
        return 1


    @step
    def later(value: int) -> int:
        note("later")
        return value


    @step
    def downstream(value: int) -> int:
        note("downstream")
        return value


    @pipeline
    def modes():
        downstream(fails())
        later(running())
"""


def play(project: Project, mode: str) -> Played:
    """Let `running` go on when the failure is known, where it is to go on."""
    project.write(MODES)

    def let_go() -> None:
        wait_until(lambda: any(each.failure for each in recorded(project)), "the failure")
        (project.folder / "go").touch()

    watcher = threading.Thread(target=let_go)
    if mode != "fail_fast":
        watcher.start()
    played = project.run(failure_mode=mode, workers=2)
    if mode != "fail_fast":
        watcher.join()
    return played


def recorded(project: Project) -> list[StepRun]:
    return project.records(StepRun) if project.home.database.exists() else []


@pytest.mark.parametrize(
    ("mode", "states", "calls"),
    [
        (
            "fail_fast",
            {"fails": "failed", "downstream": "skipped", "running": "cancelled"},
            ["running-begins"],
        ),
        (
            "stop_new",
            {"fails": "failed", "downstream": "skipped", "running": "completed"},
            ["running-begins", "running-ends"],
        ),
        (
            "continue",
            {"fails": "failed", "downstream": "skipped", "running": "completed", "later": "completed"},
            ["running-begins", "running-ends", "later"],
        ),
    ],
)
def test_a_failure_means_for_the_others_what_the_failure_mode_says(
    project: Project, mode: str, states: dict[str, str], calls: list[str]
) -> None:
    played = play(project, mode)
    assert played.run.state.value == "failed"
    assert played.run.failure is not None
    assert played.run.failure.message == "step `fails`: bad"
    assert {name: state for name, state in played.states.items() if name in states} == states
    assert played.states.get("later", "skipped") in ("skipped", states.get("later"))
    assert project.calls() == calls


def failures(played: Played) -> dict[str, str]:
    return {each.step: each.failure.reason for each in played.records if each.failure}


def test_a_failed_run_says_which_steps_were_not_reached(project: Project) -> None:
    played = play(project, "continue")
    assert failures(played) == {"fails": "exception", "downstream": "upstream"}
