"""Which interpreter environments are for, where steps do not run on this machine: that of a base image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tilth import environments as envs
from tilth.environments.venvs import IN_IMAGE
from tilth.errors import DefinitionError
from tilth.images.fitting import MACHINES
from tilth.images.options import container_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tilth.client.bases import BuiltBases
    from tilth.environments import Interpreter
    from tilth.image_builders.recipes import Recipe
    from tilth.images.bases import Base
    from tilth.ir.pipeline import Pipeline
    from tilth.orchestrators import Orchestrator

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where an image says nothing
CLIENT = "client"  # the name of the environment of steps that have none, in a container


class ImageTarget:
    """The bases of the environments of one pipeline, and what their Pythons are.

    Args:
        inspect: Gives the base with a name, as `python:3.12-slim`, for a platform, which may be empty.
        here: The client's interpreter, whose version an environment has that asks for none.
        built: Gives the bases of environments that need commands run.
    """

    def __init__(
        self,
        orchestrator: Orchestrator,
        inspect: Callable[[str, str], Base],
        here: Interpreter,
        built: BuiltBases,
    ) -> None:
        self._orchestrator = orchestrator
        self._inspect = inspect
        self._here = here
        self.built = built
        self._bases: dict[str, Base] = {}  # by identity

    @property
    def unbuilt(self) -> dict[str, str]:
        """By name of an environment, what has to be built below it."""
        return self.built.unbuilt

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
        minor, usual = self._usual(declared)
        if options.needs_engine:
            base = self.built.base(declared["name"], options, usual)
        else:
            base = self.built.again(usual) or self._inspect(usual, options.platform)
        self._bases[base.identity] = base
        if not wanted and not (options.base_image or options.image or options.dockerfile):
            wanted = minor  # of the client
        return interpreter_of(base, declared["name"], wanted or "", self._here)

    def recipe(self, declared: Mapping[str, Any]) -> Recipe | None:
        """What has to be built below an environment's Python packages; None when nothing has."""
        options = container_options(declared)
        if not options.needs_engine:
            return None
        return self.built.recipe(declared["name"], options, self._usual(declared)[1])[0]

    def _usual(self, declared: Mapping[str, Any]) -> tuple[str, str]:
        """The Python that an environment asks for, else the client's, and the base it has without commands."""
        wanted, options = declared.get("python"), container_options(declared)
        minor = ".".join(wanted.split(".")[:2]) if wanted and wanted[0].isdigit() else self._here.minor
        return minor, options.image or options.base_image or self._orchestrator.base_image(minor)

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
        if (there := self.built.in_engine(digest)) is not None:
            self._bases[digest] = there
        return self.pinned(digest).removeprefix("docker:").removeprefix("podman:")

    def path(self, digest: str) -> str:
        """Where programs are looked for in a container with an environment."""
        given = dict(each.partition("=")[::2] for each in self.base(digest).config.get("Env") or ())
        return f"{IN_IMAGE}/bin:{given.get('PATH', _PATH)}"


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
    if wanted and not suits(wanted, base.version):
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


def suits(wanted: str, version: str) -> bool:
    """Whether a version of Python is what an environment asks for: `3.12`, `3.12.4`, or a specifier."""
    if wanted[0].isdigit():
        return version == wanted or version.startswith(f"{wanted}.")
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)
