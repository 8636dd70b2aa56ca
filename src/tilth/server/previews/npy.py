"""Parts of `.npy` files: the header, some rows, a sample.

Source: numpy.lib.format, "Format Specification: Version 1.0" to 3.0. Nothing here runs what a file says: object arrays,
which are pickled, are refused.
"""

from __future__ import annotations

import ast
import contextlib
import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from tilth.server.previews.cells import Cell, Unreadable, cell, cut, duration, moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000  # bytes: as numpy itself takes of files that nobody vouches for
_MOST_ITEMS = 1 << 53
_MOST_READ = 64 << 20  # bytes for one answer
_AT_ONCE = 1 << 20  # bytes of one row that are read where only some of its columns are wanted
_TYPE = re.compile(r"([<>|=])([biufcSUVMm])(\d+)(?:\[(\d*)([A-Za-z]+)\])?")
_CODES = {
    "b1": "?",
    "i1": "b",
    "u1": "B",
    "i2": "h",
    "u2": "H",
    "i4": "i",
    "u4": "I",
    "i8": "q",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}
_DIGITS = {2: (3, 4, 5), 4: (6, 7, 8, 9)}  # that half and single precision need at most
_NAMES = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex", "S": "bytes", "U": "text"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one number, text or time lies in a file."""

    order: str  # `<` or `>`
    kind: str  # as numpy names kinds: `f`
    size: int  # bytes
    step: int = 1
    unit: str = ""  # of times

    @property
    def type(self) -> str:
        """As people know it."""
        if self.kind in "Mm":
            step = "" if self.step == 1 else str(self.step)
            return f"{'datetime64' if self.kind == 'M' else 'timedelta64'}[{step}{self.unit}]"
        if self.kind in "bSU":
            return _NAMES[self.kind]
        return f"{_NAMES[self.kind]}{8 * self.size}" if self.kind in _NAMES else f"{self.size} bytes"

    @property
    def is_number(self) -> bool:
        """Whether it has a place on an axis."""
        return (self.kind in "iuf" and self._code != "") or self.kind in "Mm"

    @property
    def is_time(self) -> bool:
        """Whether its numbers are shown as times."""
        return self.kind in "Mm"

    def numbers(self, data: bytes) -> list[Any]:
        """What lies in `data`, one after another, as numbers; times that are missing are None."""
        if self.kind in "Mm":
            found = struct.unpack(f"{self.order}{len(data) // 8}q", data)
            return [None if each == -(1 << 63) else each for each in found]
        return list(struct.unpack(f"{self.order}{len(data) // self.size}{self._code}", data))

    def label(self, number: Any) -> Cell:
        """A number of `numbers`, as it is shown."""
        if number is None:
            return None
        if self.kind == "M":
            return moment(int(number), self.unit, self.step)
        if self.kind == "m":
            return duration(int(number), self.unit, self.step)
        if self.kind == "f" and self.size in _DIGITS and math.isfinite(number):
            return self._shortest(number)
        return cell(number)

    def cells(self, data: bytes) -> list[Cell]:
        """What lies in `data`, one after another."""
        if self.is_number or self.kind == "b":
            return [self.label(each) for each in self.numbers(data)]
        if self.kind == "c" and self.size in (8, 16):
            parts = struct.unpack(
                f"{self.order}{2 * len(data) // self.size}{'f' if self.size == 8 else 'd'}", data
            )
            pairs = zip(parts[::2], parts[1::2], strict=True)
            return [f"{real:g}{imaginary:+g}j" for real, imaginary in pairs]
        pieces = [data[at : at + self.size] for at in range(0, len(data), self.size)] if self.size else []
        if self.kind == "U":
            name = "utf-32-le" if self.order == "<" else "utf-32-be"
            return [cut(each.decode(name, "replace").rstrip("\0")) for each in pieces]
        if self.kind == "S":
            return [cut(each.rstrip(b"\0").decode("utf-8", "backslashreplace")) for each in pieces]
        return [cut(each.hex()) for each in pieces]

    def _shortest(self, number: float) -> float:
        """The number with as few digits as tell it from its neighbours of this size, as numpy writes it."""
        for digits in _DIGITS[self.size]:
            short = float(f"{number:.{digits}g}")
            with contextlib.suppress(OverflowError):
                if struct.unpack(self._code, struct.pack(self._code, short))[0] == number:
                    return short
        return number

    @property
    def _code(self) -> str:
        return _CODES.get(f"{self.kind}{self.size}", "")


