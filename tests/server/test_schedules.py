from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
import uuid
from datetime import timedelta

import msgspec
import pytest

from tilth.errors import SetupError
from tilth.records import Snapshot, now
from tilth.records.access import User
from tilth.records.launching import Launch, LaunchState, Schedule, ServerSecret
from tilth.server.clock import tick
from tilth.server.keys import Keys, open_keys
from tilth.server.queue import Queue
from tilth.server.settings import ServerSettings

SNAPSHOT = {
    "name": "churn",
    "pipeline": "churn",
    "file": "pipeline.py",
    "signature": {"alpha": {"type": "float", "kind": "float", "required": False, "default": 0.1}},
}


@pytest.fixture
def project(admin):
    name = uuid.uuid4().hex
    assert admin.post("/projects", {"name": name})[0] == 201
    snapshot = Snapshot(**SNAPSHOT)
    content = b'{"items":[' + msgspec.json.encode(snapshot) + b"]}"
    status, told = admin.ask("POST", f"/projects/{name}/snapshots", content=content)
    assert status == 201, told
    return name


@pytest.fixture
def queue(server):
    return Queue(server.access.store)


def launches(server, project):
    return server.access.store.find(Launch, order="created_at", project=project).items


def schedule(server, project, name="nightly"):
    return server.access.store.find(Schedule, project=project, name=name).items[0]


def make(admin, project, **given):
    told = {"name": "nightly", "snapshot": "churn", "every_s": 600, **given}
    return admin.post(f"/projects/{project}/schedules", told)


def test_a_schedule_asks_for_its_runs_once_however_many_look(server, admin, project, queue):
    assert make(admin, project, parameters={"alpha": 0.3})[0] == 201
    begin = schedule(server, project).next_at
    tick(queue, begin - timedelta(seconds=1))
    assert launches(server, project) == ()
    for _ in range(3):
        tick(queue, begin)
    tick(Queue(server.access.store), begin + timedelta(seconds=5))
    (launch,) = launches(server, project)
    assert (launch.cause, launch.parameters) == ("schedule nightly", {"alpha": 0.3})
    assert schedule(server, project).next_at == begin + timedelta(seconds=600)


def test_a_server_that_dies_between_asking_and_noting_asks_once(server, admin, project, queue):
    make(admin, project)
    before = schedule(server, project)
    tick(queue, before.next_at)
    # As if what was noted had never been written.
    server.access.store.replace(schedule(server, project), before)
    tick(queue, before.next_at)
    assert len(launches(server, project)) == 1


@pytest.mark.parametrize(("catch_up", "count"), [(False, 1), (True, 5)])
def test_what_was_missed(server, admin, project, queue, catch_up, count):
    make(admin, project, catch_up=catch_up)
    begin = schedule(server, project).next_at
    tick(queue, begin + timedelta(seconds=4 * 600))
    assert len(launches(server, project)) == count
    assert schedule(server, project).next_at == begin + timedelta(seconds=5 * 600)


def test_overlaps_are_skipped_waited_for_or_cancelled(server, admin, project, queue):
    found = {}
    for rule in ("allow", "skip", "wait", "cancel"):
        make(admin, project, name=rule, overlap=rule)
    begin = max(each.next_at for each in server.access.store.find(Schedule, project=project))
    tick(queue, begin)
    tick(queue, begin + timedelta(seconds=600))
    for rule in ("allow", "skip", "wait", "cancel"):
        found[rule] = [each.state for each in launches(server, project) if each.cause == f"schedule {rule}"]
    queued, skipped, cancelled = LaunchState.QUEUED, LaunchState.SKIPPED, LaunchState.CANCELLED
    assert found == {
        "allow": [queued, queued],
        "skip": [queued, skipped],
        "wait": [queued],
        "cancel": [cancelled, queued],
    }
    waiting = next(each for each in launches(server, project) if each.cause == "schedule wait")
    queue.cancel(waiting)
    tick(queue, begin + timedelta(seconds=601))
    assert [each.state for each in launches(server, project) if each.cause == "schedule wait"] == [
        cancelled,
        queued,
    ]


