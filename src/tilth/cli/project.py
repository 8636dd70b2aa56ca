"""`tilth project`: list, create, members, add, remove, audit."""

from __future__ import annotations

import click

from tilth.cli.usage import group, json_option

ROLES = ("viewer", "editor", "admin")
project_option = click.option("--project", "-p", metavar="NAME", help="By default the current folder's.")


@group("project")
def project() -> None:
    """Look at the projects of a server, and at who is in them.

    A viewer looks at everything in a project, an editor runs and changes it, an admin decides who is in it.
    """


@project.command("list")
@json_option
def list_projects(*, as_json: bool) -> None:
    """List the projects that you are a member of."""
    from tilth.cli.home import administration
    from tilth.cli.tables import table, to_json
    from tilth.store.opening import current_project

    with administration() as server:
        found = server.projects()
    if as_json:
        click.echo(to_json(found))
        return
    here = current_project()
    rows = [
        {
            "project": each["name"],
            "current": "current" if each["name"] == here else "",
            "role": each["role"],
            "description": each["description"],
        }
        for each in found
    ]
    click.echo(table(["project", "current", "role", "description"], rows))


@project.command()
@click.argument("name")
@click.option("--description", default="", help="What it is for.")
def create(*, name: str, description: str) -> None:
    """Make a project. A run makes its own when there is none."""
    from tilth.cli.home import administration

    with administration() as server:
        server.create_project(name, description)
    click.echo(f"project {name}: made; you are its admin", err=True)


@project.command()
@project_option
@json_option
def members(*, project: str | None, as_json: bool) -> None:
    """List who is in a project."""
    from tilth.cli.home import administration
    from tilth.cli.tables import table, to_json

    with administration() as server:
        found = server.members(_named(project))
    click.echo(to_json(found) if as_json else table(["user", "role"], found))


@project.command()
@click.argument("user")
@click.argument("role", type=click.Choice(ROLES))
@project_option
def add(*, user: str, role: str, project: str | None) -> None:
    """Give a user a role in a project, or another one."""
    from tilth.cli.home import administration

    with administration() as server:
        server.put_member(_named(project), user, role)
    click.echo(f"project {_named(project)}: {user} is {role}", err=True)


@project.command()
@click.argument("user")
@project_option
def remove(*, user: str, project: str | None) -> None:
    """Take a user out of a project."""
    from tilth.cli.home import administration

    with administration() as server:
        server.delete_member(_named(project), user)
    click.echo(f"project {_named(project)}: {user} is no member any more", err=True)


@project.command()
@project_option
@click.option("--server", "whole", is_flag=True, help="Of the whole server, which takes an admin of it.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@json_option
def audit(*, project: str | None, whole: bool, limit: int, as_json: bool) -> None:
    """Show who changed what, newest first."""
    from datetime import datetime

    from tilth.cli.home import administration
    from tilth.cli.tables import table, to_json
    from tilth.client.wording import moment

    with administration() as server:
        found = server.audit("" if whole else _named(project), limit)
    if as_json:
        click.echo(to_json(found))
        return
    if not found:
        click.echo("nothing has been changed", err=True)
        return
    rows = [
        {
            "when": moment(datetime.fromisoformat(each["created_at"])),
            "who": each["user"],
            "what": each["action"],
            "of": each["subject"],
            "from": each["address"],
        }
        for each in found
    ]
    click.echo(table(["when", "who", "what", "of", "from"], rows))


def _named(project: str | None) -> str:
    from tilth.store.opening import current_project

    return project or current_project()
