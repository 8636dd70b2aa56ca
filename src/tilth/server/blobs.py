"""Files that snapshots are made of, on the server's disk: by project, named by what is in them."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import DefinitionError, DiskFull, NotFound
from tilth.home import Home
from tilth.records import new_id
from tilth.server.limits import TooLarge
from tilth.settings import home_folder

if TYPE_CHECKING:
    from tilth.server.settings import ServerSettings

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ABANDONED_S = 86_400.0


def data_folder(settings: ServerSettings) -> Path:
    """Where a server keeps files."""
    return Path(settings.data_folder) if settings.data_folder else Home(home_folder()).server / "blobs"


class Blobs:
    """Files of all projects of a server.

    Args:
        most: Bytes of the largest file taken.
    """

    def __init__(self, folder: Path, *, most: int) -> None:
        self._folder = folder
        self._most = most

    def path(self, project: str, digest: str) -> Path:
        """Where a file is, or would be.

        Raises:
            DefinitionError: This is no digest.
        """
        if not _DIGEST.fullmatch(digest):
            raise DefinitionError(f"`{digest[:100]}` is no digest", mend="give `sha256:` and 64 digits")
        name = digest.partition(":")[2]
        # A project may be called anything, `..` too.
        return self._folder / hashlib.sha256(project.encode()).hexdigest()[:32] / name[:2] / name

    def find(self, project: str, digest: str) -> Path:
        """The file of a digest.

        Raises:
            NotFound: The project has none.
            DefinitionError: This is no digest.
        """
        path = self.path(project, digest)
        if not path.is_file():
            raise NotFound(f"project `{project}` has no file `{digest}`")
        return path

    def incoming(self, project: str, digest: str) -> Incoming:
        """Take a file that arrives bit by bit.

        Raises:
            DefinitionError: This is no digest.
            DiskFull: There is no space.
        """
        return Incoming(self.path(project, digest), digest, self._most, self._folder / "incoming")


class Incoming:
    """A file that arrives; `finish` puts it in its place when it is what it should be, `abandon` forgets it."""

    def __init__(self, target: Path, digest: str, most: int, folder: Path) -> None:
        self._target = target
        self._digest = digest
        self._most = most
        self._seen = hashlib.sha256()
        self._size = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            self._aside = folder / new_id()
            self._file = open(self._aside, "xb")  # noqa: SIM115 - closed by `finish` or `abandon`
        except OSError as error:
            raise _full(error, folder) from error

    def write(self, part: bytes) -> None:
        """Take what comes next.

        Raises:
            TooLarge: It is more than this server takes.
            DiskFull: There is no space.
        """
        self._size += len(part)
        if self._size > self._most:
            raise TooLarge(
                "the file is too large",
                why=f"this server takes {self._most:,} bytes",
                mend="leave data out of the code with `.tilthignore`, or set `TILTH_SERVER_MAX_BLOB_MB` there",
            )
        self._seen.update(part)
        try:
            self._file.write(part)
        except OSError as error:
            raise _full(error, self._aside.parent) from error

    def finish(self) -> None:
        """Keep it.

        Raises:
            DefinitionError: It is not what its digest says.
            DiskFull: There is no space.
        """
        found = f"sha256:{self._seen.hexdigest()}"
        if found != self._digest:
            raise DefinitionError(
                "what arrived is not what its digest says",
                why=f"it is {found}, {self._size:,} bytes",
                mend="send it again",
            )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._aside.replace(self._target)
        except OSError as error:
            raise _full(error, self._target.parent) from error

    def abandon(self) -> None:
        """Forget what has not been kept."""
        self._file.close()
        self._aside.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Forget what a server that was killed left half."""
    for each in folder.iterdir():
        try:
            if time.time() - each.stat().st_mtime > _ABANDONED_S:
                each.unlink()
        except FileNotFoundError:
            continue


def _full(error: OSError, folder: Path) -> DiskFull:
    return DiskFull(
        f"the server cannot write to `{folder}`",
        why=error.strerror or str(error),
        mend="make room there, or set `TILTH_SERVER_DATA_FOLDER` to a folder on another disk",
    )
