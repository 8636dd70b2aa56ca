"""The compiled pipeline: a graph of steps as plain data, equal on every machine and Python.

Inputs are literals in the encoding of `tilth.ir.values`, in which `{"$output": [NODE, OUTPUT]}` stands for
what a step gives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tilth.errors import DefinitionError
from tilth.ir.values import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION = 1


@dataclass(frozen=True)
class Output:
    """What a step gives under one name."""

    name: str
    annotation: str = ""  # as written
    type: str = ""  # resolved through the module's imports: `pandas.DataFrame`
    artifact: str = ""  # declared name in the artifact store
    version: str = ""  # declared label
    tags: tuple[str, ...] = ()
    collection: bool = False  # a step is mapped over it, so it is stored item by item


@dataclass(frozen=True)
class Node:
    """One step in the graph, or one step mapped over items."""

    id: str
    function: str  # `module:qualname`
    inputs: dict[str, Any] = field(default_factory=dict)  # parameter -> expression
    outputs: tuple[Output, ...] = ()
    map: tuple[str, ...] = ()  # parameters that get one item each; empty: not mapped
    after: tuple[str, ...] = ()  # ids of nodes to wait for
    environment: str | None = None  # name in the pipeline's environments; None: the client's own
    cache: bool = True
    resources: dict[str, Any] = field(default_factory=dict)
    retry: dict[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    worker: str = "warm"
    reads_context: bool = (
        False  # its function asks for the step's context, and so for the pipeline's parameters
    )
    materializers: dict[str, int] = field(default_factory=dict)  # `module:qualname` -> version
    tags: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)  # variable -> name of the secret

    @property
    def module(self) -> str:
        """The module the function lives in."""
        return self.function.partition(":")[0]

    def sources(self) -> Iterator[tuple[str, str]]:
        """(node, output) of each step output the inputs refer to, in order, repeated as often as used."""
        for expression in self.inputs.values():
            yield from references(expression)

    def upstream(self) -> set[str]:
        """Ids of the nodes this one waits for."""
        return {node for node, _ in self.sources()} | set(self.after)


@dataclass(frozen=True)
class Pipeline:
    """One call of a pipeline function, compiled."""

    name: str
    function: str
    parameters: dict[str, Any] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()  # in the order of their calls, so each comes after what it needs
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> declaration
    failure_mode: str = "stop_new"
    tags: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)  # project module -> digest of its source
    files: dict[str, str] = field(
        default_factory=dict
    )  # project module -> its file, relative to an import root
    closures: dict[str, list[str]] = field(
        default_factory=dict
    )  # step's module -> project modules it imports
    outside: dict[str, list[str]] = field(default_factory=dict)  # step's module -> packages those import
    needs: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # step's function -> package -> `file:line`
    dynamic: tuple[str, ...] = ()  # modules whose imports cannot all be followed
    version: int = VERSION

    def node(self, id: str) -> Node:  # noqa: A002 - the field's word
        """The node with this id."""
        return next(each for each in self.nodes if each.id == id)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        data = asdict(self)
        for node in data["nodes"]:
            if not node["secrets"]:  # so that a pipeline without any keeps the digest it always had
                del node["secrets"]
        return data

    def digest(self) -> str:
        """Equal for equal graphs, on every machine."""
        return digest(self.to_json())

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Pipeline:
        """Read back what `to_json` gave, and check that the graph can run."""
        if data.get("version") != VERSION:
            raise DefinitionError(
                f"a compiled pipeline of version `{data.get('version')}`; this tilth reads version {VERSION}",
                mend="compile it again with this version of tilth",
            )
        nodes = tuple(_node(each) for each in data["nodes"])
        tuples = {name: tuple(data.get(name, ())) for name in ("tags", "dynamic")}
        pipeline = Pipeline(**{**data, **tuples, "nodes": nodes})
        check(pipeline)
        return pipeline


def references(expression: Any) -> Iterator[tuple[str, str]]:
    """(node, output) of each reference in an expression."""
    if isinstance(expression, dict):
        if set(expression) == {"$output"}:
            node, output = expression["$output"]
            yield node, output
        else:
            for each in expression.values():
                yield from references(each)
    elif isinstance(expression, list):
        for each in expression:
            yield from references(each)


def check(pipeline: Pipeline) -> None:
    """Refuse a graph that cannot run: doubled ids, references to nothing, cycles."""
    outputs: dict[str, set[str]] = {}
    for node in pipeline.nodes:
        if node.id in outputs:
            raise DefinitionError(f"two steps of pipeline `{pipeline.name}` have the id `{node.id}`")
        outputs[node.id] = {each.name for each in node.outputs}
    for node in pipeline.nodes:
        for name, output in node.sources():
            if output not in outputs.get(name, ()):
                raise DefinitionError(
                    f"step `{node.id}` needs output `{output}` of `{name}`, which does not exist"
                )
        for name in node.after:
            if name not in outputs:
                raise DefinitionError(f"step `{node.id}` waits for `{name}`, which does not exist")
        if node.environment is not None and node.environment not in pipeline.environments:
            raise DefinitionError(
                f"step `{node.id}` names environment `{node.environment}`, which is not declared"
            )
    waiting = {node.id: node.upstream() for node in pipeline.nodes}
    users: dict[str, list[str]] = {name: [] for name in waiting}
    for name, needs in waiting.items():
        for each in needs:
            users[each].append(name)
    ready = [name for name, needs in waiting.items() if not needs]
    while ready:
        done = ready.pop()
        del waiting[done]
        for each in users[done]:
            waiting[each].discard(done)
            if not waiting[each]:
                ready.append(each)
    if waiting:
        raise DefinitionError(
            f"steps of pipeline `{pipeline.name}` wait for each other: " + " -> ".join(_cycle(waiting)),
            mend="remove one of these inputs or `after=`",
        )


def _cycle(waiting: Mapping[str, set[str]]) -> list[str]:
    """One cycle, as ids, the first repeated at the end. Every node in `waiting` waits for another one."""
    path = [min(waiting)]
    while True:
        step = min(waiting[path[-1]] & waiting.keys())
        if step in path:
            return [f"`{each}`" for each in [*path[path.index(step) :], step]]
        path.append(step)


def _node(data: Mapping[str, Any]) -> Node:
    outputs = tuple(Output(**{**each, "tags": tuple(each["tags"])}) for each in data["outputs"])
    tuples = {name: tuple(data[name]) for name in ("map", "after", "tags")}
    return Node(**{**data, **tuples, "outputs": outputs})
