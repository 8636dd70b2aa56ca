"""Objects below any URL that fsspec knows: `sftp://`, `hdfs://`, `smb://`, `memory://`…"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tilth.artifact_stores.parts import BLOCK
from tilth.artifact_stores.remote import Kept, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SAFE = "-_.~=+@,()! "
_ASIDE = ".aside"


class FsspecFiles:
    """A `Provider`.

    Of a file system nothing is known but that it can move a file: an object is written aside, read back,
    and moved. A large file that is broken off is sent again as a whole; bringing one here is continued.

    Args:
        url: `PROTOCOL://…`; chained ones too.
        options: What fsspec calls `storage_options`.
    """

    def __init__(self, url: str, *, options: Mapping[str, Any] | None = None) -> None:
        import fsspec

        self._files, root = fsspec.url_to_fs(url, use_listings_cache=False, **(options or {}))
        self._root = root.rstrip("/")
        self.where = url.rstrip("/")
        self.host = ""  # it is in the URL

    def write(self, key: str, content: bytes, digest: str) -> None:
        aside = self._aside()
        self._make_parent(aside)
        self._files.pipe_file(aside, content)
        self._put_in_place(key, aside, digest)

    def upload(self, key: str, file: Path, size: int, digest: str) -> None:  # noqa: ARG002
        aside = self._aside()
        self._make_parent(aside)
        self._files.put_file(str(file), aside)
        self._put_in_place(key, aside, digest)

    def look(self, key: str) -> Kept | None:
        path = self._at(key)
        self._files.invalidate_cache()
        try:
            told = self._files.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if told["type"] != "file":
            return None
        size = int(told["size"])
        changed = next((str(told[name]) for name in ("ETag", "mtime", "created") if told.get(name)), "")
        return Kept(size, f"{size}-{changed}")

    def read(self, key: str, start: int, size: int, version: str) -> bytes:  # noqa: ARG002 - it has none
        return bytes(self._files.cat_file(self._at(key), start=start, end=start + size))

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._files.invalidate_cache()
        top = self._at(prefix.removesuffix("/")) if prefix else self._root
        try:
            found = self._files.find(top, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return
        for path, told in found.items():
            name = str(path).removeprefix(self._root).lstrip("/")
            if not name.startswith(f"{_ASIDE}/"):
                yield "/".join(map(unquote, name.split("/"))), int(told["size"])

    def delete(self, key: str) -> None:
        try:
            self._files.rm_file(self._at(key))
        except (FileNotFoundError, NotADirectoryError):
            return

    def explain(self, error: Exception) -> tuple[Trouble, str] | None:
        import errno

        said = f"{type(error).__name__}: {error}"
        if isinstance(error, FileNotFoundError):
            return Trouble.GONE, said
        if isinstance(error, PermissionError) or "auth" in type(error).__name__.lower():
            return Trouble.RIGHTS, said
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Trouble.SPACE, said
        if isinstance(error, (ConnectionError, TimeoutError)):
            return Trouble.NETWORK, said
        # Each of its file systems has a library of its own, with errors of its own.
        return Trouble.OTHER, said

    def _put_in_place(self, key: str, aside: str, digest: str) -> None:
        try:
            if self._digest(aside) != digest:
                raise ConnectionError("what was sent is not what the store has now")
            place = self._at(key)
            self._make_parent(place)
            try:
                self._files.mv(aside, place)
            except FileExistsError:  # some move over a file that is there, some do not
                self._files.rm_file(place)
                self._files.mv(aside, place)
        except BaseException:
            if self._files.exists(aside):
                self._files.rm_file(aside)
            raise

    def _digest(self, path: str) -> str:
        import hashlib

        found = hashlib.sha256()
        with self._files.open(path, "rb") as file:
            while block := file.read(BLOCK):
                found.update(block)
        return f"sha256:{found.hexdigest()}"

    def _make_parent(self, path: str) -> None:
        self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)

    def _at(self, key: str) -> str:
        # fsspec takes `*`, `?` and `[` for patterns, and some of its file systems take `#` and `%` for more.
        return "/".join([self._root, *(quote(part, safe=_SAFE) for part in key.split("/"))])

    def _aside(self) -> str:
        return f"{self._root}/{_ASIDE}/{os.getpid()}-{os.urandom(8).hex()}"
