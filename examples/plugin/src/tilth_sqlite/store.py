"""Objects in a SQLite file, in parts, so that a large one is never in memory as a whole."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tilth.artifact_stores import Stored
from tilth.errors import DiskFull, LoadError, NotFound, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PART = 1 << 20
_TABLES = """
CREATE TABLE IF NOT EXISTS object (key TEXT PRIMARY KEY, size INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part (key TEXT, number INTEGER, content BLOB NOT NULL, PRIMARY KEY (key, number));
"""


class SqliteStore:
    """An `ObjectStore` in one file. Each call has a connection of its own: any thread and process may make it."""

    def __init__(self, path: Path, *, patience_s: float = 60.0) -> None:
        self.path = path
        self.where = str(path)
        self._patience_s = patience_s

    def put(self, key: str, source: Path | bytes, *, digest: str = "") -> str:
        """Write an object in one transaction: as a whole or not at all."""
        _checked(key)
        with self._writing() as connection:
            connection.execute("DELETE FROM part WHERE key = ?", (key,))
            hashed, size = hashlib.sha256(), 0
            for number, part in enumerate(_parts(source)):
                hashed.update(part)
                size += len(part)
                connection.execute("INSERT INTO part VALUES (?, ?, ?)", (key, number, part))
            found = f"sha256:{hashed.hexdigest()}"
            if digest and found != digest:
                raise _damaged(key, self.where, digest, found)
            connection.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", (key, size, found))
        return found

    def get(self, key: str, target: Path, *, digest: str = "") -> None:
        """Write an object to a file, whole or not at all."""
        aside = target.with_name(f".{target.name}-{os.urandom(4).hex()}.part")
        try:
            with open(aside, "xb") as file:
                file.writelines(self._content(key, digest))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def read(self, key: str, *, digest: str = "") -> bytes:
        """The content of an object."""
        return b"".join(self._content(key, digest))

    def find(self, key: str) -> Stored | None:
        """What is under a key, or None."""
        _checked(key)
        if not self.path.exists():
            return None
        with self._reading() as connection:
            row = connection.execute("SELECT size FROM object WHERE key = ?", (key,)).fetchone()
        return Stored(key, row[0]) if row else None

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """The objects whose keys begin with a prefix."""
        if not self.path.exists():
            return
        with self._reading() as connection:
            query = "SELECT key, size FROM object WHERE substr(key, 1, ?) = ?"
            rows = connection.execute(query, (len(prefix), prefix)).fetchall()
        yield from (Stored(key, size) for key, size in rows)

    def delete(self, key: str) -> None:
        """Forget an object."""
        _checked(key)
        if self.path.exists():
            with self._writing() as connection:
                connection.execute("DELETE FROM part WHERE key = ?", (key,))
                connection.execute("DELETE FROM object WHERE key = ?", (key,))

    def check(self) -> None:
        """Write, read and delete a small object."""
        key = f"check-{os.urandom(8).hex()}"
        self.read(key, digest=self.put(key, b"tilth"))
        self.delete(key)

    def _content(self, key: str, digest: str) -> Iterator[bytes]:
        """The parts of an object in order; the last comes when they are known to be what the digest says."""
        _checked(key)
        if not self.path.exists():
            raise NotFound(f"there is no `{key}` in the artifact store", why=f"looked for in `{self.where}`")
        with self._reading() as connection:
            connection.execute("BEGIN")  # what is written meanwhile is not mixed in
            row = connection.execute("SELECT digest FROM object WHERE key = ?", (key,)).fetchone()
            if row is None:
                raise NotFound(
                    f"there is no `{key}` in the artifact store", why=f"looked for in `{self.where}`"
                )
            hashed, last = hashlib.sha256(), b""
            for (part,) in connection.execute(
                "SELECT content FROM part WHERE key = ? ORDER BY number", (key,)
            ):
                yield last
                hashed.update(part)
                last = part
        found, wanted = f"sha256:{hashed.hexdigest()}", digest or row[0]
        if found != wanted:
            raise _damaged(key, self.where, wanted, found)
        yield last

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connect()) as connection:
                yield connection
        except sqlite3.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.executescript(_TABLES)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.rollback()
                raise
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=self._patience_s, isolation_level=None)

    def _failure(self, error: sqlite3.Error) -> DiskFull | StoreUnavailable:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            return DiskFull(
                f"no space left for the artifact store `{self.where}`",
                why="what was being written is left out as a whole; everything before is kept",
                mend="make room on that disk",
            )
        return StoreUnavailable(
            f"the artifact store `{self.where}` fails",
            why=str(error),
            mend="see that its folder is there, that you may write to it, and that the file is one of SQLite's",
        )


def _parts(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[start : start + _PART] for start in range(0, len(source), _PART))
        return
    with open(source, "rb") as file:
        while part := file.read(_PART):
            yield part


def _checked(key: str) -> str:
    if not key or "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"`{key}` is not the key of an object")
    return key


def _damaged(key: str, where: str, wanted: str, found: str) -> LoadError:
    return LoadError(
        f"`{key}` in the artifact store is damaged",
        why=f"its content has {found}, not {wanted}; it is in `{where}`",
        mend="run the step that made it again",
    )
