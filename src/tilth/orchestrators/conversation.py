"""What a supervisor says to a worker and hears from it, over a socket that is connected already.

Knows the messages (see `tilth.runtime.worker`), and nothing of processes: who started the worker, where it runs,
and how what it prints comes here, is its launcher's to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from tilth.errors import TilthError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

_LONGEST_PATH = 100  # bytes of the address of a socket: Linux takes 107, macOS 103


class Conversation:
    """One side of the talk with one worker, on the running loop; the socket is this object's to close.

    Args:
        connected: The socket.
        answer: What a step asks of its supervisor: (method, parameters) to a JSON value. Called in a thread.
        before_done: Called when a step says it is done, before anybody hears of that: the moment to take what
            it printed.

    Attributes:
        is_called: Whether the step's function was called; before that there is nothing to clean up.
        is_open: Whether the worker still listens.
    """

    def __init__(
        self,
        connected: socket.socket,
        answer: Callable[[str, dict[str, Any]], Any],
        before_done: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_called = False
        self.is_open = True
        self.when_closed: Callable[[], None] = lambda: None  # called once, when the worker has hung up
        self._socket = connected
        self._answer = answer
        self._before_done = before_done
        self._loop = asyncio.get_running_loop()
        self._replies: set[asyncio.Task[None]] = set()
        self._done: asyncio.Future[dict[str, Any] | None] | None = None
        self._buffer = b""
        connected.setblocking(False)
        self._loop.add_reader(connected, self._hear)

    def step(
        self, folder: Path | str, secrets: Mapping[str, str] | None = None
    ) -> asyncio.Future[dict[str, Any] | None]:
        """Have it run the step in a folder, named as the worker sees it; one at a time.

        Args:
            secrets: Variables of a worker that runs this step alone: whoever can look at how it was started does
                not see them.

        Gives the worker's `done` message, or None when `over` was called first.
        """
        self._done = self._loop.create_future()
        self.is_called = False
        self._send({"do": "step", "folder": str(folder), **({"variables": dict(secrets)} if secrets else {})})
        return self._done

    def interrupt(self) -> None:
        """Have the worker interrupt its step, where no signal can be sent to it."""
        self._send({"do": "interrupt"})

    def over(self) -> None:
        """The worker is gone: hear what it said last, and wait for nothing more."""
        self._hear()
        self.close()
        if self._done and not self._done.done():
            self._done.set_result(None)

    def close(self) -> None:
        """Hang up, upon which a worker ends."""
        self.is_open = False
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _hear(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                data = self._socket.recv(1 << 16)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(self._socket)
                if self.is_open:
                    self.is_open = False
                    self.when_closed()
                return
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                self._said(json.loads(line))

    def _said(self, message: dict[str, Any]) -> None:
        if "ask" in message:
            task = self._loop.create_task(self._reply(message))
            self._replies.add(task)
            task.add_done_callback(self._replies.discard)
        elif "called" in message:
            self.is_called = True
        elif "done" in message and self._done and not self._done.done():
            self._before_done()
            self._done.set_result(message)

    async def _reply(self, message: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"answer": message["ask"]}
        try:
            reply["result"] = await asyncio.to_thread(self._answer, message["method"], message["params"])
        except TilthError as error:
            reply["error"] = error.to_json()
        except Exception as error:
            logger.exception("a step asked `%s`", message["method"])
            reply["error"] = TilthError(f"{type(error).__name__}: {error}").to_json()
        self._send(reply)

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):  # an answer larger than the buffer; a worker always reads
                self._socket.setblocking(True)
                self._socket.sendall(data[sent:])
                self._socket.setblocking(False)
        except OSError:  # the worker has ended; `over` tells
            return


class Door:
    """A Unix socket at a path, for one worker that is no child of this process to come in by.

    The file may be in a folder that a container has mounted: give `{"socket": PATH}` to its worker. Closed
    after one has come, and the file is gone then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            _bind(self._socket, path)
            path.chmod(0o666)  # a container may run as somebody else; the folder says who comes near
            self._socket.listen(1)
            self._socket.setblocking(False)
        except OSError:
            self.close()
            raise

    async def come_in(self) -> socket.socket:
        """The socket of the worker that came."""
        try:
            connected, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        finally:
            self.close()
        return connected

    def close(self) -> None:
        """Nobody comes in any more."""
        self._socket.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _bind(listening: socket.socket, path: Path) -> None:
    """Bind to a path of any length."""
    if len(os.fsencode(path)) <= _LONGEST_PATH or not os.path.isdir("/proc/self/fd"):  # noqa: PTH112
        listening.bind(str(path))
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listening.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
