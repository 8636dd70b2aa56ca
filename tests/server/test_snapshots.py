"""Versions of snapshots that the server makes by itself."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from tilth.records import Snapshot
from tilth.records.access import AuditEntry


@pytest.fixture
def project(admin):
    name = uuid.uuid4().hex
    assert admin.post("/projects", {"name": name})[0] == 201
    return name


@pytest.fixture
def snapshot(admin, project):
    made = Snapshot(
        name="churn",
        pipeline="churn",
        file="pipeline.py",
        signature={
            "alpha": {"type": "float", "kind": "float", "required": False, "default": 0.1},
            "rows": {"type": "int", "kind": "int", "required": True},
        },
        parameters={"rows": "5"},
        bundle="sha256:abc",
    )
    content = b'{"items":[' + msgspec.json.encode(made) + b"]}"
    status, told = admin.ask("POST", f"/projects/{project}/snapshots", content=content)
    assert status == 201, told
    return told["items"][0]


def test_the_next_version_has_other_parameters_and_the_same_code(admin, server, project, snapshot):
    where = f"/projects/{project}/snapshots/{snapshot['id']}"
    given = {"parameters": {"alpha": 0.5}, "options": {"cache": False, "workers": 3}, "description": "slow"}
    status, told = admin.post(f"{where}/versions", given)
    assert status == 201, told
    assert (told["name"], told["version"], told["bundle"]) == ("churn", 2, "sha256:abc")
    assert told == told | given
    assert told["id"] != snapshot["id"]
    assert admin.get(where)[1] == snapshot
    status, third = admin.post(f"/projects/{project}/snapshots/{told['id']}/versions", {})
    assert (third["version"], third["parameters"], third["options"]) == (3, {"alpha": 0.5}, given["options"])
    (entry, *_) = server.access.store.find(AuditEntry, action="snapshot.version", project=project).items
    assert entry.subject == "churn:2"


def test_words_of_a_snapshot_change_and_nothing_else(admin, project, snapshot):
    where = f"/projects/{project}/snapshots/{snapshot['id']}"
    status, told = admin.patch(f"{where}/words", {"description": "every night", "tags": ["prod"]})
    assert status == 200, told
    assert told == snapshot | {"description": "every night", "tags": ["prod"], "revision": told["revision"]}
    assert admin.patch(f"{where}/words", {"tags": []})[1]["description"] == "every night"


@pytest.mark.parametrize(
    ("given", "summary"),
    [
        ({"parameters": {"alpa": 1}}, "pipeline `churn` has no parameter `alpa`"),
        ({"parameters": {"alpha": "much"}}, "parameter `alpha` of pipeline `churn` is `much`"),
        ({"options": {"cach": True}}, "runs of a snapshot have no option `cach`"),
        ({"options": {"cache": "no"}}, "option `cache` is `no`"),
        ({"options": {"workers": 0}}, "option `workers` is `0`"),
        ({"options": {"failure_mode": ["x"]}}, "option `failure_mode` is `['x']`"),
        ({"tags": ["a\nb"]}, "`a\nb` is no tag"),
        ({"description": "x" * 10_001}, "the description has 10,001 characters"),
        ({"bundle": "sha256:other"}, "the request cannot be read"),
    ],
)
def test_what_no_run_could_be_of_is_refused(admin, project, snapshot, given, summary):
    status, told = admin.post(f"/projects/{project}/snapshots/{snapshot['id']}/versions", given)
    assert 400 <= status < 500
    assert summary in told["error"]["summary"]
    assert len(admin.get(f"/projects/{project}/snapshots")[1]["items"]) == 1
