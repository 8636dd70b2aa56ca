"""`tilth login`, `tilth logout`, `tilth status`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from tilth.cli.usage import Misuse, json_option

if TYPE_CHECKING:
    from tilth.client.login import LoggedIn


@click.command()
@click.argument("url")
@click.option("--user", "-u", metavar="NAME", help="Log in with this user's password, which is asked for.")
@click.option(
    "--api-key", is_flag=True, help="Log in with an API key, read from standard input or asked for."
)
def login(*, url: str, user: str | None, api_key: bool) -> None:
    """Keep records on a server from now on.

    Without options a browser grants the login. CI jobs need none: they set TILTH_SERVER_URL and TILTH_API_KEY.
    """
    from tilth.cli.home import home
    from tilth.client import login as logins

    if user is not None and api_key:
        raise Misuse("`--user` and `--api-key` are two ways to log in", mend="give one of them")
    here = home()
    if api_key:
        done = logins.log_in_with_token(here, url, _secret("API key"))
    elif user is not None:
        done = logins.log_in_with_password(here, url, user, _secret(f"password of {user}"))
    else:
        done = logins.log_in_again(here, url) or _by_browser(url)
    click.echo(f"logged in at {done.url} as {done.user}; records are kept there now", err=True)


def _by_browser(url: str) -> LoggedIn:
    from tilth.cli.home import home
    from tilth.client import login as logins

    if not sys.stdin.isatty():
        raise Misuse(
            "there is no terminal to log in from",
            mend="set `TILTH_SERVER_URL` and `TILTH_API_KEY`, or give a key: `tilth login URL --api-key < FILE`",
        )

    def show(address: str, code: str) -> None:
        import webbrowser

        click.echo(f"open {address}\nand let this machine in when the page shows {code}", err=True)
        webbrowser.open(address)

    return logins.log_in_by_browser(home(), url, show)


def _secret(what: str) -> str:
    if sys.stdin.isatty():
        text: str = click.prompt(what, hide_input=True, err=True)
        return text
    text = sys.stdin.readline().strip()
    if not text:
        raise Misuse(f"the {what} is not given", mend="write it to standard input: `… < FILE`")
    return text


@click.command()
def logout() -> None:
    """Keep records on this machine again, and end the login at the server."""
    from tilth.cli.home import home
    from tilth.client.server_process import forget_login
    from tilth.errors import LoginNeeded, OutsideError
    from tilth.store.http import Api
    from tilth.store.logins import active_server

    here = home()
    found = active_server(here)
    if found is None:
        click.echo("not logged in; records are kept on this machine", err=True)
        return
    if found.given:
        raise Misuse(
            "the server is named by the variable `TILTH_SERVER_URL`", mend="unset it to keep records here"
        )
    said = ""
    if forget_login(here, found.url):
        api = Api(found.url, found.token, patience_s=2.0)
        try:
            api.request("POST", "/logout")
        except LoginNeeded:
            pass  # it has ended before
        except OutsideError as error:
            said = f"; the server could not be told: {error.why or error.summary}"
        finally:
            api.close()
    click.echo(f"logged out of {found.url}{said}; records are kept on this machine now", err=True)


@click.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show where records are kept, and as whom."""
    from tilth.cli.home import home
    from tilth.client.login import who_is
    from tilth.store.logins import active_server
    from tilth.store.opening import current_project

    here = home()
    found = active_server(here)
    if found is None:
        told: dict[str, object] = {"server": None, "home": str(here.root)}
        click.echo(json.dumps(told) if as_json else f"records are kept on this machine, in {here.root}")
        return
    me = who_is(found.url, found.token)
    project = current_project()
    if as_json:
        click.echo(json.dumps({"server": found.url, "user": me["user"]["name"], "project": project}))
        return
    click.echo(f"records are kept at {found.url}, by {me['user']['name']}, in project {project}")
