"""What object stores do when something breaks: connections, processes, disks, credentials."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from tests.artifact_stores.test_objects import azure, google, s3
from tests.broken_registry import BrokenRegistry

from tilth.artifact_stores import LocalArtifactStore
from tilth.artifact_stores.cached import CachedArtifactStore
from tilth.artifact_stores.flavors import open_objects
from tilth.artifact_stores.folder import FolderStore
from tilth.artifact_stores.parts import PART
from tilth.errors import (
    DefinitionError,
    DiskFull,
    LoadError,
    SetupError,
    StoreUnavailable,
    TilthError,
    UnknownOption,
)
from tilth.home import Home
from tilth.materializers.artifacts import save_artifact
from tilth.testing.object_store import sha256

LARGE = 6 * PART + 4321

UPLOADER = """
import sys
from pathlib import Path
from tests.artifact_stores.test_faults import opened
opened(sys.argv[1], Path(sys.argv[3])).put("large", Path(sys.argv[2]))
"""


def opened(told: str, state: Path):
    """The store that `told` describes, in whatever process."""
    kind, *facts = told.split("|")
    from tilth.artifact_stores.azure import AzureBlobs
    from tilth.artifact_stores.gcs import GoogleStorage
    from tilth.artifact_stores.remote import RemoteStore
    from tilth.artifact_stores.s3 import S3

    if kind == "s3":
        endpoint, bucket, prefix, key, secret = facts
        return RemoteStore(S3(bucket, prefix=prefix, endpoint=endpoint, key=key, secret=secret))
    if kind == "azure":
        endpoint, container, prefix, account, key = facts
        return RemoteStore(AzureBlobs(container, prefix=prefix, endpoint=endpoint, account=account, key=key))
    endpoint, bucket, prefix = facts
    return RemoteStore(GoogleStorage(bucket, prefix=prefix, endpoint=endpoint, state=state))


@pytest.fixture(params=["s3", "azure", "gcs"])
def between(request):
    """A server with a proxy before it that breaks as it is told, and how the store there is opened."""
    prefix = uuid.uuid4().hex
    if request.param == "s3":
        moto = request.getfixturevalue("moto")
        with BrokenRegistry(moto.url.removeprefix("http://")) as broken:
            yield broken, f"s3|{broken.url}|{moto.bucket}|{prefix}|{moto.access_key}|{moto.secret_key}"
    elif request.param == "azure":
        azurite = request.getfixturevalue("azurite")
        host, account = azurite.url.removeprefix("http://").split("/")
        with BrokenRegistry(host) as broken:
            yield broken, f"azure|{broken.url}/{account}|{azurite.container}|{prefix}|{account}|{azurite.key}"
    else:
        gcs = request.getfixturevalue("gcs")
        with BrokenRegistry(gcs.url.removeprefix("http://")) as broken:
            yield broken, f"gcs|{broken.url}|{gcs.bucket}|{prefix}"


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(LARGE))
    return path


def uploads(broken, since=0):
    return sum(each.received for each in broken.requests[since:])


@pytest.mark.objects
@pytest.mark.faults
def test_a_connection_cut_in_a_part_costs_that_part_alone(between, large, tmp_path):
    broken, told = between
    broken.rule("PUT", "", cut_request_at=PART // 2, skip=2)
    store = opened(told, tmp_path / "state")
    digest = store.put("large", large)
    assert LARGE < uploads(broken) < LARGE + 2 * PART
    store.get("large", tmp_path / "here", digest=digest)
    assert (tmp_path / "here").read_bytes() == large.read_bytes()


@pytest.mark.objects
@pytest.mark.faults
def test_an_upload_by_a_process_that_was_killed_is_continued_by_another(between, large, tmp_path):
    broken, told = between
    if told.startswith("gcs"):
        pytest.skip("fake-gcs-server takes the question how much it has for the end of the upload")
    broken.rule("PUT", "", skip=2, delay_s=600, times=1000)
    state = tmp_path / "state"
    root = Path(__file__).parents[2]
    first = subprocess.Popen([sys.executable, "-c", UPLOADER, told, large, state], cwd=root)
    deadline = time.monotonic() + 180
    while (
        sum(each.received >= PART and each.status in (200, 201, 308) for each in broken.requests) < 2
    ):  # two parts are there as a whole
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    store = opened(told, state)
    assert store.find("large") is None
    before = len(broken.requests)
    broken.heal()
    digest = store.put("large", large)
    assert uploads(broken, before) < LARGE - 2 * PART + (1 << 16)  # with the list of the parts
    store.get("large", tmp_path / "here", digest=digest)


@pytest.mark.objects
@pytest.mark.faults
@pytest.mark.parametrize(
    ("broken_off", "whole"),
    [(range(2 * PART, LARGE), 2), (range(PART), 3)],
    ids=["before the parts that fail", "after the part that fails"],
)
def test_what_was_brought_before_a_break_is_not_brought_again(between, large, tmp_path, broken_off, whole):
    broken, told = between
    (tmp_path / "here").mkdir()
    store = opened(told, tmp_path / "state")
    digest = store.put("large", large)
    rule = broken.rule("GET", "", begins=broken_off, cut_response_at=PART // 2, times=100)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.get("large", tmp_path / "here" / "large", digest=digest)
    assert rule.used
    assert not (tmp_path / "here" / "large").exists()
    broken.heal()
    middle = len(broken.requests)
    opened(told, tmp_path / "state").get("large", tmp_path / "here" / "large", digest=digest)
    brought = sum(each.sent for each in broken.requests[middle:] if each.begins is not None)
    assert brought <= LARGE - whole * PART
    assert sha256((tmp_path / "here" / "large").read_bytes()) == digest
    assert [each.name for each in (tmp_path / "here").iterdir()] == ["large"]


@pytest.mark.objects
@pytest.mark.faults
def test_a_connection_cut_in_an_answer_is_made_again(between, large, tmp_path):
    broken, told = between
    store = opened(told, tmp_path / "state")
    digest = store.put("large", large)
    broken.rule("GET", "", cut_response_at=PART // 2, skip=1, times=2)
    store.get("large", tmp_path / "here", digest=digest)


@pytest.mark.objects
@pytest.mark.faults
def test_the_address_of_an_upload_outlives_a_server_that_fails(gcs, large, tmp_path):
    with BrokenRegistry(gcs.url.removeprefix("http://")) as broken:
        store = opened(f"gcs|{broken.url}|{gcs.bucket}|{uuid.uuid4().hex}", tmp_path / "state")
        broken.rule("PUT", "", status=503, skip=1, times=100)
        with pytest.raises(StoreUnavailable, match="too busy"):
            store.put("large", large)
        assert len(list((tmp_path / "state").iterdir())) == 1
        broken.heal()
        store.put("large", large)
        assert not list((tmp_path / "state").iterdir())


@pytest.mark.objects
@pytest.mark.faults
def test_a_byte_that_changes_on_its_way_is_noticed(between, large, tmp_path):
    broken, told = between
    store = opened(told, tmp_path / "state")
    digest = sha256(large.read_bytes())
    flipped = broken.rule("PUT", "", flip_request_at=1000)
    # Sent again by the library, or told; never kept.
    try:
        store.put("large", large)
    except StoreUnavailable:
        assert store.find("large") is None
    else:
        assert sha256(store.read("large")) == digest
    assert flipped.used == 1
    broken.heal()
    store.put("large", large)
    broken.rule("GET", "", flip_response_at=1000, skip=1 if told.startswith("gcs") else 0)
    with pytest.raises(LoadError, match="damaged"):
        store.get("large", tmp_path / "here", digest=digest)
    assert not (tmp_path / "here").exists()
    store.get("large", tmp_path / "here", digest=digest)


@pytest.mark.objects
@pytest.mark.faults
def test_a_disk_that_is_full_is_told_and_what_came_is_continued(moto, mount, tmp_path):
    store = s3(moto)
    (tmp_path / "large").write_bytes(os.urandom(LARGE))
    digest = store.put("large", tmp_path / "large")
    small = mount("-o", "size=20m")
    with pytest.raises(DiskFull, match="no space left to bring `large`"):
        store.get("large", small / "here", digest=digest)
    assert not (small / "here").exists()
    subprocess.run(["mount", "-o", "remount,size=80m", small], check=True)
    store.get("large", small / "here", digest=digest)
    assert sha256((small / "here").read_bytes()) == digest


@pytest.mark.faults
def test_a_store_in_a_folder_that_is_full_keeps_no_half(mount):
    store = FolderStore(mount("-o", "size=1m") / "objects")
    with pytest.raises(DiskFull, match="no space left in the artifact store"):
        store.put("large", bytes(2 << 20))
    assert list(store.list()) == []
    store.put("small", b"x")


@pytest.mark.faults
def test_a_store_whose_disk_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreUnavailable, match="is not there"):
        FolderStore(tmp_path / "not mounted" / "objects").find("thing")


@pytest.mark.objects
@pytest.mark.slow
def test_wrong_credentials_no_bucket_and_no_network_are_told_apart_and_show_no_secret(
    moto_signed, azurite, gcs, tmp_path
):
    secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    nowhere = "http://127.0.0.1:9"
    cases = [
        (s3(moto_signed, secret=secret), "does not accept the credentials", "SignatureDoesNotMatch"),
        (s3(moto_signed, key="AKIANOBODY"), "does not accept the credentials", "InvalidAccessKeyId"),
        (s3(moto_signed, bucket="no-such-bucket-of-ours"), "no such bucket", "NoSuchBucket"),
        (s3(moto_signed, endpoint=nowhere), "cannot be reached", "127.0.0.1:9"),
        (azure(azurite, key=secret), "does not accept the credentials", "failed to authenticate"),
        (azure(azurite, container="no-such-container"), "no such bucket", "ContainerNotFound"),
        (azure(azurite, endpoint=f"{nowhere}/devstoreaccount1"), "cannot be reached", "refused"),
        (google(gcs, tmp_path, bucket="no-such-bucket-of-ours"), "no such bucket", "404"),
        (google(gcs, tmp_path, endpoint=nowhere), "cannot be reached", "127.0.0.1"),
    ]
    for store, what, said in cases:
        asks = [
            store.check,
            lambda store=store: store.read("nothing"),
            lambda store=store: list(store.list()),
        ]
        for ask in asks[:1] if what == "cannot be reached" else asks:  # those are tried for seconds
            with pytest.raises(StoreUnavailable) as told:
                ask()
            text = str(told.value)
            assert what in text, text
            assert said in text or ask is not asks[0], text
            assert store.where in text
            assert told.value.mend
            assert secret not in text
            assert (moto_signed.secret_key in text, azurite.key in text) == (False, False)


@pytest.mark.objects
def test_an_object_that_was_damaged_at_the_provider_is_refused(moto, tmp_path):
    import boto3

    store = s3(moto, prefix="damaged")
    digest = store.put("thing", b"as it was")
    client = boto3.client(
        "s3",
        endpoint_url=moto.url,
        region_name=moto.region,
        aws_access_key_id=moto.access_key,
        aws_secret_access_key=moto.secret_key,
    )
    client.put_object(
        Bucket=moto.bucket,
        Key="damaged/thing",
        Body=b"as it isn't",
        Metadata={"sha256": digest.removeprefix("sha256:")},
    )
    with pytest.raises(LoadError, match="damaged"):
        store.read("thing")  # nobody said what it has to be: the store keeps that
    with pytest.raises(LoadError, match="damaged"):
        store.get("thing", tmp_path / "here")


@pytest.mark.faults
def test_an_artifact_whose_bringing_was_killed_is_continued(tmp_path):
    objects = FolderStore(tmp_path / "objects")
    here = CachedArtifactStore(LocalArtifactStore(tmp_path / "a"), objects)
    value = tmp_path / "value"
    value.mkdir()
    for n in range(40):
        (value / str(n)).write_bytes(os.urandom(200_000))
    (tmp_path / "made").mkdir()
    digest = save_artifact(value, tmp_path / "made")["digest"]
    here.adopt(tmp_path / "made", digest)
    here.sync(digest)
    script = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from tilth.artifact_stores import LocalArtifactStore\n"
        "from tilth.artifact_stores.cached import CachedArtifactStore\n"
        "from tilth.artifact_stores.folder import FolderStore\n"
        "class Deadly(FolderStore):\n"
        "    count = 0\n"
        "    def get(self, *a, **k):\n"
        "        super().get(*a, **k); Deadly.count += 1\n"
        "        if Deadly.count == 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "CachedArtifactStore(LocalArtifactStore(Path(sys.argv[1])), Deadly(Path(sys.argv[2]))).path(sys.argv[3])\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "b", tmp_path / "objects", digest], check=False
    )
    assert died.returncode == -signal.SIGKILL

    class Counted(FolderStore):
        got = 0

        def get(self, key, target, *, digest=""):
            Counted.got += 1
            super().get(key, target, digest=digest)

    there = CachedArtifactStore(LocalArtifactStore(tmp_path / "b"), Counted(tmp_path / "objects"))
    assert not there.is_here(digest)
    place = there.path(digest)
    assert Counted.got <= 20
    assert there.verify(digest) == []
    assert place.is_dir()
    assert not list((tmp_path / "b" / "aside").iterdir())


@pytest.mark.parametrize(
    ("flavor", "settings", "kind", "told"),
    [
        ("s4", {}, UnknownOption, "did you mean `s3`"),
        ("s3", {}, DefinitionError, "missing required field `bucket`"),
        ("s3", {"bucket": "b", "prefx": "p"}, DefinitionError, "did you mean `prefix`"),
        (
            "s3",
            {"bucket": "b", "key": "k", "secret": "hunter2"},
            DefinitionError,
            "`secret` .* is written out",
        ),
        ("s3", {"bucket": ""}, DefinitionError, "`bucket` is empty"),
        ("s3", {"bucket": "b", "endpoint": "127.0.0.1:9"}, DefinitionError, "as `https://HOST`"),
        ("gcs", {"bucket": "b", "endpoint": "127.0.0.1:9"}, DefinitionError, "as `https://HOST`"),
        ("gcs", {"bucket": "b", "service_account": "secret:hunter2"}, DefinitionError, "is not the JSON of"),
        (
            "azure",
            {"container": "c", "account": "a", "key": "hunter2"},
            DefinitionError,
            "`key` .* written out",
        ),
        ("azure", {"container": "c", "key": "secret:K"}, DefinitionError, "which account it is in"),
        (
            "azure",
            {"container": "c", "key": "secret:K", "sas": "secret:S"},
            DefinitionError,
            "no more than one",
        ),
        ("local", {"path": "here"}, DefinitionError, "another folder wherever"),
        ("fsspec", {"url": ""}, DefinitionError, "has to begin with a protocol"),
        ("fsspec", {"url": "sftp://me:hunter2@host/x"}, DefinitionError, "`url` has a password in it"),
        (
            "fsspec",
            {"url": "a://b", "storage_options": {"password": "hunter2"}},
            DefinitionError,
            "`password` in",
        ),
        (
            "fsspec",
            {"url": "a://b", "storage_options": {"x": {"token": "hunter2"}}},
            DefinitionError,
            "`token` in",
        ),
        ("fsspec", {"url": "nosuch://x"}, TilthError, "cannot be opened"),
        ("s3", {"bucket": "b", "profile": "nobody-has-this"}, StoreUnavailable, "no credentials"),
    ],
)
def test_settings_that_are_wrong_are_told(flavor, settings, kind, told, home):
    with pytest.raises(kind, match=f"(?s){told}") as error:
        open_objects(flavor, settings, home=Home(home), reveal=lambda name: name)
    assert "hunter2" not in str(error.value)


def test_what_a_protocol_needs_beside_fsspec_is_told(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "smbprotocol", None)
    monkeypatch.setitem(sys.modules, "smbclient", None)
    with pytest.raises(SetupError, match="beside `fsspec`") as caught:
        open_objects("fsspec", {"url": "smb://host/share"}, home=Home(home), reveal=str)
    assert "smbprotocol" in caught.value.why


def test_a_folder_without_a_path_is_this_machine_alone(home, tmp_path):
    assert open_objects("local", {}, home=Home(home), reveal=str) is None
    opened_ = open_objects("local", {"path": str(tmp_path / "shared")}, home=Home(home), reveal=str)
    assert opened_ is not None
    opened_.check()
