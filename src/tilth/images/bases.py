"""The images that environments stand on: what they consist of, and what their Python is."""

from __future__ import annotations

from typing import Any

import msgspec

from tilth.oci.descriptors import Descriptor  # noqa: TC001 - msgspec reads the annotations


class BaseLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a base."""

    descriptor: Descriptor
    diff_id: str  # digest of the layer's uncompressed tar


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A base image for one platform.

    `source` says where its blobs are: `registry:HOST/REPOSITORY`, `layout:PATH`, or `engine:docker`.
    """

    reference: str  # as it was asked for
    source: str
    digest: str  # of the manifest for the platform; of the config, where it lies in an engine
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
