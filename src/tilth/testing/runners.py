"""What an orchestrator that starts runner images promises, as tests to inherit.

class TestMyRunners(StartsRunnersContract):
    @pytest.fixture
    def starter(self): return MyOrchestrator(…)

    @pytest.fixture
    def image(self): return "python:3.12-slim"  # any that has `python3`, where its containers come from
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tilth.errors import TilthError
from tilth.orchestrators import Outcome, RunnerTask, StartsRunners
from tilth.records import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_S = 120.0
_WAITS = "import time; print('begun', flush=True); time.sleep(600)"
_LEAVES = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), sys.exit(0)))
print('begun', flush=True)
time.sleep(600)
"""


class StartsRunnersContract:
    """Promises of a `StartsRunners`. The fixtures are yours."""

    @pytest.fixture
    def starter(self) -> StartsRunners:
        """The orchestrator."""
        raise NotImplementedError("give the fixture `starter`")

    @pytest.fixture
    def image(self) -> str:
        """An image with `python3`."""
        raise NotImplementedError("give the fixture `image`")

    def test_it_says_that_it_starts_runners(self, starter: StartsRunners) -> None:
        """It is told from others by that."""
        assert isinstance(starter, StartsRunners)
        assert isinstance(starter.steps_in_runner, bool)

    def test_what_is_printed_is_heard_and_variables_are_there(
        self, starter: StartsRunners, image: str
    ) -> None:
        """Output and errors, to the last byte."""
        script = "import os, sys; print(os.environ['COLOUR']); print('and', file=sys.stderr)"
        heard, outcome = play(starter, _task(image, script, variables={"COLOUR": "green"}))
        assert outcome.ended == "done"
        assert "green" in heard
        assert "and" in heard

    def test_a_container_that_ends_by_itself_is_told_from_one_that_is_killed(
        self, starter: StartsRunners, image: str
    ) -> None:
        """The second may be started again."""
        assert play(starter, _task(image, "import sys; sys.exit(3)"))[1].ended == "exited"
        script = "import os, signal; print('begun', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
        assert play(starter, _task(image, script))[1].ended in ("killed", "out_of_memory", "lost")

    def test_cancelling_asks_first_and_nothing_goes_on(self, starter: StartsRunners, image: str) -> None:
        """A run is recorded as cancelled by who drives it."""
        heard, ended = stopped(starter, _task(image, _LEAVES))
        assert "asked" in heard
        assert ended

    def test_what_does_not_end_when_it_is_asked_is_ended(self, starter: StartsRunners, image: str) -> None:
        """Cancelling returns."""
        script = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_WAITS}"
        assert stopped(starter, _task(image, script))[1]

    def test_starting_a_launch_again_ends_what_there_is_of_it(
        self, starter: StartsRunners, image: str
    ) -> None:
        """Of one launch, one container at most runs."""

        async def twice() -> tuple[Outcome, Outcome]:
            heard: list[bytes] = []
            launch = new_id()
            first = asyncio.ensure_future(
                starter.run_runner(_task(image, _WAITS, launch=launch), heard.append)
            )
            await _until(lambda: b"begun" in b"".join(heard), first)
            second = await starter.run_runner(_task(image, "print('done')", launch=launch), heard.append)
            async with asyncio.timeout(_PATIENCE_S):
                return await first, second

        first, second = asyncio.run(twice())
        assert first.ended in ("killed", "lost")
        assert second.ended == "done"

    def test_an_image_that_is_nowhere_is_an_error(self, starter: StartsRunners) -> None:
        """Nothing is started, and the reason is told."""
        with pytest.raises(TilthError) as refused:
            play(starter, _task("tilth/no-such-image:at-all", "pass"))
        assert "tilth/no-such-image:at-all" in refused.value.summary


def play(starter: StartsRunners, task: RunnerTask) -> tuple[str, Outcome]:
    """What a container prints, and how it ends."""
    heard: list[bytes] = []

    async def run() -> Outcome:
        async with asyncio.timeout(_PATIENCE_S):
            return await starter.run_runner(task, heard.append)

    outcome = asyncio.run(run())
    return b"".join(heard).decode(), outcome


def stopped(starter: StartsRunners, task: RunnerTask) -> tuple[str, bool]:
    """What a container prints that is cancelled when it has begun, and whether that came to an end."""
    heard: list[bytes] = []

    async def run() -> bool:
        running = asyncio.ensure_future(starter.run_runner(task, heard.append))
        await _until(lambda: b"begun" in b"".join(heard), running)
        running.cancel()
        await asyncio.wait([running], timeout=_PATIENCE_S)
        return running.cancelled()

    ended = asyncio.run(run())
    return b"".join(heard).decode(), ended


def _task(
    image: str, script: str, *, launch: str = "", variables: dict[str, str] | None = None
) -> RunnerTask:
    return RunnerTask(
        launch=launch or new_id(),
        run=new_id(),
        image=image,
        command=("python3", "-c", script),
        server="https://tilth.example.com",
        user="65534:65534",
        variables=variables or {},
    )


async def _until(holds: Callable[[], bool], running: asyncio.Future[Outcome]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not holds():
        assert not running.done(), running.result()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
