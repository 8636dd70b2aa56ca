"""What the pages of the dashboard ask for: the overview, pipelines, lists of runs, and what is done to many."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tilth.records import Run, State, StepRun, now
from tilth.records.launching import Launch, RunLease, Schedule
from tilth.server.api.overview import first_begin, rule_of


@pytest.fixture
def project(admin, request):
    name = f"views-{abs(hash(request.node.name))}"
    assert admin.post("/projects", {"name": name})[0] == 201
    return name


@pytest.fixture
def store(server, project):
    return server.access.store.within(project)


def ran(store, state=State.COMPLETED, ago=timedelta(hours=1), took=timedelta(seconds=90), **more):
    began = now() - ago
    ended = None if state in (State.RUNNING, State.QUEUED) else began + took
    given = {
        "pipeline": "flow",
        "state": state,
        "created_at": began,
        "started_at": began,
        "finished_at": ended,
    }
    return store.start_run(Run(**(given | more)))


def held(store, run, lasts=timedelta(minutes=5)):
    store.add(RunLease(id=run.id, holder="here", fence=1, expires_at=now() + lasts))


def test_an_empty_project_has_an_empty_overview(admin, project):
    status, told = admin.get(f"/projects/{project}/overview")
    assert status == 200
    assert (told["running"], told["failed"], told["due"], told["spans"]) == ([], [], [], [])
    assert told["any_runs"] is False
    assert admin.get(f"/projects/{project}/pipelines")[1] == {"items": [], "next": None}


def test_the_overview_tells_what_runs_what_failed_what_is_due_and_how_days_went(
    server, admin, project, store
):
    running = ran(store, State.RUNNING)
    held(store, running)
    lost = ran(store, State.RUNNING)
    store.add(StepRun(run=running.id, step="a", state=State.FAILED), StepRun(run=running.id, step="b"))
    store.add(StepRun(run=running.id, step="a", attempt=2, state=State.COMPLETED))
    failed = ran(store, State.FAILED)
    ran(store, State.FAILED, ago=timedelta(days=5))
    ran(store)
    at = now() + timedelta(hours=3)
    server.access.store.add(
        Schedule(project=project, name="nightly", snapshot="s", cron="0 3 * * *", next_at=at),
        Schedule(project=project, name="soon", snapshot="s", every_s=60, next_at=at - timedelta(hours=1)),
        Schedule(project=project, name="paused", snapshot="s", every_s=60, active=False, next_at=at),
        Launch(project=project, snapshot="s", pipeline="flow", cause="user eve"),
    )
    status, told = admin.get(f"/projects/{project}/overview?days=7")
    assert status == 200
    assert {each["run"]["name"]: each["driven"] for each in told["running"]} == {
        running.name: True,
        lost.name: False,
    }
    steps = next(each["steps"] for each in told["running"] if each["driven"])
    assert steps == {"completed": 1, "queued": 1}
    assert [each["name"] for each in told["failed"]] == [failed.name]
    assert [(each["name"], each["rule"]) for each in told["due"]] == [
        ("soon", "every 60 s"),
        ("nightly", "0 3 * * *"),
    ]
    assert [each["cause"] for each in told["waiting"]] == ["user eve"]
    assert sum(sum(each["states"].values()) for each in told["spans"]) == 5
    assert {each["median_s"] for each in told["spans"]} >= {90.0}
    assert admin.get(f"/projects/{project}/overview?days=1")[1]["span_s"] == 3600


def test_questions_that_make_no_sense_are_refused(admin, project):
    for query in ("days=0", "days=999", "shift_s=100000", "since=2026-01-01T00:00:00", "since=yesterday"):
        status, told = admin.get(f"/projects/{project}/overview?{query}")
        assert status in (400, 422), query
        assert told["error"]["summary"]
    for query in ("order=colour", "limit=0", "after=x", "state=done", "since=2026-01-01T00:00:00"):
        assert admin.get(f"/projects/{project}/run-rows?{query}")[0] in (400, 422), query


def test_pipelines_are_listed_with_how_their_runs_go(admin, project, store):
    for state in (State.COMPLETED, State.FAILED, State.CANCELLED, State.COMPLETED):
        last = ran(store, state)
    ran(store, pipeline="other")
    status, told = admin.get(f"/projects/{project}/pipelines?limit=1")
    assert told["next"] == "flow"
    (flow,) = told["items"]
    assert flow["runs"] == 4
    assert flow["states"] == {"completed": 2, "failed": 1, "cancelled": 1}
    assert flow["success"] == pytest.approx(2 / 3)
    assert flow["median_s"] == 90
    assert flow["last"]["name"] == last.name
    assert flow["recent"][0]["state"] == "completed"
    assert [each["name"] for each in admin.get(f"/projects/{project}/pipelines?after=flow")[1]["items"]] == [
        "other"
    ]
    status, one = admin.get(f"/projects/{project}/pipelines/other")
    assert (status, one["pipeline"]["runs"], len(one["spans"])) == (200, 1, 1)
    assert admin.get(f"/projects/{project}/pipelines/nothing")[0] == 404


def test_rows_hold_what_is_short_and_leave_out_what_is_not(admin, project, store):
    long = {"text": "x" * 1000, "many": list(range(1000)), "few": [1, 2], "deep": {"a": "y" * 1000}}
    ran(store, parameters=long, metadata={f"m{number}": number for number in range(100)})
    (row,) = admin.get(f"/projects/{project}/run-rows")[1]["items"]
    assert row["parameters"] == {"text": "x" * 200, "few": [1, 2]}
    assert len(row["metadata"]) == 50
    assert row["seconds"] == 90


def test_runs_are_found_over_http(admin, project, store):
    first, second = ran(store, tags=("a b&c",)), ran(store, State.FAILED)
    rows = f"/projects/{project}/run-rows"

    def names(**query):
        return [each["name"] for each in admin.get(rows, params=query)[1]["items"]]

    assert names() == [second.name, first.name]
    assert names(order="created_at") == [first.name, second.name]
    assert names(tag="a b&c") == [first.name]
    assert names(state=["failed", "cancelled"]) == [second.name]
    assert names(name=second.name.upper()) == [second.name]
    page = admin.get(rows, params={"limit": 1})[1]
    assert names(limit=1, after=page["next"]) == [first.name]


def act(admin, project, action, *runs, **more):
    status, told = admin.post(
        f"/projects/{project}/run-actions", {"action": action, "runs": [each.id for each in runs], **more}
    )
    assert status == 200, told
    return [(each["done"], each["refused"]) for each in told["items"]]


def test_many_runs_are_cancelled_each_on_its_own(admin, project, store):
    driven, lost, over = ran(store, State.RUNNING), ran(store, State.RUNNING), ran(store)
    held(store, driven)
    held(store, lost, timedelta(minutes=-5))
    gone = Run(pipeline="flow")
    done = act(admin, project, "cancel", driven, lost, over, gone)
    assert [each for each, _ in done] == [True, True, False, False]
    assert "is over: completed" in done[2][1]
    assert store.get(RunLease, driven.id).cancel
    assert store.get(Run, driven.id).state is State.RUNNING  # its driver ends it
    assert store.get(Run, lost.id).state is State.CANCELLED
    assert store.get(Run, lost.id).finished_at is not None


def test_what_is_deleted_is_gone_with_its_steps_and_logs_and_what_runs_is_not(server, admin, project, store):
    run, running = ran(store), ran(store, State.RUNNING)
    held(store, running)
    for each in (run, running):
        store.add(StepRun(run=each.id, step="a"))
        log = f"/projects/{project}/runs/{each.id}/logs/a.1.log?offset=0"
        assert admin.put(log, content=b"x\n")[0] == 200
    (gone, refused) = act(admin, project, "delete", run, running)
    assert gone == (True, "")
    assert refused == (False, f"run `{running.name}` is running")
    assert [each.id for each in store.find(Run)] == [running.id]
    assert [each.run for each in store.find(StepRun)] == [running.id]
    assert admin.get(f"/projects/{project}/runs/{run.id}/logs")[1] == {"items": []}
    assert len(admin.get(f"/projects/{project}/runs/{running.id}/logs")[1]["items"]) == 1
    actions = [each["action"] for each in admin.get("/audit")[1]["items"]]
    assert "run.delete" in actions


def test_tags_are_added_and_taken_away(admin, project, store):
    runs = [ran(store, tags=("old",)), ran(store)]
    act(admin, project, "tag", *runs, tags=["new", "old"])
    assert [store.get(Run, each.id).tags for each in runs] == [("old", "new"), ("new", "old")]
    act(admin, project, "untag", *runs, tags=["old"])
    assert [store.get(Run, each.id).tags for each in runs] == [("new",), ("new",)]
    path = f"/projects/{project}/run-actions"
    for tags in ([], [""], ["x" * 500], ["a\nb"]):
        assert admin.post(path, {"action": "tag", "runs": [runs[0].id], "tags": tags})[0] == 422, tags
    assert admin.post(path, {"action": "explode", "runs": []})[0] in (400, 422)
    assert admin.post(path, {"action": "tag", "tags": ["a"], "runs": [str(n) for n in range(500)]})[0] == 422


def test_today_is_the_last_day_that_is_counted():
    noon = datetime(2026, 3, 10, 12, tzinfo=timezone.utc)
    assert first_begin(noon, 7, 86_400, 0) == datetime(2026, 3, 4, tzinfo=timezone.utc)
    # In a zone 13 hours ahead it is the 11th already, since an hour.
    assert first_begin(noon, 1, 86_400, 13 * 3600) == noon - timedelta(hours=1)
    assert first_begin(noon, 1, 3600, 0) == noon - timedelta(hours=23)


def test_a_schedule_that_runs_once_says_so():
    assert rule_of(Schedule(project="p", name="n", snapshot="s")) == "once"
