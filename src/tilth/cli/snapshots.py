"""`tilth snapshots`: create, list, show, run, launches, cancel, delete."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from tilth.cli.run import checked_target, ended, given_parameters
from tilth.cli.usage import Misuse, group, json_option, traceback_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tilth.records import Failure, Run
    from tilth.records.launching import Launch
    from tilth.store.http import HttpStore

_LOOK_S = 0.5


def _project(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--project", metavar="NAME", help="The project on the server; by default this folder's."
    )(command)


@group("snapshots")
def snapshots() -> None:
    """Keep pipelines on a server that starts them, and start them there.

    A snapshot is a compiled pipeline with its code, the lock of what it is compiled in, and its stack. It is named
    by its name, for the newest version, or as `NAME:VERSION`.
    """


@snapshots.command()
@click.argument("target", metavar="FILE[:PIPELINE]")
@click.option("--name", required=True, help="What the snapshot is called; the next version of it is made.")
@click.option("--stack", metavar="NAME", help="The stack that it runs on; by default the active one.")
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the pipeline; a run may give another. May be repeated.",
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="NAME",
    help="Lock for this platform of a runner too, as `linux-aarch64`; those of runners that are there need none.",
)
@click.option(
    "--anywhere",
    is_flag=True,
    help="Steps that run where a run is started, may run on the machine of any runner.",
)
@click.option(
    "--runner",
    type=click.Choice(["process", "image"]),
    default="process",
    show_default=True,
    help="What its runs are driven in: a process of a runner, or the container of an image that is made now.",
)
@click.option("--description", default="", help="What it is for.")
@click.option("--no-cache", is_flag=True, help="Its runs run every step, reuse nothing.")
@click.option("--python", metavar="PATH", help="The project's interpreter.")
@click.option("--offline", is_flag=True, help="Ask no package index.")
@_project
@json_option
@traceback_option
def create(
    *,
    target: str,
    name: str,
    stack: str | None,
    parameters: Sequence[str],
    platforms: Sequence[str],
    anywhere: bool,
    runner: str,
    description: str,
    no_cache: bool,
    python: str | None,
    offline: bool,
    project: str | None,
    as_json: bool,
    traceback: bool,
) -> None:
    """Keep a pipeline as it is now on the server."""
    given = given_parameters(parameters)
    target = checked_target(target)
    if runner == "image" and platforms:
        raise Misuse(
            "`--runner image` and `--platform` exclude each other",
            mend="an image is for the platform of its base: the orchestrator's `base_image`, or what its engine has",
        )
    from tilth.cli.home import home
    from tilth.cli.tables import to_json
    from tilth.client import snapshots as all_snapshots
    from tilth.client.code_root import find_code_root
    from tilth.client.compilation import split_target
    from tilth.client.progress import listener

    wanted = all_snapshots.Wanted(
        target=target,
        name=name,
        parameters=given,
        stack=stack,
        platforms=platforms,
        options={"cache": False} if no_cache else {},
        description=description,
        python=python,
        offline=offline,
        anywhere=anywhere,
        in_image=runner == "image",
    )
    root = find_code_root(split_target(target)[0]).root
    with (
        _server(project, root=root) as store,
        listener(json=as_json, whole=traceback, live=False) as progress,
    ):
        made = all_snapshots.create(wanted, store, home(), progress)
    if as_json:
        click.echo(to_json(made))
        return
    click.echo(made.label)
    click.echo(
        f"snapshot {made.label}: pipeline {made.pipeline}, locked for {', '.join(sorted(made.locks))}"
        + (", for this machine alone" if made.machine else ""),
        err=True,
    )
    click.echo(f"start it with `tilth snapshots run {made.name}`", err=True)


@snapshots.command("list")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, newest first."
)
@_project
@json_option
def list_snapshots(*, limit: int, project: str | None, as_json: bool) -> None:
    """List snapshots, newest first."""
    from tilth.cli.tables import more, table, to_json
    from tilth.client.wording import moment
    from tilth.records import Snapshot

    with _server(project) as store:
        page = store.find(Snapshot, limit=limit)
    if as_json:
        click.echo(to_json(page.items))
        return
    if not page.items:
        click.echo("no snapshots; `tilth snapshots create FILE --name NAME` makes one", err=True)
        return
    rows = [
        {
            "snapshot": each.label,
            "pipeline": each.pipeline,
            "made": moment(each.created_at),
            "by": each.created_by,
            "stack": each.stack or "default",
            "description": each.description,
        }
        for each in page
    ]
    click.echo(table(["snapshot", "pipeline", "made", "by", "stack", "description"], rows))
    more(page.next, limit)


@snapshots.command()
@click.argument("name")
@_project
@json_option
def show(*, name: str, project: str | None, as_json: bool) -> None:
    """Show what is in a snapshot, and what runs of it may be given."""
    from tilth.cli.tables import pairs, table, to_json
    from tilth.client.snapshots import find_snapshot
    from tilth.client.wording import moment, short_digest

    with _server(project) as store:
        found = find_snapshot(store, name)
    if as_json:
        click.echo(to_json(found))
        return
    click.echo(f"snapshot {found.label}: pipeline {found.pipeline}")
    click.echo(
        pairs(
            {
                "id": found.id,
                "made": f"{moment(found.created_at)}, by {found.created_by}",
                "file": f"{found.file}{':' if found.function else ''}{found.function}",
                "code": short_digest(found.bundle),
                "compiled in": f"Python {found.python}, on {', '.join(sorted(found.locks))}",
                "environments": ", ".join(sorted(found.environments)),
                "stack": found.stack or "default",
                "runner image": found.image,
                "machine": "this one's runners alone start it" if found.machine else "",
                "description": found.description,
            }
        )
    )
    rows = [
        {
            "parameter": key,
            "type": declared["type"],
            "value": found.parameters.get(key, _shown(declared)),
        }
        for key, declared in found.signature.items()
    ]
    if rows:
        click.echo("\n" + table(["parameter", "type", "value"], rows))


@snapshots.command()
@click.argument("name")
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the pipeline, instead of the snapshot's; may be repeated.",
)
@click.option("--wait", is_flag=True, help="Wait until it has ended; the exit code tells how.")
@click.option("--key", help="Ask once, however often this is called with the same key.")
@_project
@json_option
def run(
    *,
    name: str,
    parameters: Sequence[str],
    wait: bool,
    key: str | None,
    project: str | None,
    as_json: bool,
) -> int:
    """Have the server start a run of a snapshot. Nothing of the project need be on this machine."""
    given = given_parameters(parameters)
    from tilth.cli.tables import to_json
    from tilth.client import snapshots as all_snapshots

    with _server(project) as store:
        found = all_snapshots.find_snapshot(store, name)
        launch = all_snapshots.launch(store, found, given, key=key)
        runners = [each for each in all_snapshots.walk_runners(store) if all_snapshots.is_alive(each)]
        if not any(all_snapshots.takes(each, launch) for each in runners):
            click.echo(
                f"warning: no runner is there that takes it: {len(runners)} in all; "
                "`tilth runner start` starts one",
                err=True,
            )
        if not wait:
            click.echo(to_json(launch) if as_json else launch.id)
            if not as_json:
                click.echo("queued: `tilth snapshots launches` shows where it stands", err=True)
            return 0
        return _wait(store, launch, as_json=as_json)


@snapshots.command()
@click.option("--snapshot", "name", help="Only of this snapshot.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first."
)
@_project
@json_option
def launches(*, name: str | None, limit: int, project: str | None, as_json: bool) -> None:
    """List runs that the server was asked for, and where they stand."""
    from tilth.cli.tables import more, table, to_json
    from tilth.client.snapshots import find_launches, find_snapshot, runs_of
    from tilth.client.wording import assignments, clipped, moment

    with _server(project) as store:
        where = {"snapshot": find_snapshot(store, name).id} if name else {}
        found, following = find_launches(store, limit, **where)
        runs = {} if as_json or not found else runs_of(store, found)
    if as_json:
        click.echo(to_json(found))
        return
    if not found:
        click.echo("nothing was asked for; `tilth snapshots run NAME` does", err=True)
        return
    rows = [
        {
            "launch": each.id,
            "pipeline": each.pipeline,
            "state": each.state.value,
            "run": runs[each.run].name if each.run in runs else "",
            "its state": runs[each.run].state.value if each.run in runs else "",
            "asked": moment(each.created_at),
            "by": each.cause,
            "parameters": clipped(assignments(each.parameters), 40),
            "why": clipped(each.failure.message, 80) if each.failure else "",
        }
        for each in found
    ]
    click.echo(
        table(["launch", "pipeline", "state", "run", "its state", "asked", "by", "parameters", "why"], rows)
    )
    more(following, limit)


@snapshots.command()
@click.argument("launch")
@_project
def cancel(*, launch: str, project: str | None) -> None:
    """End a run that the server was asked for.

    LAUNCH is its id, as `launches` shows it.
    """
    from tilth.client.snapshots import cancel_launch

    with _server(project) as store:
        cancel_launch(store, launch)
    click.echo(f"launch {launch}: cancelled", err=True)


@snapshots.command()
@click.argument("name")
@_project
def delete(*, name: str, project: str | None) -> None:
    """Forget a snapshot. Its runs stay; what waits for a runner fails."""
    from tilth.client import snapshots as all_snapshots

    with _server(project) as store:
        found = all_snapshots.find_snapshot(store, name)
        all_snapshots.delete(store, found)
    click.echo(f"snapshot {found.label}: deleted", err=True)


@contextlib.contextmanager
def _server(project: str | None, *, root: Any = None) -> Iterator[HttpStore]:
    from tilth.cli.home import home
    from tilth.client.snapshots import on_server
    from tilth.store import open_store

    if project:
        import os

        os.environ["TILTH_PROJECT"] = project
    with open_store(home(), to_read=True, root=root) as store:
        yield on_server(store)


def _wait(store: HttpStore, launch: Launch, *, as_json: bool) -> int:
    """Follow a launch to its end, and tell of each change."""
    import time

    from tilth.client.snapshots import find_launch
    from tilth.errors import NotFound
    from tilth.records import Run

    said = ""
    run: Run | None = None
    while True:
        found = find_launch(store, launch.id)
        try:
            run = store.get(Run, launch.run)
        except NotFound:
            run = None
        told = f"run {run.name}: {run.state.value}" if run else f"launch {found.id}: {found.state.value}"
        if told != said:
            click.echo(told, err=True)
            said = told
        if run is not None and run.state.is_final:
            _tell_failure(run.failure)
            return ended(run, as_json=as_json)
        if found.state.is_final and run is None:
            _tell_failure(found.failure)
            from tilth.cli.main import FAILED, INTERRUPTED

            return INTERRUPTED if found.state.value == "cancelled" else FAILED
        time.sleep(_LOOK_S)


def _tell_failure(failure: Failure | None) -> None:
    if failure is not None:
        from tilth.cli.usage import tell
        from tilth.errors import TilthError

        summary, _, why = failure.message.partition("\n")
        tell(TilthError(summary or failure.reason, why=why, mend=failure.mend))


def _shown(declared: dict[str, Any]) -> str:
    if declared["required"]:
        return "to be given"
    from tilth.runtime.parameters import as_text

    return as_text(declared["default"]) if "default" in declared else "its default"
