"""Pack files into layers that are the same bytes on every machine. Knows nothing of wheels and registries.

A layer is a tar of paths in order, owned by root and dated `EPOCH`, with headers as POSIX has them (`ustar`, and
`pax` for what does not fit). It is digested twice in the one pass that writes it: plain, and compressed.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from tilth.oci.descriptors import LAYER, LAYER_GZIP, LAYER_ZSTD, Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor, Future

    from tilth.oci.blobs import BlobStore, Writing

Compression = Literal["gzip", "zstd", "none"]

# 2000-01-01: what is older than 1980 cannot be put into a zip, which some libraries do with what is installed.
EPOCH = 946_684_800
FORMAT = "1"  # raised when the bytes of a layer change though its files do not
CHUNK = 1 << 20  # bytes that are compressed by themselves: any number of threads gives the same
MEDIA_TYPES = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD, "none": LAYER}

_BLOCK = 512
_NAME = 100  # bytes of a name in a header
_SIZE = 0o77777777777  # bytes of a file that a header can tell
_RECORD = 10_240  # a tar's length is a multiple of this
_GZIP_HEADER = bytes.fromhex("1f8b080000000000 04ff")  # no name, no time, fastest, no system
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 3
_AHEAD = 4  # chunks of one layer that are being compressed, or wait for it


class Readable(Protocol):
    """What a file's bytes are read from."""

    def read(self, size: int, /) -> bytes | None: ...
    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def close(self) -> object: ...


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A regular file. `open` gives its bytes from the start, `size` of them."""

    path: str  # relative to the root of the image, with `/`
    size: int
    open: Callable[[], Readable]
    executable: bool = False


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A symbolic link, or another name of a file in the same layer."""

    path: str
    target: str  # of a hard link the path of the file
    hard: bool = False


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder. Those that lead to a file have to be named only where their modes shall be known."""

    path: str


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that was written."""

    descriptor: Descriptor
    diff_id: str  # digest of the plain tar, which the image's config names


def method(compression: Compression) -> str:
    """What decides over the compressed bytes, beside the plain ones: library, version, level, size of chunks.

    Each of these libraries gives the same bytes on every processor, see the decision 0011 in the docs.
    """
    if compression == "none":
        return "none"
    if compression == "zstd":
        import zstandard  # here for cost, as below: most commands write no layer

        return f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} {_ZSTD_LEVEL}"
    from zlib_ng import zlib_ng

    return f"zlib-ng {zlib_ng.ZLIBNG_VERSION} {_GZIP_LEVEL} {CHUNK}"


def write_layer(
    entries: Iterable[File | Link | Folder],
    blobs: BlobStore,
    compression: Compression = "gzip",
    *,
    threads: Executor | None = None,
) -> Layer:
    """Write a layer into a store of blobs.

    Args:
        entries: In any order; no path twice. A hard link comes after its file in the order of paths.
        threads: What compresses; by default the calling thread.
    Raises:
        ValueError: A path leads outside, or is there twice; or a file is longer or shorter than was said.
    """
    ordered = sorted(entries, key=lambda each: os.fsencode(each.path))
    _check(ordered)
    plain = hashlib.sha256()
    with blobs.writing() as blob:
        packed = _packer(compression, blob, threads)

        def take(chunk: bytearray) -> None:
            plain.update(chunk)
            packed.put(chunk)

        chunks = _Chunks(take)
        for entry in ordered:
            _put_entry(entry, chunks)
        chunks.put(b"\0" * (2 * _BLOCK + -(chunks.size + 2 * _BLOCK) % _RECORD))
        chunks.finish()
        packed.finish()
    descriptor = Descriptor(media_type=MEDIA_TYPES[compression], digest=blob.digest, size=blob.size)
    return Layer(descriptor=descriptor, diff_id=f"sha256:{plain.hexdigest()}")


def _check(ordered: list[File | Link | Folder]) -> None:
    before = None
    for entry in ordered:
        if not entry.path or any(part in ("", ".", "..") for part in entry.path.split("/")):
            raise ValueError(f"`{entry.path}` is no path in an image")
        if entry.path == before:
            raise ValueError(f"`{entry.path}` is in a layer twice")
        before = entry.path


class _Chunks:
    """Bytes on their way, handed on in chunks of one size. What is read goes straight into them."""

    def __init__(self, take: Callable[[bytearray], None]) -> None:
        self.size = 0  # of all there was
        self._take = take
        self._chunk = bytearray(CHUNK)
        self._used = 0

    def put(self, data: bytes) -> None:
        """Add bytes."""
        source = memoryview(data)
        while source:
            room = self.room(len(source))
            count = len(room)
            room[:] = source[:count]
            source = source[count:]
            self.add(count)

    def room(self, wanted: int) -> memoryview:
        """Where the next bytes go, at most as many as wanted."""
        return memoryview(self._chunk)[self._used : self._used + wanted]

    def add(self, count: int) -> None:
        """Say that so many were written to `room`."""
        self.size += count
        self._used += count
        if self._used == CHUNK:
            self._take(self._chunk)
            self._chunk = bytearray(CHUNK)  # a new one: the old is still being compressed
            self._used = 0

    def finish(self) -> None:
        """Hand on what is left."""
        if self._used:
            self._take(self._chunk[: self._used])


