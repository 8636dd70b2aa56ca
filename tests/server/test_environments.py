"""Environments as people look at them: side by side, from inside, compared and exported."""

from __future__ import annotations

import hashlib
import json

import pytest
from tests.server.conftest import asker

PROJECT = "/projects/garden"


def package(name, version, **more):
    return {"name": name, "version": version, "digest": f"sha256:{name}{version}", **more}


ENVIRONMENTS = [
    {"id": "sha256:client", "name": "client", "role": "client", "python": "3.11",
     "packages": [package("pandas", "2.2.3"), package("rich", "14.0")]},
    {"id": "sha256:old", "name": "train", "python": "3.11", "platform": "linux-x86_64",
     "packages": [package("pandas", "2.2.3"), package("gone", "1.0")]},
    {"id": "sha256:new", "name": "train", "python": "3.12", "platform": "linux-x86_64", "lock": "sha256:lock",
     "requirements": ["pandas>=2", "./own"], "variables": {"A": "1"},
     "packages": [package("pandas", "3.1.1", size=10), package("numpy", "2.4.6", size=5),
                  package("own", "0.1", builder="sha256:maker")]},
    {"id": "sha256:maker", "name": "build-own", "role": "builder", "python": "3.12",
     "packages": [package("hatchling", "1.0")]},
]  # fmt: skip
LOCK = """
lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "numpy"
version = "2.4.6"
wheels = [{ url = "https://u:secret@index.example/numpy-2.4.6-py3-none-any.whl", hashes = { sha256 = "numpy2.4.6" } }]
"""
CONTENTS = {
    "id": "sha256:new",
    "packages": {
        "pandas": {"headers": {"Requires-Dist": ["numpy>=1.26", "odd>=1; extra == 'odd'"], "Summary": ["frames"]},
                   "size": 100},
        "numpy": {"headers": {"License-Expression": ["BSD-3-Clause"]}, "size": 50},
    },
}  # fmt: skip
CLIENT = {
    "python": "3.11.7", "implementation": "cpython", "executable": "python", "platform": "linux-x86_64",
    "tilth": "1", "environment": "sha256:client",
}  # fmt: skip


@pytest.fixture(scope="module")
def garden(server):
    """A project whose pipeline changed its environment, and has an image, a builder and a check."""
    admin = asker(server, server.token)

    def good(answer):
        assert answer[0] in (200, 201), answer
        return answer[1]

    good(admin.post("/projects", {"name": "garden"}))
    good(admin.post(f"{PROJECT}/environments", {"items": ENVIRONMENTS}))
    good(admin.post(f"{PROJECT}/locks", {"items": [{"id": "sha256:lock", "text": LOCK}]}))
    good(admin.post(f"{PROJECT}/environment-contents", {"items": [CONTENTS]}))
    finding = {"level": "warning", "check": "advisories", "what": "`numpy` is bad", "package": "numpy"}
    check = {"id": "sha256:new", "advisories": True, "findings": [finding]}
    good(admin.post(f"{PROJECT}/environment-checks", {"items": [check]}))
    runs = []
    for digest in ("sha256:old", "sha256:new"):
        run = {"pipeline": "grow", "environments": {"train": digest}, "client": CLIENT}
        runs.append(good(admin.post(f"{PROJECT}/runs/start", run)))
    steps = [
        {"run": runs[1]["id"], "step": "fit", "environment": "sha256:new", "pipeline": "grow"},
        {"run": runs[1]["id"], "step": "fit", "index": 3, "environment": "sha256:new", "pipeline": "grow"},
        {"run": runs[1]["id"], "step": "tell", "pipeline": "grow"},
    ]
    good(admin.post(f"{PROJECT}/step-runs", {"items": steps}))
    layers = [{"digest": "sha256:l1", "size": 7, "title": "base"}]
    build = {"key": "k", "environment": "sha256:new", "name": "train", "image": "sha256:i", "layers": layers}
    good(admin.post(f"{PROJECT}/builds", {"items": [build]}))
    admin.client.close()
    return runs


def by_name(passage):
    return {(each["role"], each["name"]): each for each in passage["environments"]}


def test_the_environments_of_a_pipeline_stand_side_by_side_by_role(garden, admin):
    status, passage = admin.get(f"{PROJECT}/pipelines/grow/environments")
    assert status == 200
    assert passage["run"]["name"] == "grow-2"
    assert [each["role"] for each in passage["environments"]] == ["client", "execution", "server", "builder"]
    found = by_name(passage)
    train = found["execution", "train"]
    assert train["steps"] == ["fit"]
    assert train["unpacked"] == {"pandas": 100, "numpy": 50}
    assert train["check"]["findings"][0]["package"] == "numpy"
    assert train["build"]["image"] == "sha256:i"
    change = {"run": "grow-1", "digest": "sha256:old", "added": 2, "removed": 1, "changed": 1}
    assert train["change"] == {**change, "facts": ["python"]}
    assert found["client", "client"]["steps"] == ["tell"]
    assert found["client", "client"]["python"] == "3.11.7"
    assert found["client", "client"]["change"] is None
    assert found["client", "client"]["check"] is None
    assert found["builder", "build-own"]["built"] == ["own"]
    server = found["server", "this server"]
    assert {"fastapi", "msgspec"} <= {each["name"] for each in server["packages"]}


def test_those_of_an_older_run_are_its_own(garden, admin):
    status, passage = admin.get(f"{PROJECT}/runs/{garden[0]['id']}/environments")
    assert status == 200
    train = by_name(passage)["execution", "train"]
    assert (train["digest"], train["change"], train["check"]) == ("sha256:old", None, None)


