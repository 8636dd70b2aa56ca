"""Why a build failed, from the last lines that it wrote: which instruction, and what that said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 12  # lines
# As BuildKit, the classic builder and Buildah write them.
_BUILDKIT = re.compile(r"^(?:------)? ?> (?:importing|\[[^\]]*\]) ?(?P<told>.*?):?$")
_STEP = re.compile(r"^(?:Step \d+/\d+ : |STEP \d+(?:/\d+)?: )(?P<told>.*)$")
_BUILDAH = re.compile(r'building at STEP "(?P<told>.*?)": ')
_CODE = re.compile(r"(?:non-zero code|exit code|exit status):? (\d+)")
_NOISE = re.compile(
    r"-{3,}|={3,}|DONE |CACHED|sha256:|transferring |naming to |exporting |\[internal\] |Sending build context|"
    r" ---> |Removing intermediate |Removed intermediate |DEPRECATED: |"
    r"\s+BuildKit is currently|\s+environment-variable|\s+Install the buildx|\s+https://docs.docker.com/go/buildx"
)
_TIMED = re.compile(r"^#\d+ (?:\d+\.\d+ )?")


class Failure(NamedTuple):
    """What is known of it; texts may be empty."""

    instruction: str
    code: int | None
    lines: list[str]  # the last of what was written


def explain(lines: Sequence[str]) -> Failure:
    """Read the end of a build's output."""
    instruction, code = "", None
    for line in lines:
        found = _BUILDAH.search(line) or _BUILDKIT.match(line) or _STEP.match(line)
        if found and found["told"].strip():
            instruction = found["told"].strip()
        if number := _CODE.search(line):
            code = int(number[1])
    told = [_TIMED.sub("", line) for line in lines]
    said = [line for line in told if line.strip() and not _noise(line)]
    return Failure(_short(instruction), code, list(dict.fromkeys(said[-_SHOWN:])))


def _noise(line: str) -> bool:
    return _NOISE.match(line) is not None


def _short(instruction: str) -> str:
    one = " ".join(instruction.split())
    return f"{one[:157]}…" if len(one) > 160 else one
