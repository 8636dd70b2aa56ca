"""The graph of a run for people: its steps, what they wait for, and where each stands. Pure decisions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tilth.records import Json, Moment, OutputRef, Run, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from tilth.ir.pipeline import Node, Pipeline

_LONGEST = 300  # characters of a failure's message in a graph; the step itself has all of it


class Counted(NamedTuple):
    """Items of one step: how many there are in each state, by the last attempt at each, and when the first began."""

    counts: dict[str, int]
    began: datetime | None


Counts = dict[str, Counted]  # by the step's id


class ShortFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a step failed, in short."""

    reason: str
    type: str = ""
    message: str = ""


class RunAttempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The attempt at a step that counts: its last one."""

    id: str  # of its step run
    revision: int
    fence: int
    attempt: int
    state: State
    cache_reason: str = ""
    reused_from: str = ""
    environment: str = ""  # digest; empty for the client's own
    started_at: Moment | None = None
    finished_at: Moment | None = None
    seconds: dict[str, float] = {}
    peak_memory: int = 0
    log_bytes: int = 0
    failure: ShortFailure | None = None


class ItemCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The items of a mapped step: how many there are, where that is known, how many are in each state, and when the
    first began, of those that have ended."""

    total: int | None
    counts: dict[str, int]
    began: Moment | None = None


class RunNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of the graph."""

    id: str
    state: State
    function: str = ""  # `module:qualname`
    environment: str = ""  # name; empty for the client's own
    outputs: tuple[str, ...] = ()
    attempts: int = 0
    last: RunAttempt | None = None
    items: ItemCounts | None = None  # of a mapped step


class RunEdge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What waits for what; without outputs it only waits."""

    source: str
    target: str
    outputs: tuple[str, ...] = ()


class RunGraph(msgspec.Struct, frozen=True, kw_only=True):
    """A run and the steps it is made of, in the order of their calls.

    `whole` is false where the compiled pipeline is not here: then only steps that have begun are told, with what their
    inputs came from. `driven` is whether some process drives the run now.
    """

    run: Run
    whole: bool
    driven: bool
    nodes: tuple[RunNode, ...]
    edges: tuple[RunEdge, ...]


class LightStepRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a graph needs of a step run; the rest of its record is not read."""

    id: str
    step: str
    attempt: int = 1
    fence: int = 1
    state: State = State.QUEUED
    cache_reason: str = ""
    reused_from: str = ""
    environment: str = ""
    inputs: dict[str, Json] = {}
    outputs: dict[str, OutputRef] = {}
    started_at: Moment | None = None
    finished_at: Moment | None = None
    seconds: dict[str, float] = {}
    peak_memory: int = 0
    log_bytes: int = 0
    failure: ShortFailure | None = None
    revision: int = 1


def draw(
    run: Run,
    pipeline: Pipeline | None,
    step_runs: Sequence[LightStepRun],
    counts: Counts,
    lengths: Mapping[str, int],
    *,
    driven: bool,
) -> RunGraph:
    """The graph of a run.

    Args:
        pipeline: As it was compiled; None where that is not known.
        step_runs: Of its steps, without those of items, in the order they were begun.
        counts: Of items.
        lengths: Id of an artifact -> of how many items it is.
    """
    last, attempts = _last(step_runs)
    totals = _Totals(pipeline, last, lengths)

    def node(id_: str, known: Node | None) -> RunNode:
        found = last.get(id_)
        mapped = bool(known.map) if known is not None else id_ in counts
        return RunNode(
            id=id_,
            state=found.state if found is not None else _state_without(run, counts.get(id_)),
            function=known.function if known is not None else "",
            environment=known.environment or "" if known is not None else _name(run, found),
            outputs=tuple(each.name for each in known.outputs)
            if known is not None
            else tuple(found.outputs if found is not None else ()),
            attempts=attempts.get(id_, 0),
            last=_attempt(found) if found is not None else None,
            items=_items(totals.of(id_), counts.get(id_)) if mapped else None,
        )

    if pipeline is not None:
        nodes = tuple(node(each.id, each) for each in pipeline.nodes)
        edges = tuple(edge for each in pipeline.nodes for edge in _edges(each))
    else:
        ids = dict.fromkeys([*last, *counts])
        nodes = tuple(node(each, None) for each in ids)
        edges = tuple(edge for each in last.values() for edge in _edges_of_inputs(each) if edge.source in ids)
    return RunGraph(run=run, whole=pipeline is not None, driven=driven, nodes=nodes, edges=edges)


def artifacts_of(step_runs: Iterable[LightStepRun], pipeline: Pipeline | None) -> list[str]:
    """Ids of the artifacts whose lengths tell how many items there are."""
    if pipeline is None:
        return []
    wanted = {source for node in pipeline.nodes if node.map for source, _ in node.sources()}
    wanted |= {node.id for node in pipeline.nodes if node.map}
    last, _ = _last(step_runs)
    refs = (ref for step in wanted if step in last for ref in last[step].outputs.values())
    return sorted({ref.artifact for ref in refs if ref.artifact})


def _last(step_runs: Iterable[LightStepRun]) -> tuple[dict[str, LightStepRun], dict[str, int]]:
    """The attempt of each step that counts, and how many there are: the last one of the last driver."""
    last: dict[str, LightStepRun] = {}
    attempts: dict[str, int] = {}
    for each in sorted(step_runs, key=lambda each: (each.fence, each.attempt)):
        last[each.step] = each
        attempts[each.step] = attempts.get(each.step, 0) + 1
    return last, attempts


def _items(total: int | None, counted: Counted | None) -> ItemCounts:
    if counted is None:
        return ItemCounts(total=total, counts={})
    return ItemCounts(total=total, counts=counted.counts, began=counted.began)


def _state_without(run: Run, counts: Counted | None) -> State:
    """Where a step stands that has no record of its own: one that waits, or a mapped one whose items run."""
    if not run.state.is_final:
        return State.RUNNING if counts else State.QUEUED
    return State.CANCELLED if counts else State.SKIPPED


def _attempt(found: LightStepRun) -> RunAttempt:
    failure = found.failure
    if failure is not None and len(failure.message) > _LONGEST:
        failure = msgspec.structs.replace(failure, message=failure.message[:_LONGEST] + "…")
    told = {name: getattr(found, name) for name in RunAttempt.__struct_fields__ if name != "failure"}
    return RunAttempt(**told, failure=failure)


def _name(run: Run, found: LightStepRun | None) -> str:
    if found is None or not found.environment:
        return ""
    return next((name for name, digest in run.environments.items() if digest == found.environment), "")


def _edges(node: Node) -> list[RunEdge]:
    outputs: dict[str, list[str]] = {each: [] for each in node.after}
    for source, output in node.sources():
        known = outputs.setdefault(source, [])
        if output not in known:
            known.append(output)
    return [RunEdge(source=name, target=node.id, outputs=tuple(each)) for name, each in outputs.items()]


_FROM = re.compile(r"(.+)\.([^.]+)")


def _edges_of_inputs(found: LightStepRun) -> list[RunEdge]:
    """What the inputs of a step run came from, by what was recorded of them."""
    outputs: dict[str, list[str]] = {}
    for step, output in _recorded(found.inputs):
        known = outputs.setdefault(step, [])
        if output not in known:
            known.append(output)
    return [RunEdge(source=name, target=found.step, outputs=tuple(each)) for name, each in outputs.items()]


def _recorded(value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        told = value.get("from")
        if "$artifact" in value and isinstance(told, str) and (match := _FROM.fullmatch(told)):
            yield match[1], match[2]
        elif value.keys() == {"$output"}:
            node, output = value["$output"]
            yield node, output
        else:
            for each in value.values():
                yield from _recorded(each)
    elif isinstance(value, list):
        for each in value:
            yield from _recorded(each)


class _Totals:
    """How many items each mapped step has: those of what it is mapped over."""

    def __init__(
        self, pipeline: Pipeline | None, last: Mapping[str, LightStepRun], lengths: Mapping[str, int]
    ) -> None:
        self._last, self._lengths = last, lengths
        self._nodes = {node.id: node for node in pipeline.nodes} if pipeline is not None else {}
        self._known: dict[str, int | None] = {}

    def of(self, step: str) -> int | None:
        """Nodes come after what they need, so what is mapped over a mapped step is asked for after that."""
        if step not in self._known:
            self._known[step] = self._find(step)
        return self._known[step]

    def _find(self, step: str) -> int | None:
        node, own = self._nodes.get(step), self._last.get(step)
        for ref in own.outputs.values() if own is not None else ():
            if ref.artifact in self._lengths:
                return self._lengths[ref.artifact]
        if node is None:
            return None
        for name in node.map:
            expression = node.inputs.get(name)
            if isinstance(expression, list):
                return len(expression)
            if isinstance(expression, dict) and expression.keys() == {"$output"}:
                source, output = expression["$output"]
                if self._nodes[source].map:
                    return self._known.get(source)
                found = self._last.get(source)
                given = found.outputs.get(output) if found is not None else None
                if given is not None and given.artifact in self._lengths:
                    return self._lengths[given.artifact]
        return None


class KeyPart(msgspec.Struct, frozen=True):
    """One thing that a step's outputs depend on, now and the last time: `same`, `changed`, `new` or `gone`."""

    name: str
    change: str
    now: str = ""
    before: str = ""


def compare(now: Mapping[str, str], before: Mapping[str, str] | None) -> tuple[KeyPart, ...]:
    """What differs first, then what is the same, each in the order of the key."""
    old = before if before is not None else now
    told = [
        KeyPart(
            name,
            "new" if name not in old else "same" if old[name] == value else "changed",
            value,
            old.get(name, ""),
        )
        for name, value in now.items()
    ]
    told += [KeyPart(name, "gone", "", value) for name, value in old.items() if name not in now]
    return tuple(sorted(told, key=lambda each: each.change == "same"))
