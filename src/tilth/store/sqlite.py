"""The SQLite file under the store: opening, migrating, journal mode, and its errors in our words.

Knows nothing of records; `migrations/` holds what makes its tables, one frozen file per version.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from tilth.errors import Conflict, DefinitionError, DiskFull, HomeTooNew, HomeUnwritable, SetupError
from tilth.mounts import MOUNTS, mount_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tilth.store.database import Cursor, Database

T = TypeVar("T")
MIGRATIONS = Path(__file__).parent / "migrations"
PATIENCE_S = 60.0  # how long to wait for another process's transaction; ours take milliseconds
_LOW_SPACE = 1 << 20


class SqliteDatabase:
    """A file, made or migrated when it must be. One connection writes, one reads: who asks does not wait for a
    commit to reach the disk.

    Args:
        to_read: A file on a read-only disk will do; writing fails then.
    Raises:
        HomeUnwritable, HomeTooNew, SetupError: It cannot be opened.
    """

    finding = "instr"
    locking = ""  # one transaction writes at a time

    def __init__(self, path: Path, *, to_read: bool = False) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        with translated(path):
            if to_read and is_still(path):
                self._reader = connect_still(path)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = connect(path)
            try:
                settle(self._reader, path)
            except BaseException:
                self._reader.close()
                raise

    def select(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with translated(self.path), self._reading:
            return self._reader.execute(sql, values).fetchall()

    def transact(self, work: Callable[[Cursor], T]) -> T:
        with translated(self.path), self._writing:
            if self._writer is None:
                self._writer = connect(self.path)
            # Closed, for a cursor in a traceback would keep the file open after the connection is closed.
            with closing(self._writer.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    done = work(cursor)
                    cursor.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:  # SQLite rolls back by itself when the disk is full
                        self._writer.rollback()
                    raise
        return done

    def close(self) -> None:
        """Close the file. The last to close it folds the log into the database."""
        with self._writing, self._reading:
            for connection in (self._writer, self._reader):
                if connection is not None:
                    connection.close()


if TYPE_CHECKING:
    _keeps_the_promises: type[Database] = SqliteDatabase


def connect(path: Path) -> sqlite3.Connection:
    """A connection to an existing or new file, usable from any thread under the caller's lock."""
    connection = sqlite3.connect(
        path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        # FULL, for a commit that was told to a user must outlive a power failure. Set per connection.
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_still(path: Path) -> sqlite3.Connection:
    """A connection to a file that nobody can write to; see `is_still`. It is at the newest version, or refused."""
    connection = sqlite3.connect(
        f"file:{quote(os.fspath(path))}?mode=ro&immutable=1",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        latest = _latest(MIGRATIONS)
        version = version_of(connection)
        if version > latest:
            raise _too_new(connection, path, version, latest)
        if version < latest:
            raise _not_writable(
                path, "it was written by an older tilth, and must be brought to this version first"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def is_still(path: Path) -> bool:
    """Whether a database lies on a disk that is mounted read-only, whole, so that it can be read without its log."""
    try:
        if not _is_read_only(path):
            return False
        log = path.with_name(f"{path.name}-wal")
        return not log.exists() or log.stat().st_size == 0
    except OSError:
        return False


def settle(connection: sqlite3.Connection, path: Path, migrations: Path = MIGRATIONS) -> None:
    """Bring the file to the newest version, keeping a copy of what it was; quick when it is there.

    Raises:
        HomeTooNew: A newer tilth has been here.
    """
    files = sorted(migrations.glob("*.sql"))
    latest = _latest(migrations)
    version = version_of(connection)
    if version > latest:
        raise _too_new(connection, path, version, latest)
    journal = "delete" if on_network(path.parent) else "wal"
    if version == latest and _journal(connection) == journal:
        return
    with locked(path):
        if _journal(connection) != journal:
            _switch_journal(connection, path, journal)
        if 0 < version_of(connection) < latest:
            back_up(connection, path)
        for file in files:
            _apply(connection, file)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into errors that tell what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise DefinitionError("a value cannot be kept", why=str(error)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(path) from error
        raise _not_writable(path, error.strerror or str(error)) from error


def on_network(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether a folder lies on a file system shared between machines, where WAL's shared memory cannot work.

    Source: sqlite.org/wal.html, "All processes using a database must be on the same host computer".
    """
    mount = mount_of(folder, mounts)
    return mount is not None and mount.is_network  # where nobody tells, nothing is known against it


def _latest(migrations: Path) -> int:
    return max(int(each.name[:4]) for each in migrations.glob("*.sql"))


def version_of(connection: sqlite3.Connection) -> int:
    """The number of the last migration that was made; 0 for a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _journal(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _switch_journal(connection: sqlite3.Connection, path: Path, journal: str) -> None:
    try:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
        if journal == "delete":
            raise SetupError(
                f"the database `{path}` is in use, and on a network file system",
                why="its write-ahead log works on one machine only, and must be switched off first",
                mend="stop every other tilth on this home folder, and try again",
            ) from error
        # A rollback journal is slower, never wrong; the next to open it alone switches.


def _apply(connection: sqlite3.Connection, file: Path) -> None:
    """One migration, in one transaction; nothing when it has been done."""
    number = int(file.name[:4])
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version_of(connection) < number:
            for statement in statements_of(file.read_text("utf-8"), "sqlite"):
                connection.execute(statement)
            from tilth import __version__

            connection.execute("INSERT OR REPLACE INTO home VALUES ('written_by', ?)", (__version__,))
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def statements_of(text: str, database: str) -> Iterator[str]:
    """The statements of a migration, without those below `-- in DATABASE` that are for another."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            told = re.search(r"^-- in (\w+)$", statement, re.MULTILINE)
            if told is None or told[1] == database:
                yield statement
            statement = ""
    assert not statement.strip(), f"a migration ends in the middle of a statement: {statement}"


def back_up(connection: sqlite3.Connection, path: Path) -> None:
    """Keep a copy of a file beside it, under its version."""
    copy = path.with_name(f"{path.name}.version-{version_of(connection)}")
    aside = copy.with_name(f"{copy.name}.part")
    aside.unlink(missing_ok=True)
    with closing(sqlite3.connect(aside)) as target:
        connection.backup(target)
    aside.replace(copy)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the one who migrates a file."""
    with open(path.with_name(f"{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _too_new(connection: sqlite3.Connection, path: Path, version: int, latest: int) -> HomeTooNew:
    from tilth import __version__

    try:
        row = connection.execute("SELECT value FROM home WHERE key = 'written_by'").fetchone()
    except sqlite3.Error:
        row = None  # a far future may keep it elsewhere
    writer = row[0] if row else "a later version"
    install = f"`pip install 'tilth>={writer}'`" if row else "the newest tilth"
    return HomeTooNew(
        f"`{path.parent}` was written by a newer tilth: {writer}",
        why=f"its database has version {version}; tilth {__version__} knows versions up to {latest}",
        mend=f"install {install}, or set `TILTH_HOME` to another folder",
    )


def _translate(error: sqlite3.Error, path: Path) -> Exception:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_CONSTRAINT"):
        return Conflict("a record is there already", why=str(error))
    if name == "SQLITE_FULL" or (name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and _is_full(path)):
        return _disk_full(path)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return SetupError(
            f"the database `{path}` is held by another process",
            why=f"it has not let go for {PATIENCE_S:.0f} seconds",
            mend=f"see which with `fuser {path}`: a stopped or hanging process must end first",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        still = "its disk is mounted read-only"
        return _not_writable(path, still if _is_read_only(path) else str(error))
    if name.startswith("SQLITE_IOERR"):
        return SetupError(
            f"the database `{path}` cannot be read or written",
            why=str(error),
            mend="see whether its disk is well, then run again: nothing that was told to be done is lost",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return SetupError(
            f"the database `{path}` is damaged",
            why=str(error),
            mend=f"move `{path}` and `{path.name}-*` beside it to another folder, and run again: a new one "
            "is made, artifacts and environments stay; or put a copy of it in its place",
        )
    return error


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _LOW_SPACE
    except OSError:
        return False


def _disk_full(path: Path) -> DiskFull:
    return DiskFull(
        f"no space left for the database `{path}`",
        why="what was being written is left out as a whole; everything before is kept",
        mend="make room on that disk, as `tilth env prune` does, or set `TILTH_HOME` to a folder on another",
    )


def _not_writable(path: Path, why: str) -> HomeUnwritable:
    return HomeUnwritable(
        f"the database `{path}` cannot be opened and written to",
        why=why,
        mend=f"make `{path.parent}` a folder you may write to, or set `TILTH_HOME` to one",
    )
