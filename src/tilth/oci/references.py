"""Names of images as people write them, by Docker's rules.

Source: https://github.com/distribution/reference
"""

from __future__ import annotations

import re

import msgspec

from tilth.errors import DefinitionError
from tilth.oci.descriptors import DIGEST

DOCKER_HUB = "docker.io"
_OLD_HUB = "index.docker.io"
_LATEST = "latest"

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LONGEST_REPOSITORY = 255
_LAST_PORT = 65_535
_SHOWN = 100  # characters of a name that errors show


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
    if registry == _OLD_HUB:
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not _is_host(registry):
        raise _wrong(text, f"`{_short(registry)}` is not the name of a registry", "`HOST` or `HOST:PORT`")
    check_repository(repository, text)
    return Reference(registry, repository, tag if tag or digest else _LATEST, digest)


def check_host(host: str) -> str:
    """The host of a registry by its usual name, if it is one: `HOST` with a dot in it, `HOST:PORT`, or `localhost`.

    Raises:
        DefinitionError: It is not.
    """
    if "@" in host:  # not shown: it may be a password
        raise DefinitionError(
            "the host of a registry has no login in it",
            mend="write `HOST` or `HOST:PORT`, and log in with `docker login`",
        )
    if not (_is_host(host) and _is_registry(host)):
        raise DefinitionError(
            f"`{_short(host)}` is not the host of a registry",
            mend="write `HOST`, with a dot in it, or `HOST:PORT`; without `http://`, and a prefix after a slash",
        )
    return DOCKER_HUB if host == _OLD_HUB else host


def check_repository(repository: str, text: str = "") -> str:
    """The name of a repository, if it is one that registries take.

    Args:
        text: What it is a part of.
    Raises:
        DefinitionError: It is not.
    """
    why = hint = ""
    if not _REPOSITORY.fullmatch(repository):
        why = f"`{_short(repository)}` is not the name of a repository"
        lower = repository.lower()
        hint = f"write `{_short(lower)}`" if _REPOSITORY.fullmatch(lower) else _REPOSITORY_RULE
    elif len(repository) > _LONGEST_REPOSITORY:
        why = f"the repository has more than {_LONGEST_REPOSITORY} characters"
        hint = "take a shorter one"
    if not why:
        return repository
    if text:
        raise _wrong(text, why, hint)
    what = f"`{_short(repository)}` is not the name of a repository"
    raise DefinitionError(what, why="" if why == what else why, mend=hint)


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


def _is_host(text: str) -> bool:
    port = text.rpartition(":")[2]
    return bool(_REGISTRY.fullmatch(text)) and (not port.isdigit() or int(port) <= _LAST_PORT)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _wrong(text: str, why: str, mend: str = "") -> DefinitionError:
    return DefinitionError(
        f"`{_short(text)}` is not the name of an image",
        why=why,
        mend=mend or "write `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@sha256:…`",
    )
