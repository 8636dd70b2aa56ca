"""Columns of frames, as `tilth.materializers.pandas` writes them: each read in part, whatever it is kept in."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from tilth.server.previews.cells import Cell, Unreadable, cell, cut, moment
from tilth.server.previews.npy import Array, Scalar, open_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_LARGEST = 4 << 20  # bytes of a column of JSON, which can only be read as a whole
_NOT_A_TIME = -(1 << 63)
_LONGEST = 1200  # bytes of a text that are read; UTF-8 needs up to four for a character


class Series(Protocol):
    """A column, or an index, that is read where it is asked."""

    type: str
    length: int

    def cells(self, rows: Sequence[range]) -> list[Cell]:
        """What is in these rows. Raises Unreadable."""
        ...

    def numbers(self, rows: Sequence[range]) -> list[Any] | None:
        """The same as numbers, those missing as None; None where they are none. Raises Unreadable."""
        ...

    def label(self, number: Any) -> Cell:
        """A number as it is shown."""
        ...

    @property
    def is_time(self) -> bool:
        """Whether its numbers are shown as times."""
        ...


class Broken:
    """A column that cannot be shown, and why."""

    length = 0
    is_time = False

    def __init__(self, why: str, kind: str = "") -> None:
        self.why = why
        self.type = kind

    def cells(self, rows: Sequence[range]) -> list[Cell]:  # noqa: ARG002 - as all have it
        raise Unreadable(self.why)

    numbers = cells

    def label(self, number: Any) -> Cell:
        return cell(number)


class ArrayColumn:
    """A column of an array."""

    def __init__(
        self, array: Array, column: int = 0, *, called: str = "", show: Callable[[Any], Cell] | None = None
    ) -> None:
        scalar = array.scalar(column)
        if scalar is None:
            raise Unreadable("it holds arrays or structures")
        self._array, self._column, self._scalar = array, column, scalar
        self._show = show
        self.type = called or scalar.type
        self.length = array.rows

    @property
    def is_time(self) -> bool:
        return self._scalar.is_time or self._show is not None

    def cells(self, rows: Sequence[range]) -> list[Cell]:
        if self._show is not None:
            return [None if each is None else self._show(each) for each in self.numbers(rows) or ()]
        (data,) = self._array.read(rows, self._column, 1)
        found = self._scalar.cells(data)
        return found if self._scalar.size else [""] * sum(map(len, rows))

    def numbers(self, rows: Sequence[range]) -> list[Any] | None:
        if not self._scalar.is_number:
            return None
        (data,) = self._array.read(rows, self._column, 1)
        found = self._scalar.numbers(data)
        return found if self._show is None else [None if each == _NOT_A_TIME else each for each in found]

    def label(self, number: Any) -> Cell:
        return self._show(number) if self._show is not None else self._scalar.label(number)


class Numbers:
    """The numbers of a `range`."""

    type = "int64"
    is_time = False

    def __init__(self, start: int, stop: int, step: int) -> None:
        self._range = range(start, stop, step)
        self.length = len(self._range)

    def cells(self, rows: Sequence[range]) -> list[Cell]:
        return [cell(self._range[row]) for part in rows for row in part]

    def numbers(self, rows: Sequence[range]) -> list[Any] | None:
        return [self._range[row] for part in rows for row in part]

    def label(self, number: Any) -> Cell:
        return cell(number)


class Masked:
    """A column, some of whose values are missing."""

    def __init__(self, values: Series, missing: Array) -> None:
        self._values, self._missing = values, missing
        self.type = values.type
        self.length = values.length
        self.is_time = values.is_time

    def cells(self, rows: Sequence[range]) -> list[Cell]:
        pairs = zip(self._values.cells(rows), self._missing.read(rows, 0, 1)[0], strict=True)
        return [None if missing else each for each, missing in pairs]

    def numbers(self, rows: Sequence[range]) -> list[Any] | None:
        found = self._values.numbers(rows)
        if found is None:
            return None
        pairs = zip(found, self._missing.read(rows, 0, 1)[0], strict=True)
        return [None if missing else each for each, missing in pairs]

    def label(self, number: Any) -> Cell:
        return self._values.label(number)


class Text:
    """Texts as UTF-8, one after another, and where each begins."""

    type = "text"
    is_time = False

    def __init__(self, offsets: Array, content: Array) -> None:
        if offsets.item != 8 or content.item != 1 or offsets.rows < 1:
            raise Unreadable("its texts are not as they were written")
        self._offsets, self._content = offsets, content
        self.length = offsets.rows - 1

    def cells(self, rows: Sequence[range]) -> list[Cell]:
        found: list[Cell] = []
        with open(self._content.path, "rb") as file:
            for part in rows:
                # One more than rows: the next begins where this one ends.
                (data,) = self._offsets.read([range(part.start, part.stop + 1)], 0, 1)
                places = Scalar("<", "i", 8).numbers(data)
                for start, end in pairwise(places):
                    if not 0 <= start <= end <= self._content.rows:
                        raise Unreadable("its texts are not as they were written")
                    file.seek(self._content.start + start)
                    text = file.read(min(end - start, _LONGEST)).decode("utf-8", "replace")
                    found.append(cut(text + "…" if end - start > _LONGEST else text))
        return found

    def numbers(self, rows: Sequence[range]) -> list[Any] | None:  # noqa: ARG002 - as all have it
        return None

    def label(self, number: Any) -> Cell:
        return cell(number)


class Categories:
    """Codes, and what each stands for; -1 for what is missing."""

    is_time = False

    def __init__(self, codes: Array, categories: Series, *, called: str = "category") -> None:
        self._codes, self._categories = ArrayColumn(codes), categories
        self._known: dict[int, Cell] = {}
        self.type = called
        self.length = codes.rows

    def cells(self, rows: Sequence[range]) -> list[Cell]:
        return [self._category(code) for code in self._codes.numbers(rows) or ()]

    def numbers(self, rows: Sequence[range]) -> list[Any] | None:  # noqa: ARG002 - as all have it
        return None

    def label(self, number: Any) -> Cell:
        return cell(number)

    def _category(self, code: int) -> Cell:
        if code < 0:
            return None
        if code not in self._known:
            if code >= self._categories.length:
                raise Unreadable("it has a code without a category")
            (self._known[code],) = self._categories.cells([range(code, code + 1)])
        return self._known[code]


class Intervals:
    """Intervals, as two columns."""

    is_time = False

    def __init__(self, left: Series, right: Series, closed: str) -> None:
        self._left, self._right = left, right
        opening, closing = (
            "[" if closed in ("left", "both") else "(",
            "]" if closed in ("right", "both") else ")",
        )
        self._form = f"{opening}{{}}, {{}}{closing}"
        self.type = f"interval[{left.type}]"
        self.length = left.length

    def cells(self, rows: Sequence[range]) -> list[Cell]:
        pairs = zip(self._left.cells(rows), self._right.cells(rows), strict=True)
        return [
            None if one is None or other is None else self._form.format(one, other) for one, other in pairs
        ]

    def numbers(self, rows: Sequence[range]) -> list[Any] | None:  # noqa: ARG002 - as all have it
        return None

    def label(self, number: Any) -> Cell:
        return cell(number)


class Objects:
    """Python objects, as JSON that is read as a whole."""

    type = "object"
    is_time = False

    def __init__(self, path: Path) -> None:
        self._items = read_json(path, _LARGEST)
        if not isinstance(self._items, list):
            raise Unreadable("its objects are not as they were written")
        self.length = len(self._items)

    def cells(self, rows: Sequence[range]) -> list[Cell]:
        return [cell(each) for part in rows for each in self._items[part.start : part.stop]]

    def numbers(self, rows: Sequence[range]) -> list[Any] | None:  # noqa: ARG002 - as all have it
        return None

    def label(self, number: Any) -> Cell:
        return cell(number)


def read_json(path: Path, most: int) -> Any:
    """What a JSON file holds.

    Raises:
        Unreadable: It is larger than `most` bytes, or no JSON.
    """
    try:
        size = path.stat().st_size
        if size > most:
            raise Unreadable(f"`{path.name}` has {size:,} bytes, and can only be read as a whole")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise Unreadable(f"`{path.name}` cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"`{path.name}` is torn") from error


def period(ordinal: int, frequency: str) -> Cell:
    """A period of pandas, which counts from 1970, as it is written."""
    unit = {"Y": "Y", "A": "Y", "M": "M", "D": "D", "h": "h", "H": "h", "min": "m", "s": "s", "W": "W"}.get(
        frequency.partition("-")[0], ""
    )
    if frequency.startswith("Q"):
        year, quarter = divmod(ordinal, 4)
        return f"{1970 + year}Q{quarter + 1}"
    return moment(ordinal, unit) if unit and unit != "W" else f"{ordinal} {frequency}"


def open_npy(folder: Path, name: Any) -> Array:
    """An array of a frame's folder. Names are what a file says: none leads out of it."""
    if not isinstance(name, str) or not name or "/" in name or "\\" in name or "\0" in name or name[0] == ".":
        raise Unreadable("the frame names a file that is none of its own")
    path = folder / name
    if path.is_symlink():
        raise Unreadable(f"`{name}` is a link")
    return open_array(path)
