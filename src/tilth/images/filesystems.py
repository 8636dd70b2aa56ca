"""What is in the layers of an image, as far as it says which Python and which C library are there.

Layers are read once, as streams, and unpacked nowhere. Source of the whiteouts:
https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import posixpath
import re
import sys
import tarfile
from contextlib import contextmanager, nullcontext
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tilth.errors import ImageBroken

if TYPE_CHECKING:
    from collections.abc import Iterator

_GLIBC = re.compile(rb"GNU C Library [^\n\0]{0,200}?version (\d+\.\d+)")
_MUSL = re.compile(rb"\0(1\.\d+\.\d+)\0")
# `PY_VERSION`, which every interpreter has in it, statically linked or in its library.
_PYTHON = re.compile(rb"\0(3\.\d{1,2}\.\d{1,2}(?:(?:a|b|rc)\d+)?)\+?\0")
_ASKED = (
    (re.compile(r"python(?:3(?:\.\d+)?)?"), _PYTHON),
    (re.compile(r"libpython3\.\d+\.so.*"), _PYTHON),
    (re.compile(r"libc\.so\.6|libc-2\.\d+\.so"), _GLIBC),
    (re.compile(r"ld-musl-[a-z0-9_]+\.so\.1|libc\.musl-[a-z0-9_]+\.so\.1"), _MUSL),
)
_MINOR = re.compile(r"python(3\.\d+)")
_LIBRARIES = ("lib", "lib64", "usr/lib", "usr/lib64", "usr/local/lib", "lib/*", "usr/lib/*")
_CHUNK = 1 << 20
_OVERLAP = 256
_MOST_LINKS = 40


class Python(NamedTuple):
    """An interpreter in an image."""

    path: str  # absolute, links followed
    version: str  # `3.11.2`


class _Node(NamedTuple):
    link: str = ""  # where a symbolic link leads
    hard: str = ""  # the path of the file that a hard link is
    found: str = ""  # the version that is in a file


class Filesystem:
    """The links and the few telling files of an image, one layer after another.

    Args:
        name: What errors call the image.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: dict[str, _Node] = {}  # by path without the first `/`
        self._folders: set[str] = set()  # that something was ever in

    def add(self, layer: IO[bytes] | Pieces, media_type: str) -> None:
        """Put the next layer on top.

        Raises:
            ImageBroken: It cannot be read.
        """
        with self._explained(), opened(layer, media_type, self._name) as plain:
            with tarfile.open(fileobj=plain, mode="r|") as tar:
                fresh: set[str] = set()  # whiteouts hide what is below, never what is in the same layer
                for member in tar:
                    self._member(tar, member, fresh)
            while layer.read(_CHUNK):  # whoever gives the bytes holds them to their digest at their end
                pass

    def python(self, path_variable: str) -> Python | None:
        """What a shell would start as `python3`, else as `python`, else the newest `python3.X`."""
        folders = [each.strip("/") for each in path_variable.split(":") if each.startswith("/")]
        named = sorted(
            {
                posixpath.basename(path)
                for path in self._nodes
                if re.fullmatch(r"python3\.\d+", posixpath.basename(path))
            },
            key=lambda name: -int(name.partition(".")[2]),
        )
        for name in ("python3", "python", *named):
            for folder in folders:
                path = self.resolve(f"{folder}/{name}")
                if path is None:
                    continue
                version = self._version(path)
                if version:
                    return Python(f"/{path}", version)
        return None

    def libc(self) -> str:
        """`glibc 2.36` or `musl 1.2`; empty when there is neither."""
        found = {}
        for path, node in self._nodes.items():
            name, folder = posixpath.basename(path), posixpath.dirname(path)
            if folder not in _LIBRARIES and posixpath.dirname(folder) + "/*" not in _LIBRARIES:
                continue
            if name.startswith(("ld-musl-", "libc.musl-")) and node.found:
                found["musl"] = "musl " + ".".join(node.found.split(".")[:2])
            elif name.startswith("libc") and node.found:
                found["glibc"] = f"glibc {node.found}"
        # Debian's package `musl` puts the other beside glibc, never the reverse.
        return found.get("glibc") or found.get("musl", "")

    def resolve(self, path: str) -> str | None:
        """Where a path leads inside the image, links of folders followed too; None when nothing is known there."""
        parts, done, links = path.split("/"), "", 0
        while parts:
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = posixpath.dirname(done)
                continue
            here = f"{done}/{part}" if done else part
            node = self._nodes.get(here)
            if node is not None and node.link:
                links += 1
                if links > _MOST_LINKS:
                    return None
                if node.link.startswith("/"):
                    done = ""
                parts = [*node.link.split("/"), *parts]
                continue
            done = here
        node = self._nodes.get(done)
        if node is not None and node.hard:
            return self._preferred(done, node.hard)
        return done if node is not None else None

    def _preferred(self, path: str, hard: str) -> str:
        """Of the names of one file, the one that says most: `python3.11`."""
        return hard if _MINOR.fullmatch(posixpath.basename(hard)) else path

    def _version(self, path: str) -> str:
        node = self._nodes.get(path)
        if node is None:
            return ""
        if node.hard:
            node = self._nodes.get(node.hard, node)
        if node.found:
            return node.found
        named = _MINOR.fullmatch(posixpath.basename(path))
        beside = posixpath.join(posixpath.dirname(posixpath.dirname(path)), "lib")
        libraries = sorted(
            (not each.startswith(beside), each)
            for each, other in self._nodes.items()
            if posixpath.basename(each).startswith(f"libpython{named[1] if named else '3.'}") and other.found
        )
        return self._nodes[libraries[0][1]].found if libraries else ""

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not isinstance(error, _unreadable()):
                raise
            raise ImageBroken(
                f"a layer of the base image `{self._name}` cannot be read",
                why=str(error) or type(error).__name__,
                mend="its bytes are broken where it is: push or write it there again",
            ) from error

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo, fresh: set[str]) -> None:
        path = posixpath.normpath("/" + member.name).lstrip("/")
        folder, name = posixpath.split(path)
        if name == ".wh..wh..opq":
            self._hide(folder, fresh, itself=False)
        elif name.startswith(".wh."):
            self._hide(posixpath.join(folder, name[4:]), fresh, itself=True)
        elif member.isdir():
            node = self._nodes.get(path)
            if node is not None:  # a link or file of a lower layer; a folder takes its place
                del self._nodes[path]
        else:
            self._hide(path, fresh, itself=True)
            fresh.add(path)
            if member.issym():
                self._keep(path, _Node(link=member.linkname))
            elif member.islnk():
                self._keep(path, _Node(hard=posixpath.normpath("/" + member.linkname).lstrip("/")))
            elif member.isreg():
                wanted = next((what for names, what in _ASKED if names.fullmatch(name)), None)
                if wanted is not None:
                    file = tar.extractfile(member)
                    assert file is not None
                    self._keep(path, _Node(found=_search(file, wanted)))

    def _hide(self, path: str, fresh: set[str], *, itself: bool) -> None:
        if itself and path not in fresh:
            self._nodes.pop(path, None)
        if path and path not in self._folders:
            return
        below = f"{path}/" if path else ""
        for each in [each for each in self._nodes if each.startswith(below) and each not in fresh]:
            del self._nodes[each]

    def _keep(self, path: str, node: _Node) -> None:
        self._nodes[path] = node
        folder = posixpath.dirname(path)
        while folder and folder not in self._folders:
            self._folders.add(folder)
            folder = posixpath.dirname(folder)


