"""What opens a package host that asks who is there. Looked up for one request; kept and shown nowhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tilth.environments import uv_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_INDEXES = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)=(?P<url>.+://.*)")


def authorization(url: str, credentials: Mapping[str, tuple[str, str]], root: Path | None = None) -> str:
    """The HTTP header that opens `url`; empty when nothing is known.

    Args:
        credentials: User and password by host or `host:port`. They come first, then an index of uv's on the
            same host (and the keyring, for one with a user alone), then `~/.netrc`.
        root: The folder whose uv settings hold.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    place = parts.netloc.rpartition("@")[2]
    found = credentials.get(place) or credentials.get(host) or _of_indexes(place, root) or _of_netrc(host)
    return _basic(*found) if found else ""


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _of_indexes(place: str, root: Path | None) -> tuple[str, str] | None:
    for name, url in _indexes(root):
        parts = urlsplit(url)
        if parts.netloc.rpartition("@")[2] != place:
            continue
        # As uv spells them: https://docs.astral.sh/uv/concepts/indexes/#providing-credentials-directly
        variable = f"UV_INDEX_{re.sub('[^A-Za-z0-9]', '_', name).upper()}" if name else ""
        user = os.environ.get(f"{variable}_USERNAME", "") if variable else ""
        password = os.environ.get(f"{variable}_PASSWORD", "") if variable else ""
        if user or password:
            return user, password
        if parts.password:
            return unquote(parts.username or ""), unquote(parts.password)
        if parts.username:
            kept = _of_keyring(place, unquote(parts.username), root)
            return unquote(parts.username), kept or ""
    return None


def _of_keyring(place: str, user: str, root: Path | None) -> str | None:
    """The password that the program `keyring` knows, where uv is told to ask it."""
    told = [
        os.environ.get("UV_KEYRING_PROVIDER"),
        *(each.get("keyring-provider") for each in uv_settings.tables(root)),
    ]
    program = shutil.which("keyring")
    if next(filter(None, told), "") != "subprocess" or program is None:
        return None
    for service in (f"https://{place}", place):
        asked = subprocess.run(
            [program, "get", service, user],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if asked.returncode == 0 and asked.stdout.strip():
            return asked.stdout.strip()
    return None


def _indexes(root: Path | None) -> Iterator[tuple[str, str]]:
    """Name, which may be empty, and URL of every index that uv is told of beside the declaration."""
    for variable in _INDEXES:
        for each in re.split(r"[\s,]+", os.environ.get(variable, "")):
            match = _NAMED.fullmatch(each)
            if each:
                yield (match["name"], match["url"]) if match else ("", each)
    for settings in uv_settings.tables(root):
        for index in settings.get("index", ()):
            yield str(index.get("name", "")), str(index.get("url", ""))
        several = [settings.get("index-url"), *settings.get("extra-index-url", ())]
        yield from (("", str(each)) for each in (*several, *settings.get("find-links", ())) if each)


def _of_netrc(host: str) -> tuple[str, str] | None:
    import netrc

    path = os.environ.get("NETRC") or Path("~/.netrc").expanduser()
    try:
        found = netrc.netrc(os.fspath(path)).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0] or "", found[2] or "") if found else None
