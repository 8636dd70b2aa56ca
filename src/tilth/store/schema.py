"""The SQL that records ask for. Knows records and SQL text; runs nothing."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import msgspec

if TYPE_CHECKING:
    from tilth.records import Record

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """A field that SQL can filter and sort by."""

    name: str
    type: str  # TEXT or INTEGER
    nullable: bool
    indexed: bool
    unique: bool


@functools.cache  # it reads annotations, which takes half a millisecond, and is asked for with every record
def columns(kind: type[Record]) -> tuple[SqlColumn, ...]:
    """The columns of a kind of record, in the order of its fields."""
    hints, plain_hints = get_type_hints(kind, include_extras=True), get_type_hints(kind)
    found = []
    for name in kind.__struct_fields__:
        marks: dict[str, Any] = {}
        for meta in getattr(hints[name], "__metadata__", ()):
            if isinstance(meta, msgspec.Meta):
                marks |= meta.extra or {}
        if not marks.get("column"):
            continue
        plain = plain_hints[name]
        options = set(get_args(plain) or (plain,))
        nullable = NoneType in options
        (only,) = options - {NoneType}
        sql_type = "INTEGER" if only in (int, datetime) else "TEXT"
        found.append(
            SqlColumn(name, sql_type, nullable, bool(marks.get("indexed")), bool(marks.get("unique")))
        )
    return tuple(found)


def statements(kind: type[Record]) -> list[str]:
    """What makes the table of a kind of record, and its indexes.

    Each begins with `space`: the project on a server, empty in a home folder. An index that is not unique ends
    in `created_at, id`, so that the newest of one value are read without sorting; and some in what they carry.
    """
    table = kind.kind
    lines = ['"space" TEXT NOT NULL']
    lines += [f'"{each.name}" {each.type}{"" if each.nullable else " NOT NULL"}' for each in columns(kind)]
    lines.append('"body" TEXT NOT NULL')
    lines.append('PRIMARY KEY ("space", "id")')
    made = ["\n".join([f'CREATE TABLE "{table}" (', "    " + ",\n    ".join(lines), ")"])]

    by: list[tuple[str, ...]] = []
    for column in columns(kind):
        if column.unique and column.name != "id":
            made.append(_index(table, (column.name,), unique=True))
        elif column.indexed:
            by.append((column.name,) if column.name != "created_at" else ())
    made += [_index(table, names, unique=True) for names in kind.unique_together]
    for names in [*by, *kind.together]:
        carried = kind.carried if names in kind.carrying else ()
        made.append(_index(table, (*names, "created_at", "id", *carried)))
    return made


def sql_value(value: object) -> str | int | None:
    """A value as its column holds it. Times are microseconds since 1970: text would not sort."""
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    if isinstance(value, Enum):
        return sql_value(value.value)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"no column holds {type(value).__name__}")


def moment(value: int) -> datetime:
    """The time that a column holds as a number."""
    return _EPOCH + value * _MICROSECOND


def _index(table: str, names: tuple[str, ...], *, unique: bool = False) -> str:
    quoted = ", ".join(f'"{name}"' for name in ("space", *names))
    return f'CREATE {"UNIQUE " if unique else ""}INDEX "{table}_by_{"_".join(names)}" ON "{table}" ({quoted})'
