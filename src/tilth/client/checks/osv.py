"""Gets OSV records: from a folder, a JSON or zip file, or a service with the OSV API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tilth.client.checks.advisories import ECOSYSTEM, Advisory
from tilth.environments import background
from tilth.environments.uv import without_credentials
from tilth.errors import OutsideError, SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_TIMEOUT_S = 20.0
_QUERIES = 1000  # that the API takes at once
_PAGES = 50  # a service that has more is broken


def advisories(
    source: str,
    packages: Collection[tuple[str, str]],
    *,
    offline: bool = False,
    unreadable: Callable[[SetupError], None] | None = None,
) -> Iterator[Advisory]:
    """The records of a source that may concern some of these (package, version).

    Args:
        source: What `TILTH_ADVISORIES` says.
        unreadable: Called for each file of several that is no record; without it, the first is raised.
    Raises:
        SetupError: The source cannot be read.
        OutsideError: The service does not answer, or may not be asked.
    """
    if source.startswith(("https://", "http://")):
        if offline:
            raise OutsideError(
                "advisories are not looked up, since tilth is offline",
                mend="set `TILTH_ADVISORIES` to a folder or file of OSV records",
            )
        yield from _ask(source.rstrip("/"), sorted(packages))
        return
    path = Path(source).expanduser()
    if not path.exists():
        raise SetupError(
            f"`TILTH_ADVISORIES` names `{path}`, which does not exist",
            mend="give a folder, JSON or zip file of OSV records, or the URL of a service with the OSV API",
        )
    for name, content in _contents(path):
        try:
            found = _decode(content, name)
        except SetupError as error:
            if unreadable is None:
                raise
            unreadable(error)
        else:
            yield from found


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for each in sorted(path.rglob("*.json")):
            yield str(each), each.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield f"{path}/{name}", archive.read(name)
    else:
        yield str(path), path.read_bytes()


_decoder = msgspec.json.Decoder(Advisory | list[Advisory])


def _decode(content: bytes, name: str) -> list[Advisory]:
    try:
        found = _decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SetupError(f"`{name}` is no OSV record", why=str(error)) from error
    return found if isinstance(found, list) else [found]


def _ask(service: str, packages: list[tuple[str, str]]) -> Iterator[Advisory]:
    try:
        yield from _asked(service, packages)
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise OutsideError(
            "the advisory service gives answers of another form",
            why=f"{without_credentials(service)}: {type(error).__name__}: {error}",
            mend="set `TILTH_ADVISORIES` to a service with the OSV API, or a folder or file of OSV records",
        ) from error


def _asked(service: str, packages: list[tuple[str, str]]) -> Iterator[Advisory]:
    ids: set[str] = set()
    waiting: list[dict[str, Any]] = [
        {"package": {"name": name, "ecosystem": ECOSYSTEM}, "version": version} for name, version in packages
    ]
    for _ in range(_PAGES):
        if not waiting:
            break
        queries, waiting = waiting[:_QUERIES], waiting[_QUERIES:]
        answer = _request(f"{service}/v1/querybatch", {"queries": queries})
        for query, result in zip(queries, answer.get("results", ()), strict=False):
            ids |= {each["id"] for each in result.get("vulns", ())}
            if result.get("next_page_token"):
                waiting.append({**query, "page_token": result["next_page_token"]})
    urls = [f"{service}/v1/vulns/{quote(each, safe='')}" for each in sorted(ids)]
    for told in background.at_once(_request, urls, threads=8):
        yield msgspec.convert(told, Advisory)


def _request(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    shown = without_credentials(url)
    headers = {"Content-Type": "application/json", "User-Agent": "tilth"}
    data = None if body is None else json.dumps(body).encode()
    try:
        asked = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - http(s), see `advisories`
        with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            told: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        status = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise OutsideError(
            "the advisory service does not answer",
            why=without_credentials(f"{shown}: {status}{reason}"),
            mend="try again later, or set `TILTH_ADVISORIES` to a folder or file of OSV records",
        ) from error
    return told
