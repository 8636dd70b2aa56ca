"""The bases of environments that need commands run: known here, found in the project's registry, or built."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import ImageNotFound, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tilth.environments.files import Shared
    from tilth.home import Home
    from tilth.image_builders import Derived, ImageBuilder
    from tilth.image_builders.recipes import Recipe
    from tilth.image_builders.sharing import SharedBases
    from tilth.images.bases import Base, BaseLayer
    from tilth.images.engines import Engine
    from tilth.images.options import ContainerOptions
    from tilth.oci.registry import Registry


@dataclass
class BuiltBases:
    """What is built below the Python packages of a project's environments.

    Attributes:
        inspect: Gives the base with a name, as `python:3.12-slim`, for a platform, which may be empty.
        root: The code root, which Dockerfiles are relative to.
        registries: Gives the client of a host, to ask what a `FROM` names.
        builder: What runs commands; None for nothing that could.
        shared: Where bases are shared with others.
        engine: That containers are started in from the bases themselves; empty where images stand on them.
        platform: That images are for, as images have it; empty for the engine's own.
        tell: Is told what is done, and each line of a build.
        act: Whether it may be built now. Else what was never built is stood in for by the base below it, as far as
            planning goes.
        refreshes: Whether the base of an environment, by its name, is built anew though it is known. Each is so once.
        unbuilt: By name of an environment, what that was.
        refreshed: Keys of the recipes that were built anew.
    """

    inspect: Callable[[str, str], Base]
    root: Path
    home: Home
    registries: Callable[[str], Registry]
    builder: ImageBuilder | None = None
    shared: SharedBases | None = None
    engine: str = ""
    platform: str = ""
    tell: Callable[[str], None] = lambda _: None
    act: bool = True
    offline: bool = False
    refreshes: Callable[[str], bool] = lambda _: False
    unbuilt: dict[str, str] = field(default_factory=dict)
    refreshed: set[str] = field(default_factory=set)
    _unseen: dict[str, Derived] = field(
        default_factory=dict
    )  # by identity: the engine had it when it was used last
    _kept: Shared | None = None  # so that none of them is pruned while this is used

    def base(self, name: str, options: ContainerOptions, usual: str) -> Base:
        """The base of an environment, built unless it is known.

        Args:
            name: Of the environment.
            usual: The base that it would have without commands; below its system packages, or instead of a Dockerfile.
        Raises:
            EngineUnavailable, BuildFailed, OutsideError: It cannot be built, or what it stands on is not there.
        """
        from tilth.image_builders.deriving import find_derived, moved_since

        recipe, below = self.recipe(name, options, usual)
        shared = None if self.offline else self.shared
        refresh = self.refreshes(name) and recipe.key not in self.refreshed
        derived = None if refresh else find_derived(recipe, self.home)
        if derived is None and shared is not None and not refresh:
            derived = shared.find(recipe)
        if derived is None:
            moved = ", ".join(f"`{each}`" for each in moved_since(recipe, self.home))
            what = "its Dockerfile" if options.dockerfile else "its system packages"
            what += f" ({moved} {'have' if ', ' in moved else 'has'} moved)" if moved else ""
            if not self.act:
                self.unbuilt[name] = what
                return below or self._stand_in(recipe, usual)
            self.tell(f"environment `{name}`: building {what}")
            derived = self._build(recipe, below, refresh=refresh)
            if refresh:
                self.refreshed.add(recipe.key)
        if shared is not None and self.act:
            derived = shared.add(recipe, derived)
        return self._startable(derived) if self.engine else derived.base

    def recipe(self, name: str, options: ContainerOptions, usual: str) -> tuple[Recipe, Base | None]:
        """What is built for an environment, and on which base; None with a Dockerfile. For the arguments see `base`."""
        from tilth.image_builders.recipes import recipe_of
        from tilth.images.pruning import keep

        self._kept = self._kept or keep(self.home)
        platform = self.platform or options.platform
        below = None if options.dockerfile else self.inspect(usual, platform)
        recipe = recipe_of(
            name,
            options,
            root=self.root,
            base=below,
            home=self.home,
            platform=platform,
            resolve=self._resolved,
        )
        assert recipe is not None
        return recipe, below

    def again(self, reference: str) -> Base | None:
        """A base by the reference that one of these had, as records have it; None for any other."""
        from tilth.image_builders.deriving import derived_called  # here for cost: few bases were built

        derived = derived_called(reference, self.home) if reference.startswith("oci:") else None
        return None if derived is None else derived.base

    def in_engine(self, identity: str) -> Base | None:
        """A base that a container is about to be started from, if it was not looked for in the engine yet."""
        derived = self._unseen.pop(identity, None)
        return None if derived is None else self._brought(derived)

    @functools.cached_property
    def _resolved(self) -> Callable[[str], str]:
        """What an image is now: environments of one Dockerfile ask once."""
        from tilth.image_builders.native import NativeBuilder
        from tilth.image_builders.resolving import resolve

        builder = self.builder or NativeBuilder()

        def image_id(name: str) -> str | None:
            found = builder.image_id(name)
            # Without a builder it is planned all the same, with what the engine of the containers has.
            return _id(_engine(self.engine, name), name) if found == "" and self.engine else found

        return functools.cache(
            lambda image: resolve(
                image, registries=self.registries, engine=image_id, home=self.home, offline=self.offline
            )
        )

    def _build(self, recipe: Recipe, below: Base | None, *, refresh: bool) -> Derived:
        from tilth.image_builders import Work
        from tilth.image_builders.native import NativeBuilder
        from tilth.secrets import open_secrets

        work = Work(
            home=self.home,
            secret=lambda secret: open_secrets(self.home).get(secret),
            tell=self.tell,
            refresh=refresh,
            known=lambda: self._known(recipe, below),
        )
        return (self.builder or NativeBuilder()).derive(recipe, work)

    def _stand_in(self, recipe: Recipe, usual: str) -> Base:
        """What is most like the result of a Dockerfile that was not built yet."""
        below = recipe.begins_with
        if "@" in recipe.images.get(below, "") and (base := self.inspect(below, recipe.platform)).python:
            return base
        return self.inspect(usual, recipe.platform)

    def _known(self, recipe: Recipe, below: Base | None) -> dict[str, BaseLayer]:
        """Layers below what is built that are blobs somewhere: neither made again, nor sent where they are."""
        from tilth.images.inspecting import PLATFORM, layers_at
        from tilth.oci.references import parse

        found: list[BaseLayer] = []
        if below is not None and not below.source.startswith("engine:"):
            found += [
                msgspec.structs.replace(each, source=below.place(each.descriptor.digest))
                for each in below.layers
            ]
        for image in recipe.images.values():
            if "@" in image and not self.offline:
                reference = parse(image)
                client = self.registries(reference.registry)
                try:
                    found += layers_at(reference, client, platform=recipe.platform or PLATFORM)
                except OutsideError:  # an engine may have it all the same; then its layers are made again
                    continue
        return {each.diff_id: each for each in found}

    def _startable(self, derived: Derived) -> Base:
        """What was built, as an image of the engine; one that it had before is looked for when it is started."""
        known = derived.engine_ids.get(self.engine)
        if known and not derived.made:
            self._unseen[derived.base.identity] = derived
            return _there(derived, self.engine, known)
        return self._brought(derived) if self.act else derived.base

    def _brought(self, derived: Derived) -> Base:
        """The same, looked for in the engine, and brought there if need be."""
        from tilth.image_builders.deriving import remember_derived
        from tilth.image_builders.sharing import image_of
        from tilth.images.loading import load_image

        name, kind = _name(derived), self.engine
        engine = _engine(kind, name)
        found = _id(engine, name)
        if not derived.made and found not in (
            derived.base.identity,
            derived.base.digest,
            derived.engine_ids.get(kind),
        ):
            found = ""  # somebody else may have built the same recipe there
        if not found and derived.base.source.startswith("registry:"):
            found = self.inspect(derived.base.reference, derived.base.platform).digest
        if not found:
            self.tell(f"`{kind}` is given the base `{name}`")
            image = image_of(derived, self.registries)
            load_image(image, self.home, self.registries, engine=engine, names=[name])
            found = _id(engine, name)
        derived = msgspec.structs.replace(derived, engine_ids={**derived.engine_ids, kind: found})
        remember_derived(derived, self.home)
        return _there(derived, kind, found)


def _engine(kind: str, name: str) -> Engine:
    from tilth.images.engines import Engine

    return Engine(kind="podman" if kind == "podman" else "docker", needed_for=f"the base `{name}`")


def _id(engine: Engine, name: str) -> str:
    """What an engine has under a name; empty for nothing."""
    try:
        told = str(engine.image(name)["Id"])
    except ImageNotFound:
        return ""
    return f"sha256:{told.removeprefix('sha256:')}"  # Podman leaves it out


def _name(derived: Derived) -> str:
    """What an engine calls a base."""
    return f"tilth-base:{derived.key[:20]}"


def _there(derived: Derived, kind: str, known_as: str) -> Base:
    return msgspec.structs.replace(
        derived.base, reference=f"{kind}:{_name(derived)}", source=f"engine:{kind}", digest=known_as
    )
