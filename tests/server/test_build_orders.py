"""Builds are given to one runner; who ordered them, and that runner, are let in, and nobody else."""

from __future__ import annotations

import base64
import uuid
from datetime import timedelta

import msgspec
import pytest

from tilth.errors import Conflict
from tilth.records import now
from tilth.records.launching import BuildOrder, LaunchState, Runner
from tilth.server.build_orders import MOST_OPEN, BuildOrders
from tilth.server.leases import LeaseLost
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase

GONE = timedelta(seconds=-1)
KEY = base64.b64encode(bytes(range(32))).decode()
RUNNER = {"platform": "p", "machine": "m", "version": "1", "builds": True}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request, tmp_path):
    if request.param == "sqlite":
        with SqlStore(SqliteDatabase(tmp_path / "tilth.db")) as store:
            yield store
        return
    from tilth.store.postgres import PostgresDatabase

    with SqlStore(PostgresDatabase(request.getfixturevalue("postgres_database"))) as store:
        yield store


@pytest.fixture
def builds(store):
    return BuildOrders(store)


def order(builds, **given):
    return builds.order(BuildOrder(project="p", user="ada", key=KEY, heard_at=now(), **given))


def there(name="box"):
    return Runner(id=f"id-{name}", name=name, builds=True)


def test_one_that_was_begun_is_given_to_nobody_else(builds):
    made = order(builds)
    leased = builds.lease("id-a", lasts=GONE)
    again = builds.lease("id-b")  # the first never began
    assert (again.id, again.fence) == (made.id, 2)
    with pytest.raises(LeaseLost):
        builds.begin(leased, there("a"), KEY)
    begun = builds.begin(again, there("b"), KEY)
    assert (begun.state, begun.runner_name, begun.runner_key) == (LaunchState.STARTED, "b", KEY)
    with pytest.raises(LeaseLost, match="begun before"):
        builds.begin(again, there("b"), KEY)
    builds.renew(begun, lasts=GONE)
    assert builds.lease("id-c") is None
    builds.end_left()
    ended = builds.store.get(BuildOrder, made.id)
    assert (ended.state, ended.failure.message) == (LaunchState.FAILED, "its runner was lost")
    with pytest.raises(LeaseLost):
        builds.ended(begun)


def test_a_runner_that_was_started_again_has_lost_what_it_began(builds):
    made = order(builds)
    builds.begin(builds.lease("id-a"), there("a"), KEY)
    builds.fail_forgotten("id-b", ())
    builds.fail_forgotten("id-a", [made.id])
    assert builds.store.get(BuildOrder, made.id).state is LaunchState.STARTED
    builds.fail_forgotten("id-a", ())
    assert builds.store.get(BuildOrder, made.id).state is LaunchState.FAILED


def test_what_nobody_waits_for_is_given_up(builds):
    made, kept = order(builds), order(builds)
    long_ago = msgspec.structs.replace(made, heard_at=now() - timedelta(hours=1))
    builds.store.replace(made, long_ago)
    builds.end_left()
    assert builds.store.get(BuildOrder, made.id).failure.message == "whoever ordered it is gone"
    assert builds.store.get(BuildOrder, kept.id).state is LaunchState.QUEUED


def test_a_project_has_so_many_at_once(builds):
    made = [order(builds) for _ in range(MOST_OPEN)]
    with pytest.raises(Conflict, match=f"{MOST_OPEN} images"):
        order(builds)
    builds.order(BuildOrder(project="another", user="ada", key=KEY))
    builds.close(made[0], done=False)
    order(builds)


def test_those_who_are_there_and_build_are_told(builds):
    given = {"platform": "p", "machine": "m", "version": "1"}
    builds.store.add(
        Runner(name="all", builds=True, seen_at=now(), **given),
        Runner(name="own", project="p", builds=True, seen_at=now(), **given),
        Runner(name="others", project="q", builds=True, seen_at=now(), **given),
        Runner(name="runs", seen_at=now(), **given),
        Runner(name="gone", builds=True, seen_at=now() - timedelta(hours=1), **given),
    )
    assert builds.takers("p") == ["all", "own"]


def test_what_ended_long_ago_is_forgotten(builds):
    old, new = order(builds), order(builds)
    builds.close(old, done=True)
    builds.close(new, done=True)
    ended = builds.store.get(BuildOrder, old.id)
    builds.store.replace(ended, msgspec.structs.replace(ended, finished_at=now() - timedelta(days=2)))
    builds.sweep()
    assert [each.id for each in builds.store.find(BuildOrder)] == [new.id]


# over HTTP


@pytest.fixture
def shared(admin):
    """A project, and a runner of its own that builds."""
    name = f"p-{uuid.uuid4().hex[:8]}"
    assert admin.post("/projects", {"name": name})[0] == 201
    told = {**RUNNER, "id": f"r-{name}", "name": "box", "project": name}
    assert admin.post("/runners", told)[0] == 200
    return name


def ordered(asker, project, **given):
    status, told = asker.post(f"/projects/{project}/build-orders", {"key": KEY, **given})
    assert status == 202, told
    return told["id"]


def taken(admin, project, held=()):
    told = {"build_slots": 5, "held_builds": [{"build": build, "fence": fence} for build, fence in held]}
    status, orders = admin.post(f"/runners/r-{project}/poll", told)
    assert status == 200
    return orders


