"""A program of ours on another machine: it lands there, takes an order, and answers.

What leads there is a `Connection`, over SSH or through a tilth server; it has started `python -c BOOT`. What is sent,
logins and secrets too, goes through it alone.
"""

from __future__ import annotations

import contextlib
import json
import struct
import threading
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import IO, TYPE_CHECKING, Protocol

import msgspec

from tilth.errors import EngineUnavailable, TilthError
from tilth.image_builders.frames import ANSWER, BEAT, BEAT_S, DATA, FAILURE, LINE, ORDER, frames
from tilth.image_builders.payload import payload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

_UV = "0.8.0"  # fetched there, where that of here is not known
_DIGITS = 8
# Becomes the text that comes behind its length. Read from the descriptor itself: what Python reads ahead would be
# lost to the program that it becomes.
BOOT = (
    "import os\ndef r(n):\n b=b''\n while len(b)<n:\n  c=os.read(0,n-len(b))\n  if not c: os._exit(1)\n  b+=c\n"
    f" return b\nexec(compile(r(int(r({_DIGITS}))),'tilth-landing','exec'),{{'__name__':'__main__'}})"
)


class Connection(Protocol):
    """Standard input and output of `python -c BOOT` on another machine.

    Attributes:
        place: That machine, for people.
        flavor: Of the image builder.
    """

    place: str
    flavor: str

    def write(self, content: bytes) -> None:
        """Send something. Raises an OSError where nobody takes it any more: `read` tells why."""
        ...

    def read(self, size: int, /) -> bytes:
        """As a file does: less than asked for at its end alone."""
        ...

    def lost(self, *, landed: bool) -> TilthError:
        """Why nothing more comes, though there was no answer. `landed`: whether tilth ran there."""
        ...

    def close(self, *, done: bool) -> None:
        """Let go: what is not done there ends. `done`: all came that was waited for."""
        ...


@dataclass(frozen=True)
class Place:
    """What tilth finds on that machine; as the settings of image builders say."""

    uv: str = ""
    index: str = ""
    cache: str = "~/.cache/tilth-builder"


class Session:
    """One program, from its start to its answer. A context manager: leaving it early ends the program there.

    Args:
        program: Its module.
        tell: Is told each line that it says.
    """

    def __init__(
        self,
        connection: Connection,
        there: Place,
        program: str,
        arguments: Sequence[str],
        tell: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._tell = tell
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._landed = False
        self._held: tuple[bytes, bytes] | None = None  # a frame that was read too early
        given = {
            "cache": there.cache, "key": payload().key, "uv": there.uv, "version": _uv_version(),
            "index": there.index, "program": program, "arguments": [*arguments], "place": connection.place,
        }  # fmt: skip
        text = f"{_landing()}\nland({given!r})\n".encode()
        self._frames = frames(connection)
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._write(b"%0*d" % (_DIGITS, len(text)) + text)
        self._beating.start()

    def __enter__(self) -> Session:
        try:
            if json.loads(self.answer())["wants"]:
                sent = payload()
                for part in (sent.files, sent.versions):
                    self._write(ORDER + struct.pack(">I", len(part)) + part)
            self.answer()  # the program is there
        except BaseException as error:
            self._end(done=isinstance(error, TilthError))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(done=error is None or isinstance(error, TilthError))

    def order(self, pack: Callable[[IO[bytes]], None]) -> None:
        """Send what the program waits for.

        Args:
            pack: Writes it to a file.
        """
        # It may have ended before it has read all: its own words are the reason then.
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._connection.write(ORDER)
            pack(self._connection)  # type: ignore[arg-type] # what `tarfile` writes to

    def answer(self) -> bytes:
        """What it answers, as JSON; lines are told as they come.

        Raises:
            TilthError: What it failed with, as it would fail here.
            EngineUnavailable: It could not be started, or was lost.
        """
        while True:
            kind, content = self._next()
            if kind == ANSWER:
                return content

    def data(self) -> IO[bytes]:
        """The file that it sends before it answers. Reading it raises as `answer` does."""
        return _Data(self)  # type: ignore[return-value] # what `tarfile` reads

    def part(self) -> bytes:
        """More of that file; nothing at its end."""
        kind, content = self._next()
        if kind == DATA:
            return content
        self._held = kind, content
        return b""

    def _next(self) -> tuple[bytes, bytes]:
        """The next frame that is no line."""
        if self._held is not None:
            held, self._held = self._held, None
            return held
        try:
            for kind, content in self._frames:
                self._landed = True
                if kind == LINE:
                    self._tell(content.decode(errors="replace"))
                elif kind == FAILURE:
                    told = msgspec.json.decode(content, type=dict[str, str])
                    raise told_there(TilthError.from_json(told), self._connection)
                else:
                    return kind, content
        except EOFError:
            pass
        raise self._connection.lost(landed=self._landed)

    def _end(self, *, done: bool) -> None:
        self._ended.set()
        self._connection.close(done=done)

    def _write(self, content: bytes) -> None:
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._connection.write(content)

    def _beat(self) -> None:
        """Say again and again that somebody listens: a line that was cut tells that to nobody."""
        while not self._ended.wait(BEAT_S):
            try:
                self._write(BEAT)
            except (OSError, ValueError):  # it is closed
                return


class _Data:
    """A file in frames."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._left = b""

    def read(self, size: int) -> bytes:
        """As a file does: less than asked for at its end alone."""
        found, amount = [self._left], len(self._left)
        while amount < size and (part := self._session.part()):
            found.append(part)
            amount += len(part)
        whole = b"".join(found)
        self._left = whole[size:]
        return whole[:size]


def told_there(error: TilthError, connection: Connection) -> TilthError:
    """A failure from there, with where it was."""
    place = f"`{connection.place}`"
    error.why = "\n".join(
        filter(
            None, (error.why, f"that was on {place}, where the image builder `{connection.flavor}` builds")
        )
    )
    error.mend = error.mend.replace("the whole log is in", f"on {place}, the whole log is in")
    return error


def ended_early(place: str, code: int, said: Sequence[str]) -> EngineUnavailable:
    """The program ended there without an answer; `said`: what it printed beside the frames."""
    return EngineUnavailable(
        f"tilth ended on `{place}` before it was done, with exit code {code}",
        why="\n".join(said[-8:]).strip(),
        mend="was it killed there, for its memory? Start again: what it made is kept",
    )


def _landing() -> str:
    return files("tilth.image_builders").joinpath("landing.py").read_text(encoding="utf-8")


def _uv_version() -> str:
    try:
        return version("uv")
    except PackageNotFoundError:
        return _UV
