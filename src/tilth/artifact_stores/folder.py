"""An object store in a folder, which other machines may share. Needs no library."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tilth.artifact_stores.downloads import Download, refuse_other
from tilth.artifact_stores.objects import Stored, checked_key, checked_prefix, not_found
from tilth.artifact_stores.parts import BLOCK, file_digest, sha256_of
from tilth.errors import DiskFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tilth.artifact_stores.objects import ObjectStore

_ASIDE = ".aside"
_TRIES = 50


class FolderStore:
    """An `ObjectStore` whose keys are paths below `root`, which is made when it is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)

    def put(self, key: str, source: Path | bytes, *, digest: str = "") -> str:
        place = self._place(key)
        aside = self.root / _ASIDE / f"{os.getpid()}-{os.urandom(8).hex()}"
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(aside, source)
                written = file_digest(aside)  # what is there now, not what was meant to be
                if digest and written != digest:
                    raise refuse_other(key, self.where, digest, written)
                _move(aside, place)
            finally:
                aside.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):  # deleted already
                _flush_folder(place.parent)
        except OSError as error:
            raise self._failure(error, f"`{key}` cannot be written") from error
        return written

    def get(self, key: str, target: Path, *, digest: str = "") -> None:
        place = self._place(key)
        try:
            file = open(place, "rb")  # noqa: SIM115 - its errors are told otherwise than those within
        except OSError as error:
            raise self._unreadable(key, error) from error
        now = os.fstat(file.fileno())
        version = digest or f"{now.st_size}-{now.st_mtime_ns}-{now.st_ino}"
        with file, Download(target, key=key, version=version) as download:
            file.seek(download.have)
            while block := self._read(file, key):
                download.write(block)
            download.finish(digest, where=self.where)

    def read(self, key: str, *, digest: str = "") -> bytes:
        try:
            content = self._place(key).read_bytes()
        except OSError as error:
            raise self._unreadable(key, error) from error
        if digest and (found := sha256_of(content)) != digest:
            raise refuse_other(key, self.where, digest, found)
        return content

    def find(self, key: str) -> Stored | None:
        try:
            found = self._place(key).stat()
            return Stored(key, found.st_size) if stat.S_ISREG(found.st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            self._refuse_missing()
            return None
        except OSError as error:
            raise self._failure(error, f"`{key}` cannot be looked at") from error

    def list(self, prefix: str = "") -> Iterator[Stored]:
        top = self.root / checked_prefix(prefix)

        def refuse(error: OSError) -> None:
            # A folder below may be deleted meanwhile, which must not end the list.
            if not isinstance(error, FileNotFoundError) or error.filename == os.fspath(top):
                raise error

        try:
            for folder, folders, names in os.walk(top, onerror=refuse):
                if Path(folder) == self.root and _ASIDE in folders:
                    folders.remove(_ASIDE)
                for name in names:
                    path = Path(folder, name)
                    with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                        yield Stored(path.relative_to(self.root).as_posix(), path.stat().st_size)
        except FileNotFoundError:
            self._refuse_missing()
        except OSError as error:
            raise self._failure(error, "what is there cannot be listed") from error

    def delete(self, key: str) -> None:
        place = self._place(key)
        try:
            place.unlink(missing_ok=True)
            for folder in place.relative_to(self.root).parents[:-1]:
                (self.root / folder).rmdir()  # as long as they are empty
        except NotADirectoryError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise self._failure(error, f"`{key}` cannot be deleted") from error

    def check(self) -> None:
        key = f".check-{os.urandom(8).hex()}"
        self.put(key, b"tilth")
        self.delete(key)

    def _place(self, key: str) -> Path:
        return self.root / checked_key(key)

    def _read(self, file: IO[bytes], key: str) -> bytes:
        try:
            return file.read(BLOCK)
        except OSError as error:
            raise self._failure(error, f"`{key}` cannot be read") from error

    def _refuse_missing(self) -> None:
        """Nothing is there of a folder that nobody wrote to; of one whose file system is not mounted, who knows."""
        if not self.root.exists() and not self.root.parent.exists():
            raise StoreUnavailable(
                f"the artifact store `{self.root}` is not there",
                why=f"there is no folder `{self.root.parent}`",
                mend="mount the file system it is on, or make the folder",
            )

    def _unreadable(self, key: str, error: OSError) -> Exception:
        if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
            self._refuse_missing()
            return not_found(key, self.where)
        return self._failure(error, f"`{key}` cannot be read")

    def _failure(self, error: OSError, what: str) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(
                f"no space left in the artifact store `{self.root}`",
                why="what was being written is left out as a whole; everything before is kept",
                mend="make room there",
            )
        return StoreUnavailable(
            f"the artifact store `{self.root}` fails: {what}",
            why=f"{error.strerror or error}: `{error.filename or self.root}`",
            mend="see that it is a folder you may write to, and that its file system is mounted",
        )


if TYPE_CHECKING:
    _keeps_the_promises: type[ObjectStore] = FolderStore


def _write(aside: Path, source: Path | bytes) -> None:
    with open(aside, "xb") as file:
        if isinstance(source, bytes):
            file.write(source)
        else:
            with open(source, "rb") as content:
                shutil.copyfileobj(content, file, BLOCK)
        file.flush()
        os.fsync(file.fileno())


def _move(aside: Path, place: Path) -> None:
    for again in range(_TRIES, -1, -1):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(place)
            return
        except (FileNotFoundError, FileExistsError):
            # Who deletes what is beside it takes folders away that are empty just then.
            if not again:
                raise


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
