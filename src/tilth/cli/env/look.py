"""`tilth env`: list, show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tilth.cli.usage import json_option

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.records import Environment


@click.command("list")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first."
)
@json_option
def list_environments(*, limit: int, as_json: bool) -> None:
    """List what runs have used, newest first."""
    from tilth.cli.home import records
    from tilth.cli.tables import more, table, to_json
    from tilth.client.wording import moment, short_digest
    from tilth.records import Environment

    with records() as store:
        page = store.find(Environment, limit=limit)
    if as_json:
        click.echo(to_json(page.items))
        return
    if not page.items:
        click.echo("no environments; one is recorded when a run first uses it", err=True)
        return
    rows = [
        {
            "environment": each.name,
            "digest": short_digest(each.id),
            "python": each.python,
            "platform": each.platform,
            "packages": len(each.packages),
            "state": "made" if _venv(each).exists() else "not made here",
            "created": moment(each.created_at),
        }
        for each in page
    ]
    columns = ["environment", "digest", "python", "platform", "packages", "state", "created"]
    click.echo(table(columns, rows))
    more(page.next, limit)


@click.command()
@click.argument("name", metavar="NAME|DIGEST")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show what was asked for and what it holds.

    Every package is listed with its version and digest.
    """
    from tilth.cli.home import records
    from tilth.cli.tables import pairs, table, to_json
    from tilth.client.lookup import find_environment
    from tilth.client.wording import moment

    with records() as store:
        environment = find_environment(store, name)
    if as_json:
        click.echo(to_json(environment))
        return
    venv = _venv(environment)
    facts = {
        "digest": environment.id,
        "python": environment.python,
        "platform": environment.platform,
        "requirements": "\n".join(environment.requirements),
        "variables": "\n".join(f"{key}={value}" for key, value in environment.variables.items()),
        "lock": environment.lock,
        "created": moment(environment.created_at),
        "folder": str(venv) if venv.exists() else "not made here",
    }
    packages = [
        {"package": each.name, "version": each.version, "digest": each.digest, "file": each.file}
        for each in environment.packages
    ]
    text = f"environment {environment.name}\n{pairs(facts)}"
    if packages:
        text += "\n\n" + table(["package", "version", "digest", "file"], packages)
    click.echo(text)


def _venv(environment: Environment) -> Path:
    from tilth.cli.home import home

    return home().environments / environment.id.partition(":")[2]
