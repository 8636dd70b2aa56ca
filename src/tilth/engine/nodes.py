"""Where each node of the graph stands while a run is driven. Knows nothing of processes or records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tilth.engine import cache
from tilth.engine.values import Values, mapped_items, substitute
from tilth.errors import DefinitionError
from tilth.ir.values import digest
from tilth.records import OutputRef, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tilth.ir.pipeline import Node, Pipeline
    from tilth.records import Failure


@dataclass(slots=True)
class Unit:
    """One thing to run: a step, or one item of a mapped step."""

    state: NodeState
    index: int | None
    key: str  # of the cache
    parts: dict[str, str]  # of the key; those of an item are its step's
    reason: str = ""  # why it is not reused

    @property
    def node(self) -> Node:
        """What it is a run of."""
        return self.state.node


@dataclass(slots=True)
class NodeState:
    """One node: what it waits for, what it depends on, how far it is."""

    node: Node
    waiting: set[str]  # nodes that have not given their outputs yet
    parts: dict[str, str]  # of the cache key, as far as they are known
    state: State = State.QUEUED
    ready_at: float = 0.0  # seconds since the epoch
    began_at: float = 0.0
    items: int | None = None  # of a mapped node, once known
    next_item: int = 0
    open_items: int = 0  # not ended yet
    is_waiting: bool = False  # for room on this machine, with a unit
    reused: int = 0  # items
    failure: Failure | None = None
    reason: str = ""
    _items: dict[str, Sequence[Any]] = field(default_factory=dict)  # mapped input -> an expression per item
    _outputs: dict[str, list[str]] = field(default_factory=dict)  # output -> a digest per item
    _made: dict[str, int] = field(default_factory=dict)  # cache key of an item that is done -> its index
    _base: str = ""  # digest of all parts but the items'

    def resolve(self, values: Values) -> None:
        """Learn the digests of the inputs, and how many items there are. All that it waited for is there.

        Raises:
            DefinitionError: Inputs to map over have different lengths.
        """
        node = self.node
        for name, expression in node.inputs.items():
            label, value = cache.input_part(name, substitute(expression, values.as_digest))
            self.parts[label] = value
        if not node.map:
            return
        self._items = {name: mapped_items(node.inputs[name], values) for name in node.map}
        lengths = {name: len(each) for name, each in self._items.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            raise DefinitionError(
                f"step `{node.id}` is mapped over inputs of different lengths", why=f"{told} items"
            )
        self.items = self.open_items = next(iter(lengths.values()))
        self._outputs = {each.name: [""] * self.items for each in node.outputs}
        over = {cache.input_part(name, None)[0] for name in node.map}
        self._base = cache.key({name: value for name, value in self.parts.items() if name not in over})

    def unit(self, index: int | None, values: Values) -> Unit:
        """The step as a whole, or one item of it."""
        if index is None:
            return Unit(self, None, cache.key(self.parts), self.parts)
        items = {name: substitute(each[index], values.as_digest) for name, each in self._items.items()}
        return Unit(self, index, digest({"base": self._base, "items": items}), {})

    def inputs(self, index: int | None, values: Values) -> dict[str, Any]:
        """The inputs of one unit, with paths in the places of references."""
        return {
            name: substitute(
                self._items[name][index] if index is not None and name in self._items else expression,
                values.as_path,
                loading=True,
            )
            for name, expression in self.node.inputs.items()
        }

    def item_done(self, index: int, key: str, outputs: Mapping[str, OutputRef]) -> None:
        """One item gave its outputs."""
        self._made.setdefault(key, index)
        for name, ref in outputs.items():
            self._outputs[name][index] = ref.digest

    def item_made(self, key: str) -> dict[str, OutputRef] | None:
        """What an equal item gave."""
        index = self._made.get(key)
        if index is None:
            return None
        return {name: OutputRef(digest=digests[index]) for name, digests in self._outputs.items()}

    def collected(self, output: str) -> list[str]:
        """Digests of what the items gave under one name, in their order."""
        return self._outputs[output]

    def forget_items(self) -> None:
        """Give back the memory that the items took."""
        self._items.clear()
        self._outputs.clear()
        self._made.clear()


class Nodes:
    """All nodes of a run, and who waits for whom."""

    def __init__(self, pipeline: Pipeline, parts: Mapping[str, dict[str, str]]) -> None:
        self._states = {node.id: NodeState(node, node.upstream(), parts[node.id]) for node in pipeline.nodes}
        self._downstream: dict[str, list[NodeState]] = {}
        for state in self._states.values():
            for upstream in state.waiting:
                self._downstream.setdefault(upstream, []).append(state)

    def __iter__(self) -> Iterator[NodeState]:
        return iter(self._states.values())

    def release(self, state: NodeState) -> Iterator[NodeState]:
        """A node has given its outputs: those that waited for it alone."""
        for other in self._downstream.get(state.node.id, ()):
            other.waiting.discard(state.node.id)
            if not other.waiting and other.state is State.QUEUED:
                yield other

    def after(self, state: NodeState) -> Iterator[NodeState]:
        """All nodes that need this one, directly or not, nearest first."""
        waiting = list(self._downstream.get(state.node.id, ()))
        seen: set[str] = set()
        while waiting:
            other = waiting.pop(0)
            if other.node.id not in seen:
                seen.add(other.node.id)
                yield other
                waiting += self._downstream.get(other.node.id, ())
