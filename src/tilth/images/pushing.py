"""Bring an image into a registry: what is there is left there, what another repository has is mounted.

images/where/REGISTRY/DIGEST    repositories that have the blob, one a line; one that has it no more costs one request

A push may begin before the image is whole, with the layers there are. One that ends early has lost nothing: blobs that
arrived are found by the next one, and nothing names the image before all of them are there.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import msgspec

from tilth.environments import background
from tilth.environments.files import locked, read_bytes, remember
from tilth.errors import BuildFailed, ImageBroken, ImageNotFound, NotFound
from tilth.images.inspecting import layer_source
from tilth.images.settings import MOST_LAYERS
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import Descriptor, Manifest
from tilth.oci.references import check_tag, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tilth.home import Home
    from tilth.images.bases import Base
    from tilth.images.making import Image, ImageLayer
    from tilth.oci.references import Reference
    from tilth.oci.registry import Registry

    Progress = Callable[[str, int], None]

_CONNECTIONS = 4  # measured: 2 connections take 0.7 of the time of 1, 4 slightly less, more nothing
_PATIENCE_S = 2.0  # for uploads that are under way when the image cannot be made
_MOST_SOURCES = 3  # repositories that a mount is tried from


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What a push did. Bytes are of blobs; `blobs` counts how they came."""

    digest: str
    reference: str  # by digest: `HOST/REPOSITORY@sha256:…`
    tags: tuple[str, ...] = ()
    sent: int = 0  # bytes that were uploaded, those of broken connections included
    mounted: int = 0  # bytes that other repositories of the registry had
    skipped: int = 0  # bytes that were there
    blobs: dict[str, int] = {}  # `sent`, `copied`, `mounted`, `skipped`, `remade`
    ways: dict[str, str] = {}  # digest -> one of the first four
    seconds: float = 0.0


def push_image(
    image: Image,
    to: Reference,
    registries: Callable[[str], Registry],
    home: Home,
    *,
    tags: Iterable[str] = (),
    progress: Progress | None = None,
    remake: Callable[[ImageLayer], None] | None = None,
    begun: Push | None = None,
) -> Pushed:
    """Push an image, under the tag of `to` if it has one, and further tags. One that is there costs one HEAD a tag.

    Args:
        registries: Gives the client of a host.
        progress: Told how many more bytes of a layer, by title, have been taken; fewer than none when sent again.
        remake: Makes a layer again whose blob is lost or broken; called for one after another.
        begun: A push into the same repository that took layers while the image was made. It is gone on with, as one
            that knows that the image is not there.

    Raises:
        BuildFailed: It has more layers than engines take; nothing was uploaded.
        ImageBroken: A blob does not have its digest, and could not be made again.
    """
    began = time.monotonic()
    if len(image.layers) > MOST_LAYERS:
        raise BuildFailed(
            f"the image has {len(image.layers)} layers",
            why=f"container engines refuse images of more than about 125; tilth makes at most {MOST_LAYERS}",
            mend="use a base image of fewer layers: one squashed, or made from fewer instructions",
        )
    names = tuple(dict.fromkeys([*([to.tag] if to.tag else []), *map(check_tag, tags)])) or (image.digest,)
    client = registries(to.registry)
    reference = f"{to.name}@{image.digest}"
    missing = [name for name in names if begun or not _is_there(client, to.repository, name, image.digest)]
    if not missing:
        total = sum(each.descriptor.size for each in image.layers)
        return Pushed(
            digest=image.digest,
            reference=reference,
            tags=names,
            skipped=total,
            seconds=time.monotonic() - began,
        )
    push = begun or Push(image.base, to, registries, home, progress=progress, remake=remake)
    manifest = msgspec.json.decode(image.manifest, type=Manifest)
    with push:
        if len(missing) == len(names):  # else one of them has it whole
            push.bring(image)
        try:
            client.put_manifest(to.repository, missing[0], image.manifest, manifest.media_type)
        except ImageNotFound:
            # A blob was removed meanwhile, or the registry has only the manifest of another tag.
            push.bring(image)
            client.put_manifest(to.repository, missing[0], image.manifest, manifest.media_type)
        for name in missing[1:]:
            client.put_manifest(to.repository, name, image.manifest, manifest.media_type)
    return msgspec.structs.replace(
        push.done, digest=image.digest, reference=reference, tags=names, seconds=time.monotonic() - began
    )


