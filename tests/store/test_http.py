from __future__ import annotations

import uuid

import pytest
from tests.server_running import running_server

from tilth.errors import LoginNeeded, NoProject, NotFound, ServerUnavailable, SetupError
from tilth.records import Run
from tilth.store.http import Api, HttpStore
from tilth.store.sqlite import SqliteDatabase
from tilth.testing.store import StoreContract


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    database = SqliteDatabase(tmp_path_factory.mktemp("server") / "tilth.db")
    with running_server(database) as server:
        yield server
    database.close()


@pytest.fixture
def store(server):
    with HttpStore(server.url, server.token, uuid.uuid4().hex) as store:
        yield store


class TestHttpStore(StoreContract):
    @pytest.fixture
    def make_store(self, server):
        return lambda: HttpStore(server.url, server.token, uuid.uuid4().hex)


@pytest.mark.postgres
def test_it_is_the_same_over_postgres(postgres_database):
    from tilth.store.postgres import PostgresDatabase

    database = PostgresDatabase(postgres_database)
    with running_server(database) as server, HttpStore(server.url, server.token, "churn") as store:
        run = store.start_run(Run(pipeline="p"))
        assert store.find(Run).items == (run,)
    database.close()


def projects(server):
    api = Api(server.url, server.token)
    found = {each["name"] for each in api.items("/projects")}
    api.close()
    return found


def test_projects_are_made_by_the_first_that_is_written_to_them_and_not_by_a_look(server):
    name = f"näh {uuid.uuid4().hex}"
    with HttpStore(server.url, server.token, name) as store:
        assert store.find(Run).items == ()
        assert store.cached_step_run("key") is None
        with pytest.raises(NotFound, match="no run has the id"):
            store.get(Run, "r")
        assert name not in projects(server)
        assert store.start_run(Run(pipeline="p")).name == "p-1"
        assert name in projects(server)
    with HttpStore(server.url, server.token, uuid.uuid4().hex) as other:
        assert other.find(Run).items == ()


def test_a_request_that_may_have_arrived_before_is_done_once(server, store):
    run = store.start_run(Run(pipeline="p"))
    store.api.connections.headers["Tilth-Again"] = "1"
    assert store.start_run(run) == run
    (added,) = store.add(Run(name="q-1", pipeline="q", number=1))
    assert store.add(added) == (added,)
    assert len(store.find(Run)) == 2


def test_who_is_not_logged_in_is_told(server):
    with HttpStore(server.url, "", "churn") as store, pytest.raises(LoginNeeded, match="who you are"):
        store.find(Run)
    with (
        HttpStore(server.url, "nonsense", "churn") as store,
        pytest.raises(LoginNeeded, match="does not know"),
    ):
        store.find(Run)


@pytest.mark.parametrize("key", ["tilth_key_…", "tilth_key_a\nCookie: b"])
def test_a_key_that_is_none_is_told(key):
    with pytest.raises(SetupError, match="no key has"):
        Api("http://127.0.0.1:1", key)


def test_a_server_that_is_not_there_is_told(server):
    with (
        HttpStore("http://127.0.0.1:1", "", "churn", patience_s=0.2) as store,
        pytest.raises(ServerUnavailable, match="does not answer"),
    ):
        store.find(Run)


def test_what_is_no_server_of_ours_is_told(moto):
    api = Api(moto.url, "", patience_s=0.2)
    with pytest.raises(ServerUnavailable, match="no tilth server"):
        api.request("GET", "/info")
    api.close()


def test_a_project_of_others_is_not_there(server):
    api = Api(server.url, server.token)
    api.request("POST", "/users", b'{"name":"eve","password":"correct horse battery"}')
    import msgspec

    eve = msgspec.json.decode(
        api.request("POST", "/login", b'{"name":"eve","password":"correct horse battery"}')
    )["token"]
    with HttpStore(server.url, server.token, "secret-plans") as store:
        run = store.start_run(Run(pipeline="p"))
    with HttpStore(server.url, eve, "secret-plans") as store:
        with pytest.raises(NotFound, match="no project `secret-plans` of yours"):
            store.get(Run, run.id)
        assert store.find(Run).items == ()
        with pytest.raises(NoProject, match="not yours"):
            store.start_run(Run(pipeline="p"))
    with HttpStore(server.url, eve, "eves") as store:
        assert store.find(Run).items == ()
    api.close()
