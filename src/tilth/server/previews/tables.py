"""Arrays and frames as tables: some rows of some columns, and what each column holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tilth.server.previews.cells import Cell, Unreadable
from tilth.server.previews.npy import open_array
from tilth.server.previews.series import (
    ArrayColumn,
    Broken,
    Categories,
    Intervals,
    Masked,
    Numbers,
    Objects,
    Series,
    Text,
    open_npy,
    period,
    read_json,
)
from tilth.server.previews.summaries import ColumnSummary, of_numbers, of_values, sample

if TYPE_CHECKING:
    from pathlib import Path

LOOKED_AT = 20_000  # rows of a column; reading these takes Python some 10 ms
_LARGEST_SCHEMA = 16 << 20  # bytes
FRAME = "frame.json"


class TableColumn(msgspec.Struct, frozen=True):
    """A column: its name, the type of its values, and why it cannot be shown, if it cannot."""

    name: str
    type: str
    problem: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of some columns. The first `index_columns` of them are the index, and always there."""

    total_rows: int
    total_columns: int  # the index not counted
    first_row: int
    first_column: int
    index_columns: int
    shape: tuple[int, ...]  # of an array; of a frame, rows and columns
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """What some columns hold, told from some of their rows."""

    total_rows: int
    total_columns: int
    looked_at: int  # rows; fewer than all of a long table
    first: int
    items: tuple[ColumnSummary, ...]


class Frame:
    """A frame, series, index or array, column by column."""

    def __init__(self, shape: tuple[int, ...], rows: int, columns: int) -> None:
        self.shape = shape
        self.rows = rows
        self.columns = columns
        self.index: list[tuple[str, Series]] = []

    def column(self, number: int) -> tuple[str, Series]:
        """The name of a column, and how it is read."""
        raise IndexError(number)

    def table(self, first_row: int, rows: int, first_column: int, columns: int) -> Table:
        """Some rows of some columns; what cannot be read says why."""
        shown = range(min(first_row, self.rows), min(first_row + rows, self.rows))
        numbers = range(min(first_column, self.columns), min(first_column + columns, self.columns))
        told, values = [], []
        for name, series in (*self.index, *map(self.column, numbers)):
            problem = ""
            cells: list[Cell] = [None] * len(shown)
            try:
                cells = series.cells([shown]) if shown else []
            except (Unreadable, OSError) as error:
                problem = str(error)
            told.append(TableColumn(name, series.type, problem))
            values.append(cells)
        return Table(
            total_rows=self.rows,
            total_columns=self.columns,
            first_row=shown.start,
            first_column=numbers.start,
            index_columns=len(self.index),
            shape=self.shape,
            columns=tuple(told),
            rows=tuple(zip(*values, strict=True)) if values else ((),) * len(shown),
        )

    def summaries(self, first: int, count: int) -> Columns:
        """What some columns hold."""
        numbers = range(min(first, self.columns), min(first + count, self.columns))
        rows = sample(self.rows, LOOKED_AT)
        return Columns(
            total_rows=self.rows,
            total_columns=self.columns,
            looked_at=sum(map(len, rows)),
            first=numbers.start,
            items=tuple(_summary(*self.column(each), rows) for each in numbers),
        )


class ArrayTable(Frame):
    """A `.npy` file."""

    def __init__(self, path: Path) -> None:
        self._array = open_array(path)
        super().__init__(self._array.shape, self._array.rows, self._array.columns)

    def column(self, number: int) -> tuple[str, Series]:
        try:
            return self._array.column_name(number), ArrayColumn(self._array, number)
        except Unreadable as error:
            return self._array.column_name(number), Broken(str(error))


