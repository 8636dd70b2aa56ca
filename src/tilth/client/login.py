"""Logging in at a server: by password, by an API key, or in a browser."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.client.server_process import remember_login
from tilth.errors import LoginNeeded
from tilth.store.http import Api
from tilth.store.logins import normal_url, read_logins

if TYPE_CHECKING:
    from collections.abc import Callable

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
    return _keep(home, normal_url(url), token)


def log_in_with_password(home: Home, url: str, name: str, password: str) -> LoggedIn:
    """Log in with a password; only the token that comes of it is kept.

    Raises:
        LoginNeeded: Name or password are wrong.
    """
    url = normal_url(url)
    api = Api(url, "", patience_s=2.0)
    try:
        body = msgspec.json.encode({"name": name, "password": password, "client": this_machine()})
        told = msgspec.json.decode(api.request("POST", "/login", body))
    finally:
        api.close()
    return _keep(home, url, told["token"])


def log_in_by_browser(home: Home, url: str, show: Callable[[str, str], None]) -> LoggedIn:
    """Have a person grant the login in a browser, on any machine (RFC 8628).

    Args:
        show: Called with the address to open, and the code that the page has to show.
    Raises:
        LoginNeeded: They denied it, or nobody answered in time.
    """
    url = normal_url(url)
    api = Api(url, "", patience_s=10.0)
    try:
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
    finally:
        api.close()
    raise LoginNeeded("nobody granted this login in time", mend="start `tilth login` again")


def this_machine() -> str:
    """How a server calls this client in its list of logins."""
    return f"tilth on {platform.node() or 'a machine'}"


def _keep(home: Home, url: str, token: str) -> LoggedIn:
    user = who_is(url, token)["user"]["name"]
    remember_login(home, url, token, user, active=True)
    return LoggedIn(url, user)
