"""`tilth runner`: start; and what it starts for each run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tilth.cli.usage import group, json_option

if TYPE_CHECKING:
    import threading

    from tilth.home import Home


@group("runner")
def runner() -> None:
    """Start runs that a server was asked for, on this machine.

    A runner asks the server; the server need not reach this machine.
    """


@runner.command()
@click.option("--server", "url", metavar="URL", help="Of the server; by default the one of `tilth login`.")
@click.option("--project", metavar="NAME", help="Serve this project alone; an admin of it may.")
@click.option("--slots", type=click.IntRange(1), default=1, show_default=True, help="Runs at once.")
@click.option("--name", help="What it is called; by default this machine.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Its own folder; by default in the home folder."
)
@click.option(
    "--user", default="", metavar="NAME", help="User of this system that runs belong to; takes root."
)
@click.option("--variable", "variables", multiple=True, metavar="NAME", help="A variable that runs get too.")
@click.option(
    "--container-option",
    "container_options",
    multiple=True,
    metavar="OPTION",
    help="Of `docker run`, for the containers of runner images: `--volume=/etc/ssl/certs:/etc/ssl/certs:ro`.",
)
@click.option(
    "--builds",
    is_flag=True,
    help="Build images too, for whoever may start runs: image builders of flavor `runner` come here.",
)
@click.option("--until-idle", is_flag=True, help="End when there is nothing more to do.")
@click.option("--embedded", is_flag=True, hidden=True)
def start(
    *,
    url: str | None,
    project: str | None,
    slots: int,
    name: str | None,
    folder: Path | None,
    user: str,
    variables: tuple[str, ...],
    container_options: tuple[str, ...],
    builds: bool,
    until_idle: bool,
    embedded: bool,
) -> None:
    """Take runs from a server's queue, until interrupted.

    It logs in with TILTH_API_KEY, or as `tilth login` did. Runs go on when it ends; the next one that is started in
    the same folder looks after them again. Builds end with it.
    """
    import logging
    import os
    import socket

    from tilth.cli.home import home
    from tilth.client.runner import RunnerProcess, RunnerSettings
    from tilth.engine.supervisor.seclusion import close_to_others
    from tilth.errors import SetupError
    from tilth.store.logins import active_server

    if url:
        os.environ["TILTH_SERVER_URL"] = url
    server = active_server(home())
    if server is None:
        raise SetupError(
            "a runner needs a server that gives it runs",
            mend="name it: `--server URL`, with a key in `TILTH_API_KEY`; or log in: `tilth login URL`",
        )
    close_to_others()  # what it starts runs code of users, maybe as the same user of the system
    own = folder.absolute() if folder else home().root / "runner"
    settings = RunnerSettings(
        folder=own,
        home=_home_of_runs(home(), own, user),
        name=name or socket.gethostname(),
        project=project or "",
        slots=slots,
        place="server" if embedded else "machine",
        user=user,
        variables=variables,
        container_options=container_options,
        builds=builds,
    )
    if embedded:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        tell = logging.getLogger("tilth.runner").info
    else:

        def tell(text: str) -> None:  # type: ignore[misc]
            click.echo(text, err=True)

    RunnerProcess(server.url, server.token, settings, tell).work(
        _stopped(with_parent=embedded), until_idle=until_idle
    )


def _home_of_runs(home: Home, folder: Path, user: str) -> Home:
    """Where runs keep what they make: with the runner, or apart where they belong to another user."""
    from tilth.home import Home

    return Home(folder / "home") if user else home


def _stopped(*, with_parent: bool) -> threading.Event:
    """Set by SIGTERM and SIGINT; and when the process that started this one is gone."""
    import os
    import signal
    import threading
    import time

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if with_parent:
        parent = os.getppid()

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(0.5)
            stopped.set()

        threading.Thread(target=watch, daemon=True).start()
    return stopped


@runner.command("list")
@json_option
def list_runners(*, as_json: bool) -> None:
    """List the runners of the server, and when each was heard of."""
    from tilth.cli.home import home
    from tilth.cli.tables import table, to_json
    from tilth.client.snapshots import on_server, walk_runners
    from tilth.client.wording import moment
    from tilth.store import open_store

    with open_store(home(), to_read=True) as store:
        found = list(walk_runners(on_server(store)))
    if as_json:
        click.echo(to_json(found))
        return
    if not found:
        click.echo("no runner was ever here; `tilth runner start` starts one", err=True)
        return
    rows = [
        {
            "runner": each.name,
            "place": each.place,
            "project": each.project or "all",
            "platform": each.platform,
            "runs": f"{each.busy} of {each.slots}",
            "builds": "yes" if each.builds else "",
            "seen": moment(each.seen_at) if each.seen_at else "",
        }
        for each in found
    ]
    click.echo(table(["runner", "place", "project", "platform", "runs", "builds", "seen"], rows))


@runner.command(hidden=True)
@click.argument("launch")
@click.option("--told", is_flag=True, help="Variables come over standard input; when it closes, all ends.")
def inside(*, launch: str, told: bool) -> int:
    """Drive a launch in the container of a runner image; what an orchestrator starts."""
    from tilth.client.runner_containers import listen, say

    if told:
        listen()
    from tilth.cli.home import home
    from tilth.client.launching import drive_inside
    from tilth.client.progress import listener

    with listener(live=False, json=True) as progress:
        ended = drive_inside(launch, home(), progress)
    say(ended)
    return ended.code


@runner.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
def drive(*, folder: Path) -> int:
    """Drive the launch in a folder; what a runner starts."""
    from tilth.cli.home import home
    from tilth.client.launching import drive as drive_launch
    from tilth.client.progress import listener

    with listener(live=False) as progress:
        return drive_launch(folder, home(), progress)
