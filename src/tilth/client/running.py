"""What a run needs of the stack it is for: where its steps run, and what their environments are for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tilth.client.registries import clients, registry_client, shared_bases, stack_registry
from tilth.engine import events
from tilth.errors import DefinitionError, ImageNotFound
from tilth.orchestrators.this_machine import LocalOrchestrator
from tilth.stack.assembled import required_types
from tilth.stack.component_types import TYPES, label
from tilth.store.logins import active_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tilth.client.environments import ProjectEnvironments
    from tilth.client.targets import ImageTarget
    from tilth.environments import Interpreter
    from tilth.environments.files import Shared
    from tilth.home import Home
    from tilth.image_builders import ImageBuilder
    from tilth.image_builders.sharing import SharedBases
    from tilth.images.bases import Base
    from tilth.ir.pipeline import Pipeline
    from tilth.oci.registry import Registry
    from tilth.orchestrators import Orchestrator
    from tilth.records import CodeDelivery, ComponentUsed
    from tilth.stack.assembled import AssembledStack
    from tilth.store import Store


@dataclass(frozen=True)
class Running:
    """Where and how the steps of a run are run.

    Attributes:
        stack: Name; empty for the default one.
        target: What environments are for, where steps run in containers.
        used: What the run's record says of the orchestrator; None for this machine.
        artifact_store: The same of the artifact store.
    """

    stack: str
    orchestrator: Orchestrator
    target: ImageTarget | None = None
    used: ComponentUsed | None = None
    artifact_store: ComponentUsed | None = None

    def pipeline(self, compiled: Pipeline) -> Pipeline:
        """The pipeline as it runs there."""
        if self.target is None:
            return compiled
        from tilth.client.targets import in_containers  # here for cost, as below: most runs need no images

        return in_containers(compiled)


def running_on(
    stack: AssembledStack,
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    tell: Callable[[str], None] = lambda _: None,
    act: bool = True,
    offline: bool = False,
) -> Running:
    """What a stack gives a run of a project.

    Args:
        root: The code root.
        interpreter: The client's.
        tell, act: See `running_as`.
    Raises:
        DefinitionError: It lacks a component that every stack has.
        TilthError: It cannot be used.
    """
    for type_ in required_types():
        if stack.component(type_) is None:
            raise DefinitionError(
                f"stack `{stack.name}` has no {label(type_)}",
                why="its component was deleted",
                mend=f"`tilth stack update {stack.name} -{TYPES[type_].option} NAME`",
            )
    orchestrator, artifacts = stack.component("orchestrator"), stack.component("artifact_store")
    assert orchestrator is not None
    assert artifacts is not None
    used = orchestrator.used if orchestrator.flavor != "local" else None
    shared = artifacts.used if artifacts.flavor != "local" or artifacts.settings else None
    name = stack.name if used or shared else ""
    if shared is None:
        shared = server_store(home, root)
    builder = bases = None
    registries: Callable[[str], Registry] = registry_client
    if used is not None:
        from tilth.client.stacks import Stacks, open_component

        if (component := stack.component("image_builder")) is not None:
            opened = open_component("image_builder", component.used, root=root, home=home)
            builder = cast("ImageBuilder", opened)
        registry = stack_registry(stack, root, home)
        registries = clients(registry)
        bases = shared_bases(registry, registries, Stacks(None, root).project, home, tell)
    return running_as(
        name,
        used,
        shared,
        root=root,
        interpreter=interpreter,
        home=home,
        builder=builder,
        registries=registries,
        bases=bases,
        tell=tell,
        act=act,
        offline=offline,
    )


def server_store(home: Home, root: Path) -> ComponentUsed | None:
    """Where artifacts go that a stack keeps at home, when records are on a server: others cannot reach this home."""
    if active_server(home) is None:
        return None
    from tilth.records import ComponentUsed
    from tilth.store.opening import current_project

    return ComponentUsed(flavor="server", settings={"project": current_project(root)})


def running_as(
    stack: str,
    used: ComponentUsed | None,
    artifact_store: ComponentUsed | None,
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    builder: ImageBuilder | None = None,
    registries: Callable[[str], Registry] = registry_client,
    bases: SharedBases | None = None,
    tell: Callable[[str], None] = lambda _: None,
    act: bool = True,
    offline: bool = False,
) -> Running:
    """What a recorded run was given.

    Args:
        builder: What builds below the Python packages of images.
        registries: Gives the client of a host.
        bases: Where what it builds is shared with others.
        tell: Is told each line of such a build.
        act: Whether it may be built now.
    """
    if used is None:
        return Running(stack, LocalOrchestrator(), artifact_store=artifact_store)
    from tilth.client.stacks import open_component

    orchestrator = cast("Orchestrator", open_component("orchestrator", used, root=root, home=home))
    target = None
    if orchestrator.in_containers:
        from tilth.client.bases import BuiltBases
        from tilth.client.targets import ImageTarget

        found = Bases(
            home,
            engine=orchestrator.engine,
            with_layers=orchestrator.delivery != "mount",
            offline=offline,
            tell=tell,
            registry=registries,
        )
        built = BuiltBases(
            found.find,
            root,
            home,
            registries,
            builder=builder,
            shared=bases,
            engine=orchestrator.engine if orchestrator.delivery == "mount" else "",
            tell=tell,
            act=act,
            offline=offline,
        )
        target = ImageTarget(orchestrator, found.find, interpreter, built)
    return Running(stack, orchestrator, target, used, artifact_store)


def make_images(
    running: Running,
    environments: ProjectEnvironments,
    store: Store,
    home: Home,
    listener: events.Listener,
    *,
    code: CodeDelivery | None = None,
) -> dict[str, str]:
    """Make the images that the run's steps are started from, where environments are not mounted: digests by name.

    Args:
        code: How the project's code is delivered: it may go into them.
    """
    if running.orchestrator.delivery in ("venv", "mount"):
        return {}
    from tilth.client.bundle import bundle_path
    from tilth.client.images import run_images

    builds = run_images(
        running,
        environments,
        store=store,
        home=home,
        code=bundle_path(code.bundle, home) if code is not None and code.how == "image" else None,
        tell=lambda text: listener(events.Notice(text)),
    )
    environments.images = {name: each.references[-1].partition(":")[2] for name, each in builds.items()}
    return {name: each.image for name, each in builds.items()}


class Bases:
    """Finds base images by the names that people give them.

    Args:
        engine: Of an orchestrator whose containers are started from images that a container engine has: looked in
            first, and told to pull what it lacks.
        platform: As images have it: `linux/arm64`. By default what an environment says; where that says nothing,
            what a container engine has, else this machine's.
        with_layers: Whether images will stand on them, rather than have environments mounted.
        tell: Is told when something is pulled, which may take its time.
    """

    def __init__(
        self,
        home: Home,
        *,
        engine: str = "",
        registry: Callable[[str], Registry] | None = None,
        platform: str = "",
        with_layers: bool = True,
        offline: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._home = home
        self._tell = tell
        self._engine = engine
        self._registry = registry or registry_client
        self._platform = platform
        self._with_layers = with_layers
        self._offline = offline
        self._found: dict[tuple[str, str], Base] = {}
        self._kept: Shared | None = None  # so that no blob of theirs is pruned before an image is made

    def find(self, reference: str, platform: str = "") -> Base:
        """A base by its name.

        Args:
            platform: That an environment asks for.
        Raises:
            ImageNotFound: There is none of that name.
            OutsideError: Whoever has it does not answer.
        """
        if self._with_layers and self._kept is None:
            from tilth.images.pruning import keep

            self._kept = keep(self._home)
        asked = (reference, self._platform or platform)
        if asked not in self._found:
            self._found[asked] = self._inspect(*asked)
        return self._found[asked]

    def _inspect(self, reference: str, platform: str) -> Base:
        from tilth.images.inspecting import inspect_base
        from tilth.images.platforms import own_platform

        def inspect(name: str) -> Base:
            in_engine = name.partition(":")[0] in ("docker", "podman")
            return inspect_base(
                name,
                registry=self._registry,
                home=self._home,
                offline=self._offline,
                platform=platform or ("" if in_engine else own_platform()),
                with_layers=self._with_layers,
            )

        if not self._engine or _is_elsewhere(reference):
            return inspect(reference)
        try:
            return inspect(f"{self._engine}:{reference}")
        except ImageNotFound:
            if self._offline:
                raise
        self._tell(f"`{self._engine}` pulls the base image `{reference}`")
        pull(self._engine, reference, platform)
        return inspect(f"{self._engine}:{reference}")


def pull(engine: str, reference: str, platform: str = "") -> None:
    """Have a container engine fetch an image.

    Args:
        platform: By default the engine's own.
    Raises:
        ImageNotFound: It cannot.
    """
    answer = subprocess.run(
        [engine, "pull", "--quiet", *(["--platform", platform] if platform else []), reference],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode != 0:
        raise ImageNotFound(
            f"the base image `{reference}` is not in the engine{f' for `{platform}`' if platform else ''}, "
            f"and `{engine} pull` does not get it",
            why="\n".join(answer.stderr.strip().splitlines()[-3:]),
            mend="see whether the name is right, log in with "
            f"`{engine} login`, or name another: `Environment(..., base_image=…)`, "
            "or the orchestrator's setting `base_image`",
        )


def _is_elsewhere(reference: str) -> bool:
    """Whether a name says itself where the image is."""
    return reference.partition(":")[0] in ("oci", "docker-archive", "docker", "podman")
