"""The driver: walks one run's graph, reuses what it can, launches the rest, and records everything.

It knows nothing of how an environment is made or a process is started: it asks `Environments` and a `Launcher`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tilth.engine import cache, events
from tilth.engine.journal import Journal
from tilth.engine.logs import LogWriter
from tilth.engine.values import Values, artifact_name, mapped_items, substitute
from tilth.errors import DiskFull, TilthError
from tilth.ir.values import digest
from tilth.orchestrators import Task
from tilth.records import Artifact, Failure, Json, OutputRef, Run, State, StepRun, new_id, now
from tilth.runtime.folder import read_events, read_json, write_json
from tilth.store import Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tilth.artifact_stores import ArtifactStore
    from tilth.engine.resources import Capacity
    from tilth.ir.pipeline import Node, Output, Pipeline
    from tilth.orchestrators import Launcher, Outcome
    from tilth.records import Package, Record
    from tilth.store import Store

_CANCEL_POLL_S = 0.2
_HITS_AT_ONCE = 100  # cached steps taken before others get a turn
_FINAL = ("changed", "environment", "disk_full")  # failures that another try would meet again
_PRINTED = 4096  # characters of a literal input kept in a record


@dataclass(frozen=True)
class Place:
    """Where a step's interpreter is and what is in it."""

    python: Path
    prefix: Path | None = None  # of the venv
    variables: Mapping[str, str] = field(default_factory=dict)


class Environments(Protocol):
    """What the driver asks about environments; names are those of the compiled pipeline, None the client's own."""

    python: str  # major.minor of the client's interpreter

    def digest(self, name: str | None) -> str:
        """Of the resolved environment; empty for the client's own."""
        ...

    def minor(self, name: str | None) -> str:
        """Major and minor version of its Python."""
        ...

    def packages(self, node: Node) -> Iterable[Package]:
        """What the sources of a step reach in the client's interpreter."""
        ...

    def readers(self, name: str | None) -> frozenset[str] | None:
        """Import names it has at the top level; None when that is not known."""
        ...

    def ready_soon(self, names: Iterable[str | None]) -> None:
        """Begin to make these, without waiting: steps will need them."""
        ...

    async def place(self, name: str | None) -> Place:
        """Make it if need be.

        Raises:
            TilthError: It cannot be made.
        """
        ...


class Code(Protocol):
    """The project's code as it was compiled."""

    roots: tuple[str, ...]
    cwd: str
    bundle: str

    def changed(self, modules: Iterable[str]) -> list[str]:
        """Files of these modules that are not any more what was compiled."""
        ...


@dataclass(slots=True)
class _NodeState:
    """Where one node stands."""

    node: Node
    waiting: set[str]
    parts: dict[str, str]
    state: State = State.QUEUED
    ready_at: float = 0.0
    began_at: float = 0.0
    items: int | None = None  # of a mapped node, once known
    next_item: int = 0
    open_items: int = 0  # not ended yet
    outputs: dict[str, list[str]] = field(default_factory=dict)  # of a mapped node: a digest per item
    inputs: dict[str, list[Any]] = field(default_factory=dict)  # of a mapped node: an expression per item
    shared: dict[str, Any] = field(default_factory=dict)  # inputs every item gets, resolved to digests
    base: str = ""  # digest of all parts but the items'
    failure: Failure | None = None
    reason: str = ""
    reused: int = 0


@dataclass(frozen=True, slots=True)
class _Unit:
    """One thing to run: a step, or one item of a mapped step."""

    state: _NodeState
    index: int | None
    key: str
    parts: dict[str, str]
    reason: str


