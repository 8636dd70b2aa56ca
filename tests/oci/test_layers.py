"""Layers read back by other tools, and the same bytes whoever writes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import given, settings, strategies as st
from zlib_ng import zlib_ng

from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import LAYER, LAYER_GZIP, LAYER_ZSTD
from tilth.oci.layers import CHUNK, EPOCH, File, Folder, Layer, Link, _header, method, write_layer

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG = "opt/env/" + "long-folder-name/" * 12 + "x" * 200


def file(path: str, content: bytes = b"", **options: Any) -> File:
    return File(path=path, size=len(content), open=lambda: io.BytesIO(content), **options)


def some_entries() -> list[File | Link | Folder]:
    return [
        Folder(path="opt/env"),
        Folder(path="opt/env/bin"),
        file("opt/env/bin/run", b"#!/bin/sh\n", executable=True),
        file("opt/env/data.txt", b"hello"),
        Link(path="opt/env/data-again.txt", target="data.txt"),
        Link(path="opt/env/data.txt.hard", target="opt/env/data.txt", hard=True),
        file(LONG, b"long"),
        Link(path="opt/env/to-long", target="/" + LONG),
        file("opt/env/größe-名前.txt", b"not ASCII"),
        file("opt/env/" + os.fsdecode(b"latin-\xe9"), b"not UTF-8"),
        file("opt/env/large.bin", bytes(range(256)) * 20_000),
        file("opt/env/empty"),
    ]


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "images")


def plain(blobs: BlobStore, layer: Layer) -> bytes:
    content = blobs.read(layer.descriptor.digest)
    if layer.descriptor.media_type == LAYER_GZIP:
        return gzip.decompress(content)
    if layer.descriptor.media_type == LAYER_ZSTD:
        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    return content


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_layer_is_read_back_as_it_was_written(blobs: BlobStore, compression: Any) -> None:
    layer = write_layer(some_entries(), blobs, compression)
    tar = plain(blobs, layer)
    assert layer.diff_id == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert layer.descriptor.size == blobs.size(layer.descriptor.digest)
    assert blobs.verify(layer.descriptor.digest)
    assert layer.descriptor.media_type == {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD, "none": LAYER}[compression]
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        members = {member.name: member for member in archive}
        assert list(members) == sorted(members, key=os.fsencode)
        assert set(members) == {each.path for each in some_entries()}
        assert {(each.uid, each.gid, each.mtime) for each in members.values()} == {(0, 0, EPOCH)}
        assert members["opt/env/bin/run"].mode == 0o755
        assert members["opt/env/data.txt"].mode == 0o644
        assert members["opt/env/bin"].isdir()
        assert members["opt/env/data-again.txt"].linkname == "data.txt"
        assert members["opt/env/data-again.txt"].issym()
        assert members["opt/env/data.txt.hard"].islnk()
        assert members["opt/env/to-long"].linkname == "/" + LONG
        large = archive.extractfile("opt/env/large.bin")
        assert large is not None
        assert large.read() == bytes(range(256)) * 20_000


def test_other_tars_read_it(blobs: BlobStore, tmp_path: Path) -> None:
    layer = write_layer(some_entries(), blobs)
    target = tmp_path / "root"
    target.mkdir()
    blob = blobs.path(layer.descriptor.digest)
    subprocess.run(["tar", "-xzf", blob, "-C", target, "--no-same-owner"], check=True)
    assert (target / LONG).read_bytes() == b"long"
    assert (target / "opt/env/größe-名前.txt").read_bytes() == b"not ASCII"
    assert Path(os.fsdecode(os.fsencode(target) + b"/opt/env/latin-\xe9")).read_bytes() == b"not UTF-8"
    assert (target / "opt/env/data.txt").samefile(target / "opt/env/data.txt.hard")
    assert os.access(target / "opt/env/bin/run", os.X_OK)


def test_pax_headers_are_only_where_needed(blobs: BlobStore) -> None:
    path = "opt/env/lib/python3.11/site-packages/" + "package/" * 12 + "module.py"
    assert len(path) > 100  # what fits with a prefix
    layer = write_layer([file(path, b"x")], blobs, "none")
    assert b"PaxHeader" not in plain(blobs, layer)


# Golden: if it changes, every image does. Raise `FORMAT` with it.
GOLDEN_DIFF = "sha256:1cf00726d1ea88c49d3c938a2eaab157791ad1aadb202e3b4d51b7e0f9608163"
GOLDEN = {
    "gzip": "sha256:d09791ea26dfd82ddf93dec570cb7fcf2585ce9a6d6cd0d4e66e3b55289a317e",
    "zstd": "sha256:065b013464d9160d416c798da5ce640dc0143c91394db01f1741c2af8fa4ad0c",
}


def test_the_plain_bytes_are_those_of_every_machine(blobs: BlobStore) -> None:
    assert write_layer(some_entries(), blobs, "none").diff_id == GOLDEN_DIFF


@pytest.mark.parametrize(
    ("compression", "version"), [("gzip", "zlib-ng 2.3.3 1 1048576"), ("zstd", "zstd 1.5.7 3")]
)
def test_the_compressed_bytes_are_those_of_every_machine(
    blobs: BlobStore, compression: Any, version: str
) -> None:
    if method(compression) != version:
        pytest.skip(f"the library is {method(compression)}")
    assert write_layer(some_entries(), blobs, compression).descriptor.digest == GOLDEN[compression]


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_other_pythons_write_the_same_headers(version: str, blobs: BlobStore) -> None:
    from tilth.environments.interpreters import find_interpreter, probe
    from tilth.errors import SetupError
    from tilth.home import Home

    home = Home(blobs.root)
    try:
        other = find_interpreter(version, probe(Path(sys.executable), home), home).base
    except SetupError:
        pytest.skip(f"there is no Python {version}")
    script = """
