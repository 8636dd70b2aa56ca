"""Documents about an image beside it in its registry: its bill of materials, its lock, how it was made.

An artifact is a manifest with a `subject` and one blob. Source:
https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
"""

from __future__ import annotations

import io
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tilth import __version__
from tilth.environments import background
from tilth.errors import ImageBroken, ImageNotFound
from tilth.oci.descriptors import EMPTY, MANIFEST, Descriptor, Manifest, digest_of, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tilth.images.making import Image
    from tilth.oci.registry import Registry

SBOM = "application/vnd.cyclonedx+json"  # registered with IANA; what others look for
LOCK = "application/vnd.tilth.pylock.v1+toml"
BUILD = "application/vnd.tilth.build.v1+json"
_TITLE = "org.opencontainers.image.title"
_NAMES = {SBOM: "sbom.cdx.json", LOCK: "pylock.toml", BUILD: "build.json"}
_NOTHING = b"{}"


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """A document that is attached to an image."""

    artifact_type: str
    name: str  # of the file: `pylock.toml`
    manifest: str  # digest of the artifact
    digest: str  # of the document
    size: int  # bytes of the document
    annotations: dict[str, str] = {}


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How an image was made. Equal images made by equal means have equal ones: no time and no machine is in it."""

    image: str  # digest
    environment: str  # digest
    base: dict[str, str]  # reference, digest, platform, python, libc
    layers: tuple[dict[str, Any], ...]  # title, digest, diff_id, size
    inputs: dict[str, Any]  # requirements, settings, digests of what else went into it
    tilth: str = __version__


def build_record(image: Image, environment: str, inputs: Mapping[str, Any]) -> bytes:
    """The record of an image, as it is attached."""
    base = image.base
    record = BuildRecord(
        image=image.digest,
        environment=environment,
        base={
            "reference": base.reference,
            "digest": base.digest,
            "platform": base.platform,
            "python": f"{base.python} {base.version}".strip(),
            "libc": base.libc,
        }
        if base
        else {},
        layers=tuple(
            {
                "title": each.title,
                "digest": each.descriptor.digest,
                "diff_id": each.diff_id,
                "size": each.descriptor.size,
            }
            for each in image.layers
        ),
        inputs=dict(inputs),
    )
    return msgspec.json.encode(record, order="sorted")


class _Document(NamedTuple):
    """What is to be attached."""

    manifest: bytes
    content: bytes
    told: Attached


def attach(
    registry: Registry,
    repository: str,
    subject: Descriptor,
    artifact_type: str,
    content: bytes,
    *,
    name: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Attached:
    """Attach a document to an image that is in a registry. The same one again changes nothing and sends nothing.

    Args:
        subject: The image's manifest, as `registry.head_manifest` tells it.
        name: What the document is called when it is downloaded.
    """
    document = _document(subject, artifact_type, content, name, annotations or {})
    _put(registry, repository, [document], _known(registry, repository, subject.digest))
    return document.told


def attach_documents(
    registry: Registry, repository: str, digest: str, *, sbom: str = "", lock: str = "", build: bytes = b""
) -> list[Attached]:
    """Attach what is given of the three documents that a build has, at the same time.

    Raises:
        ImageNotFound: The image is not in the repository.
    """
    known = background.in_thread(lambda: _known(registry, repository, digest))
    subject = registry.head_manifest(repository, digest)
    if subject is None:
        raise ImageNotFound(
            f"there is no image `{registry.host}/{repository}@{digest}` to attach documents to",
            mend="push it first",
        )
    given = ((SBOM, sbom.encode()), (LOCK, lock.encode()), (BUILD, build))
    documents = [_document(subject, kind, content) for kind, content in given if content]
    _put(registry, repository, documents, known.result())
    return [each.told for each in documents]


def _known(registry: Registry, repository: str, digest: str) -> set[str]:
    return {each.digest for each in registry.referrers(repository, digest).manifests}


def _document(
    subject: Descriptor,
    artifact_type: str,
    content: bytes,
    name: str = "",
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> _Document:
    name = name or _NAMES.get(artifact_type, "document")
    blob = Descriptor(
        media_type=artifact_type, digest=digest_of(content), size=len(content), annotations={_TITLE: name}
    )
    manifest = encode(
        Manifest(
            artifact_type=artifact_type,
            config=Descriptor(media_type=EMPTY, digest=digest_of(_NOTHING), size=len(_NOTHING)),
            layers=(blob,),
            subject=Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size),
            annotations=dict(annotations),
        )
    )
    told = Attached(
        artifact_type=artifact_type,
        name=name,
        manifest=digest_of(manifest),
        digest=blob.digest,
        size=blob.size,
        annotations=dict(annotations),
    )
    return _Document(manifest, content, told)


def _put(registry: Registry, repository: str, documents: Sequence[_Document], known: set[str]) -> None:
    """Bring those there that are not known: what they consist of first, as registries want it."""
    missing = [each for each in documents if each.told.manifest not in known]
    if not missing:
        return

    def put(content: bytes) -> None:
        blob = Descriptor(media_type="application/octet-stream", digest=digest_of(content), size=len(content))
        if not registry.has_blob(repository, blob.digest):
            registry.push_blob(repository, blob, lambda: io.BytesIO(content))

    contents = dict.fromkeys([*(each.content for each in missing), _NOTHING])
    background.at_once(put, list(contents))
    registry.put_referrers(repository, [each.manifest for each in missing], at_once=background.at_once)


def list_attached(
    registry: Registry, repository: str, digest: str, artifact_type: str | None = None
) -> list[Attached]:
    """What is attached to an image, of one type if asked; also what other tools attached, if it is one document."""
    found = []
    for each in registry.referrers(repository, digest, artifact_type).manifests:
        if each.media_type != MANIFEST:
            continue
        content, _ = registry.get_manifest(repository, each.digest)
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except msgspec.DecodeError:
            continue
        if len(manifest.layers) != 1:
            continue
        blob = manifest.layers[0]
        found.append(
            Attached(
                artifact_type=each.artifact_type or manifest.artifact_type or manifest.config.media_type,
                name=blob.annotations.get(_TITLE, ""),
                manifest=each.digest,
                digest=blob.digest,
                size=blob.size,
                annotations=manifest.annotations,
            )
        )
    return found


def read_attached(registry: Registry, repository: str, digest: str, artifact_type: str) -> bytes:
    """The bytes of a document of an image.

    Raises:
        ImageNotFound: The image has none of that type.
        ImageBroken: It has several: `list_attached` tells them apart.
    """
    found = list_attached(registry, repository, digest, artifact_type)
    if not found:
        raise ImageNotFound(
            f"nothing of the type `{artifact_type}` is attached to `{registry.host}/{repository}@{digest}`",
            mend="images that other tools pushed have no documents of tilth's",
        )
    if len({each.digest for each in found}) > 1:
        raise ImageBroken(
            f"{len(found)} documents of the type `{artifact_type}` are attached to `{repository}@{digest}`",
            why="they differ: " + ", ".join(f"`{each.digest}`" for each in found),
        )
    return registry.read_blob(repository, found[0].digest)
