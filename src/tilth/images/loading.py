"""Bring an image into an engine of this machine, or into a file or folder, without a registry."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.environments.files import explaining_full_disk, scratch
from tilth.errors import EngineUnavailable, ImageBroken, ImageNotFound, NotFound
from tilth.images.engines import MOVING_S, Engine, containerd
from tilth.images.inspecting import layer_source
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import MANIFEST, Descriptor, Manifest, digest_of
from tilth.oci.layouts import Layout, docker_archive, write_tar
from tilth.oci.references import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tilth.home import Home
    from tilth.images.making import Image, ImageLayer
    from tilth.oci.registry import Registry

    Remake = Callable[[ImageLayer], None]  # makes a layer again whose blob is lost or broken


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What loading an image did."""

    id: str  # of the image in the engine: the digest of its config
    digest: str  # of its manifest
    names: tuple[str, ...] = ()
    bytes: int = 0  # of layers that were handed over
    reused: int = 0  # layers that were there
    seconds: float = 0.0


def load_image(
    image: Image,
    home: Home,
    registries: Callable[[str], Registry],
    *,
    engine: Engine | None = None,
    names: Iterable[str] = (),
    remake: Remake | None = None,
) -> Loaded:
    """Bring an image into Docker or Podman. Docker is given only the layers that it does not have.

    Args:
        registries: Gives the client of a host, for layers of the base that nobody here has.
        names: What it is to be called there, as `REPOSITORY:TAG`.
        remake: Makes a layer again whose blob is lost or broken.

    Raises:
        EngineUnavailable: There is no engine, or it refuses.
    """
    engine = engine or Engine()
    began = time.monotonic()
    wanted = tuple(names)
    identity = digest_of(image.config)
    if engine.has(identity):
        for name in wanted:
            engine.run("tag", identity, name)
        return Loaded(
            id=identity,
            digest=image.digest,
            names=wanted,
            reused=len(image.layers),
            seconds=time.monotonic() - began,
        )
    there = 0 if engine.kind == "podman" else shared_layers(_diff_ids(image), engine.chains())
    try:
        handed = _hand_over(image, home, registries, engine, wanted, there, remake)
    except EngineUnavailable as error:
        if not there or "no such file" not in error.why:
            raise
        there = 0  # an image was removed meanwhile, and layers with it
        handed = _hand_over(image, home, registries, engine, wanted, there, remake)
    return Loaded(
        id=identity,
        digest=image.digest,
        names=wanted,
        bytes=handed,
        reused=there,
        seconds=time.monotonic() - began,
    )


def load_containerd(
    image: Image,
    home: Home,
    registries: Callable[[str], Registry],
    *,
    name: str,
    namespace: str = "",
    command: str = "ctr",
    address: str = "",
    needed_for: str = "loading an image into containerd",
    remake: Remake | None = None,
) -> Loaded:
    """Bring an image into containerd by its command line.

    Args:
        name: What it is called there: with registry and tag.
        namespace, address: See `engines.containerd`.

    Raises:
        EngineUnavailable: There is no containerd, or it refuses.
    """
    began = time.monotonic()
    ask = functools.partial(
        containerd, needed_for=needed_for, command=command, address=address, namespace=namespace
    )
    ask("version")  # before a large file is written
    with scratch(home.images) as folder:
        handed = write_layout(image, folder / "image.tar", home, registries, name=name, remake=remake)
        ask("images", "import", str(folder / "image.tar"), timeout_s=MOVING_S)
    return Loaded(
        id=digest_of(image.config),
        digest=image.digest,
        names=(name,),
        bytes=handed,
        seconds=time.monotonic() - began,
    )


