"""What refers to an image: by the registry's API, or by a tag that stands in for it where there is none.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from tilth.errors import ImageBroken, ImageNotFound, RegistryLacks, RegistryRefused
from tilth.oci.descriptors import INDEX, Descriptor, Index, Manifest, digest_of, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.oci.registry import Registry

    AtOnce: TypeAlias = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]

_TRIES = 5

_T = TypeVar("_T")


def find_referrers(registry: Registry, repository: str, digest: str, artifact_type: str | None) -> Index:
    """What refers to a manifest, of one type if asked; nothing when there is no such manifest."""
    known = _by_api(registry, repository, digest, artifact_type)
    if known is None:
        known = _by_tag(registry, repository, digest)
    if artifact_type is None:
        return Index(manifests=tuple(known))
    return Index(manifests=tuple(each for each in known if each.artifact_type == artifact_type))


def put_referrers(
    registry: Registry, repository: str, contents: Sequence[bytes], at_once: AtOnce | None = None
) -> list[Descriptor]:
    """Put manifests that have one `subject`, each by its digest.

    Registries without the API for it get the list as a tag, which two writers at the same time may
    take from each other: it is read again, and mended.

    Args:
        at_once: Calls a function with each, and may do so for several at a time; by default one after another.
    """
    described = [_described(content) for content in contents]
    subjects = {subject for _, subject in described}
    if len(subjects) > 1:
        raise ValueError("they refer to different manifests")

    def put(index: int) -> bool:
        descriptor = described[index][0]
        return registry.put_and_see(repository, descriptor.digest, contents[index], descriptor.media_type)

    indexes = range(len(contents))
    seen = at_once(put, indexes) if at_once else [put(index) for index in indexes]
    unseen = [each for (each, _), by_itself in zip(described, seen, strict=True) if not by_itself]
    if unseen:
        _remember_by_tag(registry, repository, subjects.pop(), unseen)
    return [descriptor for descriptor, _ in described]


def _described(content: bytes) -> tuple[Descriptor, str]:
    """A manifest as lists have it, and the digest of what it refers to."""
    manifest = msgspec.json.decode(content, type=Manifest)
    if manifest.subject is None:
        raise ValueError("a manifest without a subject refers to nothing")
    descriptor = Descriptor(
        media_type=manifest.media_type,
        digest=digest_of(content),
        size=len(content),
        annotations=manifest.annotations,
        artifact_type=manifest.artifact_type or manifest.config.media_type,
    )
    return descriptor, manifest.subject.digest


def decoded(content: bytes, kind: type[_T], host: str, asked: str) -> _T:
    """A document of a registry.

    Raises:
        ImageBroken: It is something else.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise ImageBroken(
            f"registry `{host}` gives something that cannot be read for {asked}",
            why=str(error),
            mend="check the registry's address; a proxy may have answered in its place",
        ) from None


def _remember_by_tag(
    registry: Registry, repository: str, subject: str, descriptors: Sequence[Descriptor]
) -> None:
    tag = _tag(subject)
    for _ in range(_TRIES):
        known = _by_tag(registry, repository, subject)
        if not (missing := _without(descriptors, known)):
            return
        registry.put_manifest(repository, tag, encode(Index(manifests=(*known, *missing))), INDEX)
    if _without(descriptors, _by_tag(registry, repository, subject)):
        raise RegistryRefused(
            f"registry `{registry.host}` does not keep what refers to `{subject}`",
            why=f"others write the tag `{tag}` of `{repository}` all the while",
            mend="try again",
        )


def _without(descriptors: Sequence[Descriptor], known: Sequence[Descriptor]) -> list[Descriptor]:
    digests = {each.digest for each in known}
    return [each for each in descriptors if each.digest not in digests]


def _by_api(
    registry: Registry, repository: str, digest: str, artifact_type: str | None
) -> list[Descriptor] | None:
    """None when the registry has no such API."""
    asked = _asked(repository, digest)
    wanted = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type is not None else ""
    found: list[Descriptor] = []
    try:
        for content in registry.pages(f"{repository}/referrers/{digest}{wanted}", asked, repository):
            found += decoded(content, Index, registry.host, asked).manifests
    except (ImageNotFound, RegistryLacks):
        return None
    return found


def _by_tag(registry: Registry, repository: str, digest: str) -> list[Descriptor]:
    try:
        content, _ = registry.get_manifest(repository, _tag(digest))
    except ImageNotFound:
        return []
    return list(decoded(content, Index, registry.host, _asked(repository, digest)).manifests)


def _tag(digest: str) -> str:
    return digest.replace(":", "-")


def _asked(repository: str, digest: str) -> str:
    return f"what refers to `{digest[:19]}…` of `{repository}`"
