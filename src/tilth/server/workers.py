"""The processes that answer requests, when they are several: one that ends is replaced."""

from __future__ import annotations

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
