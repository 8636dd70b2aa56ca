"""A PostgreSQL database under the store: connecting, migrating, and its errors in our words.

The migrations are those of SQLite; what differs is a type's name and how text is ordered.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tilth.errors import Conflict, DatabaseUnavailable, DefinitionError, DiskFull, SetupError
from tilth.store.sqlite import MIGRATIONS, statements_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import psycopg
    from psycopg_pool import ConnectionPool

    from tilth.store.database import Cursor, Database

T = TypeVar("T")
_LOCK = 0x74696C7468  # `tilth`: one of those who start at once migrates, the others wait
_TRIES = 5  # of a transaction that the database ended in favour of another
_CONNECT_S = 5.0
_FRESH_S = 1.0  # a connection that was used within is taken without asking it


class PostgresDatabase:
    """Tables in a PostgreSQL database, made or migrated when they must be.

    Args:
        url: `postgresql://USER:PASSWORD@HOST:PORT/NAME`, or any other connection string of libpq.
        most: Connections held open at once.
    Raises:
        DatabaseUnavailable: It does not answer.
        SetupError: It refuses, or a newer tilth has been here.
    """

    finding = "strpos"
    locking = "FOR UPDATE"

    def __init__(self, url: str, *, most: int = 10, migrations: Path = MIGRATIONS) -> None:
        try:
            import psycopg
            from psycopg_pool import ConnectionPool
        except ImportError as error:
            raise SetupError(
                "PostgreSQL needs packages that are not installed",
                why=str(error),
                mend="install `tilth[server]`",
            ) from error
        self._psycopg = psycopg
        self._doubted_at = 0.0
        with translated(psycopg), psycopg.connect(url, connect_timeout=int(_CONNECT_S)) as connection:
            migrate(connection, migrations)
        self._pool: ConnectionPool[Any] = ConnectionPool(
            url,
            min_size=1,
            max_size=most,
            open=True,
            timeout=_CONNECT_S,
            check=self._check,
            kwargs={"autocommit": True, "connect_timeout": int(_CONNECT_S)},
        )

    def select(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        for again in (False, True):
            taken = False
            try:
                with translated(self._psycopg), self._connection() as connection:
                    taken = True
                    rows: list[tuple[Any, ...]] = connection.execute(_marked(sql), values).fetchall()
                    return rows
            except DatabaseUnavailable:
                if again or not taken:
                    raise
                self._doubt()
        raise AssertionError("the second try returns or raises")

    def transact(self, work: Callable[[Cursor], T]) -> T:
        for attempt in range(1, _TRIES + 1):
            taken = begun = False
            try:
                with translated(self._psycopg), self._connection() as connection:
                    taken = True
                    with connection.transaction(), connection.cursor() as cursor:
                        begun = True
                        return work(_Marking(cursor))
            except _EndedForAnother:
                if attempt == _TRIES:
                    raise
                time.sleep(0.01 * 2**attempt)
            except DatabaseUnavailable:
                # What had begun may have been done: whoever asked must find out.
                if begun or not taken or attempt == _TRIES:
                    raise
                self._doubt()
        raise AssertionError("a try returns or raises")

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self._pool.connection() as connection:
            yield connection
            connection.used_at = time.monotonic()

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        """Find out whether a connection still leads to the database. One in steady use is taken to."""
        used_at = getattr(connection, "used_at", 0.0)
        if used_at <= self._doubted_at or time.monotonic() - used_at > _FRESH_S:
            self._pool.check_connection(connection)

    def _doubt(self) -> None:
        """A connection was gone, so the others may be: each is asked before it is used again."""
        self._doubted_at = time.monotonic()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


if TYPE_CHECKING:
    _keeps_the_promises: type[Database] = PostgresDatabase


class _EndedForAnother(Conflict):
    """A deadlock or a serialisation failure: what was to be done is to be done again."""


class _Marking:
    """A cursor for SQL with question marks."""

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    def execute(self, sql: str, values: Sequence[Any] = ()) -> object:
        return self._cursor.execute(_marked(sql), values)

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._cursor.fetchone()

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._cursor.fetchall()


def migrate(connection: psycopg.Connection[Any], migrations: Path = MIGRATIONS) -> None:
    """Bring the tables to the newest version, in one transaction; what they were is kept in a schema beside.

    Raises:
        SetupError: A newer tilth has been here.
    """
    files = sorted(migrations.glob("*.sql"))
    latest = int(files[-1].name[:4])
    with connection.transaction():
        lock(connection)
        version = version_of(connection)
        if version > latest:
            from tilth import __version__

            raise SetupError(
                "the server's database was written by a newer tilth",
                why=f"it has version {version}; tilth {__version__} knows versions up to {latest}",
                mend="install the newest tilth on every machine that serves it",
            )
        if version == latest:
            return
        if version:
            _back_up(connection, version)
        apply(connection, files[version:])
        connection.execute(
            "INSERT INTO home (key, value) VALUES ('version', %s) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (str(latest),),
        )


def lock(connection: psycopg.Connection[Any]) -> None:
    """Be the one who migrates, until the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def apply(connection: psycopg.Connection[Any], files: Sequence[Path]) -> None:
    """Run migrations, within a transaction of the caller."""
    for file in files:
        for statement in statements_of(file.read_text("utf-8"), "postgresql"):
            connection.execute(_translate_types(statement).encode())


