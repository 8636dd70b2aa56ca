"""The supervisor's environment: tilth itself, and what the components of the stack need. Locked like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.define import Environment
from tilth.stack.installed import installed_requirement

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "supervisor"


def supervisor_environment(requirements: Sequence[str] = ()) -> Environment:
    """The declaration.

    Args:
        requirements: What the components of the stack need beside a step.
    """
    return Environment(NAME, requirements=[installed_requirement("tilth"), *dict.fromkeys(requirements)])