def tag_image(image: Image, to: Reference, registries: Callable[[str], Registry]) -> None:
    """Give an image that is in a repository the tag of `to`, by one request.

    Raises:
        ImageNotFound: It is not there, or not whole.
    """
    manifest = msgspec.json.decode(image.manifest, type=Manifest)
    registries(to.registry).put_manifest(to.repository, to.tag, image.manifest, manifest.media_type)


class Where:
    """Which repositories of one registry have which blobs, as far as it is known here."""

    def __init__(self, home: Home, registry: str) -> None:
        self._folder = home.images / "where" / quote(registry, safe="")

    def repositories(self, digest: str) -> list[str]:
        """Newest first."""
        content = read_bytes(self._path(digest)) or b""
        return list(dict.fromkeys(reversed(content.decode(errors="replace").split())))

    def add(self, digest: str, repository: str) -> None:
        """Remember that a repository has a blob."""
        known = self.repositories(digest)
        if repository not in known:
            self._write(digest, [*reversed(known), repository])

    def forget(self, digest: str, repository: str) -> None:
        """Remember that it has it no more."""
        known = self.repositories(digest)
        if repository in known:
            self._write(digest, [each for each in reversed(known) if each != repository])

    def alone(self, digest: str) -> Path:
        """The lock of whoever brings a blob into the registry: the next one finds it there."""
        return self._path(digest).with_suffix(".lock")

    def _write(self, digest: str, repositories: list[str]) -> None:
        # Two at once may forget what the other remembered: that costs a request, later.
        remember(self._path(digest), "".join(f"{each}\n" for each in repositories).encode())

    def _path(self, digest: str) -> Path:
        return self._folder / digest.removeprefix("sha256:")


