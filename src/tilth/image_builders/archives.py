"""Between OCI layouts and the archives of `docker save` and `docker load`."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from tilth.errors import ImageBroken
from tilth.images.bases import BaseLayer, as_oci
from tilth.images.inspecting import look_into
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, Index, Manifest, encode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tilth.home import Home

_CHUNK = 1 << 20
_LEVEL = 4  # of gzip: a base is large, compressed once and kept


def layout_from_archive(
    archive: Path, layout: Path, name: str, known: Mapping[str, BaseLayer], home: Home
) -> None:
    """Write what `docker save` gave as an OCI layout.

    Args:
        archive: As a file: its contents list stands at its end.
        layout: A folder that exists.
        name: Of the image in the layout.
        known: By the digest of a layer's plain tar, layers that are somewhere as blobs: not compressed, and left out.
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
        paths = dict(zip(diff_ids, listed["Layers"], strict=True))
        layers = [
            as_oci(known[each].descriptor)
            if each in known
            else _compress(store, _member(tar, paths[each]), each)
            for each in diff_ids
        ]
        # Now that they are all at hand: a registry would have to be asked for those that are left out.
        look_into(name, config, {each: partial(_member, tar, path) for each, path in paths.items()}, home)
    described = Descriptor(media_type=CONFIG, digest=store.put(config), size=len(config))
    _write_index(layout, name, Manifest(config=described, layers=tuple(layers)))


def seal(
    layout: Path,
    name: str,
    layers: Sequence[BaseLayer],
    known: Mapping[str, BaseLayer],
    annotations: Mapping[str, str],
) -> tuple[str, tuple[BaseLayer, ...]]:
    """Give a layout's image annotations, and those of its layers that are `known` the digests that they have elsewhere.

    The blobs of such layers are linked in where they are in a layout of this machine, and left out where they are in a
    registry. Gives the digest of the manifest, and the layers as they are now.
    """
    _, manifest = manifest_of(layout, own=())
    store = BlobStore(layout)
    sealed = tuple(_placed(store, each, known.get(each.diff_id)) for each in layers)
    for unused in {each.digest for each in manifest.layers} - {each.descriptor.digest for each in sealed}:
        store.remove(unused)
    digest = _write_index(
        layout,
        name,
        msgspec.structs.replace(
            manifest,
            media_type=MANIFEST,
            layers=tuple(each.descriptor for each in sealed),
            annotations={**manifest.annotations, **annotations},
        ),
    )
    return digest, sealed


def _placed(store: BlobStore, layer: BaseLayer, known: BaseLayer | None) -> BaseLayer:
    if known is None:
        return layer
    taken = BaseLayer(descriptor=as_oci(known.descriptor), diff_id=layer.diff_id, source=known.source)
    kind, _, place = known.source.partition(":")
    if kind != "layout":
        return taken
    _take(store, taken.descriptor, BlobStore(Path(place)).path(taken.descriptor.digest))
    return msgspec.structs.replace(taken, source="")


def _write_index(layout: Path, name: str, manifest: Manifest) -> str:
    content = encode(manifest)
    digest = BlobStore(layout).put(content)
    entry = Descriptor(
        media_type=MANIFEST,
        digest=digest,
        size=len(content),
        annotations={"org.opencontainers.image.ref.name": name},
    )
    (layout / "index.json").write_bytes(encode(Index(manifests=(entry,))))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return digest


def manifest_of(
    layout: Path, digest: str = "", *, own: Collection[str] | None = None
) -> tuple[str, Manifest]:
    """Digest and manifest of the image in a layout: the one of that digest, else the first.

    Args:
        own: Digests of the layers that have to be there; by default all.
    Raises:
        ImageBroken: It is no layout, or has parts that are missing.
    """
    try:
        if not digest:
            index = msgspec.json.decode((layout / "index.json").read_bytes(), type=Index)
            digest = index.manifests[0].digest
        content = BlobStore(layout).path(digest).read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
        whole = all(
            BlobStore(layout).path(each.digest).stat().st_size == each.size
            for each in (manifest.config, *manifest.layers)
            if own is None or each is manifest.config or each.digest in own
        )
    except (OSError, IndexError, ValueError) as error:
        raise ImageBroken(f"`{layout}` is no whole OCI layout", why=str(error)) from error
    if not whole or f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise ImageBroken(f"`{layout}` is no whole OCI layout", why="a part is not what its digest says")
    return digest, manifest


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
