"""Which runs use an environment, in both databases."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from tilth.errors import UnknownOption
from tilth.records import ClientEnvironment, Run, State
from tilth.store import Delete, Put
from tilth.store.postgres import PostgresDatabase
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase

BEGAN = datetime(2026, 3, 1, tzinfo=timezone.utc)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request, tmp_path):
    if request.param == "sqlite":
        database = SqliteDatabase(tmp_path / "tilth.db")
    else:
        database = PostgresDatabase(request.getfixturevalue("postgres_database"))
    with SqlStore(database, "here") as store:
        yield store


def start(store, hour, **environments):
    return store.start_run(
        Run(pipeline="p", created_at=BEGAN + timedelta(hours=hour), environments=environments)
    )


def everything(store, *digests, limit=2):
    names, after = [], None
    while True:
        found, after = store.users_of(digests, limit=limit, after=after)
        names += [each.name for each in found]
        if after is None:
            return names


def test_runs_that_use_an_environment_are_found_newest_first_and_by_pages(store):
    for hour in range(5):
        start(store, hour, train="sha256:a", other=f"sha256:{hour}")
    assert everything(store, "sha256:a") == ["p-5", "p-4", "p-3", "p-2", "p-1"]
    assert everything(store, "sha256:3") == ["p-4"]
    assert everything(store, "sha256:none") == []
    assert everything(store) == []


def test_a_run_that_uses_two_of_them_is_one(store):
    start(store, 0, one="sha256:a", two="sha256:b")
    start(store, 1, one="sha256:b")
    assert everything(store, "sha256:a", "sha256:b") == ["p-2", "p-1"]


def test_every_role_counts(store):
    client = ClientEnvironment(
        python="3.11.7",
        implementation="cpython",
        executable="python",
        platform="linux",
        tilth="1",
        environment="sha256:c",
    )
    store.start_run(Run(pipeline="p", client=client, supervisor="sha256:s"))
    assert everything(store, "sha256:c") == everything(store, "sha256:s") == ["p-1"]


def test_a_run_that_names_more_later_is_found_by_that_too(store):
    run = start(store, 0, one="sha256:a")
    later = store.replace(run, msgspec.structs.replace(run, environments={"one": "sha256:b"}))
    assert everything(store, "sha256:b") == ["p-1"]
    store.write([Put(msgspec.structs.replace(later, environments={"two": "sha256:c"}, state=State.FAILED))])
    assert everything(store, "sha256:c") == ["p-1"]


def test_a_run_that_is_forgotten_uses_nothing(store):
    run = start(store, 0, one="sha256:a")
    store.write([Delete(Run, run.id)])
    assert everything(store, "sha256:a") == []
    assert store.database.select("SELECT run FROM environment_use") == []


def test_another_project_is_not_told(store):
    start(store, 0, one="sha256:a")
    assert everything(store.within("there"), "sha256:a") == []


@pytest.mark.parametrize("after", ["x", "[]", '["a", "b"]'])
def test_a_page_that_begins_nowhere_is_refused(store, after):
    with pytest.raises(UnknownOption):
        store.users_of(["sha256:a"], limit=2, after=after)
