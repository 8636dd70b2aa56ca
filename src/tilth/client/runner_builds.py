"""The builds that a runner has: for each a process, and what goes between that and who ordered it.

The process is the tilth of who ordered, as over SSH. It reads from a pipe that this process holds, so it ends with the
runner, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tilth.environments.background import in_thread
from tilth.errors import Conflict, NotFound, TilthError
from tilth.image_builders.relay import BESIDE, ENDED, INPUT, OUTPUT, BuildKey, Sender, received
from tilth.image_builders.sessions import BOOT
from tilth.store import encoding

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.image_builders.relay import Seal
    from tilth.store.http import Api

_PATIENCE_S = 60.0  # with a server that does not answer
_WAIT_S = 10.0  # of one request for what comes
_SILENCE_S = 60.0  # after which who ordered is taken for gone: it says every 15 seconds that it is there
_AT_ONCE = 1 << 16  # bytes that a process is given, as a pipe holds
_GRACE_S = 15.0  # that a process has to end by itself


class Builds:
    """Those of one runner.

    Args:
        start: Starts a program in a session of its own, as runs are started, with pipes for its streams.
        tell: Is told what happens, a line at a time.
    """

    def __init__(
        self,
        api: Api,
        start: Callable[[list[str]], subprocess.Popen[bytes]],
        tell: Callable[[str], None],
    ) -> None:
        self._api = api
        self._start = start
        self._tell = tell
        self._held: dict[str, _Building] = {}

    def __len__(self) -> int:
        return len(self._held)

    def held(self) -> list[dict[str, Any]]:
        """What the server is told of them; those that are over are here no more."""
        for id_, building in list(self._held.items()):
            building.look_after()
            if building.over.is_set():
                del self._held[id_]
        return [{"build": each.id, "fence": each.fence} for each in self._held.values()]

    def begin(self, runner: str, order: dict[str, Any]) -> None:
        """Take a build."""
        building = _Building(
            self._api, f"/runners/{quote(runner)}/builds/{quote(order['id'])}", order, self._tell
        )
        self._held[building.id] = building
        in_thread(lambda: building.work(self._start))

    def stop(self, id_: str) -> None:
        """End a build: its order is over, or another runner's."""
        if id_ in self._held:
            self._held[id_].stop("")

    def stop_all(self) -> None:
        """End them all, and wait until they have."""
        for each in self._held.values():
            each.stop("its runner was stopped")
        deadline = time.monotonic() + 2 * _GRACE_S
        while any(not each.over.wait(0.2) for each in self._held.values()) and time.monotonic() < deadline:
            self.held()


