"""Runs as tables show them: what is short, whatever a run was given and has logged."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tilth.records import Json, Moment, Run

_LONGEST = 200  # characters of a value
_MOST = 50  # parameters, or metadata, of one run


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run without what only its own page shows."""

    id: str
    name: str
    pipeline: str
    number: int
    state: str
    revision: int
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    seconds: Annotated[float | None, msgspec.Meta(description="None while it runs.")]
    stack: str
    steps: int
    tags: tuple[str, ...]
    snapshot: str
    rerun_of: str
    branch: str
    commit: str
    dirty: bool
    python: str
    reason: Annotated[str, msgspec.Meta(description="Why it failed, as `Failure.reason`.")]
    failure: Annotated[str, msgspec.Meta(description="Type and first line of the failure.")]
    parameters: Annotated[dict[str, Json], msgspec.Meta(description="The short ones.")]
    metadata: Annotated[dict[str, Json], msgspec.Meta(description="The short ones.")]


def row_of(run: Run) -> RunRow:
    """What a table shows of a run."""
    began, ended = run.started_at, run.finished_at
    git = run.client.git if run.client else None
    failure = run.failure
    said = next(iter(failure.message.splitlines()), "") if failure else ""
    return RunRow(
        id=run.id,
        name=run.name,
        pipeline=run.pipeline,
        number=run.number,
        state=run.state.value,
        revision=run.revision,
        created_at=run.created_at,
        started_at=began,
        finished_at=ended,
        seconds=(ended - began).total_seconds() if began and ended else None,
        stack=run.stack,
        steps=run.steps,
        tags=run.tags,
        snapshot=run.snapshot,
        rerun_of=str(run.options.get("rerun_of") or ""),
        branch=git.branch if git else "",
        commit=git.commit if git else "",
        dirty=git.dirty if git else False,
        python=run.client.python if run.client else "",
        reason=failure.reason if failure else "",
        failure=": ".join(each for each in (failure.type, said) if each)[:_LONGEST] if failure else "",
        parameters=_short(run.parameters),
        metadata=_short(run.metadata),
    )


def _short(values: dict[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, value in values.items():
        if len(found) == _MOST:
            break
        if isinstance(value, str):
            found[name] = value[:_LONGEST]
        elif value is None or isinstance(value, bool | int | float):
            found[name] = value
        elif isinstance(value, list | dict) and len(value) <= _MOST:
            text = msgspec.json.encode(value)
            if len(text) <= _LONGEST:
                found[name] = value
    return found
