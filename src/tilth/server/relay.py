"""The two streams of a build, between who ordered it and its runner: sealed for them, in files, so that any server
that shares the folder takes and gives parts.

FOLDER/PROJECT/builds/ORDER/in/OFFSET    what a runner is sent
FOLDER/PROJECT/builds/ORDER/out/OFFSET   what it sends

A part stays until the one behind it is asked for. Who sends waits when too much was not taken yet.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from typing import TYPE_CHECKING

from tilth.errors import DefinitionError, NotFound
from tilth.server.files import explained
from tilth.server.limits import TooLarge

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.server.files import Files

WINDOW = 16 << 20  # bytes of a stream that nobody has taken so far
LARGEST_PART = 4 << 20
MOST = 2 << 30  # bytes of one stream in all
_ID = re.compile(r"[0-9A-Za-z-]{1,80}")
_PART = re.compile(r"\d{12}")


def folder_of(files: Files, order: str) -> Path:
    """Where the streams of a build are.

    Raises:
        NotFound: That is no id.
    """
    if not _ID.fullmatch(order):
        raise NotFound(f"no build order has the id `{order[:80]}`")
    return files.root / "builds" / order


class Stream:
    """One of the two. One sends and one takes; each may ask again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes, offset: int) -> int:
        """Take a part from `offset` on, whole or not at all; one that is here already changes nothing.

        Returns:
            How many bytes have come: where the next part begins.
        Raises:
            TooLarge: The part, or the stream, has more than may be.
        """
        if len(content) > LARGEST_PART or offset + len(content) > MOST:
            raise TooLarge(
                "more is sent for a build on a runner than this server takes",
                why=f"it takes {MOST:,} bytes of a build, {LARGEST_PART:,} at once",
                mend="leave files out of the build context, or push the base image to a registry and name it there",
            )
        with explained():
            parts = self._parts()
            have = sum(parts[-1]) if parts else 0
            if not content or offset != have or (parts and have + len(content) - parts[0][0] > WINDOW):
                return have
            self._folder.mkdir(parents=True, exist_ok=True)
            aside = self._folder / f".{os.urandom(8).hex()}"
            try:
                aside.write_bytes(content)
                with contextlib.suppress(FileExistsError):  # the same part, sent again to another server
                    os.link(aside, self._path(offset))
            finally:
                aside.unlink(missing_ok=True)
            return offset + len(content)

    def take(self, offset: int) -> bytes:
        """What has come from `offset` on, where a part begins; what lies before is needed no more."""
        with explained():
            parts = self._parts()
            if parts and offset not in (*(begin for begin, _ in parts), sum(parts[-1])):
                raise DefinitionError(
                    f"no part of the build begins at {offset}", mend="go on where the last one ended"
                )
            for begin, _ in parts[:-1]:  # the last says how far it has come
                if begin < offset:
                    self._path(begin).unlink(missing_ok=True)
            found, amount = [], 0
            for begin, size in parts:
                if begin >= offset:
                    amount += size
                    if amount > LARGEST_PART:
                        break
                    found.append(self._path(begin).read_bytes())
            return b"".join(found)

    def _path(self, offset: int) -> Path:
        return self._folder / f"{offset:012d}"

    def _parts(self) -> list[tuple[int, int]]:
        """Where each part begins, and its size, in order."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for each in entries:
                if _PART.fullmatch(each.name):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((int(each.name), each.stat().st_size))
        return sorted(found)


def forget(files: Files, order: str) -> None:
    """Remove what is kept of a build."""
    shutil.rmtree(folder_of(files, order), ignore_errors=True)


def left(files: Files, *, untouched_s: float) -> list[str]:
    """Ids of builds of which something is kept that nobody has added to for so long, in seconds."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for each in (files.root / "builds").iterdir():
            with contextlib.suppress(FileNotFoundError):
                newest = max(path.stat().st_mtime for path in (each, *each.rglob("*")))
                if newest < time.time() - untouched_s:
                    found.append(each.name)
    return found
