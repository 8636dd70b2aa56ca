"""Finds a function in the source of its module. Reads text of any Python, and never runs or parses it as code."""

from __future__ import annotations

import inspect
import re
import tokenize
from typing import NamedTuple


class Lines(NamedTuple):
    """Lines of a text, counted from 1, both ends among them."""

    first: int
    last: int


def find_function(text: str, qualname: str) -> Lines | None:
    """Where a function is defined, with its decorators; None where that cannot be told."""
    lines = text.splitlines(keepends=True)
    at, indent = 0, ""
    for depth, name in enumerate(qualname.split(".")):
        found = _definition(lines, at, name, indent, top=depth == 0)
        if found is None:
            return None
        at, indent = found
    first = _decorators(lines, at, indent)
    return Lines(first + 1, first + len(_block(lines[first:])))


def _definition(lines: list[str], at: int, name: str, outer: str, *, top: bool) -> tuple[int, str] | None:
    """The last definition of a name, as importing the module leaves it, and how far it is indented."""
    wanted = re.compile(rf"([ \t]*)(?:async[ \t]+def|def|class)[ \t]+{re.escape(name)}\b")
    found = None
    for number in range(at if top else at + 1, len(lines)):
        match = wanted.match(lines[number])
        if match and (match[1] == "" if top else match[1].startswith(outer) and match[1] != outer):
            found = number, match[1]
        elif not top and lines[number].strip() and not lines[number].startswith((outer + " ", outer + "\t")):
            break
    return found


def _decorators(lines: list[str], at: int, indent: str) -> int:
    """The first line of what decorates the definition at a line: up to the first `@` above without a gap."""
    first = at
    for number in range(at - 1, -1, -1):
        line = lines[number]
        if line.startswith(f"{indent}@"):
            first = number
        elif not line.strip() or re.match(rf"{indent}(?:def|class|async)\b", line):
            break
    return first


def _block(lines: list[str]) -> list[str]:
    try:
        return inspect.getblock(lines)
    except (tokenize.TokenError, SyntaxError):  # of a newer Python
        return lines
