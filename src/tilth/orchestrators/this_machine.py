"""Steps on this machine, as a flavor of orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tilth.orchestrators.local import LocalLauncher
from tilth.stack.flavors import Finding, Flavor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tilth.orchestrators import Delivery, Launcher, Orchestrator
    from tilth.stack.flavors import Context


class LocalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to set: how many steps run at once is `TILTH_WORKERS`, or `--workers`."""


class LocalFlavor(Flavor[LocalSettings]):
    """Steps on this machine."""

    type = "orchestrator"
    name = "local"
    title = "processes on this machine"
    settings = LocalSettings

    def make(self, settings: LocalSettings, context: Context) -> LocalOrchestrator:
        """What starts steps in worker processes."""
        del settings, context
        return LocalOrchestrator()

    def check(self, settings: LocalSettings, context: Context) -> Sequence[Finding]:
        """Nothing can be wrong that `tilth doctor` would not tell."""
        del settings, context
        return [Finding(level="ok", what="steps run in processes on this machine")]


class LocalOrchestrator:
    """Starts steps in worker processes, each in the venv of its environment."""

    in_containers = False
    delivery: Delivery = "venv"
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
