"""The environment of a server: tilth, what a server needs, and packages of custom components; locked like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.define import Environment
from tilth.stack.installed import installed_requirement

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "server"


def server_environment(requirements: Sequence[str] = ()) -> Environment:
    """The declaration.

    Args:
        requirements: What components of the server's stacks need there, and what its operator adds.
    """
    ours = installed_requirement("tilth", extra="server")
    return Environment(NAME, requirements=[ours, *dict.fromkeys(requirements)])
