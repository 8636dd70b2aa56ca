"""How a step may end, each told as exactly that; others are not harmed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import wait_until, workers_of

from tilth.records import Failure, State, StepRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engine.play import Played, Project

ENDINGS = """
    import os
    import signal
    import sys
    import time
    from typing import Annotated

    from tilth import Resources, pipeline, step

    # Each waits for a companion to run, which must not notice anything.
    def wait():
        while not os.path.exists("companion"):
            time.sleep(0.01)


    @step
    def companion() -> str:
        open("companion", "w").close()
        deadline = time.monotonic() + 600
        while not os.path.exists("over") and time.monotonic() < deadline:
            time.sleep(0.01)
        return "unharmed"


    @step
    def raises(data: dict) -> int:
        wait()
        try:
            inner(data)
        except KeyError as error:
            raise ValueError("no column") from error


    def inner(data):
        return data["column"]


    @step
    def exits() -> int:
        sys.exit(3)


    @step
    def exits_hard() -> int:
        print("last words", flush=True)
        os._exit(7)


    @step
    def exits_hard_with_zero() -> int:
        os._exit(0)


    @step
    def is_killed() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)


    @step
    def segfaults() -> int:
        import ctypes

        ctypes.string_at(0)


    @step
    def aborts() -> int:
        os.abort()


    @step
    def memory_error() -> int:
        return len(bytearray(1 << 60))


    @step(resources=Resources(memory="300MiB"))
    def over_its_limit() -> int:
        keep = []
        while True:
            keep.append(b"x" * (8 << 20))
            time.sleep(0.005)


    @step
    def interrupts_itself() -> int:
        raise KeyboardInterrupt


    @step
    def recursion() -> int:
        return recursion.function()


    @step
    def broken_exception() -> int:
        class Broken(Exception):
            def __str__(self):
                raise RuntimeError("no")

        raise Broken


    @step
    def wrong_type() -> int:
        return "text"


    @step
    def wrong_count() -> tuple[Annotated[int, "a"], Annotated[int, "b"]]:
        return 1, 2, 3


    @step
    def returns_though_none() -> None:
        return 1


    @step
    def unpicklable() -> object:
        import threading

        return threading.Lock()


    @pipeline(failure_mode="continue")
    def endings():
        companion()
        raises({"row": 1})
        for each in (exits, exits_hard, exits_hard_with_zero, is_killed, segfaults, aborts, memory_error):
            each()
        for each in (over_its_limit, interrupts_itself, recursion, broken_exception):
            each()
        for each in (wrong_type, wrong_count, returns_though_none, unpicklable):
            each()
"""
COUNT = 17


@pytest.fixture(scope="module")
def endings(make_project: Callable[[str], Project]) -> tuple[Project, Played]:
    """All of them in one run of two workers, one of which is the companion's until all the others have ended."""
    project = make_project(ENDINGS)

    def release() -> None:
        with contextlib.suppress(BaseException):
            wait_until(lambda: (project.folder / "companion").exists())
            wait_until(
                lambda: sum(each.state is State.FAILED for each in project.records(StepRun)) == COUNT - 1
            )
        (project.folder / "over").touch()

    watcher = threading.Thread(target=release)
    watcher.start()
    played = project.run(workers=2)
    watcher.join()
    return project, played


def failure(played: Played, step: str) -> Failure:
    found = played.steps[step].failure
    assert found is not None
    return found


def test_the_end_of_a_step_harms_no_other(endings: tuple[Project, Played]) -> None:
    project, played = endings
    assert len(played.steps) == COUNT
    assert played.states.pop("companion") == "completed"
    assert [name for name, state in played.states.items() if state != "failed"] == ["companion"]
    assert project.load("companion") == "unharmed"
    assert played.attempts("companion")[0].peak_memory > 0


def test_an_exception_shows_the_users_frames_alone_and_the_cause_last(
    endings: tuple[Project, Played],
) -> None:
    project, played = endings
    told = failure(played, "raises")
    assert (told.reason, told.type, told.message) == ("exception", "ValueError", "no column")
    assert told.traceback.splitlines()[-1] == "ValueError: no column"
    assert "KeyError: 'column'" in told.traceback
    files = {line.split('"')[1] for line in told.traceback.splitlines() if line.startswith('  File "')}
    assert files == {str(project.folder / "pipeline.py")}


