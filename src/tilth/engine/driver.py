"""The driver: walks one run's graph, reuses what it can, launches the rest, and records everything.

It knows nothing of how an environment is made or a process is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec

from tilth.engine import events
from tilth.engine.attempts import Attempts, Ended
from tilth.engine.journal import Journal
from tilth.engine.nodes import Nodes, NodeState, Unit
from tilth.engine.recorder import Recorder
from tilth.engine.reuse import SAME, Reuse
from tilth.engine.values import Values
from tilth.environments import background
from tilth.errors import TilthError
from tilth.records import Failure, Run, State, StepRun, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tilth.artifact_stores import ArtifactStore
    from tilth.engine.environments import Code, Environments
    from tilth.engine.resources import Capacity
    from tilth.engine.secrets import RunSecrets
    from tilth.ir.pipeline import Pipeline
    from tilth.orchestrators import Launcher
    from tilth.records import OutputRef
    from tilth.store import Store

_CANCEL_POLL_S = 0.2
_HITS_AT_ONCE = 100  # reused steps taken before others get a turn
_WAITING = 64  # units looked at beyond those that have room: a small step may pass a large one
_FINAL = ("changed", "environment", "disk_full")  # failures that another try would meet again
_CANCELLED = Failure(reason="cancelled", message="the run was cancelled")


class Driver:
    """Drives one run to its end. Use once.

    Args:
        run: As recorded, held by a lease.
        pipeline: The compiled pipeline.
        folder: The run's folder.
        cache_on: Whether outputs of earlier runs may be taken; None leaves it to each step.
        failure_mode: See `PipelineOptions`.
        done: Step runs of this run that a driver before this one completed.
        attempts: How often each (step, index) was tried before.
    """

    def __init__(
        self,
        run: Run,
        pipeline: Pipeline,
        *,
        folder: Path,
        store: Store,
        artifacts: ArtifactStore,
        launcher: Launcher,
        environments: Environments,
        code: Code,
        capacity: Capacity,
        listener: events.Listener,
        secrets: RunSecrets,
        cache_on: bool | None = None,
        failure_mode: str = "stop_new",
        done: Sequence[StepRun] = (),
        attempts: Mapping[tuple[str, int | None], int] | None = None,
    ) -> None:
        capacity.check(pipeline.nodes)
        self._run = run
        self._folder = folder
        self._store = store
        self._artifacts = artifacts
        self._launcher = launcher
        self._environments = environments
        self._capacity = capacity
        self._tell = listener
        self._failure_mode = failure_mode
        self._done = {(each.step, each.index): each for each in done}
        self._tried = dict(attempts or {})
        self._ready: deque[NodeState] = deque()
        self._waiting: deque[Unit] = deque()  # for room on this machine
        self._running: dict[asyncio.Task[None], Unit] = {}
        self._equals: dict[
            str, list[Unit]
        ] = {}  # by the key of one that runs: those that wait for its outputs
        self._foreseen: set[str] = set()  # nodes whose environments are being made ready
        self._wake = asyncio.Event()
        self._stopping = False
        self._cancelled = False
        self._broken: BaseException | None = None
        self._journal = Journal(store, artifacts, run, failed=self._not_written)
        self._values = Values(artifacts)
        self._reuse = Reuse(
            pipeline,
            store=store,
            artifacts=artifacts,
            values=self._values,
            environments=environments,
            bundle=code.bundle,
            cache_on=cache_on,
            damaged=self._found_damaged,
        )
        self._recorder = Recorder(
            run,
            pipeline,
            journal=self._journal,
            artifacts=artifacts,
            values=self._values,
            environments=environments,
            mask=secrets.mask,
        )
        self._attempts = Attempts(
            run,
            pipeline,
            folder=folder,
            launcher=launcher,
            environments=environments,
            code=code,
            artifacts=artifacts,
            values=self._values,
            reuse=self._reuse,
            listener=listener,
            secrets=secrets,
            resumed=run.fence > 1,
        )
        self._nodes = Nodes(pipeline, {node.id: self._reuse.parts(node) for node in pipeline.nodes})
        for each in done:
            self._recorder.metadata.update(each.run_metadata)
        self._loop = asyncio.get_running_loop()

    def cancel(self) -> None:
        """Stop the run: interrupt what runs, start nothing more. May be called from a signal handler."""
        self._cancelled = True
        self._stop(interrupt=True)

    def settle(self) -> None:
        """Return when all that steps gave so far can be asked for. May be called from any thread."""
        self._journal.flush()

    async def drive(self) -> Run:
        """Walk the graph to its end and record how it ended.

        Raises:
            TilthError: The records could not be written; the run can be resumed.
        """
        watch = self._loop.create_task(self._watch_for_cancel())
        try:
            for state in self._nodes:
                if not state.waiting:
                    self._is_ready(state)
            await self._walk()
            self._tell_not_started()
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            await self._launcher.close()
            # In no thread that the end of the loop, or of the process, would wait for: a second Ctrl-C is meant.
            await asyncio.wrap_future(background.in_thread(self._journal.close))
        if self._broken is not None:
            raise self._broken
        return self._finish()

    async def _walk(self) -> None:
        """Until nothing runs and nothing can start."""
        while True:
            self._wake.clear()
            self._place_waiting()
            hits = 0
            while (unit := self._next()) is not None:
                if self._reused(unit, self._reuse.find(unit)):
                    hits += 1
                    if hits >= _HITS_AT_ONCE:
                        self._wake.set()
                        break
                elif unit.key in self._equals:
                    self._equals[unit.key].append(unit)
                elif self._capacity.take(unit.node):
                    self._launch(unit)
                else:
                    self._wait(unit)
            if not self._running and not self._wake.is_set():
                return
            await (asyncio.sleep(0) if self._wake.is_set() else self._wake.wait())

    def _place_waiting(self) -> None:
        """Give room to those that wait for it, the longest waiting first."""
        for _ in range(len(self._waiting)):
            unit = self._waiting.popleft()
            unit.state.is_waiting = False
            if self._stopping or self._reused(unit, self._reuse.find_own(unit)):
                continue
            if unit.key in self._equals:
                self._equals[unit.key].append(unit)
            elif self._capacity.take(unit.node):
                self._launch(unit)
            else:
                self._wait(unit)

    def _wait(self, unit: Unit) -> None:
        unit.state.is_waiting = True
        self._waiting.append(unit)

    def _next(self) -> Unit | None:
        """The next unit to look at, or None. Nodes that need no run of their own are finished on the way."""
        passed = 0  # mapped steps with an item that waits: their other items need as much room
        while passed < len(self._ready) and not self._stopping and len(self._waiting) < _WAITING:
            state = self._ready[0]
            if state.is_waiting:
                self._ready.rotate(-1)
                passed += 1
                continue
            if state.state is State.QUEUED and not self._open(state):
                self._ready.popleft()
                continue
            if not state.node.map:
                self._ready.popleft()
                return state.unit(None, self._values)
            assert state.items is not None
            if state.next_item >= state.items:
                self._ready.popleft()
                if state.items == 0:
                    self._end_map(state)
                continue
            index = state.next_item
            state.next_item += 1
            found = self._done.get((state.node.id, index))
            if found is None:
                return state.unit(index, self._values)
            self._item_done(state, index, found.cache_key, found.outputs, reused=True)
        return None

    def _open(self, state: NodeState) -> bool:
        """Begin with a node; False when that is all there is to do."""
        if (found := self._done.get((state.node.id, None))) is not None:
            self._give(state, State.CACHED, found.outputs)
            self._tell_finished(state, 0.0, "completed before the run was resumed")
            return False
        state.state = State.RUNNING
        state.began_at = time.time()
        try:
            state.resolve(self._values)
        except TilthError as error:
            told = "\n".join(filter(None, (error.summary, error.why)))
            self._fail(
                state.unit(None, self._values),
                Failure(reason="input", type=type(error).__name__, message=told),
            )
            return False
        if not state.node.map:
            return True
        self._tell(events.MapStarted(state.node.id, state.items or 0))
        unit = state.unit(None, self._values)
        if self._reused(unit, self._reuse.find(unit)):
            return False
        state.reason = self._reuse.explain(unit)
        return True

    def _reused(self, unit: Unit, found: StepRun | None) -> bool:
        """Finish a unit, or a mapped step as a whole, with the outputs that were found, if any."""
        if found is None:
            return False
        self._recorder.reused(unit, found, SAME)
        if unit.index is not None:
            self._item_done(unit.state, unit.index, unit.key, found.outputs, reused=True)
            return True
        self._reuse.made(unit, found.outputs)
        self._give(unit.state, State.CACHED, found.outputs)
        self._tell_finished(unit.state, 0.0, SAME)
        return True

    def _launch(self, unit: Unit) -> None:
        task = self._loop.create_task(self._run_unit(unit))
        self._running[task] = unit
        if self._reuse.allowed(unit.node):
            self._equals[unit.key] = []
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        unit = self._running.pop(task)
        self._waiting.extendleft(self._equals.pop(unit.key, ()))
        self._capacity.give_back(unit.node)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
            self._stop(interrupt=True)
        elif unit.index is not None:
            self._end_map_if_last(unit.state)

    async def _run_unit(self, unit: Unit) -> None:
        """Run one unit, again if its retries allow, until it has ended."""
        node, retry = unit.node, unit.node.retry
        before = self._tried.get((node.id, unit.index), 0)
        self._foresee(unit.state)
        if unit.index is None:
            unit.reason = self._reuse.explain(unit)
        attempt = before
        while True:
            attempt += 1
            record = self._recorder.begin(unit, attempt)
            self._recorder.running(record)
            try:
                ended = self._attempts.left_behind(unit, attempt) or await self._attempts.run(unit, attempt)
            except asyncio.CancelledError:
                self._recorder.failed(
                    record, _CANCELLED, State.CANCELLED, folder=self._attempts.folder(unit, attempt)
                )
                self._end_without(unit, State.CANCELLED, _CANCELLED)
                return
            record = msgspec.structs.replace(
                record,
                seconds=dict(ended.seconds or {}),
                log_bytes=ended.log_bytes,
                peak_memory=ended.peak_memory,
            )
            if ended.failure is None:
                self._complete(unit, record, ended)
                return
            self._recorder.failed(
                record, ended.failure, State.FAILED, folder=ended.folder, seconds=ended.result.get("seconds")
            )
            tries = attempt - before
            if tries > retry.get("max_retries", 0) or ended.failure.reason in _FINAL or self._stopping:
                self._end_without(unit, State.FAILED, ended.failure, ended.result.get("inputs"))
                return
            delay = min(retry["delay_s"] * retry["backoff"] ** (tries - 1), retry["max_delay_s"])
            self._tell(events.StepRetrying(node.id, unit.index, attempt, delay, ended.failure))
            try:
                await asyncio.sleep(delay)
            except asyncio.CancelledError:
                self._end_without(unit, State.CANCELLED, _CANCELLED)
                return

    def _complete(self, unit: Unit, record: StepRun, ended: Ended) -> None:
        """Take over what a unit gave, and let others go on; the journal makes it durable behind them."""
        if ended.notice:
            self._tell(
                events.Notice(f"the worker of step `{unit.node.id}` is not used again: {ended.notice}")
            )
        outputs = self._recorder.completed(unit, record, ended.folder, ended.result)
        self._reuse.made(unit, outputs)
        if unit.index is not None:
            self._item_done(unit.state, unit.index, unit.key, outputs, reused=False)
            return
        self._give(unit.state, State.COMPLETED, outputs)
        self._tell_finished(unit.state, record.seconds.get("total", 0.0), unit.reason)

    def _item_done(
        self, state: NodeState, index: int, key: str, outputs: Mapping[str, OutputRef], *, reused: bool
    ) -> None:
        state.item_done(index, key, outputs)
        state.reused += reused
        state.open_items -= 1
        ended = State.CACHED if reused else State.COMPLETED
        self._tell(events.StepFinished(state.node.id, index, ended, 0.0))
        if reused:
            self._end_map_if_last(state)

    def _end_map_if_last(self, state: NodeState) -> None:
        """Finish a mapped step when its last item has ended, or the last that was begun when the run stops."""
        if state.state is not State.RUNNING or any(unit.state is state for unit in self._running.values()):
            return
        if state.open_items == 0 or self._stopping:
            self._end_map(state)

    def _end_map(self, state: NodeState) -> None:
        took = time.time() - state.began_at
        unit = state.unit(None, self._values)
        unit.reason = state.reason
        record = self._recorder.begin(
            unit,
            self._tried.get((state.node.id, None), 0) + 1,
            started_at=datetime.fromtimestamp(state.began_at, timezone.utc),
        )
        if state.failure is None and state.open_items == 0:
            outputs = self._recorder.collected(unit, record, took, self._folder / "steps")
            self._give(state, State.COMPLETED, outputs)
            self._tell_finished(state, took, state.reason)
        else:
            ended = State.FAILED if state.failure else State.CANCELLED
            failure = state.failure or Failure(reason="cancelled", message="the run was stopped")
            self._recorder.failed(record, failure, ended)
            self._close(state, ended, failure, took)
        state.forget_items()

    def _end_without(
        self, unit: Unit, ended: State, failure: Failure, inputs: dict[str, str] | None = None
    ) -> None:
        """A unit ended for good without completing, and that is recorded."""
        state = unit.state
        if ended is State.FAILED:
            self._react(failure)
        if unit.index is None:
            self._close(state, ended, failure, time.time() - state.began_at, inputs)
            return
        if ended is State.FAILED:
            state.open_items -= 1
            if state.failure is None:
                state.failure = msgspec.structs.replace(
                    failure, message=f"item {unit.index}: {failure.message}"
                )
        self._tell(events.StepFinished(state.node.id, unit.index, ended, 0.0, failure=failure, inputs=inputs))

    def _fail(self, unit: Unit, failure: Failure) -> None:
        """A node failed before anything of it ran."""
        record = self._recorder.begin(unit, self._tried.get((unit.node.id, None), 0) + 1)
        self._recorder.failed(record, failure, State.FAILED)
        self._end_without(unit, State.FAILED, failure)

    def _close(
        self,
        state: NodeState,
        ended: State,
        failure: Failure,
        took: float,
        inputs: dict[str, str] | None = None,
    ) -> None:
        """A node ended without outputs: those that need them are skipped."""
        state.state = ended
        state.failure = failure
        self._tell(
            events.StepFinished(
                state.node.id, None, ended, took, failure=failure, inputs=inputs, items=state.items
            )
        )
        why = Failure(reason="upstream", message=f"step `{state.node.id}` did not complete")
        for other in self._nodes.after(state):
            if other.state is State.QUEUED:
                other.state = State.SKIPPED
                unit = Unit(other, None, "", {})
                record = self._recorder.begin(unit, self._tried.get((other.node.id, None), 0) + 1)
                self._recorder.failed(record, why, State.SKIPPED)
                self._tell(events.StepFinished(other.node.id, None, State.SKIPPED, 0.0, why.message))

    def _give(self, state: NodeState, ended: State, outputs: Mapping[str, OutputRef]) -> None:
        """A node has its outputs: let those go on that waited for it."""
        state.state = ended
        self._values.give(state.node.id, outputs)
        for other in self._nodes.release(state):
            self._is_ready(other)

    def _is_ready(self, state: NodeState) -> None:
        state.ready_at = time.time()
        self._ready.append(state)
        self._wake.set()

    def _tell_finished(self, state: NodeState, took: float, reason: str) -> None:
        self._tell(events.StepFinished(state.node.id, None, state.state, took, reason, items=state.items))

    def _foresee(self, state: NodeState) -> None:
        """What comes after a step that runs will run too, most likely: get its environments ready meanwhile."""
        if state.node.id in self._foreseen:
            return
        states = [state, *self._nodes.after(state)]
        self._foreseen.update(each.node.id for each in states)
        self._environments.ready_soon(dict.fromkeys(each.node.environment for each in states))

    def _react(self, failure: Failure) -> None:
        """What a failure means for the steps that do not depend on it."""
        if self._failure_mode == "fail_fast" or failure.reason == "disk_full":
            self._stop(interrupt=True)
        elif self._failure_mode == "stop_new":
            self._stop(interrupt=False)

    def _stop(self, *, interrupt: bool) -> None:
        self._stopping = True
        self._wake.set()
        if not interrupt:
            return
        current = _current_task()
        for task in list(self._running):
            if task is not current:
                task.cancel()

    def _tell_not_started(self) -> None:
        """Steps that the end of the run left where they were."""
        why = Failure(reason="cancelled", message="the run ended before it started")
        for state in self._nodes:
            if not state.state.is_final:
                state.state = State.SKIPPED
                record = self._recorder.begin(
                    Unit(state, None, "", {}), self._tried.get((state.node.id, None), 0) + 1
                )
                self._recorder.failed(record, why, State.SKIPPED)
                self._tell(events.StepFinished(state.node.id, None, State.SKIPPED, 0.0, why.message))

    def _not_written(self, error: BaseException) -> None:
        """In the journal's thread: nothing can be recorded any more."""
        self._broken = error
        self._loop.call_soon_threadsafe(lambda: self._stop(interrupt=True))

    def _found_damaged(self, output: str, step: str, problem: str, digest: str) -> None:
        told = f"stored output `{output}` of step `{step}` is damaged ({problem}); it is made again"
        if self._artifacts.is_here(digest):
            told += f"; the damaged files are in {self._artifacts.quarantine(digest)}"
        self._tell(events.Notice(told))

    def _finish(self) -> Run:
        """Record how the run ended."""
        failed = [each for each in self._nodes if each.state is State.FAILED]
        failure = None
        if self._cancelled:
            state, failure = State.CANCELLED, _CANCELLED
        elif failed:
            cause = failed[0].failure or Failure(reason="exception")
            state = State.FAILED
            failure = msgspec.structs.replace(cause, message=f"step `{failed[0].node.id}`: {cause.message}")
        else:
            assert all(each.state.is_good for each in self._nodes), [each.state for each in self._nodes]
            state = State.COMPLETED
            shutil.rmtree(self._folder / "steps", ignore_errors=True)
        metadata = {**self._run.metadata, **self._recorder.metadata}
        ended = msgspec.structs.replace(
            self._run, state=state, finished_at=now(), failure=failure, metadata=metadata
        )
        return self._store.replace(self._run, ended)

    async def _watch_for_cancel(self) -> None:
        """Another process asks for the end of the run by a file in its folder."""
        request = self._folder / "cancel"
        while True:
            if request.exists():
                request.unlink(missing_ok=True)
                self.cancel()
                return
            await asyncio.sleep(_CANCEL_POLL_S)


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # called from a signal handler or another thread
        return None
