"""`tilth user`: list, create, change, invite, delete; and `tilth key`: list, create, delete."""

from __future__ import annotations

from typing import Any

import click

from tilth.cli.usage import Misuse, group, json_option


@group("user")
def user() -> None:
    """Make and change users of a server. Most of it takes an admin of the server."""


@user.command("list")
@json_option
def list_users(*, as_json: bool) -> None:
    """List users and service accounts."""
    from tilth.cli.home import administration
    from tilth.cli.tables import table, to_json

    with administration() as server:
        found = server.users()
    if as_json:
        click.echo(to_json(found))
        return
    rows = [
        {
            "user": each["name"],
            "what": "service account" if each["service"] else "admin" if each["admin"] else "",
            "state": "" if each["active"] else "shut out",
            "name": each["full_name"],
            "mail": each["email"],
        }
        for each in found
    ]
    click.echo(table(["user", "what", "state", "name", "mail"], rows))


@user.command()
@click.argument("name")
@click.option("--admin", is_flag=True, help="They may do everything on the server.")
@click.option("--service", is_flag=True, help="A program: it has API keys and no password.")
@click.option("--full-name", default="", help="As people know them.")
@click.option("--email", default="", help="Where they are written to.")
def create(*, name: str, admin: bool, service: bool, full_name: str, email: str) -> None:
    """Make a user, and print a link for their password."""
    from tilth.cli.home import administration

    with administration() as server:
        link = server.create_user(name=name, admin=admin, service=service, full_name=full_name, email=email)
    click.echo(f"user {name}: made", err=True)
    if link:
        click.echo(link)
        click.echo("it sets the password, once, within seven days", err=True)
    else:
        click.echo(f"`tilth key create --user {name} KEY` makes a key for it", err=True)


@user.command()
@click.argument("name")
@click.option("--admin/--no-admin", default=None, help="Whether they may do everything on the server.")
@click.option("--active/--shut-out", default=None, help="Whether they may log in.")
@click.option("--full-name", help="As people know them.")
@click.option("--email", help="Where they are written to.")
def change(*, name: str, **given: Any) -> None:
    """Change a user. Who is shut out is out at once, keys included."""
    from tilth.cli.home import administration

    told = {field: value for field, value in given.items() if value is not None}
    if not told:
        raise Misuse("nothing is to be changed", mend="`tilth user change --help` shows what can be")
    with administration() as server:
        server.change_user(name, **told)
    click.echo(f"user {name}: changed", err=True)


@user.command()
@click.argument("name")
def invite(*, name: str) -> None:
    """Print a link that sets a user's password anew.

    It is good once, within seven days.
    """
    from tilth.cli.home import administration

    with administration() as server:
        click.echo(server.invite(name))


@user.command()
@click.argument("name")
def delete(*, name: str) -> None:
    """Delete a user, with their logins, keys and memberships. What they did stays."""
    from tilth.cli.home import administration

    with administration() as server:
        server.delete_user(name)
    click.echo(f"user {name}: deleted", err=True)


@group("key")
def key() -> None:
    """Make and end API keys of a server, for CI jobs and programs: `TILTH_API_KEY`."""


@key.command("list")
@click.option("--user", default="", metavar="NAME", help="Somebody else's, as an admin of the server.")
@json_option
def list_keys(*, user: str, as_json: bool) -> None:
    """List logins and API keys, without their secrets."""
    from datetime import datetime

    from tilth.cli.home import administration
    from tilth.cli.tables import table, to_json
    from tilth.client.wording import moment

    def shown(text: str | None) -> str:
        return moment(datetime.fromisoformat(text)) if text else ""

    with administration() as server:
        found = server.tokens(user)
    if as_json:
        click.echo(to_json(found))
        return
    rows = [
        {
            "id": each["id"],
            "name": each["name"],
            "what": "API key" if each["purpose"] == "api_key" else "login",
            "begins": each["beginning"] + "…",
            "project": each["project"],
            "used": shown(each["used_at"]),
            "ends": shown(each["expires_at"]),
        }
        for each in found
    ]
    click.echo(table(["id", "name", "what", "begins", "project", "used", "ends"], rows))


@key.command("create")
@click.argument("name")
@click.option("--user", default="", metavar="NAME", help="A service account's, as an admin of the server.")
@click.option("--project", "-p", default="", metavar="NAME", help="The only project that it opens.")
@click.option("--days", type=click.IntRange(1, 36_500), help="How long it lasts; by default for ever.")
def create_key(*, name: str, user: str, project: str, days: int | None) -> None:
    """Make an API key, and print it: it is told this once."""
    from tilth.cli.home import administration

    with administration() as server:
        click.echo(server.create_key(name=name, user=user, project=project, days=days))


@key.command("delete")
@click.argument("key_id", metavar="ID")
def delete_key(*, key_id: str) -> None:
    """End a login or an API key, at once."""
    from tilth.cli.home import administration

    with administration() as server:
        server.delete_token(key_id)
    click.echo("ended", err=True)