@pytest.mark.parametrize(
    ("step", "reason", "message"),
    [
        ("exits", "exception", "the step called `sys.exit(3)`"),
        ("exits_hard", "exited", "its process exited with code 7, without an exception"),
        ("exits_hard_with_zero", "exited", "its process exited with code 0, without an exception"),
        ("is_killed", "killed", "its process was killed by SIGKILL"),
        ("segfaults", "killed", "its process was killed by SIGSEGV: a segmentation fault"),
        ("aborts", "killed", "its process was killed by SIGABRT: it aborted"),
        ("memory_error", "out_of_memory", ""),
        ("over_its_limit", "out_of_memory", "its resources allow 300 MiB"),
        ("interrupts_itself", "exception", ""),
        ("recursion", "exception", "maximum recursion depth exceeded"),
        ("broken_exception", "exception", "(its message cannot be shown: RuntimeError)"),
        ("wrong_type", "output", "output `output` of step `wrong_type` is a `str`"),
        ("wrong_count", "output", "step `wrong_count` returned 3 values"),
        (
            "returns_though_none",
            "output",
            "step `returns_though_none` returned a `int`, but declares `-> None`",
        ),
        ("unpicklable", "output", "output `output` of step `unpicklable`"),
    ],
)
def test_each_end_is_told_as_what_it_was(
    endings: tuple[Project, Played], step: str, reason: str, message: str
) -> None:
    told = failure(endings[1], step)
    assert told.reason == reason
    assert message in told.message


def test_what_a_step_printed_before_its_end_is_kept(endings: tuple[Project, Played]) -> None:
    _, played = endings
    assert played.lines("exits_hard") == ["last words"]
    assert played.steps["exits_hard"].log_bytes > 0


def test_a_traceback_without_end_is_cut(endings: tuple[Project, Played]) -> None:
    assert len(failure(endings[1], "recursion").traceback.splitlines()) < 60


LONG = """
    import os
    import subprocess
    import sys
    import time

    from tilth import pipeline, step


    @step
    def long() -> int:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open("pids.new", "w") as file:
            file.write(f"{os.getpid()} {child.pid}")
        os.rename("pids.new", "pids")
        time.sleep(600)


    @pipeline
    def long_one():
        long()
"""


@pytest.mark.faults
def test_a_step_killed_from_outside_is_told_and_its_children_end(project: Project) -> None:
    from tests.engine.play import is_alive

    project.write(LONG)
    pids = project.folder / "pids"

    def kill() -> None:
        wait_until(pids.exists)
        os.kill(int(pids.read_text().split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    played = project.run()
    killer.join()
    assert failure(played, "long") == Failure(reason="killed", message="its process was killed by SIGKILL")
    wait_until(lambda: not is_alive(int(pids.read_text().split()[1])), "the child's end")


def removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):  # busy, as long as a process in it has not gone
        folder.rmdir()
    return not folder.exists()


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """A group of this machine's kernel with so much memory, where one can be made."""
    for root, name in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        folder = root / f"tilth-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / name).write_text(str(limit))
            break
        except OSError:
            folder.rmdir()
    else:
        pytest.skip("no memory cgroup can be made here")
    try:
        yield folder
    finally:
        wait_until(lambda: removed(folder), "the end of all in the memory cgroup")


@pytest.mark.faults
def test_a_step_that_the_kernel_kills_for_its_memory_is_told_so(project: Project) -> None:
    project.write(
        """
        import os
        import time
        from pathlib import Path

        from tilth import pipeline, step

        @step
        def greedy() -> int:
            Path("pid.new").write_text(str(os.getpid()))
            os.rename("pid.new", "pid")
            while not os.path.exists("go"):
                time.sleep(0.01)
            return len(b"x" * (1 << 30))

        @pipeline
        def greedy_one():
            greedy()
        """
    )
    with memory_cgroup(128 << 20) as group:

        def move() -> None:
            wait_until((project.folder / "pid").exists)
            (group / "cgroup.procs").write_text((project.folder / "pid").read_text())
            (project.folder / "go").touch()

        mover = threading.Thread(target=move)
        mover.start()
        played = project.run()
        mover.join()
    told = failure(played, "greedy")
    assert (told.reason, told.message) == (
        "out_of_memory",
        "the kernel killed it because the machine ran out of memory",
    )


@pytest.mark.faults
def test_workers_killed_again_and_again_cost_tries_and_nothing_else(project: Project) -> None:
    project.write(
        """
        import time

        from tilth import Retry, pipeline, step

        @step(retry=Retry(50, delay=0))
        def item(number: int) -> int:
            time.sleep(0.02)
            return number

        @step(retry=Retry(50, delay=0))
        def total(items: list) -> int:
            time.sleep(0.05)
            return sum(items)

        @pipeline
        def wide():
            total(item.map(range(60)))
        """
    )
    rng = random.Random(1)
    over = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        # Fewer than there are tries: where a worker takes longer to start than it is let live, nothing would end.
        while len(killed) < 40 and not over.wait(rng.uniform(0.01, 0.2)):
            if workers := workers_of(project.home):
                killed.append(rng.choice(workers))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        run = project.run(workers=2).run
    finally:
        over.set()
        killer.join()
    assert run.state is State.COMPLETED
    assert killed
    assert project.load("total") == sum(range(60))
    reasons = {each.failure.reason for each in project.records(StepRun) if each.failure}
    assert reasons <= {"killed"}
