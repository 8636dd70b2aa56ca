from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

import msgspec
import pytest

from tilth.errors import Conflict
from tilth.records import Failure, Run, Snapshot, State, now
from tilth.records.launching import Launch, LaunchState
from tilth.server.leases import MOST_LEASES, LeaseLost
from tilth.server.queue import Queue
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase

GONE = timedelta(seconds=-1)
SNAPSHOT = Snapshot(name="nightly", pipeline="churn", file="churn.py")


@pytest.fixture(scope="module")
def postgres_store(postgres):
    """One database for all tests of this module."""
    import psycopg

    from tilth.store.postgres import PostgresDatabase

    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        with SqlStore(PostgresDatabase(f"{postgres}/{name}")) as store:
            yield store
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request, tmp_path):
    if request.param == "sqlite":
        with SqlStore(SqliteDatabase(tmp_path / "tilth.db")) as store:
            yield store
        return
    store = request.getfixturevalue("postgres_store")
    store.database.transact(lambda cursor: cursor.execute("TRUNCATE launch, run, counter, snapshot"))
    yield store


@pytest.fixture
def queue(store):
    return Queue(store)


def ask(queue, project="p", pipeline="churn", **given):
    snapshot = Snapshot(name="nightly", pipeline=pipeline, file="churn.py")
    told = {"parameters": {}, "cause": "user ada", "user": "ada", **given}
    return queue.enqueue(project=project, snapshot=snapshot, **told)


def test_what_was_asked_for_first_is_leased_first(queue):
    first, second = ask(queue), ask(queue)
    assert queue.lease("a").id == first.id
    given = queue.lease("b")
    assert (given.id, given.runner, given.fence, given.state) == (second.id, "b", 1, LaunchState.LEASED)
    assert queue.lease("c") is None


def test_the_same_key_asks_once(queue):
    first = ask(queue, key="nightly 2026-01-01")
    assert ask(queue, key="nightly 2026-01-01") == first
    assert ask(queue, key="nightly 2026-01-02").id != first.id


