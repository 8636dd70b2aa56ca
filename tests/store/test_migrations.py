"""From every version there was to the newest, and back, with records of every kind in the tables."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from datetime import datetime
from enum import Enum
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import msgspec
import psycopg
import pytest

from tilth.errors import Conflict, NotFound
from tilth.records import KINDS, Run, now
from tilth.records.access import ACCESS_KINDS
from tilth.records.launching import LAUNCHING_KINDS
from tilth.store import encoding, restoring, schema, sqlite
from tilth.store.postgres import PostgresDatabase
from tilth.store.sql import SqlStore
from tilth.store.sqlite import MIGRATIONS, SqliteDatabase

FILES = sorted(MIGRATIONS.glob("*.sql"))
LATEST = len(FILES)
ALL = KINDS | ACCESS_KINDS | LAUNCHING_KINDS


def some(kind):
    """A record with something in every field that has to be given."""
    hints = get_type_hints(kind)
    needed = [each.name for each in msgspec.structs.fields(kind) if each.required]
    return kind(**{name: value(hints[name]) for name in needed})


def value(hint):
    whole = get_origin(hint) or hint
    if whole in (Union, UnionType):
        return value(get_args(hint)[0])
    if issubclass(whole, Enum):
        return next(iter(whole))
    if issubclass(whole, msgspec.Struct):
        return some(whole)
    if issubclass(whole, datetime):
        return now()
    return {str: "x", int: 1, bool: True, float: 0.5}[whole] if whole in (str, int, bool, float) else whole()


RECORDS = {name: some(kind) for name, kind in ALL.items()}


class Lite:
    """A file, at any version."""

    def __init__(self, folder):
        self.path = folder / "tilth.db"

    def migrate(self, migrations):
        with closing(sqlite.connect(self.path)) as connection:
            sqlite.settle(connection, self.path, migrations)

    def ask(self, sql, values=()):
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute(sql, values).fetchall()
            connection.commit()
            return rows

    def columns(self, table):
        return [row[1] for row in self.ask(f'PRAGMA table_info("{table}")')]

    def tables(self):
        found = self.ask("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        return sorted(name for (name,) in found)

    def indexes(self):
        found = self.ask("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        return sorted(found)

    def version(self):
        return self.ask("PRAGMA user_version")[0][0]

    def open(self):
        return SqliteDatabase(self.path)

    def restore(self, version):
        return restoring.restore_sqlite(self.path, version)


class Postgres:
    """A database, at any version."""

    def __init__(self, url):
        self.url = url

    def migrate(self, migrations):
        PostgresDatabase(self.url, migrations=migrations).close()

    def ask(self, sql, values=()):
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(sql.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []

    def columns(self, table):
        rows = self.ask(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position",
            (table,),
        )
        return [name for (name,) in rows]

    def tables(self):
        with psycopg.connect(self.url) as connection:
            from tilth.store.postgres import tables

            return tables(connection)

    def indexes(self):
        return sorted(
            self.ask("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()")
        )

    def version(self):
        return int(self.ask("SELECT value FROM home WHERE key = 'version'")[0][0])

    def open(self):
        return PostgresDatabase(self.url)

    def restore(self, version):
        return restoring.restore_postgres(self.url, version)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request, tmp_path):
    if request.param == "sqlite":
        return Lite(tmp_path)
    return Postgres(request.getfixturevalue("postgres_database"))


@pytest.fixture
def up_to(tmp_path):
    """`up_to(3)` gives a folder with the first three migrations, as that tilth had."""

    def up_to(version):
        folder = tmp_path / f"migrations-{version}"
        folder.mkdir(exist_ok=True)
        for each in FILES[:version]:
            shutil.copy(each, folder)
        return folder

    return up_to


def fill(database):
    """A row in every table; gives the names of the kinds that are there."""
    for table in database.tables():
        if table == "home":
            continue
        names = database.columns(table)
        values = dict.fromkeys(names, "x") | {"space": "", "value": 7}
        if table in RECORDS:
            record = RECORDS[table]
            values = {
                name: schema.sql_value(getattr(record, name)) for name in names if hasattr(record, name)
            }
            values |= {"space": "", "body": encoding.encode(record).decode()}
        listed = ", ".join(f'"{each}"' for each in names)
        marks = ", ".join("?" * len(names))
        database.ask(f'INSERT INTO "{table}" ({listed}) VALUES ({marks})', [values[each] for each in names])
    return [each for each in database.tables() if each in RECORDS]


def contents(database):
    return {
        table: sorted(database.ask(f'SELECT * FROM "{table}"'), key=repr)
        for table in database.tables()
        if table != "home"
    }


@pytest.mark.parametrize("version", range(1, LATEST))
def test_records_of_every_version_are_read_after_a_migration_and_are_there_again_after_going_back(
    database, up_to, version
):
    database.migrate(up_to(version))
    kinds = fill(database)
    before, indexes = contents(database), database.indexes()

    database.migrate(MIGRATIONS)
    assert database.version() == LATEST
    with SqlStore(database.open()) as store:
        for each in kinds:
            assert store.get(ALL[each], RECORDS[each].id) == RECORDS[each]
        written = {name: record for name, record in RECORDS.items() if name not in kinds}
        for each in written.values():
            store.add(each)  # tables that have come since are there

    assert database.restore(version) == LATEST
    assert database.version() == version
    assert contents(database) == before
    assert database.indexes() == indexes
    database.migrate(up_to(version))  # an older tilth takes it for its own

    database.migrate(MIGRATIONS)
    with SqlStore(database.open()) as store:
        for each in kinds:
            assert store.get(ALL[each], RECORDS[each].id) == RECORDS[each]


def test_going_back_and_on_again_brings_back_what_was_written_before_going_back(database, up_to):
    database.migrate(up_to(LATEST - 1))
    fill(database)
    database.migrate(MIGRATIONS)
    database.ask("UPDATE counter SET value = 8")
    database.restore(LATEST - 1)
    assert database.ask("SELECT value FROM counter") == [(7,)]
    assert database.restore(LATEST) == LATEST - 1
    assert database.ask("SELECT value FROM counter") == [(8,)]
    assert database.version() == LATEST


def test_a_version_of_which_no_copy_is_kept_is_told(database, up_to):
    database.migrate(up_to(LATEST - 1))
    with pytest.raises(NotFound, match="no copy of version 1 is kept") as caught:
        database.restore(1)
    assert "nothing was migrated" in caught.value.why
    database.migrate(MIGRATIONS)
    with pytest.raises(NotFound) as caught:
        database.restore(1)
    assert f"copies of {LATEST - 1}" in caught.value.why
    with pytest.raises(Conflict, match="already"):
        database.restore(LATEST)
    assert database.version() == LATEST


@pytest.mark.parametrize("version", [1, LATEST - 1])
def test_those_who_start_at_once_migrate_an_older_database_once(database, up_to, version):
    database.migrate(up_to(version))
    kinds = fill(database)
    opened, failed = [], []

    def start():
        try:
            opened.append(database.open())
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    for each in opened:
        store = SqlStore(each)
        for name in kinds:
            assert store.get(ALL[name], RECORDS[name].id) == RECORDS[name]
        each.close()


@pytest.mark.postgres
def test_nobody_goes_back_under_a_server_that_runs(postgres_database, up_to):
    database = Postgres(postgres_database)
    database.migrate(up_to(LATEST - 1))
    with SqlStore(database.open()) as store:
        store.find(Run, limit=1)  # its connections are made in the background: now there is one
        with pytest.raises(Conflict, match="somebody uses the database"):
            database.restore(LATEST - 1)
    assert database.version() == LATEST


def test_the_command_goes_back(tilth, home, up_to):
    database = Lite(home)
    home.mkdir(exist_ok=True)
    database.migrate(up_to(LATEST - 1))
    assert "no copy" in tilth("server", "restore", "1", code=1).stderr
    database.migrate(MIGRATIONS)
    said = tilth("server", "restore", str(LATEST - 1)).stderr
    assert f"version {LATEST - 1} again; version {LATEST} is kept" in said
    assert database.version() == LATEST - 1
