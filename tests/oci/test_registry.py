from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.oci.conftest import Blob, new_blob, push_image

from tilth.errors import ImageBroken, ImageNotFound
from tilth.oci.blobs import BlobStore
from tilth.oci.credentials import FixedCredentials, Login
from tilth.oci.descriptors import EMPTY, LAYER, MANIFEST, Descriptor, Manifest, encode
from tilth.oci.registry import Registry

if TYPE_CHECKING:
    from tests.services import RegistryService


def test_a_blob_goes_in_and_comes_out(plain: Registry, repository: str, tmp_path) -> None:
    blob = new_blob(3_000_000)
    taken: list[int] = []
    assert not plain.has_blob(repository, blob.descriptor.digest)
    assert plain.push_blob(repository, blob.descriptor, blob.open, taken.append) == 3_000_000
    assert plain.has_blob(repository, blob.descriptor.digest)
    assert sum(taken) == 3_000_000
    store = BlobStore(tmp_path)
    assert plain.fetch_blob(repository, blob.descriptor, store) == 3_000_000
    assert store.read(blob.descriptor.digest) == blob.content
    assert plain.fetch_blob(repository, blob.descriptor, store) == 0


def test_a_blob_without_bytes_goes_through_too(plain: Registry, repository: str, tmp_path) -> None:
    blob = Blob(b"")
    plain.push_blob(repository, blob.descriptor, blob.open)
    plain.fetch_blob(repository, blob.descriptor, BlobStore(tmp_path))
    assert BlobStore(tmp_path).read(blob.descriptor.digest) == b""


def test_an_image_that_is_there_costs_one_head(plain: Registry, repository: str) -> None:
    manifest, digest = push_image(plain, repository, "v1", new_blob())
    asking = Registry(plain.host)
    found = asking.head_manifest(repository, "v1")
    assert found == Descriptor(media_type=MANIFEST, digest=digest, size=len(manifest))
    assert asking.sent.by_method == {"HEAD": 1}


def test_what_is_not_there_is_none_or_named(plain: Registry, repository: str) -> None:
    assert plain.head_manifest(repository, "none") is None
    with pytest.raises(ImageNotFound, match=f"`{repository}:none`"):
        plain.get_manifest(repository, "none")
    with pytest.raises(ImageNotFound):
        plain.tags(repository)
    with pytest.raises(ImageNotFound):
        plain.read_blob(repository, "sha256:" + "0" * 64)


def test_a_manifest_is_read_by_tag_and_by_digest(plain: Registry, repository: str) -> None:
    manifest, digest = push_image(plain, repository, "v1", new_blob())
    for reference in ("v1", digest):
        content, descriptor = plain.get_manifest(repository, reference)
        assert content == manifest
        assert descriptor.digest == digest


def test_a_manifest_whose_blobs_are_not_there_is_refused(plain: Registry, repository: str) -> None:
    manifest = encode(Manifest(config=new_blob().descriptor, layers=(new_blob().descriptor,)))
    with pytest.raises(ImageNotFound) as caught:
        plain.put_manifest(repository, "v1", manifest, MANIFEST)
    assert "BLOB_UNKNOWN" in caught.value.why


def test_a_blob_is_mounted_from_another_repository(plain: Registry, repository: str) -> None:
    blob = new_blob(100_000)
    plain.push_blob(repository, blob.descriptor, blob.open)
    sent = plain.sent.bytes
    assert plain.mount_blob(f"{repository}-b", blob.descriptor.digest, repository)
    assert plain.has_blob(f"{repository}-b", blob.descriptor.digest)
    assert plain.sent.bytes == sent


def test_a_mount_of_what_is_not_there_is_followed_by_its_upload(plain: Registry, repository: str) -> None:
    blob = new_blob()
    assert not plain.mount_blob(repository, blob.descriptor.digest, f"{repository}-none")
    posts = plain.sent.by_method["POST"]
    assert plain.push_blob(repository, blob.descriptor, blob.open) == 1000
    assert plain.sent.by_method["POST"] == posts  # the upload that the mount began was used


