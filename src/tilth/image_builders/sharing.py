"""Bases that builders made, in a repository of a registry under the tags of their recipes: found and brought there.

What goes wrong with that is told, and no reason to fail: a base that is not shared is built once more elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.errors import OutsideError
from tilth.image_builders import Derived
from tilth.image_builders.deriving import remember_derived, stands_on
from tilth.images.inspecting import inspect_base
from tilth.oci.layouts import Layout
from tilth.oci.references import Reference, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tilth.home import Home
    from tilth.image_builders.recipes import Recipe
    from tilth.images.making import Image
    from tilth.oci.registry import Registry


class SharedBases:
    """One such repository.

    Args:
        registries: Gives the client of a host.
        host: Of the registry.
        repository: In it, with its prefix.
        tell: Is told in a sentence what is found, brought there, or goes wrong.
    """

    def __init__(
        self,
        registries: Callable[[str], Registry],
        host: str,
        repository: str,
        home: Home,
        *,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._registries = registries
        self._place = Reference(host, repository)
        self._home = home
        self._tell = tell

    def find(self, recipe: Recipe) -> Derived | None:
        """What somebody made of a recipe, by one HEAD; it is remembered, and not asked for again."""
        host, repository = self._place.registry, self._place.repository
        try:
            seen = self._registries(host).head_manifest(repository, recipe.tag)
            if seen is None:
                return None
            base = inspect_base(
                f"{self._place.name}@{seen.digest}",
                registry=self._registries,
                home=self._home,
                platform=recipe.platform,
            )
        except OutsideError as error:
            self._tell(_note(f"a shared base for environment `{recipe.owner}` cannot be looked for", error))
            return None
        derived = Derived(
            key=recipe.key,
            base=base,
            asked=recipe.asked,
            stands_on=stands_on(recipe),
            builder="",
            places=(self._place.name,),
            seconds=0,
        )
        remember_derived(derived, self._home)
        self._tell(f"base of environment `{recipe.owner}`: found in `{host}`, where somebody built it before")
        return derived

    def add(self, recipe: Recipe, derived: Derived) -> Derived:
        """Bring a base there, unless it is known to be there; what the registry has of it is not sent."""
        place = self._place.name
        if place in derived.places and not derived.made:
            return derived
        from tilth.images.pushing import push_image

        try:
            pushed = push_image(
                image_of(derived, self._registries),
                self._place.tagged(recipe.tag),
                self._registries,
                self._home,
            )
        except OutsideError as error:
            self._tell(_note(f"the base of environment `{recipe.owner}` is not shared", error))
            return derived
        self._tell(
            f"base of environment `{recipe.owner}`: shared through `{self._place.registry}`, "
            f"{pushed.sent / 1e6:.1f} MB sent"
        )
        derived = msgspec.structs.replace(derived, places=tuple({*derived.places, place}))
        remember_derived(derived, self._home)
        return derived


def image_of(derived: Derived, registries: Callable[[str], Registry]) -> Image:
    """A base as an image of its own, to be pushed or loaded."""
    from tilth.images.making import Image, ImageLayer

    base = derived.base
    kind, _, place = base.source.partition(":")
    if kind == "registry":
        reference = parse(place)
        client = registries(reference.registry)
        manifest, _ = client.get_manifest(reference.repository, base.digest)
        config = client.read_blob(reference.repository, base.identity)
    else:
        from pathlib import Path

        layout = Layout(Path(place))
        manifest, config = layout.read(base.digest), layout.read(base.identity)
    layers = tuple(
        ImageLayer(descriptor=each.descriptor, diff_id=each.diff_id, title="base") for each in base.layers
    )
    return Image(digest=base.digest, manifest=manifest, config=config, layers=layers, base=base)


def _note(what: str, error: OutsideError) -> str:
    why = error.summary if not error.why else f"{error.summary} ({error.why.splitlines()[0]})"
    return f"note: {what}: {why}"
