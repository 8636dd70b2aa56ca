"""What a program on another machine tells the one that started it: frames on its standard output.

A frame is a letter, the length of its content as four bytes, and the content. Before the first stands `MAGIC`: what a
login shell prints is not ours.
"""

from __future__ import annotations

import os
import struct
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\0tilth 1\0"
LINE = b"L"  # of what is built there, as text
ANSWER = b"A"  # JSON
FAILURE = b"E"  # a TilthError, as JSON
DATA = b"D"  # a part of a file

ORDER = b"O"  # on the way there: what follows is the order
BEAT = b"\0"  # on the way there: whoever ordered is still listening
BEAT_S = 15.0
SILENCE_S = 120.0  # after that, whoever ordered is taken for gone

_HEAD = struct.Struct(">cI")
_NOISE = 1 << 16  # bytes that a login shell may print


class Teller:
    """Writes frames to a file, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def tell(self, kind: bytes, content: bytes) -> None:
        """Write one frame."""
        left = memoryview(_HEAD.pack(kind, len(content)) + content)
        with self._lock:
            while left:
                left = left[os.write(self._descriptor, left) :]

    def line(self, text: str) -> None:
        """Tell a line."""
        self.tell(LINE, text.encode(errors="replace"))

    def write(self, content: bytes) -> int:
        """Tell a part of a file, as a file is written."""
        self.tell(DATA, content)
        return len(content)


class Readable(Protocol):
    """What gives as many bytes as are asked for, and less at its end alone."""

    def read(self, size: int, /) -> bytes: ...


def frames(stream: Readable) -> Iterator[tuple[bytes, bytes]]:
    """The frames of a stream, to its end; none where it never begins to be one.

    Raises:
        EOFError: It ends within a frame.
    """
    seen = b""
    while not seen.endswith(MAGIC):
        each = stream.read(1)
        if not each or len(seen) > _NOISE:
            return
        seen += each
    while head := stream.read(_HEAD.size):
        if len(head) < _HEAD.size:
            raise EOFError
        kind, length = _HEAD.unpack(head)
        content = stream.read(length)
        if len(content) < length:
            raise EOFError
        yield kind, content
