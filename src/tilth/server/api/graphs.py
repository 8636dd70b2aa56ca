"""A run as people look at it: its graph, and all that is known of one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from tilth.errors import NotFound, nearest
from tilth.records import Artifact, Json, Moment, Run, State, StepRun, now
from tilth.records.launching import RunLease
from tilth.server.compiled import find_pipeline, is_driven_here, read_source
from tilth.server.documents import answers, page_of, respond, respond_page
from tilth.server.graphs import KeyPart, LightStepRun, RunGraph, artifacts_of, compare, draw
from tilth.server.items import item_counts, list_items
from tilth.server.requests import Viewer
from tilth.server.sources import find_function
from tilth.store import encoding, schema

if TYPE_CHECKING:
    from tilth.ir.pipeline import Node, Pipeline
    from tilth.server.requests import ProjectRequest
    from tilth.store.sql import SqlStore

router = APIRouter(prefix="/projects/{project}/runs/{run}", tags=["graphs"])
_MOST_ATTEMPTS = 100
_TOGETHER = 500  # ids in one question
_light = msgspec.json.Decoder(LightStepRun)


class StepSource(msgspec.Struct, frozen=True):
    """The module that a step is defined in; the step is its lines `first` to `last`, counted from 1, where known."""

    module: str
    file: str  # relative to the folder that it was imported from
    text: str
    first: int | None
    last: int | None


class StepDeclared(msgspec.Struct, frozen=True, kw_only=True):
    """What a step declares."""

    function: str
    inputs: dict[str, Json]
    outputs: dict[str, str]  # name -> type
    map: tuple[str, ...]
    after: tuple[str, ...]
    environment: str | None
    cache: bool
    resources: dict[str, Json]
    retry: dict[str, Json]
    timeout_s: float | None
    worker: str
    secrets: dict[str, str]
    tags: tuple[str, ...]


class KeyCompared(msgspec.Struct, frozen=True, kw_only=True):
    """What a step's outputs depend on, and how that was in the step run that it was held against, if there was one."""

    parts: tuple[KeyPart, ...]
    hit: bool
    run: str = ""  # name
    step_run: str = ""  # id
    at: Moment | None = None


class StepDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run, or one item of it: every attempt, the last one last, and what they came from."""

    run: str  # name
    step: str
    index: int | None
    attempts: tuple[StepRun, ...]
    declared: StepDeclared | None  # None: the compiled pipeline is not here
    compared: KeyCompared | None
    source: StepSource | None  # None: no client has sent it


@router.get("/graph", summary="The graph of a run, and where each step stands", responses=answers(RunGraph))
def get_graph(asked: Viewer, run: str) -> Response:
    """`run` is an id or a name. Items of mapped steps are counted, not listed."""
    found = find_run(asked, run)
    pipeline = find_pipeline(asked, found)
    # The run is read first: what its steps did is there before it has ended.
    step_runs = _step_runs(asked.store, found)
    lengths: dict[str, int] = {}
    wanted = artifacts_of(step_runs, pipeline)
    for at in range(0, len(wanted), _TOGETHER):
        some = wanted[at : at + _TOGETHER]
        page = asked.store.find(Artifact, id=some, limit=len(some))
        lengths |= {each.id: each.length for each in page if each.length is not None}
    counts = item_counts(asked.store, found)
    return respond(draw(found, pipeline, step_runs, counts, lengths, driven=_is_driven(asked, found)))


@router.get("/steps/{step}", summary="One step of a run", responses=answers(StepDetail))
def get_step(
    asked: Viewer,
    run: str,
    step: str,
    index: Annotated[int | None, Query(ge=0, description="Of an item, where the step is mapped.")] = None,
) -> Response:
    """Its attempts, what it was reused by or had to run for, and its source."""
    found = find_run(asked, run)
    pipeline = find_pipeline(asked, found)
    node = next((each for each in pipeline.nodes if each.id == step), None) if pipeline is not None else None
    page = asked.store.find(
        StepRun, run=found.id, step=step, index=index, order="created_at", limit=_MOST_ATTEMPTS
    )
    if node is None and not page.items and not _has_items(asked.store, found, step):
        known = [each.id for each in pipeline.nodes] if pipeline is not None else []
        raise NotFound(f"run `{found.name}` has no step `{step}`", mend=nearest(step, known))
    attempts = tuple(sorted(page.items, key=lambda each: (each.fence, each.attempt, each.id)))
    view = StepDetail(
        run=found.name,
        step=step,
        index=index,
        attempts=attempts,
        declared=_declared(node) if node is not None else None,
        compared=_compared(asked.store, attempts[-1]) if attempts else None,
        source=_source(asked, found, pipeline, node) if pipeline is not None and node is not None else None,
    )
    return respond(view)


@router.get(
    "/steps/{step}/items", summary="Items of a mapped step, by index", responses=answers(page_of(StepRun))
)
def find_items(
    asked: Viewer,
    run: str,
    step: str,
    state: Annotated[list[State] | None, Query(description="One of them must hold.")] = None,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The last attempt of each, as a step run. An item that has not ended is not among them."""
    found = find_run(asked, run)
    rows, following = list_items(asked.store, found, step, state or [], after, limit)
    return respond_page(rows, following)


