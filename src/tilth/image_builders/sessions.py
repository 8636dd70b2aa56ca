"""A program of ours on another machine, over SSH: it lands there, takes an order, and answers.

The program `ssh` is used, so that keys, agents, jump hosts and `~/.ssh/config` count as everywhere else. Nothing but
its host stands on a command line: what is sent, logins and secrets too, goes through the connection.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import struct
import subprocess
import threading
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import IO, TYPE_CHECKING

import msgspec

from tilth.errors import EngineUnavailable, TilthError
from tilth.image_builders.frames import ANSWER, BEAT, BEAT_S, DATA, FAILURE, LINE, ORDER, frames
from tilth.image_builders.payload import payload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

_NO_CONNECTION = 255  # how `ssh` itself ends when it fails
_NO_PYTHON = 78
_PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
_UV = "0.8.0"  # fetched there, where that of here is not known
# Read from the descriptor itself: what Python reads ahead would be lost to the program that it becomes.
_BOOT = (
    "import os\nn=%d\nb=b''\nwhile len(b)<n:\n c=os.read(0,n-len(b))\n if not c: os._exit(1)\n b+=c\n"
    "exec(compile(b,'tilth-landing','exec'),{'__name__':'__main__'})"
)
_OPTIONS = ("BatchMode=yes", "ServerAliveInterval=15", "ServerAliveCountMax=4", "ConnectTimeout=30")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go, and what is there; as `SshBuilderSettings` says."""

    host: str
    port: int | None = None
    identity: str = ""
    options: tuple[str, ...] = ()
    python: str = ""
    uv: str = ""
    index: str = ""
    cache: str = "~/.cache/tilth-builder"

    def command(self, landing: int) -> list[str]:
        """What starts a landing of so many bytes there."""
        command = ["ssh", "-T"]
        command += [part for each in (*self.options, *_OPTIONS) for part in ("-o", each)]
        if self.port:
            command += ["-p", str(self.port)]
        if self.identity:
            command += ["-i", self.identity]
        found = [self.python] if self.python else _PYTHONS
        # A shell of its own: the user's there may be any.
        script = (
            f"for p in {shlex.join(found)}; do "
            'if "$p" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then '
            f'exec "$p" -c {shlex.quote(_BOOT % landing)}; fi; done; exit {_NO_PYTHON}'
        )
        return [*command, "--", self.host, f"exec sh -c {shlex.quote(script)}"]


class Session:
    """One program, from its start to its answer. A context manager: leaving it early ends the program there.

    Args:
        program: Its module.
        tell: Is told each line that it says.
    """

    def __init__(
        self, machine: Machine, program: str, arguments: Sequence[str], tell: Callable[[str], None]
    ) -> None:
        self._machine = machine
        self._tell = tell
        self._said: deque[str] = deque(
            maxlen=200
        )  # beside the frames: by ssh, or by a Python that cannot go on
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._landed = False
        self._held: tuple[bytes, bytes] | None = None  # a frame that was read too early
        sent = payload()
        given = {
            "cache": machine.cache, "key": sent.key, "uv": machine.uv, "version": _uv_version(),
            "index": machine.index, "program": program, "arguments": [*arguments], "place": machine.host,
        }  # fmt: skip
        text = f"{_landing()}\nland({given!r})\n"
        try:
            self._process = subprocess.Popen(
                machine.command(len(text.encode())),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise EngineUnavailable(
                "`ssh`, which the image builder needs, cannot be started",
                why=(error.strerror or str(error)).lower(),
                mend="install the client of OpenSSH, or name another image builder",
            ) from error
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._frames = frames(self._process.stdout)
        self._listening = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listening.start()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._write(text.encode())
        self._beating.start()

    def __enter__(self) -> Session:
        try:
            if json.loads(self.answer())["wants"]:
                sent = payload()
                for part in (sent.files, sent.versions):
                    self._write(ORDER + struct.pack(">I", len(part)) + part)
            self.answer()  # the program is there
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def order(self, pack: Callable[[IO[bytes]], None]) -> None:
        """Send what the program waits for.

        Args:
            pack: Writes it to a file.
        """
        assert self._process.stdin is not None
        # It may have ended before it has read all: its own words are the reason then.
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(ORDER)
            pack(self._process.stdin)
            self._process.stdin.flush()

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
                    raise told_there(TilthError.from_json(told), self._machine.host)
                else:
                    return kind, content
        except EOFError:
            pass
        raise self._lost()

    def _lost(self) -> TilthError:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self._listening.join(5)
        return lost(self._machine, self._process.returncode, list(self._said), landed=self._landed)

    def _end(self) -> None:
        """Close the connection: what is not done there ends with it."""
        self._ended.set()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.terminate()
            self._process.wait()
        self._listening.join(5)
        self._process.stdout.close()

    def _write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def _beat(self) -> None:
        """Say again and again that somebody listens: a line that was cut tells that to nobody."""
        while not self._ended.wait(BEAT_S):
            try:
                self._write(BEAT)
            except (OSError, ValueError):  # it is closed
                return

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._said.append(line.decode(errors="replace").rstrip())


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


def told_there(error: TilthError, host: str) -> TilthError:
    """A failure from there, with where it was."""
    error.why = "\n".join(
        filter(None, (error.why, f"that was on `{host}`, where the image builder `ssh` builds"))
    )
    error.mend = error.mend.replace("the whole log is in", f"on `{host}`, the whole log is in")
    return error


def lost(machine: Machine, code: int | None, said: Sequence[str], *, landed: bool) -> EngineUnavailable:
    """Why there is no answer."""
    host, text = machine.host, "\n".join(said)
    if code == _NO_PYTHON:
        looked = f"`{machine.python}`" if machine.python else ", ".join(f"`{each}`" for each in _PYTHONS)
        return EngineUnavailable(
            f"there is no Python 3.11 or newer on `{host}`, where the image builder `ssh` builds",
            why=f"looked for: {looked}",
            mend="install one there, or name its path with the setting `python`",
        )
    last = "\n".join(said[-8:]).strip()
    if code == _NO_CONNECTION or code is None or code < 0:
        if not landed:
            return _unconnected(host, text, last)
        return EngineUnavailable(
            f"the connection to `{host}` broke off, where the image builder `ssh` builds",
            why=last or "or tilth was killed there, as for its memory",
            mend="start again: what was made there is kept",
        )
    return EngineUnavailable(
        f"tilth ended on `{host}` before it was done, with exit code {code}",
        why=last,
        mend="was it killed there, for its memory? Start again: what it made is kept",
    )


def _unconnected(host: str, text: str, last: str) -> EngineUnavailable:
    mends = {
        "Host key verification failed": f"connect once by hand, `ssh {host}`, and see whether its key is right; "
        "or set the option `StrictHostKeyChecking=accept-new`",
        "REMOTE HOST IDENTIFICATION HAS CHANGED": "it may be another machine: ask whoever keeps it",
        "Permission denied": f"have it take your key, as `ssh-copy-id {host}` does, or name another with `identity`",
        "Could not resolve hostname": "mend the setting `host`: it is `USER@MACHINE`, or a name of `~/.ssh/config`",
    }
    mend = next((each for sign, each in mends.items() if sign in text), "")
    return EngineUnavailable(
        f"the image builder `ssh` does not get into `{host}`",
        why=last,
        mend=mend or f"see whether `ssh {host} true` works without a password",
    )


def _landing() -> str:
    return files("tilth.image_builders").joinpath("landing.py").read_text(encoding="utf-8")


def _uv_version() -> str:
    try:
        return version("uv")
    except PackageNotFoundError:
        return _UV
