"""The promises of object stores, against a folder and real servers."""

from __future__ import annotations

import uuid

import pytest
from tests.services import S3 as Server, own_name, started

from tilth.artifact_stores.azure import AzureBlobs
from tilth.artifact_stores.folder import FolderStore
from tilth.artifact_stores.fsspec_url import FsspecFiles
from tilth.artifact_stores.gcs import GoogleStorage
from tilth.artifact_stores.remote import RemoteStore
from tilth.artifact_stores.s3 import S3
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
