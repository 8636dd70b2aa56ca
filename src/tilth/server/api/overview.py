"""How a project does: what runs now, what failed, what is due next, and its pipelines over time."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from tilth.errors import DefinitionError, NotFound
from tilth.records import Moment, Run, State, StepRun, now
from tilth.records.launching import Launch, LaunchState, RunLease, Schedule
from tilth.server.documents import answers, respond
from tilth.server.requests import ProjectRequest, Viewer
from tilth.server.run_rows import RunRow, row_of
from tilth.store import run_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.store.run_counts import Outcome

router = APIRouter(prefix="/projects/{project}", tags=["views"])
_SHOWN = 20  # of each list
_RECENT = 40  # runs of a pipeline that tell how it does now
_HOUR_S, _DAY_S = 3600, 86_400
_HOURLY_DAYS = 2  # up to so many, the hours are told apart
_LONGEST_RUN = timedelta(days=30)  # one that began before is not looked for among those that failed just now

Days = Annotated[int, Query(ge=1, le=366, description="How far back.")]
Shift = Annotated[
    int,
    Query(ge=-_DAY_S, le=_DAY_S, description="Seconds of local time before UTC; days begin at its midnight."),
]


class RunningRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has not ended, and how far it is."""

    run: RunRow
    driven: Annotated[bool, msgspec.Meta(description="Whether its driver says that it lives.")]
    steps: Annotated[dict[str, int], msgspec.Meta(description="State: how many of its steps.")]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was asked for and has no record yet."""

    id: str  # of the launch
    pipeline: str
    cause: str
    state: str
    created_at: Moment


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule, and when it asks for a run next."""

    name: str
    snapshot: str
    next_at: Moment
    rule: str  # `0 3 * * *`, `every 3600 s`, `once`
    timezone: str


