"""Clients of every protocol that the server says it understands are answered as they were."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tilth.store import wire

FOLDER = Path(__file__).with_name("protocols")


def test_every_protocol_that_is_understood_was_recorded():
    known = sorted(int(each.stem) for each in FOLDER.glob("*.json"))
    assert known == list(range(wire.OLDEST, wire.PROTOCOL + 1))


@pytest.mark.parametrize("protocol", range(wire.OLDEST, wire.PROTOCOL + 1))
def test_a_client_of_an_earlier_protocol_is_answered_as_it_was(admin, protocol):
    project = uuid.uuid4().hex
    for each in json.loads((FOLDER / f"{protocol}.json").read_text()):
        path = each["path"].removeprefix("/api/v1").replace("/projects/recorded", f"/projects/{project}")
        body = each["body"].replace('"recorded"', f'"{project}"')
        response = admin.client.request(
            each["method"], f"/api/v1{path}", content=body.encode(), headers=each["headers"]
        )
        told = f"{each['method']} {each['path']}: {response.text}"
        assert response.status_code == each["status"], told
        if each["answers"]:
            assert set(each["answers"]) <= set(response.json()), told
