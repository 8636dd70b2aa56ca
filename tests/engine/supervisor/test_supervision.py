"""The program beside a step, run as a process of its own: each way in which an attempt can end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.play import wait_until

from tilth.errors import NotFound
from tilth.runtime.folder import read_events

if TYPE_CHECKING:
    import subprocess

    from tests.engine.supervisor.conftest import Far

    from tilth.engine.remote import Follower

STEPS = """
    import os
    import signal
    import subprocess
    import sys
    import time
    from pathlib import Path

    from tilth import Client, HTML, load_artifact, log_metadata, save_artifact


    def double(number):
        print("doubling", number)
        print("with care", file=sys.stderr)
        return 2 * number

    def fails():
        raise ValueError("not like this")

    def exits():
        os._exit(7)

    def crashes():
        os.kill(os.getpid(), signal.SIGSEGV)

    def waits():
        print("waiting", os.getpid(), flush=True)
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            print("interrupted")
            raise

    def eats():
        held = bytearray(600 << 20)
        time.sleep(600)
        return len(held)

    def talks():
        for number in range(20_000):
            print("line", number)
        sys.stdout.write("the last one has no end")

    def asks():
        return Client().get_run("flow-1").name

    def reads():
        return load_artifact("kept")

    def says():
        log_metadata({"accuracy": 0.5})
        save_artifact([1, 2, 3], "checkpoint")
        return HTML("<p>seen</p>")

    def tells():
        print("it is", os.environ["TOKEN"])
        return len(os.environ["TOKEN"])
