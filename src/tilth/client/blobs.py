"""Files of snapshots: sent to a server and fetched from it, by digest, in a stream."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from tilth.engine.archives import unwritable
from tilth.errors import OutsideError, ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tilth.store.http import HttpStore

_PART = 1 << 20
_TRIES = 4


def file_digest(path: Path) -> str:
    """Of a file's bytes: `sha256:…`."""
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def send(store: HttpStore, path: Path, digest: str = "") -> str:
    """Have a server keep a file, unless it does; gives the file's digest.

    Raises:
        ServerUnavailable: It does not answer.
        TilthError: It does not take the file.
    """
    digest = digest or file_digest(path)
    address = _address(store, digest)
    if store.api.exists(address):
        return digest

    def parts() -> Iterator[bytes]:
        with open(path, "rb") as file:
            while part := file.read(_PART):
                yield part

    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
    _again(lambda: store.api.stream_to(address, parts(), headers))
    return digest


def fetch(store: HttpStore, digest: str, target: Path) -> None:
    """Have a file that a server keeps, under its digest; nothing is asked when it is there.

    Raises:
        ServerUnavailable: The server does not answer.
        NotFound: It does not have it.
        OutsideError: What it sent is something else.
    """
    if target.exists():
        return
    aside = target.with_name(f".{target.name}.{os.getpid()}")

    def once() -> None:
        seen = hashlib.sha256()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(aside, "wb") as file:
                for part in store.api.stream_from(_address(store, digest)):
                    seen.update(part)
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            if f"sha256:{seen.hexdigest()}" != digest:
                raise OutsideError(
                    "the server sent another file than was asked for", why=f"it was to be {digest}"
                )
            aside.replace(target)
        except OSError as error:
            raise unwritable(error, target) from error
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)

    _again(once)


def _address(store: HttpStore, digest: str) -> str:
    return f"/projects/{quote(store.project, safe='')}/blobs/{digest}/content"


def _again(work: Callable[[], None]) -> None:
    """Do it, some times more when the connection is cut in the middle."""
    for attempt in range(1, _TRIES + 1):
        try:
            work()
        except ServerUnavailable:
            if attempt == _TRIES:
                raise
            time.sleep(0.5 * 2**attempt)
        else:
            return
