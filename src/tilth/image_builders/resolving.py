"""What an image that a Dockerfile names is at this moment: its digest in its registry, else its id in the engine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tilth.environments.files import remember
from tilth.errors import EngineUnavailable, ImageNotFound, OutsideError
from tilth.images.inspecting import digest_at
from tilth.oci.references import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.home import Home
    from tilth.oci.references import Reference
    from tilth.oci.registry import Registry


def resolve(
    name: str,
    *,
    registries: Callable[[str], Registry],
    engine: Callable[[str], str | None],
    home: Home,
    offline: bool = False,
) -> str:
    """`REGISTRY/NAME@DIGEST` by one HEAD, `sha256:…` of an image that an engine alone has, or nothing.

    Nothing is known of an image that no registry has, where the engine is on another machine.

    Args:
        registries: Gives the client of a host.
        engine: Gives the id of an image there; empty for none, None where it cannot be asked.
    Raises:
        DefinitionError: It is not the name of an image.
        OutsideError: Neither has it, or the registry that gave it before does not answer.
    """
    reference = parse(name)
    # An image of the engine alone: its registry would be asked in vain each time, for seconds where it is out of reach.
    only_there = home.images / "bases" / "engine" / hashlib.sha256(str(reference).encode()).hexdigest()
    if only_there.exists() and (found := _in_engine(engine, name)):
        return found
    try:
        return f"{reference.name}@{digest_at(reference, registry=registries, home=home, offline=offline)}"
    except OutsideError as error:
        if not isinstance(error, ImageNotFound) and _was_known(reference, registries, home):
            raise
        found = _in_engine(engine, name)
        if found == "":
            raise
        if found:
            remember(only_there, name.encode())
        return found or ""


def _in_engine(engine: Callable[[str], str | None], name: str) -> str | None:
    try:
        return engine(name)
    except EngineUnavailable:
        return ""


def _was_known(reference: Reference, registries: Callable[[str], Registry], home: Home) -> bool:
    """Whether a registry gave it before: another digest is no reason to take what the engine calls so."""
    try:
        digest_at(reference, registry=registries, home=home, offline=True)
    except OutsideError:
        return False
    return True
