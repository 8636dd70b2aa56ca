"""The graph under construction while a pipeline function is called, and where such calls are allowed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tilth.ir.pipeline import Node


class Graph:
    """Nodes in the order of their calls."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline
        self.nodes: dict[str, Node] = {}
        self.options: dict[str, dict[str, Any]] = {}  # of each node, as its step declared them
        self.mapped_over: set[tuple[str, str]] = set()  # outputs that become collections

    def free_id(self, name: str) -> str:
        """`name`, or `name_2` and so on when it is taken."""
        if name not in self.nodes:
            return name
        number = 2
        while f"{name}_{number}" in self.nodes:
            number += 1
        return f"{name}_{number}"


_graph: ContextVar[Graph | None] = ContextVar("tilth_graph", default=None)

# Where this interpreter is in a pipeline's life. A module that is being imported must not start a run,
# and a step's interpreter never does.
_phase = "client"


def current() -> Graph | None:
    """The graph under construction, or None outside a pipeline."""
    return _graph.get()


@contextmanager
def building(graph: Graph) -> Iterator[Graph]:
    """Step calls inside add to `graph`."""
    token = _graph.set(graph)
    try:
        yield graph
    finally:
        _graph.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Say where this interpreter is: `client`, `importing` or `step`."""
    global _phase
    before, _phase = _phase, name
    try:
        yield
    finally:
        _phase = before


def refuse_call(pipeline: str, module: str) -> None:
    """Raise when a pipeline, defined in `module`, may not be called here."""
    if _graph.get() is not None:
        raise DefinitionError(
            f"pipeline `{pipeline}` is called inside pipeline `{_graph.get().pipeline}`",  # type: ignore[union-attr]
            why="a pipeline cannot be a part of another one yet",
            mend="move the shared steps into a plain function and call that in both pipelines",
        )
    if _phase == "step":
        raise DefinitionError(
            f"pipeline `{pipeline}` is called in a step",
            why="a pipeline is compiled in the client, never where steps run",
            mend="call the step's function, or start the run outside",
        )
    if _phase == "importing" or _is_importing(module):
        refuse_unguarded(pipeline)


def _is_importing(module: str) -> bool:
    """Whether a module's own code is running now, and not because it is the program."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return module != "__main__" and getattr(spec, "_initializing", False) is True


def refuse_unguarded(pipeline: str) -> NoReturn:
    """A pipeline is called when its module is imported: every step's interpreter would start a run."""
    raise DefinitionError(
        f"pipeline `{pipeline}` is called when its module is imported",
        why="steps import the module too, and must not start a run",
        mend=f'put the call under a guard:\n\n    if __name__ == "__main__":\n        {pipeline}()',
    )
