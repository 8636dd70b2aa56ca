"""Warm workers: what one step leaves behind is not met by the next, and what ends one is told."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.play import SOON_S, wait_until

from tilth.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.orchestrators.conftest import Bench

    from tilth.orchestrators.local import LocalLauncher

STATE = """
    import locale
    import logging
    import os
    import random
    import signal
    import socket
    import sys
    import warnings


    def pid():
        return os.getpid()


    def look():
        mask = os.umask(0)
        os.umask(mask)
        try:
            os.listdir(os.getcwd())
            cwd = os.getcwd()
        except OSError:
            cwd = "gone"
        return {
            "pid": os.getpid(),
            "cwd": cwd,
            "environ": {name: value for name, value in os.environ.items() if name.startswith("LEFT")},
            "home": os.environ.get("HOME"),
            "argv": list(sys.argv),
            "path": list(sys.path),
            "umask": mask,
            "streams": [type(each).__name__ for each in (sys.stdin, sys.stdout, sys.stderr)],
            "same": sys.stdout is sys.__stdout__,
            "warnings": [each[0] for each in warnings.filters],
            "logging": [logging.getLogger().level, len(logging.getLogger().handlers), logging.root.manager.disable],
            "recursion": sys.getrecursionlimit(),
            "switch": sys.getswitchinterval(),
            "trace": sys.gettrace() is None,
            "hook": sys.excepthook is sys.__excepthook__,
            "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
            "terminate": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            "timer": signal.getitimer(signal.ITIMER_REAL)[0],
        }


    def wreck():
        os.makedirs("elsewhere", exist_ok=True)
        os.chdir("elsewhere")
        os.environ["LEFT_BEHIND"] = "1"
        os.environ["HOME"] = "/nowhere"
        sys.argv[:] = ["other", "--flag"]
        sys.path.insert(0, "/somewhere")
        os.umask(0o077)
        sys.stdout = sys.stderr = open(os.devnull, "w")
        sys.stdin = None
        warnings.simplefilter("error")
        logging.basicConfig(level=logging.DEBUG)
        logging.disable(logging.CRITICAL)
        sys.setrecursionlimit(5000)
        sys.setswitchinterval(0.5)
        sys.excepthook = print
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 100)
        return os.getpid()


    def seed():
        random.seed(1)
        return random.random()


    def draw():
        return random.random()
"""


def test_the_next_step_meets_the_worker_as_it_was(bench: Bench) -> None:
    bench.write(STATE)
    before, wrecked, after = bench.calls("look", "wreck", "look")
    assert before["pid"] == wrecked == after["pid"]
    assert after == before


def test_a_seed_is_the_steps_alone(bench: Bench) -> None:
    bench.write(STATE)
    first, _, second, _ = bench.calls("seed", "draw", "seed", "draw")
    assert first == second
    results = bench.calls("seed", "draw", "seed", "draw")
    assert results[1] != results[3]


def test_steps_of_one_kind_share_a_worker_and_others_do_not(bench: Bench) -> None:
    bench.write(STATE)

    async def scene(launcher: LocalLauncher) -> list[int]:
        return [
            await bench.call(launcher, "pid"),
            await bench.call(launcher, "pid"),
            await bench.call(launcher, "pid", variables={"A": "1"}),
            await bench.call(launcher, "pid", memory=1 << 30),
            await bench.call(launcher, "pid", fresh=True),
            await bench.call(launcher, "pid"),
            await bench.call(launcher, "pid", variables={"A": "1"}),
        ]

    plain, again, variables, limited, fresh, last, variables_again = bench.play(scene)
    assert plain == again == last
    assert variables == variables_again
    assert len({plain, variables, limited, fresh}) == 4


def test_the_least_recently_used_worker_goes_when_there_are_too_many(bench: Bench) -> None:
    bench.write(STATE)

    async def scene(launcher: LocalLauncher) -> list[int]:
        return [
            await bench.call(launcher, "pid", variables={"N": each})
            for each in ("1", "2", "3", "3", "2", "1")
        ]

    one, two, three, three_again, two_again, one_again = bench.play(scene, keep=2)
    assert (three, two) == (three_again, two_again)
    assert one != one_again


LEAVING = """
    import os
    import subprocess
    import sys
    import threading
    import time


    def pid():
        return os.getpid()


    def thread():
        threading.Thread(target=time.sleep, args=[600], name="left-thread", daemon=True).start()
        return os.getpid()


    def child():
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open("child", "w").write(str(process.pid))
        return os.getpid()


    def ended_thread():
        each = threading.Thread(target=int)
        each.start()
        each.join()
        return os.getpid()


    def fails():
        raise ValueError("bad")
"""


@pytest.mark.parametrize(
    ("leaves", "notice"),
    [("thread", "it left threads running: left-thread"), ("child", "it left processes running")],
)
def test_a_worker_with_something_left_running_is_not_used_again(
    bench: Bench, leaves: str, notice: str
) -> None:
    bench.write(LEAVING)

    async def scene(launcher: LocalLauncher) -> tuple[str, list[Any]]:
        outcome = await bench.run(launcher, task := bench.task(leaves))
        assert (task.folder / "result.json").exists()
        return outcome.notice, [await bench.call(launcher, "pid")]

    told, _ = bench.play(scene)
    assert notice in told
    if leaves == "child":
        child = int((bench.folder / "child").read_text())
        wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child's end")


def test_a_worker_whose_step_failed_is_not_used_again(bench: Bench) -> None:
    bench.write(LEAVING)
    first, failed, second = bench.calls("pid", "fails", "pid")
    assert failed["type"] == "ValueError"
    assert first != second


def test_a_thread_that_has_ended_does_no_harm(bench: Bench) -> None:
    bench.write(LEAVING)
    first, second = bench.calls("ended_thread", "pid")
    assert first == second


ENDING = """
    import os
    import signal
    import time


    def exits():
        print("before the end", flush=True)
        os._exit(5)


    def killed():
        os.kill(os.getpid(), signal.SIGKILL)


    def sleeps():
        try:
            open("asleep", "w").close()
            time.sleep(600)
        finally:
            open("cleaned", "w").close()


    def deaf():
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass


    def grows():
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1 << 20)) * 8)


    def pid():
        return os.getpid()
