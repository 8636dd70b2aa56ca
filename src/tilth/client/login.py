"""Logging in at a server: by password, by an API key, or in a browser."""

from __future__ import annotations

import contextlib
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.client.server_process import remember_login
from tilth.errors import LoginNeeded, NotFound, ServerUnavailable
from tilth.store.http import Api
from tilth.store.logins import normal_url, read_logins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tilth.home import Home


@dataclass(frozen=True)
class LoggedIn:
    """A login that the server took."""

    url: str
    user: str


def who_is(url: str, token: str) -> dict[str, Any]:
    """What the server says of who shows a token.

    Raises:
        LoginNeeded: It knows no such token, or it has ended.
        ServerUnavailable: It does not answer.
    """
    api = Api(url, token, patience_s=2.0)
    try:
        told: dict[str, Any] = msgspec.json.decode(api.request("GET", "/me"))
        return told
    finally:
        api.close()


@contextlib.contextmanager
def _at(url: str, patience_s: float) -> Iterator[Api]:
    """A conversation with a server that is tried for the first time.

    Raises:
        ServerUnavailable: No server of tilth is there.
    """
    api = Api(url, "", patience_s=patience_s)
    try:
        try:
            api.request("GET", "/info")
        except NotFound:
            raise ServerUnavailable(
                f"no server is at `{url}`",
                why="there is a server of tilth, and nothing at this path of it",
                mend="give the address as `tilth server status` prints it",
            ) from None
        except ServerUnavailable as error:
            error.mend = error.mend.replace(
                "`tilth status`; to work without it, `tilth logout`", f"`{url}/health`"
            )
            raise
        yield api
    finally:
        api.close()


def log_in_again(home: Home, url: str) -> LoggedIn | None:
    """Use a login that was kept before; None when there is none that is good."""
    url = normal_url(url)
    known = read_logins(home).servers.get(url)
    if known is None:
        return None
    try:
        return _keep(home, url, known.token)
    except LoginNeeded:
        return None


def log_in_with_token(home: Home, url: str, token: str) -> LoggedIn:
    """Use an API key, or any token, from now on.

    Raises:
        LoginNeeded: The server does not know it.
    """
    url = normal_url(url)
    with _at(url, 2.0):
        return _keep(home, url, token)


def log_in_with_password(home: Home, url: str, name: str, password: str) -> LoggedIn:
    """Log in with a password; only the token that comes of it is kept.

    Raises:
        LoginNeeded: Name or password are wrong.
    """
    url = normal_url(url)
    with _at(url, 2.0) as api:
        body = msgspec.json.encode({"name": name, "password": password, "client": this_machine()})
        told = msgspec.json.decode(api.request("POST", "/login", body))
    return _keep(home, url, told["token"])


def log_in_by_browser(home: Home, url: str, show: Callable[[str, str], None]) -> LoggedIn:
    """Have a person grant the login in a browser, on any machine (RFC 8628).

    Args:
        show: Called with the address to open, and the code that the page has to show.
    Raises:
        LoginNeeded: They denied it, or nobody answered in time.
    """
    url = normal_url(url)
    with _at(url, 10.0) as api:
        asked = msgspec.json.decode(
            api.request("POST", "/device", msgspec.json.encode({"client": this_machine()}))
        )
        show(asked["verification_uri"], asked["user_code"])
        body = msgspec.json.encode({"device_code": asked["device_code"]})
        deadline = time.monotonic() + asked["expires_in"]
        while time.monotonic() < deadline:
            told = msgspec.json.decode(api.request("POST", "/device/token", body))
            if told["login"] is not None:
                return _keep(home, url, told["login"]["token"])
            time.sleep(asked["interval"])
    raise LoginNeeded("nobody granted this login in time", mend="start `tilth login` again")


def this_machine() -> str:
    """How a server calls this client in its list of logins."""
    return f"tilth on {platform.node() or 'a machine'}"


def _keep(home: Home, url: str, token: str) -> LoggedIn:
    user = who_is(url, token)["user"]["name"]
    remember_login(home, url, token, user, active=True)
    return LoggedIn(url, user)