class Pieces:
    """Bytes that come, as a file to read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """As a file's, of fewer bytes only at the end."""
        taken = bytearray()
        while size < 0 or len(taken) < size:
            if not self._left:
                try:
                    self._left = memoryview(next(self._pieces))
                except StopIteration:
                    break
                continue
            part = self._left if size < 0 else self._left[: size - len(taken)]
            taken += part
            self._left = self._left[len(part) :]
        return bytes(taken)

    def readinto(self, buffer: memoryview) -> int:
        """As a file's."""
        taken = self.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        """End the download."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Pieces:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opened(layer: Any, media_type: str, name: str) -> Any:
    """The tar of a layer, to be read once."""
    if media_type.endswith("gzip"):
        from zlib_ng import (
            gzip_ng,
        )  # half the time of the standard library's, which is most of a first build's

        return gzip_ng.GzipNGFile(fileobj=layer)  # type: ignore[no-untyped-call]
    if media_type.endswith("zstd"):
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(layer, read_across_frames=True)
    if media_type.endswith("tar"):
        return nullcontext(layer)
    raise ImageBroken(
        f"the base image `{name}` has a layer of the type `{media_type}`",
        why="tars are read, plain or compressed by gzip or zstd",
    )


def _unreadable() -> tuple[type[Exception], ...]:
    """What bytes raise that are no tar, or not packed as they should be."""
    from zlib_ng import zlib_ng

    kinds: tuple[type[Exception], ...] = (tarfile.TarError, OSError, EOFError, ValueError, zlib_ng.error)  # type: ignore[assignment]
    zstandard = sys.modules.get("zstandard")  # which derives its error from none of them
    return (*kinds, zstandard.ZstdError) if zstandard else kinds


def _search(file: IO[bytes], wanted: re.Pattern[bytes]) -> str:
    before = b""
    while chunk := file.read(_CHUNK):
        found = wanted.search(before + chunk)
        if found:
            return found[1].decode()
        before = chunk[-_OVERLAP:]
    return ""
