"""Values as cells of a table: what JSON holds exactly and a reader of JSON reads exactly, and nothing long."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any, TypeAlias

Cell: TypeAlias = str | int | float | bool | None
LONGEST = 300  # characters of one cell
_EXACT = 1 << 53  # what readers of JSON tell apart from its neighbours
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - numpy's times have no zone
_NOT_A_TIME = -(1 << 63)
_MICROSECONDS = {
    "W": 604_800_000_000,
    "D": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_FINER = {"ns": 10**3, "ps": 10**6, "fs": 10**9, "as": 10**12}  # parts of a microsecond


class Unreadable(Exception):
    """A file, or a part of one, cannot be shown. Says why, for people."""


def cell(value: Any) -> Cell:
    """A Python value as a cell."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else "nan" if value != value else "inf" if value > 0 else "-inf"
    return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def cut(text: str) -> str:
    """A text no longer than a cell takes, which every encoder takes."""
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    return text.encode("utf-8", "replace").decode()


def moment(count: int, unit: str, step: int = 1) -> str | None:
    """A `datetime64` as ISO 8601; None for one that is missing.

    Args:
        count: Since 1970, in `step` times `unit`, as numpy counts.
    """
    if count == _NOT_A_TIME:
        return None
    count *= step
    if unit in ("Y", "M"):
        year, month = (1970 + count, 0) if unit == "Y" else divmod(1970 * 12 + count, 12)
        return f"{year:04d}" if unit == "Y" else f"{year:04d}-{month + 1:02d}"
    microseconds, rest = _microseconds(count, unit)
    try:
        at = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{count} {unit} from 1970"
    if unit in ("D", "W"):
        return at.date().isoformat()
    text = at.isoformat(sep=" ")
    return f"{text if at.microsecond else text + '.000000'}{rest}" if rest else text


def duration(count: int, unit: str, step: int = 1) -> str | None:
    """A `timedelta64` in days, hours, minutes, seconds; None for one that is missing."""
    if count == _NOT_A_TIME:
        return None
    count *= step
    if unit not in _MICROSECONDS and unit not in _FINER:
        return f"{count} {unit}".strip()
    microseconds, rest = _microseconds(count, unit)
    try:
        text = str(timedelta(microseconds=microseconds))
        return f"{text} and {rest.lstrip('0')} {unit}" if rest else text
    except OverflowError:
        return f"{count} {unit}"


def _microseconds(count: int, unit: str) -> tuple[int, str]:
    """Whole microseconds, and the digits after them."""
    if unit in _FINER:
        whole, rest = divmod(count, _FINER[unit])
        return whole, f"{rest:0{len(str(_FINER[unit])) - 1}d}" if rest else ""
    return count * _MICROSECONDS.get(unit, 1), ""
