"""`tilth runs`: list, show, logs, cancel, resume, delete; `rerun` has a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tilth.cli.rerun import rerun
from tilth.cli.run import ended, run_options
from tilth.cli.usage import Misuse, group, json_option, traceback_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.home import Home
    from tilth.records import Run, StepRun
    from tilth.store import Store

STATES = ("queued", "running", "completed", "failed", "cancelled")


@group("runs")
def runs() -> None:
    """Look at runs; cancel, resume, rerun and delete them.

    A run is named by its name, as `churn-12`, by its id, or by the beginning of an id.
    """


@runs.command("list")
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("--state", type=click.Choice(STATES), help="Only runs in this state.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first."
)
@json_option
def list_runs(*, pipeline: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first."""
    from tilth.cli.home import home, records
    from tilth.cli.tables import more, table, to_json
    from tilth.client.wording import assignments, clipped, moment
    from tilth.records import Run

    where = {name: value for name, value in (("pipeline", pipeline), ("state", state)) if value}
    with records() as store:
        page = store.find(Run, limit=limit, **where)
        states = {} if as_json else {run.id: state_text(run, home(), store) for run in page}
    if as_json:
        click.echo(to_json(page.items))
        return
    if not page.items:
        click.echo(
            f"no runs{_where()}" + (" like that" if where else "; `tilth run FILE` makes one"), err=True
        )
        return
    rows = [
        {
            "run": run.name,
            "state": states[run.id],
            "started": moment(run.started_at or run.created_at),
            "took": _took(run),
            "steps": run.steps,
            "parameters": clipped(assignments(run.parameters), 60),
        }
        for run in page
    ]
    click.echo(table(["run", "state", "started", "took", "steps", "parameters"], rows))
    more(page.next, limit)


