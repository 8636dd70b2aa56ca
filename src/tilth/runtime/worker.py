"""The warm worker: a process of one environment that runs one step after another.

It talks with its supervisor over one socket, a JSON object per line. The socket is inherited (`{"fd": 3}`), or is
found at a path (`{"socket": "/…"}`) by a worker that its supervisor did not start, as in a container; what such a
one prints may go into named pipes that the supervisor reads (`{"stdout": "/…", "stderr": "/…"}`).

    supervisor -> worker    {"do": "step", "folder": "…", "variables": {…}}   set before it, and shown nowhere
                            {"do": "interrupt"}       as Ctrl-C would; for who cannot send a signal
                            {"answer": 3, "result": …} or {"answer": 3, "error": {…}}
    worker -> supervisor    {"ready": PID}
                            {"called": true}          the user's code is imported, its function is called now
                            {"done": true, "completed": …, "leave": ["why this process should not go on"]}
                            {"ask": 3, "method": "get_run", "params": {…}}

When the socket closes, the supervisor is gone: the process and its children end at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tilth.errors import TilthError
from tilth.runtime import bytecode, call
from tilth.runtime.state import ProcessState, peak_bytes, reset_peak

_GROWTH = 2 << 30  # bytes a step may leave in use before its worker is replaced


class Channel:
    """The supervisor's side of the conversation, read by a thread so that a busy step cannot miss its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._asked = 0
        self.tasks: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._answers: dict[int, SimpleQueue[dict[str, Any]]] = {}
        threading.Thread(target=self._listen, name="tilth-supervisor", daemon=True).start()

    def say(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Ask the supervisor something about the run's project, and wait for the answer."""
        with self._lock:
            self._asked += 1
            number = self._asked
        self._answers[number] = SimpleQueue()
        self.say({"ask": number, "method": method, "params": params})
        answer = self._answers[number].get()
        del self._answers[number]
        if "error" in answer:
            raise TilthError.from_json(answer["error"])
        return answer["result"]

    def _listen(self) -> None:
        buffer = b""
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                data = b""
            if not data:
                _end()
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "answer" in message:
                    self._answers[message["answer"]].put(message)
                elif message["do"] == "interrupt":
                    os.kill(os.getpid(), signal.SIGINT)
                else:
                    self.tasks.put(message)


def _end() -> None:
    """The supervisor is gone: leave nothing behind."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def connected(path: str) -> int:
    """A socket that a supervisor listens on at a path, which may be longer than an address can be."""
    import socket

    folder, _, name = path.rpartition("/")
    os.chdir(folder or "/")
    with socket.socket(socket.AF_UNIX) as connecting:
        connecting.connect(name)
        return connecting.detach()


def _redirect(number: int, path: str) -> None:
    """Have a stream go into a pipe of the supervisor's."""
    pipe = os.open(path, os.O_WRONLY)
    os.dup2(pipe, number)
    os.close(pipe)
    # A new object: the one that is there may know of a file that it could seek in.
    stream = open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    name = "stdout" if number == 1 else "stderr"
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def serve(settings: str) -> None:
    """Run steps until the supervisor closes the socket."""
    config = json.loads(settings)
    channel = Channel(config["fd"] if "fd" in config else connected(config["socket"]))
    for number, stream in ((1, "stdout"), (2, "stderr")):
        if stream in config:
            _redirect(number, config[stream])
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    sys.path[:0] = config["roots"]
    bytecode.trust_only_old(config["roots"])
    os.chdir(config["cwd"])

    from tilth.runtime import client

    client.set_transport(channel.ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a cancel that comes between two steps means neither
    state = ProcessState()
    channel.say({"ready": os.getpid()})
    while True:
        try:
            task = channel.tasks.get()
            reset_peak()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            folder = Path(task["folder"])
            os.environ.update(task.get("variables", {}))

            def called() -> None:
                state.observe()
                channel.say({"called": True})

            completed = call.call_step(folder, started=called)
            peak = peak_bytes()
            reasons = state.restore(growth=_GROWTH)
            if not completed:
                reasons.append("its step failed")
            channel.say({"done": True, "completed": completed, "peak": peak, "leave": reasons})
        except KeyboardInterrupt:  # it came while the step was prepared or cleared away: it has no result
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            channel.say({"done": True, "completed": False, "peak": 0, "leave": ["it was interrupted"]})