"""


def test_a_step_gives_the_same_artifact_as_here(far: Far) -> None:
    far.write(STEPS)
    place = far.store_value(21)
    ran = far.run("double", inputs={"number": {"$artifact": str(place)}})
    assert ran.value == 42
    assert far.artifacts.path(ran.result["outputs"]["output"]["digest"]).name == far.store_value(42).name
    assert ("stdout", "doubling 21") in far.lines
    assert ("stderr", "with care") in far.lines
    assert ran.code == 0
    assert far.left_elsewhere() == []
    wait_until(lambda: not far.processes_left(), "the end of all processes")


def test_an_exception_is_told_with_its_traceback(far: Far) -> None:
    far.write(STEPS)
    ran = far.run("fails")
    assert ran.outcome.ended == "done"
    assert (ran.result["type"], ran.result["message"]) == ("ValueError", "not like this")
    assert "in fails" in ran.result["traceback"]
    assert ran.code == 0


@pytest.mark.parametrize(
    ("function", "ended", "detail"),
    [
        ("exits", "exited", "code 7"),
        ("crashes", "killed", "SIGSEGV"),
    ],
)
def test_the_end_of_its_process_is_told(far: Far, function: str, ended: str, detail: str) -> None:
    far.write(STEPS)
    ran = far.run(function)
    assert (ran.outcome.ended, ran.code) == (ended, 0)
    assert detail in ran.outcome.detail


def pid_of(far: Far) -> int:
    """Of the step that waits."""
    found: str = wait_until(lambda: next((text for _, text in far.lines if text.startswith("waiting")), None))
    return int(found.split()[1])


@pytest.mark.faults
def test_a_step_that_is_killed(far: Far) -> None:
    far.write(STEPS)
    ran = far.run("waits", meanwhile=lambda *_: os.kill(pid_of(far), signal.SIGKILL))
    assert (ran.outcome.ended, ran.code) == ("killed", 0)
    assert "SIGKILL" in ran.outcome.detail


def test_a_step_that_takes_too_long(far: Far) -> None:
    far.write(STEPS)
    ran = far.run("waits", timeout_s=4.0)
    assert (ran.outcome.ended, ran.code) == ("timeout", 0)
    assert ("stdout", "interrupted") in far.lines
    wait_until(lambda: not far.processes_left(), "the end of all processes")


def test_a_step_that_uses_more_memory_than_it_may(far: Far) -> None:
    far.write(STEPS)
    ran = far.run("eats", memory=200 << 20)
    assert (ran.outcome.ended, ran.code) == ("out_of_memory", 0)
    assert ran.outcome.peak_memory > 200 << 20


@pytest.mark.faults
def test_a_supervisor_that_is_killed_is_lost_and_its_step_ends(far: Far) -> None:
    far.write(STEPS)
    far.lost_after_s = 2.0
    step = 0

    def kill(process: subprocess.Popen[str], _: Follower) -> None:
        nonlocal step
        step = pid_of(far)
        process.kill()

    ran = far.run("waits", meanwhile=kill)
    assert ran.outcome.ended == "lost"
    assert "running" in ran.outcome.detail
    wait_until(lambda: not Path(f"/proc/{step}").exists(), "the step to end")
    wait_until(lambda: not far.processes_left(), "the end of all processes")


def test_sigterm_ends_the_step_and_is_told(far: Far) -> None:
    far.write(STEPS)

    def terminate(process: subprocess.Popen[str], _: Follower) -> None:
        pid_of(far)
        process.terminate()

    ran = far.run("waits", meanwhile=terminate)
    assert (ran.outcome.ended, ran.code) == ("killed", 0)
    assert "SIGTERM" in ran.outcome.detail
    assert ("stdout", "interrupted") in far.lines
    wait_until(lambda: not far.processes_left(), "the end of all processes")
    assert far.left_elsewhere() == []


def test_all_that_a_step_prints_comes_in_order(far: Far) -> None:
    far.write(STEPS)
    far.run("talks")
    printed = [text for stream, text in far.lines if stream == "stdout"]
    assert printed == [*(f"line {number}" for number in range(20_000)), "the last one has no end"]


def test_a_step_asks_the_driver(far: Far) -> None:
    far.write(STEPS)

    def answer(method: str, params: dict[str, Any]) -> Any:
        raise NotFound(f"`{method}` of `{params['name']}`", mend="ask another")

    far.answer = answer
    ran = far.run("asks")
    assert ran.result["type"] == "tilth.errors.NotFound"
    assert ran.result["message"] == "`get_run` of `flow-1`"


@pytest.mark.faults
@pytest.mark.parametrize("what", ["questions", "answers"])
def test_a_question_survives_a_store_that_fails_for_a_while(far: Far, what: str) -> None:
    far.write(STEPS)
    asked = []

    def answer(method: str, params: dict[str, Any]) -> Any:
        asked.append(method)
        raise NotFound("none")

    def break_store(process: subprocess.Popen[str], follower: Follower) -> None:
        key = follower._channel.key(what)
        far.objects.put(key, b"")  # a file where a folder is needed
        said = far.project.parent / "said-0.err"
        wait_until(lambda: asked or "question waits" in said.read_text(), "a failure")
        far.objects.delete(key)

    far.answer = answer
    ran = far.run("asks", meanwhile=break_store)
    assert ran.result["type"] == "tilth.errors.NotFound"


def test_what_a_step_loads_is_brought_to_it(far: Far) -> None:
    far.write(STEPS)
    place = far.store_value({"kept": [1, 2]})
    digest = f"sha256:{place.name}"

    def answer(method: str, params: dict[str, Any]) -> Any:
        if method == "get_artifact_folder":
            return str(place)
        return {
            "id": "a", "name": "kept", "version": 1, "digest": digest, "type": "builtins:dict", "format": "json",
            "size": 1, "length": None, "run": "r", "step_run": "s", "step": "s", "output": "o", "tags": [],
            "created_at": "2026-01-01T00:00:00+00:00", "metadata": {}, "visualizations": [],
        }  # fmt: skip

    far.answer = answer
    assert far.run("reads").value == {"kept": [1, 2]}


def test_metadata_saved_artifacts_and_visualizations_come_back(far: Far) -> None:
    far.write(STEPS)
    ran = far.run("says")
    events = read_events(ran.task.folder)
    assert events[0]["metadata"] == {"accuracy": 0.5}
    assert far.artifacts.has(events[1]["manifest"]["digest"])
    folder = far.artifacts.path(ran.result["outputs"]["output"]["digest"])
    looks = folder.with_name(f"{folder.name}.visualizations")
    assert [each.name for each in looks.iterdir()] == ran.result["outputs"]["output"]["visualizations"]


def test_secrets_arrive_and_are_shown_nowhere(far: Far) -> None:
    far.write(STEPS)
    ran = far.run("tells", secrets={"TOKEN": "s3cr3t-value"})
    assert ran.value == len("s3cr3t-value")
    assert ("stdout", "it is ***") in far.lines
    everything = b"".join(path.read_bytes() for path in far.objects.root.rglob("*") if path.is_file())
    assert b"s3cr3t-value" not in everything
    assert "s3cr3t-value" not in ran.stdout + ran.stderr


def test_a_cancelled_step_is_ended_elsewhere_first(far: Far) -> None:
    import asyncio

    far.write(STEPS)
    task = far.task("waits")
    order = far.order(task)
    follower = far.follower(order)

    async def main() -> None:
        await follower.hand_over(task)
        far.start(order)
        following = asyncio.create_task(follower.follow(task, far.hear))
        await asyncio.to_thread(pid_of, far)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    asyncio.run(main())
    assert far.processes[-1].wait(180) == 0
    assert ("stdout", "interrupted") in far.lines
    wait_until(lambda: not far.processes_left(), "the end of all processes")


def test_a_second_supervisor_does_not_run_again_what_has_ended(far: Far) -> None:
    far.write(STEPS)
    task = far.task("double", inputs={"number": 1})
    order = far.order(task)

    import asyncio

    asyncio.run(far.follower(order).hand_over(task))
    assert far.start(order).wait(180) == 0
    again = far.start(order)
    said, told = far.said_by(again)
    assert again.returncode == 0
    assert "has ended already: done" in told
    assert "doubling" not in said


@pytest.mark.faults
def test_a_supervisor_takes_over_from_one_that_was_killed(far: Far) -> None:
    far.write(STEPS)
    started = time.monotonic()

    def restart(process: subprocess.Popen[str], follower: Follower) -> None:
        pid_of(far)
        process.kill()
        process.wait()
        far.start(order)

    task = far.task("waits", timeout_s=6.0)
    order = far.order(task)
    follower = far.follower(order)

    import asyncio

    async def main() -> Any:
        await follower.hand_over(task)
        process = far.start(order)
        following = asyncio.create_task(follower.follow(task, far.hear))
        await asyncio.to_thread(restart, process, follower)
        return await following

    outcome = asyncio.run(main())
    assert outcome.ended == "timeout"
    assert sum(text.startswith("waiting") for _, text in far.lines) == 2
    assert time.monotonic() - started < 180


def test_input_that_is_gone_is_told(far: Far) -> None:
    far.write(STEPS)
    place = far.project / ("ab" * 32)
    ran = far.run("double", inputs={"number": {"$artifact": str(place)}})
    assert ran.outcome.ended == "environment"
    assert f"sha256:{'ab' * 32}" in ran.outcome.detail


def test_an_interpreter_that_is_not_there_is_told(far: Far) -> None:
    far.write(STEPS)
    ran = far.run("double", inputs={"number": 1}, order={"python": "/nowhere/python"})
    assert ran.outcome.ended == "environment"
    assert "/nowhere/python" in ran.outcome.detail


def test_a_question_that_nobody_answers_holds_nothing_up(far: Far) -> None:
    import asyncio

    far.write(STEPS)
    task = far.task("asks")
    order = far.order(task)
    asyncio.run(far.follower(order).hand_over(task))
    process = far.start(order)
    questions = f"{order.assignment.channel}questions/"
    wait_until(lambda: list(far.objects.list(questions)), "the question")
    process.terminate()
    assert process.wait(180) == 0
    wait_until(lambda: not far.processes_left(), "the end of all processes")