def test_who_may_not_run_any_more_starts_nothing(server, admin, project, queue, log_in):
    eve = log_in("eve-of-schedules")
    admin.put(f"/projects/{project}/members/eve-of-schedules", {"role": "editor"})
    assert make(eve, project)[0] == 201
    admin.put(f"/projects/{project}/members/eve-of-schedules", {"role": "viewer"})
    tick(queue, schedule(server, project).next_at)
    (launch,) = launches(server, project)
    assert launch.state is LaunchState.FAILED
    assert "may not start runs" in launch.failure.message
    assert server.access.store.find(User, name="eve-of-schedules").items


def test_a_snapshot_that_is_gone_is_told(server, admin, project, queue):
    make(admin, project)
    (found,) = admin.get(f"/projects/{project}/snapshots")[1]["items"]
    assert admin.delete(f"/projects/{project}/snapshots/{found['id']}")[0] in (200, 204)
    tick(queue, schedule(server, project).next_at)
    (launch,) = launches(server, project)
    assert (launch.state, launch.failure.message) == (
        LaunchState.FAILED,
        "there is no snapshot `churn` any more",
    )


def test_schedules_are_changed_paused_and_deleted(server, admin, project, queue):
    make(admin, project)
    path = f"/projects/{project}/schedules/nightly"
    assert make(admin, project)[0] == 409
    status, told = admin.patch(path, {"cron": "0 5 * * *", "timezone": "Europe/Berlin"})
    assert (status, told["every_s"], told["cron"]) == (200, 0, "0 5 * * *")
    assert len(admin.get(f"{path}/times?count=7")[1]["items"]) == 7
    assert admin.patch(path, {"active": False})[1]["next_at"] is None
    tick(queue, now() + timedelta(days=30))
    assert launches(server, project) == ()
    assert admin.patch(path, {"active": True})[1]["next_at"] is not None
    assert admin.post(f"{path}/runs")[0] == 202
    assert admin.delete(path)[0] == 204
    assert admin.get(path)[0] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"every_s": 1},
        {"every_s": 0},
        {"cron": "* * * * *"},
        {"snapshot": "unknown"},
        {"parameters": {"beta": 1}},
        {"parameters": {"alpha": "much"}},
        {"name": "../up"},
        {"every_s": 0, "at": "2020-01-01T00:00:00Z"},
        {"every_s": 0, "at": "2099-01-01T00:00:00"},
        {"overlap": "maybe"},
        {"every_s": 1 << 62},
        {"every_s": 0, "cron": "0 0 31 2 *"},
        {"every_s": 0, "at": "9999-12-31T23:59:59-14:00"},
        {"begins_at": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_what_makes_no_sense_is_refused(admin, project, wrong):
    assert make(admin, project, **wrong)[0] in (404, 422)


def signed(secret, body, at=None):
    stamp = str(int(time.time()) if at is None else at)
    text = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Tilth-Timestamp": stamp, "Tilth-Signature": f"sha256={text}"}


@pytest.fixture
def hook(admin, project):
    told = {"name": "deploy", "snapshot": "churn", "allowed": ["alpha"]}
    status, made = admin.post(f"/projects/{project}/webhooks", told)
    assert status == 201
    return f"/hooks/{made['webhook']['id']}", made["secret"]


def test_a_signed_request_starts_one_run(server, admin, nobody, project, hook):
    path, secret = hook
    body = json.dumps({"parameters": {"alpha": 0.7}}).encode()
    headers = signed(secret, body)
    for _ in range(2):
        assert nobody.post(path, content=body, headers=headers)[0] == 202
    (launch,) = launches(server, project)
    assert (launch.cause, launch.parameters) == ("webhook deploy", {"alpha": 0.7})
    assert admin.get(f"/projects/{project}/webhooks")[1]["items"][0]["used_at"] is not None
    assert secret not in json.dumps(admin.get(f"/projects/{project}/webhooks")[1])


def test_other_requests_start_nothing(server, admin, nobody, project, hook):
    path, secret = hook
    body = b"{}"
    refused = [
        {},
        signed("wrong", body),
        signed(secret, body, at=time.time() - 3600),
        signed(secret, b'{"other": 1}'),
        {"X-Hub-Signature-256": f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"},
    ]
    for headers in refused:
        assert nobody.post(path, content=body, headers=headers)[0] == 401, headers
    assert nobody.post(f"/hooks/{uuid.uuid4()}", content=body, headers=signed(secret, body))[0] == 401
    body = b'{"parameters": {"beta": 1}}'
    assert nobody.post(path, content=body, headers=signed(secret, body))[0] == 422
    admin.patch(f"/projects/{project}/webhooks/deploy", {"active": False})
    assert nobody.post(path, content=b"{}", headers=signed(secret, b"{}"))[0] == 403
    assert launches(server, project) == ()


def test_github_s_own_requests_work(server, nobody, project, hook):
    path, secret = hook
    body = b'{"ref": "refs/heads/main"}'
    headers = {
        "X-Hub-Signature-256": f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}",
        "X-GitHub-Delivery": "1",
    }
    for _ in range(2):
        assert nobody.post(path, content=body, headers=headers)[0] == 202
    assert len(launches(server, project)) == 1


def test_secrets_are_kept_encrypted_and_read_by_name(server, admin, project, log_in):
    path = f"/projects/{project}/secrets"
    assert admin.put(f"{path}/HF_TOKEN", {"value": "hf_very_secret"})[0] == 200
    assert "hf_very_secret" not in json.dumps(admin.get(path)[1])
    assert admin.post(f"{path}/HF_TOKEN/value")[1] == {"value": "hf_very_secret"}
    (record,) = server.access.store.find(ServerSecret, project=project)
    assert "hf_very_secret" not in record.value
    eve = log_in("eve-of-secrets")
    assert eve.get(path)[0] == 404
    admin.put(f"/projects/{project}/members/eve-of-secrets", {"role": "viewer"})
    assert eve.post(f"{path}/HF_TOKEN/value")[0] == 403
    assert eve.put(f"{path}/HF_TOKEN", {"value": "x"})[0] == 403
    actions = [each["action"] for each in admin.get(f"/audit?project={project}")[1]["items"]]
    assert {"secret.set", "secret.read"} <= set(actions)
    assert admin.delete(f"{path}/HF_TOKEN")[0] == 204
    assert admin.post(f"{path}/HF_TOKEN/value")[0] == 404


def test_a_value_that_was_moved_cannot_be_read(server, admin, project):
    path = f"/projects/{project}/secrets"
    admin.put(f"{path}/ONE", {"value": "first value"})
    admin.put(f"{path}/TWO", {"value": "second value"})
    one, two = server.access.store.find(ServerSecret, order="name", project=project)
    server.access.store.replace(two, msgspec.structs.replace(two, value=one.value))
    status, told = admin.post(f"{path}/TWO/value")
    assert status == 500
    assert "first value" not in json.dumps(told)


def test_a_wrong_value_is_not_repeated(admin, project):
    status, told = admin.put(f"/projects/{project}/secrets/X", content=b'{"value": 12345678, "hush": "')
    assert status == 422
    assert "12345678" not in json.dumps(told)


def key():
    return base64.b64encode(os.urandom(32)).decode()


def test_keys_are_rotated(tmp_path):
    old, new = key(), key()
    first = open_keys(ServerSettings(secrets_key=old))
    text, made_with = first.encrypt("name", "value")
    both = open_keys(ServerSettings(secrets_key=f"{new},{old}"))
    assert both.decrypt("name", text, made_with) == "value"
    again, made_anew = both.encrypt("name", "value")
    alone = open_keys(ServerSettings(secrets_key=new))
    assert alone.decrypt("name", again, made_anew) == "value"
    with pytest.raises(SetupError, match="its key is not here"):
        alone.decrypt("name", text, made_with)
    with pytest.raises(SetupError, match="is no key"):
        open_keys(ServerSettings(secrets_key="short"))


def test_a_key_is_made_once_and_read_by_nobody_else(tmp_path):
    settings = ServerSettings(secrets_key_file=str(tmp_path / "there" / "key"))
    first, again = open_keys(settings), open_keys(settings)
    assert isinstance(first, Keys)
    assert first.first.id == again.first.id
    assert (tmp_path / "there" / "key").stat().st_mode & 0o077 == 0


def test_times_of_a_schedule_that_is_not_made_yet_are_told(admin, project):
    where = f"/projects/{project}/schedules/times"
    status, told = admin.post(where, {"cron": "30 6 * * mon-fri", "timezone": "Europe/Berlin", "count": 3})
    assert status == 200, told
    assert len(told["items"]) == 3
    assert admin.post(where, {"at": "2001-01-01T00:00:00+00:00"})[1] == {"items": []}
    for wrong, summary in (
        ({"cron": "30 6"}, "is no schedule of cron's"),
        ({"cron": "30 6 * * *", "timezone": "Europe/Nowhere"}, "there is no time zone"),
        ({}, "has none of `cron`, `every_s` and `at`"),
        ({"at": "2030-01-01T00:00:00"}, "`at` has no time zone"),
        ({"every_s": 60, "count": 1000}, "cannot be read"),
    ):
        status, told = admin.post(where, wrong)
        assert (status, summary in told["error"]["summary"]) in ((400, True), (422, True)), told


def test_a_schedule_tells_what_became_of_its_last_times(server, admin, project, queue):
    make(admin, project)
    make(admin, project, name="other")
    for _ in range(3):
        tick(queue, schedule(server, project).next_at)
    assert admin.post(f"/projects/{project}/schedules/nightly/runs")[0] == 202
    where = f"/projects/{project}/schedules/nightly/launches"
    told = admin.get(where)[1]["items"]
    assert {each["cause"] for each in told} == {"schedule nightly"}
    assert len(told) == 4
    moments = [each["created_at"] for each in told]
    assert moments == sorted(moments, reverse=True)
    assert admin.get(f"{where}?limit=2")[1]["items"] == told[:2]


def test_a_webhook_is_changed_and_tells_its_last_calls(admin, nobody, project):
    where = f"/projects/{project}/webhooks"
    made = admin.post(where, {"name": "deploy", "snapshot": "churn"})[1]
    assert admin.get(f"{where}/deploy/launches")[1] == {"items": []}
    status, told = admin.patch(f"{where}/deploy", {"allowed": ["alpha"], "parameters": {"alpha": 0.2}})
    assert (status, told["allowed"], told["parameters"], told["active"]) == (
        200,
        ["alpha"],
        {"alpha": 0.2},
        True,
    )
    for wrong in ({"allowed": ["alpa"]}, {"parameters": {"alpha": "x"}}, {"snapshot": "none"}):
        assert 400 <= admin.patch(f"{where}/deploy", wrong)[0] < 500
    body, moment = b'{"parameters": {"alpha": 0.7}}', str(int(time.time()))
    signature = hmac.new(made["secret"].encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"Tilth-Timestamp": moment, "Tilth-Signature": f"sha256={signature}"}
    status, launch = nobody.post(f"/hooks/{made['webhook']['id']}", content=body, headers=headers)
    assert status == 202, launch
    assert [each["id"] for each in admin.get(f"{where}/deploy/launches")[1]["items"]] == [launch["id"]]
    assert admin.patch(f"{where}/deploy", {"active": False})[1]["allowed"] == ["alpha"]
