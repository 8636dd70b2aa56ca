"""The files of an artifact: written and digested at once, listed, verified. Knows nothing of values."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST = "artifact.json"

_LARGE = 1 << 20  # bytes; below, a thread costs more than it saves
_CHUNK = 4 << 20

# Digests of files written through `open_hashed` and not yet listed: path -> (sha256, what the file was then).
_digests: dict[str, tuple[str, tuple[int, int, int]]] = {}


class HashedFile:
    """A binary file open for writing whose digest is computed while the data goes to disk."""

    def __init__(self, path: Path) -> None:
        from hashlib import sha256

        self._file = path.open("wb", buffering=0)
        self._path = str(path)
        self._sha256 = sha256()
        self._small = bytearray()

    def write(self, data: Any) -> int:
        """Write bytes, or anything with a contiguous buffer."""
        view = memoryview(data).cast("B")
        if len(view) < _LARGE:
            self._small += view
            if len(self._small) >= _LARGE:
                self.flush()
        else:
            self.flush()
            self._write_hashing(view)
        return len(view)

    def flush(self) -> None:
        if self._small:
            small, self._small = self._small, bytearray()
            self._write_hashing(memoryview(small))

    def close(self) -> None:
        """Also remembers the digest, for whoever lists the folder next in this process."""
        if self._file.closed:
            return
        try:
            self.flush()
            _digests[self._path] = (self._sha256.hexdigest(), _state(os.fstat(self._file.fileno())))
        finally:
            self._file.close()

    def tell(self) -> int:
        return self._file.tell() + len(self._small)

    def writable(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        return self._file.closed

    def __enter__(self) -> HashedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def _write_hashing(self, view: memoryview) -> None:
        if len(view) < _LARGE:
            self._sha256.update(view)
            self._write_all(view)
            return
        from threading import Thread

        # The caller may change its buffer once `write` returns, so the two only overlap within the call.
        hashing = Thread(target=self._sha256.update, args=(view,))
        hashing.start()
        try:
            self._write_all(view)
        finally:
            hashing.join()

    def _write_all(self, view: memoryview) -> None:
        while view:
            view = view[self._file.write(view) :]


def open_hashed(path: Path) -> HashedFile:
    """Open a new binary file whose digest need not be computed by reading it again."""
    return HashedFile(path)


def list_files(folder: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The files below `folder` but for the manifest, by escaped name, and its empty folders; both sorted.

    A symbolic link is listed with its target as `link`, and digested as that text.
    """
    from hashlib import sha256

    files: dict[str, dict[str, Any]] = {}
    empty = []
    for name, entry in _walk(str(folder), ""):
        if entry is None:
            empty.append(escape(name))
        elif entry.is_symlink():
            link = os.readlink(entry.path)  # noqa: PTH115 - text, as it was written
            text = os.fsencode(link)
            files[escape(name)] = {
                "sha256": sha256(text).hexdigest(),
                "size": len(text),
                "link": escape(link),
            }
        elif name != MANIFEST:
            size, digest = _digest(entry.path)
            files[escape(name)] = {"sha256": digest, "size": size}
    return dict(sorted(files.items())), sorted(empty)


def problems(folder: Path, files: dict[str, dict[str, Any]], empty: list[str]) -> list[str]:
    """What differs between a folder and the list of its files, after reading all of them again."""
    for name in files:
        _digests.pop(os.path.join(folder, unescape(name)), None)  # noqa: PTH118 - as `_walk` joins
    found, found_empty = list_files(folder)
    result = [f"`{name}` is missing" for name in [*files, *empty] if name not in {*found, *found_empty}]
    for name, now in found.items():
        expected = files.get(name)
        if expected is None:
            result.append(f"`{name}` was added")
        elif now["size"] != expected["size"]:
            result.append(f"`{name}` has {now['size']} bytes instead of {expected['size']}")
        elif now != expected:
            result.append(f"`{name}` has other content than was written")
    return result


def escape(name: str) -> str:
    """A file name as text that every JSON reader takes: bytes that are not UTF-8 as `%FF`, `%` as `%25`."""
    name = name.replace("%", "%25")
    try:
        name.encode()
    except UnicodeEncodeError:
        return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in name)
    return name


def unescape(name: str) -> str:
    """The file name that was escaped."""
    if "%" not in name:
        return name
    head, *rest = name.encode().split(b"%")
    return os.fsdecode(head + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in rest))


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    with os.scandir(folder) as entries:
        listed = list(entries)
    if not listed and prefix:
        yield prefix, None
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _digest(path: str) -> tuple[int, str]:
    known = _digests.pop(path, None)
    if known is not None:
        status = os.stat(path)  # noqa: PTH116 - a `Path` for each of 10,000 files costs more than the call
        if known[1] == _state(status):
            return status.st_size, known[0]
    from hashlib import sha256

    digest = sha256()
    size = 0
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
            size += count
    return size, digest.hexdigest()
