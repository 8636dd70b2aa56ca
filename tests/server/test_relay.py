from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from tilth.errors import DefinitionError, NotFound
from tilth.server.files import Files
from tilth.server.limits import TooLarge
from tilth.server.relay import LARGEST_PART, MOST, WINDOW, Stream, folder_of, forget, left

PART = bytes(LARGEST_PART)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"a", b"bc", b"def"]), st.booleans()), max_size=8))
def test_what_is_put_is_taken_in_order_though_everything_is_asked_twice(tmp_path_factory, parts):
    stream = Stream(tmp_path_factory.mktemp("relay") / "in")
    sent, taken = 0, b""
    for part, takes in [*parts, (b"", True)]:
        for _ in range(2):
            assert stream.put(part, sent) == sent + len(part)
        sent += len(part)
        if takes:
            found = stream.take(len(taken))
            assert stream.take(len(taken)) == found
            taken += found
    assert taken == b"".join(part for part, _ in parts)
    assert stream.take(len(taken)) == b""


def test_who_sends_has_to_wait_for_who_takes(tmp_path):
    stream = Stream(tmp_path / "in")
    have = 0
    for _ in range(WINDOW // LARGEST_PART):
        have = stream.put(PART, have)
    assert have == WINDOW
    assert stream.put(b"more", have) == have
    assert stream.take(0) == PART
    assert stream.put(b"more", have) == have  # it may not have got there
    assert stream.take(LARGEST_PART) == PART
    assert stream.put(b"more", have) == have + 4
    assert sum(each.stat().st_size for each in (tmp_path / "in").iterdir()) <= WINDOW


def test_of_what_is_too_much_at_once_the_beginning_is_taken(tmp_path):
    stream = Stream(tmp_path / "in")
    have = 0
    for size in (LARGEST_PART - 9, 10, 1):
        have = stream.put(bytes(size), have)
    assert len(stream.take(0)) == LARGEST_PART - 9
    assert len(stream.take(LARGEST_PART - 9)) == 11


def test_no_more_is_taken_than_may_be(tmp_path):
    stream = Stream(tmp_path / "in")
    with pytest.raises(TooLarge):
        stream.put(PART + b"x", 0)
    with pytest.raises(TooLarge):
        stream.put(b"x", MOST)
    assert stream.put(b"x", 5) == 0  # what lies before is missing
    stream.put(b"abc", 0)
    with pytest.raises(DefinitionError):
        stream.take(1)


def test_names_lead_nowhere_else(tmp_path):
    files = Files(tmp_path, "p")
    for name in ("..", "a/b", "", "x" * 100):
        with pytest.raises(NotFound):
            folder_of(files, name)
    Stream(folder_of(files, "a-build") / "out").put(b"x", 0)
    assert left(files, untouched_s=3600) == []
    assert left(files, untouched_s=-1) == ["a-build"]
    forget(files, "a-build")
    assert left(files, untouched_s=-1) == []
