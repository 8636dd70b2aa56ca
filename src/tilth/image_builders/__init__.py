"""Image builders: what runs the commands that some images need, and where.

The Python packages of an image are never among them: those layers are made from the lock, without an engine
(`tilth.images`). A builder makes what lies below: system packages, and Dockerfiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tilth.home import Home
    from tilth.image_builders.recipes import Recipe


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe became: a base like any other, to be inspected by its reference."""

    key: str  # of the recipe
    reference: str  # `oci:PATH:NAME`
    digest: str  # of its manifest
    engine: str = ""  # what it is called in the engine that made it, where it stays there
    builder: str
    seconds: float  # that making it took, when it was made
    made: bool = False  # now, rather than found


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a builder needs beside the recipe."""

    home: Home
    secret: Callable[[str], str]  # value of a secret by name
    tell: Callable[[str], None] = lambda _: None  # each line of the build as it comes, secrets hidden
    log: Path | None = None  # kept there; by default beside what is remembered of the recipe
    refresh: bool = False  # make it again: newer system packages, a moved tag in a `FROM`


class ImageBuilder(Protocol):
    """Runs what a recipe says."""

    name: str

    def derive(self, recipe: Recipe, work: Work) -> Derived:
        """The base that a recipe gives, made unless it is remembered.

        Raises:
            EngineUnavailable: The engine is absent, or does not answer.
            BuildFailed: A command of the recipe failed.
        """
        ...

    def check(self) -> None:
        """See whether it could build.

        Raises:
            EngineUnavailable: It could not.
        """
        ...
