"""Records in one SQLite file: a table per kind, its columns beside the whole record as JSON."""

# ruff: noqa: S608 - the names in the SQL come from the record classes; values are always bound

from __future__ import annotations

import itertools
import json
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec

from tilth.errors import Conflict, NotFound, SetupError, UnknownOption, nearest
from tilth.records import Artifact, Record, Run, State, StepRun
from tilth.store import database, schema
from tilth.store.protocol import Delete, Page

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tilth.home import Home
    from tilth.store.protocol import Change, Store, Where

R = TypeVar("R", bound=Record)
A = TypeVar("A", bound=Artifact)
_Condition: TypeAlias = "tuple[str, list[object]]"  # with a question mark for each value
_FEW = 8  # values of one column that are asked for one by one
_encoder = msgspec.json.Encoder()


def open_store(home: Home, *, to_read: bool = False) -> SqlStore:
    """The store of a home folder, made or migrated when it must be.

    Args:
        to_read: A home on a read-only disk will do; writing fails then.
    Raises:
        HomeUnwritable, HomeTooNew, SetupError: It cannot be opened.
    """
    return SqlStore(home.database, to_read=to_read)


class SqlStore:
    """A `Store` in one file.

    One connection writes, one reads: who asks does not wait for a commit to reach the disk. Nothing is
    shared with a forked child; open another store there.
    """

    def __init__(self, path: Path, *, to_read: bool = False) -> None:
        self.path = path
        self._tables: dict[type[Record], _Table[Any]] = {}
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        with database.translated(path):
            if to_read and database.is_still(path):
                self._reader = database.connect_still(path)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = database.connect(path)
            try:
                database.settle(self._reader, path)
            except BaseException:
                self._reader.close()
                raise

    def add(self, *records: R) -> tuple[R, ...]:
        with self._transaction() as cursor:
            return tuple(self._add(cursor, record) for record in records)

    def get(self, kind: type[R], id: str) -> R:  # noqa: A002
        table = self._table(kind)
        rows = self._select(f"{table.select} WHERE id = ?", (id,))
        if not rows:
            raise NotFound(f"no {kind.kind.replace('_', ' ')} has the id `{id}`")
        return table.decode(*rows[0])

    def find(
        self,
        kind: type[R],
        *,
        order: str = "-created_at",
        limit: int = 100,
        after: str | None = None,
        id_prefix: str = "",
        **where: Where,
    ) -> Page[R]:
        table = self._table(kind)
        sql, values = table.find(order, limit, after, id_prefix, where)
        rows = self._select(sql, values)
        items = tuple(table.decode(*row) for row in rows[:limit])
        more = len(rows) > limit and items
        return Page(items, table.cursor(items[-1], order) if more else None)

    def replace(self, old: R, new: R) -> R:
        assert old.id == new.id, "a record is replaced by one of the same id"
        table = self._table(type(new))
        kept = msgspec.structs.replace(new, revision=old.revision + 1)
        with self._transaction() as cursor:
            cursor.execute(table.update, (*table.values(kept), old.id, old.revision))
            if cursor.rowcount == 0:
                found = cursor.execute(f"{table.select} WHERE id = ?", (old.id,)).fetchone()
                label = new.kind.replace("_", " ")
                if found is None:
                    raise NotFound(f"no {label} has the id `{old.id}` any more")
                raise Conflict(
                    f"{label} `{old.id}` was changed by somebody else meanwhile",
                    why=f"it is at revision {found[1]}, the change was made to revision {old.revision}",
                    mend="read it again, and repeat the change",
                )
        return kept

    def write(self, changes: Sequence[Change], *, holding: Run | None = None) -> tuple[Record, ...]:
        kept = []
        with self._transaction() as cursor:
            if holding is not None:
                self._check_fence(cursor, holding)
            for change in changes:
                if isinstance(change, Delete):
                    cursor.execute(f'DELETE FROM "{change.kind.kind}" WHERE id = ?', (change.id,))
                    continue
                record = change.record
                if isinstance(record, Artifact):
                    record = self._with_version(cursor, record)
                table = self._table(type(record))
                cursor.execute(table.put, table.values(record))
                kept.append(record)
        return tuple(kept)

    def start_run(self, run: Run) -> Run:
        with self._transaction() as cursor:
            number = _count(cursor, f"run {run.pipeline}")
            run = msgspec.structs.replace(run, number=number, name=f"{run.pipeline}-{number}")
            self._add(cursor, run)
        return run

    def cached_step_run(self, cache_key: str) -> StepRun | None:
        if not cache_key:
            return None  # steps that are not cached share it
        good = [state.value for state in State if state.is_good]
        found = self.find(StepRun, limit=1, cache_key=cache_key, state=good)
        return found.items[0] if found.items else None

    def close(self) -> None:
        """Close the file. The last to close it folds the log into the database."""
        with self._writing, self._reading:
            for connection in (self._writer, self._reader):
                if connection is not None:
                    connection.close()

    def __enter__(self) -> SqlStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, cursor: sqlite3.Cursor, record: R) -> R:
        if isinstance(record, Artifact):
            record = self._with_version(cursor, record)
        table = self._table(type(record))
        cursor.execute(table.insert, table.values(record))
        return record

    def _with_version(self, cursor: sqlite3.Cursor, artifact: A) -> A:
        counter = f"artifact {artifact.name}"
        if artifact.version:
            cursor.execute(
                "INSERT INTO counter VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (counter, artifact.version),
            )
            return artifact
        row = cursor.execute("SELECT version FROM artifact WHERE id = ?", (artifact.id,)).fetchone()
        version = row[0] if row else _count(cursor, counter)
        return msgspec.structs.replace(artifact, version=version)

    def _check_fence(self, cursor: sqlite3.Cursor, holding: Run) -> None:
        table = self._table(Run)
        row = cursor.execute(f"{table.select} WHERE id = ?", (holding.id,)).fetchone()
        if row is None:
            raise NotFound(f"run `{holding.name}` is not there any more")
        stored = table.decode(*row).fence
        if stored > holding.fence:
            raise Conflict(
                f"run `{holding.name}` was taken over by another driver",
                why=f"its fence is {stored}, this driver's is {holding.fence}",
            )

    def _table(self, kind: type[R]) -> _Table[R]:
        table = self._tables.get(kind)
        if table is None:
            table = self._tables[kind] = _Table(kind)
        return table

    def _select(self, sql: str, values: Sequence[object]) -> list[tuple[str, int]]:
        with database.translated(self.path), self._reading:
            return self._reader.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with database.translated(self.path), self._writing:
            if self._writer is None:
                self._writer = database.connect(self.path)
            # Closed, for a cursor in a traceback would keep the file open after the connection is closed.
            with closing(self._writer.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:  # SQLite rolls back by itself when the disk is full
                        self._writer.rollback()
                    raise


if TYPE_CHECKING:
    _keeps_the_promises: type[Store] = SqlStore


class _Table(Generic[R]):
    """The SQL texts, encoder and decoder of one kind, made on first use."""

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind
        self.columns = {column.name: column for column in schema.columns(kind)}
        self._decoder = msgspec.json.Decoder(kind)
        table, names = f'"{kind.kind}"', [*self.columns, "body"]
        quoted = ", ".join(f'"{name}"' for name in names)
        marks = ", ".join("?" * len(names))
        changes = ", ".join(
            f'"{name}" = excluded."{name}"' for name in names if name not in ("id", "revision")
        )
        self.select = f"SELECT body, revision FROM {table}"
        self.insert = f"INSERT INTO {table} ({quoted}) VALUES ({marks})"
        # An equal body changes nothing, not even the revision: a write may be repeated.
        self.put = (
            f"{self.insert} ON CONFLICT (id) DO UPDATE SET {changes}, revision = {table}.revision + 1 "
            f"WHERE {table}.body <> excluded.body"
        )
        settings = ", ".join(f'"{name}" = ?' for name in names)
        self.update = f"UPDATE {table} SET {settings} WHERE id = ? AND revision = ?"

    def values(self, record: R) -> list[str | int | None]:
        """The row of a record. The revision lives in its column alone, so that bodies compare."""
        values = [schema.sql_value(getattr(record, name)) for name in self.columns]
        if record.revision != 1:
            record = msgspec.structs.replace(record, revision=1)
        return [*values, _encode(record)]

    def decode(self, body: str, revision: int) -> R:
        try:
            record = self._decoder.decode(body)
        except msgspec.DecodeError:
            record = self._decode_unusual(body)
        if record.revision != revision:
            msgspec.structs.force_setattr(record, "revision", revision)
        return record

    def find(
        self, order: str, limit: int, after: str | None, id_prefix: str, where: dict[str, Where]
    ) -> tuple[str, list[object]]:
        """The query for one page and one record more, and its values."""
        name, down = order.removeprefix("-"), order.startswith("-")
        if self._column(name).nullable:
            raise UnknownOption(f"`{name}` orders nothing: it may be missing")
        always: list[_Condition] = []
        if id_prefix:
            always.append(("id >= ? AND id < ?", [id_prefix, id_prefix + "\U0010ffff"]))
        if after is not None:
            always.append((f'("{name}", id) {"<" if down else ">"} (?, ?)', _read_cursor(after)))
        choices = [self._choices(key, wanted) for key, wanted in where.items()]
        direction = "DESC" if down else "ASC"
        ordered = f'ORDER BY "{name}" {direction}, id {direction} LIMIT {limit + 1:d}'

        clauses, values = [], []
        for chosen in itertools.product(*choices):
            conditions = [*always, *chosen]
            clauses.append(" AND ".join(text for text, _ in conditions) or "TRUE")
            values += [value for _, given in conditions for value in given]
        if len(clauses) == 1:
            return f"{self.select} WHERE {clauses[0]} {ordered}", values
        # One query over several values would sort all it finds; one for each reads its index in order.
        each = f'SELECT body, revision, "{name}", id FROM "{self.kind.kind}" WHERE'
        together = " UNION ALL ".join(f"SELECT * FROM ({each} {clause} {ordered})" for clause in clauses)
        return f"SELECT body, revision FROM ({together}) {ordered}", values

    def cursor(self, last: R, order: str) -> str:
        value = schema.sql_value(getattr(last, order.removeprefix("-")))
        return msgspec.json.encode([value, last.id]).decode()

    def _choices(self, key: str, wanted: Where) -> list[_Condition]:
        """Conditions of which one must hold, and no two can at once."""
        self._column(key)
        if wanted is None or isinstance(wanted, str | int):
            wanted = [wanted]
        options = {schema.sql_value(each): None for each in wanted}  # each once, in order
        if 0 < len(options) <= _FEW:
            return [(f'"{key}" IS ?', [option]) for option in options]
        marks = ", ".join("?" * len(options))
        listed = f'"{key}" IN ({marks})' + (f' OR "{key}" IS NULL' if None in options else "")
        return [(f"({listed})", list(options))]

    def _column(self, name: str) -> schema.SqlColumn:
        if name not in self.columns:
            raise UnknownOption(
                f"{self.kind.kind.replace('_', ' ')}s cannot be found or ordered by `{name}`",
                mend=nearest(name, self.columns),
            )
        return self.columns[name]

    def _decode_unusual(self, body: str) -> R:
        try:
            return msgspec.convert(json.loads(body), self.kind)
        except (ValueError, msgspec.ValidationError) as error:
            label = self.kind.kind.replace("_", " ")
            raise SetupError(
                f"{'an' if label[0] in 'aeiou' else 'a'} {label} in the database cannot be read",
                why=str(error),
                mend="use the tilth that wrote it, or a newer one",
            ) from error


def _encode(record: Record) -> str:
    try:
        return _encoder.encode(record).decode()
    except UnicodeEncodeError:
        # Half a surrogate pair stands for a byte of a file name that is not UTF-8; ASCII escapes can hold it.
        return json.dumps(msgspec.to_builtins(record), separators=(",", ":"))


def _read_cursor(text: str) -> list[object]:
    try:
        value, last_id = msgspec.json.decode(text, type=tuple[int | str, str])
    except msgspec.DecodeError as error:
        raise UnknownOption(
            f"`{text}` is not where a page ends", mend="give `next` of the page before"
        ) from error
    return [value, last_id]


def _count(cursor: sqlite3.Cursor, name: str) -> int:
    """The next number of a counter. Kept apart from what it counts: deleting gives no number free."""
    cursor.execute(
        "INSERT INTO counter VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", (name,)
    )
    return int(cursor.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()[0])