def test_two_streams_go_through(admin, shared):
    made = ordered(admin, shared)
    client, runner = f"/projects/{shared}/build-orders/{made}", f"/runners/r-{shared}/builds/{made}"
    assert admin.put(f"{client}/in?offset=0", content=b"early")[0] == 409
    (given,) = taken(admin, shared)["build"]
    assert (given["id"], given["fence"], given["key"]) == (made, 1, KEY)
    assert admin.post(f"{runner}/begin", {"fence": 1, "key": KEY})[0] == 200
    view = admin.get(client)[1]
    assert (view["order"]["state"], view["order"]["runner_name"]) == ("started", "box")
    assert view["takers"] == ["box"]
    assert admin.put(f"{client}/in?offset=0", content=b"to it") == (200, {"have": 5})
    assert admin.put(f"{runner}/out?fence=1&offset=0", content=b"from it") == (200, {"have": 7})
    answers = [
        admin.client.get(f"/api/v1{path}")
        for path in (f"{runner}/in?fence=1&offset=0", f"{client}/out?offset=0")
    ]
    assert [each.content for each in answers] == [b"to it", b"from it"]
    assert admin.client.get(f"/api/v1{client}/out?offset=7&wait_s=0.2").status_code == 200
    assert taken(admin, shared, [(made, 1)])["stop_builds"] == []
    assert admin.post(f"{runner}/ended", {"fence": 1})[1]["state"] == "ended"
    assert admin.client.get(f"/api/v1{client}/out?offset=0").content == b"from it"
    assert admin.client.get(f"/api/v1{client}/out?offset=7&wait_s=30").status_code == 204
    assert admin.post(f"{client}/close", {"done": True})[1]["state"] == "ended"


def test_an_older_fence_is_heard_no_more(admin, shared):
    made = ordered(admin, shared)
    runner = f"/runners/r-{shared}/builds/{made}"
    assert taken(admin, shared)["build"][0]["fence"] == 1
    assert taken(admin, shared)["build"][0]["fence"] == 2  # it forgot the first
    for status, told in (
        admin.post(f"{runner}/begin", {"fence": 1, "key": KEY}),
        admin.get(f"{runner}/in?fence=1&offset=0"),
        admin.put(f"{runner}/out?fence=1&offset=0", content=b"x"),
        admin.post(f"{runner}/ended", {"fence": 1}),
    ):
        assert status == 409
        assert told["error"]["type"] == "Conflict"  # which the runner knows
    assert admin.post(f"{runner}/begin", {"fence": 2, "key": KEY})[0] == 200
    assert taken(admin, shared) == {"start": [], "stop": [], "build": [], "stop_builds": []}
    view = admin.get(f"/projects/{shared}/build-orders/{made}")[1]["order"]
    assert (view["state"], view["failure"]["message"]) == ("failed", "its runner was lost")


def test_what_was_given_up_is_told_to_its_runner(admin, shared):
    made = ordered(admin, shared)
    taken(admin, shared)
    admin.post(f"/runners/r-{shared}/builds/{made}/begin", {"fence": 1, "key": KEY})
    assert admin.post(f"/projects/{shared}/build-orders/{made}/close", {})[1]["state"] == "cancelled"
    assert taken(admin, shared, [(made, 1)])["stop_builds"] == [made]


def test_a_named_runner_gets_what_is_for_it(admin, shared):
    ordered(admin, shared, runner="another")
    mine = ordered(admin, shared, runner="box")
    assert [each["id"] for each in taken(admin, shared)["build"]] == [mine]


def test_others_of_the_project_read_nothing_of_a_build(admin, log_in, shared):
    made = ordered(admin, shared)
    path = f"/projects/{shared}/build-orders"
    for role, status in (("viewer", 403), ("editor", 404)):
        eve = log_in(f"eve-builds-{role}")
        admin.put(f"/projects/{shared}/members/eve-builds-{role}", {"role": role})
        assert eve.get(f"{path}/{made}")[0] == status
        assert eve.get(f"{path}/{made}/out?offset=0")[0] == status
        assert eve.put(f"{path}/{made}/in?offset=0", content=b"x")[0] == status
        assert eve.post(f"{path}/{made}/close")[0] == status
        assert eve.post(path, {"key": KEY})[0] == (403 if role == "viewer" else 202)
        assert eve.get(f"/runners/r-{shared}/builds/{made}/in?fence=1&offset=0")[0] == 404


def test_who_lost_the_project_gets_nothing_built(server, admin, log_in, shared):
    eve = log_in("eve-lost")
    admin.put(f"/projects/{shared}/members/eve-lost", {"role": "editor"})
    made = ordered(eve, shared)
    admin.put(f"/projects/{shared}/members/eve-lost", {"role": "viewer"})
    assert taken(admin, shared)["build"] == []
    assert server.access.store.get(BuildOrder, made).failure.message.endswith(
        "may not start anything any more"
    )


@pytest.mark.parametrize("body", [{}, {"key": "x"}, {"key": KEY[:-4] + "=="}, {"key": KEY, "cache": "/"}])
def test_a_wrong_order_is_refused(admin, shared, body):
    assert admin.post(f"/projects/{shared}/build-orders", body)[0] in (400, 422)
    assert admin.put(f"/projects/{shared}/build-orders/nothing/in?offset=-1", content=b"")[0] in (
        400,
        404,
        422,
    )
