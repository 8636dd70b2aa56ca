"""Large files in parts, and their digests. Pure but for reading the file."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 1 << 20  # bytes read at once
PART = 8 << 20  # bytes: what S3 and Azure take up to 80 GB in 10,000 parts of
_MOST = 10_000  # parts of one object: S3's limit; Azure takes 50,000 blocks


class Part(NamedTuple):
    """A piece of a file."""

    number: int  # from 1, as S3 counts
    offset: int
    size: int

    def read(self, path: Path) -> bytes:
        """Its bytes."""
        with open(path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def plan_parts(size: int, part: int = PART) -> list[Part]:
    """How a file of `size` bytes is cut: the same way each time, so that what was sent before is recognised."""
    step = part
    while -(-size // step) > _MOST:
        step *= 2
    return [
        Part(n + 1, offset, min(step, size - offset)) for n, offset in enumerate(range(0, max(size, 1), step))
    ]


def file_digest(path: Path) -> str:
    """Of a file's content: `sha256:…`."""
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def sha256_of(content: bytes) -> str:
    """Of bytes: `sha256:…`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def md5(content: bytes) -> bytes:
    """What S3, Azure and Google Cloud Storage check a transfer by; never what content is known by."""
    return hashlib.md5(content, usedforsecurity=False).digest()
