"""Signs of life, and what goes with them: the step's lines on their way, its questions, the driver's wish to end it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from tilth.engine.supervisor.channel import Beat, Channel
from tilth.errors import OutsideError, TilthError
from tilth.orchestrators.usage import cpu_seconds, descendants, resident

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
logger = logging.getLogger(__name__)

_CHUNK = 4 << 20  # bytes of log in one object; more than the longest line has
_ASK_S = (0.05, 1.0)  # between two looks for an answer: at first, and at most


class Heart:
    """Beats until `stop`.

    Args:
        name: Of this supervisor: another one that takes the attempt over has another.
        log: The file that the step's lines are written to, whole lines at once.
        patience_s: How long a question is tried again when the store does not answer.
        before: The last sign of life of a supervisor before this one, whose numbers are gone on from.
        cancelled: Called when the driver wants the step ended.
    """

    def __init__(
        self,
        channel: Channel,
        name: str,
        log: Path,
        *,
        every_s: float,
        patience_s: float,
        before: Beat | None,
        cancelled: Callable[[], None],
    ) -> None:
        self.doing = "fetching"
        self.cpu_s = 0.0
        self.peak_memory = 0
        self._channel = channel
        self._name = name
        self._log = log
        self._every_s = every_s
        self._patience_s = patience_s
        self._cancelled = cancelled
        self._number = before.number + 1 if before else 0
        self._chunks = before.logs if before else 0
        self._questions = before.questions if before else 0
        self._memory = 0
        self._sent = 0  # bytes of the log
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        # Its own: threads that wait for answers must not keep it from telling of the questions.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tilth-heart")
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def chunks(self) -> int:
        """How many objects of log there are."""
        return self._chunks

    def start(self) -> None:
        """Begin to beat."""
        self._task = self._loop.create_task(self._beat())

    async def stop(self) -> None:
        """Beat once more, and end."""
        self._is_stopping = True
        self._wake.set()
        if self._task:
            await self._task
        self._pool.shutdown(wait=False)

    def now(self, doing: str) -> None:
        """Say soon that something else is being done."""
        self.doing = doing
        self._wake.set()

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Ask the driver on behalf of the step, and wait for its answer. In a thread."""
        with self._lock:
            number = self._questions
            question = {"method": method, "params": params}
            self._insistently(lambda: self._channel.put(f"questions/{number:06}", question))
            self._questions += 1
        self._loop.call_soon_threadsafe(self._wake.set)
        pause, longest = _ASK_S
        while (found := self._insistently(lambda: self._channel.get(f"answers/{number:06}"))) is None:
            self._pause(pause)
            pause = min(2 * pause, longest)
        if "error" in found:
            raise TilthError.from_json(found["error"])
        return found["result"]

    def _insistently(self, call: Callable[[], T]) -> T:
        """What a call of the store gives, tried again for as long as everything else that needs the store is."""
        end, (pause, longest) = time.monotonic() + self._patience_s, _ASK_S
        while True:
            try:
                return call()
            except OutsideError as error:
                if time.monotonic() + pause > end:
                    raise
                logger.warning("the step's question waits: %s", error.summary)
            self._pause(pause)
            pause = min(2 * pause, longest)

    def _pause(self, seconds: float) -> None:
        if self._is_stopping:  # the step has ended, and its thread must too
            raise TilthError("the step ended before it was answered")
        time.sleep(seconds)

    def send_log(self) -> bool:
        """Send what was printed since; whether there was anything."""
        with self._sending:  # the heart does, and who waits for the last line
            return self._send_log()

    def _send_log(self) -> bool:
        try:
            with open(self._log, "rb") as file:
                file.seek(self._sent)
                data = file.read(_CHUNK)
        except FileNotFoundError:  # nothing was printed yet
            return False
        whole = data.rfind(b"\n") + 1
        if not whole:
            return False
        self._channel.put_bytes(f"logs/{self._chunks:06}", data[:whole])
        self._chunks += 1
        self._sent += whole
        return True

    def say(self) -> None:
        """Give one sign of life."""
        self._measure()
        self._channel.put(
            "beat.json",
            Beat(
                supervisor=self._name,
                number=self._number,
                doing=self.doing,
                logs=self._chunks,
                questions=self._questions,
                memory=self._memory,
                cpu_s=round(self.cpu_s, 2),
                host=socket.gethostname(),
            ),
        )
        self._number += 1

    async def _beat(self) -> None:
        while True:
            is_last = self._is_stopping
            self._wake.clear()
            try:
                if await self._loop.run_in_executor(self._pool, self._once):
                    self._cancelled()
            except OutsideError as error:  # whether that lasts, others find who need the store more
                logger.warning("no sign of life could be given: %s", error.summary)
            except Exception:
                logger.exception("no sign of life could be given")
            if is_last:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()

    def _once(self) -> bool:
        """One beat; whether the driver wants the step ended."""
        while self.send_log():
            pass
        self.say()
        return self._channel.objects.find(self._channel.key("cancel")) is not None

    def _measure(self) -> None:
        ours = os.getpid()
        living = descendants(ours)
        self._memory = sum(resident(each, alone=True) for each in living)
        self.peak_memory = max(self.peak_memory, self._memory)
        # Less when a process has ended that nobody has collected yet.
        self.cpu_s = max(self.cpu_s, sum(map(cpu_seconds, living)))
