"""The images that environments stand on: what they consist of, and what their Python is."""

from __future__ import annotations

from typing import Any

import msgspec

from tilth.oci import descriptors
from tilth.oci.descriptors import Descriptor

_OCI_TYPES = {
    descriptors.DOCKER_LAYER_GZIP: descriptors.LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": descriptors.LAYER_ZSTD,
    "application/vnd.docker.image.rootfs.diff.tar": descriptors.LAYER,
}


class BaseLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a base."""

    descriptor: Descriptor
    diff_id: str  # digest of the layer's uncompressed tar
    source: str = ""  # where its blob is, as `Base.source` says, when that is not where the base is


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A base image for one platform.

    `source` says where its blobs are: `registry:HOST/REPOSITORY`, `layout:PATH`, or `engine:docker`.

    `identity` is the digest of its config, which names the contents of all layers and how the image is run: the same
    in an engine, a registry and an archive, however the layers are compressed there. Environments stand on that.
    """

    reference: str  # as it was asked for
    source: str
    digest: str  # of the manifest for the platform; of the config, where it lies in an engine
    identity: str
    os: str  # `linux`
    architecture: str  # as images have it: `amd64`, `arm64`
    variant: str = ""
    layers: tuple[BaseLayer, ...]
    config: dict[str, Any]  # `config` of its config blob: Env, User, WorkingDir, Entrypoint, Labels…
    history: tuple[dict[str, Any], ...] = ()
    created: str = ""
    python: str  # path of its interpreter in the image, links followed: `/usr/bin/python3.11`
    version: str  # of that: `3.11.2`
    libc: str  # `glibc 2.36`, `musl 1.2`

    @property
    def platform(self) -> str:
        """As images have it: `linux/amd64`."""
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def title(self) -> str:
        """What people are told of it: its name, and of one that was built here not where that lies."""
        name = self.reference.rpartition(":")[2]
        return name if name.startswith("tilth-base-") else self.reference

    def place(self, digest: str) -> str:
        """Where the blob of one of its layers is, as `source` says."""
        own = next((each.source for each in self.layers if each.descriptor.digest == digest), "")
        return own or self.source


def as_oci(descriptor: Descriptor) -> Descriptor:
    """The same bytes by the name that an OCI manifest has for them."""
    return Descriptor(
        media_type=_OCI_TYPES.get(descriptor.media_type, descriptor.media_type),
        digest=descriptor.digest,
        size=descriptor.size,
    )
