"""What a column holds, from a sample of its rows. Pure."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.server.previews.cells import Cell

_BINS = 24
_SHOWN = 8
_BLOCKS = 64


class TopValue(msgspec.Struct, frozen=True):
    """A value, and how often it is in the sample."""

    value: str
    count: int


class ColumnSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the looked-at rows of a column hold.

    `edges` has one number more than `counts`; of times, they count in the column's unit. `low` and `high` are the least
    and the largest as they are shown.
    """

    name: str
    type: str
    kind: str = "values"  # `numbers`, `times` or `values`
    problem: str = ""  # why nothing can be said
    looked_at: int = 0  # rows
    missing: int = 0
    distinct: int = 0  # of values
    mean: float | None = None  # of numbers
    low: str = ""
    high: str = ""
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    top: tuple[TopValue, ...] = ()


def sample(rows: int, most: int) -> list[range]:
    """Which rows are looked at: all, or as many as `most` in blocks all over them, the first and the last included."""
    if rows <= most:
        return [range(rows)] if rows else []
    size = max(1, most // _BLOCKS)
    count = most // size
    starts = [round(number * (rows - size) / max(1, count - 1)) for number in range(count)]
    return [range(start, start + size) for start in starts]


def of_numbers(numbers: Sequence[Any], *, label: Any, times: bool) -> dict[str, Any]:
    """What `ColumnSummary` says of numbers. What is None or not finite is missing.

    Args:
        label: Gives a number as it is shown.
    """
    present = [each for each in numbers if each is not None and math.isfinite(each)]
    told: dict[str, Any] = {
        "kind": "times" if times else "numbers",
        "looked_at": len(numbers),
        "missing": len(numbers) - len(present),
    }
    if not present:
        return told
    low, high = min(present), max(present)
    edges, counts = histogram(present)
    mean = math.fsum(each / len(present) for each in present)  # not of the sum, which may be too large
    told |= {"low": str(label(low)), "high": str(label(high)), "edges": edges, "counts": counts}
    return told if times else {**told, "mean": mean if math.isfinite(mean) else None}


def histogram(numbers: Sequence[Any]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Edges, and how many numbers lie between each two; the last edge belongs to the last bin.

    Whole numbers that are few get a bin each.
    """
    low, high = min(numbers), max(numbers)
    if low == high:
        return (float(low), float(high)), (len(numbers),)
    whole = isinstance(low, int) and isinstance(high, int)
    if whole and high - low < _BINS:
        tally = Counter(numbers)
        edges = tuple(each - 0.5 for each in range(low, high + 2))
        return edges, tuple(tally[each] for each in range(low, high + 1))
    # Halves first: the difference of the largest floats is not finite.
    width = high / _BINS - low / _BINS
    if not width:
        return (float(low), float(high)), (len(numbers),)
    counts = [0] * _BINS
    for each in numbers:
        counts[max(0, min(_BINS - 1, int(each / width - low / width)))] += 1
    edges = (*(low + width * number for number in range(_BINS)), high)
    return tuple(map(float, edges)), tuple(counts)


def of_values(values: Sequence[Cell]) -> dict[str, Any]:
    """What `ColumnSummary` says of anything else: what is most often there."""
    tally = Counter(each for each in values if each is not None)
    top = sorted(tally.items(), key=lambda item: (-item[1], str(item[0])))[:_SHOWN]
    return {
        "kind": "values",
        "looked_at": len(values),
        "missing": sum(each is None for each in values),
        "distinct": len(tally),
        "top": tuple(TopValue(_text(value), count) for value, count in top),
    }


def _text(value: Cell) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
