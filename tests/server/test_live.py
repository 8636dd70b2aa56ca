from __future__ import annotations

import json
import threading
import uuid

import httpx
import msgspec
import pytest

from tilth.records import Run, State, StepRun
from tilth.store import Put
from tilth.store.http import HttpStore


@pytest.fixture
def project(server):
    with HttpStore(server.url, server.token, uuid.uuid4().hex) as store:
        yield store


@pytest.fixture
def run(project):
    return project.start_run(Run(pipeline="p"))


def at(project, run, more=""):
    return f"/projects/{project.project}/runs/{run.id}{more}"


def test_one_drives_at_a_time(admin, project, run):
    beat = {"holder": "one", "fence": 1, "lasts_s": 60}
    lease = at(project, run, "/lease")
    assert admin.get(lease)[1]["held"] is False
    assert admin.put(lease, beat) == (200, {"cancel": False})
    assert admin.put(lease, beat) == (200, {"cancel": False})
    status, told = admin.put(lease, {**beat, "holder": "other"})
    assert status == 409
    assert "driven by another process (one)" in told["error"]["summary"]
    assert admin.get(lease)[1]["held"] is True
    assert admin.delete(lease)[0] == 204
    assert admin.put(lease, {**beat, "holder": "other"})[0] == 200


def test_a_driver_whose_run_was_taken_over_is_told(admin, project, run):
    taken = project.replace(run, msgspec.structs.replace(run, fence=2))
    lease = at(project, taken, "/lease")
    assert admin.put(lease, {"holder": "one", "fence": 2})[0] == 200
    status, told = admin.put(lease, {"holder": "old", "fence": 1})
    assert (status, told["error"]["summary"]) == (409, f"run `{run.name}` was taken over by another driver")


def test_a_driver_hears_that_it_is_to_stop(admin, project, run):
    beat = {"holder": "one", "fence": 1}
    assert admin.post(at(project, run, "/cancel"))[1]["held"] is False
    admin.put(at(project, run, "/lease"), beat)
    assert admin.post(at(project, run, "/cancel"))[1]["held"] is True
    assert admin.put(at(project, run, "/lease"), beat) == (200, {"cancel": True})
    project.replace(run, msgspec.structs.replace(run, state=State.CANCELLED))
    assert admin.post(at(project, run, "/cancel"))[0] == 409


def test_logs_are_added_to_once(admin, project, run):
    log = at(project, run, "/logs/train.1.log")
    assert admin.put(f"{log}?offset=0", content=b"one\n") == (200, {"size": 4})
    assert admin.put(f"{log}?offset=0", content=b"one\n") == (200, {"size": 4})
    assert admin.put(f"{log}?offset=2", content=b"e\ntwo\n") == (200, {"size": 8})
    assert admin.put(f"{log}?offset=100", content=b"late") == (200, {"size": 8})
    assert admin.get(at(project, run, "/logs"))[1] == {"items": [{"name": "train.1.log", "size": 8}]}
    response = admin.client.get(f"/api/v1{log}")
    assert response.text == "one\ntwo\n"
    part = admin.client.get(f"/api/v1{log}", headers={"Range": "bytes=4-"})
    assert (part.status_code, part.text) == (206, "two\n")


@pytest.mark.parametrize("name", ["..%2F..%2Fup", "%2e%2e", "x" * 500, "a%00b"])
def test_the_name_of_a_log_leads_nowhere_else(admin, project, run, name):
    status, _ = admin.put(at(project, run, f"/logs/{name}?offset=0"), content=b"x")
    assert status in (404, 405, 422)


def test_events_tell_what_was_and_what_comes(server, project, run):
    first = StepRun(run=run.id, step="load", state=State.COMPLETED)
    project.write([Put(first)])
    project.api.request("PUT", f"{at(project, run)}/logs/load.1.log?offset=0", b"T O hello\n")
    told: list[tuple[str, dict]] = []
    seen = threading.Event()

    def listen() -> None:
        headers = {"Authorization": f"Bearer {server.token}"}
        with (
            httpx.Client(base_url=server.url, headers=headers, timeout=60) as client,
            client.stream("GET", f"/api/v1{at(project, run)}/events") as response,
        ):
            assert response.headers["content-type"].startswith("text/event-stream")
            kind = ""
            for line in response.iter_lines():
                if line.startswith("event:"):
                    kind = line.removeprefix("event:").strip()
                if line.startswith("data:") and kind:
                    told.append((kind, json.loads(line.removeprefix("data:"))))
                    kind = ""
                    if len(told) == 3:
                        seen.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert seen.wait(60)
    assert [kind for kind, _ in told[:3]] == ["step_run", "log", "run"]
    assert told[1][1] == {"log": "load.1.log", "offset": 0, "text": "T O hello\n"}
    project.write([Put(StepRun(run=run.id, step="train"))])
    project.replace(run, msgspec.structs.replace(run, state=State.COMPLETED))
    listener.join(60)
    assert not listener.is_alive()
    assert [(kind, each.get("step") or each.get("state")) for kind, each in told[3:]] == [
        ("step_run", "train"),
        ("run", "completed"),
    ]
