from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tilth.errors import HomeTooNew, SetupError
from tilth.home import Home
from tilth.records import KINDS, Run
from tilth.records.access import ACCESS_KINDS
from tilth.records.launching import LAUNCHING_KINDS
from tilth.store import open_store, schema, sqlite

ALL = KINDS | ACCESS_KINDS | LAUNCHING_KINDS


def shape(connection: sqlite3.Connection, table: str) -> tuple[set[tuple], set[tuple]]:
    columns = {tuple(row[1:]) for row in connection.execute(f'PRAGMA table_info("{table}")')}
    indexes = set()
    for _, name, unique, origin, _ in connection.execute(f'PRAGMA index_list("{table}")'):
        names = tuple(row[2] for row in connection.execute(f'PRAGMA index_info("{name}")'))
        indexes.add((names, unique, origin, name))
    return columns, indexes


def settle(path: Path, migrations: Path = sqlite.MIGRATIONS) -> None:
    with closing(sqlite.connect(path)) as connection:
        sqlite.settle(connection, path, migrations)


def query(path: Path, sql: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(sql).fetchone()
        connection.commit()
    return row and row[0]


@pytest.fixture
def migrations(tmp_path):
    """Where there is one so far, to which a test adds the second."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    shutil.copy(sqlite.MIGRATIONS / "0001_first_tables.sql", folder)
    return folder


@pytest.mark.parametrize("kind", ALL.values(), ids=ALL)
def test_the_migrated_tables_are_those_the_records_ask_for(tmp_path, kind):
    settle(tmp_path / "tilth.db")
    with (
        closing(sqlite3.connect(tmp_path / "tilth.db")) as migrated,
        closing(sqlite3.connect(":memory:")) as derived,
    ):
        for statement in schema.statements(kind):
            derived.execute(statement)
        assert shape(migrated, kind.kind) == shape(derived, kind.kind)


def test_migrations_are_numbered_without_gaps():
    numbers = [int(each.name[:4]) for each in sorted(sqlite.MIGRATIONS.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_older_database_is_migrated_and_a_copy_kept(tmp_path, migrations):
    path = tmp_path / "tilth.db"
    settle(path, migrations)
    query(path, "INSERT INTO counter VALUES ('run p', 7) RETURNING value")
    (migrations / "0002_more.sql").write_text(
        "CREATE TABLE more (a TEXT);\nINSERT INTO more VALUES ('a;b');\n"
    )
    settle(path, migrations)
    assert query(path, "PRAGMA user_version") == 2
    assert query(path, "SELECT a FROM more") == "a;b"
    assert query(path, "SELECT value FROM counter") == 7
    copy = tmp_path / "tilth.db.version-1"
    assert query(copy, "PRAGMA user_version") == 1
    assert query(copy, "SELECT value FROM counter") == 7


def test_a_migration_that_fails_changes_nothing(tmp_path, migrations):
    path = tmp_path / "tilth.db"
    settle(path, migrations)
    (migrations / "0002_broken.sql").write_text(
        "CREATE TABLE more (a TEXT);\nINSERT INTO nowhere VALUES (1);\n"
    )
    with pytest.raises(sqlite3.OperationalError):
        settle(path, migrations)
    assert query(path, "PRAGMA user_version") == 1
    assert query(path, "SELECT name FROM sqlite_master WHERE name = 'more'") is None


def test_a_database_of_a_newer_version_says_what_to_install(tmp_path):
    with open_store(Home(tmp_path)) as store:
        store.start_run(Run(pipeline="p"))
    query(tmp_path / "tilth.db", "PRAGMA user_version = 99")
    query(tmp_path / "tilth.db", "UPDATE home SET value = '9.1.0' WHERE key = 'written_by' RETURNING 1")
    with pytest.raises(HomeTooNew, match=r"written by a newer tilth: 9\.1\.0") as caught:
        open_store(Home(tmp_path))
    assert "version 99" in caught.value.why
    assert "pip install 'tilth>=9.1.0'" in caught.value.mend


@pytest.mark.parametrize("damage", ["text", "torn"])
def test_a_damaged_database_says_how_to_mend_it_and_is_left_alone(tmp_path, damage):
    path = Home(tmp_path).database
    with open_store(Home(tmp_path)) as store:
        for _ in range(100):
            store.start_run(Run(pipeline="p", metadata={"text": "x" * 2000}))
    content = path.read_bytes()
    damaged = (
        b"not a database, " * 1000 if damage == "text" else content[:8192] + os.urandom(len(content) - 8192)
    )
    path.write_bytes(damaged)
    with pytest.raises(SetupError, match="is damaged") as caught, open_store(Home(tmp_path)) as store:
        store.find(Run)
    assert "move `" in caught.value.mend
    assert path.read_bytes() == damaged


def test_a_home_inside_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be opened and written to") as caught:
        open_store(Home(tmp_path / "file" / "home"))
    assert "TILTH_HOME" in caught.value.mend


def test_a_folder_that_may_not_be_written_to_is_told():
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # where everybody may go
    folder.chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)  # root may write everywhere
        with pytest.raises(SetupError, match="cannot be opened and written to"):
            open_store(Home(folder))
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_the_log_is_written_ahead_on_a_disk_of_this_machine(tmp_path):
    settle(tmp_path / "tilth.db")
    assert query(tmp_path / "tilth.db", "PRAGMA journal_mode") == "wal"


def test_a_rollback_journal_is_used_on_a_network_file_system(tmp_path, monkeypatch):
    path = tmp_path / "tilth.db"
    settle(path)
    monkeypatch.setattr(sqlite, "on_network", lambda folder: True)
    settle(path)
    assert query(path, "PRAGMA journal_mode") == "delete"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/mnt/shared/home", True),
        ("/mnt/shared", True),
        ("/mnt/sharedish", False),
        ("/home/me", False),
        ("/mnt/my disk/x", True),
        ("/mnt/sshfs/x", True),
        ("/mnt/usb/x", False),
        ("/mnt/shared/local/x", False),
    ],
)
def test_file_systems_of_other_machines_are_known(tmp_path, place, expected):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/x /mnt/shared nfs4 rw 0 0\n/dev/sdb1 /mnt/shared/local xfs rw 0 0\n"
        "//s/x /mnt/my\\040disk cifs rw 0 0\nme@s: /mnt/sshfs fuse.sshfs rw 0 0\n"
        "/dev/sdc /mnt/usb fuseblk rw 0 0\n"
    )
    assert sqlite.on_network(Path(place), mounts) is expected


def test_opening_asks_nothing_of_a_database_that_is_up_to_date(tmp_path, monkeypatch):
    open_store(Home(tmp_path)).close()
    monkeypatch.setattr(sqlite, "locked", None)  # would be called to migrate
    open_store(Home(tmp_path)).close()


def test_a_copy_of_the_folder_while_open_is_no_worse_than_a_crash(tmp_path):
    with open_store(Home(tmp_path / "home")) as store:
        run = store.start_run(Run(pipeline="p"))
        subprocess.run(["cp", "-r", tmp_path / "home", tmp_path / "copy"], check=True)
    with open_store(Home(tmp_path / "copy")) as store:
        assert store.get(Run, run.id) == run
