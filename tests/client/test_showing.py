"""What a server is sent of a run so that it can show it."""

from __future__ import annotations

import hashlib
import json
import uuid

import httpx
import pytest
from tests.conftest import run_cli
from tests.server_running import running_server

from tilth.client.showing import LARGEST, find_source, pipeline_key, send, to_send
from tilth.ir.pipeline import Pipeline
from tilth.runtime.folder import write_json
from tilth.store.http import HttpStore
from tilth.store.sqlite import SqliteDatabase

TEXT = 'import os\n\n\ndef fit():\n    return "é"\n'


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def compiled(text: str = TEXT, file: str = "m.py") -> dict:
    node = {"id": "fit", "function": "m:fit", "outputs": [], "map": [], "after": [], "tags": []}
    told = {"version": 1, "name": "p", "function": "m:p", "nodes": [node]}
    return Pipeline.from_json({**told, "sources": {"m": digest_of(text)}, "files": {"m": file}}).to_json()


@pytest.fixture
def folder(tmp_path):
    """The folder of a run whose project is in `code`."""
    folder, code = tmp_path / "run", tmp_path / "code"
    folder.mkdir()
    code.mkdir()
    (code / "m.py").write_text(TEXT)
    write_json(folder / "pipeline.json", compiled())
    write_json(folder / "project.json", {"roots": [str(tmp_path / "other"), str(code)]})
    return folder


def test_the_compiled_pipeline_and_the_sources_of_its_steps_are_named_by_their_content(folder):
    pipeline, source = to_send(folder)
    assert pipeline.key == pipeline_key(Pipeline.from_json(compiled()).digest())
    assert Pipeline.from_json(json.loads(pipeline.content)).digest() == pipeline.digest
    assert (source.content.decode(), source.digest) == (TEXT, digest_of(TEXT))


def test_newlines_of_another_system_are_no_change(folder, tmp_path):
    (tmp_path / "code" / "m.py").write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert [each.content for each in to_send(folder)][1] == TEXT.encode()


@pytest.mark.parametrize(
    "content", [b"changed", b"\xff\xfe", b"# coding: nonsense\n", b"x" * (LARGEST + 1), None]
)
def test_a_file_that_is_not_the_source_any_more_is_not_sent(folder, tmp_path, content):
    file = tmp_path / "code" / "m.py"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert len(list(to_send(folder))) == 1


def test_a_compiled_module_has_no_source(tmp_path):
    (tmp_path / "m.so").write_bytes(b"\x7fELF")
    assert find_source(compiled(file="m.so"), "m", [str(tmp_path)]) is None


def test_a_folder_without_a_pipeline_has_nothing_to_send(tmp_path):
    assert list(to_send(tmp_path)) == []


def test_what_is_there_is_not_sent_again(folder, tmp_path):
    database = SqliteDatabase(tmp_path / "tilth.db")
    with (
        running_server(database, data_folder=str(tmp_path / "data"), schedules=False) as server,
        HttpStore(server.url, server.token, uuid.uuid4().hex) as store,
    ):
        headers = {"Authorization": f"Bearer {server.token}"}
        httpx.post(f"{server.url}/api/v1/projects", headers=headers, json={"name": store.project})
        asked = []
        request = store.api.request

        def watched(method, *more, **options):
            asked.append(method)
            return request(method, *more, **options)

        store.api.request = watched
        send(folder, store.api, store.project, patience_s=60)
        send(folder, store.api, store.project, patience_s=60)
        assert asked == ["POST", "PUT", "PUT", "POST"]
    database.close()


def test_a_server_that_takes_no_more_fails_no_run(tmp_path):
    """Its disk is not asked: no object may be larger than what it takes in one request."""
    database = SqliteDatabase(tmp_path / "tilth.db")
    (tmp_path / "p.py").write_text(
        "from tilth import pipeline, step\n\n# " + "x" * (1 << 20) + "\n\n\n"
        "@step\ndef one() -> int:\n    return 1\n\n\n@pipeline\ndef p():\n    one()\n"
    )
    with running_server(
        database, data_folder=str(tmp_path / "data"), schedules=False, max_body_mb=1
    ) as server:
        env = {"TILTH_SERVER_URL": server.url, "TILTH_API_KEY": server.token, "TILTH_PROJECT": "q"}
        done = run_cli("run", "p.py", cwd=tmp_path, env=env)
    assert "run p-1: completed" in done.stderr
    database.close()
