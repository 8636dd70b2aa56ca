"""The items of a collection, or of what a mapped step gave: a few at a time, by where their lines begin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.server.previews.cells import Unreadable, cut

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ITEMS = "items.jsonl"
_LONGEST_LINE = 1 << 20  # bytes
_SHOWN = 1200  # bytes of a small item


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item. `text` is what is in it, cut, where that is JSON and lies beside the others."""

    digest: str
    type: str = ""
    format: str = ""
    text: str = ""
    folder: str = ""  # of its files, in the artifact


class Items(msgspec.Struct, frozen=True):
    """Some items, and where the rest begins."""

    items: tuple[Item, ...]
    next: int | None = None


def read_items(folder: Path, *, after: int, most: int) -> Items:
    """Items whose lines begin at byte `after` or later.

    Raises:
        Unreadable: The list of items, or what they lie in, is torn.
    """
    try:
        with open(folder / ITEMS, "rb") as file:
            file.seek(after)
            told = list(_lines(file, most))
            place = file.tell()
            more = bool(file.read(1))
        return Items(tuple(_item(folder, each) for each in told), place if more else None)
    except OSError as error:
        raise Unreadable(f"the items of this artifact cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable("the list of items is torn") from error


def _lines(file: Any, most: int) -> Iterator[dict[str, Any]]:
    for _ in range(most):
        line = file.readline(_LONGEST_LINE)
        if not line:
            return
        yield json.loads(line)


def _item(folder: Path, told: dict[str, Any]) -> Item:
    text = ""
    if "json" in told:
        start, size = map(int, told["json"])
        with open(folder / "packed.bin", "rb") as pack:
            pack.seek(start)
            text = cut(pack.read(min(size, _SHOWN)).decode("utf-8", "replace"))
    return Item(
        digest=str(told["digest"]),
        type=str(told.get("type", "")),
        format="json" if text else str(told.get("format", "")),
        text=text,
        folder=str(told.get("folder", "")),
    )
