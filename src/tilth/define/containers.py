"""What an environment says of containers, as declared: the values alone are looked at, never an image or a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PLACES = ("oci", "docker", "docker-archive")  # where an image may lie beside a registry: `oci:PATH`
_SCHEME = re.compile(r"(https?|docker|oci|containers-storage|docker-daemon)://")
# The characters of a reference; the registry client parses it whole.
_REFERENCE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9_])?(@sha256:[0-9a-f]{64})?")
# `name`, `name=version`, `name:arch`, as apt, apk and dnf have them. Never an option, path or shell syntax.
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:@~-]*([=<>]{1,2}[A-Za-z0-9][A-Za-z0-9+._:~*-]*)?")
_USER = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*|\d+)(:([A-Za-z_][A-Za-z0-9_-]*|\d+))?")
_PLATFORM = re.compile(r"linux/[a-z0-9]+(/v\d+)?")
_FOLDER = re.compile(r"/[^\0\n]*")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OF_DOCKERFILE = ("build_args", "build_context", "build_secrets", "build_target")
# A ready image is used as it is: what shapes packages or the image itself has no place beside it.
_OF_READY_IMAGE = ("image", "platform", "secrets", "user", "variables", "working_directory")


def image_reference(name: str, option: str, value: object) -> str | None:
    """`python:3.12-slim`, `registry.example.com/team/x@sha256:…`, `oci:PATH`, `docker:NAME`, `docker-archive:PATH`."""
    if value is None:
        return None
    owner = f"`{option}` of environment `{name}`"
    if not isinstance(value, str) or not value.strip():
        raise DefinitionError(f"{owner} is {value!r}, which names no image", mend='write "python:3.12-slim"')
    scheme = _SCHEME.match(value)
    if scheme:
        raise DefinitionError(
            f"{owner} is `{value}`",
            why="the name of an image has no scheme",
            mend=f'write "{value[scheme.end() :]}"; one that lies in a folder is `oci:PATH`',
        )
    place, _, rest = value.partition(":")
    if place in PLACES and rest:
        if "\0" in rest or "\n" in rest:
            raise DefinitionError(f"{owner} is {value!r}, which names no image")
        return value
    if not _REFERENCE.fullmatch(value):
        raise DefinitionError(
            f"{owner} is {value!r}, which names no image",
            mend="write it as `python:3.12-slim` or `registry.example.com/team/image@sha256:…`, "
            "or say where it lies: " + ", ".join(f"`{each}:…`" for each in PLACES),
        )
    return value


def system_packages(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """Packages of the base image's own package manager."""
    for each in values:
        if not _PACKAGE.fullmatch(each):
            raise DefinitionError(
                f"`system_packages` of environment `{name}` holds {each!r}, which is no name of a package",
                mend='write `system_packages=["libgomp1", "git=1:2.39.*"]`; other commands go in a `dockerfile`',
            )
    return values


def user(name: str, value: object) -> str | None:
    """`1000`, `1000:1000`, `app`, `app:app`."""
    if value is None or (isinstance(value, str) and _USER.fullmatch(value)):
        return value
    raise DefinitionError(
        f"`user` of environment `{name}` is {value!r}",
        mend='write a user, and a group if it matters, as text: "1000:1000" or "app"',
    )


def working_directory(name: str, value: object) -> str | None:
    """An absolute path in the image."""
    if value is None or (isinstance(value, str) and _FOLDER.fullmatch(value)):
        return value
    raise DefinitionError(
        f"`working_directory` of environment `{name}` is {value!r}",
        mend='write a path in the image that begins with a slash, such as "/srv"',
    )


def platform(name: str, value: object) -> str | None:
    """As images have it: `linux/arm64`."""
    if value is None or (isinstance(value, str) and _PLATFORM.fullmatch(value)):
        machine = (value or "").partition("/")[2]
        if machine not in _ARCHITECTURES:
            return value
        why = f"images call that architecture `{_ARCHITECTURES[machine]}`"
    else:
        why = ""
    raise DefinitionError(
        f"`platform` of environment `{name}` is {value!r}",
        why=why,
        mend='write it as images have it: "linux/amd64" or "linux/arm64"',
    )


def bytecode(name: str, value: object) -> bool | None:
    """Whether the image holds compiled modules."""
    if value is None or isinstance(value, bool):
        return value
    raise DefinitionError(f"`bytecode` of environment `{name}` is {value!r}", mend="write True or False")


def build_secrets(name: str, value: Any, secret: re.Pattern[str]) -> tuple[tuple[str, str], ...]:
    """Name of the secret by the id that the Dockerfile mounts it under, from names alone or a mapping; sorted."""
    given = dict(value) if hasattr(value, "keys") else None
    if given is None:
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise DefinitionError(
                f"`build_secrets` of environment `{name}` is not a list",
                mend=f"write `build_secrets=[{value!r}]`",
            )
        given = {each: each for each in value}
    for wrong in (each for pair in given.items() for each in pair):
        if not isinstance(wrong, str) or not secret.fullmatch(wrong):
            raise DefinitionError(
                f"`build_secrets` of environment `{name}` names {wrong!r}, which is no name for a secret",
                mend="use letters, digits, hyphens, dots and underscores",
            )
    return tuple(sorted(given.items()))


def refuse_contradictions(name: str, given: Mapping[str, Any]) -> None:
    """Two answers to what an image is made of."""
    if given["image"]:
        beside = [
            key for key, value in given.items() if value not in (None, ()) and key not in _OF_READY_IMAGE
        ]
        if beside:
            raise DefinitionError(
                f"environment `{name}` names a ready `image` and, beside it, `{beside[0]}`",
                why="a ready image is used as it is",
                mend=f"to build on it, write `base_image={given['image']!r}` instead of `image`",
            )
    if given["dockerfile"] and given["base_image"]:
        raise DefinitionError(
            f"environment `{name}` names a `dockerfile` and, beside it, `base_image`",
            why="a Dockerfile says in its `FROM` what it starts from",
            mend='to choose that here, write `ARG BASE` and `FROM $BASE` in it, and `build_args={"BASE": …}`',
        )
    without = [each for each in _OF_DOCKERFILE if given[each]]
    if without and not given["dockerfile"]:
        raise DefinitionError(
            f"environment `{name}` has `{without[0]}` but no `dockerfile`",
            mend='add `dockerfile="Dockerfile"`, or leave it out',
        )
