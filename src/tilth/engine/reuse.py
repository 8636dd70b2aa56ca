"""Finds outputs that need not be made again. The driver and `tilth plan` decide by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.engine import cache
from tilth.records import State, StepRun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tilth.artifact_stores import ArtifactStore
    from tilth.engine.environments import Environments
    from tilth.engine.nodes import Unit
    from tilth.engine.values import Values
    from tilth.ir.pipeline import Node, Pipeline
    from tilth.records import OutputRef
    from tilth.store import Store

SAME = "same code, inputs and environment"


class Reuse:
    """What may be taken from earlier runs, and from steps of this one.

    Args:
        cache_on: Whether this run may reuse anything; None leaves it to each step.
        damaged: Told (output, step, what is wrong, digest) of stored outputs that cannot be used.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        store: Store,
        artifacts: ArtifactStore,
        values: Values,
        environments: Environments,
        bundle: str,
        cache_on: bool | None,
        damaged: Callable[[str, str, str, str], None] = lambda *_: None,
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._artifacts = artifacts
        self._values = values
        self._environments = environments
        self._bundle = bundle
        self._cache_on = cache_on
        self._damaged = damaged
        self._own: dict[str, dict[str, OutputRef]] = {}  # made in this run, by key
        self._readers: dict[tuple[str, str], list[frozenset[str]]] = {}
        for node in pipeline.nodes:
            readers = environments.readers(node.environment)
            for source in dict.fromkeys(node.sources()):
                known = self._readers.setdefault(source, [])
                if readers is not None and readers not in known:
                    known.append(readers)

    def parts(self, node: Node) -> dict[str, str]:
        """The parts of a node's key that are known before any step runs."""
        digest = self._environments.digest(node.environment)
        return cache.fixed_parts(
            self._pipeline,
            node,
            environment=digest,
            packages=() if digest else self._environments.packages(node),
            python=self._environments.minor(node.environment),
            bundle=self._bundle,
        )

    def readers(self, node: str, output: str) -> list[frozenset[str]]:
        """Import names that the environment of each step has that needs this output."""
        return self._readers.get((node, output), [])

    def allowed(self, node: Node) -> bool:
        """Whether outputs of earlier runs may be taken for this step."""
        return node.cache and self._cache_on is not False

    def find(self, unit: Unit) -> StepRun | None:
        """A step run whose outputs this unit would make again."""
        if not self.allowed(unit.node):
            return None
        own = self.find_own(unit)
        if own is not None:
            return own
        found = self._store.cached_step_run(unit.key)
        if found is None or {each.name for each in unit.node.outputs} != found.outputs.keys():
            return None
        usable = all(self._is_usable(unit.node, name, ref.digest) for name, ref in found.outputs.items())
        return found if usable else None

    def find_own(self, unit: Unit) -> StepRun | None:
        """The same among the units of this run."""
        if not self.allowed(unit.node):
            return None
        made = self._own.get(unit.key) if unit.index is None else unit.state.item_made(unit.key)
        return None if made is None else StepRun(run="", step=unit.node.id, outputs=made)

    def made(self, unit: Unit, outputs: Mapping[str, OutputRef]) -> None:
        """A step of this run gave its outputs; items are remembered by their step."""
        if unit.index is None and self.allowed(unit.node):
            self._own[unit.key] = dict(outputs)

    def explain(self, unit: Unit) -> str:
        """Why a unit has to run."""
        node = unit.node
        if not node.cache:
            return "caching is off for this step"
        if self._cache_on is False:
            return "caching is off for this run"
        last = self._store.find(
            StepRun,
            pipeline=self._pipeline.name,
            step=node.id,
            index=None,
            state=[State.COMPLETED.value, State.CACHED.value],
            limit=1,
        )
        return cache.explain(unit.parts, next(iter(last.items), None))

    def _is_usable(self, node: Node, output: str, digest: str) -> bool:
        """Whether a stored output is whole, and can be read by every step that needs it."""
        if problems := self._values.problems(digest):
            self._damaged(output, node.id, problems[0], digest)
            return False
        needs = self._values.requires(digest)
        return all(needs <= reader for reader in self.readers(node.id, output))
