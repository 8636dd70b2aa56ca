"""What an artifact was made from, and what was made from it, as far as inputs of steps were recorded.

A use is found without a list of all uses. Whoever uses an artifact is in a run that made it, or that reused the step
run that made it; those share its cache key, which has an index, and a run's steps have one as well.
"""

# ruff: noqa: S608 - the names in the SQL are written here; values are always bound

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.records import Artifact, Moment, Run, State, StepRun
from tilth.store.sql import read_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from tilth.store.sql import SqlStore

MOST_NODES = 300
_RUNS = 50  # newest ones in which an artifact's uses are looked for
_USERS = 200  # step runs of one artifact


class ArtifactNode(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact in the graph."""

    id: str
    name: str
    version: int
    type: str
    size: int
    step: str
    step_run: str  # that made it
    created_at: Moment


class StepNode(msgspec.Struct, frozen=True, kw_only=True):
    """A step run in the graph; `run` is empty where the run was deleted."""

    id: str
    run: str  # its name
    pipeline: str
    step: str
    state: State
    created_at: Moment


class Edge(msgspec.Struct, frozen=True):
    """From an artifact to a step run that used it, or from a step run to an artifact that it made."""

    source: str
    target: str


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A step run that had the artifact as an input. One that was `cached` did not read it again."""

    step_run: str
    run: str  # its name
    step: str
    state: State
    inputs: tuple[str, ...]  # names of those that held it
    created_at: Moment


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """What is around an artifact. `cut`: there is more than is told."""

    artifact: str
    artifacts: tuple[ArtifactNode, ...]
    step_runs: tuple[StepNode, ...]
    edges: tuple[Edge, ...]
    uses: tuple[Use, ...]  # of the artifact itself, newest first
    cut: bool


def artifacts_in(inputs: Any) -> Iterator[str]:
    """The ids of artifacts that inputs of a step run hold, also within lists and dicts."""
    if isinstance(inputs, dict):
        found = inputs.get("id") if "$artifact" in inputs else None
        if isinstance(found, str) and found:
            yield found
        else:
            for each in inputs.values():
                yield from artifacts_in(each)
    elif isinstance(inputs, list):
        for each in inputs:
            yield from artifacts_in(each)


def newest_attempts(step_runs: Iterable[StepRun]) -> list[StepRun]:
    """Of several attempts of one step in one run the last, newest step first."""
    last: dict[tuple[str, str], StepRun] = {}
    for each in step_runs:
        before = last.get((each.run, each.step))
        if before is None or (before.fence, before.attempt) < (each.fence, each.attempt):
            last[each.run, each.step] = each
    return sorted(last.values(), key=lambda each: each.created_at, reverse=True)


def trace(store: SqlStore, artifact: Artifact, depth: int) -> Lineage:
    """The lineage of an artifact, up to `depth` steps away each way."""
    graph = _Graph(store)
    uses = newest_attempts(graph.users(artifact))
    graph.add(artifact)
    graph.up([artifact], depth)
    graph.down([artifact], depth)
    return graph.told(artifact, uses)


class _Graph:
    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._artifacts: dict[str, Artifact] = {}
        self._step_runs: dict[str, StepRun] = {}
        self._edges: dict[tuple[str, str], None] = {}
        self._users: dict[str, list[StepRun]] = {}
        self._cut = False

    def add(self, record: Artifact | StepRun) -> bool:
        """Take a record in; False where there is no more room."""
        known: dict[str, Any] = self._artifacts if isinstance(record, Artifact) else self._step_runs
        if record.id not in known:
            if len(self._artifacts) + len(self._step_runs) >= MOST_NODES:
                self._cut = True
                return False
            known[record.id] = record
        return True

    def up(self, found: list[Artifact], depth: int) -> None:
        """What these were made from."""
        for _ in range(depth):
            makers = self._get(StepRun, {each.step_run for each in found if each.step_run})
            wanted = defaultdict(list)
            for artifact in found:
                maker = makers.get(artifact.step_run)
                if maker is not None and self.add(maker):
                    self._edges[maker.id, artifact.id] = None
            for maker in makers.values():
                for each in artifacts_in(maker.inputs):
                    wanted[each].append(maker.id)
            found = self._take(wanted, lambda artifact, maker: (artifact, maker))
            if not found:
                return
        # Who made the farthest is told; from what, not.
        makers = self._get(StepRun, {each.step_run for each in found if each.step_run})
        for artifact in found:
            maker = makers.get(artifact.step_run)
            if maker is not None and self.add(maker):
                self._edges[maker.id, artifact.id] = None

    def down(self, found: list[Artifact], depth: int) -> None:
        """What was made from these."""
        for _ in range(depth):
            wanted = defaultdict(list)
            for artifact in found:
                for user in newest_attempts(self.users(artifact)):
                    # What was reused was not made again from it: it is there as what was made then.
                    if user.state is State.CACHED or not self.add(user):
                        continue
                    self._edges[artifact.id, user.id] = None
                    for output in user.outputs.values():
                        if output.artifact:
                            wanted[output.artifact].append(user.id)
            found = self._take(wanted, lambda artifact, user: (user, artifact))

    def users(self, artifact: Artifact) -> list[StepRun]:
        """The step runs, not items of mapped ones, that have an artifact among their inputs."""
        if artifact.id not in self._users:
            self._users[artifact.id] = self._find_users(artifact)
        return self._users[artifact.id]

    def told(self, artifact: Artifact, uses: list[StepRun]) -> Lineage:
        """What was found."""
        runs = self._get(Run, {each.run for each in (*self._step_runs.values(), *uses)})
        names = {id_: run.name for id_, run in runs.items()}
        return Lineage(
            artifact=artifact.id,
            artifacts=tuple(
                ArtifactNode(
                    id=each.id,
                    name=each.name,
                    version=each.version,
                    type=each.type,
                    size=each.size,
                    step=each.step,
                    step_run=each.step_run,
                    created_at=each.created_at,
                )
                for each in self._artifacts.values()
            ),
            step_runs=tuple(
                StepNode(
                    id=each.id,
                    run=names.get(each.run, ""),
                    pipeline=each.pipeline,
                    step=each.step,
                    state=each.state,
                    created_at=each.created_at,
                )
                for each in self._step_runs.values()
            ),
            edges=tuple(Edge(*each) for each in self._edges),
            uses=tuple(
                Use(
                    step_run=each.id,
                    run=names.get(each.run, ""),
                    step=each.step,
                    state=each.state,
                    inputs=tuple(
                        name for name, held in each.inputs.items() if artifact.id in artifacts_in(held)
                    ),
                    created_at=each.created_at,
                )
                for each in uses
            ),
            cut=self._cut,
        )

    def _take(self, wanted: Mapping[str, list[str]], edge: Any) -> list[Artifact]:
        """Artifacts by id, with their edges; gives those that are new."""
        new = []
        for id_, artifact in self._get(Artifact, wanted).items():
            known = id_ in self._artifacts
            if self.add(artifact):
                for step_run in wanted[id_]:
                    if step_run in self._step_runs:
                        self._edges[edge(id_, step_run)] = None
                if not known:
                    new.append(artifact)
        return new

    def _find_users(self, artifact: Artifact) -> list[StepRun]:
        runs = self._runs_with(artifact)
        if not runs:
            return []
        marks = ", ".join("?" * len(runs))
        quoted = "".join(f"!{letter}" if letter in "!%_" else letter for letter in artifact.id)
        rows = self._store.database.select(
            f'SELECT body, revision FROM "step_run" WHERE space = ? AND run IN ({marks}) AND "index" IS NULL '
            f"AND body LIKE ? ESCAPE '!' LIMIT {_USERS + 1:d}",
            (self._store.space, *runs, f"%{quoted}%"),
        )
        self._cut |= len(rows) > _USERS
        found = (read_row(StepRun, (row[0], row[1])) for row in rows[:_USERS])
        return [each for each in found if artifact.id in artifacts_in(each.inputs)]

    def _runs_with(self, artifact: Artifact) -> list[str]:
        """The runs whose steps could use it."""
        makers = self._get(StepRun, {artifact.step_run} if artifact.step_run else set())
        key = makers[artifact.step_run].cache_key if artifact.step_run in makers else ""
        runs = dict.fromkeys([artifact.run] if artifact.run else [])
        if key:
            page = self._store.find(StepRun, cache_key=key, limit=_RUNS)
            self._cut |= page.next is not None
            for each in page:
                if any(output.artifact == artifact.id for output in each.outputs.values()):
                    runs[each.run] = None
        return [*runs]

    def _get(self, kind: Any, ids: Collection[str]) -> dict[str, Any]:
        """Records by id; those that were deleted are left out."""
        known: dict[str, Any] = {}
        if ids:
            wanted = list(dict.fromkeys(ids))[: MOST_NODES + 1]
            known = {each.id: each for each in self._store.find(kind, id=wanted, limit=len(wanted))}
        return known
