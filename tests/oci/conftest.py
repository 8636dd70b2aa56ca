"""Clients of the services' registries, which try again soon, and blobs of a few bytes."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import pytest

from tilth.oci.descriptors import CONFIG, LAYER, MANIFEST, Descriptor, Manifest, digest_of, encode
from tilth.oci.patience import Patience
from tilth.oci.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broken_registry import BrokenRegistry
    from tests.services import RegistryService

QUICK = Patience(tries=4, first_wait_s=0.02, connect_s=60, silence_s=60)


@dataclass(frozen=True)
class Blob:
    """Bytes nobody else has."""

    content: bytes

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=LAYER, digest=digest_of(self.content), size=len(self.content))

    def open(self) -> IO[bytes]:
        return io.BytesIO(self.content)


def new_blob(size: int = 1000) -> Blob:
    return Blob(os.urandom(size))


def push_image(registry: Registry, repository: str, tag: str, *blobs: Blob) -> tuple[bytes, str]:
    """An image of some layers; gives its manifest and digest."""
    config = Blob(b'{"config": {}}')
    for blob in (config, *blobs):
        registry.push_blob(repository, blob.descriptor, blob.open)
    described = Descriptor(media_type=CONFIG, digest=config.descriptor.digest, size=config.descriptor.size)
    manifest = encode(Manifest(config=described, layers=tuple(blob.descriptor for blob in blobs)))
    return manifest, registry.put_manifest(repository, tag, manifest, MANIFEST)


@pytest.fixture
def plain(registry_plain: RegistryService) -> Iterator[Registry]:
    registry = Registry(registry_plain.host, patience=QUICK)
    yield registry
    registry.close()


@pytest.fixture
def broken(broken_registry: BrokenRegistry) -> Iterator[Registry]:
    """Speaks to the plain registry through what breaks."""
    registry = Registry(broken_registry.host, patience=QUICK)
    yield registry
    registry.close()


@pytest.fixture
def repository(registry_plain: RegistryService) -> str:
    return registry_plain.repository(f"oci-{os.urandom(6).hex()}")
