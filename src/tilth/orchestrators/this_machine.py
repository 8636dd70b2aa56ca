"""Steps on this machine, as a flavor of orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.orchestrators.local import LocalLauncher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tilth.orchestrators import Launcher, Orchestrator


class LocalOrchestrator:
    """Starts steps in worker processes, each in the venv of its environment."""

    in_containers = False
    engine = ""

    def base_image(self, minor: str) -> str:
        """None: environments stand on the interpreters of this machine."""
        raise AssertionError(f"no base is asked for Python {minor} where steps run on this machine")

    def launcher(
        self, keep: int, reads: Sequence[Path], answer: Callable[[str, dict[str, Any]], Any]
    ) -> Launcher:
        """What starts the steps of one run."""
        del reads  # a process of this machine reads what it will
        return LocalLauncher(keep=keep, answer=answer)


if TYPE_CHECKING:
    _keeps_the_promises: type[Orchestrator] = LocalOrchestrator
