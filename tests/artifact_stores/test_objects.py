"""The promises of object stores, against a folder and real servers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from tests.artifact_stores.sftp import SSHD, sftp_server
from tests.services import S3 as Server, own_name, started

from tilth.artifact_stores.azure import AzureBlobs
from tilth.artifact_stores.folder import FolderStore
from tilth.artifact_stores.fsspec_url import FsspecFiles
from tilth.artifact_stores.gcs import GoogleStorage
from tilth.artifact_stores.remote import RemoteStore
from tilth.artifact_stores.s3 import S3
from tilth.errors import StoreUnavailable
from tilth.testing.object_store import ObjectStoreContract


def s3(service, **changed):
    facts = {
        "bucket": service.bucket,
        "prefix": f"{uuid.uuid4().hex}/below",
        "endpoint": service.url,
        "region": service.region,
        "key": service.access_key,
        "secret": service.secret_key,
        **changed,
    }
    return RemoteStore(S3(**facts), hidden=[facts["secret"]])


def azure(service, **changed):
    facts = {
        "container": service.container,
        "prefix": uuid.uuid4().hex,
        "account": service.account,
        "key": service.key,
        "endpoint": service.url,
        **changed,
    }
    return RemoteStore(AzureBlobs(**facts), hidden=[facts["key"]])


def google(service, state, **changed):
    facts = {"bucket": service.bucket, "prefix": uuid.uuid4().hex, "endpoint": service.url, **changed}
    return RemoteStore(GoogleStorage(**facts, state=state))


@pytest.fixture(scope="module")
def swift_bucket(pytestconfig):
    import boto3

    facts = started(pytestconfig, "swift")
    server = Server(**facts, bucket=own_name())
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    client.create_bucket(Bucket=server.bucket)
    return server


class TestFolder(ObjectStoreContract):
    @pytest.fixture
    def objects(self, tmp_path_factory):
        return FolderStore(tmp_path_factory.mktemp("store") / "objects")


NEIGHBOUR = """
import sys
from pathlib import Path
from tilth.artifact_stores.folder import FolderStore
store = FolderStore(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    store.put(f"near/{number % 20}b/{sys.argv[3]}", b"x")
    store.delete(f"near/{number % 20}b/{sys.argv[3]}")
"""


@pytest.fixture
def memory():
    """A folder in memory: nothing that waits for a disk makes processes take turns."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_processes_that_write_and_delete_beside_each_other_all_succeed(memory):
    """Who deletes takes empty folders away, which another is about to write into."""
    command = [sys.executable, "-c", NEIGHBOUR, memory / "store", "3000"]
    processes = [
        subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE, text=True) for number in range(3)
    ]
    said = [each.communicate(timeout=120)[1] for each in processes]
    assert said == ["", "", ""]


def test_a_list_is_whole_while_something_else_is_deleted(memory):
    store = FolderStore(memory / "store")
    for number in range(100):
        store.put(f"near/{number:03}/kept", b"x")
    command = [sys.executable, "-c", NEIGHBOUR, store.root, "1000000", "gone"]
    with subprocess.Popen(command) as process:
        try:
            for _ in range(300):
                assert sum(each.key.endswith("/kept") for each in store.list("near/")) == 100
        finally:
            process.kill()


@pytest.mark.objects
class TestS3(ObjectStoreContract):
    @pytest.fixture
    def objects(self, moto):
        return s3(moto)


@pytest.mark.objects
class TestS3WithSignatures(ObjectStoreContract):
    @pytest.fixture
    def objects(self, moto_signed):
        return s3(moto_signed)


@pytest.mark.swift
class TestSwift(ObjectStoreContract):
    @pytest.fixture
    def objects(self, swift_bucket):
        return s3(swift_bucket)


@pytest.mark.swift
def test_a_clock_that_is_wrong_is_not_told_as_wrong_credentials(swift_bucket, monkeypatch):
    import botocore.auth

    real = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda *given: real(*given) - timedelta(hours=3)
    )
    with pytest.raises(StoreUnavailable, match="its clock and the one of this machine"):
        s3(swift_bucket).check()


@pytest.mark.objects
class TestAzure(ObjectStoreContract):
    @pytest.fixture
    def objects(self, azurite):
        return azure(azurite)


@pytest.mark.objects
class TestGoogleStorage(ObjectStoreContract):
    @pytest.fixture
    def objects(self, gcs, tmp_path_factory):
        return google(gcs, tmp_path_factory.mktemp("state"))


class TestFsspecInAFolder(ObjectStoreContract):
    @pytest.fixture
    def objects(self, tmp_path_factory):
        return RemoteStore(FsspecFiles(f"file://{tmp_path_factory.mktemp('store')}"))


class TestFsspecInMemory(ObjectStoreContract):
    @pytest.fixture
    def objects(self):
        return RemoteStore(FsspecFiles(f"memory://{uuid.uuid4().hex}"))


@pytest.fixture(scope="module")
def sftp(tmp_path_factory):
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.mark.slow
@pytest.mark.skipif(SSHD is None, reason="no `sshd` is installed")
class TestFsspecOverSftp(ObjectStoreContract):
    """A file system with one connection, which threads may not share, and options that it passes on as they are."""

    @pytest.fixture
    def objects(self, sftp, tmp_path_factory):
        folder = tmp_path_factory.mktemp("store")
        return RemoteStore(FsspecFiles(f"sftp://127.0.0.1{folder}", options=sftp.options))

    def test_many_threads_write_and_read_other_things_at_once(self, objects):
        def work(number):
            content = os.urandom(10_000 * number + 1)
            return objects.read(f"many/{number}", digest=objects.put(f"many/{number}", content)) == content

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(work, range(48)))
        assert len(list(objects.list("many/"))) == 48


@pytest.mark.skipif(SSHD is None, reason="no `sshd` is installed")
def test_a_server_that_was_away_is_connected_to_again(tmp_path):
    (tmp_path / "store").mkdir()
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    with sftp_server(tmp_path / "before") as server:
        store = RemoteStore(FsspecFiles(f"sftp://127.0.0.1{tmp_path}/store", options=server.options))
        store.put("thing", b"kept")
        for each in children(os.getpid()):
            for session in children(each):
                os.kill(session, 9)
        assert store.read("thing") == b"kept"


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(each) for each in file.read().split()]


@pytest.mark.skipif(SSHD is None, reason="no `sshd` is installed")
def test_what_is_wrong_with_a_server_is_told_apart(tmp_path):
    with sftp_server(tmp_path) as server:
        url = f"sftp://127.0.0.1{tmp_path}/store"
        stranger = {**server.options, "username": "nobody"}
        with pytest.raises(StoreUnavailable, match="does not accept the credentials"):
            RemoteStore(FsspecFiles(url, options=stranger)).put("thing", b"x")
    for nowhere in (url, "sftp://no-such-host.invalid/store"):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            RemoteStore(FsspecFiles(nowhere, options=server.options)).put("thing", b"x")
