"""The supervisor's environment: tilth itself, and what the components of the stack need. Locked like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth import environments as envs
from tilth.client.environments import records_of
from tilth.define import Environment
from tilth.stack.installed import installed_requirement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tilth.environments import Interpreter, Locked
    from tilth.home import Home
    from tilth.store import Put

NAME = "supervisor"


def supervisor_environment(requirements: Sequence[str] = ()) -> Environment:
    """The declaration.

    Args:
        requirements: What the components of the stack need beside a step.
    """
    return Environment(NAME, requirements=[installed_requirement("tilth"), *dict.fromkeys(requirements)])


def lock_supervisor(
    requirements: Sequence[str], *, root: Path, interpreter: Interpreter, home: Home, offline: bool = False
) -> Locked:
    """Its lock for an interpreter, here or in an image; resolved when it never was.

    Raises:
        TilthError: As `environments.lock` does.
    """
    declared = supervisor_environment(requirements).to_json()
    return envs.lock(declared, root=root, interpreter=interpreter, home=home, offline=offline)


def supervisor_records(lock: Locked) -> list[Put]:
    """What is remembered of it, beside `Run.supervisor = lock.digest`."""
    return records_of(lock, role="supervisor")