def _put_entry(entry: File | Link | Folder, chunks: _Chunks) -> None:
    """Write one entry, in whole blocks."""
    chunks.put(_header(entry))
    if not isinstance(entry, File):
        return
    left = entry.size
    with closing(entry.open()) as file:
        while left:
            count = file.readinto(chunks.room(left))
            if not count:
                break
            left -= count
            chunks.add(count)
        if left or file.read(1):
            raise ValueError(f"`{entry.path}` has not the {entry.size} bytes it should have")
    chunks.put(b"\0" * (-entry.size % _BLOCK))


def _header(entry: File | Link | Folder) -> bytes:
    kind, mode, size, target = tarfile.REGTYPE, 0o644, 0, ""
    if isinstance(entry, Folder):
        kind, mode = tarfile.DIRTYPE, 0o755
    elif isinstance(entry, Link):
        kind, mode = (tarfile.LNKTYPE, 0o644) if entry.hard else (tarfile.SYMTYPE, 0o777)
        target = entry.target
    else:
        mode, size = 0o755 if entry.executable else 0o644, entry.size
    if kind == tarfile.REGTYPE and len(entry.path) <= _NAME and entry.path.isascii() and size <= _SIZE:
        return _plain_header(entry.path.encode(), mode, size)
    member = tarfile.TarInfo(entry.path)
    member.type, member.mode, member.size, member.linkname, member.mtime = kind, mode, size, target, EPOCH
    try:
        return member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError:  # too long, too large, or not in ASCII
        return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _plain_header(path: bytes, mode: int, size: int) -> bytes:
    """What `tarfile` gives for a file, in a tenth of its time: most of what a layer consists of are small files."""
    start = b"%-100b%07o\0%07o\0%07o\0%011o\0%011o\0" % (path.ljust(_NAME, b"\0"), mode, 0, 0, size, EPOCH)
    end = b"0" + b"\0" * 100 + b"ustar\0" + b"00" + b"\0" * 247
    return b"%b%06o\0 %b" % (start, sum(start) + sum(end) + 8 * ord(" "), end)


class _Packer(Protocol):
    def put(self, chunk: bytearray) -> None: ...
    def finish(self) -> None: ...


def _packer(compression: Compression, blob: Writing, threads: Executor | None) -> _Packer:
    if compression == "gzip":
        return _Gzip(blob, threads)
    return _Zstd(blob) if compression == "zstd" else _Plain(blob)


class _Plain:
    def __init__(self, blob: Writing) -> None:
        self._blob = blob

    def put(self, chunk: bytearray) -> None:
        self._blob.write(memoryview(chunk))

    def finish(self) -> None:
        pass


class _Gzip:
    """One gzip member of chunks that know nothing of each other, as `pigz --independent` writes it."""

    def __init__(self, blob: Writing, threads: Executor | None) -> None:
        from zlib_ng import zlib_ng

        self._crc = zlib_ng.crc32
        self._blob = blob
        self._threads = threads
        self._waiting: deque[Future[bytes]] = deque()
        self._sum = 0
        self._size = 0
        blob.write(_GZIP_HEADER)

    def put(self, chunk: bytearray) -> None:
        self._sum = self._crc(chunk, self._sum)
        self._size += len(chunk)
        if self._threads is None:
            self._blob.write(_deflate(chunk))
            return
        self._waiting.append(self._threads.submit(_deflate, chunk))
        if len(self._waiting) > _AHEAD:
            self._blob.write(self._waiting.popleft().result())

    def finish(self) -> None:
        while self._waiting:
            self._blob.write(self._waiting.popleft().result())
        end = b"\x03\x00"  # an empty last block
        trailer = self._sum.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        self._blob.write(end + trailer)


def _deflate(chunk: bytearray) -> bytes:
    from zlib_ng import zlib_ng

    # Without a header: the library's names the operating system.
    compressor = zlib_ng.compressobj(_GZIP_LEVEL, zlib_ng.DEFLATED, -15)
    return compressor.compress(chunk) + compressor.flush(zlib_ng.Z_SYNC_FLUSH)


class _Zstd:
    """One frame, by one thread: with more, the library cuts it elsewhere."""

    def __init__(self, blob: Writing) -> None:
        import zstandard

        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
        self._blob = blob

    def put(self, chunk: bytearray) -> None:
        self._blob.write(self._compressor.compress(chunk))

    def finish(self) -> None:
        self._blob.write(self._compressor.flush())
