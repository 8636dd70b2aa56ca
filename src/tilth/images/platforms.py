"""Platforms as images have them: `linux/arm64`."""

from __future__ import annotations

import platform as machine
import re

from tilth.errors import DefinitionError

# As machines call themselves -> as images do.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9]+(/v\d+)?")


def own_platform() -> str:
    """What containers on this machine are of; `linux/amd64` where no image is for its architecture."""
    return f"linux/{ARCHITECTURES.get(machine.machine(), 'amd64')}"


def check_platform(text: str) -> str:
    """A platform, if it is written as one.

    Raises:
        DefinitionError: It is not.
    """
    system, _, rest = text.partition("/")
    named = ARCHITECTURES.get(rest, rest) if rest else ARCHITECTURES.get(system, system)
    if _PLATFORM.fullmatch(text) and named == rest:
        return text
    likely = named if named in ARCHITECTURES.values() else ""
    raise DefinitionError(
        f"`{text}` is not a platform",
        mend=f"write `linux/{likely}`"
        if likely
        else "write it as images have it: `linux/amd64` or `linux/arm64`",
    )