def find_run(asked: ProjectRequest, wanted: str) -> Run:
    """The run of an id or a name.

    Raises:
        NotFound: There is none.
    """
    try:
        return asked.store.get(Run, wanted)
    except NotFound:
        found = asked.store.find(Run, name=wanted, limit=1).items
        if not found:
            raise NotFound(
                f"there is no run `{wanted}` in project `{asked.project}`",
                why="it was deleted, or never was",
                mend="`tilth runs list` shows what there is",
            ) from None
        return found[0]


def _has_items(store: SqlStore, run: Run, step: str) -> bool:
    return bool(store.find(StepRun, run=run.id, step=step, limit=1).items)


def _step_runs(store: SqlStore, run: Run) -> list[LightStepRun]:
    rows = store.database.select(
        'SELECT body, revision FROM step_run WHERE space = ? AND run = ? AND "index" IS NULL '
        "ORDER BY created_at, id",
        (store.space, run.id),
    )
    return [
        msgspec.structs.replace(encoding.decode(body, _light, LightStepRun), revision=revision)
        for body, revision in rows
    ]


def _is_driven(asked: ProjectRequest, run: Run) -> bool:
    if run.state.is_final:
        return False
    leases = asked.store.find(RunLease, id=run.id, limit=1).items
    return bool(leases and leases[0].expires_at > now()) or is_driven_here(asked, run)


def _declared(node: Node) -> StepDeclared:
    told: dict[str, Any] = {
        name: getattr(node, name) for name in StepDeclared.__struct_fields__ if name != "outputs"
    }
    return StepDeclared(**told, outputs={each.name: each.type or each.annotation for each in node.outputs})


def _compared(store: SqlStore, step_run: StepRun) -> KeyCompared | None:
    """A step run beside the one it was reused from, or else the one before that gave outputs."""
    if not step_run.cache_parts:
        return None
    hit = step_run.state is State.CACHED
    before = _reused(store, step_run) if hit else _before(store, step_run)
    if before is None:
        return KeyCompared(parts=compare(step_run.cache_parts, None), hit=hit)
    runs = store.find(Run, id=before.run, limit=1).items
    return KeyCompared(
        parts=compare(step_run.cache_parts, before.cache_parts),
        hit=hit,
        run=runs[0].name if runs else "",
        step_run=before.id,
        at=before.finished_at,
    )


def _reused(store: SqlStore, step_run: StepRun) -> StepRun | None:
    if not step_run.reused_from:
        return None
    return next(iter(store.find(StepRun, id=step_run.reused_from, limit=1)), None)


def _before(store: SqlStore, step_run: StepRun) -> StepRun | None:
    cursor = msgspec.json.encode([schema.sql_value(step_run.created_at), step_run.id]).decode()
    page = store.find(
        StepRun,
        pipeline=step_run.pipeline,
        step=step_run.step,
        index=None,
        state=[State.COMPLETED.value, State.CACHED.value],
        after=cursor,
        limit=1,
    )
    return next(iter(page), None)


def _source(asked: ProjectRequest, run: Run, pipeline: Pipeline, node: Node) -> StepSource | None:
    text = read_source(asked, run, pipeline, node.module)
    if text is None:
        return None
    lines = find_function(text, node.function.partition(":")[2])
    return StepSource(
        module=node.module,
        file=pipeline.files.get(node.module, ""),
        text=text,
        first=lines.first if lines is not None else None,
        last=lines.last if lines is not None else None,
    )
