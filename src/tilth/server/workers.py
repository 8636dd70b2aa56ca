"""The processes that answer requests, when they are several: one that ends is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """Uvicorn's supervisor of processes, which also forgets what an ended one had in flight."""

    def keep_subprocess_alive(self) -> None:
        """Called twice a second."""
        before = {each.pid for each in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {each.pid for each in self.processes}:
            if pid is not None:
                mark_process_dead(pid)  # type: ignore[no-untyped-call]


def end_with_parent() -> None:
    """Have this process end, after the requests that are open, when the one that looks after it has been killed.

    It would answer on, and hold the port that the server is to have when it is started again.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="tilth-parent", daemon=True).start()
