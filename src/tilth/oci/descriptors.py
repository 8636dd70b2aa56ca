"""Descriptors, manifests and indexes, and the one encoding they have here: equal content is equal bytes.

Source: OCI image specification 1.1, https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What is known of a blob without reading it."""

    media_type: str
    digest: str  # `sha256:…`
    size: int  # bytes
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    platform: dict[str, Any] | None = None  # in an index: `{"architecture": "amd64", "os": "linux"}`


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One image for one platform, or an artifact that refers to one."""

    schema_version: int = 2
    media_type: str = MANIFEST
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None  # what it is about, for an artifact
    annotations: dict[str, str] = {}


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Manifests by platform, or those that refer to one."""

    schema_version: int = 2
    media_type: str = INDEX
    manifests: tuple[Descriptor, ...] = ()
    annotations: dict[str, str] = {}


def digest_of(content: bytes) -> str:
    """`sha256:…` of bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encode(document: Manifest | Index | dict[str, Any]) -> bytes:
    """The bytes of a document: keys sorted, nothing between them."""
    plain = msgspec.to_builtins(document)
    if isinstance(document, (Manifest, Index)):
        plain["schemaVersion"] = 2  # defaults are left out elsewhere; here the specification asks for it
        plain["mediaType"] = document.media_type
    return msgspec.json.encode(plain, order="sorted")
