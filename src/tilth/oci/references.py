"""Names of images as people write them, by Docker's rules.

Source: https://github.com/distribution/reference
"""

from __future__ import annotations

import re

import msgspec

from tilth.errors import DefinitionError
from tilth.oci.descriptors import DIGEST

DOCKER_HUB = "docker.io"
_LATEST = "latest"

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LONGEST_REPOSITORY = 255


class Reference(msgspec.Struct, frozen=True):
    """One image in one registry, every part written out."""

    registry: str  # `docker.io`, `localhost:5000`
    repository: str  # `library/python`
    tag: str = ""
    digest: str = ""  # `sha256:…`; where it is given, it decides, whatever the tag says

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """Without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag or _LATEST

    def tagged(self, tag: str) -> Reference:
        """The same repository under another tag."""
        return Reference(self.registry, self.repository, check_tag(tag))

    def at(self, digest: str) -> Reference:
        """The same name, held to a digest."""
        return Reference(self.registry, self.repository, self.tag, digest)


def parse(text: str) -> Reference:
    """`python:3.11` is `docker.io/library/python:3.11`; with neither tag nor digest the tag is `latest`.

    Raises:
        DefinitionError: It is no reference; the hint says which part is wrong.
    """
    scheme, is_address, _ = text.partition("://")
    if is_address:
        raise _wrong(text, "it is an address", f"leave `{scheme}://` out")
    rest, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise _wrong(text, f"the digest `{digest}` is not `sha256:` and 64 hexadecimal digits")
    tag = ""
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise _wrong(
                text, f"the tag `{tag}` is not one" if tag else "nothing comes after the `:`", _TAG_RULE
            )
    registry, slash, repository = rest.partition("/")
    if not slash or not _is_registry(registry):
        registry, repository = DOCKER_HUB, rest
    if registry == "index.docker.io":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not _REGISTRY.fullmatch(registry):
        raise _wrong(text, f"`{registry}` is not the name of a registry", "`HOST` or `HOST:PORT`")
    check_repository(repository, text)
    return Reference(registry, repository, tag if tag or digest else _LATEST, digest)


def check_repository(repository: str, text: str = "") -> str:
    """The name of a repository, if it is one that registries take.

    Raises:
        DefinitionError: It is not.
    """
    if not _REPOSITORY.fullmatch(repository):
        lower = repository.lower()
        hint = f"write `{lower}`" if _REPOSITORY.fullmatch(lower) else _REPOSITORY_RULE
        raise _wrong(text or repository, f"`{repository}` is not the name of a repository", hint)
    if len(repository) > _LONGEST_REPOSITORY:
        raise _wrong(text or repository, f"the repository has more than {_LONGEST_REPOSITORY} characters")
    return repository


def check_tag(tag: str) -> str:
    """A tag, if it is one.

    Raises:
        DefinitionError: It is not.
    """
    if not _TAG.fullmatch(tag):
        raise DefinitionError(f"`{tag}` is not a tag of an image", mend=_TAG_RULE)
    return tag


_TAG_RULE = "up to 128 letters, digits, dots, hyphens and underscores; neither dot nor hyphen comes first"
_REPOSITORY_RULE = (
    "small letters and digits; between them dots, hyphens and underscores, and `/` between the parts"
)


def _is_registry(first: str) -> bool:
    """Whether the part before the first `/` is a host: else it belongs to a repository of Docker Hub."""
    return first == "localhost" or any(mark in first for mark in ".:") or first != first.lower()


def _wrong(text: str, why: str, mend: str = "") -> DefinitionError:
    return DefinitionError(
        f"`{text}` is not the name of an image",
        why=why,
        mend=mend or "write `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@sha256:…`",
    )