@dataclass(frozen=True, slots=True)
class Field:
    """A part of each item of a structured array; of another array, the whole item."""

    name: str
    offset: int  # bytes, in the item
    scalar: Scalar | None  # None: an array in itself, or a structure
    size: int

    @property
    def type(self) -> str:
        """As people know it."""
        return self.scalar.type if self.scalar else f"{self.size} bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """A `.npy` file, as rows and columns: the first dimension, and all others one after another."""

    path: Path
    start: int  # where its data begins
    shape: tuple[int, ...]
    fortran: bool
    item: int  # bytes
    fields: tuple[Field, ...]

    @property
    def rows(self) -> int:
        """Of an array without dimensions, 1."""
        return self.shape[0] if self.shape else 1

    @property
    def columns(self) -> int:
        """How many columns it is shown in."""
        return len(self.fields) if self.is_structured else self._across

    @property
    def is_structured(self) -> bool:
        """Whether its items have parts with names."""
        return len(self.fields) != 1 or bool(self.fields[0].name)

    @property
    def type(self) -> str:
        """Of its items."""
        return "structured" if self.is_structured else self.fields[0].type

    def column_name(self, column: int) -> str:
        """A field's name, else the place in all dimensions but the first; empty where there is one column alone."""
        if self.is_structured:
            return self.fields[column].name
        place, rest = [], column
        for length in self.shape[1:] if self.fortran else reversed(self.shape[1:]):
            rest, at = divmod(rest, length)
            place.append(at)
        return ", ".join(map(str, place if self.fortran else reversed(place)))

    def scalar(self, column: int) -> Scalar | None:
        """What a column holds."""
        return self.fields[column if self.is_structured else 0].scalar

    def read(self, rows: Sequence[range], first: int, count: int) -> list[bytes]:
        """What lies in some columns, one value after another, in these rows.

        Raises:
            Unreadable: The file is shorter than it says, or its items are so large that it would be too much.
        """
        if sum(map(len, rows)) * self.item * (1 if self.is_structured else count) > _MOST_READ:
            raise Unreadable(f"each of its items has {self.item:,} bytes: these are too many to show")
        if self.is_structured:
            wanted = self.fields[first : first + count]
            (items,) = self._read(rows, 0, 1)
            whole = [items[at : at + self.item] for at in range(0, len(items), self.item)]
            return [b"".join(each[f.offset : f.offset + f.size] for each in whole) for f in wanted]
        return self._read(rows, first, count)

    def _read(self, rows: Sequence[range], first: int, count: int) -> list[bytes]:
        found = [bytearray() for _ in range(count)]
        with open(self.path, "rb") as file:
            for part in rows:
                if self.fortran or self._across == 1:
                    for column in range(count):
                        at = (first + column) * self.rows + part.start
                        found[column] += self._at(file, at, len(part))
                else:
                    self._read_across(file, part, first, found)
        return [bytes(each) for each in found]

    def _read_across(self, file: BinaryIO, rows: range, first: int, found: list[bytearray]) -> None:
        count, across = len(found), self._across
        whole = across * self.item <= _AT_ONCE // max(1, len(rows)) or count == across
        block = self._at(file, rows.start * across, len(rows) * across) if whole else b""
        for number, row in enumerate(rows):
            if whole:
                at = (number * across + first) * self.item
                data = block[at : at + count * self.item]
            else:
                data = self._at(file, row * across + first, count)
            for column in range(count):
                found[column] += data[column * self.item : (column + 1) * self.item]

    def _at(self, file: BinaryIO, item: int, count: int) -> bytes:
        file.seek(self.start + item * self.item)
        data = file.read(count * self.item)
        if len(data) != count * self.item:
            raise Unreadable(f"`{self.path.name}` is shorter than it says")
        return data

    @property
    def _across(self) -> int:
        return math.prod(self.shape[1:])