class Push:
    """The blobs of one image on their way into a repository, while the block runs.

    Args:
        base: What the image stands on; its layers are wherever it says.
        came: Told of each layer that is in the repository, from several threads, and how it came: `sent`, `copied`,
            `mounted`, or `skipped` as it was there.
    """

    def __init__(
        self,
        base: Base | None,
        to: Reference,
        registries: Callable[[str], Registry],
        home: Home,
        *,
        progress: Progress | None = None,
        remake: Callable[[ImageLayer], None] | None = None,
        came: Callable[[ImageLayer, str], None] | None = None,
    ) -> None:
        self._base_image = base
        self._came = came
        self._to = to
        self._registries = registries
        self._client = registries(to.registry)
        self._home = home
        self._store = BlobStore(home.images)
        self._where = Where(home, to.registry)
        self._progress = progress or (lambda _title, _taken: None)
        self._remake = remake
        self._remaking = threading.Lock()
        self._base = {each.descriptor.digest for each in base.layers} if base else set()
        self._crew = background.Crew(_CONNECTIONS)
        self._begun: set[str] = set()
        self._ended: list[tuple[str, int, int, bool]] = []
        self._ways: dict[str, str] = {}

    def __enter__(self) -> Push:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stop(patience_s=_PATIENCE_S)

    def begin(self, blob: Descriptor, layer: ImageLayer | None = None) -> None:
        """Bring a blob there, in the background; of those that wait the largest is next. Once asked for is enough.

        Raises:
            TilthError: Another one could not be brought there.
        """
        self._crew.check()
        if blob.digest not in self._begun:
            self._begun.add(blob.digest)
            # The last one to end should not have begun last.
            self._crew.begin(lambda: self._end(blob, layer), urgency=blob.size)

    def bring(self, image: Image) -> None:
        """Bring all blobs of an image there that are not yet. After a failure what was begun ends.

        Raises:
            TilthError: The first that cannot be brought there.
        """
        manifest = msgspec.json.decode(image.manifest, type=Manifest)
        self._store.put(image.config)
        layers = {each.descriptor.digest: each for each in image.layers}
        try:
            for each in sorted((*manifest.layers, manifest.config), key=lambda each: -each.size):
                self.begin(each, layers.get(each.digest))
        finally:
            self._crew.wait()
            self._begun.clear()  # asked once more they are looked for again

    @property
    def done(self) -> Pushed:
        """What was brought until now."""
        blobs = Counter(how for how, _, _, _ in self._ended)
        blobs["remade"] = sum(remade for _, _, _, remade in self._ended)
        return Pushed(
            digest="",
            reference="",
            sent=sum(sent for _, _, sent, _ in self._ended),
            mounted=sum(size for how, size, _, _ in self._ended if how == "mounted"),
            skipped=sum(size for how, size, _, _ in self._ended if how == "skipped"),
            blobs={how: number for how, number in blobs.items() if number},
            ways=dict(self._ways),
        )

    def _end(self, blob: Descriptor, layer: ImageLayer | None) -> None:
        ended = self._blob(blob, layer)
        self._ended.append(ended)
        self._ways.setdefault(
            blob.digest, ended[0]
        )  # what is looked for once more was brought the first time
        if self._came is not None and layer is not None:
            self._came(layer, ended[0])

    def _blob(self, blob: Descriptor, layer: ImageLayer | None) -> tuple[str, int, int, bool]:
        """Bring one blob there: how, its size, bytes sent, and whether it had to be made again."""
        with locked(self._where.alone(blob.digest)):
            if how := self._without_bytes(blob):
                self._where.add(blob.digest, self._to.repository)
                return how, blob.size, 0, False
            how, sent, remade = self._with_bytes(blob, layer)
            self._where.add(blob.digest, self._to.repository)
            return how, blob.size, sent, remade

    def _without_bytes(self, blob: Descriptor) -> str:
        repository, digest = self._to.repository, blob.digest
        known = self._where.repositories(digest)
        others = [each for each in known if each != repository]
        if (
            digest in self._base
            and (source := self._base_reference(digest))
            and source.registry == self._to.registry
        ):
            others.insert(0, source.repository)
        asked = False
        # A mount also finds what is there, so where another repository should have it, that comes first.
        if repository in known or not others:
            if self._client.has_blob(repository, digest):
                return "skipped"
            asked = True
        for other in list(dict.fromkeys(others))[:_MOST_SOURCES]:
            if other == repository:
                continue
            if self._client.mount_blob(repository, digest, other):
                return "mounted"
            self._where.forget(digest, other)
        if not asked and self._client.has_blob(repository, digest):
            return "skipped"
        return ""

    def _with_bytes(self, blob: Descriptor, layer: ImageLayer | None) -> tuple[str, int, bool]:
        if not self._store.has(blob.digest) and blob.digest in self._base:
            return *self._of_base(blob, layer), False
        try:
            return "sent", self._upload(blob, layer, lambda: self._store.open(blob.digest)), False
        except (ImageBroken, NotFound) as error:
            if blob.digest in self._base:  # a copy of what is where the base is
                self._store.remove(blob.digest)
                return *self._of_base(blob, layer), True
            if layer is None:
                self._store.remove(blob.digest)
                raise
            return "sent", self._again(blob, layer, error), True

    def _again(self, blob: Descriptor, layer: ImageLayer, cause: Exception) -> int:
        """Make a broken layer anew, and send that."""
        if self._store.has(blob.digest) and self._store.verify(blob.digest):
            raise cause  # it was broken on its way
        self._store.remove(blob.digest)
        if self._remake is None:
            raise ImageBroken(
                f"the layer `{layer.title}` of the image is broken on this machine",
                why=f"blob `{blob.digest}` does not have the bytes of its digest; it was removed",
                mend="build the image again",
            ) from cause
        with self._remaking:
            if not self._store.has(blob.digest):  # it may have been made together with another one
                self._remake(layer)
        if not self._store.has(blob.digest):
            raise ImageBroken(
                f"the layer `{layer.title}` cannot be made again as it was",
                why=f"what was made is not `{blob.digest}`",
                mend="build the image again: it will have another digest",
            ) from cause
        return self._upload(blob, layer, lambda: self._store.open(blob.digest))

    def _of_base(self, blob: Descriptor, layer: ImageLayer | None) -> tuple[str, int]:
        """A layer of the base that is not on this machine."""
        base = self._base_image
        assert base is not None
        source = self._base_reference(blob.digest)
        if source is not None:
            registry = self._registries(source.registry)
            tell = self._tell(layer)
            return "copied", self._client.copy_blob(
                self._to.repository, blob, registry, source.repository, tell
            )
        layout = layer_source(base, self._home)
        if layout is None:
            raise ImageNotFound(
                f"the layers of the base image `{base.reference}` cannot be had",
                why=f"they are in `{base.source}`, which gives none out",
                mend=f"push it to a registry, or name it as `{base.reference}` again to take it over",
            )
        try:
            return "sent", self._upload(blob, layer, lambda: layout.open(blob.digest))
        except ImageBroken as error:
            raise ImageBroken(
                f"a layer of the base image `{base.reference}` is broken where it is",
                why=error.why,
                mend=f"make `{layout.path}` again",
            ) from error

    def _upload(self, blob: Descriptor, layer: ImageLayer | None, open_: Callable[[], IO[bytes]]) -> int:
        return self._client.push_blob(
            self._to.repository,
            blob,
            lambda: Checked(open_(), blob),  # type: ignore[arg-type,return-value] # what reading a blob takes
            self._tell(layer),
        )

    def _tell(self, layer: ImageLayer | None) -> Callable[[int], None]:
        title = layer.title if layer else "config"

        def tell(taken: int) -> None:
            if self._crew.stopped:
                raise _Stopped
            self._progress(title, taken)

        return tell

    def _base_reference(self, digest: str) -> Reference | None:
        source = self._base_image.place(digest) if self._base_image else ""
        kind, _, name = source.partition(":")
        return parse(name) if kind == "registry" else None