def write_layout(
    image: Image,
    path: Path,
    home: Home,
    registries: Callable[[str], Registry],
    *,
    name: str = "",
    remake: Remake | None = None,
) -> int:
    """Write an image as an OCI layout: one file when the path ends in `.tar`, else into a folder beside others.

    Args:
        name: What it is called in the index.

    Returns:
        Bytes of blobs that were not there.
    """
    if path.suffix == ".tar":
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch(path.parent) as folder:
            written = write_layout(image, folder / "layout", home, registries, name=name, remake=remake)
            write_tar(Layout(folder / "layout"), path)
        return written
    layout = Layout(path)
    layout.make()
    store = BlobStore(home.images)
    store.put(image.config)
    store.put(image.manifest)
    written = 0
    for layer in image.layers:
        if not layout.path.joinpath("blobs", "sha256", layer.descriptor.digest[7:]).exists():
            _fetch(image, layer, home, registries, remake)
            written += layout.put(layer.descriptor.digest, store)
    for content in (image.config, image.manifest):
        written += layout.put(digest_of(content), store)
    manifest = msgspec.json.decode(image.manifest, type=Manifest)
    layout.add(
        Descriptor(
            media_type=manifest.media_type or MANIFEST,
            digest=image.digest,
            size=len(image.manifest),
            platform=_platform(image),
        ),
        name,
    )
    return written


def shared_layers(diff_ids: list[str], chains: Iterable[tuple[str, ...]]) -> int:
    """How many of an image's lowest layers an engine has, that has images of these layers."""
    most = 0
    for chain in chains:
        same = 0
        for mine, theirs in zip(diff_ids, chain, strict=False):
            if mine != theirs:
                break
            same += 1
        most = max(most, same)
    return most


def _hand_over(
    image: Image,
    home: Home,
    registries: Callable[[str], Registry],
    engine: Engine,
    names: tuple[str, ...],
    there: int,
    remake: Remake | None,
) -> int:
    store = BlobStore(home.images)
    for layer in image.layers[there:]:
        _fetch(image, layer, home, registries, remake)
    # The same content may come again above, where it is wanted.
    above = {each.descriptor.digest for each in image.layers[there:]}
    leave_out = [
        each.descriptor.digest for each in image.layers[:there] if each.descriptor.digest not in above
    ]
    with explaining_full_disk("the image", home.images), scratch(home.images) as folder:
        store.put(image.config)
        archive = folder / "image.tar"
        handed = docker_archive(archive, image.manifest, store.path, names=names, leave_out=leave_out)
        engine.run("load", "--input", str(archive), timeout_s=MOVING_S)
    return handed


def _fetch(
    image: Image,
    layer: ImageLayer,
    home: Home,
    registries: Callable[[str], Registry],
    remake: Remake | None,
) -> None:
    """Have a layer on this machine, with the bytes of its digest: engines say little of one that is broken."""
    store, digest = BlobStore(home.images), layer.descriptor.digest
    if store.has(digest):
        if store.verify(digest):
            return
        store.remove(digest)
    base = image.base
    if base is None or all(each.descriptor.digest != digest for each in base.layers):
        if remake is not None:
            remake(layer)
        if not store.has(digest):
            raise NotFound(
                f"the layer `{layer.title}` of the image is not on this machine, or was broken",
                mend="build the image again",
            )
        return
    kind, _, where = base.place(digest).partition(":")
    if kind == "registry":
        reference = parse(where)
        with explaining_full_disk("the base image", home.images):
            registries(reference.registry).fetch_blob(reference.repository, layer.descriptor, store)
        return
    layout = layer_source(base, home)
    if layout is None:
        raise ImageNotFound(
            f"the layers of the base image `{base.reference}` cannot be had",
            why=f"they are in `{base.source}`, which gives none out",
            mend=f"name it as `{base.reference}` again, to take it over",
        )
    with explaining_full_disk("the base image", home.images):
        layout.fetch(layer.descriptor, store)


def _diff_ids(image: Image) -> list[str]:
    return [each.diff_id for each in image.layers]


def _platform(image: Image) -> dict[str, Any]:
    try:
        config: dict[str, Any] = msgspec.json.decode(image.config)
    except msgspec.DecodeError as error:
        raise ImageBroken("the config of the image cannot be read", why=str(error)) from error
    return {name: config[name] for name in ("architecture", "os", "variant") if config.get(name)}