@runs.command()
@click.argument("name")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show how a run went.

    Its steps, what was reused and why, its environments, what it gave, and why it failed.

    With --json: the run's record, with those of its step runs and artifacts in `step_runs` and `artifacts`.
    """
    from tilth.cli.home import home, records
    from tilth.cli.tables import to_json
    from tilth.client.lookup import find_run
    from tilth.records import Artifact, StepRun
    from tilth.store import walk

    with records() as store:
        run = find_run(store, name)
        step_runs = list(walk(store, StepRun, order="created_at", run=run.id))
        artifacts = list(walk(store, Artifact, order="created_at", run=run.id))
        if as_json:
            import msgspec

            document = {**msgspec.to_builtins(run), "step_runs": step_runs, "artifacts": artifacts}
            click.echo(to_json(document))
            return
        state = state_text(run, home(), store)
        graph = _graph(run, home(), store)
    blocks = [_facts(run, state), _steps(run, step_runs, graph)]
    if artifacts:
        from tilth.cli.artifacts import artifact_table

        blocks.append(artifact_table(artifacts, columns=["artifact", "version", "step", "type", "size"]))
    failure = _failure(run, step_runs)
    if failure:
        blocks.append("\n".join(failure))
    click.echo("\n\n".join(filter(None, blocks)))


@runs.command()
@click.argument("name")
@click.argument("step", required=False)
@click.option("--item", type=click.IntRange(min=0), metavar="N", help="Of a mapped step: one item, from 0.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="One attempt; by default all.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@json_option
def logs(
    *, name: str, step: str | None, item: int | None, attempt: int | None, follow: bool, as_json: bool
) -> None:
    """Print what the steps of a run printed.

    With STEP, just what that step printed.
    """
    from tilth.cli.home import records
    from tilth.cli.tables import to_json
    from tilth.client import runs as past
    from tilth.client.lookup import find_run
    from tilth.client.progress import label

    if item is not None and step is None:
        raise Misuse("`--item` needs a step", mend="`tilth runs logs NAME STEP --item N`")
    with records() as store:
        run = find_run(store, name)
    for line in (past.follow_logs if follow else past.logs)(run.name, step, attempt):
        if item is not None and line.index != item:
            continue
        if as_json:
            click.echo(to_json(line, indent=None))
        elif step is None or (line.index is not None and item is None):
            click.echo(f"[{label(line.step, line.index)}] {line.text}")
        else:
            click.echo(line.text)


@runs.command()
@click.argument("name")
@json_option
def cancel(*, name: str, as_json: bool) -> None:
    """Stop a run, and wait until it has ended."""
    from tilth.cli.home import records
    from tilth.client import runs as past
    from tilth.client.lookup import find_run

    with records() as store:
        run = find_run(store, name)
    run = past.cancel(run.name)
    if as_json:
        from tilth.cli.tables import to_json

        click.echo(to_json(run))
    else:
        click.echo(f"run {run.name}: {run.state.value}", err=True)


@runs.command()
@click.argument("name")
@run_options
@json_option
@traceback_option
def resume(*, name: str, as_json: bool, traceback: bool, **options: Any) -> int:
    """Finish a run that did not complete.

    One that failed, was cancelled, or lost its client. Completed steps are not repeated; it goes on with the
    code and the environments it began with.
    """
    from tilth.cli.home import records
    from tilth.client import resuming
    from tilth.client.driving import RunOptions
    from tilth.client.lookup import find_run
    from tilth.client.progress import listener

    with records() as store:
        run = find_run(store, name)
    with listener(json=as_json, whole=traceback) as progress:
        run = resuming.resume(run.name, RunOptions(**options), progress)
    return ended(run, as_json=as_json)


runs.add_command(rerun)


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def delete(*, names: Sequence[str]) -> None:
    """Delete runs with their logs.

    A run that goes on is refused. Artifacts stay: other runs may use them.
    """
    from tilth.cli.home import records
    from tilth.client import runs as past
    from tilth.client.lookup import find_run

    with records() as store:
        found = {run.id: run for run in (find_run(store, each) for each in names)}
    for run in found.values():
        past.delete(run.name)
        click.echo(f"run {run.name}: deleted", err=True)


def _where() -> str:
    """What to add to the name of what was not found: on a server, each project has its own."""
    from tilth.cli.home import home
    from tilth.store.logins import active_server
    from tilth.store.opening import current_project

    return f" in project {current_project()}" if active_server(home()) is not None else ""


def state_text(run: Run, home: Home, store: Store) -> str:
    """The state of a run; `interrupted` when it should be running and nobody drives it."""
    from tilth.client.runs import is_driven
    from tilth.records import State

    if run.state is State.RUNNING and not is_driven(run, home, store):
        return "interrupted"
    return str(run.state.value)


def _took(run: Run | StepRun) -> str:
    from tilth.client.wording import duration

    if run.started_at is None or run.finished_at is None:
        return ""
    return duration((run.finished_at - run.started_at).total_seconds())


def _facts(run: Run, state: str) -> str:
    from tilth.cli.tables import pairs
    from tilth.client.wording import assignments, moment, short_digest

    took = _took(run)
    client = run.client
    runner = code = ""
    if client:
        runner = f"{client.implementation} {client.python} on {client.platform}, tilth {client.tilth}"
        if client.environment:
            runner += f", environment {short_digest(client.environment)}"
        if client.git:
            changed = ", with changes" if client.git.dirty else ""
            code = f"commit {client.git.commit[:12]} on {client.git.branch}{changed}"
    width = max(map(len, run.environments), default=0)
    bundle = f"bundle {short_digest(run.bundle)}" if run.bundle else ""
    facts = {
        "id": run.id,
        "pipeline": run.pipeline,
        "parameters": assignments(run.parameters),
        "options": assignments(run.options),
        "started": moment(run.started_at) + (f", took {took}" if took else ""),
        "stack": run.stack
        + (
            f", orchestrator {run.orchestrator.component or run.orchestrator.flavor}"
            if run.orchestrator
            else ""
        ),
        "code": ", ".join(filter(None, (code, bundle))),
        "environments": "\n".join(
            f"{name.ljust(width)}  {short_digest(each)}"
            + (f", image {short_digest(run.images[name])}" if name in run.images else "")
            for name, each in run.environments.items()
        ),
        "client": runner,
        "tags": ", ".join(run.tags),
        "metadata": "\n".join(assignments({key: value}) for key, value in run.metadata.items()),
    }
    text = f"run {run.name}: {state}\n{pairs(facts)}"
    if state == "interrupted":
        text += f"\n  hint: nobody drives it; `tilth runs resume {run.name}` finishes it"
    return text


def _steps(run: Run, step_runs: Sequence[StepRun], graph: Sequence[str]) -> str:
    """A row for each step in the order of the graph, those that were not reached included."""
    from tilth.cli.tables import table

    names = {digest: name for name, digest in run.environments.items()}
    steps: dict[str, list[StepRun]] = {name: [] for name in graph}
    for each in step_runs:
        steps.setdefault(each.step, []).append(each)
    rows = [_step_row(step, attempts, names) for step, attempts in steps.items()]
    return table(["step", "state", "took", "items", "attempts", "environment", "why"], rows)


def _step_row(step: str, step_runs: Sequence[StepRun], names: dict[str, str]) -> dict[str, object]:
    from tilth.client.failures import cause
    from tilth.client.lookup import attempt_order

    if not step_runs:
        return {"step": step, "state": "not started"}
    itself = [each for each in step_runs if each.index is None]
    items = latest(each for each in step_runs if each.index is not None)
    last = max(itself, key=attempt_order) if itself else None
    shown = last or max(step_runs, key=attempt_order)
    state = shown.state if last else items[0].state
    why = cause(shown.failure) if shown.failure else shown.cache_reason
    reused = sum(each.state.value == "cached" for each in items)
    attempts = max(each.attempt for each in step_runs)
    return {
        "step": step,
        "state": "reused" if state.value == "cached" else state.value,
        "took": "" if state.value == "cached" else _took(shown),
        "items": f"{len(items)}, {reused} reused" if reused else len(items) or "",
        "attempts": attempts if attempts > 1 else "",
        "environment": names.get(shown.environment, ""),
        "why": why,
    }


def latest(step_runs: Iterable[StepRun]) -> list[StepRun]:
    """Of each step or item, the attempt that counts: the last one of the last driver."""
    from tilth.client.lookup import attempt_order

    last: dict[tuple[str, int | None], StepRun] = {}
    for each in sorted(step_runs, key=attempt_order):
        last[each.step, each.index] = each
    return list(last.values())


def _graph(run: Run, home: Home, store: Store) -> list[str]:
    """The steps of the compiled pipeline; none when its file is gone."""
    import json

    from tilth.client.reporting import run_folder

    try:
        compiled = json.loads((run_folder(run, home, store) / "pipeline.json").read_bytes())
        return [node["id"] for node in compiled["nodes"]]
    except (OSError, ValueError, KeyError):
        return []


def _failure(run: Run, step_runs: Sequence[StepRun]) -> list[str]:
    """Why a run failed, in full."""
    from tilth.client.failures import run_failure, step_failure
    from tilth.client.progress import label
    from tilth.client.wording import value_text
    from tilth.records import State

    if run.state is not State.FAILED:
        return []
    failed = [each for each in latest(step_runs) if each.state is State.FAILED and each.failure]
    # What failed first is the cause; of a mapped step, the item rather than the step.
    failed.sort(key=lambda each: (each.finished_at is None, each.finished_at, each.index is None))
    if not failed:
        return run_failure(run.failure, run=run.name) if run.failure else []
    first = failed[0]
    assert first.failure is not None
    return step_failure(
        first.failure,
        step=label(first.step, first.index),
        run=run.name,
        attempt=first.attempt,
        inputs={name: value_text(value) for name, value in first.inputs.items()},
        whole=True,
    )