class Driver:
    """Drives one run to its end. Use once.

    Args:
        run: As recorded, held by a lease.
        pipeline: The compiled pipeline.
        folder: The run's folder.
        cache_on: Whether outputs of earlier runs may be taken.
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
        cache_on: bool | None = None,
        failure_mode: str = "stop_new",
        done: Sequence[StepRun] = (),
        attempts: Mapping[tuple[str, int | None], int] | None = None,
    ) -> None:
        self.run = run
        self._pipeline = pipeline
        self._folder = folder
        self._store = store
        self._artifacts = artifacts
        self._launcher = launcher
        self._environments = environments
        self._code = code
        self._capacity = capacity
        self._tell = listener
        self._cache_on = cache_on
        self._failure_mode = failure_mode
        self._done = {(each.step, each.index): each for each in done}
        self._attempts = dict(attempts or {})
        self._resumed = run.fence > 1
        self._values = Values(artifacts, done)
        self._nodes: dict[str, _NodeState] = {}
        self._downstream: dict[str, list[str]] = {}
        self._readers: dict[tuple[str, str], list[frozenset[str]]] = {}
        self._ready: deque[_NodeState] = deque()
        self._waiting: deque[_Unit] = deque()  # for room on this machine
        self._running: dict[asyncio.Task[None], _Unit] = {}
        self._own: dict[str, dict[str, OutputRef]] = {}  # outputs made in this run, by cache key
        self._foreseen: set[str] = set()  # nodes whose environments are being made ready
        self._wake = asyncio.Event()
        self._stopping = False
        self._cancelled = False
        self._broken: BaseException | None = None
        self._parameters = pipeline.parameters
        self._metadata: dict[str, Json] = {}

    def cancel(self) -> None:
        """Stop the run: interrupt what runs, start nothing more. May be called from a signal handler."""
        self._cancelled = True
        self._stop(interrupt=True)

    async def drive(self) -> Run:
        """Walk the graph to its end and record how it ended.

        Raises:
            TilthError: The records could not be written; the run can be resumed.
        """
        loop = asyncio.get_running_loop()

        def broken(error: BaseException) -> None:
            self._broken = error
            loop.call_soon_threadsafe(lambda: self._stop(interrupt=True))

        def written(records: Sequence[Record]) -> None:
            for each in records:
                if isinstance(each, Artifact):
                    self._values.version(each)

        self._journal = Journal(self._store, self._artifacts, self.run, written=written, failed=broken)
        watch = loop.create_task(self._watch_for_cancel())
        try:
            self._prepare()
            await self._walk()
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            await self._launcher.close()
            await asyncio.to_thread(self._journal.close)
        return self._finish()

    def _prepare(self) -> None:
        """Set up the state of each node, and what is known of it before anything runs."""
        for node in self._pipeline.nodes:
            name = node.environment
            digest_ = self._environments.digest(name)
            parts = cache.fixed_parts(
                self._pipeline,
                node,
                environment=digest_,
                packages=() if digest_ else self._environments.packages(node),
                python=self._environments.minor(name),
                bundle=self._code.bundle,
            )
            self._nodes[node.id] = _NodeState(node, set(node.upstream()), parts)
            for upstream in node.upstream():
                self._downstream.setdefault(upstream, []).append(node.id)
            readers = self._environments.readers(name)
            for source in dict.fromkeys(node.sources()):
                known = self._readers.setdefault(source, [])
                if readers is not None and readers not in known:
                    known.append(readers)
        self._capacity.check(self._pipeline.nodes)
        for state in self._nodes.values():
            if not state.waiting:
                self._is_ready(state)

    def _is_ready(self, state: _NodeState) -> None:
        state.ready_at = time.time()
        self._ready.append(state)
        self._wake.set()

    async def _walk(self) -> None:
        """Until nothing runs and nothing can start."""
        while True:
            self._wake.clear()
            hits = 0
            while (unit := self._next()) is not None:
                if self._reuse(unit):
                    hits += 1
                    if hits >= _HITS_AT_ONCE:
                        self._wake.set()
                        break
                elif self._capacity.take(unit.state.node):
                    self._launch(unit)
                else:
                    self._waiting.append(unit)
                    break
            self._place_waiting()
            if not self._running and not self._wake.is_set() and not self._waiting:
                return
            if self._wake.is_set():
                await asyncio.sleep(0)
            else:
                await self._wake.wait()

    def _place_waiting(self) -> None:
        """Give room to those that wait for it, the longest waiting first."""
        for _ in range(len(self._waiting)):
            unit = self._waiting.popleft()
            if self._stopping:
                continue
            if self._capacity.take(unit.state.node):
                self._launch(unit)
            else:
                self._waiting.append(unit)

    def _next(self) -> _Unit | None:
        """The next unit that is ready, or None. Nodes that need no run of their own are finished on the way."""
        # A few wait for room at a time: a small step behind a large one may go first, 10,000 are not unrolled.
        while self._ready and not self._stopping and len(self._waiting) < 64:
            state = self._ready[0]
            if state.state is State.QUEUED:
                if (state.node.id, None) in self._done:
                    self._ready.popleft()
                    self._restore(state)
                    continue
                state.state = State.RUNNING
                state.began_at = time.time()
                try:
                    self._resolve(state)
                except TilthError as error:
                    self._ready.popleft()
                    failure = Failure(
                        reason="input", type=type(error).__name__, message=str(error), mend=error.mend
                    )
                    self._node_failed(state, failure)
                    continue
                if state.node.map and self._reuse_all(state):
                    self._ready.popleft()
                    continue
            if not state.node.map:
                self._ready.popleft()
                return self._unit(state, None)
            assert state.items is not None
            if state.next_item >= state.items:
                self._ready.popleft()
                if state.items == 0:
                    self._mapped(state)
                continue
            index = state.next_item
            state.next_item += 1
            if (found := self._done.get((state.node.id, index))) is not None:
                self._item_done(state, index, found.outputs, reused=found.state is State.CACHED)
                continue
            return self._unit(state, index)
        return None

    def _resolve(self, state: _NodeState) -> None:
        """Put digests in the places of references, and learn how many items there are."""
        node = state.node
        lengths: dict[str, int] = {}
        for name, expression in node.inputs.items():
            if name in node.map:
                items = mapped_items(expression, self._values)
                state.inputs[name] = items
                lengths[name] = len(items)
            state.shared[name] = substitute(expression, self._values.as_digest)
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            raise TilthError(f"step `{node.id}` is mapped over inputs of different lengths: {told} items")
        if lengths:
            state.items = next(iter(lengths.values()))
            state.open_items = state.items
            state.outputs = {each.name: [""] * state.items for each in node.outputs}
            self._tell(events.MapStarted(node.id, state.items))
        inputs = dict(cache.input_part(name, each) for name, each in state.shared.items())
        state.parts.update(inputs)
        if node.map:
            unmapped = {
                name: value for name, value in state.parts.items() if name not in map(_input_label, node.map)
            }
            state.base = cache.key(unmapped)

    def _unit(self, state: _NodeState, index: int | None) -> _Unit:
        if index is None:
            return _Unit(state, None, cache.key(state.parts), state.parts, "")
        items = {name: substitute(each[index], self._values.as_digest) for name, each in state.inputs.items()}
        return _Unit(state, index, digest({"base": state.base, "items": items}), {}, "")

    def _may_reuse(self, node: Node) -> bool:
        return node.cache if self._cache_on is None else self._cache_on and node.cache

    def _reuse_all(self, state: _NodeState) -> bool:
        """Take all items of a mapped step at once, when they all ran before."""
        unit = _Unit(state, None, cache.key(state.parts), state.parts, "")
        found = self._lookup(unit) if self._may_reuse(state.node) else None
        if found is None:
            state.reason = self._explain(unit)
            return False
        self._node_cached(state, unit, found)
        return True

    def _reuse(self, unit: _Unit) -> bool:
        """Finish a unit from the cache, if it can be."""
        state = unit.state
        if not self._may_reuse(state.node):
            return False
        own = self._own.get(unit.key)
        if own is not None and all(self._usable(state.node, name, ref) for name, ref in own.items()):
            found: StepRun | None = StepRun(run=self.run.id, step=state.node.id, outputs=own)
        else:
            found = self._lookup(unit)
        if found is None:
            return False
        if unit.index is None:
            self._node_cached(state, unit, found)
        else:
            ended = now()
            self._journal.add(
                Put(
                    self._record(
                        unit, attempt=1, state=State.CACHED, outputs=found.outputs, reused_from=found.id,
                        started_at=ended, finished_at=ended,
                    )
                )
            )  # fmt: skip
            self._item_done(state, unit.index, found.outputs, reused=True)
        return True

    def _lookup(self, unit: _Unit) -> StepRun | None:
        found = self._store.cached_step_run(unit.key)
        if found is None or {each.name for each in unit.state.node.outputs} != found.outputs.keys():
            return None
        if all(self._usable(unit.state.node, name, ref) for name, ref in found.outputs.items()):
            return found
        return None

    def _usable(self, node: Node, output: str, ref: OutputRef) -> bool:
        """Whether a stored output is whole, and can be read by every step that needs it."""
        problems = self._values.problems(ref.digest)
        if problems:
            where = self._artifacts.quarantine(ref.digest) if self._artifacts.has(ref.digest) else None
            told = (
                f"stored output `{output}` of step `{node.id}` is damaged ({problems[0]}); it is made again"
            )
            self._tell(events.Notice(told + (f"; the damaged files are in {where}" if where else "")))
            return False
        needs = self._values.requires(ref.digest)
        return all(needs <= reader for reader in self._readers.get((node.id, output), ()))

    def _explain(self, unit: _Unit) -> str:
        node = unit.state.node
        if not node.cache:
            return "caching is off for this step"
        if self._cache_on is False:
            return "caching is off for this run"
        last = self._store.find(
            StepRun,
            pipeline=self._pipeline.name,
            step=node.id,
            id_prefix="",
            limit=5,
            state=["completed", "cached"],
        )
        return cache.explain(unit.parts, next((each for each in last if each.index is None), None))

    def _node_cached(self, state: _NodeState, unit: _Unit, found: StepRun) -> None:
        state.state = State.CACHED
        state.reason = "same code, inputs and environment"
        ended = now()
        record = self._record(
            unit, attempt=1, state=State.CACHED, outputs=found.outputs, reused_from=found.id, parts=unit.parts,
            reason=state.reason, started_at=ended, finished_at=ended,
        )  # fmt: skip
        self._journal.add(Put(record))
        self._values.give(state.node.id, found.outputs)
        self._own[unit.key] = found.outputs
        self._tell(
            events.StepFinished(state.node.id, None, State.CACHED, 0.0, state.reason, items=state.items)
        )
        self._release(state)

    def _restore(self, state: _NodeState) -> None:
        """A node that a driver before this one completed."""
        found = self._done[state.node.id, None]
        state.state = found.state
        self._values.give(state.node.id, found.outputs)
        self._tell(
            events.StepFinished(
                state.node.id, None, State.CACHED, 0.0, "completed before the run was resumed"
            )
        )
        self._release(state)

    def _launch(self, unit: _Unit) -> None:
        task = asyncio.get_running_loop().create_task(self._run_unit(unit))
        self._running[task] = unit
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        unit = self._running.pop(task)
        self._capacity.give_back(unit.state.node)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
            self._stop(interrupt=True)

    async def _run_unit(self, unit: _Unit) -> None:
        """Run one unit, again if its retries allow, until it has ended."""
        state, node = unit.state, unit.state.node
        before = self._attempts.get((node.id, unit.index), 0)
        retry = node.retry
        attempt = before
        self._foresee(node.id)
        # The reason is looked up only now: a unit that is reused never pays for it.
        if unit.index is None:
            unit = _Unit(state, None, unit.key, unit.parts, self._explain(unit))
        while True:
            attempt += 1
            started = now()
            folder = self._attempt_folder(unit, attempt)
            record = self._record(
                unit,
                attempt=attempt,
                state=State.RUNNING,
                parts=unit.parts,
                reason=unit.reason,
                started_at=started,
            )
            try:
                failure = await self._attempt(unit, record, folder)
            except asyncio.CancelledError:
                failure = Failure(reason="cancelled", message="the run was cancelled")
                self._failed(unit, record, failure, folder, State.CANCELLED)
                return
            if failure is None:
                return
            tries = attempt - before
            again = tries <= retry.get("max_retries", 0) and failure.reason not in _FINAL
            self._failed(unit, record, failure, folder, State.FAILED, last=not again or self._stopping)
            if not again or self._stopping:
                return
            delay = min(retry["delay_s"] * retry["backoff"] ** (tries - 1), retry["max_delay_s"])
            self._tell(events.StepRetrying(node.id, unit.index, attempt, delay, failure))
            try:
                await asyncio.sleep(delay)
            except asyncio.CancelledError:
                self._unit_ended(
                    unit, State.CANCELLED, Failure(reason="cancelled", message="the run was cancelled")
                )
                return

    def _foresee(self, id: str) -> None:  # noqa: A002 - the field's word
        """What comes after a step that runs will run too, most likely: get its environments ready meanwhile."""
        stack, names = [id], []
        while stack:
            each = stack.pop()
            if each not in self._foreseen:
                self._foreseen.add(each)
                names.append(self._nodes[each].node.environment)
                stack += self._downstream.get(each, ())
        self._environments.ready_soon(dict.fromkeys(names))

    async def _attempt(self, unit: _Unit, record: StepRun, folder: Path) -> Failure | None:
        """Try once. None when the step completed and everything about it is taken over."""
        state, node = unit.state, unit.state.node
        if self._resumed and (left := self._left_behind(unit)) is not None:
            self._completed(unit, record, left, read_json(left / "result.json"), peak=0)
            return None
        if changed := self._code.changed(self._pipeline.closures[node.module]):
            return Failure(
                reason="changed",
                message=f"`{changed[0]}` was changed after the pipeline was compiled",
                mend="start the run again; steps that are not affected are taken from the cache",
            )
        clock = time.time()
        try:
            place = await self._environments.place(node.environment)
        except TilthError as error:
            return Failure(
                reason="environment", type=type(error).__name__, message=_told(error), mend=error.mend
            )
        waited = time.time() - clock
        self._tell(events.StepStarted(node.id, unit.index, record.attempt))
        if unit.index is None:
            self._journal.add(Put(record))
        self._write_spec(unit, record, folder)
        log = LogWriter(
            self._folder / "logs" / _log_name(unit, record.attempt),
            lambda stream, text: self._tell(events.StepLine(node.id, unit.index, text, stream)),
        )
        task = Task(
            label=node.id,
            folder=folder,
            python=place.python,
            environment=self._environments.digest(node.environment),
            prefix=place.prefix,
            variables=place.variables,
            roots=self._code.roots,
            cwd=self._code.cwd,
            timeout_s=node.timeout_s,
            memory=node.resources.get("memory"),
            fresh=node.worker == "fresh",
        )
        launched = time.time()
        try:
            outcome = await self._launcher.run(task, log.write)
        finally:
            log.close()
        took = {
            "queued": round(clock - (state.ready_at if unit.index is None else clock), 6),
            "environment": round(waited, 6),
            "total": round(time.time() - launched, 6),
        }
        record = msgspec.structs.replace(
            record, seconds=took, log_bytes=log.size, peak_memory=outcome.peak_memory
        )
        return self._conclude(unit, record, folder, outcome)

    def _conclude(self, unit: _Unit, record: StepRun, folder: Path, outcome: Outcome) -> Failure | None:
        node = unit.state.node
        if outcome.ended != "done":
            return Failure(reason=outcome.ended, message=outcome.detail)
        result = read_json(folder / "result.json")
        if result is None or result.get("fence") != self.run.fence:
            return Failure(reason="output", message="the step's result is missing or torn, as on a full disk")
        if result["state"] != "completed":
            return Failure(
                reason="out_of_memory" if result["type"] == "MemoryError" else result["reason"],
                type=result["type"],
                message=result["message"],
                traceback=result["traceback"],
                mend=result.get("mend", ""),
            )
        if outcome.notice:
            self._tell(events.Notice(f"the worker of step `{node.id}` is not used again: {outcome.notice}"))
        self._completed(unit, record, folder, result, peak=outcome.peak_memory)
        return None

    def _completed(
        self, unit: _Unit, record: StepRun, folder: Path, result: dict[str, Any], *, peak: int
    ) -> None:
        """Take over what the step gave, and let others go on; the journal makes it durable behind them."""
        state, node = unit.state, unit.state.node
        said = read_events(folder)
        changes: list[Put] = []
        fresh: list[str] = []
        outputs: dict[str, OutputRef] = {}
        for output in node.outputs:
            manifest = result["outputs"][output.name]
            looks = tuple(manifest["visualizations"])
            place = self._take_over(folder / "outputs" / output.name, manifest["digest"])
            fresh.append(manifest["digest"])
            if looks:
                _keep_visualizations(folder / "visualizations" / output.name, place)
            self._values.know(manifest)
            identifier = ""
            if unit.index is None:
                beside = _metadata(said, output=output.name)
                artifact = self._artifact(record, node, output, manifest, looks, beside)
                changes.append(Put(artifact))
                identifier = artifact.id
            outputs[output.name] = OutputRef(digest=manifest["digest"], artifact=identifier)
        changes += self._saved(record, folder, said, fresh)
        self._metadata.update(_metadata(said, run=True))
        done = msgspec.structs.replace(
            record,
            state=State.COMPLETED,
            outputs=outputs,
            finished_at=now(),
            seconds={**record.seconds, **result["seconds"]},
            peak_memory=peak,
            metadata=_metadata(said),
        )
        self._journal.add(*changes, Put(done), artifacts=fresh, folder=folder)
        if self._may_reuse(node):
            self._own[unit.key] = outputs
        if unit.index is not None:
            self._item_done(state, unit.index, outputs, reused=False)
            return
        state.state = State.COMPLETED
        self._values.give(node.id, outputs)
        took = done.seconds.get("total", 0.0)
        self._tell(events.StepFinished(node.id, None, State.COMPLETED, took, unit.reason))
        self._release(state)

    def _take_over(self, folder: Path, digest_: str) -> Path:
        if not folder.exists() and self._artifacts.has(digest_):
            return self._artifacts.path(digest_)  # left behind by a driver that had adopted it already
        return self._artifacts.adopt(folder, digest_)

    def _item_done(
        self, state: _NodeState, index: int, outputs: Mapping[str, OutputRef], *, reused: bool
    ) -> None:
        for name, ref in outputs.items():
            state.outputs[name][index] = ref.digest
        state.reused += reused
        self._item_ended(state, index, State.CACHED if reused else State.COMPLETED)

    def _item_ended(
        self, state: _NodeState, index: int, ended: State, failure: Failure | None = None
    ) -> None:
        state.open_items -= 1
        self._tell(events.StepFinished(state.node.id, index, ended, 0.0, failure=failure))
        if state.open_items == 0 or (self._stopping and not self._others(state)):
            self._mapped(state)

    def _others(self, state: _NodeState) -> bool:
        """Whether other items of this step still run."""
        current = asyncio.current_task()
        return any(unit.state is state for task, unit in self._running.items() if task is not current)

    def _mapped(self, state: _NodeState) -> None:
        """All items of a mapped step have ended."""
        node = state.node
        took = time.time() - state.began_at
        unit = _Unit(state, None, cache.key(state.parts), state.parts, state.reason)
        record = self._record(
            unit, attempt=self._attempts.get((node.id, None), 0) + 1, state=State.RUNNING, parts=state.parts,
            reason=state.reason, started_at=datetime.fromtimestamp(state.began_at, timezone.utc),
        )  # fmt: skip
        if state.failure is not None or state.open_items:
            ended = State.CANCELLED if self._cancelled and state.failure is None else State.FAILED
            failure = state.failure or Failure(reason="cancelled", message="the run was stopped")
            self._journal.add(
                Put(msgspec.structs.replace(record, state=ended, finished_at=now(), failure=failure))
            )
            state.state = ended
            self._tell(events.StepFinished(node.id, None, ended, took, failure=failure, items=state.items))
            self._skip_downstream(state)
            return
        outputs: dict[str, OutputRef] = {}
        changes: list[Put] = []
        for output in node.outputs:
            manifest = self._values.bundle(state.outputs[output.name], self._folder / "steps" / node.id)
            artifact = self._artifact(record, node, output, manifest, (), {})
            changes.append(Put(artifact))
            outputs[output.name] = OutputRef(digest=manifest["digest"], artifact=artifact.id)
        done = msgspec.structs.replace(
            record, state=State.COMPLETED, outputs=outputs, finished_at=now(), seconds={"total": round(took, 6)},
            metadata={"items": state.items, "reused": state.reused},
        )  # fmt: skip
        self._journal.add(*changes, Put(done), artifacts=[each.digest for each in outputs.values()])
        state.state = State.COMPLETED
        state.outputs.clear()
        state.inputs.clear()
        self._values.give(node.id, outputs)
        self._tell(events.StepFinished(node.id, None, State.COMPLETED, took, state.reason, items=state.items))
        self._release(state)

    def _failed(
        self, unit: _Unit, record: StepRun, failure: Failure, folder: Path, ended: State, *, last: bool = True
    ) -> None:
        """Record an attempt that did not complete."""
        said = read_events(folder)
        fresh: list[str] = []
        saved = self._saved(record, folder, said, fresh)
        seconds = dict((read_json(folder / "result.json") or {}).get("seconds", {}))
        given = (read_json(folder / "result.json") or {}).get("inputs")
        record = msgspec.structs.replace(
            record, state=ended, failure=failure, finished_at=now(), metadata=_metadata(said), seconds=seconds
        )
        self._journal.add(*saved, Put(record), artifacts=fresh)
        if last:
            self._unit_ended(unit, ended, failure, given)

    def _unit_ended(
        self, unit: _Unit, ended: State, failure: Failure, inputs: dict[str, str] | None = None
    ) -> None:
        """A unit ended for good without completing."""
        state = unit.state
        if ended is State.FAILED:
            self._react(failure)
        if unit.index is not None:
            if ended is State.FAILED and state.failure is None:
                state.failure = msgspec.structs.replace(
                    failure, message=f"item {unit.index}: {failure.message}"
                )
            self._tell(
                events.StepFinished(state.node.id, unit.index, ended, 0.0, failure=failure, inputs=inputs)
            )
            state.open_items -= 1 if ended is State.FAILED else 0
            if state.open_items == 0 or (self._stopping and not self._others(state)):
                self._mapped(state)
            return
        state.state = ended
        state.failure = failure
        took = time.time() - state.began_at
        self._tell(events.StepFinished(state.node.id, None, ended, took, failure=failure, inputs=inputs))
        self._skip_downstream(state)

    def _node_failed(self, state: _NodeState, failure: Failure) -> None:
        """A node failed before anything of it ran."""
        unit = _Unit(state, None, "", {}, "")
        record = self._record(
            unit, attempt=self._attempts.get((state.node.id, None), 0) + 1, state=State.FAILED
        )
        self._journal.add(Put(msgspec.structs.replace(record, failure=failure, finished_at=now())))
        self._react(failure)
        state.state = State.FAILED
        state.failure = failure
        self._tell(events.StepFinished(state.node.id, None, State.FAILED, 0.0, failure=failure))
        self._skip_downstream(state)

    def _react(self, failure: Failure) -> None:
        """What a failure means for the steps that do not depend on it."""
        if self._failure_mode == "fail_fast" or failure.reason == "disk_full":
            self._stop(interrupt=True)
        elif self._failure_mode == "stop_new":
            self._stop(interrupt=False)

    def _stop(self, *, interrupt: bool) -> None:
        self._stopping = True
        if interrupt:
            for task in list(self._running):
                if task is not _current_task():
                    task.cancel()
        self._wake.set()

    def _skip_downstream(self, state: _NodeState) -> None:
        stack = list(self._downstream.get(state.node.id, ()))
        while stack:
            each = self._nodes[stack.pop()]
            if each.state is not State.QUEUED:
                continue
            each.state = State.SKIPPED
            unit = _Unit(each, None, "", {}, "")
            why = Failure(reason="upstream", message=f"step `{state.node.id}` did not complete")
            record = self._record(
                unit, attempt=self._attempts.get((each.node.id, None), 0) + 1, state=State.SKIPPED
            )
            self._journal.add(Put(msgspec.structs.replace(record, failure=why, finished_at=now())))
            self._tell(events.StepFinished(each.node.id, None, State.SKIPPED, 0.0, why.message))
            stack += self._downstream.get(each.node.id, ())

    def _release(self, state: _NodeState) -> None:
        """Let those go on that waited for this node."""
        for id in self._downstream.get(state.node.id, ()):  # noqa: A001 - the field's word
            other = self._nodes[id]
            other.waiting.discard(state.node.id)
            if not other.waiting and other.state is State.QUEUED and not other.ready_at:
                self._is_ready(other)

    def _finish(self) -> Run:
        """Record how the run ended."""
        if isinstance(self._broken, TilthError):
            raise self._broken
        if self._broken is not None:
            raise self._broken
        states = {each.state for each in self._nodes.values()}
        failures = [each for each in self._nodes.values() if each.state is State.FAILED]
        failure = None
        if self._cancelled:
            state = State.CANCELLED
            failure = Failure(reason="cancelled", message="the run was cancelled")
        elif failures:
            state = State.FAILED
            first = failures[0]
            cause = first.failure or Failure(reason="exception")
            failure = msgspec.structs.replace(cause, message=f"step `{first.node.id}`: {cause.message}")
        else:
            assert states <= {State.COMPLETED, State.CACHED}, states
            state = State.COMPLETED
        ended = msgspec.structs.replace(
            self.run,
            state=state,
            finished_at=now(),
            failure=failure,
            metadata={**self.run.metadata, **self._metadata},
        )
        self.run = self._store.replace(self.run, ended)
        if state is State.COMPLETED:
            shutil.rmtree(self._folder / "steps", ignore_errors=True)
        return self.run

    async def _watch_for_cancel(self) -> None:
        """Another process asks for the end of the run by a file in its folder."""
        request = self._folder / "cancel"
        while True:
            if request.exists():
                request.unlink(missing_ok=True)
                self.cancel()
                return
            await asyncio.sleep(_CANCEL_POLL_S)

    def _attempt_folder(self, unit: _Unit, attempt: int) -> Path:
        node = unit.state.node.id
        steps = self._folder / "steps"
        return steps / f"{node}.{attempt}" if unit.index is None else steps / node / f"{unit.index}.{attempt}"

    def _left_behind(self, unit: _Unit) -> Path | None:
        """A finished attempt of a driver that ended before it could record it."""
        last = self._attempts.get((unit.state.node.id, unit.index), 0) + 1  # its record may be lost
        for attempt in range(last, 0, -1):
            folder = self._attempt_folder(unit, attempt)
            result, spec = read_json(folder / "result.json"), read_json(folder / "step.json")
            if not result or not spec or result["state"] != "completed" or spec.get("key") != unit.key:
                continue
            if all(self._whole(folder / "outputs" / name, made) for name, made in result["outputs"].items()):
                return folder
        return None

    def _whole(self, folder: Path, manifest: Mapping[str, Any]) -> bool:
        from tilth.materializers.artifacts import verify

        if folder.exists():
            return not verify(folder)
        return self._artifacts.has(manifest["digest"])

    def _write_spec(self, unit: _Unit, record: StepRun, folder: Path) -> None:
        node = unit.state.node
        if folder.exists():
            shutil.rmtree(folder)
        try:
            folder.mkdir(parents=True)
            write_json(
                folder / "step.json",
                {
                    "version": 1,
                    "function": node.function,
                    "environment": node.environment or "the client's",
                    "key": unit.key,
                    "fence": self.run.fence,
                    "roots": self._code.roots,
                    "inputs": self._inputs(unit),
                    "materializers": list(node.materializers),
                    "outputs": [
                        {
                            "name": each.name,
                            "annotation": each.annotation,
                            "type": each.type,
                            "collection": each.collection,
                            "readers": [
                                sorted(reader) for reader in self._readers.get((node.id, each.name), ())
                            ],
                        }
                        for each in node.outputs
                    ],
                    "context": {
                        "run_id": self.run.id,
                        "run_name": self.run.name,
                        "pipeline": self._pipeline.name,
                        "step": node.id,
                        "attempt": record.attempt,
                        "index": unit.index,
                        "parameters": self._parameters,
                        "extra": node.extra,
                        "tags": list(node.tags),
                    },
                },
            )
        except OSError as error:
            raise DiskFull(
                f"the folder of step `{node.id}` cannot be written: {error.strerror}",
                why=str(folder),
                mend=f"make room, then `tilth runs resume {self.run.name}`",
            ) from error

    def _inputs(self, unit: _Unit) -> dict[str, Any]:
        """Expressions with paths in the places of references."""
        state = unit.state
        if unit.index is None:
            return {name: substitute(each, self._values.as_path) for name, each in state.node.inputs.items()}
        return {
            name: substitute(
                state.inputs[name][unit.index] if name in state.inputs else each, self._values.as_path
            )
            for name, each in state.node.inputs.items()
        }

    def _record(
        self,
        unit: _Unit,
        *,
        attempt: int,
        state: State,
        parts: Mapping[str, str] | None = None,
        reason: str = "",
        outputs: Mapping[str, OutputRef] | None = None,
        reused_from: str = "",
        started_at: datetime | None = None,
        finished_at: datetime | None = None,
    ) -> StepRun:
        node = unit.state.node
        inputs: dict[str, Json] = {}
        if unit.index is None:
            inputs = {name: self._shown(each) for name, each in node.inputs.items()}
        return StepRun(
            id=new_id(),
            run=self.run.id,
            step=node.id,
            pipeline=self._pipeline.name,
            attempt=attempt,
            index=unit.index,
            state=state,
            cache_key=unit.key,
            cache_parts=dict(parts or {}),
            cache_reason=reason,
            reused_from=reused_from,
            environment=self._environments.digest(node.environment),
            inputs=inputs,
            outputs=dict(outputs or {}),
            started_at=started_at,
            finished_at=finished_at,
            fence=self.run.fence,
            tags=node.tags,
        )

    def _shown(self, expression: Any) -> Json:
        """An input as kept in a record: references as digests, literals unless they are large."""
        shown = substitute(expression, self._values.as_reference)
        text = json.dumps(shown)
        return shown if len(text) <= _PRINTED else {"$large": digest(shown), "size": len(text)}

    def _artifact(
        self,
        record: StepRun,
        node: Node,
        output: Output,
        manifest: Mapping[str, Any],
        looks: tuple[str, ...],
        metadata: Mapping[str, Json],
    ) -> Artifact:
        return Artifact(
            id=new_id(),
            name=artifact_name(self._pipeline.name, node, output),
            version=0,  # the store gives the next one
            digest=manifest["digest"],
            run=self.run.id,
            step_run=record.id,
            step=node.id,
            output=output.name,
            type=manifest["type"],
            materializer=manifest["materializer"],
            format=manifest["format"],
            size=manifest["size"],
            length=manifest.get("length"),
            visualizations=looks,
            tags=(*output.tags, *((output.version,) if output.version else ())),
            metadata={**manifest.get("metadata", {}), **metadata},
        )

    def _saved(
        self, record: StepRun, folder: Path, said: Iterable[Mapping[str, Any]], fresh: list[str]
    ) -> list[Put]:
        """Artifacts that the step saved by hand."""
        from tilth.materializers.artifacts import read_manifest

        changes = []
        for event in said:
            if event.get("event") != "artifact":
                continue
            manifest = read_manifest(folder / event["folder"])
            self._take_over(folder / event["folder"], manifest["digest"])
            fresh.append(manifest["digest"])
            changes.append(
                Put(
                    Artifact(
                        name=event["name"],
                        version=0,
                        digest=manifest["digest"],
                        run=self.run.id,
                        step_run=record.id,
                        step=record.step,
                        type=manifest["type"],
                        materializer=manifest["materializer"],
                        format=manifest["format"],
                        size=manifest["size"],
                        tags=tuple(event["tags"]),
                        metadata={**manifest.get("metadata", {}), **event["metadata"]},
                    )
                )
            )
        return changes


def _input_label(name: str) -> str:
    return f"input `{name}`"


def _metadata(
    said: Iterable[Mapping[str, Any]], *, output: str | None = None, run: bool = False
) -> dict[str, Json]:
    """The metadata that a step logged for itself, for one of its outputs or for the run."""
    found: dict[str, Json] = {}
    for event in said:
        if (
            event.get("event") == "metadata"
            and event.get("output") == output
            and event.get("run", False) == run
        ):
            found.update(event["metadata"])
    return found


def _keep_visualizations(folder: Path, artifact: Path) -> None:
    """Beside the artifact, not in it: its digest is of the value alone."""
    place = artifact.with_name(artifact.name + ".visualizations")
    if folder.is_dir() and not place.exists():
        with contextlib.suppress(OSError):  # another run put the same there meanwhile
            folder.rename(place)


def _log_name(unit: _Unit, attempt: int) -> str:
    item = "" if unit.index is None else f".{unit.index}"
    return f"{unit.state.node.id}{item}.{attempt}.log"


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _told(error: TilthError) -> str:
    return "\n".join(filter(None, (error.summary, error.why)))
