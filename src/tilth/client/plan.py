"""What a run would do, and why, without doing it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tilth.engine import cache
from tilth.engine.values import Values, mapped_items, substitute
from tilth.environments import is_realised, modules
from tilth.records import StepRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tilth.artifact_stores import ArtifactStore
    from tilth.client.environments import ProjectEnvironments
    from tilth.home import Home
    from tilth.ir.pipeline import Node, Pipeline
    from tilth.records import OutputRef
    from tilth.store import Store


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


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    pipeline: str
    parameters: dict[str, Any]
    steps: tuple[PlannedStep, ...]
    environments: tuple[PlannedEnvironment, ...]
    bundle: str
    warnings: tuple[str, ...] = ()

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
    values = Values(artifacts, ())
    known: set[str] = set()  # steps whose outputs are there
    steps = []
    for node in _in_order(pipeline):
        waits = [each for each in node.upstream() if each not in known]
        cached, reason, outputs = _decide(
            pipeline,
            node,
            waits,
            values,
            environments=environments,
            store=store,
            bundle=bundle,
            cache_on=cache_on,
        )
        if outputs is not None:
            known.add(node.id)
            values.give(node.id, outputs)
        steps.append(
            PlannedStep(
                id=node.id,
                function=node.function,
                environment=node.environment,
                mapped=bool(node.map),
                cached=cached,
                reason=reason,
                upstream=tuple(sorted(node.upstream())),
            )
        )
    order = {node.id: index for index, node in enumerate(pipeline.nodes)}
    return Plan(
        pipeline=pipeline.name,
        parameters=pipeline.parameters,
        steps=tuple(sorted(steps, key=lambda each: order[each.id])),
        environments=tuple(_environment(name, pipeline, environments, home) for name in environments.names),
        bundle=bundle,
        warnings=tuple(warnings),
    )


def check_imports(
    pipeline: Pipeline, environments: ProjectEnvironments, home: Home
) -> tuple[list[str], list[str]]:
    """What steps import that their environments do not have.

    Returns:
        (what is certainly missing, what cannot be known yet), each a sentence.
    """
    missing, unknown = [], []
    for node in pipeline.nodes:
        needs = pipeline.needs.get(node.function, {})
        lock = environments.lock(node.environment) if node.environment is not None else None
        if lock is None or not needs:
            continue
        found = modules(lock, home)
        have = {module for each in found.values() for module in each or ()}
        blind = sorted(name for name, each in found.items() if each is None)
        for package, where in needs.items():
            if package in have:
                continue
            told = f"step `{node.id}` imports `{package}` ({where}), which environment `{node.environment}`"
            if blind:
                unknown.append(f"{told} may not have: nothing is known yet of {', '.join(blind[:3])}")
            else:
                missing.append(f"{told} does not have")
    return list(dict.fromkeys(missing)), list(dict.fromkeys(unknown))


def _decide(
    pipeline: Pipeline,
    node: Node,
    waits: list[str],
    values: Values,
    *,
    environments: ProjectEnvironments,
    store: Store,
    bundle: str,
    cache_on: bool | None,
) -> tuple[bool | None, str, Mapping[str, OutputRef] | None]:
    """(cached, why, its outputs when they are there)."""
    if not node.cache:
        return False, "caching is off for this step", None
    if cache_on is False:
        return False, "caching is off for this run", None
    if node.environment is not None and environments.lock(node.environment) is None:
        return False, f"environment `{node.environment}` is not locked yet", None
    if waits:
        return None, "it waits for " + ", ".join(f"`{each}`" for each in sorted(waits)), None
    digest = environments.digest(node.environment)
    parts = cache.fixed_parts(
        pipeline,
        node,
        environment=digest,
        packages=() if digest else environments.packages(node),
        python=environments.minor(node.environment),
        bundle=bundle,
    )
    for name, expression in node.inputs.items():
        parts.update([cache.input_part(name, substitute(expression, values.as_digest))])
        if name in node.map and not mapped_items(expression, values):
            return False, "it has no items", None
    found = store.cached_step_run(cache.key(parts))
    if found is not None and not any(values.problems(each.digest) for each in found.outputs.values()):
        return True, "same code, inputs and environment", found.outputs
    last = store.find(StepRun, pipeline=pipeline.name, step=node.id, limit=5, state=["completed", "cached"])
    return False, cache.explain(parts, next((each for each in last if each.index is None), None)), None


def _in_order(pipeline: Pipeline) -> list[Node]:
    """Each node after those it waits for."""
    done: set[str] = set()
    left = list(pipeline.nodes)
    order = []
    while left:
        ready = [each for each in left if each.upstream() <= done]
        order += ready
        done.update(each.id for each in ready)
        left = [each for each in left if each.id not in done]
    return order


def _environment(
    name: str, pipeline: Pipeline, environments: ProjectEnvironments, home: Home
) -> PlannedEnvironment:
    lock = environments.lock(name)
    declared = pipeline.environments[name]
    asked = declared.get("requirements", ())
    return PlannedEnvironment(
        name=name,
        digest=lock.digest if lock else "",
        locked=lock is not None,
        realised=lock is not None and is_realised(lock, home),
        packages=len(lock.packages) if lock else 0,
        python=environments.minor(name),
        requirements=(asked,) if isinstance(asked, str) else tuple(asked),
        steps=tuple(node.id for node in pipeline.nodes if node.environment == name),
    )
