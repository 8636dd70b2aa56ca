"""Artifacts in folders on this machine. Knows nothing of what is in the files."""

# A run makes these calls by the ten thousand, and Path doubles their cost; 0555 is what read-only means here.
# ruff: noqa: PTH101, PTH103, PTH104, PTH112, PTH119, PTH120, S103

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DiskFull, HomeUnwritable, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tilth.artifact_stores.protocol import ArtifactStore

_DIGEST = re.compile(r"sha256:([0-9a-f]{2})([0-9a-f]{62})").fullmatch
_MANIFEST = "/artifact.json"
_CONTENT = ("digest", "type", "materializer", "format", "files", "empty", "length", "shape")
_READ_AGAIN = 8 << 20  # bytes up to which an artifact that is there already is compared as a whole
_MANY = (
    64  # artifacts of two small files: one by one takes as long as the whole file system, measured on ext4
)


class LocalArtifactStore:
    """An `ArtifactStore` at `root/ab/abcdef…/`; `root/aside/` holds what is coming or going.

    What a person would look at lies beside an artifact, in `abcdef….visualizations/`, for it is no part of
    the content; whoever made it puts it there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = str(root)

    def path(self, digest: str) -> Path:
        return Path(self._place(digest))

    def has(self, digest: str) -> bool:
        return os.path.isdir(self._place(digest))

    is_here = has

    def manifest(self, digest: str) -> dict[str, Any]:
        from tilth.materializers.artifacts import read_manifest  # here for cost: seldom needed

        return read_manifest(Path(self._existing(digest)))

    def adopt(self, folder: Path, digest: str) -> Path:
        source, place = str(folder), self._place(digest)
        if os.path.isdir(place):
            if _equals(place, source):
                _remove_tree(source)
                return Path(place)
            with suppress(NotFound):
                self.quarantine(digest)  # torn by a power failure before it was synced, or damaged since
        try:
            _make_read_only(source)
            self._move(source, place)
        except OSError as error:
            raise self._translated(error) from error
        return Path(place)

    def sync(self, *digests: str) -> None:
        try:
            places = [self._existing(digest) for digest in digests]
            if len(places) >= _MANY and _flush_file_system(self._root):
                return
            for place in places:
                for path, _ in _entries(place):
                    _flush(path)
                _flush(place)
            for parent in {self._root, *map(os.path.dirname, places)}:
                _flush(parent)
        except OSError as error:
            raise self._translated(error) from error

    def share(self, *digests: str) -> None:
        pass  # who shares the folder has them

    def remove(self, digest: str) -> None:
        place = self._place(digest)
        try:
            gone = self._set_aside(place)
        except FileNotFoundError:
            return
        _remove_tree(gone)
        if os.path.isdir(looks := f"{place}.visualizations"):
            _remove_tree(looks)

    def verify(self, digest: str) -> list[str]:
        place = self._place(digest)
        if not os.path.isdir(place):
            return ["it is not there"]
        from tilth.materializers.artifacts import verify  # here for cost: seldom needed

        return verify(Path(place))

    def quarantine(self, digest: str) -> Path:
        return Path(self._set_aside(self._existing(digest)))

    def digests(self) -> Iterator[str]:
        """Every artifact that is here, in no order."""
        for near in self.root.glob("??"):
            for folder in near.iterdir():
                if _DIGEST(digest := f"sha256:{folder.name}"):
                    yield digest

    def _place(self, digest: str) -> str:
        match = _DIGEST(digest)
        if match is None:  # also what keeps `../` out: digests may come from a step
            raise ValueError(f"`{digest}` is not the digest of an artifact")
        return f"{self._root}/{match[1]}/{match[1]}{match[2]}"

    def _existing(self, digest: str) -> str:
        place = self._place(digest)
        if not os.path.isdir(place):
            raise NotFound(
                f"the artifact `{digest}` is not on this machine", why=f"there is no folder `{place}`"
            )
        return place

    def _move(self, source: str, place: str) -> None:
        try:
            try:
                os.rename(source, place)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.rename(source, place)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # somebody else was first
                _remove_tree(source)
                return
            if error.errno != errno.EXDEV:
                raise
            import shutil  # here for cost: seldom needed

            copy = self._aside(place)
            try:
                shutil.copytree(source, copy, symlinks=True)
            except OSError:
                shutil.rmtree(copy, ignore_errors=True)
                raise
            self._move(copy, place)
            _remove_tree(source)
            return
        # After the move: a folder that may not be written to cannot be moved into another.
        os.chmod(place, 0o555)

    def _set_aside(self, place: str) -> str:
        os.chmod(place, 0o755)
        aside = self._aside(place)
        os.rename(place, aside)
        return aside

    def _aside(self, place: str) -> str:
        folder = f"{self._root}/aside"
        os.makedirs(folder, exist_ok=True)
        return f"{folder}/{os.path.basename(place)}-{os.urandom(4).hex()}"

    def _translated(self, error: OSError) -> Exception:
        # copytree joins the errors it met into one, of text without a number
        full = error.errno is None and f"[Errno {errno.ENOSPC}]" in str(error)
        if full or error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(
                f"no space left for artifacts in `{self.root}`",
                why="the artifact being written is left out as a whole; everything before is kept",
                mend="make room on that disk, or set `TILTH_HOME` to a folder on another",
            )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            return HomeUnwritable(
                f"artifacts cannot be written to `{self.root}`",
                why=f"{error.strerror}: `{error.filename}`",
                mend="make it a folder you may write to, or set `TILTH_HOME` to one",
            )
        return error


if TYPE_CHECKING:
    _keeps_the_promises: type[ArtifactStore] = LocalArtifactStore


def _equals(place: str, source: str) -> bool:
    """Whether the artifact at `place` is as whole as `source`, just written under the same digest.

    Files are compared byte by byte while there are few of them; manifests in what the digest stands for.
    """
    try:
        sizes = _sizes(place)
        if sizes != _sizes(source):
            return False
        files = [name for name, size in sizes.items() if size > 0]
        if sum(sizes[name] for name in files) > _READ_AGAIN:
            files = []
        return _tells_same(place, source) and all(_same_bytes(place + each, source + each) for each in files)
    except (FileNotFoundError, ValueError):
        return False


def _sizes(folder: str) -> dict[str, int]:
    """By path below the folder; of the manifest and of folders, which are only to be there, 0."""
    sizes = {}
    for path, is_file in _entries(folder):
        name = path[len(folder) :]
        sizes[name] = os.lstat(path).st_size if is_file and name != _MANIFEST else 0
    return sizes


def _tells_same(place: str, source: str) -> bool:
    ours, theirs = _read_manifest(place), _read_manifest(source)
    return all(ours.get(key) == theirs.get(key) for key in _CONTENT)


def _read_manifest(folder: str) -> dict[str, object]:
    with open(folder + _MANIFEST, "rb") as file:
        manifest = json.load(file)
    if not isinstance(manifest, dict):
        raise ValueError("a manifest is an object")
    return manifest


def _same_bytes(one: str, other: str) -> bool:
    with open(one, "rb") as first, open(other, "rb") as second:
        while block := first.read(1 << 20):
            if block != second.read(1 << 20):
                return False
    return True


def _entries(folder: str) -> Iterator[tuple[str, bool]]:
    """What is below a folder, each folder after what is in it, and whether it is a file; no links."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)
                yield entry.path, False
            elif not entry.is_symlink():
                yield entry.path, True


def _make_read_only(folder: str) -> None:
    for path, is_file in _entries(folder):
        os.chmod(path, 0o444 if is_file else 0o555)


def _remove_tree(folder: str) -> None:
    os.chmod(folder, 0o755)
    for path, is_file in _entries(folder):
        if not is_file:
            os.chmod(path, 0o755)
    import shutil  # here for cost: most runs remove nothing

    shutil.rmtree(folder)


def _flush_file_system(folder: str) -> bool:
    """Flush everything on the file system of a folder; False where that cannot be asked for."""
    import ctypes  # here for cost: for large batches only

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
    finally:
        os.close(descriptor)
    return True


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
