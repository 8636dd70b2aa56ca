"""Records in SQL: a table per kind, its columns beside the whole record as JSON."""

# ruff: noqa: S608 - the names in the SQL come from the record classes; values are always bound

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec

from tilth.errors import Conflict, NotFound, SetupError, UnknownOption, nearest
from tilth.records import Artifact, Record, Run, Snapshot, State, StepRun
from tilth.store import encoding, schema
from tilth.store.protocol import Delete, Page
from tilth.store.uses import forget_uses, keep_uses, page_of_uses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tilth.store.database import Cursor, Database
    from tilth.store.protocol import Change, Store, Where

R = TypeVar("R", bound=Record)
Row: TypeAlias = tuple[str, int]  # JSON, revision
_Condition: TypeAlias = "tuple[str, list[object]]"  # with a question mark for each value
# Columns that leave few records of one value. Beside them an index of states leads SQLite, which has no statistics,
# to half of all records.
_TELLING = frozenset({"run", "cache_key", "step"})
_FEW = 8  # values of one column that are asked for one by one
_MOST_CLAUSES = 64  # of one query: values of several columns multiply
_MOST_VALUES = 30_000  # of one query: SQLite takes 32,766, PostgreSQL 65,535


class SqlStore:
    """A `Store` in a database.

    Args:
        space: Which of the stores that one database holds: a project's name on a server, empty in a home folder.
    """

    def __init__(self, database: Database, space: str = "") -> None:
        self.database = database
        self.space = space

    def within(self, space: str) -> SqlStore:
        """Another store of the same database, that closes with it."""
        return SqlStore(self.database, space)

    def add(self, *records: R) -> tuple[R, ...]:
        return self.database.transact(lambda cursor: tuple(self._add(cursor, each) for each in records))

    def get(self, kind: type[R], id: str) -> R:  # noqa: A002
        return _table(kind).decode(*self.get_row(kind, id))

    def get_row(self, kind: type[Record], id: str) -> Row:  # noqa: A002
        """A record as it is kept: its JSON, and its revision, which is 1 in the JSON.

        Raises:
            NotFound: There is none.
        """
        rows = self.database.select(f"{_table(kind).select} WHERE space = ? AND id = ?", (self.space, id))
        if not rows:
            raise NotFound(f"no {kind.kind.replace('_', ' ')} has the id `{id}`")
        return rows[0][0], rows[0][1]

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
        rows, following = self.find_rows(
            kind, order=order, limit=limit, after=after, id_prefix=id_prefix, where=where
        )
        table = _table(kind)
        return Page(tuple(table.decode(*row) for row in rows), following)

    def find_rows(
        self,
        kind: type[Record],
        *,
        order: str = "-created_at",
        limit: int = 100,
        after: str | None = None,
        id_prefix: str = "",
        where: Mapping[str, Where],
    ) -> tuple[list[Row], str | None]:
        """What `find` finds, as it is kept, and `next` of the page."""
        table = _table(kind)
        sql, values = table.find(self.space, order, limit, after, id_prefix, where)
        found = self.database.select(sql, values)
        rows = [(body, revision) for body, revision, *_ in found[:limit]]
        if len(found) <= limit or not rows:
            return rows, None
        return rows, msgspec.json.encode([*found[limit - 1][2:4]]).decode()

    def replace(self, old: R, new: R) -> R:
        assert old.id == new.id, "a record is replaced by one of the same id"
        return self.database.transact(lambda cursor: self.replace_within(cursor, old, new))

    def take(self, record: Record) -> bool:
        """Forget a record that is still as it was told. False: it was changed or taken meanwhile, and stays so."""

        def take(cursor: Cursor) -> bool:
            sql = f'DELETE FROM "{record.kind}" WHERE space = ? AND id = ? AND revision = ?'
            cursor.execute(sql, (self.space, record.id, record.revision))
            return cursor.rowcount == 1

        return self.database.transact(take)

    def write(self, changes: Sequence[Change], *, holding: Run | None = None) -> tuple[Record, ...]:
        def write(cursor: Cursor) -> tuple[Record, ...]:
            kept = []
            if holding is not None:
                self._check_fence(cursor, holding)
            for change in changes:
                record = self.change_within(cursor, change)
                if record is not None:
                    kept.append(record)
            return tuple(kept)

        return self.database.transact(write)

    def start_run(self, run: Run) -> Run:
        def start(cursor: Cursor) -> Run:
            number = self._count(cursor, f"run {run.pipeline}")
            return self._add(
                cursor, msgspec.structs.replace(run, number=number, name=f"{run.pipeline}-{number}")
            )

        return self.database.transact(start)

    def cached_step_run(self, cache_key: str) -> StepRun | None:
        if not cache_key:
            return None  # steps that are not cached share it
        good = [state.value for state in State if state.is_good]
        found = self.find(StepRun, limit=1, cache_key=cache_key, state=good)
        return found.items[0] if found.items else None

    def users_of(
        self, environments: Sequence[str], *, limit: int, after: str | None = None
    ) -> tuple[list[Run], str | None]:
        """The runs that use one of these environments, newest first, and where the rest begins."""
        if not environments:
            return [], None
        begins = None
        if after is not None:
            moment, run = _read_cursor(after)
            if not isinstance(moment, int):
                raise UnknownOption(
                    f"`{after}` is not where a page ends", mend="give `next` of the page before"
                )
            begins = (moment, str(run))
        sql, values = page_of_uses(self.space, list(environments), limit + 1, begins)
        rows = self.database.select(sql, values)
        found = [_table(Run).decode(*row[:2]) for row in rows[:limit]]
        if len(rows) <= limit:
            return found, None
        return found, msgspec.json.encode([*rows[limit - 1][2:4]]).decode()

    def select_within(
        self, cursor: Cursor, kind: type[R], condition: str, values: Sequence[object], rest: str = ""
    ) -> list[R]:
        """Records by a condition in SQL, in a transaction that goes on.

        Args:
            rest: What comes after the condition: an order, a limit.
        """
        table = _table(kind)
        cursor.execute(f"{table.select} WHERE space = ? AND ({condition}) {rest}", (self.space, *values))
        return [table.decode(*row) for row in cursor.fetchall()]

    def put_within(self, cursor: Cursor, record: Record) -> None:
        """Remember a record, as `write` does, in a transaction that goes on."""
        table = _table(type(record))
        cursor.execute(table.put, table.values(self.space, record))
        if isinstance(record, Run):
            keep_uses(cursor, self.space, record)

    def replace_within(self, cursor: Cursor, old: R, new: R) -> R:
        """What `replace` does, in a transaction that goes on."""
        table = _table(type(new))
        kept = msgspec.structs.replace(new, revision=old.revision + 1)
        cursor.execute(table.update, (*table.values(self.space, kept), self.space, old.id, old.revision))
        if cursor.rowcount == 0:
            cursor.execute(f"{table.select} WHERE space = ? AND id = ?", (self.space, old.id))
            found = cursor.fetchone()
            label = new.kind.replace("_", " ")
            if found is None:
                raise NotFound(f"no {label} has the id `{old.id}` any more")
            raise Conflict(
                f"{label} `{old.id}` was changed by somebody else meanwhile",
                why=f"it is at revision {found[1]}, the change was made to revision {old.revision}",
                mend="read it again, and repeat the change",
            )
        if isinstance(kept, Run):
            keep_uses(cursor, self.space, kept)
        return kept

    def change_within(self, cursor: Cursor, change: Change) -> Record | None:
        """Make a change, as `write` does, in a transaction that goes on; gives what was put."""
        if isinstance(change, Delete):
            sql = f'DELETE FROM "{change.kind.kind}" WHERE space = ? AND id = ?'
            cursor.execute(sql, (self.space, change.id))
            if change.kind is Run:
                forget_uses(cursor, self.space, change.id)
            return None
        record = self._with_version(cursor, change.record)
        self.put_within(cursor, record)
        return record

    def queue_up_within(self, cursor: Cursor, name: str) -> None:
        """Wait for every other transaction that has called this with `name`, and have later ones wait for this."""
        self._count(cursor, name)  # its row is held until the end

    def close(self) -> None:
        """Close the database, under every store of it."""
        self.database.close()

    def __enter__(self) -> SqlStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, cursor: Cursor, record: R) -> R:
        record = self._with_version(cursor, record)
        table = _table(type(record))
        cursor.execute(table.insert, table.values(self.space, record))
        if isinstance(record, Run):
            keep_uses(cursor, self.space, record)
        return record

    def _with_version(self, cursor: Cursor, record: R) -> R:
        """An artifact or a snapshot with the next version of its name, unless it has one."""
        if not isinstance(record, Artifact | Snapshot):
            return record
        counter = f"{record.kind} {record.name}"
        if record.version:
            cursor.execute(
                "INSERT INTO counter (space, name, value) VALUES (?, ?, ?) ON CONFLICT (space, name) "
                "DO UPDATE SET value = excluded.value WHERE counter.value < excluded.value",
                (self.space, counter, record.version),
            )
            return record
        cursor.execute(
            f'SELECT version FROM "{record.kind}" WHERE space = ? AND id = ?', (self.space, record.id)
        )
        row = cursor.fetchone()
        version = row[0] if row else self._count(cursor, counter)
        return msgspec.structs.replace(record, version=version)

    def _count(self, cursor: Cursor, name: str) -> int:
        """The next number of a counter. Kept apart from what it counts: deleting gives no number free."""
        cursor.execute(
            "INSERT INTO counter (space, name, value) VALUES (?, ?, 1) ON CONFLICT (space, name) "
            "DO UPDATE SET value = counter.value + 1",
            (self.space, name),
        )
        cursor.execute("SELECT value FROM counter WHERE space = ? AND name = ?", (self.space, name))
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])

    def _check_fence(self, cursor: Cursor, holding: Run) -> None:
        table = _table(Run)
        sql = f"{table.select} WHERE space = ? AND id = ? {self.database.locking}"
        cursor.execute(sql, (self.space, holding.id))
        row = cursor.fetchone()
        if row is None:
            raise NotFound(f"run `{holding.name}` is not there any more")
        stored = table.decode(*row).fence
        if stored > holding.fence:
            raise Conflict(
                f"run `{holding.name}` was taken over by another driver",
                why=f"its fence is {stored}, this driver's is {holding.fence}",
            )


