from __future__ import annotations

import hashlib
import os
import uuid

import pytest

from tilth.artifact_stores import LocalArtifactStore
from tilth.artifact_stores.cached import CachedArtifactStore
from tilth.artifact_stores.server import ServerObjects, ServerStore
from tilth.materializers.artifacts import save_artifact
from tilth.server.files import Files
from tilth.store.http import Api
from tilth.testing.object_store import ObjectStoreContract


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def project(admin):
    name = uuid.uuid4().hex
    assert admin.post("/projects", {"name": name})[0] == 201
    return name


class TestServer(ObjectStoreContract):
    @pytest.fixture
    def objects(self, server, project):
        api = Api(server.url, server.token)
        yield ServerStore(ServerObjects(api, project))
        api.close()

    def test_many_are_looked_for_together(self, objects):
        objects.put("a/b", b"1")
        objects.put("a/c ü", b"2")
        assert objects.there(["a/b", "a/x", "a/c ü", "a"]) == {"a/b", "a/c ü"}
        assert objects.there(["a/b", *(f"x/{number}" for number in range(1500))]) == {"a/b"}
        assert objects.there([]) == set()
        with pytest.raises(ValueError, match="not the key"):
            objects.there(["a/b", "../a/b"])


def test_looking_makes_no_project_and_the_first_object_does(server, admin, tmp_path):
    name, content = uuid.uuid4().hex, tmp_path / "content"
    content.write_bytes(b"12")
    api = Api(server.url, server.token)
    objects = ServerStore(ServerObjects(api, name))
    assert objects.there(["a"]) == set()
    assert list(objects.list("")) == []
    assert objects.find("a") is None
    objects.delete("a")
    assert admin.get(f"/projects/{name}")[0] == 404
    objects.put("a", content)
    assert objects.there(["a"]) == {"a"}
    api.close()


def test_what_is_looked_for_is_held_to_its_bounds(admin, project):
    path = f"/projects/{project}/objects/query"
    assert admin.post(path, {"keys": ["../up"]})[0] == 422
    assert admin.post(path, {"keys": ["a"] * 1001})[0] == 422
    assert admin.post(path, {"keys": "a"})[0] == 422
    assert admin.post(path, {"keys": ["a"]}) == (200, {"items": [], "next": None})


@pytest.mark.parametrize("together", [True, False], ids=["asked together", "asked one by one"])
def test_only_artifacts_that_are_missing_are_sent(server, project, tmp_path, together):
    api = Api(server.url, server.token)
    objects = ServerStore(ServerObjects(api, project))
    sent = []

    class Seen:
        def __getattr__(self, name):
            if name == "there" and not together:
                raise AttributeError(name)
            return getattr(objects, name)

        def put(self, key, source, *, digest=""):
            sent.append(key)
            return objects.put(key, source, digest=digest)

    store = CachedArtifactStore(LocalArtifactStore(tmp_path / "artifacts"), Seen())
    digests = []
    for number in range(3):
        folder = tmp_path / f"made{number}"
        folder.mkdir()
        digests.append(save_artifact({"n": number}, folder)["digest"])
        store.adopt(folder, digests[-1])
    store.sync(digests[0])
    sent.clear()
    store.sync(*digests)
    assert sorted(key for key in sent if key.endswith("/artifact.json")) == sorted(
        f"artifacts/{each[7:9]}/{each[7:]}/artifact.json" for each in digests[1:]
    )
    assert all(store.objects.find(f"artifacts/{each[7:9]}/{each[7:]}/artifact.json") for each in digests)
    api.close()


@pytest.mark.parametrize(
    "key", ["../up", "a/../../b", "%2e%2e/x", "a//b", "/etc/passwd", "x" * 300, "a\0b", "."]
)
def test_a_key_leads_nowhere_else(admin, project, key):
    from urllib.parse import quote

    path = f"/projects/{project}/objects/{quote(key, safe='%')}?digest={digest(b'x')}&size=1"
    assert admin.put(path, content=b"x")[0] in (404, 405, 409, 422)
    assert admin.get(f"/projects/{project}/objects")[1]["items"] == []


def test_what_was_sent_of_an_object_is_not_sent_again(admin, project):
    content = os.urandom(1000)
    path = f"/projects/{project}/objects/large?digest={digest(content)}&size=1000"
    assert admin.put(f"{path}&offset=0", content=content[:600]) == (200, {"have": 600})
    assert admin.get(f"/projects/{project}/uploads/{digest(content)}") == (200, {"have": 600})
    assert admin.client.head(f"/api/v1/projects/{project}/objects/large").status_code == 404
    assert admin.put(f"{path}&offset=0", content=content[:600]) == (200, {"have": 600})
    assert admin.put(f"{path}&offset=600", content=content[600:]) == (200, {"have": 1000})
    assert admin.client.get(f"/api/v1/projects/{project}/objects/large").content == content


def test_what_is_not_what_its_digest_says_is_thrown_away(admin, project):
    path = f"/projects/{project}/objects/wrong?digest={digest(b'right')}&size=5"
    status, told = admin.put(path, content=b"wrong")
    assert status == 422
    assert "is not what its digest says" in told["error"]["summary"]
    assert admin.put(path, content=b"right") == (200, {"have": 5})


def test_a_part_is_given_by_a_range(admin, project):
    admin.put(f"/projects/{project}/objects/x?digest={digest(b'0123456789')}&size=10", content=b"0123456789")
    response = admin.client.get(f"/api/v1/projects/{project}/objects/x", headers={"Range": "bytes=3-5"})
    assert (response.status_code, response.content) == (206, b"345")
    assert response.headers["content-disposition"] == "attachment"


def test_an_object_cannot_be_a_folder_of_others(admin, project):
    admin.put(f"/projects/{project}/objects/a?digest={digest(b'x')}&size=1", content=b"x")
    status, _ = admin.put(f"/projects/{project}/objects/a/b?digest={digest(b'y')}&size=1", content=b"y")
    assert status == 409


@pytest.mark.faults
def test_a_full_disk_is_told_and_loses_nothing(mount, tmp_path):
    from tilth.errors import DiskFull

    files = Files(mount("-o", "size=4m"), "p")
    kept = os.urandom(1 << 20)
    files.put("kept", kept, digest=digest(kept), size=len(kept), offset=0)
    large = os.urandom(8 << 20)
    with pytest.raises(DiskFull, match="no space left for the files of the server"):
        files.put("large", large, digest=digest(large), size=len(large), offset=0)
    assert files.path("kept")[0].read_bytes() == kept
    assert files.find("large") is None