def version_of(connection: psycopg.Connection[Any]) -> int:
    """The number of the last migration that was made; 0 for an empty database."""
    there = connection.execute("SELECT to_regclass('home') IS NOT NULL").fetchone()
    if not there or not there[0]:
        return 0
    row = connection.execute("SELECT value FROM home WHERE key = 'version'").fetchone()
    return int(row[0]) if row else 0


def copy_name(version: int) -> str:
    """The schema in which the tables of a version are kept."""
    return f"tilth_version_{version}"


def tables(connection: psycopg.Connection[Any]) -> list[str]:
    """The tables that are in use."""
    rows = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() "
        "ORDER BY table_name"
    ).fetchall()
    return [name for (name,) in rows]


def _back_up(connection: psycopg.Connection[Any], version: int) -> None:
    schema = copy_name(version)
    connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())
    connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
    for table in tables(connection):
        connection.execute(f'CREATE TABLE "{schema}"."{table}" AS TABLE "{table}"'.encode())


def _translate_types(statement: str) -> str:
    # Text is ordered by its bytes, as SQLite does, and as pages of ids expect.
    return (
        statement.replace(" INTEGER", " BIGINT")
        .replace(" TEXT", ' TEXT COLLATE "C"')
        .replace(" WITHOUT ROWID", "")
    )


def _marked(sql: str) -> bytes:
    # No text of ours has a percent sign or a question mark that is not for a value.
    return sql.replace("?", "%s").encode()


@contextmanager
def translated(psycopg: Any) -> Iterator[None]:
    """Turn what PostgreSQL says into errors that tell what to do."""
    from psycopg_pool import PoolClosed, PoolTimeout

    errors = psycopg.errors
    try:
        yield
    except (errors.DeadlockDetected, errors.SerializationFailure) as error:
        raise _EndedForAnother(
            "the database gave way to somebody else's change", why=_said(error), mend="try again"
        ) from error
    except errors.UniqueViolation as error:
        raise Conflict("a record is there already", why=_said(error)) from error
    except errors.DiskFull as error:
        raise DiskFull(
            "no space left for the server's database",
            why=_said(error),
            mend="make room on the disk of the database; what was told to be done is kept",
        ) from error
    except errors.InsufficientPrivilege as error:
        raise SetupError(
            "the server's database cannot be used",
            why=_said(error),
            mend="let its user create tables and schemas there",
        ) from error
    except (errors.DataError, errors.ProgramLimitExceeded, UnicodeEncodeError) as error:
        raise DefinitionError("a value cannot be kept", why=_said(error)) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed) as error:
        # While it connects, libpq gives its reasons as text alone.
        if "authentication failed" in str(error) or "no password supplied" in str(error):
            raise SetupError(
                "the server's database refuses the login",
                why=_said(error),
                mend="correct user and password in `TILTH_SERVER_DATABASE_URL`",
            ) from error
        if "does not exist" in str(error):
            raise SetupError(
                "the server's database is not there",
                why=_said(error),
                mend="make it: `createdb -O USER NAME`",
            ) from error
        raise DatabaseUnavailable(
            "the server's database does not answer",
            why=_said(error),
            mend="see whether it runs; clients try again by themselves",
        ) from error


def _said(error: BaseException) -> str:
    """The first line: the others repeat the connection string, or show values."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
