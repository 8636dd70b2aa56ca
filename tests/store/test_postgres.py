from __future__ import annotations

import shutil
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tilth.errors import DatabaseUnavailable, DefinitionError, SetupError
from tilth.records import Artifact, Run, StepRun
from tilth.store import Delete, Put, walk
from tilth.store.postgres import PostgresDatabase
from tilth.store.sql import SqlStore, _table as sql_of
from tilth.store.sqlite import MIGRATIONS
from tilth.testing.store import StoreContract


@pytest.fixture(scope="session")
def shared(postgres):
    """One database for all tests of this worker: each has a space of its own in it."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        database = PostgresDatabase(f"{postgres}/{name}")
        yield database
        database.close()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


class Kept(SqlStore):
    """Leaves the database open for others."""

    def close(self):
        pass


@pytest.fixture
def store(shared):
    return Kept(shared, uuid.uuid4().hex)


class TestPostgres(StoreContract):
    @pytest.fixture
    def make_store(self, shared):
        return lambda: Kept(shared, uuid.uuid4().hex)


def query(url, sql):
    with psycopg.connect(url) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row and row[0]


def test_stores_of_one_database_see_nothing_of_each_other(shared):
    one, other = Kept(shared, uuid.uuid4().hex), Kept(shared, uuid.uuid4().hex)
    run = one.start_run(Run(pipeline="p"))
    assert other.start_run(Run(pipeline="p")).number == 1
    assert run.id not in {each.id for each in other.find(Run)}
    other.write([Delete(Run, run.id)])
    assert one.get(Run, run.id) == run


def test_those_who_start_at_once_migrate_once(postgres_database):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(PostgresDatabase(postgres_database))) for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(made) == 6
    for each in made:
        each.close()
    version = len(list(MIGRATIONS.glob("*.sql")))
    assert query(postgres_database, "SELECT value FROM home WHERE key = 'version'") == str(version)


def test_an_older_database_is_migrated_and_a_copy_kept(postgres_database, tmp_path):
    for file in sorted(MIGRATIONS.glob("*.sql")):
        shutil.copy(file, tmp_path)
    SqlStore(PostgresDatabase(postgres_database, migrations=tmp_path)).close()
    query(postgres_database, "INSERT INTO counter VALUES ('', 'run p', 7) RETURNING value")
    latest = len(list(tmp_path.glob("*.sql")))
    (tmp_path / f"{latest + 1:04d}_more.sql").write_text("CREATE TABLE more (a TEXT, b INTEGER);\n")
    PostgresDatabase(postgres_database, migrations=tmp_path).close()
    assert query(postgres_database, "SELECT value FROM home WHERE key = 'version'") == str(latest + 1)
    assert query(postgres_database, f"SELECT value FROM tilth_version_{latest}.counter") == 7
    assert query(postgres_database, "SELECT count(*) FROM more") == 0


def test_a_migration_that_fails_changes_nothing(postgres_database, tmp_path):
    for file in sorted(MIGRATIONS.glob("*.sql")):
        shutil.copy(file, tmp_path)
    PostgresDatabase(postgres_database, migrations=tmp_path).close()
    latest = len(list(tmp_path.glob("*.sql")))
    (tmp_path / f"{latest + 1:04d}_more.sql").write_text(
        "CREATE TABLE more (a TEXT);\nINSERT INTO nowhere VALUES (1);\n"
    )
    with pytest.raises(psycopg.errors.UndefinedTable):
        PostgresDatabase(postgres_database, migrations=tmp_path)
    assert query(postgres_database, "SELECT value FROM home WHERE key = 'version'") == str(latest)
    assert query(postgres_database, "SELECT to_regclass('more')") is None


def test_a_newer_tilth_s_database_is_refused(postgres_database):
    PostgresDatabase(postgres_database).close()
    query(postgres_database, "UPDATE home SET value = '99' WHERE key = 'version' RETURNING 1")
    with pytest.raises(SetupError, match="newer tilth"):
        PostgresDatabase(postgres_database)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (lambda url: url.replace("tilth:tilth@", "tilth:wrong@"), SetupError, "refuses the login"),
        (lambda url: url + "_not", SetupError, "is not there"),
        (lambda url: "postgresql://tilth:secret@127.0.0.1:1/x", DatabaseUnavailable, "does not answer"),
    ],
)
def test_a_database_that_cannot_be_had_is_told_without_its_password(postgres_database, wrong, error, said):
    with pytest.raises(error, match=said) as caught:
        PostgresDatabase(wrong(postgres_database))
    assert "secret" not in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_text_that_it_cannot_hold_is_told(store):
    with pytest.raises(DefinitionError, match="cannot be kept"):
        store.add(Run(name="p-1", pipeline="p\0", number=1))


def test_many_threads_that_write_the_same_rows_in_any_order_lose_nothing(shared):
    store = Kept(shared, uuid.uuid4().hex)
    run = store.start_run(Run(pipeline="p"))
    steps = [StepRun(run=run.id, step=str(n)) for n in range(12)]
    store.add(*steps)
    failed = []

    def work(turn: int) -> None:
        try:
            for n in range(15):
                order = steps if (turn + n) % 2 else steps[::-1]
                changed = [Put(StepRun(**{**as_dict(each), "attempt": turn * 100 + n})) for each in order]
                store.write([*changed, Put(Artifact(name="model", digest="d"))], holding=run)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert sorted(each.version for each in walk(store, Artifact)) == list(range(1, 61))


def as_dict(record):
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_connections_that_were_ended_are_made_anew(postgres_database):
    with SqlStore(PostgresDatabase(postgres_database)) as store:
        run = store.start_run(Run(pipeline="p"))
        ended = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert query(postgres_database, ended) >= 1
        assert store.get(Run, run.id) == run
        assert query(postgres_database, ended) >= 1
        assert store.start_run(Run(pipeline="p")).number == 2


def test_all_connections_of_a_busy_server_may_end_at_once(postgres_database):
    with SqlStore(PostgresDatabase(postgres_database, most=4)) as store, ThreadPoolExecutor(4) as threads:
        together = threading.Barrier(4)

        def hold(_):
            store.database.transact(lambda cursor: (cursor.execute("SELECT 1"), together.wait(30)))

        list(threads.map(hold, range(4)))  # so that each has a connection, used just now
        ended = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert query(postgres_database, ended) >= 4
        started = threads.map(lambda _: store.start_run(Run(pipeline="p")), range(8))
        assert sorted(each.number for each in started) == list(range(1, 9))


def test_a_cached_step_is_found_through_an_index(store, shared):
    sql, values = sql_of(StepRun).find(store.space, "-created_at", 1, None, "", {"cache_key": "k"})
    with shared._pool.connection() as connection:
        connection.execute("SET enable_seqscan = off")
        lines = connection.execute(f"EXPLAIN {sql}".replace("?", "%s").encode(), values).fetchall()
        connection.execute("RESET enable_seqscan")
    plan = "\n".join(line[0] for line in lines)
    assert "step_run_by_cache_key_created_at_id" in plan
    assert "Sort" not in plan
