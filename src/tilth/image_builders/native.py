"""The image builder of every stack that names none: no engine, so no commands below the Python packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.errors import EngineUnavailable
from tilth.image_builders.deriving import find_derived
from tilth.stack.flavors import Flavor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.image_builders import Derived, Work
    from tilth.image_builders.recipes import Recipe
    from tilth.stack.flavors import Context, Finding


class NativeBuilderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """It has none."""


class NativeBuilder:
    """Uses bases that were built before, and builds none itself."""

    name = "native"

    def derive(self, recipe: Recipe, work: Work) -> Derived:
        """What another builder made of the recipe on this machine."""
        found = None if work.refresh else find_derived(recipe, work.home)
        if found is not None:
            return found
        asks = "a Dockerfile" if recipe.dockerfile else "system packages"
        raise EngineUnavailable(
            f"environment `{recipe.owner}` asks for {asks}, and the image builder `native` runs no commands",
            why="it lays Python packages on a base without a container engine",
            mend="register one that has an engine and set it in the stack: "
            "`tilth component register image-builder NAME --flavor docker` (or `podman`), "
            "or name a `base_image` that has them",
        )

    def image_id(self, name: str) -> str | None:  # noqa: ARG002 - as builders have it
        """None has it: there is no engine."""
        return ""

    def check(self) -> None:
        """It needs nothing."""


class NativeFlavor(Flavor[NativeBuilderSettings]):
    """The flavor `native`."""

    type = "image_builder"
    name = "native"
    title = "Python packages on a base, without a container engine"
    settings = NativeBuilderSettings

    def make(self, settings: NativeBuilderSettings, context: Context) -> NativeBuilder:  # noqa: ARG002
        """The builder; nothing is started yet."""
        return NativeBuilder()

    def check(self, settings: NativeBuilderSettings, context: Context) -> Sequence[Finding]:
        """Whether it could build."""
        self.make(settings, context).check()
        return ()
