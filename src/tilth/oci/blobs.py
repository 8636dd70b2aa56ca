"""Blobs on this machine by their digests: whole, or not there.

blobs/sha256/DIGEST     as in an OCI layout
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from tilth.errors import NotFound
from tilth.oci.descriptors import DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 1 << 20


class BlobStore:
    """A folder of blobs. Any number of threads and processes may write at once: the last to finish wins, all equal.

    Args:
        root: The folder that `blobs/` is in, made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be."""
        if not DIGEST.fullmatch(digest):  # also what keeps `../` out: digests come from registries
            raise ValueError(f"`{digest}` is not the digest of a blob")
        return self.root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        """Whether it is there; its bytes are not looked at."""
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        """Bytes of a blob."""
        return self._existing(digest).stat().st_size

    def read(self, digest: str) -> bytes:
        """The bytes of a small blob, as they are: see `verify`."""
        return self._existing(digest).read_bytes()

    def open(self, digest: str) -> IO[bytes]:
        """A blob to be read from the start."""
        return open(self._existing(digest), "rb")

    def put(self, content: bytes) -> str:
        """Keep bytes; gives their digest."""
        with self.writing() as blob:
            blob.write(content)
        return blob.digest

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Take bytes as they come; under their digest when the block ends, nowhere when it fails."""
        folder = self.root / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{os.getpid()}-{os.urandom(8).hex()}"
        try:
            with open(aside, "xb") as file:
                blob = Writing(file)
                yield blob
            aside.chmod(0o444)
            aside.replace(self.path(blob.digest))
        finally:
            aside.unlink(missing_ok=True)

    def verify(self, digest: str) -> bool:
        """Whether the bytes are those of the digest; reads all of them."""
        found = hashlib.sha256()
        with self.open(digest) as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
        return f"sha256:{found.hexdigest()}" == digest

    def remove(self, digest: str) -> None:
        """Forget a blob; one that is not there is forgotten already."""
        self.path(digest).unlink(missing_ok=True)

    def _existing(self, digest: str) -> Path:
        path = self.path(digest)
        if not path.exists():
            raise NotFound(f"the blob `{digest}` is not on this machine", why=f"there is no file `{path}`")
        return path


class Writing:
    """A blob that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:
        """Add bytes at the end."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def digest(self) -> str:
        """Of what was written up to now."""
        return f"sha256:{self._hash.hexdigest()}"