class _Stopped(Exception):
    """Nobody waits for an upload any more."""


class Checked:
    """A file that is held to its digest while it is read: the last bytes of a broken one are never given."""

    def __init__(self, file: IO[bytes], blob: Descriptor) -> None:
        self._file = file
        self._blob = blob
        self._hash = hashlib.sha256()
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """As a file does.

        Raises:
            ImageBroken: The bytes are not those of the digest.
        """
        content = self._file.read(size)
        self._hash.update(content)
        self._at += len(content)
        whole = self._at >= self._blob.size or (size != 0 and not content)
        if whole and (self._at != self._blob.size or self._blob.digest != f"sha256:{self._hash.hexdigest()}"):
            raise ImageBroken(
                f"blob `{self._blob.digest}` is broken on this machine",
                why=f"its bytes have the digest `sha256:{self._hash.hexdigest()}`"
                if self._at == self._blob.size
                else f"it should have {self._blob.size} bytes, and has {self._at} or more",
                mend="build the image again",
            )
        return content

    def seek(self, offset: int) -> int:
        """Go on from an offset. What is before it is read too: the digest is of everything."""
        self._file.seek(0)
        self._hash, self._at = hashlib.sha256(), 0
        while self._at < offset:
            content = self._file.read(min(1 << 20, offset - self._at))
            if not content:
                break
            self._hash.update(content)
            self._at += len(content)
        return self._at

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Checked:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_there(client: Registry, repository: str, name: str, digest: str) -> bool:
    found = client.head_manifest(repository, name)
    return found is not None and found.digest == digest
