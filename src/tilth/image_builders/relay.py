"""The two streams of a build on a runner, as they go through a tilth server: sealed, so that it sees lengths alone.

Who orders a build and the runner that has it each make a key of X25519 for it. What both derive from them (HKDF,
RFC 5869) are two keys of AES-256-GCM, one for each way. Part n is sealed with the nonce n: none can be left out, moved
or sent again without being found. A server that hands out keys of its own could read along; one that is only looked
into, its disk, database or log, tells nothing.

A part is its length as four bytes, and a sealed letter and content.
"""

from __future__ import annotations

import base64
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from tilth.errors import ServerUnavailable, TilthError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

INPUT = b"I"  # of what runs there
OUTPUT = b"O"  # of it
BESIDE = b"E"  # its standard error
ENDED = b"X"  # its exit code, as text; nothing comes behind it
_LENGTH = struct.Struct(">I")
_LARGEST = 1 << 20  # bytes of a part
_PENDING = 4 << 20  # bytes that wait to be sent
_FULL_S = 0.2  # until more is tried to be sent where too much waits already


class BuildKey:
    """A key pair for one build."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import (
            X25519PrivateKey,
        )  # here for cost, as below

        self._private: X25519PrivateKey = X25519PrivateKey.generate()

    @property
    def public(self) -> str:
        """What the other side gets, in base64."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    def agree(self, theirs: str, order: str) -> tuple[Seal, Seal]:
        """What both sides seal a build with: on the way to the runner, and back.

        Args:
            order: Id of the build.
        Raises:
            ServerUnavailable: Theirs is no key.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        try:
            both = self._private.exchange(X25519PublicKey.from_public_bytes(base64.b64decode(theirs)))
        except ValueError as error:  # of the few with which nothing would be secret, too
            raise ServerUnavailable(
                "what came through the server for the build is no key", mend="start again"
            ) from error
        keys = "".join(sorted((self.public, theirs)))
        derived = HKDF(SHA256(), 64, salt=None, info=f"tilth build 1 {order} {keys}".encode()).derive(both)
        return Seal(derived[:32]), Seal(derived[32:])


class Seal:
    """Seals or opens the parts of one stream, in their order."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)
        self._count = 0

    def seal(self, content: bytes) -> bytes:
        """The next part."""
        return self._cipher.encrypt(self._next(), content, None)

    def open(self, sealed: bytes) -> bytes:
        """What the next part holds.

        Raises:
            ServerUnavailable: It is not what was sent.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(self._next(), sealed, None)
        except InvalidTag as error:
            raise ServerUnavailable(
                "what came through the server is not what was sent for the build",
                why="its seal is broken",
                mend="start again; see who or what changes the files of the server",
            ) from error

    def _next(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(12, "big")


class Sender:
    """Sends what is written, in order, from a thread of its own.

    Args:
        put: Sends bytes that begin at an offset of the stream; gives how many are there then.
    """

    def __init__(self, seal: Seal, put: Callable[[int, bytes], int]) -> None:
        self._seal = seal
        self._put = put
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._amount = 0  # bytes that wait, or are just being sent
        self._over = False
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def write(self, kind: bytes, content: bytes) -> None:
        """Have something sent; waits while much is on its way.

        Raises:
            BrokenPipeError: Nothing is sent any more.
        """
        for begin in range(0, len(content), _LARGEST):
            part = content[begin : begin + _LARGEST]
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._amount < _PENDING)
                if self._over:
                    raise BrokenPipeError
                self._waiting.append((kind, part))
                self._amount += len(part)
                self._changed.notify_all()

    def finish(self, patience_s: float) -> None:
        """Wait until all is sent, or cannot be; then end."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or not self._amount, patience_s)
        self.stop()

    def stop(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _work(self) -> None:
        offset = 0
        while (part := self._next()) is not None:
            sealed = self._seal.seal(part)
            sent = _LENGTH.pack(len(sealed)) + sealed
            try:
                while not self._over and self._put(offset, sent) < offset + len(sent):
                    time.sleep(_FULL_S)
            except TilthError:  # who reads is told
                self.stop()
                return
            offset += len(sent)
            with self._changed:
                self._amount -= len(part) - 1
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        """A part that is as large as there is something of one kind."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._waiting)
            if self._over:
                return None
            kind, content = self._waiting.popleft()
            found = [kind, content]
            amount = len(content)
            while (
                self._waiting
                and self._waiting[0][0] == kind
                and amount + len(self._waiting[0][1]) <= _LARGEST
            ):
                found.append(self._waiting.popleft()[1])
                amount += len(found[-1])
            return b"".join(found)


def received(seal: Seal, get: Callable[[int], bytes | None]) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each part of a stream, to its end.

    Args:
        get: What has come from an offset on; None where nothing comes any more.
    """
    offset, held = 0, b""
    while (content := get(offset)) is not None:
        offset += len(content)
        held += content
        while len(held) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(held)[0]
            if len(held) < end:
                break
            part = seal.open(held[_LENGTH.size : end])
            held = held[end:]
            yield part[:1], part[1:]
