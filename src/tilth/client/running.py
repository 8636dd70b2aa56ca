"""What a run needs of the stack it is for: where its steps run, and what their environments are for."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tilth.client.targets import ImageTarget, in_containers
from tilth.orchestrators.this_machine import LocalOrchestrator
from tilth.records import ComponentUsed

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.environments import Interpreter
    from tilth.home import Home
    from tilth.ir.pipeline import Pipeline
    from tilth.orchestrators import Orchestrator


@dataclass(frozen=True)
class Running:
    """Where and how the steps of a run are run.

    Attributes:
        stack: Name; empty for the default one.
        target: What environments are for, where steps run in containers.
    """

    stack: str
    orchestrator: Orchestrator
    target: ImageTarget | None = None
    used: ComponentUsed | None = None  # what the run's record says of the orchestrator

    def pipeline(self, compiled: Pipeline) -> Pipeline:
        """The pipeline as it runs there."""
        return compiled if self.target is None else in_containers(compiled)


def running_on(
    stack: str | None, *, root: Path, interpreter: Interpreter, home: Home, offline: bool = False
) -> Running:
    """What the active stack of a project, or one by name, gives a run.

    Args:
        root: The code root.
        interpreter: The client's.
    Raises:
        TilthError: There is no such stack, or it cannot be used.
    """
    name, used = _of_stack(stack, root, home)
    return running_as(name, used, interpreter=interpreter, home=home, offline=offline)


def running_as(
    stack: str, used: ComponentUsed | None, *, interpreter: Interpreter, home: Home, offline: bool = False
) -> Running:
    """What a recorded run was given."""
    if used is None:
        return Running(stack, LocalOrchestrator())
    orchestrator = _open(used, home)
    target = None
    if orchestrator.in_containers:
        inspect = functools.partial(_inspect, orchestrator=orchestrator, home=home, offline=offline)
        target = ImageTarget(orchestrator, inspect, interpreter)
    return Running(stack, orchestrator, target, used)


def _of_stack(stack, root, home):  # TEMP
    import os

    stack = stack or os.environ.get("TILTH_STACK", "")
    if stack in ("", "default"):
        return "", None
    return stack, ComponentUsed(
        flavor="docker", settings={"base_image": "tilth-base/debian-py:bookworm"}, component="docker"
    )


def _open(used, home):  # TEMP
    import msgspec

    from tilth.orchestrators.docker import DockerOrchestrator, DockerSettings

    return DockerOrchestrator(msgspec.convert(used.settings, DockerSettings))


def _inspect(reference, *, orchestrator, home, offline):  # TEMP
    import json
    import subprocess

    from tilth.images.bases import Base

    found = json.loads(
        subprocess.check_output(["docker", "image", "inspect", reference.removeprefix("docker:")])
    )[0]
    return Base(
        reference=reference,
        source="engine:docker",
        digest=found["Id"],
        os="linux",
        architecture="amd64",
        layers=(),
        config=found["Config"],
        python="/usr/bin/python3.11",
        version="3.11.2",
        libc="glibc 2.36",
    )
