"""The orchestrators that come with tilth, as flavors of a stack's component."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import EngineUnavailable
from tilth.stack.flavors import Finding, Flavor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.orchestrators import Orchestrator
    from tilth.stack.flavors import Context

from tilth.orchestrators.docker import DockerSettings

_PATIENCE_S = 20.0


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """There is nothing to set."""


class LocalFlavor(Flavor[LocalSettings]):
    """Worker processes on this machine."""

    type = "orchestrator"
    name = "local"
    title = "steps in warm worker processes on this machine"
    settings = LocalSettings

    def make(self, settings: LocalSettings, context: Context) -> Orchestrator:
        """What starts steps."""
        from tilth.orchestrators.this_machine import LocalOrchestrator

        del settings, context
        return LocalOrchestrator()


class DockerFlavor(Flavor[DockerSettings]):
    """Containers of an engine on this machine."""

    type = "orchestrator"
    name = "docker"
    title = "steps in containers of a Docker or Podman engine on this machine"
    settings = DockerSettings

    def make(self, settings: DockerSettings, context: Context) -> Orchestrator:
        """What starts steps."""
        from tilth.orchestrators.docker import DockerOrchestrator

        del context
        return DockerOrchestrator(settings)

    def check(self, settings: DockerSettings, context: Context) -> Sequence[Finding]:
        """Whether the engine answers."""
        del context
        try:
            answer = subprocess.run(
                [settings.engine, "version", "--format", "{{.Server.Version}}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _absent(settings.engine, str(error)) from error
        if answer.returncode != 0:
            raise _absent(settings.engine, answer.stderr.strip())
        return [Finding(level="ok", what=f"{settings.engine} {answer.stdout.strip()} answers")]


def _absent(engine: str, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the container engine `{engine}` does not answer", why=why, mend=f"start it, see `{engine} info`"
    )
