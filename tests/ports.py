"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import random
import socket

from tests.engine.play import wait_until

_SERVICES = range(26500, 26600)  # of `scripts/services`


def free_port() -> int:
    """A port of this machine that nobody has, and that no connection is given before a server takes it.

    Those that a system gives by itself are higher than these.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _SERVICES:
            return port


def wait_for_port(port: int) -> None:
    """Wait until somebody listens."""

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, f"a server at port {port}")