class SpanView(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that began in one hour or day, and how long those took that completed."""

    at: Moment
    states: dict[str, int]
    median_s: float | None
    slow_s: Annotated[float | None, msgspec.Meta(description="19 of 20 took no longer.")]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What matters of a project now."""

    now: Moment
    running: tuple[RunningRun, ...]
    more_running: bool
    waiting: tuple[Waiting, ...]
    failed: tuple[RunRow, ...]
    more_failed: bool
    due: tuple[Due, ...]
    spans: tuple[SpanView, ...]
    span_s: int
    any_runs: Annotated[bool, msgspec.Meta(description="Whether there ever was one.")]


class RecentRun(msgspec.Struct, frozen=True, kw_only=True):
    """How one run of a pipeline went."""

    id: str
    created_at: Moment
    state: str
    seconds: float | None


class PipelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline, and how its runs go."""

    name: str
    runs: int
    states: Annotated[dict[str, int], msgspec.Meta(description="State: how many of all its runs.")]
    last: RunRow | None
    recent: Annotated[tuple[RecentRun, ...], msgspec.Meta(description="The newest first.")]
    success: Annotated[
        float | None,
        msgspec.Meta(description="Share of the recent that completed, of those that did or failed."),
    ]
    median_s: Annotated[float | None, msgspec.Meta(description="Of the recent that completed.")]


class PipelineRows(msgspec.Struct, frozen=True):
    """Some pipelines by name; `next` goes into `after` for the rest."""

    items: tuple[PipelineRow, ...]
    next: str | None = None


class PipelineView(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline, and its runs over time."""

    pipeline: PipelineRow
    spans: tuple[SpanView, ...]
    span_s: int


@router.get("/overview", summary="How a project does", responses=answers(Overview))
def overview(
    asked: Viewer,
    days: Days = 14,
    since: Annotated[
        datetime | None, Query(description="What failed since then; by default, within a day.")
    ] = None,
    shift_s: Shift = 0,
) -> Response:
    """What runs now, what failed since, what is due next; and the runs of each day."""
    moment = now()
    if since is not None and since.tzinfo is None:
        raise DefinitionError("`since` has no time zone", mend="write it like `2026-03-01T06:30:00Z`")
    since = since or moment - timedelta(days=1)
    unfinished = [State.RUNNING.value, State.QUEUED.value]
    running = asked.store.find(Run, state=unfinished, limit=_SHOWN)
    failed = run_counts.ended_since(
        asked.store, State.FAILED.value, since, began_after=since - _LONGEST_RUN, most=_SHOWN + 1
    )
    spans, span_s = _spans(asked, moment, days, shift_s)
    return respond(
        Overview(
            now=moment,
            running=_with_steps(asked, running.items, moment),
            more_running=running.next is not None,
            waiting=_waiting(asked),
            failed=_rows(asked, failed[:_SHOWN]),
            more_failed=len(failed) > _SHOWN,
            due=_due(asked),
            spans=spans,
            span_s=span_s,
            any_runs=bool(spans) or bool(asked.store.find(Run, limit=1).items),
        )
    )


@router.get("/pipelines", summary="List pipelines", responses=answers(PipelineRows))
def find_pipelines(
    asked: Viewer,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    after: Annotated[str, Query(max_length=1000, description="`next` of the page before.")] = "",
) -> Response:
    """Those that have runs, by name."""
    names = run_counts.pipelines(asked.store, after=after, limit=limit + 1)
    shown = names[:limit]
    return respond(PipelineRows(_pipelines(asked, shown), shown[-1] if len(names) > limit else None))


@router.get("/pipelines/{pipeline}", summary="One pipeline over time", responses=answers(PipelineView))
def get_pipeline(asked: Viewer, pipeline: str, days: Days = 30, shift_s: Shift = 0) -> Response:
    """How its runs go, and the runs of each day."""
    (found,) = _pipelines(asked, [pipeline])
    if not found.runs:
        raise NotFound(
            f"no run of pipeline `{pipeline[:100]}`", mend="see those that have runs in `pipelines`"
        )
    spans, span_s = _spans(asked, now(), days, shift_s, pipeline)
    return respond(PipelineView(pipeline=found, spans=spans, span_s=span_s))


def _pipelines(asked: ProjectRequest, names: Sequence[str]) -> tuple[PipelineRow, ...]:
    counts = run_counts.counts(asked.store, names)
    newest = run_counts.newest(asked.store, names, _RECENT)
    rows = _rows(asked, [runs[0].id for runs in newest.values() if runs])
    last = {each.pipeline: each for each in rows}
    return tuple(pipeline_row(name, counts[name], newest[name], last.get(name)) for name in names)


def pipeline_row(
    name: str, states: dict[str, int], recent: Sequence[Outcome], last: RunRow | None
) -> PipelineRow:
    """What the list of pipelines says of one."""
    good = [each for each in recent if each.state == State.COMPLETED.value]
    bad = sum(each.state == State.FAILED.value for each in recent)
    times = [each.seconds for each in good if each.seconds is not None]
    return PipelineRow(
        name=name,
        runs=sum(states.values()),
        states=states,
        last=last,
        recent=tuple(
            RecentRun(id=each.id, created_at=each.created_at, state=each.state, seconds=each.seconds)
            for each in recent
        ),
        success=len(good) / (len(good) + bad) if good or bad else None,
        median_s=median(times) if times else None,
    )


def _spans(
    asked: ProjectRequest, moment: datetime, days: int, shift_s: int, pipeline: str = ""
) -> tuple[tuple[SpanView, ...], int]:
    width_s = _HOUR_S if days <= _HOURLY_DAYS else _DAY_S
    found = run_counts.spans(
        asked.store,
        first_begin(moment, days, width_s, shift_s),
        moment + timedelta(days=1),  # a client's clock may go before ours
        width_s=width_s,
        shift_s=shift_s,
        pipeline=pipeline,
    )
    views = tuple(
        SpanView(at=each.at, states=each.states, median_s=each.median_s, slow_s=each.slow_s) for each in found
    )
    return views, width_s


def first_begin(moment: datetime, days: int, width_s: int, shift_s: int) -> datetime:
    """When the first whole span begins, so that today is the last of so many days."""
    span_s = int(moment.timestamp() + shift_s) // width_s * width_s - shift_s
    spans = days * _DAY_S // width_s
    return datetime.fromtimestamp(span_s - (spans - 1) * width_s, moment.tzinfo)


def _with_steps(asked: ProjectRequest, runs: Sequence[Run], moment: datetime) -> tuple[RunningRun, ...]:
    if not runs:
        return ()
    ids = [each.id for each in runs]
    held = {
        each.id for each in asked.store.find(RunLease, id=ids, limit=len(ids)) if each.expires_at > moment
    }
    return tuple(
        RunningRun(run=row_of(each), driven=each.id in held, steps=_steps(asked, each.id)) for each in runs
    )


def _steps(asked: ProjectRequest, run: str) -> dict[str, int]:
    """States of the newest attempts of a run's steps; of very many, of the newest alone."""
    found = asked.store.find(StepRun, run=run, index=None, limit=1000)
    newest: dict[str, State] = {}
    for each in found:
        newest.setdefault(each.step, each.state)
    return dict(Counter(each.value for each in newest.values()))


def _rows(asked: ProjectRequest, ids: Sequence[str]) -> tuple[RunRow, ...]:
    """In the order of the ids."""
    if not ids:
        return ()
    found = {each.id: each for each in asked.store.find(Run, id=list(ids), limit=len(ids))}
    return tuple(row_of(found[each]) for each in ids if each in found)


def _waiting(asked: ProjectRequest) -> tuple[Waiting, ...]:
    states = [LaunchState.QUEUED.value, LaunchState.LEASED.value]
    found = asked.access.store.find(
        Launch, project=asked.project, state=states, order="created_at", limit=_SHOWN
    )
    return tuple(
        Waiting(
            id=each.id,
            pipeline=each.pipeline,
            cause=each.cause,
            state=each.state.value,
            created_at=each.created_at,
        )
        for each in found
    )


def _due(asked: ProjectRequest) -> tuple[Due, ...]:
    found: Iterable[Schedule] = asked.access.store.find(Schedule, project=asked.project, limit=1000)
    times = sorted(
        ((each.next_at, each) for each in found if each.active and each.next_at is not None),
        key=lambda pair: pair[0],
    )
    return tuple(
        Due(name=each.name, snapshot=each.snapshot, next_at=at, rule=rule_of(each), timezone=each.timezone)
        for at, each in times[:_SHOWN]
    )


def rule_of(schedule: Schedule) -> str:
    """When a schedule asks for runs, in short."""
    if schedule.cron:
        return schedule.cron
    return f"every {schedule.every_s} s" if schedule.every_s else "once"
