"""The talk with a worker that somebody else started: by a socket at a path, and named pipes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tilth
from tilth.errors import NotFound
from tilth.orchestrators.conversation import Conversation, Door

if TYPE_CHECKING:
    from tests.orchestrators.conftest import Bench

BOOTSTRAP = Path(tilth.__file__).parent / "runtime" / "bootstrap.py"

STEPS = """
    import os
    import subprocess
    import sys
    import time
    from tilth import Client

    def speaks():
        print("to stdout")
        print("to stderr", file=sys.stderr)
        subprocess.run(["echo", "from a child"])
        with open("/dev/stdout", "w") as again:
            again.write("opened again\\n")
        return os.getcwd()

    def asks():
        return Client().get_run("flow-1").name

    def dies():
        os._exit(3)
"""


def start(bench: Bench, place: Path, **settings: Any) -> subprocess.Popen[bytes]:
    given = {"socket": str(place), "roots": [str(bench.folder)], "cwd": str(bench.folder), **settings}
    return subprocess.Popen(
        [sys.executable, str(BOOTSTRAP), "worker", "", json.dumps(given)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


async def talk(bench: Bench, place: Path, function: str, **settings: Any) -> Any:
    """What a step says at its end, of a worker that came in by a door."""
    door = Door(place)
    process = start(bench, place, **settings)
    try:
        connected = await asyncio.wait_for(door.come_in(), 180)
        conversation = Conversation(connected, bench.answer)
        conversation.when_closed = conversation.over
        task = bench.task(function)
        done = await asyncio.wait_for(conversation.step(task.folder), 180)
        is_called = conversation.is_called
        conversation.close()
        return done, is_called, task.folder, await asyncio.to_thread(process.wait, 180)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("deep", [1, 20], ids=["short", "longer than an address may be"])
def test_a_worker_that_is_no_child_comes_in_by_a_socket(bench: Bench, deep: int) -> None:
    bench.write(STEPS)
    place = bench.folder.joinpath(*["a-folder"] * deep, "socket")
    place.parent.mkdir(parents=True)
    done, is_called, folder, _ = asyncio.run(talk(bench, place, "speaks"))
    assert done["completed"], json.loads((folder / "result.json").read_text())
    assert is_called
    assert not place.exists()  # the door is closed


def test_what_it_prints_comes_through_named_pipes(bench: Bench) -> None:
    bench.write(STEPS)
    pipes = {name: bench.folder / name for name in ("stdout", "stderr")}
    for pipe in pipes.values():
        os.mkfifo(pipe)
    ends = {name: os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for name, pipe in pipes.items()}
    settings = {name: str(pipe) for name, pipe in pipes.items()}
    done, _, _, code = asyncio.run(talk(bench, bench.folder / "socket", "speaks", **settings))
    assert done is not None, (code, *(os.read(end, 9999) for end in ends.values()))
    printed = {name: os.read(end, 1 << 16).decode().split("\n") for name, end in ends.items()}
    for end in ends.values():
        os.close(end)
    assert sorted(printed["stdout"]) == ["", "from a child", "opened again", "to stdout"]
    assert printed["stderr"] == ["to stderr", ""]


def test_it_asks_and_is_answered(bench: Bench) -> None:
    bench.write(STEPS)

    def answer(method: str, params: dict[str, Any]) -> Any:
        raise NotFound(f"nothing named `{params['name']}`")

    bench.answer = answer
    done, _, folder, _ = asyncio.run(talk(bench, bench.folder / "socket", "asks"))
    assert not done["completed"]
    assert json.loads((folder / "result.json").read_text())["message"] == "nothing named `flow-1`"


def test_the_end_of_a_worker_is_heard(bench: Bench) -> None:
    bench.write(STEPS)
    done, is_called, _, code = asyncio.run(talk(bench, bench.folder / "socket", "dies"))
    assert done is None
    assert is_called
    assert code == 3
