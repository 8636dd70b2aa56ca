"""The types of component that a stack may have. A new one is a row here, and flavors that provide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tilth.errors import UnknownOption, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class ComponentType:
    """One type."""

    title: str
    option: str  # its letter on the command line
    has: tuple[str, ...]  # members of the interface that its components keep
    required: bool = False  # by every stack
    needed_by: tuple[str, ...] = ("client", "server")  # whose environments hold what its flavors need


TYPES = {
    "orchestrator": ComponentType(
        "where steps run",
        "o",
        ("in_containers", "delivery", "engine", "base_image", "launcher"),
        required=True,
    ),
    "artifact_store": ComponentType(
        "where what steps give is kept",
        "a",
        ("where", "put", "get", "read", "find", "list", "delete", "check"),
        required=True,
        needed_by=("client", "supervisor", "server"),
    ),
    "container_registry": ComponentType(
        "where images are kept", "c", ("host", "compression", "repository", "registry", "check")
    ),
    "image_builder": ComponentType("where images are made", "i", ("name", "derive", "image_id", "check")),
}

PLACES = ("client", "supervisor", "server")


def check_type(name: str) -> str:
    """The type of this name; `artifact-store` is taken for `artifact_store`.

    Raises:
        UnknownOption: There is none.
    """
    plain = name.replace("-", "_")
    if plain not in TYPES:
        raise UnknownOption(f"there is no component type `{name}`", mend=nearest(plain, TYPES))
    return plain


def label(name: str) -> str:
    """A type as it is spoken of: `artifact store`."""
    return name.replace("_", " ")


def in_order(names: Iterable[str]) -> list[str]:
    """Types in the order they are told in; those of a later tilth come last."""
    known = list(TYPES)
    return sorted(names, key=lambda each: (known.index(each) if each in TYPES else len(known), each))