def open_array(path: Path) -> Array:
    """What a `.npy` file says of itself.

    Raises:
        Unreadable: It is none, is not whole, or holds Python objects.
    """
    try:
        with open(path, "rb") as file:
            header = _header(file, path.name)
            start = file.tell()
            size = file.seek(0, 2)
    except OSError as error:
        raise Unreadable(f"`{path.name}` cannot be read: {error.strerror}") from error
    descr, fortran, shape = header
    fields, item = _fields(descr)
    items = math.prod(shape)
    if items > _MOST_ITEMS or len(shape) > 64:
        raise Unreadable(f"`{path.name}` says that it has {items:,} items")
    if start + items * item != size:
        raise Unreadable(f"`{path.name}` has {size:,} bytes, and says that it has {start + items * item:,}")
    array = Array(path=path, start=start, shape=shape, fortran=fortran, item=item, fields=fields)
    if array.is_structured and math.prod(shape[1:]) != 1:
        raise Unreadable("a structured array of several dimensions is not shown as a table")
    return array


def _header(file: BinaryIO, name: str) -> tuple[Any, bool, tuple[int, ...]]:
    head = file.read(8)
    if len(head) < 8 or head[:6] != _MAGIC:
        raise Unreadable(f"`{name}` is no `.npy` file")
    version = head[6]
    if version not in (1, 2, 3):
        raise Unreadable(f"`{name}` has version {version} of the format, which is unknown here")
    width = 2 if version == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > _LONGEST_HEADER:
        raise Unreadable(f"the header of `{name}` has {length:,} bytes, more than is read here")
    text = file.read(length)
    try:
        # A literal of this length is read safely, and runs nothing.
        told = ast.literal_eval(text.decode("utf-8" if version == 3 else "latin-1").strip())
        descr, fortran, shape = told["descr"], told["fortran_order"], told["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise Unreadable(f"the header of `{name}` is torn") from error
    if (
        len(told) != 3
        or type(fortran) is not bool
        or type(shape) is not tuple
        or not all(type(each) is int and 0 <= each <= _MOST_ITEMS for each in shape)
    ):
        raise Unreadable(f"the header of `{name}` is torn")
    return descr, fortran, shape


def _fields(descr: Any) -> tuple[tuple[Field, ...], int]:
    if not isinstance(descr, list):
        scalar = _scalar(descr)
        return (Field("", 0, scalar, scalar.size),), scalar.size
    fields, offset = [], 0
    for each in descr:
        if not isinstance(each, tuple) or len(each) not in (2, 3):
            raise Unreadable("the header names a type that is unknown here")
        title = each[0]
        name = title[1] if isinstance(title, tuple) and len(title) == 2 else title
        inner, size = _fields(each[1])
        shape = each[2] if len(each) == 3 else ()
        if (
            not isinstance(name, str)
            or not isinstance(shape, tuple)
            or not all(type(n) is int for n in shape)
        ):
            raise Unreadable("the header names a type that is unknown here")
        size *= math.prod(shape)
        if not 0 <= size <= _MOST_ITEMS:
            raise Unreadable("the header names a type that is unknown here")
        simple = inner[0].scalar if len(inner) == 1 and not inner[0].name and not shape else None
        if name:  # without one it is padding
            fields.append(Field(name, offset, simple, size))
        offset += size
    return tuple(fields), offset


def _scalar(descr: Any) -> Scalar:
    if descr == "|O":
        raise Unreadable(
            "it holds Python objects, which are pickled: reading them here would run code of theirs"
        )
    match = _TYPE.fullmatch(descr) if isinstance(descr, str) and len(descr) < 100 else None
    if match is None:
        raise Unreadable("the header names a type that is unknown here")
    order, kind, size, step, unit = match.groups()
    bytes_ = int(size) * (4 if kind == "U" else 1)
    if kind in "Mm" and (bytes_ != 8 or int(step or 1) < 1):
        raise Unreadable("the header names a type that is unknown here")
    if bytes_ > _MOST_ITEMS:
        raise Unreadable("the header names a type that is unknown here")
    return Scalar(">" if order == ">" else "<", kind, bytes_, int(step or 1), unit or "")
