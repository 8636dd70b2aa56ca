"""What may be asked of the queue over the API, and by whom."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest
from tests.server_running import running_server

from tilth.records import Artifact, ComponentUsed, Failure, Run, Snapshot, State, StepRun, now
from tilth.records.access import Member, Purpose, Role, Space, Token, User
from tilth.records.launching import Launch, LaunchState, RunLease, Runner
from tilth.store import walk
from tilth.store.http import HttpStore
from tilth.store.sqlite import SqliteDatabase

SIGNATURE = {
    "rows": {"type": "int", "kind": "int", "required": False, "default": 3},
    "mode": {"type": "Literal['a', 'b']", "kind": "", "required": False, "choices": ["a", "b"]},
    "folder": {"type": "str", "kind": "str", "required": True},
}
LINUX = {"locks": {"linux-x86_64": "sha256:ab"}}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launches")
    database = SqliteDatabase(folder / "tilth.db")
    with running_server(database, data_folder=str(folder / "data"), lease_seconds=60) as running:
        running.access.store.add(Space(name="churn"), Space(name="other"))
        yield running, database
    database.close()


@pytest.fixture
def server(running):
    """One for all tests, with nothing in it: to start it takes longer than any of them."""
    server, database = running

    def clear(cursor):
        for each in (Launch, Runner, Snapshot, Run, StepRun, Artifact, RunLease, Member):
            cursor.execute(f"DELETE FROM {each.kind}")
        cursor.execute("DELETE FROM token WHERE user <> 'first'")
        cursor.execute("DELETE FROM user WHERE id <> 'first'")

    database.transact(clear)
    return server


@pytest.fixture
def ask(server):
    """`ask("POST", "/runners", {…}, token=…)`: status and body of the answer."""

    def ask(method, path, body=None, token=None):
        answer = client.request(
            method,
            f"/api/v1{path}",
            content=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {server.token if token is None else token}"},
        )
        return answer.status_code, answer.json() if answer.content else None

    with httpx.Client(base_url=server.url, timeout=60, verify=False) as client:
        yield ask


@pytest.fixture
def snapshot(server):
    with HttpStore(server.url, server.token, "churn") as store:
        used = {"orchestrator": ComponentUsed(flavor="local", component="local")}
        made = Snapshot(
            name="nightly", pipeline="churn", file="churn.py", signature=SIGNATURE, components=used, **LINUX
        )
        return store.add(made)[0]


@pytest.fixture
def member(server):
    """`member(Role.VIEWER)`: the token of somebody who has this role in the project."""

    def add(role=None, project="churn", **fields):
        store = server.access.store
        (user,) = store.add(User(name=f"user-{now().timestamp()}", **fields))
        if role is not None:
            store.add(Member(project=project, user=user.id, role=role))
        return server.access.issue(user, Purpose.API_KEY)[0]

    return add


@pytest.fixture
def begin(ask):
    """`begin("r1")`: a runner is there."""

    def begin(id, token=None, status=200, **fields):  # noqa: A002
        told = {"id": id, "name": id, "platform": "linux-x86_64", "machine": "m", "version": "1", **fields}
        found, body = ask("POST", "/runners", told, token)
        assert found == status, body
        return body

    return begin


def path(snapshot):
    return f"/projects/churn/snapshots/{snapshot.id}/runs"


def launch(ask, snapshot, **parameters):
    status, body = ask("POST", path(snapshot), {"parameters": {"folder": "x", **parameters}})
    assert status == 202, body
    return body


def poll(ask, runner="r1", held=(), slots=1, token=None):
    status, body = ask("POST", f"/runners/{runner}/poll", {"held": list(held), "slots": slots}, token)
    assert status == 200, body
    return body


def test_a_run_is_asked_for_and_listed(ask, snapshot):
    asked = launch(ask, snapshot, rows="7")
    assert (asked["state"], asked["cause"], asked["parameters"]["rows"]) == ("queued", "user admin", "7")
    assert ask("GET", f"/projects/churn/launches/{asked['id']}") == (200, asked)
    _, listed = ask("GET", "/projects/churn/launches?state=queued&state=leased&limit=5")
    assert listed == {"items": [asked], "next": None}
    assert ask("GET", "/projects/churn/launches?state=ended")[1]["items"] == []
    _, audit = ask("GET", "/audit")
    assert audit["items"][0]["action"] == "launch.create"


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"folder": "x", "rowz": 1}, "did you mean `rows`"),
        ({"folder": "x", "rows": "many"}, "parameter `rows` of pipeline `churn` is `many`"),
        ({"folder": "x", "rows": 1.5}, "is `1.5`"),
        ({"folder": "x", "mode": "c"}, "it is declared as `Literal['a', 'b']`"),
        ({}, "needs the parameter `folder`"),
    ],
)
def test_parameters_that_the_pipeline_does_not_have_are_refused(ask, snapshot, parameters, told):
    status, body = ask("POST", path(snapshot), {"parameters": parameters})
    assert status == 422
    assert told in " ".join(body["error"].values())
    assert ask("GET", "/projects/churn/launches")[1]["items"] == []


@pytest.mark.parametrize(
    "body", [{"parameters": []}, {"parameter": {}}, [], "x", {"key": ""}, {"key": "k" * 300}]
)
def test_a_body_that_makes_no_sense_is_refused(ask, snapshot, body):
    assert ask("POST", path(snapshot), body)[0] == 422


def test_the_same_key_asks_once(ask, snapshot):
    body = {"parameters": {"folder": "x"}, "key": "k"}
    first, second = (ask("POST", path(snapshot), body)[1] for _ in range(2))
    assert first == second


def test_an_id_is_enough_for_who_may_run_it(ask, snapshot, member):
    short = f"/snapshots/{snapshot.id}/runs"
    status, body = ask("POST", short, {"parameters": {"folder": "x"}})
    assert (status, body["project"]) == (202, "churn")
    assert ask("POST", short, {}, member(Role.VIEWER))[0] == 403
    status, body = ask("POST", short, {}, member(Role.EDITOR, "other"))
    assert (status, "churn" in str(body)) == (404, False)
    assert ask("POST", "/snapshots/none/runs", {})[0] == 404


def test_only_editors_ask_and_only_members_see(ask, snapshot, member):
    asked = launch(ask, snapshot)
    viewer, stranger = member(Role.VIEWER), member(Role.EDITOR, "other")
    one = f"/projects/churn/launches/{asked['id']}"
    assert ask("POST", path(snapshot), {}, viewer)[0] == 403
    assert ask("POST", f"{one}/cancel", token=viewer)[0] == 403
    assert ask("GET", one, token=viewer)[0] == 200
    assert ask("GET", one, token=stranger)[0] == 404
    assert ask("GET", f"/projects/other/launches/{asked['id']}", token=stranger)[0] == 404
    assert ask("POST", path(snapshot), {}, token=stranger)[0] == 404
    assert ask("POST", path(snapshot), {}, token="forged")[0] == 401
    assert ask("GET", "/projects/churn/launches/none")[0] == 404
    assert ask("POST", "/projects/churn/snapshots/none/runs", {})[0] == 404


def test_a_launch_is_cancelled_once_and_a_runner_is_told(ask, snapshot, begin):
    asked = launch(ask, snapshot)
    begin("r1")
    (given,) = poll(ask)["start"]
    one = f"/projects/churn/launches/{asked['id']}"
    assert ask("POST", f"{one}/cancel")[1]["state"] == "cancelled"
    held = [{"launch": asked["id"], "fence": given["launch"]["fence"]}]
    assert poll(ask, held=held)["stop"] == [{"launch": asked["id"], "why": "cancelled"}]
    status, body = ask("POST", f"/runners/r1/launches/{asked['id']}/ended", {"fence": 1})
    assert (status, body["state"]) == (200, "cancelled")


def test_a_runner_gets_a_token_that_opens_its_run_alone(ask, snapshot, begin, server):
    asked = launch(ask, snapshot)
    begin("r1")
    (given,) = poll(ask)["start"]
    token = given["token"]
    assert given["snapshot"]["id"] == snapshot.id
    assert ask("GET", f"/projects/churn/snapshots/{snapshot.id}", token=token)[0] == 200
    assert ask("GET", f"/projects/other/launches/{asked['id']}", token=token)[0] == 404
    assert ask("POST", path(snapshot), {}, token)[0] == 403
    assert ask("POST", f"/projects/churn/launches/{asked['id']}/cancel", token=token)[0] == 403
    assert ask("POST", "/keys", {"name": "k"}, token)[0] == 403
    assert ask("POST", "/runners/r1/poll", {}, token)[0] in (403, 404)
    with HttpStore(server.url, token, "churn") as store:
        from tilth.errors import AccessDenied

        with pytest.raises(AccessDenied):
            store.start_run(Run(pipeline="churn"))
        assert store.start_run(Run(id=asked["run"], pipeline="churn")).name == "churn-1"
    assert ask("GET", f"/projects/churn/launches/{asked['id']}")[1]["state"] == "started"


def test_what_is_given_again_closes_the_first_token(ask, snapshot, begin):
    launch(ask, snapshot)
    begin("r1")
    (first,) = poll(ask)["start"]
    (second,) = poll(ask, held=[])["start"]  # the runner knows nothing of it
    assert (first["launch"]["id"], second["launch"]["fence"]) == (second["launch"]["id"], 2)
    one = f"/projects/churn/snapshots/{snapshot.id}"
    assert ask("GET", one, token=first["token"])[0] == 401
    assert ask("GET", one, token=second["token"])[0] == 200
    held = [{"launch": first["launch"]["id"], "fence": 1}]
    assert poll(ask, held=held, slots=0)["stop"] == [{"launch": first["launch"]["id"], "why": "lost"}]


def test_the_token_of_a_run_is_renewed_while_its_runner_has_it_and_ends_with_it(ask, snapshot, begin, server):
    asked = launch(ask, snapshot)
    begin("r1")
    poll(ask)
    store = server.access.store
    (token,) = store.find(Token, run=asked["run"])
    import msgspec

    store.replace(token, msgspec.structs.replace(token, expires_at=now() + timedelta(minutes=1)))
    held = [{"launch": asked["id"], "fence": 1}]
    poll(ask, held=held, slots=0)
    (token,) = store.find(Token, run=asked["run"])
    assert token.expires_at > now() + timedelta(minutes=30)
    failure = {"reason": "environment", "message": "no such package"}
    status, body = ask("POST", f"/runners/r1/launches/{asked['id']}/ended", {"fence": 1, "failure": failure})
    assert (status, body["state"]) == (200, "failed")
    assert not store.find(Token, run=asked["run"]).items
    run = store.within("churn").get(Run, asked["run"])
    assert (run.state, run.failure) == (
        State.FAILED,
        Failure(reason="environment", message="no such package"),
    )


def test_an_end_is_not_taken_while_the_run_goes_on(ask, snapshot, begin):
    asked = launch(ask, snapshot)
    begin("r1")
    (given,) = poll(ask)["start"]
    ended = f"/runners/r1/launches/{asked['id']}/ended"
    assert ask("POST", ended, {"fence": 1})[0] == 409
    assert ask("POST", ended, {"fence": 7})[0] == 409
    begin("r2")
    assert ask("POST", f"/runners/r2/launches/{asked['id']}/ended", {"fence": 1})[0] == 409
    assert given["launch"]["fence"] == 1


def test_a_runner_is_given_what_its_platform_and_machine_can_start(ask, server, begin):
    with HttpStore(server.url, server.token, "churn") as store:
        fields = {"pipeline": "churn", "file": "churn.py"}
        arm = store.add(Snapshot(name="arm", locks={"linux-aarch64": "d"}, **fields))[0]
        mine = store.add(Snapshot(name="mine", machine="m", **LINUX, **fields))[0]
    for each in (arm, mine):
        assert ask("POST", path(each), {})[0] == 202
    begin("elsewhere", machine="other")
    assert poll(ask, "elsewhere", slots=5)["start"] == []
    begin("r1")
    assert [each["snapshot"]["name"] for each in poll(ask, slots=5)["start"]] == ["mine"]


def test_who_may_be_a_runner(ask, begin, member, snapshot, server):
    editor, admin = member(Role.EDITOR), member(Role.ADMIN)
    begin("r1", editor, 403)
    begin("r1", editor, 403, project="churn")
    begin("r1", admin, 403)
    begin("r1", admin, project="churn")
    launch(ask, snapshot)
    assert len(poll(ask, token=admin)["start"]) == 1
    assert ask("POST", "/runners/r1/poll", {}, member(Role.ADMIN))[0] == 404
    begin("r1", member(Role.ADMIN), 409, project="churn")
    # Who is no admin of the project any more, is given nothing.
    store = server.access.store
    (runner,) = store.find(Runner).items
    for each in walk(store, Member, user=runner.user):
        import msgspec

        store.replace(each, msgspec.structs.replace(each, role=Role.VIEWER))
    assert ask("POST", "/runners/r1/poll", {}, admin)[0] == 403


def test_a_runners_own_token_opens_nothing_else(ask, begin, server, snapshot):
    store = server.access.store
    (user,) = store.add(User(name="runner", service=True, admin=True))
    token, _ = server.access.issue(user, Purpose.RUNNER)
    begin("r1", token)
    launch(ask, snapshot)
    assert len(poll(ask, token=token)["start"]) == 1
    assert ask("GET", "/projects/churn/runs", token=token)[0] == 404
    assert ask("POST", "/projects", {"name": "new"}, token)[0] == 403
    assert ask("POST", "/keys", {"name": "k"}, token)[0] == 403
    assert ask("GET", "/runners", token=token)[0] == 403


def test_a_run_of_somebody_who_was_shut_out_fails(ask, snapshot, begin, member, server):
    import msgspec

    editor = member(Role.EDITOR)
    status, asked = ask("POST", path(snapshot), {"parameters": {"folder": "x"}}, editor)
    assert status == 202
    store = server.access.store
    user = store.get(User, asked["user"])
    store.replace(user, msgspec.structs.replace(user, active=False))
    begin("r1")
    assert poll(ask)["start"] == []
    found = store.get(Launch, asked["id"])
    assert found.state is LaunchState.FAILED
    assert "may not run anything any more" in found.failure.message


def test_a_run_of_a_deleted_snapshot_fails(ask, snapshot, begin, server):
    asked = launch(ask, snapshot)
    assert ask("DELETE", f"/projects/churn/snapshots/{snapshot.id}")[0] == 204
    begin("r1")
    assert poll(ask)["start"] == []
    assert server.access.store.get(Launch, asked["id"]).failure.message == "its snapshot was deleted"


def test_a_run_that_ended_while_its_runner_was_away_is_not_given_again(ask, snapshot, begin, server):
    asked = launch(ask, snapshot)
    begin("r1")
    poll(ask)
    server.access.store.within("churn").start_run(
        Run(id=asked["run"], pipeline="churn", state=State.COMPLETED)
    )
    assert poll(ask, held=[])["start"] == []
    assert server.access.store.get(Launch, asked["id"]).state is LaunchState.ENDED


def test_a_run_changes_no_record_of_another_run(ask, snapshot, begin, server):
    import msgspec

    from tilth.errors import AccessDenied
    from tilth.records import Artifact, StepRun
    from tilth.store import Delete, Put

    records = server.access.store.within("churn")
    records.start_run(Run(id="other", pipeline="churn"))
    theirs = StepRun(run="other", step="a", cache_key="k")
    artifact = Artifact(name="model", digest="d", run="other")
    records.write([Put(theirs), Put(artifact)])
    asked = launch(ask, snapshot)
    begin("r1")
    (given,) = poll(ask)["start"]
    with HttpStore(server.url, given["token"], "churn") as store:
        run = store.start_run(Run(id=asked["run"], pipeline="churn"))
        store.write([Put(StepRun(run=run.id, step="a"))], holding=run)
        for change in (
            Put(msgspec.structs.replace(theirs, run=run.id)),
            Put(msgspec.structs.replace(theirs, state=State.FAILED)),
            Put(msgspec.structs.replace(artifact, run=run.id, version=1)),
            Put(msgspec.structs.replace(records.get(Run, "other"), state=State.FAILED)),
            Put(msgspec.structs.replace(snapshot, stack="mine")),
            Delete(StepRun, theirs.id),
        ):
            with pytest.raises(AccessDenied):
                store.write([change])
        store.write([Put(msgspec.structs.replace(theirs, cache_key=""))])
    assert records.get(StepRun, theirs.id).cache_key == ""
    assert records.get(StepRun, theirs.id).run == "other"


@pytest.mark.postgres
def test_it_is_the_same_over_postgres(postgres_database, tmp_path):
    from tilth.store.postgres import PostgresDatabase

    database = PostgresDatabase(postgres_database)
    with (
        running_server(database, data_folder=str(tmp_path), pipeline_runs=1) as server,
        HttpStore(server.url, server.token, "churn") as store,
    ):
        fields = {"pipeline": "churn", "file": "churn.py", **LINUX}
        (snapshot,) = store.add(Snapshot(name="nightly", **fields))

        def ask(method, path, body):
            return json.loads(store.api.request(method, path, json.dumps(body).encode()))

        first, second = (ask("POST", path(snapshot), {}) for _ in range(2))
        told = {"id": "r", "name": "r", "platform": "linux-x86_64", "machine": "m", "version": "1"}
        ask("POST", "/runners", told)
        (given,) = ask("POST", "/runners/r/poll", {"slots": 5})["start"]  # a pipeline has one run at once
        assert given["launch"]["id"] == first["id"]
        with HttpStore(server.url, given["token"], "churn") as driver:
            run = driver.start_run(Run(id=first["run"], pipeline="churn"))
            import msgspec

            driver.replace(run, msgspec.structs.replace(run, state=State.COMPLETED))
        ended = ask("POST", f"/runners/r/launches/{first['id']}/ended", {"fence": 1})
        assert ended["state"] == "ended"
        (given,) = ask("POST", "/runners/r/poll", {"slots": 5})["start"]
        assert given["launch"]["id"] == second["id"]
    database.close()


@pytest.mark.parametrize(
    "told",
    [{"id": ""}, {"id": "x" * 5000}, {"name": ""}, {"slots": 0}, {"slots": 10**30}, {"platform": 7}],
)
def test_a_runner_that_makes_no_sense_is_refused(ask, told):
    good = {"id": "r", "name": "r", "platform": "linux-x86_64", "machine": "m", "version": "1"}
    assert ask("POST", "/runners", {**good, **told})[0] == 422
