"""What goes through a server is sealed, in order, and whole."""

from __future__ import annotations

import base64
import os
import threading
import time

import pytest
from hypothesis import given, settings, strategies as st

from tilth.errors import ServerUnavailable
from tilth.image_builders.relay import ENDED, INPUT, OUTPUT, BuildKey, Sender, received


def seals(order: str = "a-build"):
    ours, theirs = BuildKey(), BuildKey()
    return ours.agree(theirs.public, order), theirs.agree(ours.public, order)


class Kept:
    """A stream in memory, which takes nothing while it is full."""

    def __init__(self):
        self.content = bytearray()
        self.full = threading.Event()
        self.offsets = []

    def put(self, offset, content):
        self.offsets.append(offset)
        if self.full.is_set():
            return len(self.content)
        assert offset == len(self.content)
        self.content += content
        return len(self.content)

    def get(self, step=7):
        def get(offset):
            return bytes(self.content[offset : offset + step]) or None

        return get


def joined(parts):
    found = []
    for kind, content in parts:
        if found and found[-1][0] == kind:
            found[-1] = kind, found[-1][1] + content
        else:
            found.append((kind, content))
    return found


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([OUTPUT, INPUT]), st.binary(min_size=1, max_size=300)), max_size=20),
    st.integers(1, 50),
)
def test_what_is_sent_comes_as_it_was_however_it_is_cut(written, step):
    (there, _), (here, _) = seals()
    kept = Kept()
    sender = Sender(there, kept.put)
    for kind, content in written:
        sender.write(kind, content)
    sender.finish(60)
    assert joined(received(here, kept.get(step))) == joined(written)


def test_the_two_ways_and_every_build_have_keys_of_their_own():
    (there, back), (here, _) = seals()
    sealed = there.seal(b"password")
    assert b"password" not in sealed
    with pytest.raises(ServerUnavailable, match="not what was sent"):
        back.open(sealed)
    (_, _), (another, _) = seals()
    with pytest.raises(ServerUnavailable):
        another.open(sealed)
    assert here.open(sealed) == b"password"
    ours, theirs = BuildKey(), BuildKey()
    with pytest.raises(ServerUnavailable):  # the same keys for another build
        theirs.agree(ours.public, "b")[0].open(ours.agree(theirs.public, "a")[0].seal(b"x"))


@pytest.mark.parametrize("key", [bytes(32), bytes(31), b"\1" + bytes(31)])
def test_a_key_that_keeps_no_secret_is_refused(key):
    with pytest.raises(ServerUnavailable, match="no key"):
        BuildKey().agree(base64.b64encode(key).decode(), "a")


@pytest.mark.parametrize("order", [[1, 0], [0, 0], [1]], ids=["moved", "again", "left out"])
def test_parts_that_were_moved_sent_again_or_left_out_are_found(order):
    (there, _), (here, _) = seals()
    parts = [there.seal(b"first"), there.seal(b"second")]
    with pytest.raises(ServerUnavailable):
        [here.open(parts[each]) for each in order]


def test_who_sends_waits_while_nothing_is_taken():
    (there, _), (here, _) = seals()
    kept = Kept()
    kept.full.set()
    sender = Sender(there, kept.put)
    content = os.urandom(12 << 20)
    writing = threading.Thread(target=lambda: (sender.write(OUTPUT, content), sender.write(ENDED, b"0")))
    writing.start()
    while len(kept.offsets) < 2:
        time.sleep(0.01)
    assert writing.is_alive()
    kept.full.clear()
    writing.join(60)
    sender.finish(60)
    assert joined(received(here, kept.get(1 << 20))) == [(OUTPUT, content), (ENDED, b"0")]
    with pytest.raises(BrokenPipeError):
        sender.write(OUTPUT, b"more")


def test_a_server_that_refuses_ends_who_sends():
    def refuse(_offset, _content):
        raise ServerUnavailable("no")

    (there, _), _ = seals()
    sender = Sender(there, refuse)
    with pytest.raises(BrokenPipeError):
        sender.write(OUTPUT, bytes(20 << 20))
