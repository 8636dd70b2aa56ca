"""Which interpreter environments are for, where steps do not run on this machine: that of a base image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from tilth import environments as envs
from tilth.environments.venvs import IN_IMAGE
from tilth.errors import DefinitionError, ImageNotFound
from tilth.images.fitting import MACHINES
from tilth.images.options import container_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tilth.environments import Interpreter
    from tilth.home import Home
    from tilth.image_builders import Derived, ImageBuilder
    from tilth.image_builders.recipes import Recipe
    from tilth.image_builders.sharing import SharedBases
    from tilth.images.bases import Base, BaseLayer
    from tilth.images.options import ContainerOptions
    from tilth.ir.pipeline import Pipeline
    from tilth.oci.registry import Registry
    from tilth.orchestrators import Orchestrator

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where an image says nothing
CLIENT = "client"  # the name of the environment of steps that have none, in a container


class ImageTarget:
    """The bases of the environments of one pipeline, and what their Pythons are.

    Args:
        inspect: Gives the base with a name, as `python:3.12-slim`.
        here: The client's interpreter, whose version an environment has that asks for none.
        root: The code root, which Dockerfiles are relative to.
        builder: What runs the commands that a Dockerfile or system packages need.
        tell: Is told each line of such a build.
        act: Whether it may be built now. Else what was never built stands on the base below it, as far as planning
            goes; see `unbuilt`.
        registries: Gives the client of a host, to ask what a `FROM` names.
        shared: Where bases that were built are shared with others.
        platform: That images are for, as images have it; empty for the engine's own.
        mounted: Whether containers are started from the bases themselves, which an engine has to have then.
    """

    def __init__(
        self,
        orchestrator: Orchestrator,
        inspect: Callable[[str], Base],
        here: Interpreter,
        *,
        root: Path,
        home: Home,
        builder: ImageBuilder | None = None,
        tell: Callable[[str], None] = lambda _: None,
        act: bool = True,
        registries: Callable[[str], Registry],
        shared: SharedBases | None = None,
        platform: str = "",
        mounted: bool = False,
        offline: bool = False,
    ) -> None:
        self._orchestrator = orchestrator
        self._inspect = inspect
        self._here = here
        self._root = root
        self._home = home
        self._builder = builder
        self._tell = tell
        self._act = act
        self.registries = registries
        self._shared = shared
        self._platform = platform
        self._mounted = mounted
        self._offline = offline
        self._bases: dict[str, Base] = {}  # by identity
        self._unseen: dict[str, Derived] = {}  # by identity: an engine had it when it was used last
        self.unbuilt: dict[str, str] = {}  # name of an environment -> what has to be built below it

    def interpreter(self, declared: Mapping[str, Any]) -> Interpreter:
        """What an environment is for.

        Args:
            declared: What `Environment.to_json` gave, expanded.
        Raises:
            DefinitionError: Its base has no Python, or another than it asks for.
            EngineUnavailable, BuildFailed: What is below its Python packages cannot be built.
        """
        wanted = declared.get("python")
        options = container_options(declared)
        minor = ".".join(wanted.split(".")[:2]) if wanted and wanted[0].isdigit() else self._here.minor
        base = None
        if not options.dockerfile:
            base = self._inspect(options.image or options.base_image or self._orchestrator.base_image(minor))
        base = self._derived(declared["name"], options, base)
        self._bases[base.identity] = base
        if not wanted and not (options.base_image or options.image or options.dockerfile):
            wanted = minor  # of the client
        return interpreter_of(base, declared["name"], wanted or "", self._here)

    def _derived(self, name: str, options: ContainerOptions, base: Base | None) -> Base:
        """The base with what commands add to it, built unless it is known."""
        if not options.needs_engine:
            assert base is not None
            return base
        from tilth.image_builders import Work
        from tilth.image_builders.deriving import find_derived, moved_since
        from tilth.image_builders.native import NativeBuilder
        from tilth.image_builders.recipes import recipe_of
        from tilth.image_builders.resolving import resolve
        from tilth.secrets import open_secrets

        builder = self._builder or NativeBuilder()
        recipe = recipe_of(
            name,
            options,
            root=self._root,
            base=base,
            home=self._home,
            platform=self._platform,
            resolve=lambda image: resolve(
                image, registries=self.registries, builder=builder, home=self._home, offline=self._offline
            ),
        )
        assert recipe is not None
        shared = None if self._offline else self._shared
        derived = find_derived(recipe, self._home)
        if derived is None and shared is not None:
            derived = shared.find(recipe)
        if derived is None:
            moved = ", ".join(f"`{each}`" for each in moved_since(recipe, self._home))
            what = "its Dockerfile" if options.dockerfile else "its system packages"
            why = f" ({moved} {'have' if ', ' in moved else 'has'} moved)" if moved else ""
            if not self._act:
                self.unbuilt[name] = f"{what}{why}"
                return base or self._stand_in(recipe, options)
            self._tell(f"environment `{name}`: building {what}{why}")
            work = Work(
                home=self._home,
                secret=lambda secret: open_secrets(self._home).get(secret),
                tell=self._tell,
                known=lambda: self._known(recipe, base),
            )
            derived = builder.derive(recipe, work)
        if shared is not None and self._act:
            derived = shared.add(recipe, derived)
        return self._startable(derived) if self._mounted else derived.base

    def _stand_in(self, recipe: Recipe, options: ContainerOptions) -> Base:
        """What is most like the result of a Dockerfile that was not built yet."""
        below = recipe.begins_with
        if "@" in recipe.images.get(below, "") and (base := self._inspect(below)).python:
            return base
        return self._inspect(options.base_image or self._orchestrator.base_image(self._here.minor))

    def _known(self, recipe: Recipe, base: Base | None) -> dict[str, BaseLayer]:
        """Layers below what is built that are blobs somewhere: neither made again nor sent where they are."""
        from tilth.images.inspecting import PLATFORM, layers_at
        from tilth.oci.references import parse

        if base is not None:
            found = [
                msgspec.structs.replace(each, source=base.place(each.descriptor.digest))
                for each in base.layers
                if not base.source.startswith("engine:")
            ]
        else:
            found = []
            for image in recipe.images.values():
                if "@" in image:
                    reference = parse(image)
                    client = self.registries(reference.registry)
                    found += layers_at(reference, client, platform=recipe.platform or PLATFORM)
        return {each.diff_id: each for each in found}

    def _startable(self, derived: Derived) -> Base:
        """What was built as an image of the engine that containers are started in; see `image`."""
        kind = self._orchestrator.engine
        known = derived.engine_ids.get(kind)
        if known and not derived.made:
            self._unseen[derived.base.identity] = derived
            return _of_engine(derived, kind, known)
        return self._in_engine(derived) if self._act else derived.base

    def _in_engine(self, derived: Derived) -> Base:
        """The same, looked for there, and brought there if need be."""
        from tilth.image_builders.deriving import remember_derived
        from tilth.image_builders.sharing import image_of
        from tilth.images.engines import Engine
        from tilth.images.loading import load_image

        kind = self._orchestrator.engine
        name = f"tilth-base:{derived.key[:20]}"
        engine = Engine(kind="podman" if kind == "podman" else "docker", needed_for=f"the base `{name}`")
        try:
            found = self._inspect(f"{kind}:{name}")
        except ImageNotFound:
            if derived.base.source.startswith("registry:"):
                found = self._inspect(derived.base.reference)
            else:
                self._tell(f"`{kind}` is given the base `{name}`")
                image = image_of(derived, self.registries)
                load_image(image, self._home, self.registries, engine=engine, names=[name])
                found = self._inspect(f"{kind}:{name}")
        derived = msgspec.structs.replace(derived, engine_ids={**derived.engine_ids, kind: found.digest})
        remember_derived(derived, self._home)
        return _of_engine(derived, kind, found.digest)

    def base(self, digest: str) -> Base:
        """One that `interpreter` gave, by its identity."""
        return self._bases[digest]

    def pinned(self, digest: str) -> str:
        """A base as it can be had again whatever its tag has become, from its identity."""
        base = self.base(digest)
        scheme, _, place = base.source.partition(":")
        if scheme == "engine":
            return f"{place}:{base.digest}"
        return f"{place}@{base.digest}" if scheme == "registry" else base.reference

    def image(self, digest: str) -> str:
        """What a container engine starts. A base that was built is looked for there now, and not before."""
        if (derived := self._unseen.pop(digest, None)) is not None:
            self._bases[digest] = self._in_engine(derived)
        return self.pinned(digest).removeprefix("docker:").removeprefix("podman:")

    def path(self, digest: str) -> str:
        """Where programs are looked for in a container with an environment."""
        given = dict(each.partition("=")[::2] for each in self.base(digest).config.get("Env") or ())
        return f"{IN_IMAGE}/bin:{given.get('PATH', _PATH)}"


def _of_engine(derived: Derived, kind: str, known_as: str) -> Base:
    return msgspec.structs.replace(
        derived.base,
        reference=f"{kind}:tilth-base:{derived.key[:20]}",
        source=f"engine:{kind}",
        digest=known_as,
    )


def interpreter_of(base: Base, name: str, wanted: str, here: Interpreter) -> Interpreter:
    """The Python of a base.

    Args:
        name: Of the environment that stands on it, for messages.
        wanted: `3.12`, `3.12.4`, or a specifier; empty for any.
    Raises:
        DefinitionError: It has none, or another than is wanted, or is of a kind that nothing is locked for.
    """
    if not base.python:
        raise DefinitionError(
            f"environment `{name}` stands on `{base.title}`, which has no Python",
            mend="give a `base_image` that has one, such as `python:3.12-slim`",
        )
    if base.os != "linux" or base.architecture not in MACHINES:
        raise DefinitionError(
            f"environment `{name}` stands on `{base.title}`, which is for {base.platform}",
            why="environments are locked for linux/amd64 and linux/arm64",
            mend="give a `base_image` for one of them",
        )
    if wanted and not _suits(wanted, base.version):
        raise DefinitionError(
            f"environment `{name}` asks for Python {wanted}, and its base `{base.title}` has {base.version}",
            mend="give a `base_image` with that Python, or ask for the one it has: "
            f'`python="{".".join(base.version.split(".")[:2])}"`',
        )
    if not base.libc:
        raise DefinitionError(
            f"environment `{name}` stands on `{base.title}`, whose C library is not known",
            mend="give a `base_image` with glibc or musl",
        )
    return envs.in_image(
        python=base.python,
        version=base.version,
        libc=base.libc,
        machine=MACHINES[base.architecture],
        digest=base.identity,
        here=here,
    )


def in_containers(pipeline: Pipeline) -> Pipeline:
    """The pipeline with an environment for each step that has none: what the client has installed.

    In a container there is no interpreter of the client's to run in.
    """
    if all(node.environment is not None for node in pipeline.nodes):
        return pipeline
    name = CLIENT
    while name in pipeline.environments:
        name += "-1"
    nodes = tuple(
        node if node.environment is not None else dataclasses.replace(node, environment=name)
        for node in pipeline.nodes
    )
    declared = {**pipeline.environments, name: {"name": name, "source": "client"}}
    return dataclasses.replace(pipeline, nodes=nodes, environments=declared)


def _suits(wanted: str, version: str) -> bool:
    if wanted[0].isdigit():
        return version == wanted or version.startswith(f"{wanted}.")
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)