def test_the_compiled_pipeline_tells_of_steps_that_have_not_begun(garden, admin):
    run = garden[0]["id"]
    nodes = [
        {"id": "fit", "environment": "train"},
        {"id": "tell", "environment": None},
        {"id": "late", "environment": "train"},
    ]
    graph = json.dumps({"nodes": nodes}).encode()
    digest = f"sha256:{hashlib.sha256(graph).hexdigest()}"
    query = f"digest={digest}&size={len(graph)}"
    assert admin.put(f"{PROJECT}/objects/runs/{run}/pipeline.json?{query}", content=graph)[0] == 200
    _, passage = admin.get(f"{PROJECT}/runs/{run}/environments")
    found = by_name(passage)
    assert found["execution", "train"]["steps"] == ["fit", "late"]
    assert found["client", "client"]["steps"] == ["tell"]


def test_what_is_in_an_environment_says_why(garden, admin):
    status, found = admin.get(f"{PROJECT}/environments/sha256:new/contents")
    assert status == 200
    packages = {each["name"]: each for each in found["packages"]}
    assert list(packages) == ["numpy", "own", "pandas"]
    assert packages["pandas"]["requires"] == {"numpy": ">=1.26"}
    assert packages["pandas"]["requested"] == ["pandas>=2"]
    assert packages["pandas"]["summary"] == "frames"
    assert packages["numpy"]["required_by"] == ["pandas"]
    assert packages["numpy"]["licence"] == "BSD-3-Clause"
    assert (packages["numpy"]["size"], packages["numpy"]["unpacked"]) == (5, 50)
    assert packages["own"]["requires"] is None
    assert found["told"]
    assert found["build"]["image"] == "sha256:i"
    _, client = admin.get(f"{PROJECT}/environments/sha256:client/contents")
    assert not client["told"]
    assert client["build"] is None


def test_runs_and_steps_that_share_one_are_told(garden, admin):
    status, found = admin.get(f"{PROJECT}/environments/sha256:client/users?limit=1")
    assert status == 200
    assert [each["name"] for each in found["items"]] == ["grow-2"]
    _, rest = admin.get(
        f"{PROJECT}/environments/sha256:client/users", params={"limit": 1, "after": found["next"]}
    )
    assert [each["name"] for each in rest["items"]] == ["grow-1"]
    assert rest["next"] is None
    _, found = admin.get(f"{PROJECT}/environments/sha256:maker/users")
    assert [(each["name"], each["called"], each["steps"]) for each in found["items"]] == [
        ("grow-2", ["train"], ["fit"])
    ]


def test_two_are_compared(garden, admin):
    status, found = admin.get(f"{PROJECT}/environments/sha256:old/diff/sha256:new")
    assert status == 200
    assert [(each["name"], each["change"]) for each in found["packages"]] == [
        ("gone", "removed"),
        ("numpy", "added"),
        ("own", "added"),
        ("pandas", "version"),
    ]
    assert found["packages"][3]["left"]["version"] == "2.2.3"
    assert [(each["name"], each["left"], each["right"]) for each in found["facts"]] == [
        ("python", "3.11", "3.12")
    ]
    assert [(each["name"], each["change"]) for each in found["variables"]] == [("A", "added")]
    assert found["same"] == 0
    _, found = admin.get(f"{PROJECT}/environments/sha256:client/diff/sha256:client")
    assert (found["packages"], found["same"]) == ([], 2)


@pytest.mark.parametrize(
    ("form", "name", "within"),
    [
        ("pylock", "pylock.train.toml", "numpy-2.4.6"),
        ("cyclonedx", "train.cdx.json", "CycloneDX"),
        ("requirements", "train.txt", "numpy==2.4.6"),
        ("dockerfile", "train.Dockerfile", "FROM "),
    ],
)
def test_an_environment_is_a_file_for_other_tools(garden, admin, form, name, within):
    answer = admin.client.get(f"/api/v1{PROJECT}/environments/sha256:new/export/{form}")
    assert answer.status_code == 200
    assert f'filename="{name}"' in answer.headers["content-disposition"]
    assert within in answer.text
    assert "secret" not in answer.text


def test_a_bill_of_materials_has_what_packages_require(garden, admin):
    answer = admin.client.get(f"/api/v1{PROJECT}/environments/sha256:new/export/cyclonedx").json()
    needs = {each["ref"]: each["dependsOn"] for each in answer["dependencies"]}
    assert needs["pkg:pypi/pandas@3.1.1"] == ["pkg:pypi/numpy@2.4.6"]


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/pipelines/none/environments", 404, "no run of pipeline `none`"),
        ("/runs/none/environments", 404, "`none`"),
        ("/environments/sha256:none/contents", 404, "sha256:none"),
        ("/environments/sha256:none/users", 404, "sha256:none"),
        ("/environments/sha256:new/diff/sha256:none", 404, "sha256:none"),
        ("/environments/sha256:new/export/cyclonedxx", 422, "cyclonedxx"),
        ("/environments/sha256:client/export/pylock", 404, "has no lock"),
        ("/environments/sha256:new/users?limit=0", 422, "limit"),
        ("/environments/sha256:new/users?after=x", 422, "`x`"),
    ],
)
def test_what_cannot_be_shown_is_told(garden, admin, path, status, told):
    found, answer = admin.get(PROJECT + path)
    assert found in (status, 400) if status == 422 else found == status, answer
    assert told in json.dumps(answer["error"])