if TYPE_CHECKING:
    _keeps_the_promises: type[Store] = SqlStore


def read_row(kind: type[R], row: Row) -> R:
    """The record that a row keeps."""
    return _table(kind).decode(*row)


_tables: dict[type[Record], _Table[Any]] = {}


def check_find(
    kind: type[Record],
    *,
    order: str,
    limit: int,
    after: str | None,
    id_prefix: str,
    where: Mapping[str, Where],
) -> None:
    """Raise what `find` raises for a question that no store can answer."""
    _table(kind).find("", order, limit, after, id_prefix, where)


def _table(kind: type[R]) -> _Table[R]:
    table = _tables.get(kind)
    if table is None:
        table = _tables[kind] = _Table(kind)
    return table


class _Table(Generic[R]):
    """The SQL texts, encoder and decoder of one kind, made on first use."""

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind
        self.columns = {column.name: column for column in schema.columns(kind)}
        self._decoder = msgspec.json.Decoder(kind)
        table, names = f'"{kind.kind}"', ["space", *self.columns, "body"]
        quoted = ", ".join(f'"{name}"' for name in names)
        marks = ", ".join("?" * len(names))
        changes = ", ".join(
            f'"{name}" = excluded."{name}"' for name in names if name not in ("space", "id", "revision")
        )
        self.select = f"SELECT body, revision FROM {table}"
        self.insert = f"INSERT INTO {table} ({quoted}) VALUES ({marks})"
        # An equal body changes nothing, not even the revision: a write may be repeated.
        self.put = (
            f"{self.insert} ON CONFLICT (space, id) DO UPDATE SET {changes}, revision = {table}.revision + 1 "
            f"WHERE {table}.body <> excluded.body"
        )
        settings = ", ".join(f'"{name}" = ?' for name in names)
        self.update = f"UPDATE {table} SET {settings} WHERE space = ? AND id = ? AND revision = ?"

    def values(self, space: str, record: R) -> list[str | int | None]:
        """The row of a record. The revision lives in its column alone, so that bodies compare."""
        values = [schema.sql_value(getattr(record, name)) for name in self.columns]
        if record.revision != 1:
            record = msgspec.structs.replace(record, revision=1)
        return [space, *values, encoding.encode(record).decode()]

    def decode(self, body: str, revision: int) -> R:
        try:
            record = encoding.decode(body, self._decoder, self.kind)
        except ValueError as error:
            label = self.kind.kind.replace("_", " ")
            raise SetupError(
                f"{'an' if label[0] in 'aeiou' else 'a'} {label} in the database cannot be read",
                why=str(error),
                mend="use the tilth that wrote it, or a newer one",
            ) from error
        if record.revision != revision:
            msgspec.structs.force_setattr(record, "revision", revision)
        return record

    def find(
        self,
        space: str,
        order: str,
        limit: int,
        after: str | None,
        id_prefix: str,
        where: Mapping[str, Where],
    ) -> tuple[str, list[object]]:
        """The query for one page and one record more, and its values; a row ends in what the next begins after."""
        name, down = order.removeprefix("-"), order.startswith("-")
        if self._column(name).nullable:
            raise UnknownOption(f"`{name}` orders nothing: it may be missing")
        always: list[_Condition] = [("space = ?", [space])]
        if id_prefix:
            always.append(("id >= ? AND id < ?", [id_prefix, id_prefix + "\U0010ffff"]))
        if after is not None:
            always.append((f'("{name}", id) {"<" if down else ">"} (?, ?)', _read_cursor(after)))
        telling = not _TELLING.isdisjoint(where)
        choices: list[list[_Condition]] = []
        given = sum(
            1 if each is None or isinstance(each, str | int) else len(each) for each in where.values()
        )
        room = max(1, min(_MOST_CLAUSES, _MOST_VALUES // max(given, 1)))
        for key, wanted in where.items():
            choices.append(self._choices(key, wanted, min(room, _FEW), hidden=telling and key == "state"))
            room //= len(choices[-1])
        direction = "DESC" if down else "ASC"
        ordered = f'ORDER BY "{name}" {direction}, id {direction} LIMIT {limit + 1:d}'

        clauses, values = [], []
        for chosen in itertools.product(*choices):
            conditions = [*always, *chosen]
            clauses.append(" AND ".join(text for text, _ in conditions))
            values += [value for _, given in conditions for value in given]
        each = f'SELECT body, revision, "{name}" AS value, id AS last FROM "{self.kind.kind}" WHERE'
        if len(clauses) == 1:
            return f"{each} {clauses[0]} {ordered}", values
        # One query over several values would sort all it finds; one for each reads its index in order.
        ordered_all = f"ORDER BY value {direction}, last {direction} LIMIT {limit + 1:d}"
        parts = (f"SELECT * FROM ({each} {clause} {ordered}) AS part" for clause in clauses)
        return f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS parts {ordered_all}", values

    def _choices(self, key: str, wanted: Where, most: int, *, hidden: bool) -> list[_Condition]:
        """Conditions of which one must hold, and no two can at once.

        Args:
            most: How many at most; where there would be more, one does for all.
            hidden: From who plans the query, so that it looks by no index of this column.
        """
        self._column(key)
        if wanted is None or isinstance(wanted, str | int):
            wanted = [wanted]
        options = {schema.sql_value(each): None for each in wanted}  # each once, in order
        column = f"(\"{key}\" || '')" if hidden else f'"{key}"'
        if 0 < len(options) <= most:
            return [
                (f'"{key}" IS NULL', []) if option is None else (f"{column} = ?", [option])
                for option in options
            ]
        marks = ", ".join("?" * len(options))
        listed = f"{column} IN ({marks or 'NULL'})" + (f' OR "{key}" IS NULL' if None in options else "")
        return [(f"({listed})", list(options))]

    def _column(self, name: str) -> schema.SqlColumn:
        if name not in self.columns:
            raise UnknownOption(
                f"{self.kind.kind.replace('_', ' ')}s cannot be found or ordered by `{name}`",
                mend=nearest(name, self.columns),
            )
        return self.columns[name]


def _read_cursor(text: str) -> list[object]:
    try:
        value, last_id = msgspec.json.decode(text, type=tuple[int | str, str])
    except msgspec.DecodeError as error:
        raise UnknownOption(
            f"`{text}` is not where a page ends", mend="give `next` of the page before"
        ) from error
    return [value, last_id]
