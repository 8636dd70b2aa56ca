"""Frames between a builder and whoever ordered."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given, strategies as st

from tilth.image_builders.frames import ANSWER, DATA, LINE, MAGIC, Teller, frames

KINDS = st.sampled_from([LINE, ANSWER, DATA])


def written(told: list[tuple[bytes, bytes]]) -> bytes:
    reading, writing = os.pipe()
    with open(reading, "rb") as stream:
        with open(writing, "wb"):
            teller = Teller(writing)
            for kind, content in told:
                teller.tell(kind, content)
        return stream.read()


@given(st.lists(st.tuples(KINDS, st.binary(max_size=200)), max_size=9), st.binary(max_size=100))
def test_what_is_told_is_heard_behind_whatever_a_shell_prints(
    told: list[tuple[bytes, bytes]], noise: bytes
) -> None:
    stream = io.BytesIO(noise.replace(MAGIC, b"") + MAGIC + written(told))
    assert list(frames(stream)) == told


@given(st.binary(min_size=1, max_size=50), st.integers(min_value=1))
def test_a_frame_that_was_cut_is_no_frame(content: bytes, cut: int) -> None:
    whole = written([(LINE, content)])
    with pytest.raises(EOFError):
        list(frames(io.BytesIO(MAGIC + whole[: max(1, len(whole) - 1 - cut % len(whole))])))


def test_a_stream_that_never_begins_has_none() -> None:
    assert list(frames(io.BytesIO(b"motd\n" * 3))) == []
    assert list(frames(io.BytesIO(bytes(1 << 20)))) == []