def test_a_blob_is_copied_between_registries(
    plain: Registry, repository: str, registry_tls: RegistryService, tmp_path
) -> None:
    blob = new_blob(2_000_000)
    plain.push_blob(repository, blob.descriptor, blob.open)
    other = Registry(registry_tls.host, ca=registry_tls.ca)
    assert other.copy_blob("copied/" + repository, blob.descriptor, plain, repository) == 2_000_000
    assert other.read_blob("copied/" + repository, blob.descriptor.digest) == blob.content


def test_bytes_that_are_not_of_their_digest_are_refused(plain: Registry, repository: str) -> None:
    blob, other = new_blob(), new_blob()
    with pytest.raises(ImageBroken, match="other bytes than their digest"):
        plain.push_blob(repository, blob.descriptor, other.open)
    assert not plain.has_blob(repository, blob.descriptor.digest)


def test_a_blob_that_is_too_short_here_is_told(plain: Registry, repository: str) -> None:
    blob = new_blob()
    longer = Descriptor(media_type=LAYER, digest=blob.descriptor.digest, size=2000)
    with pytest.raises(ImageBroken, match="ends too early"):
        plain.push_blob(repository, longer, blob.open)


def test_tags_are_listed_and_a_manifest_deleted(plain: Registry, repository: str) -> None:
    _, digest = push_image(plain, repository, "v1", new_blob())
    push_image(plain, repository, "v2", new_blob())
    assert sorted(plain.tags(repository)) == ["v1", "v2"]
    plain.delete_manifest(repository, digest)
    assert plain.head_manifest(repository, "v1") is None
    with pytest.raises(ImageNotFound):
        plain.delete_manifest(repository, digest)


def test_what_refers_to_an_image_is_kept_by_tag_where_there_is_no_api(
    plain: Registry, repository: str
) -> None:
    manifest, digest = push_image(plain, repository, "v1", new_blob())
    assert plain.referrers(repository, digest).manifests == ()
    empty = Blob(b"{}")
    plain.push_blob(repository, empty.descriptor, empty.open)
    subject = Descriptor(media_type=MANIFEST, digest=digest, size=len(manifest))
    config = Descriptor(media_type=EMPTY, digest=empty.descriptor.digest, size=2)
    put = [
        plain.put_referrer(
            repository, encode(Manifest(artifact_type=kind, config=config, layers=(config,), subject=subject))
        )
        for kind in ("application/vnd.one", "application/vnd.two", "application/vnd.two")
    ]
    assert [each.digest for each in plain.referrers(repository, digest).manifests] == [
        put[0].digest,
        put[1].digest,
    ]
    (two,) = plain.referrers(repository, digest, "application/vnd.two").manifests
    assert two == put[1]


def test_a_digest_that_cannot_be_held_to_is_refused(plain: Registry, repository: str, tmp_path) -> None:
    for digest in ("sha512:" + "a" * 128, "../../etc", "sha256:short"):
        with pytest.raises(ImageBroken, match="not a digest"):
            plain.has_blob(repository, digest)


def test_many_threads_push_at_once(registry_token: RegistryService) -> None:
    service = registry_token
    login = FixedCredentials.one(service.host, Login(service.user, service.password))
    registry = Registry(service.host, ca=service.ca, credentials=login)
    blobs = [new_blob(200_000) for _ in range(24)]
    repository = service.repository("threads")
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda blob: registry.push_blob(repository, blob.descriptor, blob.open), blobs))
    assert sum(sent) == registry.sent.bytes == 24 * 200_000
    assert all(registry.has_blob(repository, blob.descriptor.digest) for blob in blobs)
    registry.close()


def test_httpx_is_imported_by_many_threads_at_once_and_without_its_command_line() -> None:
    script = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from tilth.oci.connections import load_httpx
with ThreadPoolExecutor(8) as pool:
    whole = [hasattr(each, "Client") for each in pool.map(lambda _: load_httpx(), range(8))]
print(json.dumps({"whole": whole, "loaded": sorted({"httpx._main", "rich", "click"} & set(sys.modules))}))
"""
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert json.loads(ended.stdout) == {"whole": [True] * 8, "loaded": []}