class FrameTable(Frame):
    """What `tilth.materializers.pandas` writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            schema = read_json(folder / FRAME, _LARGEST_SCHEMA)
            kind = schema["kind"]
            data = [] if kind == "index" else schema["data"] if kind == "frame" else [schema["data"]]
            index = self._index(schema["index"])
            names = [*self._index(schema["columns"])] if kind == "frame" else []
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"`{FRAME}` is torn, or of a version that is unknown here") from error
        self._data: list[Any] = data
        self._names = names
        self._name = _name(schema.get("name")) if kind == "series" else ""
        rows = max((each.length for _, each in index), default=0)
        super().__init__((rows, len(data)) if kind == "frame" else (rows,), rows, len(data))
        self.index = index

    def column(self, number: int) -> tuple[str, Series]:
        name = self._name
        if self._names:
            try:
                parts = [each.cells([range(number, number + 1)])[0] for _, each in self._names]
                name = ", ".join("" if each is None else str(each) for each in parts)
            except (Unreadable, IndexError):
                name = f"column {number}"
        return name, self._array(self._data[number])

    def _index(self, told: Any) -> list[tuple[str, Series]]:
        if told["kind"] == "range":
            return [(_name(told["name"]), Numbers(*map(int, told["range"])))]
        if told["kind"] == "multi":
            names = told["names"]
            levels = zip(names, told["levels"], told["codes"], strict=True)
            return [(_name(name), self._level(level, codes)) for name, level, codes in levels]
        return [(_name(told["name"]), self._array(told["values"]))]

    def _level(self, level: Any, codes: Any) -> Series:
        try:
            ((_, values),) = self._index(level)
            return Categories(open_npy(self._folder, codes), values, called=values.type)
        except Unreadable as error:
            return Broken(str(error))

    def _array(self, told: Any) -> Series:
        kind = told.get("kind", "") if isinstance(told, dict) else ""
        try:
            return self._read(kind, told)
        except Unreadable as error:
            return Broken(str(error), kind)
        except (KeyError, TypeError, ValueError, AttributeError):
            return Broken("it is described in a way that is unknown here", kind)

    def _read(self, kind: str, told: Any) -> Series:
        folder = self._folder
        if kind == "numpy":
            return ArrayColumn(open_npy(folder, told["values"]))
        if kind == "zoned":
            zone = told["zone"].get("name") or f"UTC{told['zone']['seconds'] / 3600:+g}h"
            return ArrayColumn(open_npy(folder, told["values"]), called=f"datetime, {zone}, shown in UTC")
        if kind == "period":
            frequency = told["dtype"].partition("[")[2].rstrip("]")
            values = open_npy(folder, told["values"])
            return ArrayColumn(values, called=told["dtype"], show=lambda ordinal: period(ordinal, frequency))
        if kind == "masked":
            masked: Series = ArrayColumn(open_npy(folder, told["values"]))
            return Masked(masked, open_npy(folder, told["missing"])) if told["missing"] else masked
        if kind in ("text", "string"):
            name = told["text"]
            text = Text(open_npy(folder, f"{name}.offsets.npy"), open_npy(folder, f"{name}.bytes.npy"))
            return Masked(text, open_npy(folder, told["missing"])) if told["missing"] else text
        if kind == "categorical":
            ((_, categories),) = self._index(told["categories"])
            return Categories(open_npy(folder, told["codes"]), categories)
        if kind == "interval":
            ((_, left),), ((_, right),) = self._index(told["left"]), self._index(told["right"])
            return Intervals(left, right, told["closed"])
        if kind == "objects" and "json" in told:
            name = told["json"]
            if not isinstance(name, str) or "/" in name or name.startswith("."):
                raise Unreadable("the frame names a file that is none of its own")
            return Objects(folder / name)
        if kind in ("objects", "pickle"):
            raise Unreadable("it is pickled: reading it here would run code of its own")
        raise Unreadable("it is described in a way that is unknown here")


def open_table(path: Path) -> Frame:
    """The table in a file: a `.npy` file, or the schema of a frame with its columns beside it.

    Raises:
        Unreadable: It is none, or torn.
    """
    if path.name == FRAME:
        return FrameTable(path.parent)
    return ArrayTable(path)


def is_table(name: str) -> bool:
    """Whether a file of this name may be one that `open_table` opens."""
    return name.endswith(".npy") or name.rpartition("/")[2] == FRAME


def _summary(name: str, series: Series, rows: list[range]) -> ColumnSummary:
    try:
        numbers = series.numbers(rows) if rows else []
        if numbers is not None:
            said = of_numbers(numbers, label=series.label, times=series.is_time)
        else:
            said = of_values(series.cells(rows))
    except (Unreadable, OSError) as error:
        return ColumnSummary(name=name, type=series.type, problem=str(error))
    return ColumnSummary(name=name, type=series.type, **said)


def _name(told: Any) -> str:
    return "" if told is None else str(told)[:300]
