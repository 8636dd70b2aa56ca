"""A file that is being brought here: continued after a break, moved to its place when it is whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from typing import IO, TYPE_CHECKING

from tilth.artifact_stores.parts import file_digest
from tilth.errors import DiskFull, LoadError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class Download:
    """One object on its way to `target`; others who bring the same to the same place wait for it.

    Args:
        version: What tells this content of the object from another; what came of that one is not continued.
    """

    def __init__(self, target: Path, *, key: str, version: str) -> None:
        self._target = target
        self._key = key
        name = hashlib.sha256(f"{target.name}\n{version}".encode()).hexdigest()[:24]
        self._aside = target.with_name(f".{name}.part")
        self._file: IO[bytes] | None = None
        self.have = 0  # bytes that are here

    def __enter__(self) -> Download:
        try:
            self._open()
        except OSError as error:
            raise self._failure(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as failure:
                if error is None:
                    raise self._failure(failure) from failure

    @property
    def is_begun(self) -> bool:
        """Whether something is here that another call brought."""
        return self.have > 0 or bool(self._kept())

    def write(self, block: bytes) -> None:
        """Add what comes next."""
        assert self._file is not None
        rest = memoryview(block)
        try:
            while rest:  # a disk that is nearly full takes a part of it, without an error
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._failure(error) from error
        self.have += len(block)

    def keep(self, offset: int, block: bytes) -> None:
        """Keep what came though something before it did not, for the next call."""
        path = self._kept_at(offset)
        try:
            path.write_bytes(block)
        except OSError:  # it is brought again
            path.unlink(missing_ok=True)

    def take(self, offset: int, size: int) -> bytes | None:
        """What a call before kept of this place, once; None when it kept nothing, or something else."""
        path = self._kept_at(offset)
        try:
            block = path.read_bytes()
            path.unlink()
        except FileNotFoundError:
            return None
        return block if len(block) == size else None

    def restart(self) -> None:
        """Throw away what is here."""
        assert self._file is not None
        self._file.truncate(0)
        self.have = 0
        self._forget_kept()

    def finish(self, digest: str, *, where: str) -> None:
        """Put the file into its place.

        Raises:
            LoadError: It is not what the digest says; nothing is left of it.
        """
        assert self._file is not None
        try:
            self._forget_kept()
            if digest and (found := file_digest(self._aside)) != digest:
                self._aside.unlink()
                raise refuse_other(self._key, where, digest, found)
            os.fsync(self._file.fileno())
            self._aside.rename(self._target)
        except OSError as error:
            raise self._failure(error) from error

    def _kept_at(self, offset: int) -> Path:
        return self._aside.with_suffix(f".{offset}.part")

    def _kept(self) -> list[Path]:
        return list(self._aside.parent.glob(f"{self._aside.stem}.*.part"))

    def _forget_kept(self) -> None:
        for each in self._kept():
            each.unlink(missing_ok=True)

    def _open(self) -> None:
        while True:
            file = open(self._aside, "ab", buffering=0)  # noqa: SIM115 - closed by `__exit__`
            fcntl.flock(file, fcntl.LOCK_EX)  # let go by the system when the process ends, however it ends
            # Who held it before may have finished, or thrown it away: then the lock is on a file without a name.
            try:
                mine = os.fstat(file.fileno()).st_ino == self._aside.stat().st_ino
            except FileNotFoundError:
                mine = False
            if mine:
                self._file = file
                self.have = os.fstat(file.fileno()).st_size
                return
            file.close()

    def _failure(self, error: OSError) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(
                f"no space left to bring `{self._key}` here",
                why=f"writing to `{self._target.parent}`; what has come is kept, and continued",
                mend="make room on that disk, or set `TILTH_HOME` to a folder on another",
            )
        return error


def refuse_other(key: str, where: str, wanted: str, found: str) -> LoadError:
    """The error for content that is not what its digest says."""
    return LoadError(
        f"`{key}` in the artifact store is damaged",
        why=f"its content has {found}, not {wanted}; it is in `{where}`",
        mend="run the step that made it again",
    )
