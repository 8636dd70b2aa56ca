"""Documents attached to images, read back by tilth and by the registry's own means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.images.handmade import as_base, make_image, noise, registries

from tilth.errors import ImageBroken, ImageNotFound
from tilth.home import Home
from tilth.images.pushing import push_image
from tilth.images.referrers import (
    BUILD,
    LOCK,
    SBOM,
    attach,
    attach_documents,
    build_record,
    list_attached,
    read_attached,
)
from tilth.oci.descriptors import digest_of
from tilth.oci.references import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import RegistryService

    from tilth.images.making import Image
    from tilth.oci.registry import Registry

pytestmark = pytest.mark.registry


@pytest.fixture
def pushed(registry_plain: RegistryService, tmp_path: Path) -> tuple[Registry, str, Image]:
    home, clients = Home(tmp_path / "home"), registries()
    image = make_image(home, {"a": noise(100)})
    repository = registry_plain.repository(f"documents-{image.digest[7:19]}")
    push_image(image, Reference(registry_plain.host, repository, "it"), clients, home)
    return clients(registry_plain.host), repository, image


def test_documents_are_attached_listed_and_read_back(pushed: tuple[Registry, str, Image]) -> None:
    registry, repository, image = pushed
    record = build_record(image, "sha256:e", {"requirements": ["numpy"]})
    attached = attach_documents(
        registry,
        repository,
        image.digest,
        sbom='{"bomFormat": "CycloneDX"}',
        lock="lock-version = '1.0'",
        build=record,
    )
    assert [each.artifact_type for each in attached] == [SBOM, LOCK, BUILD]
    listed = list_attached(registry, repository, image.digest)
    assert {each.artifact_type: each.name for each in listed} == {
        SBOM: "sbom.cdx.json",
        LOCK: "pylock.toml",
        BUILD: "build.json",
    }
    assert read_attached(registry, repository, image.digest, SBOM) == b'{"bomFormat": "CycloneDX"}'
    assert read_attached(registry, repository, image.digest, LOCK) == b"lock-version = '1.0'"
    assert read_attached(registry, repository, image.digest, BUILD) == record
    assert [each.artifact_type for each in list_attached(registry, repository, image.digest, LOCK)] == [LOCK]


def test_the_image_itself_is_not_changed_by_what_is_attached(pushed: tuple[Registry, str, Image]) -> None:
    registry, repository, image = pushed
    attach_documents(registry, repository, image.digest, lock="a")
    found = registry.head_manifest(repository, "it")
    assert found is not None
    assert found.digest == image.digest


def test_attaching_the_same_again_sends_nothing(pushed: tuple[Registry, str, Image]) -> None:
    registry, repository, image = pushed
    first = attach_documents(registry, repository, image.digest, lock="a")
    sent = registry.sent.bytes
    assert attach_documents(registry, repository, image.digest, lock="a") == first
    assert registry.sent.bytes == sent
    assert len(list_attached(registry, repository, image.digest)) == 1


def test_two_that_differ_are_told_apart(pushed: tuple[Registry, str, Image]) -> None:
    registry, repository, image = pushed
    subject = registry.head_manifest(repository, image.digest)
    assert subject is not None
    for content in (b"one", b"two"):
        attach(registry, repository, subject, LOCK, content, annotations={"of": content.decode()})
    with pytest.raises(ImageBroken, match="2 documents"):
        read_attached(registry, repository, image.digest, LOCK)
    listed = list_attached(registry, repository, image.digest, LOCK)
    assert {each.annotations["of"] for each in listed} == {"one", "two"}


def test_what_is_not_there_is_an_error_that_names_it(pushed: tuple[Registry, str, Image]) -> None:
    registry, repository, image = pushed
    with pytest.raises(ImageNotFound, match="nothing of the type"):
        read_attached(registry, repository, image.digest, SBOM)
    with pytest.raises(ImageNotFound, match="to attach documents to"):
        attach_documents(registry, repository, digest_of(b"no image"), lock="a")


def test_equal_builds_have_equal_records(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    below = make_image(home, {"base": b"base"})
    image = make_image(home, {"own": b"own"}, base=as_base(below, "registry:h/r"))
    record = build_record(image, "sha256:e", {"b": 1, "a": [2]})
    assert record == build_record(image, "sha256:e", {"a": [2], "b": 1})
    told = json.loads(record)
    assert told["base"]["digest"] == below.digest
    assert [each["title"] for each in told["layers"]] == ["base", "layer 0"]
    assert str(tmp_path) not in record.decode()
