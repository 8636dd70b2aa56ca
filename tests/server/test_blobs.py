from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import httpx
import pytest
from tests.server_running import running_server

from tilth.client import blobs
from tilth.errors import DefinitionError, NotFound, OutsideError
from tilth.records import Run
from tilth.store.http import HttpStore
from tilth.store.sqlite import SqliteDatabase


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    database = SqliteDatabase(folder / "tilth.db")
    with running_server(database, data_folder=str(folder / "blobs"), max_blob_mb=30) as server:
        server.folder = folder / "blobs"
        yield server
    database.close()


@pytest.fixture
def store(server):
    with HttpStore(server.url, server.token, "churn") as store:
        store.find(Run, limit=1)  # the project is made
        yield store


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def put(server, digest, content, project="churn", token=None):
    return httpx.put(
        f"{server.url}/api/v1/projects/{project}/blobs/{digest}/content",
        content=content,
        headers={"Authorization": f"Bearer {token or server.token}"},
        timeout=60,
    )


def kept(server):
    return [each for each in server.folder.rglob("*") if each.is_file()]


def test_a_file_is_sent_once_and_fetched_as_it_was(server, store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 20_000)
    digest = blobs.send(store, path)
    assert blobs.send(store, path) == digest
    blobs.fetch(store, digest, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_an_empty_file_is_a_file(store, tmp_path):
    (tmp_path / "empty").touch()
    digest = blobs.send(store, tmp_path / "empty")
    blobs.fetch(store, digest, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_what_is_not_what_its_digest_says_is_not_kept(server, store):
    before = kept(server)
    answer = put(server, digest_of(b"one"), b"other")
    assert answer.status_code == 422
    assert "not what its digest says" in answer.json()["error"]["summary"]
    assert kept(server) == before


@pytest.mark.parametrize(
    "digest",
    ["sha256:..", "sha256:%2e%2e%2f%2e%2e%2fetc", "md5:" + "0" * 64, "sha256:" + "G" * 64, "x" * 5000],
)
def test_what_is_no_digest_is_refused(server, store, digest):
    before = kept(server)
    answer = put(server, digest, b"x")
    assert answer.status_code in (404, 422)
    assert kept(server) == before


def test_a_path_in_the_place_of_a_project_reads_nothing_else(server, store):
    answer = httpx.get(
        f"{server.url}/api/v1/projects/..%2F..%2Fetc/blobs/{digest_of(b'')}/content",
        headers={"Authorization": f"Bearer {server.token}"},
    )
    assert answer.status_code == 404


def test_files_of_another_project_are_not_there(server, store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"of churn")
    digest = blobs.send(store, path)
    with HttpStore(server.url, server.token, "another") as other:
        other.find(Run, limit=1)
        with pytest.raises(NotFound):
            blobs.fetch(other, digest, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_who_is_not_logged_in_gets_nothing(server, store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"secret")
    digest = blobs.send(store, path)
    answer = httpx.get(f"{server.url}/api/v1/projects/churn/blobs/{digest}/content")
    assert answer.status_code == 401
    assert put(server, digest_of(b"x"), b"x", token="forged").status_code == 401


def test_too_large_a_file_is_refused_and_not_kept(server, store):
    before = kept(server)
    content = b"x" * (31 << 20)
    answer = put(server, digest_of(content), content)
    assert answer.status_code == 413
    assert kept(server) == before


def test_a_part_of_a_file_is_given(server, store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    digest = blobs.send(store, path)
    answer = httpx.get(
        f"{server.url}/api/v1/projects/churn/blobs/{digest}/content",
        headers={"Authorization": f"Bearer {server.token}", "Range": "bytes=2-4"},
    )
    assert (answer.status_code, answer.content) == (206, b"234")


def test_a_damaged_file_is_not_taken(server, store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"as it should be")
    digest = blobs.send(store, path)
    (found,) = server.folder.rglob(digest.partition(":")[2])
    found.write_bytes(b"as it should bf")
    with pytest.raises(OutsideError, match="another file"):
        blobs.fetch(store, digest, tmp_path / "back")
    assert list(tmp_path.iterdir()) == [path]
    found.unlink()


def test_a_client_that_goes_away_leaves_nothing(server, store):
    before = kept(server)
    code = (
        "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
        "s.sendall(('PUT /api/v1/projects/churn/blobs/%s/content HTTP/1.1\\r\\nHost: x\\r\\n'"
        "'Authorization: Bearer %s\\r\\nContent-Length: 9000000\\r\\n\\r\\n' % (sys.argv[2], sys.argv[3])).encode()"
        "+ b'x' * 3000000)"
    )
    port = server.url.rpartition(":")[2]
    subprocess.run([sys.executable, "-c", code, port, digest_of(b"x"), server.token], check=True)
    deadline = time.monotonic() + 60
    while kept(server) != before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_no_file_cannot_be_sent_by_hand(server, store):
    with pytest.raises(DefinitionError):
        store.api.stream_to(f"/projects/churn/blobs/{'x' * 10}/content", iter([b""]), {})
