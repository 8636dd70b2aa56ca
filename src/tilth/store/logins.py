"""Which server this machine's records are on, and what it is logged in with."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import SetupError
from tilth.settings import setting

if TYPE_CHECKING:
    from tilth.home import Home


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A login at one server. `own` is that of the machine it was started on, which needs no password."""

    token: str
    user: str = ""
    own: bool = False


class Logins(msgspec.Struct, frozen=True, kw_only=True):
    """Every login of a home folder; `active` is the address of the server that is used, empty for none."""

    active: str = ""
    servers: dict[str, Login] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A server, and what opens it. `given` says that variables named it."""

    url: str
    token: str
    user: str = ""
    given: bool = False


def active_server(home: Home) -> Server | None:
    """The server that `TILTH_SERVER_URL`, or else `tilth login`, chose; None when records are kept here.

    Raises:
        SetupError: The file of logins is damaged.
    """
    url, key = setting("server_url"), setting("api_key")
    if url:
        url = normal_url(url)
        known = None if key else read_logins(home).servers.get(url)
        return Server(url, key or (known.token if known else ""), known.user if known else "", given=True)
    if not home.logins.exists():
        return None
    logins = read_logins(home)
    if not logins.active:
        return None
    login = logins.servers.get(logins.active)
    return Server(logins.active, key or (login.token if login else ""), login.user if login else "")


def read_logins(home: Home) -> Logins:
    """Every login of a home folder.

    Raises:
        SetupError: The file is damaged.
    """
    try:
        return msgspec.json.decode(home.logins.read_bytes(), type=Logins)
    except FileNotFoundError:
        return Logins()
    except msgspec.DecodeError as error:
        raise SetupError(
            f"the logins in `{home.logins}` cannot be read",
            why=str(error),
            mend="delete the file, and log in again with `tilth login URL`",
        ) from None


def write_logins(home: Home, logins: Logins) -> None:
    """Keep logins, readable by this user alone."""
    home.root.mkdir(parents=True, exist_ok=True)
    aside = home.logins.with_name(f"{home.logins.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(logins))
        aside.replace(home.logins)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def normal_url(text: str) -> str:
    """An address as logins are kept under: with a scheme, without a slash at its end.

    Raises:
        SetupError: It is none.
    """
    from urllib.parse import urlsplit

    url = text.strip().rstrip("/")
    if "://" not in url:
        local = url.startswith(("127.", "localhost", "[::1]"))
        url = f"{'http' if local else 'https'}://{url}"
    try:
        parts = urlsplit(url)
        well = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        well, parts = False, urlsplit("")
    if not well or parts.username is not None:
        raise SetupError(
            f"`{text}` is no address of a server", mend="give one like `https://tilth.example.com`"
        )
    return url
