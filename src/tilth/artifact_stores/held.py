"""One at a time, of all threads and processes of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def held(lock: Path) -> Iterator[None]:
    """Wait for whoever holds the file `lock`, then hold it, and remove it in the end."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(lock, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go by the system when the process ends, however it ends
            try:
                if os.fstat(file.fileno()).st_ino != lock.stat().st_ino:
                    continue
            except (
                FileNotFoundError
            ):  # who held it before has removed it: nobody else would wait for this one
                continue
            try:
                yield
                return
            finally:
                lock.unlink(missing_ok=True)
