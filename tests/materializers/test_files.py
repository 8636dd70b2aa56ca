"""Files written and digested at once, listed and verified."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from tilth.materializers import files
from tilth.materializers.files import escape, list_files, open_hashed, problems, unescape

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("sizes", [[], [0], [1, 5, 3], [3 << 20], [10, 2 << 20, 7], [600_000] * 5])
def test_the_digest_is_that_of_what_was_written(tmp_path: Path, sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]
    with open_hashed(tmp_path / "a") as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
        assert file.tell() == sum(sizes)
    content = b"".join(pieces)
    assert (tmp_path / "a").read_bytes() == content
    listed, _ = list_files(tmp_path)
    assert listed == {"a": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}}


def test_a_buffer_may_be_changed_once_it_was_written(tmp_path: Path) -> None:
    buffer = bytearray(b"a" * (2 << 20))
    with open_hashed(tmp_path / "a") as file:
        file.write(buffer)
        buffer[:] = b"b" * len(buffer)
    listed, _ = list_files(tmp_path)
    assert listed["a"]["sha256"] == hashlib.sha256(b"a" * len(buffer)).hexdigest()


def test_a_file_changed_after_it_was_written_is_digested_again(tmp_path: Path) -> None:
    with open_hashed(tmp_path / "a") as file:
        file.write(b"one")
    (tmp_path / "a").write_bytes(b"three")
    listed, _ = list_files(tmp_path)
    assert listed["a"] == {"sha256": hashlib.sha256(b"three").hexdigest(), "size": 5}


def test_a_file_is_not_read_again_to_be_listed(tmp_path: Path) -> None:
    with open_hashed(tmp_path / "a") as file:
        file.write(b"one")
    (tmp_path / "a").chmod(0)
    known = files._digests[str(tmp_path / "a")]
    listed, _ = list_files(tmp_path)
    assert listed["a"]["sha256"] == known[0]
    assert str(tmp_path / "a") not in files._digests


def test_a_write_that_fails_leaves_no_digest(tmp_path: Path) -> None:
    with pytest.raises(TypeError), open_hashed(tmp_path / "a") as file:
        file.write("text")
    assert str(tmp_path / "a") not in files._digests


def test_missing_added_and_changed_files_are_named(tmp_path: Path) -> None:
    for name in ("same", "changed", "shorter", "missing"):
        (tmp_path / name).write_text("text")
    (tmp_path / "empty").mkdir()
    listed, empty = list_files(tmp_path)
    assert problems(tmp_path, listed, empty) == []
    (tmp_path / "changed").write_text("TEXT")
    (tmp_path / "shorter").write_text("t")
    (tmp_path / "missing").unlink()
    (tmp_path / "added").write_text("")
    assert sorted(problems(tmp_path, listed, empty)) == [
        "`added` was added",
        "`changed` has other content than was written",
        "`missing` is missing",
        "`shorter` has 1 bytes instead of 4",
    ]


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_file_name_survives_as_text_that_utf8_can_hold(raw: bytes) -> None:
    name = os.fsdecode(raw)
    escaped = escape(name)
    escaped.encode("utf-8")
    assert unescape(escaped) == name


def test_different_names_never_become_one() -> None:
    assert escape("a%FF") != escape(os.fsdecode(b"a\xff"))
