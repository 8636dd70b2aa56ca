"""What steps print: one file per attempt, one line per line, with its time and stream."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from tilth.runtime.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import RawIOBase
    from pathlib import Path

_LONGEST = 1 << 20  # bytes without a newline before a line is cut


@dataclass(frozen=True)
class LogLine:
    """One line of a step's output."""

    step: str
    index: int | None
    attempt: int
    time: datetime
    stream: str  # `stdout` or `stderr`
    text: str


class LogWriter:
    """Splits what comes into lines, and keeps and shows each, with secrets hidden.

    The file is made when the first line comes.
    """

    def __init__(self, path: Path, show: Callable[[str, str], None], mask: Mask | None = None) -> None:
        self._path = path
        self._show = show
        self._mask = mask or Mask()
        self._file: RawIOBase | None = None
        self._is_stored = True
        self._rest: dict[str, bytes] = {}
        self.size = 0

    def write(self, stream: str, data: bytes) -> None:
        """Take what a step printed; the last line may not be whole yet."""
        *lines, rest = (self._rest.pop(stream, b"") + data).split(b"\n")
        if len(rest) > _LONGEST:
            # The cut must not go through a secret: what may be the begin of one waits for its end.
            rest = self._mask.bytes(rest)
            kept = len(rest) - max(self._mask.longest - 1, 0)
            lines.append(rest[:kept])
            rest = rest[kept:]
        if rest:
            self._rest[stream] = rest
        self._put(stream, lines)

    def close(self) -> None:
        """Take what is left as a line."""
        for stream, rest in self._rest.items():
            self._put(stream, [rest])
        self._rest.clear()
        if self._file:
            self._file.close()

    def _put(self, stream: str, lines: list[bytes]) -> None:
        if not lines:
            return
        head = f"{_stamp()} {'E' if stream == 'stderr' else 'O'} ".encode()
        # A carriage return redraws a line, as progress bars do: what was there last is what is kept.
        kept = [self._mask.bytes(line.rstrip(b"\r").rpartition(b"\r")[2]) for line in lines]
        for line in kept:
            self._show(stream, line.decode("utf-8", "replace"))
        if not self._is_stored:
            return
        try:
            self._store(b"".join(head + line + b"\n" for line in kept))
        except OSError as error:  # as on a full disk; no step shall fail because of what it prints
            self._is_stored = False
            self._show("stderr", f"(what this step prints from here on is not stored: {error.strerror})")

    def _store(self, data: bytes) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`
        left = memoryview(data)
        while left:
            written = self._file.write(left) or 0
            self.size += written
            left = left[written:]


def log_name(step: str, index: int | None, attempt: int) -> str:
    """The log file of an attempt, in the run's `logs/`."""
    return f"{step}.{attempt}.log" if index is None else f"{step}.{index}.{attempt}.log"


def read_log(path: Path, step: str, index: int | None, attempt: int) -> Iterator[LogLine]:
    """The lines that a LogWriter wrote; a torn last line is left out."""
    try:
        with open(path, "rb") as file:
            for line in file:
                if parsed := parse_line(line):
                    stamp, stream, text = parsed
                    when = datetime.fromisoformat(stamp)
                    yield LogLine(step, index, attempt, when, stream, text.decode("utf-8", "replace"))
    except FileNotFoundError:
        return


def parse_line(line: bytes) -> tuple[str, str, bytes] | None:
    """Time, stream and text of a line that a LogWriter wrote; None for a torn one."""
    stamp, _, rest = line.partition(b" ")
    stream, _, text = rest.partition(b" ")
    if not line.endswith(b"\n") or stream not in (b"O", b"E"):
        return None
    return stamp.decode(), "stdout" if stream == b"O" else "stderr", text[:-1]


def _stamp() -> str:
    return datetime.fromtimestamp(time.time(), timezone.utc).isoformat(timespec="milliseconds")
