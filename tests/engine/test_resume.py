"""Runs whose client was killed, that failed or were cancelled, and what finishes them."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import Project, is_alive, processes_of, wait_until

from tilth.artifact_stores import LocalArtifactStore
from tilth.errors import Conflict, SetupError, TilthError
from tilth.home import Home
from tilth.records import CodeBundle, Environment, Run, State, StepRun
from tilth.store.sql import SqlStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.engine.play import Command

pytestmark = pytest.mark.faults

STEPS = {"load", "train", "total", "square0", "square1", "square2", "square3"}


@pytest.fixture
def counted(project: Project) -> Project:
    project.copy("counted")
    (project.folder / ".tilthignore").write_text("calls\nhold\nfail\n")
    return project


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The digests of all outputs of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "tilth.toml").touch()
    project = Project(folder, Home(tmp_path_factory.mktemp("home") / "tilth"))
    project.copy("counted")
    assert project.run().run.state is State.COMPLETED
    return project.digests()


def held(project: Project) -> Project:
    """Let the run wait inside `train`, when all that can be done before it is done."""
    (project.folder / "hold").touch()
    return project


def test_what_completed_before_a_kill_is_not_repeated(
    counted: Project, undisturbed: Mapping[str, str]
) -> None:
    with held(counted).start("run", "pipeline.py") as command:
        wait_until(lambda: STEPS - set(counted.calls()) == {"train", "total"})
        wait_until(lambda: sum(each.state is State.COMPLETED for each in counted.records(StepRun)) >= 6)
        workers = [each for each in processes_of(counted.home) if each != command.process.pid]
        assert workers
        command.kill()
    wait_until(lambda: not any(map(is_alive, workers)), "the end of the workers")
    assert counted.last_run().state is State.RUNNING
    (counted.folder / "hold").unlink()
    played = counted.resume("counted-1")
    assert played.run.state is State.COMPLETED
    assert played.run.fence == 2
    assert Counter(counted.calls()) == Counter(
        {**dict.fromkeys(STEPS, 1), **{f"{each}-begins": 1 for each in STEPS}, "train-begins": 2}
    )
    assert [each.state.value for each in played.attempts("train")] == ["cancelled", "completed"]
    assert counted.digests() == undisturbed
    assert not (counted.home.runs / played.run.id / "steps").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_run_killed_again_and_again_ends_like_an_undisturbed_one(
    counted: Project, undisturbed: Mapping[str, str], seed: int
) -> None:
    rng = random.Random(seed)
    arguments = ["run", "pipeline.py"]
    durable: dict[str, int] = {}  # step -> how often it had been begun when it was first seen recorded
    kills = 0
    while not any(each.state is State.COMPLETED for each in recorded(counted, Run)):
        with counted.start(*arguments, env={"STEP_S": "0.06"}) as command:
            if kills < 8:
                strike(command, counted, rng)
                kills += 1
            else:
                assert command.wait() == 0, command.stderr
        wait_until(lambda: not processes_of(counted.home), "the end of the workers")
        if runs := recorded(counted, Run):
            arguments = ["runs", "resume", runs[0].name]
        for each in recorded(counted, StepRun):
            if each.state is State.COMPLETED:
                name = f"{each.step}{'' if each.index is None else each.index}"
                durable.setdefault(name, begun(counted)[name])
    (run,) = counted.records(Run)
    assert run.state is State.COMPLETED
    assert run.fence <= kills + 1
    assert counted.digests() == undisturbed
    assert set(begun(counted)) == STEPS
    assert {name: begun(counted)[name] for name in durable} == durable


def strike(command: Command, project: Project, rng: random.Random) -> None:
    """Kill the client while it starts, or a moment after a few more calls."""
    calls = len(project.calls())
    more = rng.choice([0, 0, 1, 2, 3, 5])
    while len(project.calls()) < calls + more and command.process.poll() is None:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.08 if more else 0.5))
    command.kill()


def begun(project: Project) -> Counter[str]:
    return Counter(each.removesuffix("-begins") for each in project.calls() if each.endswith("-begins"))


def recorded(project: Project, kind: type) -> list:  # type: ignore[type-arg]
    if not project.home.database.exists():
        return []
    with contextlib.suppress(TilthError):
        return project.records(kind)
    return []


def test_a_step_that_had_returned_is_not_called_again_though_it_was_not_recorded(
    counted: Project, undisturbed: Mapping[str, str]
) -> None:
    """A client stopped dead while its workers go on: what they finish is taken over from their folders."""
    import signal

    with held(counted).start("run", "pipeline.py") as command:
        wait_until(lambda: "train-begins" in counted.calls())
        wait_until(lambda: sum(each.state is State.COMPLETED for each in counted.records(StepRun)) >= 6)
        command.signal(signal.SIGSTOP)
        (counted.folder / "hold").unlink()
        wait_until(lambda: "train" in counted.calls())
        (run,) = counted.records(Run)
        results = counted.home.runs / run.id / "steps" / "train.1" / "result.json"
        wait_until(results.exists)
        command.kill()
    wait_until(lambda: not processes_of(counted.home))
    played = counted.resume("counted-1")
    assert played.run.state is State.COMPLETED
    assert Counter(counted.calls())["train-begins"] == 1
    assert played.steps["train"].metadata == {"rows": 4}
    assert counted.digests() == undisturbed


def test_a_torn_result_is_made_again(counted: Project, undisturbed: Mapping[str, str]) -> None:
    import signal

    with held(counted).start("run", "pipeline.py") as command:
        wait_until(lambda: "train-begins" in counted.calls())
        wait_until(lambda: sum(each.state is State.COMPLETED for each in counted.records(StepRun)) >= 6)
        command.signal(signal.SIGSTOP)
        (counted.folder / "hold").unlink()
        (run,) = counted.records(Run)
        attempt = counted.home.runs / run.id / "steps" / "train.1"
        wait_until((attempt / "result.json").exists)
        command.kill()
    wait_until(lambda: not processes_of(counted.home))
    (output,) = (attempt / "outputs").iterdir()
    data = next(each for each in output.iterdir() if each.name != "artifact.json")
    data.chmod(0o644)
    os.truncate(data, 1)
    played = counted.resume("counted-1")
    assert played.run.state is State.COMPLETED
    assert Counter(counted.calls())["train-begins"] == 2
    assert counted.digests() == undisturbed


def test_resume_refuses_while_the_driver_lives(counted: Project) -> None:
    with held(counted).start("run", "pipeline.py") as command:
        wait_until(lambda: "train-begins" in counted.calls())
        with pytest.raises(Conflict, match="is being driven by another process") as refused:
            counted.resume("counted-1")
        assert str(command.process.pid) in str(refused.value)
        (counted.folder / "hold").unlink()
        assert command.wait() == 0


def test_of_two_that_resume_at_once_one_wins(counted: Project) -> None:
    with held(counted).start("run", "pipeline.py") as command:
        wait_until(lambda: "train-begins" in counted.calls())
        command.kill()
    with (
        counted.start("runs", "resume", "counted-1") as first,
        counted.start("runs", "resume", "counted-1") as second,
    ):
        both = [first, second]
        wait_until(lambda: any(each.process.poll() is not None for each in both))
        (counted.folder / "hold").unlink()
        codes = sorted(each.wait() for each in both)
    assert codes == [0, 1]
    loser = next(each for each in both if each.process.returncode)
    assert "is being driven by another process" in loser.stderr
    assert Counter(counted.calls())["train-begins"] == 2
    assert counted.last_run().fence == 2


def test_a_completed_run_is_not_resumed(counted: Project) -> None:
    counted.run()
    with pytest.raises(Conflict, match="has completed"):
        counted.resume("counted-1")


def test_resume_goes_on_with_the_code_the_run_began_with(
    counted: Project, undisturbed: Mapping[str, str]
) -> None:
    with held(counted).start("run", "pipeline.py") as command:
        wait_until(lambda: STEPS - set(counted.calls()) == {"train", "total"})
        command.kill()
    (counted.folder / "hold").unlink()
    counted.write("def combine(squares, trained):\n    return {'changed': 1.0}\n", "helper.py")
    played = counted.resume("counted-1")
    assert played.run.state is State.COMPLETED
    assert any(
        "`helper.py`" in each and "goes on with the code it was started with" in each
        for each in played.notices
    )
    assert counted.digests() == undisturbed
    assert counted.load("total") == {"squares": 14, "trained": 3.0}


def test_resume_works_when_the_project_is_gone(counted: Project) -> None:
    with held(counted).start("run", "pipeline.py") as command:
        wait_until(lambda: "train-begins" in counted.calls())
        command.kill()
    wait_until(lambda: not processes_of(counted.home))
    for path in counted.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    played = counted.resume("counted-1")
    assert played.run.state is State.COMPLETED
    assert counted.load("total") == {"squares": 14, "trained": 3.0}


def test_a_failed_run_goes_on_from_the_failed_step_when_what_it_needs_is_mended(counted: Project) -> None:
    (counted.folder / "fail").touch()
    failed = counted.run(failure_mode="continue")
    assert failed.run.state is State.FAILED
    assert failed.states["total"] == "skipped"
    (counted.folder / "fail").unlink()
    (counted.folder / "calls").unlink()
    played = counted.resume("counted-1")
    assert played.run.state is State.COMPLETED
    assert played.run.failure is None
    assert [each for each in counted.calls() if not each.endswith("-begins")] == ["train", "total"]
    assert [(each.attempt, each.state.value) for each in played.attempts("train")] == [
        (1, "failed"),
        (2, "completed"),
    ]


@pytest.mark.parametrize("cache", [None, False])
def test_a_completed_step_whose_output_was_damaged_since_is_made_again(
    counted: Project, undisturbed: Mapping[str, str], cache: bool | None
) -> None:
    (counted.folder / "fail").touch()
    counted.run(failure_mode="continue")
    digest = counted.digests()["load[None].output"]
    folder = LocalArtifactStore(counted.home.artifacts).path(digest)
    for data in folder.iterdir():
        if data.name != "artifact.json":
            data.chmod(0o644)
            data.write_bytes(bytes(data.stat().st_size))  # as large as before
    (counted.folder / "fail").unlink()
    (counted.folder / "calls").unlink()
    played = counted.resume("counted-1", cache=cache)
    assert played.run.state is State.COMPLETED
    assert "load" in counted.calls()
    (notice,) = played.notices
    assert "stored output `output` of step `load` is damaged" in notice
    assert "the damaged files are in" in notice
    assert counted.digests() == undisturbed
    assert LocalArtifactStore(counted.home.artifacts).verify(digest) == []


def test_a_run_that_was_to_reuse_nothing_reuses_nothing_when_it_is_resumed(counted: Project) -> None:
    counted.run()
    (counted.folder / "fail").touch()
    failed = counted.run(cache=False)
    assert failed.run.options["cache"] is False
    (counted.folder / "fail").unlink()
    played = counted.resume(failed.run.name)
    assert [each.state.value for each in played.attempts("train")] == ["failed", "completed"]


def test_a_run_may_fail_again_after_it_is_resumed(counted: Project) -> None:
    (counted.folder / "fail").touch()
    counted.run()
    played = counted.resume("counted-1")
    assert played.run.state is State.FAILED
    assert [each.attempt for each in played.attempts("train")] == [1, 2]
    (counted.folder / "fail").unlink()
    assert counted.resume("counted-1").run.state is State.COMPLETED


def test_a_failed_item_alone_is_run_again(project: Project) -> None:
    project.write(
        """
        from pathlib import Path
        from tilth import pipeline, step

        @step
        def item(number: int) -> int:
            with open("calls", "a") as file:
                file.write(f"{number}\\n")
            if number == 2 and not Path("mended").exists():
                raise ValueError("two")
            return number

        @step
        def total(items: list) -> int:
            return sum(items)

        @pipeline(failure_mode="continue")
        def mapped():
            total(item.map([0, 1, 2, 3]))
        """
    )
    assert project.run().run.state is State.FAILED
    (project.folder / "mended").touch()
    (project.folder / "calls").unlink()
    played = project.resume("mapped-1")
    assert played.run.state is State.COMPLETED
    assert project.calls() == ["2"]
    assert project.load("total") == 6


def test_a_run_whose_interpreter_is_gone_says_so(counted: Project) -> None:
    import sys

    other = counted.folder / "python"
    other.symlink_to(sys.executable)
    (counted.folder / "fail").touch()
    counted.run(python=str(other))
    other.unlink()
    with pytest.raises(SetupError, match="interpreter that run `counted-1` was started with is gone"):
        counted.resume("counted-1")


def test_a_file_changed_after_the_compile_fails_its_steps_clearly(counted: Project) -> None:
    held(counted)

    def change() -> None:
        wait_until(lambda: STEPS - set(counted.calls()) == {"train", "total"})
        counted.write("def combine(squares, trained):\n    return {'changed': 1.0}\n", "helper.py")
        (counted.folder / "hold").unlink()

    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(change)
        played = counted.run()
        changed.result()
    assert played.run.state is State.FAILED
    failure = played.steps["total"].failure
    assert failure is not None
    assert failure.reason == "changed"
    assert failure.message == "`helper.py` was changed after the pipeline was compiled"
    assert "total-begins" not in counted.calls()


def test_runs_of_one_home_at_the_same_time_do_not_disturb_each_other(counted: Project) -> None:
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(counted.start("run", "pipeline.py", "--param", f"count={count}"))
            for count in (4, 4, 4, 5, 5)
        ]
        codes = [each.wait() for each in started]
    assert codes == [0] * 5, "\n\n".join(each.stderr for each in started)
    runs = counted.records(Run)
    assert sorted(each.number for each in runs) == [1, 2, 3, 4, 5]
    assert {each.state for each in runs} == {State.COMPLETED}
    outputs = {
        (each.run, each.outputs["output"].digest)
        for each in counted.records(StepRun)
        if each.step == "total" and each.state.is_good
    }
    assert len({digest for _, digest in outputs}) == 2
    again = counted.run()
    assert set(again.states.values()) == {"cached"}


def test_a_run_is_listed_only_when_all_it_names_is_recorded(
    counted: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_run = SqlStore.start_run

    def watched(store: SqlStore, run: Run) -> Run:
        assert run.client is not None
        store.get(CodeBundle, run.bundle)
        store.get(Environment, run.client.environment)
        for digest in run.environments.values():
            store.get(Environment, digest)
        return start_run(store, run)

    monkeypatch.setattr(SqlStore, "start_run", watched)
    assert counted.run().run.state is State.COMPLETED


def test_a_client_that_starts_while_another_drives_lists_its_run(counted: Project) -> None:
    with held(counted).start("run", "pipeline.py") as command:
        wait_until(lambda: "train-begins" in counted.calls())
        wait_until(lambda: counted.played(counted.last_run()).states.get("load") == "completed")
        assert counted.last_run().state is State.RUNNING
        (counted.folder / "hold").unlink()
        assert command.wait() == 0
    assert threading.active_count() < 20


def test_a_run_in_the_client_s_process_is_resumed_outside_it(project: Project) -> None:
    project.write(
        """
        import os
        from pathlib import Path
        from tilth import pipeline, step

        @step
        def train() -> int:
            assert Path("mended").exists()
            return os.getpid()

        @pipeline
        def apart():
            train()
        """
    )
    with project.start("run", "pipeline.py", "--in-process") as command:
        assert command.wait() == 1
    (project.folder / "mended").touch()
    assert project.resume("apart-1").run.state is State.COMPLETED
    assert project.load("train") != os.getpid()
