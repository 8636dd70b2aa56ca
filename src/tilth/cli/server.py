"""`tilth server`: start, status, stop, logs, settings."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

import click

from tilth.cli.usage import group, json_option

if TYPE_CHECKING:
    from tilth.client.server_process import Started
    from tilth.server.settings import ServerSettings


@group("server")
def server() -> None:
    """Start and stop a server for a team's records and runs.

    Every setting is a variable that begins with `TILTH_SERVER_`; the docs list them.
    """


@server.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on; by default this machine alone.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1), help="Processes that answer; several need PostgreSQL.")
@click.option("--foreground", is_flag=True, help="Stay here, and print the log.")
@click.option("--tell", type=int, hidden=True)
@json_option
def start(
    *,
    host: str | None,
    port: int | None,
    workers: int | None,
    foreground: bool,
    tell: int | None,
    as_json: bool,
) -> None:
    """Start a server, in the background of this machine."""
    from tilth.cli.home import home
    from tilth.client import server_process

    settings = _settings(host=host, port=port, workers=workers)
    if not foreground:
        started = server_process.start_in_background(home(), settings.to_environment())
        _print(started, as_json=as_json)
        return
    from tilth.server.serving import serve

    with server_process.announced(home()) as said:

        def ready(url: str, invite: str) -> None:
            server_process.say_where(said, url)
            _let_in(settings, url)
            if tell is None:
                _print(server_process.Started(url, os.getpid(), invite), as_json=as_json)
                return
            os.write(tell, json.dumps({"url": url, "invite": invite}).encode() + b"\n")
            os.close(tell)

        serve(settings, ready=ready)


def _settings(**given: object) -> ServerSettings:
    from tilth.errors import SetupError

    try:
        import tilth.server.serving  # noqa: F401 - whether its packages are there
        from tilth.server.settings import ServerSettings
    except ImportError as error:
        raise SetupError(
            "a server needs packages that are not installed",
            why=str(error),
            mend="install `tilth[server]`, as with `pip install 'tilth[server]'`",
        ) from None
    return ServerSettings.from_environment(**given)


def _let_in(settings: ServerSettings, url: str) -> None:
    """Whoever may read the database of the home folder may log in at its server without a password."""
    if settings.database_url:
        return
    from datetime import timedelta

    from tilth.cli.home import home
    from tilth.client import server_process
    from tilth.errors import LoginNeeded
    from tilth.records.access import Purpose, User
    from tilth.server.access import Access
    from tilth.store.logins import read_logins
    from tilth.store.sql import SqlStore
    from tilth.store.sqlite import SqliteDatabase

    here = home()
    known = read_logins(here).servers.get(url)
    if known is not None and not known.own:
        return
    with SqlStore(SqliteDatabase(here.database)) as store:
        with contextlib.suppress(LoginNeeded):  # it has ended
            if known is not None:
                Access(store, settings).principal(known.token, "")
                return
        admins = [
            each for each in store.find(User, order="created_at", limit=1000) if each.admin and each.active
        ]
        if admins:
            lasts = timedelta(days=settings.session_days)
            token, _ = Access(store, settings).issue(
                admins[0], Purpose.SESSION, name="the machine it was started on", lasts=lasts
            )
            server_process.remember_login(here, url, token, admins[0].name, active=False, own=True)


def _print(started: Started, *, as_json: bool) -> None:
    link = f"{started.url}/invite#{started.invite}" if started.invite else ""
    if as_json:
        click.echo(json.dumps({"url": started.url, "pid": started.pid, "invite": link or None}))
        return
    click.echo(started.url)
    if link:
        click.echo(f"set the password of its first user, within a day: {link}", err=True)
    click.echo(
        f"use it from here with `tilth login {started.url}`; end it with `tilth server stop`", err=True
    )


@server.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show whether a server runs for this home folder, and where."""
    from tilth.cli.home import home
    from tilth.client import server_process
    from tilth.errors import TilthError
    from tilth.store.http import Api

    found = server_process.running(home())
    answers = False
    if found is not None:
        api = Api(found.url, "", patience_s=0)
        try:
            api.request("GET", "/info")
            answers = True
        except TilthError:
            pass
        finally:
            api.close()
    if as_json:
        told = {"url": found.url, "pid": found.pid, "answers": answers} if found else None
        click.echo(json.dumps(told))
    elif found is None:
        click.echo("no server runs for this home folder; start one with `tilth server start`")
    else:
        click.echo(f"{found.url}  process {found.pid}, {'answers' if answers else 'does not answer'}")
    if not answers:
        raise SystemExit(1)


@server.command()
def stop() -> None:
    """End the server of this home folder."""
    from tilth.cli.home import home
    from tilth.client import server_process

    server_process.stop(home())
    click.echo("the server has ended", err=True)


@server.command()
@click.option("--lines", type=click.IntRange(0), default=100, show_default=True, help="How many of the last.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing what comes, until interrupted.")
def logs(*, lines: int, follow: bool) -> None:
    """Print what a server in the background has written."""
    import time
    from collections import deque

    from tilth.cli.home import home
    from tilth.client import server_process
    from tilth.errors import NotFound

    path = server_process.log_of(home())
    if not path.exists():
        raise NotFound(
            "no server has run in the background of this home folder",
            mend="start one with `tilth server start`",
        )
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in deque(file, lines):
            click.echo(line, nl=False)
        while follow:
            if line := file.readline():
                click.echo(line, nl=False)
            else:
                time.sleep(0.2)


@server.command()
@json_option
def settings(*, as_json: bool) -> None:
    """Show every setting of a server, and its value here.

    Where each comes from is told too; secrets are not shown.
    """
    from tilth.cli.tables import table

    told = _settings().shown()
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(table(["setting", "value", "from", "variable"], told))
