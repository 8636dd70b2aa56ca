"""Tells machines apart: two processes that see the same files get the same word."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

_KNOWN_BY = ("/etc/machine-id", "/proc/sys/kernel/random/boot_id")


def this_machine() -> str:
    """A word for this machine, which tells nothing about it. A container is another machine than its host."""
    for path in _KNOWN_BY:
        try:
            identity = Path(path).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if identity:
            break
    else:
        import uuid

        identity = str(uuid.getnode())
    return hashlib.sha256(f"{identity} {socket.gethostname()}".encode()).hexdigest()[:32]
