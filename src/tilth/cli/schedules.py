"""`tilth schedules`: create, list, show, update, pause, resume, run, delete; and `tilth webhooks`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tilth.cli.run import given_parameters
from tilth.cli.snapshots import _project, _server
from tilth.cli.usage import Misuse, group, json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.records.launching import Schedule

OVERLAPS = ("allow", "skip", "wait", "cancel")


def _when(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--cron", metavar="TEXT", help="Minute, hour, day, month, weekday: `30 6 * * mon-fri`."),
        click.option("--timezone", metavar="NAME", help="Of `--cron`, as `Europe/Berlin`; by default UTC."),
        click.option("--every", metavar="DURATION", help="As `30m` or `1h30m`."),
        click.option("--at", metavar="TIME", help="Once: `2026-03-01T06:30`, here, or with a zone."),
        click.option("--begins", metavar="TIME", help="Nothing is started before."),
        click.option("--ends", metavar="TIME", help="Nothing is started from then on."),
        click.option(
            "--catch-up/--no-catch-up",
            default=None,
            help="Start every run that was missed while the server was away; else the newest of them alone.",
        ),
        click.option(
            "--overlap",
            type=click.Choice(OVERLAPS),
            help="While a run of it goes on: start another, skip it, wait for the end, or cancel the one before.",
        ),
        click.option(
            "--param",
            "parameters",
            multiple=True,
            metavar="NAME=VALUE",
            help="A parameter of the pipeline; may be repeated.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@group("schedules")
def schedules() -> None:
    """Have the server start runs of snapshots by the clock."""


@schedules.command()
@click.argument("name")
@click.option("--snapshot", required=True, help="What is started: the newest version of it.")
@_when
@_project
@json_option
def create(*, name: str, snapshot: str, project: str | None, as_json: bool, **given: Any) -> None:
    """Make a schedule: by `--cron`, `--every` or `--at`. Its runs have your rights."""
    from tilth.cli.tables import to_json
    from tilth.client.scheduling import create_schedule

    told = _told(given)
    if not {"cron", "every_s", "at"} & told.keys():
        raise Misuse("when is it to start runs?", mend="give `--cron`, `--every` or `--at`")
    with _server(project) as store:
        made = create_schedule(store, {"name": name, "snapshot": snapshot, **told})
    if as_json:
        click.echo(to_json(made))
        return
    click.echo(f"schedule {name}: made; its next run is due at {_moment(made.next_at)}", err=True)


@schedules.command("list")
@_project
@json_option
def list_schedules(*, project: str | None, as_json: bool) -> None:
    """List the schedules of the project."""
    from tilth.cli.tables import table, to_json
    from tilth.client.scheduling import all_schedules
    from tilth.client.wording import assignments, clipped

    with _server(project) as store:
        found = all_schedules(store)
    if as_json:
        click.echo(to_json(found))
        return
    if not found:
        click.echo("no schedules; `tilth schedules create NAME --snapshot S --cron …` makes one", err=True)
        return
    rows = [
        {
            "schedule": each.name,
            "snapshot": each.snapshot,
            "when": _rule(each),
            "next": _moment(each.next_at) if each.active else "paused",
            "last": _moment(each.last_at),
            "parameters": clipped(assignments(each.parameters), 40),
        }
        for each in found
    ]
    click.echo(table(["schedule", "snapshot", "when", "next", "last", "parameters"], rows))


@schedules.command()
@click.argument("name")
@click.option("--times", type=click.IntRange(1, 100), default=5, show_default=True, help="How many to show.")
@_project
@json_option
def show(*, name: str, times: int, project: str | None, as_json: bool) -> None:
    """Show a schedule, and when its next runs are due."""
    from tilth.cli.tables import pairs, to_json
    from tilth.client.scheduling import get_schedule, next_times
    from tilth.client.wording import assignments

    with _server(project) as store:
        found = get_schedule(store, name)
        due = next_times(store, name, times)
    if as_json:
        click.echo(to_json({"schedule": found, "times": due}))
        return
    click.echo(f"schedule {found.name}" + ("" if found.active else ": paused"))
    click.echo(
        pairs(
            {
                "starts": f"snapshot {found.snapshot}",
                "when": _rule(found),
                "begins": _moment(found.begins_at),
                "ends": _moment(found.ends_at),
                "missed runs": "all are caught up on" if found.catch_up else "the newest alone is started",
                "overlap": found.overlap.value,
                "parameters": assignments(found.parameters),
                "last": _moment(found.last_at),
                "next": "\n".join(_moment(datetime.fromisoformat(each)) for each in due),
            }
        )
    )


@schedules.command()
@click.argument("name")
@click.option("--snapshot", help="What is started.")
@_when
@_project
@json_option
def update(*, name: str, snapshot: str | None, project: str | None, as_json: bool, **given: Any) -> None:
    """Change what is given of a schedule. Its runs have your rights from then on."""
    from tilth.cli.tables import to_json
    from tilth.client.scheduling import change_schedule

    told = _told(given) | ({"snapshot": snapshot} if snapshot else {})
    if not told:
        raise Misuse("nothing is to be changed", mend="`tilth schedules update --help` shows what can be")
    with _server(project) as store:
        changed = change_schedule(store, name, told)
    if as_json:
        click.echo(to_json(changed))
        return
    click.echo(f"schedule {name}: changed; its next run is due at {_moment(changed.next_at)}", err=True)


@schedules.command()
@click.argument("name")
@_project
def pause(*, name: str, project: str | None) -> None:
    """Start no runs of a schedule until it is resumed."""
    from tilth.client.scheduling import change_schedule

    with _server(project) as store:
        change_schedule(store, name, {"active": False})
    click.echo(f"schedule {name}: paused", err=True)


@schedules.command()
@click.argument("name")
@_project
def resume(*, name: str, project: str | None) -> None:
    """Start runs of a schedule again. Those missed meanwhile stay missed."""
    from tilth.client.scheduling import change_schedule

    with _server(project) as store:
        changed = change_schedule(store, name, {"active": True})
    click.echo(f"schedule {name}: its next run is due at {_moment(changed.next_at)}", err=True)


@schedules.command()
@click.argument("name")
@_project
@json_option
def run(*, name: str, project: str | None, as_json: bool) -> None:
    """Ask for a run of a schedule now, beside those that are due."""
    from tilth.cli.tables import to_json
    from tilth.client.scheduling import run_schedule

    with _server(project) as store:
        launch = run_schedule(store, name)
    click.echo(to_json(launch) if as_json else launch.id)


@schedules.command()
@click.argument("name")
@_project
def delete(*, name: str, project: str | None) -> None:
    """Forget a schedule. Its runs stay."""
    from tilth.client.scheduling import delete_schedule

    with _server(project) as store:
        delete_schedule(store, name)
    click.echo(f"schedule {name}: deleted", err=True)


@group("webhooks")
def webhooks() -> None:
    """Let other programs start runs of snapshots by signed requests."""


@webhooks.command("create")
@click.argument("name")
@click.option("--snapshot", required=True, help="What is started: the newest version of it.")
@click.option("--allow", multiple=True, metavar="PARAMETER", help="That a request may set; may be repeated.")
@click.option("--param", "parameters", multiple=True, metavar="NAME=VALUE", help="As runs have it otherwise.")
@_project
@json_option
def create_webhook(
    *,
    name: str,
    snapshot: str,
    allow: Sequence[str],
    parameters: Sequence[str],
    project: str | None,
    as_json: bool,
) -> None:
    """Make a webhook. Its secret, with which requests are signed, is printed this once."""
    import json

    from tilth.client import scheduling

    told = {
        "name": name,
        "snapshot": snapshot,
        "allowed": list(allow),
        "parameters": given_parameters(parameters),
    }
    with _server(project) as store:
        made = scheduling.create_webhook(store, told)
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(f"{made['webhook']['url']}\n{made['secret']}")
    click.echo("the second line is its secret; the docs on schedules say how a request is signed", err=True)


@webhooks.command("list")
@_project
@json_option
def list_webhooks(*, project: str | None, as_json: bool) -> None:
    """List the webhooks of the project, without their secrets."""
    from tilth.cli.tables import table, to_json
    from tilth.client.scheduling import all_webhooks
    from tilth.client.wording import moment

    with _server(project) as store:
        found = all_webhooks(store)
    if as_json:
        click.echo(to_json(found))
        return
    rows = [
        {
            "webhook": each["name"],
            "snapshot": each["snapshot"],
            "state": "" if each["active"] else "paused",
            "used": moment(datetime.fromisoformat(each["used_at"])) if each["used_at"] else "",
            "url": each["url"],
        }
        for each in found
    ]
    click.echo(table(["webhook", "snapshot", "state", "used", "url"], rows))


@webhooks.command("pause")
@click.argument("name")
@_project
def pause_webhook(*, name: str, project: str | None) -> None:
    """Refuse its requests until it is resumed."""
    from tilth.client.scheduling import switch_webhook

    with _server(project) as store:
        switch_webhook(store, name, active=False)
    click.echo(f"webhook {name}: paused", err=True)


@webhooks.command("resume")
@click.argument("name")
@_project
def resume_webhook(*, name: str, project: str | None) -> None:
    """Take its requests again."""
    from tilth.client.scheduling import switch_webhook

    with _server(project) as store:
        switch_webhook(store, name, active=True)
    click.echo(f"webhook {name}: takes requests", err=True)


@webhooks.command("delete")
@click.argument("name")
@_project
def delete_webhook(*, name: str, project: str | None) -> None:
    """Forget a webhook. Runs that it has asked for stay."""
    from tilth.client import scheduling

    with _server(project) as store:
        scheduling.delete_webhook(store, name)
    click.echo(f"webhook {name}: deleted", err=True)


def _told(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the server takes it."""
    told: dict[str, Any] = {
        name: value
        for name in ("cron", "timezone", "catch_up", "overlap")
        if (value := given[name]) is not None
    }
    if given["every"] is not None:
        from tilth.define.quantities import seconds

        told["every_s"] = int(seconds(given["every"], "duration"))
    for option, name in (("at", "at"), ("begins", "begins_at"), ("ends", "ends_at")):
        if given[option] is not None:
            told[name] = _time(given[option], option)
    if given["parameters"]:
        told["parameters"] = given_parameters(given["parameters"])
    return told


def _time(text: str, option: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Misuse(
            f"`--{option} {text}` is no time",
            mend="write it like `2026-03-01T06:30` or `2026-03-01T06:30+01:00`",
        ) from None
    return moment.astimezone().isoformat()  # without a zone it is of this machine


def _rule(schedule: Schedule) -> str:
    from tilth.client.wording import duration

    if schedule.cron:
        return f"{schedule.cron} ({schedule.timezone})"
    if not schedule.every_s:
        return f"once, {_moment(schedule.at)}"
    return f"every {schedule.every_s} s" if schedule.every_s < 60 else f"every {duration(schedule.every_s)}"


def _moment(moment: datetime | None) -> str:
    from tilth.client.wording import moment as shown

    return shown(moment) if moment is not None else ""