"""


@pytest.mark.faults
@pytest.mark.parametrize(
    ("function", "options", "ended", "detail"),
    [
        ("exits", {}, "exited", "its process exited with code 5, without an exception"),
        ("killed", {}, "killed", "its process was killed by SIGKILL"),
        ("sleeps", {"timeout_s": 2.0}, "timeout", "it was stopped after its timeout of 2 s"),
        ("deaf", {"timeout_s": 2.0}, "timeout", "it was stopped after its timeout of 2 s"),
        ("grows", {"memory": 128 << 20}, "out_of_memory", "its resources allow 128 MiB"),
    ],
)
def test_the_end_of_a_process_is_told_as_what_it_was(
    bench: Bench, function: str, options: dict[str, Any], ended: str, detail: str
) -> None:
    bench.write(ENDING)

    async def scene(launcher: LocalLauncher) -> Any:
        # A worker that is there already: its start would count as the step's time.
        await bench.call(launcher, "pid", memory=options.get("memory"))
        outcome = await bench.run(launcher, bench.task(function, **options))
        assert isinstance(await bench.call(launcher, "pid"), int)
        return outcome

    outcome = bench.play(scene)
    assert outcome.ended == ended
    assert detail in outcome.detail
    if function == "exits":
        assert bench.printed["stdout"] == b"before the end\n"
    if function == "sleeps":
        assert (bench.folder / "cleaned").exists()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(180):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.faults
def test_cancelling_stops_the_step_after_a_moment_to_clean_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is not waited for when it has ended, and that is told however busy the machine is.
    monkeypatch.setattr("tilth.orchestrators.local._GRACE_S", 500.0)
    bench.write(ENDING)

    async def scene(launcher: LocalLauncher) -> float:
        running = asyncio.create_task(bench.run(launcher, bench.task("sleeps")))
        await until((bench.folder / "asleep").exists)
        began = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return time.monotonic() - began

    assert bench.play(scene) < SOON_S
    assert (bench.folder / "cleaned").exists()


@pytest.mark.faults
def test_an_idle_worker_that_is_killed_is_replaced(bench: Bench) -> None:
    bench.write(ENDING)

    async def scene(launcher: LocalLauncher) -> tuple[int, int]:
        first = await bench.call(launcher, "pid")
        os.kill(first, signal.SIGKILL)
        await until(lambda: not launcher._all)
        return first, await bench.call(launcher, "pid")

    first, second = bench.play(scene)
    assert isinstance(second, int)
    assert first != second


@pytest.mark.faults
def test_a_worker_killed_just_before_its_step_fails_that_step_alone(bench: Bench) -> None:
    bench.write(ENDING)

    async def scene(launcher: LocalLauncher) -> list[Any]:
        first = await bench.call(launcher, "pid")
        os.kill(first, signal.SIGKILL)  # the launcher has not noticed yet
        outcome = await bench.run(launcher, bench.task("pid"))
        return [outcome.ended, await bench.call(launcher, "pid")]

    ended, last = bench.play(scene)
    assert ended in ("killed", "done")
    assert isinstance(last, int)


ASKING = """
    from tilth.runtime import client


    def asks():
        return client.Client()._request("echo", {"size": 3})


    def asks_much():
        return len(client.Client()._request("much", {}))


    def is_refused():
        try:
            client.Client()._request("refuse", {})
        except Exception as error:
            return [type(error).__name__, str(error)]
"""


def test_what_a_step_asks_is_answered_whatever_its_size(bench: Bench) -> None:
    bench.write(ASKING)

    def answer(method: str, params: dict[str, Any]) -> Any:
        if method == "refuse":
            raise NotFound("there is none")
        return "x" * (4 << 20) if method == "much" else {"method": method, **params}

    bench.answer = answer
    echoed, much, refused = bench.calls("asks", "asks_much", "is_refused")
    assert echoed == {"method": "echo", "size": 3}
    assert much == 4 << 20
    assert refused == ["NotFound", "there is none"]


def test_the_clients_open_files_are_not_the_workers(bench: Bench) -> None:
    bench.write(
        """
        import os

        def files():
            return len(os.listdir("/proc/self/fd"))
        """
    )
    with open(os.devnull) as one, open(os.devnull) as two:
        os.set_inheritable(one.fileno(), True)
        assert two
        (count,) = bench.calls("files")
    assert count <= 5  # three streams, the supervisor's socket, the folder that is being listed


def test_all_workers_end_with_the_launcher(bench: Bench) -> None:
    bench.write(STATE)
    pids = bench.calls("pid", "pid")
    assert not Path(f"/proc/{pids[0]}").exists()


def test_a_step_that_is_cancelled_gets_a_second_to_clean_up() -> None:
    """With the rest of a cancel that makes two seconds, which no test can measure on a busy machine."""
    from tilth.orchestrators import beside, docker, local

    assert local._GRACE_S == docker._GRACE_S == beside._GRACE_S == 1
