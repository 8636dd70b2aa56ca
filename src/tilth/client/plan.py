"""What a run would do, and why, without doing it."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.engine.nodes import Nodes
from tilth.engine.reuse import SAME, Reuse
from tilth.engine.values import Values
from tilth.environments import is_realised
from tilth.errors import TilthError
from tilth.home import Home
from tilth.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tilth.artifact_stores import ArtifactStore
    from tilth.client.environments import ProjectEnvironments
    from tilth.engine.nodes import NodeState
    from tilth.ir.pipeline import Pipeline
    from tilth.records import StepRun
    from tilth.store import Store


@contextlib.contextmanager
def existing(home: Home) -> Iterator[tuple[Home, Store]]:
    """A home folder and its store; what is not there yet is an empty one that is gone afterwards."""
    with contextlib.ExitStack() as stack:
        shown, records = home, home
        if not home.database.exists():
            import tempfile  # here for cost: a home that was used has everything

            empty = Home(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tilth-"))))
            records = empty
            shown = home if home.root.exists() else empty
        yield shown, stack.enter_context(open_store(records, to_read=True))


@dataclass(frozen=True)
class PlannedStep:
    """What would happen to one step."""

    id: str
    function: str
    environment: str | None  # None: the client's own
    mapped: bool
    cached: bool | None  # None: that depends on a step that would run
    reason: str
    upstream: tuple[str, ...]
    outputs: dict[str, str]  # name -> digest, of what would be reused


@dataclass(frozen=True)
class PlannedEnvironment:
    """What would happen to one environment."""

    name: str
    digest: str  # empty when it is not locked
    locked: bool
    realised: bool
    packages: int
    python: str
    requirements: tuple[str, ...]
    steps: tuple[str, ...]
    origin: str = ""  # the file its lock is in; empty when it was resolved here
    unbuilt: str = ""  # what has to be built below its packages first: `its system packages`


@dataclass(frozen=True)
class PlannedImage:
    """What would happen to one image that steps are started from."""

    environments: tuple[str, ...]
    base: str
    digest: str  # empty when it is to be built
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    pipeline: str
    parameters: dict[str, Any]
    steps: tuple[PlannedStep, ...]
    environments: tuple[PlannedEnvironment, ...]
    bundle: str
    warnings: tuple[str, ...] = ()
    stack: str = ""  # empty for the default one
    images: tuple[PlannedImage, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def plan(
    pipeline: Pipeline,
    *,
    environments: ProjectEnvironments,
    store: Store,
    artifacts: ArtifactStore,
    home: Home,
    bundle: str,
    cache_on: bool | None,
    warnings: Iterable[str] = (),
) -> Plan:
    """Decide about each step as the driver would, as far as that can be known before any step runs."""
    values = Values(artifacts)
    reuse = Reuse(
        pipeline,
        store=store,
        artifacts=artifacts,
        values=values,
        environments=environments,
        bundle=bundle,
        cache_on=cache_on,
    )
    nodes = Nodes(pipeline, {node.id: reuse.parts(node) for node in pipeline.nodes})
    waiting = deque(state for state in nodes if not state.waiting)
    decided: dict[str, tuple[bool | None, str]] = {}
    kept: dict[str, dict[str, str]] = {}
    while waiting:
        state = waiting.popleft()
        reused, reason, found = _decide(state, values, reuse, environments)
        decided[state.node.id] = reused, reason
        if found is not None:
            values.give(state.node.id, found.outputs)
            kept[state.node.id] = {name: ref.digest for name, ref in found.outputs.items()}
            waiting += nodes.release(state)
    steps = []
    for state in nodes:
        waits = ", ".join(f"`{each}`" for each in sorted(state.waiting))
        cached, reason = decided.get(state.node.id) or (None, f"it waits for {waits}")
        steps.append(
            PlannedStep(
                id=state.node.id,
                function=state.node.function,
                environment=state.node.environment,
                mapped=bool(state.node.map),
                cached=cached,
                reason=reason,
                upstream=tuple(sorted(state.node.upstream())),
                outputs=kept.get(state.node.id, {}),
            )
        )
    return Plan(
        pipeline=pipeline.name,
        parameters=pipeline.parameters,
        steps=tuple(steps),
        environments=tuple(_environment(name, pipeline, environments, home) for name in environments.names),
        bundle=bundle,
        warnings=tuple(warnings),
    )


def _decide(
    state: NodeState, values: Values, reuse: Reuse, environments: ProjectEnvironments
) -> tuple[bool, str, StepRun | None]:
    """(cached, why, the step run whose outputs would be taken)."""
    node = state.node
    if reuse.allowed(node) and (name := node.environment) is not None:
        unbuilt = environments.unbuilt(name)
        if unbuilt:  # there may be a lock for what stands in for it: what it will stand on is not known
            return False, f"for environment `{name}`, {unbuilt} must be built first", None
        if environments.lock(name) is None:
            return False, f"environment `{name}` is not locked yet", None
    try:
        state.resolve(values)
    except TilthError as error:
        return False, f"it will fail: {error.summary}", None
    unit = state.unit(None, values)
    found = reuse.find(unit)
    return (True, SAME, found) if found is not None else (False, reuse.explain(unit), None)


def _environment(
    name: str, pipeline: Pipeline, environments: ProjectEnvironments, home: Home
) -> PlannedEnvironment:
    lock = None if environments.unbuilt(name) else environments.lock(name)
    asked = environments.declared(name)[0].get("requirements", ())
    return PlannedEnvironment(
        name=name,
        digest=lock.digest if lock else "",
        locked=lock is not None,
        realised=lock is not None and is_realised(lock, home),
        packages=len(lock.packages) + len(lock.system) if lock else 0,
        python=environments.minor(name),
        requirements=(asked,) if isinstance(asked, str) else tuple(asked),
        steps=tuple(node.id for node in pipeline.nodes if node.environment == name),
        origin=lock.origin if lock else "",
        unbuilt=environments.unbuilt(name),
    )
