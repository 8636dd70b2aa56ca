"""Image builders: what runs the commands that some images need, and where.

The Python packages of an image are never among them: those layers are made from the lock, without an engine
(`tilth.images`). A builder makes what lies below: system packages, and Dockerfiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from tilth.images.bases import Base, BaseLayer  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tilth.home import Home
    from tilth.image_builders.recipes import Recipe
    from tilth.oci.registry import Registry


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe became: a base like any other."""

    key: str  # of the recipe
    base: Base
    asked: str = ""  # as `Recipe.asked`
    stands_on: dict[str, str] = {}  # what each image that the recipe names was then
    engine: str = ""  # what it is called in the engine that made it, where it stays there
    engine_ids: dict[str, str] = {}  # by kind of an engine that containers were started in, its id there
    builder: str  # its name; empty where it was found in a registry
    places: tuple[str, ...] = ()  # repositories that have it, with their hosts
    seconds: float  # that making it took, when it was made
    made: bool = False  # now, rather than found

    @property
    def reference(self) -> str:
        """`oci:PATH:NAME` where it was built, `HOST/REPOSITORY@DIGEST` where it was found in a registry."""
        return self.base.reference

    @property
    def digest(self) -> str:
        """Of its manifest."""
        return self.base.digest


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a builder needs beside the recipe."""

    home: Home
    secret: Callable[[str], str]  # value of a secret by name
    tell: Callable[[str], None] = lambda _: None  # each line of the build as it comes, secrets hidden
    log: Path | None = None  # kept there; by default beside what is remembered of the recipe
    refresh: bool = False  # make it again: newer system packages
    # By the digests of their plain tars, layers that are somewhere as blobs; asked only when something is built.
    known: Callable[[], Mapping[str, BaseLayer]] = dict


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

    def image_id(self, name: str) -> str | None:
        """The id of an image that a `FROM` would take from its engine; empty when that has none of the name.

        None where that cannot be asked from here.
        """
        ...

    def check(self) -> None:
        """See whether it could build.

        Raises:
            EngineUnavailable: It could not.
        """
        ...


@runtime_checkable
class Elsewhere(ImageBuilder, Protocol):
    """One that is another machine, with a tilth of its own: it makes whole images, and brings them into a registry."""

    @property
    def place(self) -> str:
        """Which machine, for people."""
        ...

    def for_registry(self, registry: Registry, repository: str) -> Elsewhere:
        """The same, for images that go there: bases that it builds do so too, and never come here."""
        ...

    def run(
        self, program: str, order: bytes, files: Sequence[tuple[Path, str]], tell: Callable[[str], None]
    ) -> bytes:
        """Have a program do there what it is ordered; gives its answer.

        Args:
            program: A module that calls `tilth.image_builders.elsewhere.serve`.
            files: What goes along, each with its name there.
        """
        ...
