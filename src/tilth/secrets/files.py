"""Files that only their owner may read, and that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import DiskFull, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`; others wait, in this process or another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_aside(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file of mode 0600 beside `path` and flush it, then put it in place.

    Args:
        replace: Otherwise what is there already stays.
    """
    import tempfile

    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # its mode is 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if replace:
            Path(aside).replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(aside)
    finally:
        Path(aside).unlink(missing_ok=True)


def explained(error: OSError, summary: str) -> SetupError:
    """What the system said about a file, as an error of tilth's."""
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            summary, why=f"{why}; what was kept before is as it was", mend="make room on that disk"
        )
    return SetupError(summary, why=why)
