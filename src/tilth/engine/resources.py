"""What this machine has, and who uses how much of it now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tilth.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.ir.pipeline import Node


class Capacity:
    """Room for steps. A step takes its resources while it runs.

    Args:
        cpu: Cores.
        memory: Bytes; a step that names no amount takes none of it.
        gpu: Number of GPUs.
    """

    def __init__(self, cpu: float, memory: int, gpu: int) -> None:
        self.cpu = cpu
        self.memory = memory
        self.gpu = gpu
        self._free = {"cpu": float(cpu), "memory": float(memory), "gpu": float(gpu)}

    def check(self, nodes: Iterable[Node]) -> None:
        """Refuse steps that could never start here.

        Raises:
            SetupError: One asks for more than the machine has.
        """
        for node in nodes:
            _, memory, gpu = _asked(node)  # more cores than there are is a wish: the step gets all of them
            if memory > self.memory:
                raise SetupError(
                    f"step `{node.id}` cannot be placed on this machine",
                    why=f"it asks for {memory / 2**30:.1f} GiB of memory; it has {self.memory / 2**30:.1f} GiB",
                    mend="lower `memory` in the step's resources",
                )
            if gpu > self.gpu:
                raise SetupError(
                    f"step `{node.id}` cannot be placed on this machine",
                    why=f"it asks for {gpu} of its GPUs; it has {self.gpu or 'none'}",
                    mend="lower `gpu` in the step's resources",
                )

    def take(self, node: Node) -> bool:
        """Take what a step needs, if it is free."""
        cpu, memory, gpu = _asked(node)
        asked = {"cpu": min(cpu, self.cpu), "memory": memory, "gpu": gpu}
        if any(amount > self._free[name] + 1e-9 for name, amount in asked.items()):
            return False
        for name, amount in asked.items():
            self._free[name] -= amount
        return True

    def give_back(self, node: Node) -> None:
        """Return what `take` took."""
        cpu, memory, gpu = _asked(node)
        for name, amount in {"cpu": min(cpu, self.cpu), "memory": memory, "gpu": gpu}.items():
            self._free[name] += amount


def _asked(node: Node) -> tuple[float, int, int]:
    asked = node.resources
    return asked.get("cpu", 1), asked.get("memory") or 0, asked.get("gpu", 0)


def this_machine(cpu: float) -> Capacity:
    """The capacity of this machine, with so many cores."""
    return Capacity(cpu, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), _gpus())


def _gpus() -> int:
    """NVIDIA devices by their device files: no library and no process is needed to count them."""
    try:
        return sum(name.startswith("nvidia") and name[6:].isdigit() for name in os.listdir("/dev"))
    except OSError:
        return 0
