"""Small images put together by hand, of files that each test chooses."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.images.bases import Base, BaseLayer
from tilth.images.making import Image, ImageLayer
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, Manifest, digest_of, encode
from tilth.oci.layouts import Layout
from tilth.oci.patience import Patience
from tilth.oci.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tilth.home import Home

QUICK = Patience(tries=4, first_wait_s=0.02, connect_s=60, silence_s=60)
DEBIAN = b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n\0"
PYTHON = b"\x7fELF...\0003.11.2\0..."


def registries(**options: Any) -> Callable[[str], Registry]:
    """Clients by host, as a session has them."""
    clients: dict[str, Registry] = {}

    def client(host: str) -> Registry:
        if host not in clients:
            clients[host] = Registry(host, patience=QUICK, **options)
        return clients[host]

    return client


def tar_of(files: Mapping[str, bytes | str | None]) -> bytes:
    """A tar: bytes are files, text is where a link leads (`=PATH` for a hard one), None is a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type = tarfile.LNKTYPE if content.startswith("=") else tarfile.SYMTYPE
                member.linkname = content.removeprefix("=")
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return packed.getvalue()


def put_layer(store: BlobStore, files: Mapping[str, bytes | str | None], title: str = "layer") -> ImageLayer:
    plain = tar_of(files)
    packed = gzip.compress(plain, 1, mtime=0)
    digest = store.put(packed)
    return ImageLayer(
        descriptor=Descriptor(media_type=LAYER_GZIP, digest=digest, size=len(packed)),
        diff_id=digest_of(plain),
        title=title,
    )


def noise(size: int = 20_000) -> bytes:
    """Bytes that nobody has, and that do not get smaller."""
    return os.urandom(size)


def make_image(
    home: Home, *layers: Mapping[str, bytes | str | None], base: Base | None = None, config: Any = None
) -> Image:
    """An image of layers, on a base if there is one."""
    store = BlobStore(home.images)
    below = [
        ImageLayer(descriptor=each.descriptor, diff_id=each.diff_id, title="base")
        for each in (base.layers if base else ())
    ]
    own = [put_layer(store, files, f"layer {number}") for number, files in enumerate(layers)]
    every = [*below, *own]
    settings = {**(base.config if base else {}), **(config or {})}
    content = encode(
        {
            "architecture": base.architecture if base else "amd64",
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in every]},
        }
    )
    described = Descriptor(media_type=CONFIG, digest=store.put(content), size=len(content))
    manifest = encode(Manifest(config=described, layers=tuple(each.descriptor for each in every)))
    return Image(
        digest=store.put(manifest), manifest=manifest, config=content, layers=tuple(every), base=base
    )


def write_layout(folder: Path, image: Image, home: Home, name: str = "") -> Layout:
    """The image as a layout of its own."""
    layout, store = Layout(folder), BlobStore(home.images)
    for each in image.layers:
        layout.put(each.descriptor.digest, store)
    for content in (image.config, image.manifest):
        layout.put(digest_of(content), store)
    layout.add(Descriptor(media_type=MANIFEST, digest=image.digest, size=len(image.manifest)), name)
    return layout


def as_base(image: Image, source: str) -> Base:
    """The image as a base that others stand on."""
    return Base(
        reference=source,
        source=source,
        digest=image.digest,
        identity=digest_of(image.config),
        os="linux",
        architecture="amd64",
        layers=tuple(BaseLayer(descriptor=each.descriptor, diff_id=each.diff_id) for each in image.layers),
        config=msgspec.json.decode(image.config)["config"],
        python="/usr/bin/python3.11",
        version="3.11.2",
        libc="glibc 2.36",
    )