def test_the_same_key_asked_by_many_at_once_asks_once(queue):
    asked = []
    threads = [threading.Thread(target=lambda: asked.append(ask(queue, key="k").id)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(asked)) == 1
    assert len(asked) == 8


def test_many_runners_at_once_get_each_launch_once(queue):
    asked = {ask(queue).id for _ in range(40)}
    given: list[str] = []

    def work(name):
        while (launch := queue.lease(name)) is not None:
            given.append(launch.id)

    threads = [threading.Thread(target=work, args=(f"runner-{n}",)) for n in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(given) == sorted(asked)


def test_a_lease_that_ran_out_is_given_again_and_the_first_runner_is_fenced(queue):
    launch = ask(queue)
    old = queue.lease("a", lasts=GONE)
    new = queue.lease("b")
    assert (new.id, new.run, new.fence) == (launch.id, launch.run, 2)
    for change in (queue.renew, queue.ended, lambda each: queue.started(each, each.run)):
        with pytest.raises(LeaseLost):
            change(old)
    assert queue.renew(new).runner == "b"


def test_a_renewed_lease_is_given_to_nobody_else(queue):
    ask(queue)
    held = queue.lease("a", lasts=GONE)
    queue.renew(held)
    assert queue.lease("b") is None


def test_a_lease_that_ran_out_while_no_server_answered_can_still_be_renewed(queue, store):
    ask(queue)
    held = queue.lease("a", lasts=GONE)
    fresh = Queue(store, began=now())
    assert fresh.lease("b") is None
    fresh.renew(held)
    assert Queue(store, began=now() - timedelta(hours=1)).lease("b") is None


def test_what_a_runner_has_forgotten_it_is_given_again_at_once(queue):
    ask(queue)
    held = queue.lease("a", holds=())
    assert queue.lease("a", holds=[held.id]) is None
    again = queue.lease("a", holds=[])
    assert (again.id, again.fence) == (held.id, 2)


def test_a_started_launch_stays_started_when_another_runner_takes_it(queue):
    ask(queue)
    held = queue.lease("a")
    queue.started(held, held.run)
    queue.renew(held, lasts=GONE)
    assert queue.lease("b").state is LaunchState.STARTED


def test_what_kills_every_runner_is_given_up(queue, store):
    launch = ask(queue)
    store.within("p").start_run(Run(id=launch.run, pipeline="churn"))
    while queue.lease("a", lasts=GONE) is not None:
        pass
    found = store.get(Launch, launch.id)
    assert (found.state, found.fence, found.failure.reason) == (LaunchState.FAILED, MOST_LEASES, "lost")
    assert store.within("p").get(Run, launch.run).state is State.FAILED


def test_a_runner_is_given_launches_of_its_projects_alone(queue):
    ask(queue, "p")
    wanted = ask(queue, "q")
    assert queue.lease("a", projects=["q", "r"]).id == wanted.id
    assert queue.lease("a", projects=["q", "r"]) is None
    assert queue.lease("a", projects=[]) is None


def test_a_runner_is_given_what_fits_it_however_much_waits_before(queue):
    for _ in range(120):
        ask(queue)
    wanted = ask(queue, pipeline="other")
    assert queue.lease("a", fits=lambda each: each.pipeline == "other").id == wanted.id


def test_a_pipeline_and_a_project_have_no_more_runs_at_once_than_they_may(store):
    queue = Queue(store, per_project=2, per_pipeline=1)
    one, _, other, third = (ask(queue, pipeline=each) for each in ("a", "a", "b", "c"))
    elsewhere = ask(queue, "q", pipeline="a")
    assert [queue.lease("r").id for _ in range(3)] == [one.id, other.id, elsewhere.id]
    assert queue.lease("r") is None
    queue.ended(next(each for each in store.find(Launch) if each.id == other.id))
    assert queue.lease("r").id == third.id


def test_limits_hold_when_many_ask_at_once(store):
    queue = Queue(store, per_project=3)
    for _ in range(12):
        ask(queue)
    given = []
    threads = [threading.Thread(target=lambda: given.append(queue.lease("r"))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(each is not None for each in given) == 3


def test_a_cancelled_launch_is_never_given(queue, store):
    launch = ask(queue)
    assert queue.cancel(launch).state is LaunchState.CANCELLED
    assert queue.cancel(launch).state is LaunchState.CANCELLED
    assert queue.lease("a") is None


def test_a_runner_learns_that_its_launch_was_cancelled(queue):
    ask(queue)
    held = queue.lease("a")
    queue.cancel(held)
    with pytest.raises(LeaseLost, match="not this runner's"):
        queue.renew(held)


def test_cancelling_what_no_runner_has_any_more_ends_its_run(queue, store):
    launch = ask(queue)
    records = store.within("p")
    records.start_run(Run(id=launch.run, pipeline="churn"))
    queue.cancel(queue.lease("a", lasts=GONE))
    assert records.get(Run, launch.run).state is State.CANCELLED


def test_a_cancelled_launch_whose_driver_was_lost_just_then_does_not_leave_its_run_running(queue, store):
    launch = ask(queue)
    records = store.within("p")
    records.start_run(Run(id=launch.run, pipeline="churn"))
    held = queue.started(queue.lease("a"), launch.run)
    queue.cancel(
        held
    )  # the runner has a lease, and would stop it: but it has lost the driver, and tells nothing
    queue.end_left()
    assert records.get(Run, launch.run).state is State.RUNNING
    left = store.get(Launch, launch.id)
    store.replace(left, msgspec.structs.replace(left, leased_until=now() + GONE))
    queue.end_left()
    ended = records.get(Run, launch.run)
    assert (ended.state, ended.failure.reason) == (State.CANCELLED, "cancelled")
    assert store.get(Launch, launch.id).leased_until is None  # looked at once
    queue.end_left()
    assert records.get(Run, launch.run) == ended


def test_a_launch_that_failed_says_why_and_so_does_its_run(queue, store):
    launch = ask(queue)
    records = store.within("p")
    records.start_run(Run(id=launch.run, pipeline="churn"))
    failure = Failure(reason="environment", message="no such package")
    done = queue.failed(queue.lease("a"), failure)
    assert (done.state, done.failure, records.get(Run, launch.run).failure) == (
        LaunchState.FAILED,
        failure,
        failure,
    )
    with pytest.raises(Conflict, match="over: failed"):
        queue.cancel(launch)


def test_asking_an_empty_queue_is_quick(queue):
    begin = time.perf_counter()
    for _ in range(50):
        assert queue.lease("a", holds=()) is None
    assert time.perf_counter() - begin < 10
