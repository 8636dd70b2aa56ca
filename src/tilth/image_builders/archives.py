"""Between OCI layouts and the archives of `docker save` and `docker load`."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, Any

import msgspec

from tilth.errors import ImageBroken
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, Index, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CHUNK = 1 << 20
_LEVEL = 4  # of gzip: a base is large, compressed once and kept


def layout_from_archive(
    archive: Path, layout: Path, name: str, known: Mapping[str, tuple[Descriptor, Path]]
) -> str:
    """Write what `docker save` gave as an OCI layout; gives the digest of its manifest.

    Args:
        archive: As a file: its contents list stands at its end.
        layout: A folder that exists.
        name: Of the image in the layout.
        known: By the digest of a layer's plain tar, what it is as a compressed blob, and the file that holds it: such a
            layer keeps the digest that registries know it by.
    Raises:
        ImageBroken: The archive is not one, or a layer is not what its digest says.
    """
    store = BlobStore(layout)
    with tarfile.open(archive) as tar:
        listed = msgspec.json.decode(_member(tar, "manifest.json").read())[0]
        config = _member(tar, listed["Config"]).read()
        diff_ids = msgspec.json.decode(config)["rootfs"]["diff_ids"]
        if len(diff_ids) != len(listed["Layers"]):
            raise ImageBroken(f"the engine's archive of `{name}` lists other layers than its config")
        layers = [
            _take(store, *known[diff_id])
            if diff_id in known
            else _compress(store, _member(tar, path), diff_id)
            for path, diff_id in zip(listed["Layers"], diff_ids, strict=True)
        ]
    described = Descriptor(media_type=CONFIG, digest=store.put(config), size=len(config))
    return _write_index(layout, name, Manifest(config=described, layers=tuple(layers)))


def keep_known(layout: Path, name: str, known: Mapping[str, tuple[Descriptor, Path]]) -> None:
    """Give the layers of a layout's image that are `known` (see above) the digests that registries know them by."""
    _, manifest = manifest_of(layout)
    store = BlobStore(layout)
    layers = list(manifest.layers)
    for i, (diff_id, layer) in enumerate(zip(_diff_ids(store, manifest), layers, strict=True)):
        if diff_id in known and known[diff_id][0].digest != layer.digest:
            layers[i] = _take(store, *known[diff_id])
            store.remove(layer.digest)
    if tuple(layers) != manifest.layers:
        _write_index(layout, name, msgspec.structs.replace(manifest, layers=tuple(layers)))


def _write_index(layout: Path, name: str, manifest: Manifest) -> str:
    content = msgspec.json.encode(manifest)
    digest = BlobStore(layout).put(content)
    entry = Descriptor(
        media_type=MANIFEST,
        digest=digest,
        size=len(content),
        annotations={"org.opencontainers.image.ref.name": name},
    )
    (layout / "index.json").write_bytes(msgspec.json.encode(Index(manifests=(entry,))))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return digest


def manifest_of(layout: Path, digest: str = "") -> tuple[str, Manifest]:
    """Digest and manifest of the image in a layout: the one of that digest, else the first.

    Raises:
        ImageBroken: It is no layout, or has parts that are missing.
    """
    try:
        index = msgspec.json.decode((layout / "index.json").read_bytes(), type=Index)
        digest = digest or index.manifests[0].digest
        content = BlobStore(layout).path(digest).read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
        whole = all(
            BlobStore(layout).path(each.digest).stat().st_size == each.size
            for each in (manifest.config, *manifest.layers)
        )
    except (OSError, IndexError, ValueError) as error:
        raise ImageBroken(f"`{layout}` is no whole OCI layout", why=str(error)) from error
    if not whole or f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise ImageBroken(f"`{layout}` is no whole OCI layout", why="a part is not what its digest says")
    return digest, manifest


def layers_of(layout: Path, manifest: Manifest) -> dict[str, tuple[Descriptor, Path]]:
    """By the digest of its plain tar, each layer of an image as a compressed blob and the file that holds it."""
    store = BlobStore(layout)
    diff_ids = _diff_ids(store, manifest)
    return {
        diff_id: (layer, store.path(layer.digest))
        for diff_id, layer in zip(diff_ids, manifest.layers, strict=True)
    }


def _diff_ids(store: BlobStore, manifest: Manifest) -> list[str]:
    found: list[str] = msgspec.json.decode(store.read(manifest.config.digest))["rootfs"]["diff_ids"]
    return found


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        file = tar.extractfile(name)  # follows the links that engines write for equal layers
    except KeyError as error:
        raise ImageBroken(f"the engine's archive has no `{name}`") from error
    assert file is not None
    return file


def _take(store: BlobStore, descriptor: Descriptor, file: Path) -> Descriptor:
    path = store.path(descriptor.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, path)
    except FileExistsError:
        pass
    except OSError:
        with open(file, "rb") as source, store.writing() as blob:
            while chunk := source.read(_CHUNK):
                blob.write(chunk)
    return descriptor


def _compress(store: BlobStore, layer: IO[bytes], diff_id: str) -> Descriptor:
    plain = hashlib.sha256()
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)  # gzip without a name or time
    with store.writing() as blob:
        while chunk := layer.read(_CHUNK):
            plain.update(chunk)
            blob.write(squeeze.compress(chunk))
        blob.write(squeeze.flush())
        if f"sha256:{plain.hexdigest()}" != diff_id:
            raise ImageBroken("a layer in the engine's archive is not what its digest says")
    return Descriptor(media_type=LAYER_GZIP, digest=blob.digest, size=blob.size)


def archive_from_layout(layout: Path, digest: str, name: str, target: IO[bytes]) -> None:
    """Write an image of a layout as `docker load` reads it; the engine decompresses the layers itself."""
    _, manifest = manifest_of(layout, digest)
    store = BlobStore(layout)
    listed: list[dict[str, Any]] = [
        {
            "Config": f"{manifest.config.digest.removeprefix('sha256:')}.json",
            "RepoTags": [name],
            "Layers": [f"{each.digest.removeprefix('sha256:')}.tar" for each in manifest.layers],
        }
    ]
    with tarfile.open(fileobj=target, mode="w|") as tar:
        content = msgspec.json.encode(listed)
        _add(tar, "manifest.json", len(content), io.BytesIO(content))
        files = [
            (listed[0]["Config"], manifest.config),
            *zip(listed[0]["Layers"], manifest.layers, strict=True),
        ]
        for path, part in dict(files).items():
            with store.open(part.digest) as file:
                _add(tar, path, part.size, file)


def _add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    tar.addfile(entry, content)