import sys, tarfile
for name, target in [("a/b", ""), ("x" * 300, ""), ("größe", ""), ("link", "y" * 200)]:
    for form, *how in [(tarfile.USTAR_FORMAT, "ascii", "strict"), (tarfile.PAX_FORMAT, "utf-8", "surrogateescape")]:
        member = tarfile.TarInfo(name)
        member.mtime, member.size, member.linkname = 946684800, 9 << 30, target
        member.type = tarfile.SYMTYPE if target else tarfile.REGTYPE
        try:
            sys.stdout.buffer.write(member.tobuf(form, *how))
        except ValueError:
            print("refused", flush=True)
"""
    outputs = [
        subprocess.run([python, "-c", script], stdout=subprocess.PIPE, check=True).stdout
        for python in (sys.executable, other)
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 2048


def test_the_order_of_entries_and_the_number_of_threads_do_not_matter(tmp_path: Path) -> None:
    entries = some_entries()
    alone = write_layer(entries, BlobStore(tmp_path / "a"))
    with ThreadPoolExecutor(4) as threads:
        together = write_layer(entries[::-1], BlobStore(tmp_path / "b"), threads=threads)
    assert alone == together


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120)
        .filter(lambda name: name not in (".", ".."))
        .map(lambda name: f"opt/{name}"),
        st.one_of(st.binary(max_size=2000), st.integers(CHUNK - 600, CHUNK + 600).map(lambda n: b"ab" * n)),
        max_size=6,
    )
)
def test_any_files_come_back(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    blobs = BlobStore(tmp_path_factory.mktemp("images"))
    layer = write_layer([file(path, content) for path, content in files.items()], blobs)
    with tarfile.open(fileobj=io.BytesIO(plain(blobs, layer))) as archive:
        found = {}
        for member in archive:
            opened = archive.extractfile(member)
            assert opened is not None
            found[member.name] = opened.read()
    assert found == files


def test_the_gzip_stream_is_one_member(blobs: BlobStore) -> None:
    layer = write_layer(some_entries(), blobs)
    inflater = zlib.decompressobj(31)
    inflater.decompress(blobs.read(layer.descriptor.digest))
    assert inflater.eof
    assert not inflater.unused_data


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", "", "a//b", "./a"])
def test_a_path_that_leads_outside_is_refused(blobs: BlobStore, path: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        write_layer([file(path)], blobs)


def test_a_path_that_is_there_twice_is_refused(blobs: BlobStore) -> None:
    with pytest.raises(ValueError, match="twice"):
        write_layer([file("a"), file("a")], blobs)


@pytest.mark.parametrize("length", [3, 5])
def test_a_file_that_changes_its_length_leaves_no_layer(blobs: BlobStore, length: int) -> None:
    torn = File(path="a", size=4, open=lambda: io.BytesIO(b"x" * length))
    with pytest.raises(ValueError, match="4 bytes"):
        write_layer([torn], blobs)
    assert not list((blobs.root / "blobs/sha256").iterdir())


class Zeros(io.RawIOBase):
    """A large file that is on no disk."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        return count


def measure(entries: Iterable[File]) -> int:
    """Peak of Python's own memory while a layer is written."""
    import tracemalloc

    tracemalloc.start()
    try:
        write_layer(entries, BlobStore(Path(os.environ["SCRATCH"])))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_file_is_never_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))

    def opened() -> IO[bytes]:
        return io.BufferedReader(Zeros(200 << 20))

    assert measure([File(path="large", size=200 << 20, open=opened)]) < 20 << 20


def test_a_file_beyond_eight_gigabytes_has_a_header_that_says_so() -> None:
    header = _header(File(path="huge", size=9 << 30, open=io.BytesIO))
    assert tarfile.TarInfo.frombuf(header[:512], "utf-8", "strict").type == tarfile.XHDTYPE
    assert b"size=9663676416" in header


@given(
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=105),
    st.integers(0, 10 << 30),
    st.booleans(),
)
def test_headers_are_those_of_the_standard_library(path: str, size: int, executable: bool) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode, member.mtime = size, 0o755 if executable else 0o644, EPOCH
    try:
        expected = member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError:
        expected = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    assert _header(File(path=path, size=size, open=io.BytesIO, executable=executable)) == expected


def test_the_library_that_compresses_is_the_one_that_was_chosen() -> None:
    assert method("gzip").startswith(f"zlib-ng {zlib_ng.ZLIBNG_VERSION}")
    assert method("none") == "none"
