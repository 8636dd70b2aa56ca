"""Objects below any URL that fsspec knows: `sftp://`, `hdfs://`, `smb://`, `memory://`…"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

from tilth.artifact_stores.parts import BLOCK
from tilth.artifact_stores.remote import Kept, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_SAFE = "-_.~=+@,()! "
_ASIDE = ".aside"
_MOST = 10  # connections at once; more than the eight that bring an artifact, so that signs of life pass them
T = TypeVar("T")
_ABSENT = (FileNotFoundError, NotADirectoryError)


class FsspecFiles:
    """A `Provider`.

    Of a file system nothing is known but that it can move a file: an object is written aside, read back,
    and moved. A large file that is broken off is sent again as a whole; bringing one here is continued.

    Args:
        url: `PROTOCOL://…`; chained ones too.
        options: What fsspec calls `storage_options`.
    Raises:
        ValueError: fsspec knows no such protocol.
        ImportError: What the protocol needs is not installed.
    """

    def __init__(self, url: str, *, options: Mapping[str, Any] | None = None) -> None:
        from fsspec import get_filesystem_class
        from fsspec.utils import get_protocol

        get_filesystem_class(get_protocol(url))
        self._url = url
        self._options = dict(options or {})
        self._idle: collections.deque[_Tree] = collections.deque()
        self._places = threading.BoundedSemaphore(_MOST)
        self._opening = threading.Lock()
        self.where = url.rstrip("/")
        self.host = ""  # it is in the URL

    def write(self, key: str, content: bytes, digest: str) -> None:
        def work(tree: _Tree) -> None:
            with tree.aside(key, digest) as aside:
                tree.files.pipe_file(aside, content)

        self._call(work)

    def upload(self, key: str, file: Path, size: int, digest: str) -> None:  # noqa: ARG002
        def work(tree: _Tree) -> None:
            with tree.aside(key, digest) as aside:
                tree.files.put_file(str(file), aside)

        self._call(work)

    def look(self, key: str) -> Kept | None:
        try:
            told = self._call(lambda tree: tree.files.info(tree.at(key)))
        except _ABSENT:
            return None
        if told["type"] != "file":
            return None
        size = int(told["size"])
        changed = next((str(told[name]) for name in ("ETag", "mtime", "created") if told.get(name)), "")
        return Kept(size, f"{size}-{changed}")

    def read(self, key: str, start: int, size: int, version: str) -> bytes:  # noqa: ARG002 - it has none
        return self._call(
            lambda tree: bytes(tree.files.cat_file(tree.at(key), start=start, end=start + size))
        )

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        try:
            found = self._call(lambda tree: tree.find(prefix.removesuffix("/")))
        except _ABSENT:
            return
        for name, size in found.items():
            if not name.startswith(f"{_ASIDE}/"):
                yield "/".join(map(unquote, name.split("/"))), size

    def delete(self, key: str) -> None:
        with contextlib.suppress(*_ABSENT):
            self._call(lambda tree: tree.files.rm_file(tree.at(key)))

    def explain(self, error: Exception) -> tuple[Trouble, str] | None:
        import errno
        import socket

        # Each of its file systems has a library of its own, with errors of its own.
        kind = type(error).__name__
        said = f"{kind}: {error}"
        if isinstance(error, FileNotFoundError):
            return Trouble.GONE, said
        if "auth" in kind.lower():
            return Trouble.CREDENTIALS, said
        if isinstance(error, PermissionError):
            return Trouble.RIGHTS, said
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Trouble.SPACE, said
        if (
            isinstance(error, (ConnectionError, TimeoutError, EOFError, socket.gaierror))
            or "connection" in said.lower()
        ):
            return Trouble.NETWORK, said
        return Trouble.OTHER, said

    def _call(self, work: Callable[[_Tree], T]) -> T:
        """Do something with the file system, which is nobody else's meanwhile: threads that share a connection
        hear each other's answers. Where the connection was gone, once more over a new one.
        """
        with self._places:
            while True:
                tree = self._idle.pop() if self._idle else None
                is_new = tree is None
                if tree is None:
                    with self._opening:  # a server lets few log in at once
                        tree = self._open()
                tree.files.invalidate_cache()
                try:
                    done = work(tree)
                except _ABSENT:
                    self._idle.append(tree)
                    raise
                except Exception as error:
                    told = self.explain(error)
                    if is_new or told is None or told[0] is not Trouble.NETWORK:
                        raise
                else:
                    self._idle.append(tree)
                    return done

    def _open(self) -> _Tree:
        import fsspec

        # No more options than those: some file systems hand them all to their library.
        files, root = fsspec.url_to_fs(self._url, skip_instance_cache=True, **self._options)
        return _Tree(files, root.rstrip("/"))


class _Tree:
    """The folder of a store in a file system that nobody else uses now."""

    def __init__(self, files: Any, root: str) -> None:
        self.files = files
        self.root = root

    @contextlib.contextmanager
    def aside(self, key: str, digest: str) -> Iterator[str]:
        """A path to write an object to, which is then moved to its own; nothing is left of it otherwise."""
        aside = f"{self.root}/{_ASIDE}/{os.getpid()}-{os.urandom(8).hex()}"
        self._make_parent(aside)
        try:
            yield aside
            if self._digest(aside) != digest:
                raise ConnectionError("what was sent is not what the store has now")
            place = self.at(key)
            self._make_parent(place)
            try:
                self.files.mv(aside, place)
            except FileExistsError:  # some move over a file that is there, some do not
                self.files.rm_file(place)
                self.files.mv(aside, place)
        except BaseException:
            with contextlib.suppress(Exception):  # what went wrong first is what is told
                self.files.rm_file(aside)
            raise

    def find(self, prefix: str) -> dict[str, int]:
        """The files below a prefix, by path below the root, and their sizes."""
        found = self.files.find(self.at(prefix) if prefix else self.root, detail=True)
        return {
            str(path).removeprefix(self.root).lstrip("/"): int(told["size"]) for path, told in found.items()
        }

    def at(self, key: str) -> str:
        """The path of an object."""
        # fsspec takes `*`, `?` and `[` for patterns, and some of its file systems take `#` and `%` for more.
        return "/".join([self.root, *(quote(part, safe=_SAFE) for part in key.split("/"))])

    def _digest(self, path: str) -> str:
        import hashlib

        found = hashlib.sha256()
        with self.files.open(path, "rb") as file:
            while block := file.read(BLOCK):
                found.update(block)
        return f"sha256:{found.hexdigest()}"

    def _make_parent(self, path: str) -> None:
        self.files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
