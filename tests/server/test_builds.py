"""Builds as people look at them: their logs as they grow, whether anybody makes them, what their layers share."""

from __future__ import annotations

import base64
import json
import os
import time
from datetime import timedelta

import msgspec
import pytest
from tests.server.conftest import asker
from tests.server.test_security import token_of

from tilth.records import Build, State, now
from tilth.server.files import Files

PROJECT = "/projects/yard"


def layer(name, size, way="sent"):
    return {"digest": f"sha256:{name}", "size": size, "title": name, "way": way}


def build(name, *layers, **more):
    return {
        "id": name,
        "key": name,
        "environment": f"sha256:{name}",
        "name": name,
        "layers": list(layers),
        **more,
    }


@pytest.fixture(scope="module")
def yard(server):
    admin = asker(server, server.token)
    assert admin.post("/projects", {"name": "yard"})[0] == 201
    builds = [
        build("train", layer("base", 50, "skipped"), layer("scipy", 30), image="sha256:t"),
        build("report", layer("base", 50, "mounted"), layer("jinja2", 1), image="sha256:r"),
        build("again", image="sha256:t", found=True),
        build("going", state="running"),
        build("dead", state="running"),
    ]
    status, told = admin.post(f"{PROJECT}/builds", {"items": builds})
    assert status == 201, told
    admin.client.close()
    return "yard"


def test_layers_are_told_with_the_images_that_share_them(yard, admin):
    status, found = admin.get(f"{PROJECT}/builds/train/layers")
    assert status == 200
    assert (found["size"], found["shared_size"], found["compared_with"]) == (80, 50, 1)
    base, scipy = found["layers"]
    assert [each["name"] for each in base["shared"]] == ["report"]
    assert (scipy["shared"], scipy["way"]) == ([], "sent")


def test_an_image_that_was_found_has_the_layers_that_its_maker_tells_of(yard, admin):
    _, found = admin.get(f"{PROJECT}/builds/again/layers")
    assert [each["title"] for each in found["layers"]] == ["base", "scipy"]


def test_a_log_grows_and_the_same_part_changes_nothing(yard, admin):
    first, second = b"2026 O \xc3\xa4\n", b"2026 E two\n"
    where = f"{PROJECT}/builds/going/log"
    assert admin.put(f"{where}?offset=0", content=first) == (200, {"size": len(first)})
    assert admin.put(f"{where}?offset=0", content=first) == (200, {"size": len(first)})
    assert admin.put(f"{where}?offset={len(first)}", content=second + b"torn") == (
        200,
        {"size": len(first + second) + 4},
    )
    _, found = admin.get(where)
    assert found["text"] == "2026 O ä\n2026 E two\n"
    assert (found["next"], found["size"]) == (len(first + second), len(first + second + b"torn"))
    _, rest = admin.get(f"{where}?offset={len(first)}")
    assert rest["text"] == "2026 E two\n"
    _, alone = admin.get(f"{where}?limit=0")
    assert (alone["text"], alone["here"], alone["lost"]) == ("", True, False)


def test_a_build_of_which_nothing_is_heard_is_lost_until_something_is(yard, admin, server):
    where = f"{PROJECT}/builds/dead/log"
    assert admin.put(f"{where}?offset=0", content=b"")[0] == 200
    assert admin.get(where)[1]["lost"] is False
    record = server.access.store.within("yard").get(Build, "dead")
    path = Files(server.access.data, "yard").root / "build-logs" / "dead"
    ago = time.time() - 3600
    os.utime(path, (ago, ago))

    server.access.store.within("yard").replace(
        record, msgspec.structs.replace(record, created_at=now() - timedelta(hours=2))
    )
    assert admin.get(where)[1]["lost"] is True
    assert admin.put(f"{where}?offset=0", content=b"")[0] == 200
    assert admin.get(where)[1]["lost"] is False


def test_a_build_that_has_ended_is_not_lost_and_one_without_a_log_says_so(yard, admin):
    _, found = admin.get(f"{PROJECT}/builds/train/log")
    assert (found["lost"], found["here"], found["size"]) == (False, False, 0)


def test_a_log_goes_with_its_build(yard, admin, server):
    assert admin.post(f"{PROJECT}/builds", {"items": [build("brief")]})[0] == 201
    assert admin.put(f"{PROJECT}/builds/brief/log?offset=0", content=b"x\n")[0] == 200
    path = Files(server.access.data, "yard").root / "build-logs" / "brief"
    assert path.exists()
    assert admin.delete(f"{PROJECT}/builds/brief")[0] == 204
    assert not path.exists()
    assert admin.put(f"{PROJECT}/builds/brief/log?offset=0", content=b"x\n")[0] == 404


def test_a_run_tells_how_a_build_that_it_began_ended_and_changes_no_other(yard, server):
    run = asker(server, token_of(server, "run", project="yard"))

    def put(**fields):
        record = {
            "id": "of-run",
            "key": "k",
            "environment": "e",
            "created_at": "2026-03-01T10:00:00Z",
            **fields,
        }
        return run.post(f"{PROJECT}/changes", {"changes": [{"kind": "build", "put": record}]})

    assert put(state="running")[0] == 200
    assert put(state="completed", image="sha256:other", key="another")[1]["items"][0]["image"] == ""
    assert put(state="completed", image="sha256:mine")[1]["items"][0]["image"] == "sha256:mine"
    assert put(state="failed")[1]["items"][0]["image"] == "sha256:mine"
    run.client.close()
    assert server.access.store.within("yard").get(Build, "of-run").state is State.COMPLETED


def test_the_queue_tells_of_builds_that_wait_for_runners_and_keeps_their_keys(yard, admin):
    assert admin.get(f"{PROJECT}/build-queue") == (200, {"items": [], "takers": []})
    key = base64.b64encode(bytes(range(32))).decode()
    status, ordered = admin.post(f"{PROJECT}/build-orders", {"key": key, "runner": "big"})
    assert status == 202
    _, found = admin.get(f"{PROJECT}/build-queue")
    (waits,) = found["items"]
    assert (waits["id"], waits["state"], waits["wanted"], waits["user"]) == (
        ordered["id"],
        "queued",
        "big",
        "admin",
    )
    assert "key" not in json.dumps(found)
