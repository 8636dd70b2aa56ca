"""One blob on its way into a registry: whole where that works, in pieces where it does not, on from where it broke.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from tilth.errors import ImageBroken, RegistryUnavailable
from tilth.oci.failures import SessionLost, TooLarge
from tilth.oci.patience import Passing, Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tilth.oci.conversations import Answer, Conversation
    from tilth.oci.descriptors import Descriptor
    from tilth.oci.tokens import Scopes

# For what stands before a registry and limits bodies: nginx lets through 1 MiB by default, some services 100 MB.
_PIECES = (32 << 20, 8 << 20, 1 << 19)
# Larger ones cost one request more, and go on where they broke, if the registry keeps what came: the specification
# asks for that, and docker-registry 2.8 forgets the whole upload.
_AT_ONCE = 4 << 20
_BYTES = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


class Upload:
    """One blob. Used once, by one thread.

    Args:
        begin: Gives the bytes from an offset on. Called again after each break.
        progress: Told how many bytes more have been taken; fewer than none when some have to be sent again.
    """

    def __init__(
        self,
        conversation: Conversation,
        repository: str,
        descriptor: Descriptor,
        begin: Callable[[int], Iterable[bytes]],
        progress: Callable[[int], None] | None = None,
        *,
        scopes: Scopes,
    ) -> None:
        self._conversation = conversation
        self._repository = repository
        self._descriptor = descriptor
        self._begin = begin
        self._progress = progress or (lambda _: None)
        self._scopes = scopes
        self._asked = f"the upload of blob `{descriptor.digest[:19]}…` to `{repository}`"
        self._resumable = True  # until the registry knows no `PATCH`
        self._told = 0  # bytes, to `progress`
        self._sent = 0

    def run(self, location: str = "") -> int:
        """Gives the bytes that were sent, those that had to be sent again included.

        Args:
            location: Of an upload that the registry has begun already.
        """
        size = self._descriptor.size
        tries = Tries(self._conversation.patience)
        offset, unsure = 0, False
        cause: Passing | None = None
        pieces = iter(_PIECES)
        piece = 0  # bytes at a time; 0 is all at once
        while True:
            try:
                if unsure:
                    location, offset, unsure = *self._where(location), False
                    if offset < 0:
                        break
                if not location:
                    location, least = self._start()
                    offset, piece = 0, max(piece, least) if piece else 0
                    self._tell(0)
                if not offset and not piece and (size <= _AT_ONCE or not self._resumable):
                    self._put(location, 0, size)
                    break
                while offset < size and self._resumable:
                    location, now = self._patch(location, offset, min(piece or size, size - offset))
                    if now > offset:
                        tries.progressed()
                    offset = now
                if offset < size:
                    continue
                self._put(location, size, 0)
                break
            except SessionLost:
                tries.wait(Passing(self._lost()))
                # It may be lost because it is done: the answer that said so may not have arrived.
                location, unsure = "", True
            except TooLarge as large:
                piece = next(pieces, 0)
                if not piece:
                    raise large.error from large
                location = ""
            except Passing as passing:
                if (
                    not unsure or cause is None
                ):  # else what led here says more than the question how far it has come
                    cause = passing
                tries.wait(Passing(cause.error, wait_s=passing.wait_s))
                unsure = bool(location)
        self._tell(size)
        return self._sent

    def _start(self) -> tuple[str, int]:
        """The address of a new upload, and the fewest bytes that a piece may have."""
        url = self._conversation.url(f"{self._repository}/blobs/uploads/")
        answer = self._conversation.once(
            "POST",
            url,
            asked=self._asked,
            scopes=self._scopes,
            expected=[202],
            content=lambda: iter(()),
            length=0,
        )
        least = answer.headers.get("oci-chunk-min-length", "")
        return self._next(answer), int(least) if least.isdigit() else 0

    def _where(self, location: str) -> tuple[str, int]:
        """How far an upload has come: its address and offset. No address: it has to begin anew; -1: it is done."""
        if location:
            try:
                answer = self._conversation.once(
                    "GET",
                    location,
                    asked=self._asked,
                    scopes=self._scopes,
                    expected=[204, 200, 202, 400, 405],
                    session=True,
                )
                if answer.status not in (400, 405):
                    offset = min(reached(answer.headers.get("range", "")), self._descriptor.size)
                    self._tell(offset)
                    return self._next(answer) or location, offset
            except SessionLost:
                pass
        url = self._conversation.url(f"{self._repository}/blobs/{self._descriptor.digest}")
        found = self._conversation.once(
            "HEAD", url, asked=self._asked, scopes=self._scopes, expected=[200, 404]
        )
        return ("", -1) if found.status == 200 else ("", 0)

    def _patch(self, location: str, offset: int, length: int) -> tuple[str, int]:
        """Send a piece; gives the next address, and how far the registry has come by its own account."""
        headers = dict(_BYTES)
        if offset or length < self._descriptor.size:  # all at once is sent as Docker does, without a range
            headers["Content-Range"] = f"{offset}-{offset + length - 1}"
        answer = self._conversation.once(
            "PATCH",
            location,
            asked=self._asked,
            scopes=self._scopes,
            expected=[202, 204, 201, 405, 501],
            headers=headers,
            content=lambda: self._body(offset, length),
            length=length,
            session=True,
        )
        if answer.status in (405, 501):
            self._resumable = False
            return "", 0
        now = answer.headers.get("range", "")
        return self._next(answer) or location, reached(now) if now else offset + length

    def _put(self, location: str, offset: int, length: int) -> None:
        """End the upload, with the bytes from an offset on."""
        joined = "&" if "?" in location else "?"
        self._conversation.once(
            "PUT",
            f"{location}{joined}digest={quote(self._descriptor.digest, safe='')}",
            asked=self._asked,
            scopes=self._scopes,
            expected=[201, 204],
            headers=_BYTES,
            content=lambda: self._body(offset, length),
            length=length,
            session=True,
        )

    def _body(self, offset: int, length: int) -> Iterator[bytes]:
        left = length
        if not length:
            return
        self._tell(offset)
        for read in self._begin(offset):
            piece = read[:left]
            left -= len(piece)
            self._sent += len(piece)
            self._conversation.sent.count(sent=len(piece))
            self._tell(self._told + len(piece))
            yield piece
            if not left:
                return
        raise ImageBroken(
            f"blob `{self._descriptor.digest}` ends too early",
            why=f"its descriptor says {self._descriptor.size} bytes, and {left} of them are not there",
            mend="what is broken here is made or fetched anew when it is removed",
        )

    def _next(self, answer: Answer) -> str:
        location = answer.headers.get("location", "")
        return self._conversation.follow(answer.url, location) if location else ""

    def _tell(self, taken: int) -> None:
        if taken != self._told:
            self._progress(taken - self._told)
            self._told = taken

    def _lost(self) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"registry `{self._conversation.host}` lost {self._asked}",
            why="it does not know any more where it had got to",
            mend="try again; a registry of several servers needs storage and a secret that all of them share",
        )


def reached(header: str) -> int:
    """Bytes that a registry has by its header `Range`; `0-0` is none, as the reference registry says it."""
    found = _RANGE.fullmatch(header.strip())
    last = int(found[1]) if found else 0
    return last + 1 if last else 0
