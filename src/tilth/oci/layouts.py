"""OCI layouts: images in a folder, or in a tar of one, that every tool of the field reads.

Source: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import shutil
import tarfile
from typing import IO, TYPE_CHECKING

import msgspec

from tilth.errors import DiskFull, ImageBroken, ImageNotFound, SetupError
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import DIGEST, Descriptor, Index, Manifest, digest_of, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

NAME = "org.opencontainers.image.ref.name"
_MARK = "oci-layout"
_INDEX = "index.json"
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_LARGEST_DOCUMENT = 8 << 20  # bytes


class Layout:
    """A layout in a folder, or a tar of one to be read. Nothing is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] | None = None  # offset and size in the tar, by name

    @property
    def is_tar(self) -> bool:
        """Whether it is a tar: read only."""
        return self.path.is_file()

    @property
    def blobs(self) -> BlobStore:
        """The blobs of a layout in a folder."""
        return BlobStore(self.path)

    def index(self) -> Index:
        """What it holds.

        Raises:
            ImageNotFound: There is no layout.
            ImageBroken: There is something else.
        """
        if not self.path.exists():
            raise ImageNotFound(f"there is no OCI layout `{self.path}`", mend="check the path")
        try:
            mark, index = self._document(_MARK), self._document(_INDEX)
        except KeyError as error:
            raise ImageBroken(
                f"`{self.path}` is not an OCI layout",
                why=f"there is no `{error.args[0]}` in it",
                mend="`skopeo copy … oci:PATH` and `docker buildx build --output type=oci` make one",
            ) from None
        try:
            if msgspec.json.decode(mark, type=_Mark).version.partition(".")[0] != "1":
                raise msgspec.ValidationError("its version is not 1")
            return msgspec.json.decode(index, type=Index)
        except msgspec.DecodeError as error:
            raise ImageBroken(f"the OCI layout `{self.path}` cannot be read", why=str(error)) from None

    def manifests(self) -> tuple[Descriptor, ...]:
        """Of all images in it; the annotation `NAME` of each is what it is called."""
        return self.index().manifests

    def find(self, name: str = "") -> Descriptor:
        """The image of a name, or the only one.

        Raises:
            ImageNotFound: None is called so, or which one is meant is not clear.
        """
        found = self.manifests()
        named = [each for each in found if not name or name in (each.annotations.get(NAME), each.digest)]
        if len(named) == 1:
            return named[0]
        names = sorted(each.annotations.get(NAME) or each.digest for each in found)
        what = f"no image `{name}`" if name else f"{len(found)} images"
        raise ImageNotFound(
            f"there {'is' if name else 'are'} {what} in the OCI layout `{self.path}`",
            why=f"it holds: {', '.join(f'`{each}`' for each in names)}" if names else "it is empty",
            mend=f"name one: `oci:{self.path}:{names[0]}`" if names else "",
        )

    def read(self, digest: str) -> bytes:
        """A small blob, held to its digest.

        Raises:
            ImageNotFound: It is not there.
            ImageBroken: The bytes are others.
        """
        with self.open(digest) as file:
            content = file.read(_LARGEST_DOCUMENT + 1)
        if len(content) > _LARGEST_DOCUMENT or digest_of(content) != digest:
            raise self._other_bytes(digest)
        return content

    def open(self, digest: str) -> IO[bytes]:
        """A blob to be read from its start; its bytes are as they are.

        Raises:
            ImageNotFound: It is not there.
        """
        name = _blob(digest)
        try:
            if not self.is_tar:
                return open(self.path / name, "rb")
            offset, size = self._in_tar()[name]
        except (KeyError, FileNotFoundError):
            raise ImageNotFound(
                f"blob `{digest}` is not in the OCI layout `{self.path}`",
                mend="make the layout again; one that was made without the layers of its base lacks them",
            ) from None
        return _Part(self.path, offset, size)  # type: ignore[return-value] # what readers of a file need

    def fetch(self, descriptor: Descriptor, into: BlobStore) -> int:
        """Bring a blob into a store, whole or not at all; gives the bytes that were read."""
        if into.has(descriptor.digest):
            return 0
        with into.writing() as blob, self.open(descriptor.digest) as file:
            shutil.copyfileobj(file, blob, 1 << 20)
            if blob.digest != descriptor.digest:
                raise self._other_bytes(descriptor.digest)
        return descriptor.size

    def add(self, manifest: Descriptor, name: str = "") -> None:
        """Put an image into the index, when its blobs are there. A name that another image had is its from now on."""
        self.make()
        annotations = {**manifest.annotations, **({NAME: name} if name else {})}
        named = msgspec.structs.replace(manifest, annotations=annotations)
        with self._alone():
            before = self.manifests() if (self.path / _INDEX).exists() else ()
            others = tuple(
                each
                for each in before
                if each.annotations.get(NAME, "") != name or (not name and each.digest != manifest.digest)
            )
            self._write(_INDEX, encode(Index(manifests=(*others, named))))

    def put(self, digest: str, source: BlobStore) -> int:
        """Bring a blob of this machine in, linked where that works; gives the bytes that were not there."""
        place = self.path / _blob(digest)
        if place.exists():
            return 0
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{os.getpid()}-{os.urandom(6).hex()}")
        try:
            with _explained(self.path):
                try:
                    os.link(source.path(digest), aside)
                except OSError:  # another file system
                    shutil.copyfile(source.path(digest), aside)
                aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)
        return place.stat().st_size

    def make(self) -> None:
        """Begin a layout in a folder, where there is none yet.

        Raises:
            SetupError: The folder is none, or has an `index.json` of something else.
        """
        if self.is_tar:
            raise SetupError(
                f"`{self.path}` is a file, and no folder for an OCI layout", mend="name another path"
            )
        if (self.path / _MARK).exists():
            return
        if (self.path / _INDEX).exists():
            raise SetupError(
                f"`{self.path}` is the folder of something else than an OCI layout",
                why=f"there is an `{_INDEX}` in it that would be lost, and no `{_MARK}`",
                mend="name another folder, or one that is not there yet",
            )
        with _explained(self.path):
            (self.path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        self._write(_MARK, _VERSION)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the index meanwhile, in this process or another."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, name: str, content: bytes) -> None:
        aside = self.path / f".{os.getpid()}-{os.urandom(6).hex()}"
        try:
            with _explained(self.path):
                aside.write_bytes(content)
                aside.replace(self.path / name)
        finally:
            aside.unlink(missing_ok=True)

    def _document(self, name: str) -> bytes:
        if not self.is_tar:
            try:
                return (self.path / name).read_bytes()
            except (FileNotFoundError, IsADirectoryError):
                raise KeyError(name) from None
        offset, size = self._in_tar()[name]
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(min(size, _LARGEST_DOCUMENT))

    def _in_tar(self) -> dict[str, tuple[int, int]]:
        """Where each file lies. Nothing is ever unpacked, so what paths and links say can lead nowhere."""
        if self._places is None:
            try:
                with tarfile.open(self.path, "r:") as tar:
                    self._places = {
                        member.name.removeprefix("./"): (member.offset_data, member.size)
                        for member in tar
                        if member.isreg()
                    }
            except tarfile.TarError as error:
                raise ImageBroken(
                    f"`{self.path}` is not an OCI layout",
                    why=f"it cannot be read as a tar without compression: {error}",
                    mend="unpack it first if it is compressed",
                ) from None
        return self._places

    def _other_bytes(self, digest: str) -> ImageBroken:
        return ImageBroken(
            f"blob `{digest}` in the OCI layout `{self.path}` has other bytes than its digest says",
            mend="make the layout again",
        )


def write_tar(layout: Layout, path: Path) -> None:
    """Pack a layout of a folder into one file, equal for equal content; whole or not at all."""
    names = [_MARK, _INDEX]
    names += sorted(
        f"blobs/sha256/{each.name}"
        for each in (layout.path / "blobs" / "sha256").iterdir()
        if DIGEST.fullmatch(f"sha256:{each.name}")
    )
    write_files(path, ((name, layout.path / name) for name in names))


def write_files(path: Path, files: Iterable[tuple[str, Path | bytes]]) -> None:
    """A tar of files by name, in the order given, with nothing of this machine in it; whole or not at all."""
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with _explained(path), tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in files:
                member = tarfile.TarInfo(name)
                member.mode = 0o644
                if isinstance(content, bytes):
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                else:
                    member.size = content.stat().st_size
                    with open(content, "rb") as file:
                        tar.addfile(member, file)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def docker_archive(
    path: Path,
    manifest: bytes,
    blobs: Callable[[str], Path],
    *,
    names: Iterable[str] = (),
    leave_out: Iterable[str] = (),
) -> int:
    """Write what `docker load` and `podman load` read; gives the bytes of the layers in it.

    Args:
        path: The file to write.
        blobs: The file of a blob by digest; not asked for the layers left out.
        names: What the image is to be called, as `REPOSITORY:TAG`.
        leave_out: Digests of layers that the engine has: it does not open their files when it has the whole
            chain up to them, and says that there is no such file when it does not.

    Source: https://github.com/moby/docker-image-spec/blob/main/spec.md
    """
    image = msgspec.json.decode(manifest, type=Manifest)
    without = set(leave_out)
    layers = [(layer, _blob(layer.digest)) for layer in image.layers]
    listing = [
        {
            "Config": _blob(image.config.digest),
            "Layers": [name for _, name in layers],
            "RepoTags": list(names) or None,
        }
    ]
    inside = {name: layer for layer, name in layers if layer.digest not in without}
    write_files(
        path,
        [
            ("manifest.json", msgspec.json.encode(listing)),
            (_blob(image.config.digest), blobs(image.config.digest)),
            *((name, blobs(layer.digest)) for name, layer in inside.items()),
        ],
    )
    return sum(layer.size for layer in inside.values())


class _Mark(msgspec.Struct):
    version: str = msgspec.field(name="imageLayoutVersion")


class _Part:
    """A part of a file, as a file."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
        self._begins, self._size, self._at = offset, size, 0
        self._file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        content = self._file.read(left if size < 0 else min(size, left))
        self._at += len(content)
        return content

    def readinto(self, buffer: memoryview) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int) -> int:
        self._at = min(offset, self._size)
        self._file.seek(self._begins + self._at)
        return self._at

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _blob(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ImageBroken(f"`{digest}` is not the digest of a blob")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no space left for `{path}`",
                why=(error.strerror or str(error)).lower(),
                mend="make room on that disk, or name another path",
            ) from error
        raise SetupError(
            f"`{path}` cannot be written",
            why=(error.strerror or str(error)).lower(),
            mend="name a folder that you may write to",
        ) from error
