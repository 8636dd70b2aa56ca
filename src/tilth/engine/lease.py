"""Who drives a run: a file lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from tilth.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class Lease:
    """Held by the one driver of a run. Works between processes, and between threads of one."""

    def __init__(self, folder: Path, run: str) -> None:
        self._path = folder / "lease"
        self._run = run
        self._fd = -1

    def __enter__(self) -> Lease:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not _try_lock(fd):
            holder = os.read(fd, 64).decode(errors="replace").strip()
            os.close(fd)
            raise Conflict(
                f"run `{self._run}` is being driven by another process" + (f" ({holder})" if holder else ""),
                mend=f"wait for it, or stop it with `tilth runs cancel {self._run}`",
            )
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()}".encode(), 0)
        self._fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def _try_lock(fd: int) -> bool:
    """Lock, if nobody drives. Who only looks (`is_held`) holds it for a moment too, so this tries more than once."""
    for _ in range(20):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.01)
        else:
            return True
    return False


def is_held(folder: Path) -> bool:
    """Whether some process drives the run in this folder now."""
    try:
        fd = os.open(folder / "lease", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
