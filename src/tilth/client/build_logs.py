"""What is told while an image is made: a file here, and on the server where records are, as it grows.

The lines are those of a step's log. An empty part says that the maker lives: a build of which nothing is heard any
more was lost with the process that made it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from tilth.client.reporting import is_on_server
from tilth.engine.logs import LogWriter
from tilth.errors import TilthError

if TYPE_CHECKING:
    from types import TracebackType

    from tilth.home import Home
    from tilth.store import Store

BEAT_S = 15.0
_EVERY_S = 1.0
_BRIEFLY_S = 2.0  # no build waits for its log
_END_S = 10.0
_AT_ONCE = 1 << 20  # bytes in one request


class BuildLog:
    """The log of one build, while the block runs. Nothing that goes wrong with it fails the build."""

    def __init__(self, build: str, home: Home, store: Store) -> None:
        self.path = home.builds / f"{build}.log"
        self._build, self._store = build, store
        self._sent = 0
        self._writing, self._sending = threading.Lock(), threading.Lock()
        self._writer = LogWriter(self.path, lambda _stream, _text: None)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tilth-build-log", daemon=True)

    def __enter__(self) -> BuildLog:
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, TilthError):
            for line in str(error).splitlines():
                self.line(line, "stderr")
        self._over.set()
        self._thread.join(_END_S)
        self._writer.close()
        with contextlib.suppress(TilthError, OSError):
            self._ship(_END_S if kind is None else _BRIEFLY_S)

    def line(self, text: str, stream: str = "stdout") -> None:
        """Write what is told of the build."""
        with self._writing:
            self._writer.write(stream, f"{text}\n".encode("utf-8", "replace"))

    def _work(self) -> None:
        beaten = _EVERY_S
        while not self._over.wait(_EVERY_S if is_on_server(self._store) else BEAT_S):
            with contextlib.suppress(TilthError, OSError):
                os.utime(self.path)
                beaten += _EVERY_S
                if self._ship(_BRIEFLY_S, beat=beaten >= BEAT_S):
                    beaten = 0.0

    def _ship(self, patience_s: float, *, beat: bool = False) -> bool:
        """Send what has come since; whether anything was sent."""
        if not is_on_server(self._store):
            return False
        store, told = self._store, False
        path = f"/projects/{quote(store.project, safe='')}/builds/{quote(self._build, safe='')}/log"
        with self._sending, open(self.path, "rb") as file:
            while True:
                file.seek(self._sent)
                part = file.read(_AT_ONCE)
                if not part and not (beat and not told):
                    return told
                answer = store.api.request("PUT", f"{path}?offset={self._sent}", part, patience_s=patience_s)
                have = msgspec.json.decode(answer)["size"]
                told = True
                if have <= self._sent and part:
                    return told  # the server has lost what it had: it gets no more
                self._sent = have
