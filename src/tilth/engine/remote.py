"""The driver's side of an attempt that a supervisor elsewhere runs: hand it over, follow it, take how it ended.

What orchestrators of engines elsewhere share. They differ in how the supervisor is started, and in what they know of
its end; they give `order.variables` to it, and `Follower` does the rest:

    order = make_order(task, code, root, store=…, python=…)
    follower = Follower(Channel(objects, order.assignment.channel), artifacts, answer)
    await follower.hand_over(task)
    …start `python -m tilth.engine.supervisor` with order.variables…
    return await follower.follow(task, output, is_gone=…)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tilth.engine.logs import parse_line
from tilth.engine.supervisor.assignments import VARIABLE, Assignment, SecretPlace
from tilth.engine.supervisor.inputs import digest_at, found_in, replaced
from tilth.errors import OutsideError, SetupError, TilthError
from tilth.orchestrators import Outcome
from tilth.runtime.folder import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tilth.artifact_stores.cached import CachedArtifactStore
    from tilth.engine.supervisor.channel import Beat, Channel, Result
    from tilth.orchestrators import Task
    from tilth.records import CodeDelivery, ComponentUsed

logger = logging.getLogger(__name__)

_CANCEL_S = 30.0  # how long a supervisor may take to end a step that is cancelled
_SECRET = "TILTH_SECRET_"  # noqa: S105 - what names of variables begin with


class Order(NamedTuple):
    """What a supervisor is started with."""

    assignment: Assignment  # holds no secret
    variables: dict[str, str]  # of the supervisor; all but `TILTH_TASK` are secret


def channel_prefix(spec: Mapping[str, Any]) -> str:
    """Where driver and supervisor of an attempt meet, by `step.json`: a place of its own for each try and driver."""
    context = spec["context"]
    index = "" if context["index"] is None else f".{context['index']}"
    return f"attempts/{context['run_id']}/{context['step']}{index}.{context['attempt']}-{spec['fence']}/"


def make_order(
    task: Task,
    code: CodeDelivery,
    root: Path,
    *,
    store: ComponentUsed,
    python: str,
    prefix: str = "",
    secrets: Mapping[str, str] | None = None,
    code_password: str = "",
    **options: Any,
) -> Order:
    """What tells a supervisor to run this attempt.

    Args:
        root: The project's folder here; the task's folders are turned into ones relative to it.
        python: The step's interpreter where the supervisor runs; empty when it comes in from a container beside.
        prefix: Of the environment there.
        secrets: Values by name of those that `store` refers to, and `code_password`.
        code_password: Name of the one that opens the repository.
        options: Other fields of `Assignment`.
    Raises:
        SetupError: A folder of the task is not in the project.
    """
    spec = read_json(task.folder / "step.json")
    # A step's own go by the names of their variables, which no secret of the store has: those hold no `=`.
    values = {**(secrets or {}), **{f"step={variable}": value for variable, value in task.secrets.items()}}
    places = {name: f"{_SECRET}{number}" for number, name in enumerate(values)}
    assignment = Assignment(
        label=task.label,
        store=store,
        channel=channel_prefix(spec),
        code=code,
        code_password=code_password,
        roots=tuple(_relative(each, root) for each in task.roots),
        cwd=_relative(task.cwd, root) if Path(task.cwd).is_relative_to(root) else ".",
        python=python,
        environment=task.environment,
        prefix=prefix,
        variables=dict(task.variables),
        secrets={name: SecretPlace(variable=variable) for name, variable in places.items()},
        step_secrets={variable: f"step={variable}" for variable in task.secrets},
        timeout_s=task.timeout_s,
        memory=task.memory,
        **options,
    )
    variables = {places[name]: value for name, value in values.items()}
    return Order(assignment, {VARIABLE: msgspec.json.encode(assignment).decode(), **variables})


class Follower:
    """Follows one attempt.

    Args:
        answer: What a step asks of its supervisor: (method, parameters) to a JSON value. Called in a thread.
        poll_s: Between two looks at the channel.
        lost_after_s: Without a sign of life, after which the attempt counts as lost. By this machine's clock, so
            that the others need not agree with it.
        patience_s: How long the store may not answer here before the attempt is given up.
    """

    def __init__(
        self,
        channel: Channel,
        artifacts: CachedArtifactStore,
        answer: Callable[[str, dict[str, Any]], Any],
        *,
        poll_s: float = 1.0,
        lost_after_s: float = 60.0,
        patience_s: float = 600.0,
    ) -> None:
        self.beat: Beat | None = None  # the last one
        self._channel = channel
        self._artifacts = artifacts
        self._answer = answer
        self._poll_s = poll_s
        self._lost_after_s = lost_after_s
        self._patience_s = patience_s
        self._heard_at = time.monotonic()
        self._chunks = 0
        self._answered = 0
        self._answers: set[asyncio.Task[None]] = set()

    async def hand_over(self, task: Task) -> None:
        """Put what the attempt needs where its supervisor looks for it.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        await asyncio.to_thread(self._hand_over, task)

    def _hand_over(self, task: Task) -> None:
        spec = read_json(task.folder / "step.json")
        places = found_in(spec["inputs"])
        self._artifacts.share(*(digest_at(each) for each in places))
        self._channel.put("step.json", {**spec, "inputs": replaced(spec["inputs"], digest_at)})

    async def follow(
        self,
        task: Task,
        output: Callable[[str, bytes], None],
        *,
        is_gone: Callable[[], Awaitable[Outcome | None]] | None = None,
    ) -> Outcome:
        """Follow it to its end. When cancelled, it ends the step first.

        Args:
            is_gone: Asked at each look: how the supervisor ended, if the engine says that it has.
        """
        self._heard_at = answered_at = time.monotonic()
        try:
            while True:
                try:
                    gone = await is_gone() if is_gone else None
                    result = await self._look(output)
                    answered_at = time.monotonic()
                except OutsideError as error:
                    logger.warning("a step elsewhere is not heard of: %s", error.summary)
                    if time.monotonic() - answered_at > self._patience_s:
                        return Outcome("lost", f"nothing can be heard of it: {error.summary}")
                    self._heard_at = time.monotonic()  # its silence says nothing while we are deaf
                    result, gone = None, None
                if result is not None:
                    return await asyncio.to_thread(self._take, task, result)
                if gone is not None:
                    return gone
                if self.beat and time.monotonic() - self._heard_at > self._lost_after_s:
                    return Outcome(
                        "lost",
                        f"nothing was heard of it for {self._lost_after_s:g} s while it was {self.beat.doing} "
                        f"on `{self.beat.host}`: the machine is gone, or its supervisor was killed",
                        peak_memory=self.beat.memory,
                    )
                await asyncio.sleep(self._poll_s)
        except asyncio.CancelledError:
            await self._stop(output)
            raise
        finally:
            for each in self._answers:
                each.cancel()

    async def clear(self) -> None:
        """Forget what was said: the attempt is over."""
        with contextlib.suppress(TilthError):  # what is left takes a little room, and harms nobody
            await asyncio.to_thread(self._channel.clear)

    async def _look(self, output: Callable[[str, bytes], None]) -> Result | None:
        """Take what is new; how it ended, if it has."""
        beat = await asyncio.to_thread(self._channel.beat)
        if beat is None:
            return await asyncio.to_thread(self._channel.result)  # it may have ended before it could begin
        if self.beat is None or (beat.supervisor, beat.number) != (self.beat.supervisor, self.beat.number):
            self._heard_at = time.monotonic()
        self.beat = beat
        while self._answered < beat.questions:
            task = asyncio.create_task(self._reply(self._answered))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
            self._answered += 1
        # The result first: all that was printed was sent before it was written.
        result = await asyncio.to_thread(self._channel.result)
        await self._read_logs(max(beat.logs, result.logs if result else 0), output)
        return result

    async def _read_logs(self, chunks: int, output: Callable[[str, bytes], None]) -> None:
        while self._chunks < chunks:
            data = await asyncio.to_thread(self._channel.get_bytes, f"logs/{self._chunks:06}")
            self._chunks += 1
            for line in (data or b"").splitlines(keepends=True):
                if parsed := parse_line(line):
                    _, stream, text = parsed
                    output(stream, text + b"\n")

    async def _reply(self, number: int) -> None:
        """Answer a question, however often the store has to be tried: the step waits."""
        while True:
            try:
                return await self._reply_once(number)
            except OutsideError as error:
                logger.warning("a step is not answered yet: %s", error.summary)
            await asyncio.sleep(self._poll_s)

    async def _reply_once(self, number: int) -> None:
        name = f"answers/{number:06}"
        if await asyncio.to_thread(self._channel.get, name) is not None:
            return  # a driver before this one has
        asked = await asyncio.to_thread(self._channel.get, f"questions/{number:06}")
        reply: dict[str, Any]
        try:
            reply = {"result": await asyncio.to_thread(self._answered_with, asked["method"], asked["params"])}
        except TilthError as error:
            reply = {"error": error.to_json()}
        except Exception as error:
            logger.exception("a step asked `%s`", asked["method"])
            reply = {"error": TilthError(f"{type(error).__name__}: {error}").to_json()}
        await asyncio.to_thread(self._channel.put, name, reply)

    def _answered_with(self, method: str, params: dict[str, Any]) -> Any:
        found = self._answer(method, params)
        if method == "get_artifact_folder":  # a path here means nothing there: it is brought by its digest
            self._artifacts.share(params["digest"])
        return found

    def _take(self, task: Task, result: Result) -> Outcome:
        """Write into the step's folder what the step has written into its own; artifacts stay in the store."""
        with open(task.folder / "events.jsonl", "w", encoding="utf-8", errors="surrogatepass") as file:
            file.writelines(json.dumps(each) + "\n" for each in result.events)
        if result.result is not None:
            write_json(task.folder / "result.json", result.result)
        return Outcome(result.ended, result.detail, peak_memory=result.peak_memory, notice=result.notice)

    async def _stop(self, output: Callable[[str, bytes], None]) -> None:
        """Ask for the end, and wait for it, but not for ever."""
        with contextlib.suppress(TilthError, TimeoutError):
            await asyncio.to_thread(self._channel.put, "cancel", {})
            async with asyncio.timeout(_CANCEL_S):
                # Without a sign of life, nobody is there to end anything: who starts supervisors takes it back.
                while await self._look(output) is None and self.beat is not None:
                    if time.monotonic() - self._heard_at > self._lost_after_s:
                        return
                    await asyncio.sleep(min(self._poll_s, 0.5))


def _relative(folder: str, root: Path) -> str:
    relative = os.path.relpath(folder, root)
    if relative.startswith(".."):
        raise SetupError(
            f"`{folder}` is outside of the project, and does not come to where its steps run",
            why=f"the project is `{root}`",
            mend="move the code into the project, or add it to the step's environment as a package",
        )
    return relative