class _Building:
    def __init__(self, api: Api, path: str, order: dict[str, Any], tell: Callable[[str], None]) -> None:
        self.id: str = order["id"]
        self.fence: int = order["fence"]
        self.over = threading.Event()
        self._api = api
        self._path = path
        self._order = order
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping_since: float | None = None
        self._why = ""  # it is ended from here
        self._heard = time.monotonic()

    def work(self, start: Callable[[list[str]], subprocess.Popen[bytes]]) -> None:
        """Build, to the end."""
        try:
            self._say_over(self._ended(start))
        finally:
            self.over.set()

    def _ended(self, start: Callable[[list[str]], subprocess.Popen[bytes]]) -> str:
        """Build; gives why nothing came of it, where that is so."""
        try:
            self._build(start)
        except (Conflict, NotFound) as error:
            self._tell(f"build {self.id}: {error.summary}")
            return ""
        except (OSError, TilthError, subprocess.SubprocessError) as error:
            return f"the runner could not build it: {error}"
        return self._why

    def _say_over(self, failure: str) -> None:
        told = {"fence": self.fence, "failure": {"reason": "lost", "message": failure} if failure else None}
        with contextlib.suppress(TilthError):  # the lease runs out
            self._api.request(
                "POST",
                f"{self._path}/ended",
                encoding.encode(told),
                patience_s=0 if self._why else _PATIENCE_S,
            )
        self._tell(f"build {self.id}: over" + (f": {failure}" if failure else ""))

    def stop(self, why: str) -> None:
        """End its process, if that is there."""
        if self._stopping_since is None:
            self._why = why
            self._stopping_since = time.monotonic()
            self._signal(signal.SIGTERM)

    def look_after(self) -> None:
        """End what does not end by itself, and what nobody listens to."""
        if self._stopping_since is not None:
            if time.monotonic() - self._stopping_since > _GRACE_S:
                self._signal(signal.SIGKILL)
        elif time.monotonic() - self._heard > _SILENCE_S:
            self.stop(f"nothing was heard of who ordered it for {_SILENCE_S:.0f} seconds")

    def _build(self, start: Callable[[list[str]], subprocess.Popen[bytes]]) -> None:
        """Run it."""
        key = BuildKey()
        there, back = key.agree(self._order["key"], self.id)
        self._api.request(
            "POST",
            f"{self._path}/begin",
            encoding.encode({"fence": self.fence, "key": key.public}),
            patience_s=_PATIENCE_S,
        )
        self._heard = time.monotonic()
        process = start([sys.executable, "-c", BOOT])
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        takes = process.stdin
        sender = Sender(back, self._put)
        pumps = [
            threading.Thread(target=_pump, args=(stream, sender, kind), daemon=True)
            for stream, kind in ((process.stdout, OUTPUT), (process.stderr, BESIDE))
        ]
        in_thread(lambda: self._feed(there, takes))
        for each in pumps:
            each.start()
        self._process = process
        if self._stopping_since is not None:  # it was to stop just then
            self._signal(signal.SIGTERM)
        # Looked at before it is reaped: until then, nobody else can get its number, nor that of its group.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self._signal(signal.SIGKILL)
        self._process = None
        code = process.wait()
        for each in pumps:
            each.join()
        if self._stopping_since is None:
            with contextlib.suppress(BrokenPipeError):
                sender.write(ENDED, str(code).encode())
        sender.finish(_PATIENCE_S)

    def _feed(self, seal: Seal, stream: IO[bytes]) -> None:
        """Give the process what comes for it."""
        try:
            for kind, content in received(seal, self._get):
                for begin in range(0, len(content) if kind == INPUT else 0, _AT_ONCE):
                    stream.write(content[begin : begin + _AT_ONCE])
                    stream.flush()
                    self._heard = time.monotonic()  # it was, and could not be taken before
        except BrokenPipeError:  # it has ended
            pass
        except TilthError as error:
            self.stop(error.summary)
        finally:
            with contextlib.suppress(OSError):
                stream.close()

    def _get(self, offset: int) -> bytes | None:
        asked = f"{self._path}/in?fence={self.fence}&offset={offset}&wait_s={_WAIT_S}"
        answer = self._api.send("GET", asked, patience_s=_PATIENCE_S)
        if answer.status_code == 204 or self.over.is_set():
            return None
        if answer.content:
            self._heard = time.monotonic()
        return answer.content

    def _put(self, offset: int, content: bytes) -> int:
        try:
            answer = self._api.request(
                "PUT",
                f"{self._path}/out?fence={self.fence}&offset={offset}",
                content,
                headers={"Content-Type": "application/octet-stream"},
                patience_s=_PATIENCE_S,
            )
        except TilthError as error:
            self.stop("" if isinstance(error, Conflict | NotFound) else error.summary)  # it may just be over
            raise
        have: int = msgspec.json.decode(answer)["have"]
        return have

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)


def _pump(stream: IO[bytes], sender: Sender, kind: bytes) -> None:
    """Send what a process says, to its end; it is read also when nobody takes it any more."""
    with stream:
        while part := os.read(stream.fileno(), 1 << 16):
            with contextlib.suppress(BrokenPipeError):
                sender.write(kind, part)
