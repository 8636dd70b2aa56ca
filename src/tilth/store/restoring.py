"""Gives a database back what it was before a migration, for who has to go back to an older tilth.

A migration keeps a copy of what it begins with: SQLite a file beside the database, PostgreSQL a schema beside the
tables. What is there now is kept in the same way, so that nothing is lost by going back.
"""

# ruff: noqa: S608 - what is put into the SQL are names of ours; values are always bound

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from tilth.errors import Conflict, NotFound
from tilth.store import postgres, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def restore_sqlite(path: Path, version: int) -> int:
    """Bring a file back to a version that it had; gives the version that it has had until now.

    Raises:
        NotFound: No copy of that version is kept.
        Conflict: It has that version.
    """
    copy = path.with_name(f"{path.name}.version-{version}")
    kept = (each.name.rpartition("-")[2] for each in path.parent.glob(f"{path.name}.version-*"))
    with sqlite.translated(path):
        if not path.exists():
            raise NotFound(f"there is no database `{path}`")
        with closing(sqlite.connect(path)) as connection, sqlite.locked(path):
            before = sqlite.version_of(connection)
            _check(version, before, kept)
            sqlite.back_up(connection, path)
            with closing(sqlite.connect(copy)) as source:
                source.backup(connection)
        return before


def restore_postgres(url: str, version: int, migrations: Path = sqlite.MIGRATIONS) -> int:
    """Bring tables back to a version that they had; gives the version that they have had until now.

    Raises:
        NotFound: No copy of that version is kept.
        Conflict: They have that version, or somebody uses the database.
        SetupError, DatabaseUnavailable: It cannot be opened.
    """
    import psycopg

    with postgres.translated(psycopg), psycopg.connect(url, connect_timeout=5) as connection:
        _refuse_users(connection)
        with connection.transaction():
            postgres.lock(connection)
            before = postgres.version_of(connection)
            rows = connection.execute(
                r"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tilth\_version\_%'"
            ).fetchall()
            _check(version, before, (name.rpartition("_")[2] for (name,) in rows))
            aside, copy = postgres.copy_name(before), postgres.copy_name(version)
            _run(connection, f'DROP SCHEMA IF EXISTS "{aside}" CASCADE', f'CREATE SCHEMA "{aside}"')
            for table in postgres.tables(connection):
                _run(connection, f'ALTER TABLE "{table}" SET SCHEMA "{aside}"')
            postgres.apply(connection, sorted(migrations.glob("*.sql"))[:version])
            for table in postgres.tables(connection):
                names = ", ".join(f'"{each}"' for each in _columns(connection, copy, table))
                _run(connection, f'INSERT INTO "{table}" ({names}) SELECT {names} FROM "{copy}"."{table}"')
        return before


def _check(version: int, before: int, kept: Iterable[str]) -> None:
    there = sorted(int(each) for each in kept if each.isdecimal())
    if version == before:
        raise Conflict(f"the database has version {version} already")
    if version not in there:
        raise NotFound(
            f"no copy of version {version} is kept",
            why=f"there are copies of {', '.join(map(str, there))}" if there else "nothing was migrated here",
            mend="restore it from a backup of your own",
        )


def _refuse_users(connection: Any) -> None:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ).fetchone()
    if row and row[0]:
        raise Conflict(
            f"somebody uses the database: {row[0]} connections",
            mend="end all servers first: what they wrote meanwhile would be kept aside, and seem lost",
        )


def _columns(connection: Any, schema: str, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
        "ORDER BY ordinal_position",
        (schema, table),
    ).fetchall()
    return [name for (name,) in rows]


def _run(connection: Any, *statements: str) -> None:
    for each in statements:
        connection.execute(each.encode())
