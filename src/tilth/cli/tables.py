"""Records as text: aligned columns for people, JSON for programs. Knows nothing of what is in them."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def table(columns: Sequence[str], rows: Iterable[Mapping[str, object]], *, indent: int = 0) -> str:
    """Rows under a heading, each column as wide as its widest cell; one that is empty throughout is left out.

    On a terminal a line is cut at its edge, and a cell before the last keeps its two ends in half of the line;
    elsewhere nothing is cut.
    """
    listed = [[" ".join(str(row.get(name) or "").split()) for name in columns] for row in rows]
    used = [i for i in range(len(columns)) if any(cells[i] for cells in listed)]
    edge = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if edge is not None:
        last = max(used, default=0)
        listed = [
            [cell if i == last else _both_ends(cell, edge // 2) for i, cell in enumerate(cells)]
            for cells in listed
        ]
    widths = {i: max(len(columns[i]), *(_width(cells[i]) for cells in listed)) for i in used}

    def line(cells: Sequence[str]) -> str:
        padded = (cells[i] + " " * (widths[i] - _width(cells[i])) for i in used)
        text = " " * indent + "  ".join(padded).rstrip()
        if edge is None or _width(text) <= edge:
            return text
        text = text[: edge - 1]
        while _width(text) >= edge:
            text = text[:-1]
        return text + "…"

    return "\n".join([click.style(line(columns), dim=True), *(line(cells) for cells in listed)])


def _both_ends(text: str, width: int) -> str:
    """A text with its middle left out when it is wider: names that a number tells apart end in it."""
    if _width(text) <= width:
        return text
    for kept in range(width - 1, 1, -1):
        head, tail = text[: (kept + 1) // 2], text[len(text) - kept // 2 :]
        if _width(head) + _width(tail) < width:
            return f"{head}…{tail}"
    return "…"


def _width(text: str) -> int:
    """Columns of a terminal: two for a wide letter, none for one that combines with the letter before it."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def pairs(values: Mapping[str, str], *, indent: int = 2) -> str:
    """One line for each name and value, aligned; a name without a value is left out."""
    width = max((len(name) for name, value in values.items() if value), default=0)
    gap = " " * (indent + width + 2)
    return "\n".join(
        " " * indent + name.ljust(width + 2) + value.replace("\n", "\n" + gap)
        for name, value in values.items()
        if value
    )


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Records, or anything made of them, as JSON; on one line without an indent."""
    import json

    import msgspec

    # Half a surrogate pair stands for a byte of a file name that is not UTF-8; ASCII escapes can hold it.
    return json.dumps(msgspec.to_builtins(value), indent=indent)


def more(following: object, limit: int) -> None:
    """Say that a list was cut, so that nobody takes a part for the whole."""
    if following is not None:
        click.echo(f"these are the newest {limit}; `--limit` shows more", err=True)
