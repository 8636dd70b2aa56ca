"""`tilth build`: the images of a pipeline's environments, without a run."""

from __future__ import annotations

import contextlib
import importlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tilth.client.bases import BuiltBases
from tilth.client.building import Destination, Images, Wanted, distinct
from tilth.client.compilation import compile_file
from tilth.client.environments import ProjectEnvironments
from tilth.client.registries import clients, repository_of, shared_bases, stack_registry
from tilth.client.running import Bases
from tilth.client.targets import ImageTarget, in_containers
from tilth.engine import events
from tilth.errors import DefinitionError, NotFound, nearest
from tilth.home import Home
from tilth.images.options import container_options
from tilth.images.platforms import check_platform
from tilth.oci.connections import load_httpx
from tilth.orchestrators.docker import DockerSettings
from tilth.records import Build, Run
from tilth.settings import home_folder, setting
from tilth.store import open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from tilth.client.compilation import Compiled
    from tilth.client.running import Running
    from tilth.container_registries import ContainerRegistry
    from tilth.define import Environment
    from tilth.environments import Interpreter
    from tilth.image_builders import ImageBuilder
    from tilth.images.referrers import Attached
    from tilth.oci.registry import Registry
    from tilth.orchestrators import Orchestrator
    from tilth.stack.assembled import AssembledStack
    from tilth.store import Store

BUILT = "it is built"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build; absent ones are the stack's.

    Attributes:
        names: Of environments; empty for all that steps run in.
        output: An OCI layout to write: a folder, or a file that ends in `.tar`.
        engine: A container engine to load into.
        sign: The key that images in the registry are signed with: a path, or `secret:NAME`.
        refresh: Whether what Dockerfiles and system packages give is built anew.
    """

    names: tuple[str, ...] = ()
    registry: str | None = None
    output: str | None = None
    engine: str | None = None
    builder: str | None = None
    platform: str | None = None
    stack: str | None = None
    python: str | None = None
    offline: bool = False
    sign: str | None = None
    refresh: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before anything is made.

        Raises:
            DefinitionError: It is so.
        """
        for name in ("registry", "output", "builder", "platform", "stack", "python", "sign"):
            if getattr(self, name) == "":  # a variable of a script that is not set
                raise DefinitionError(f"`--{name}` is empty", mend="give it a value, or leave it out")
        if self.platform:
            check_platform(self.platform)
        if self.output and self.output.endswith(_COMPRESSED):
            raise DefinitionError(
                f"`{self.output}` would be compressed, and what an image consists of is so already",
                mend="name a file that ends in `.tar`, or a folder",
            )


def build_images(
    compiling: Future[Compiled], options: BuildOptions, *, tell: Callable[[str], None]
) -> list[Build]:
    """Build the images of a pipeline, one for each distinct environment; gives their builds in order.

    Args:
        compiling: See `begin_compiling`.
    Raises:
        TilthError: The first that cannot be built.
    """
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        images, wanted, _ = _prepare(compiling, options, home, store, tell, act=True)
        return images.make_all(wanted)


def plan_builds(compiling: Future[Compiled], options: BuildOptions) -> list[dict[str, Any]]:
    """What `build_images` would do for each image, and why. Makes locks, and nothing else."""
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        images, wanted, stand_on = _prepare(compiling, options, home, store, lambda _: None, act=False)
        planned: list[dict[str, Any]] = [
            {
                "environments": (name,),
                "environment": "",  # not known before
                "plan": "build",
                "why": f"{what} must be built first",
                "base": "",
                "image": "",
                "references": (),
            }
            for name, what in stand_on.unbuilt.items()
        ]
        for each in wanted:
            found = images.find(each)
            planned.append(
                {
                    "environments": each.names,
                    "environment": each.lock.digest,
                    "plan": "reuse" if found else "build",
                    "why": BUILT if found else images.why(each),
                    "base": each.base.title,
                    "image": found.image if found else "",
                    "references": found.references if found else (),
                }
            )
        return planned


def show_dockerfiles(target: str, parameters: Mapping[str, str], options: BuildOptions) -> dict[str, str]:
    """What an image builder is given for each environment that needs one: a Dockerfile by name. Builds nothing."""
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        compiled = compile_file(
            target, parameters, home=home, python=options.python or setting("python") or None
        )
        root = compiled.code.root
        _, target_, _ = workshop(
            root, compiled.interpreter, options, home, store, lambda _: None, None, act=False
        )
        declared = in_containers(compiled.pipeline).environments
        names = _chosen(options.names, list(declared))
        recipes = {name: target_.recipe(declared[name]) for name in names}
        return {name: recipe.shown() for name, recipe in recipes.items() if recipe is not None}


def run_images(
    running: Running,
    environments: ProjectEnvironments,
    *,
    store: Store,
    home: Home,
    code: Path | None = None,
    tell: Callable[[str], None],
) -> dict[str, Build]:
    """The images that the steps of a run need, by name of their environment; found or made, several at a time.

    Args:
        code: A bundle whose files go into them.
    Raises:
        TilthError: The first that cannot be made.
    """
    wanted = _wanted_by(running, environments, code)
    if not wanted:
        return {}
    images = Images(
        Destination(engine=running.orchestrator.engine), store, home, _registries_of(running), tell
    )
    builds = images.make_all(wanted)
    return {name: build for each, build in zip(wanted, builds, strict=True) for name in each.names}


def plan_images(
    running: Running,
    environments: ProjectEnvironments,
    *,
    store: Store,
    home: Home,
    code: Path | None = None,
) -> list[tuple[Wanted, Build | None, str]]:
    """Each image that the steps of a run need, what is there of it, and why it would be used or made.

    Args:
        code: A bundle whose files go into them; it need not be there yet.
    """
    images = Images(Destination(engine=running.orchestrator.engine), store, home, _registries_of(running))
    planned = []
    for each in _wanted_by(running, environments, code):
        found = images.find(each)
        planned.append((each, found, BUILT if found else images.why(each)))
    return planned


def _registries_of(running: Running) -> Callable[[str], Registry]:
    return clients(None) if running.target is None else running.target.built.registries


def _wanted_by(running: Running, environments: ProjectEnvironments, code: Path | None) -> list[Wanted]:
    """The images that the steps of a run need of environments that are locked."""
    target = running.target
    if target is None or running.orchestrator.delivery not in ("load", "push"):
        return []
    declared = {name: container_options(environments.declared(name)[0]) for name in environments.names}
    locks = {
        name: lock
        for name in environments.names
        if not declared[name].image and (lock := environments.lock(name)) is not None
    }
    return distinct(locks, target.base, lambda name: declared[name].settings(), code=code)


def _prepare(
    compiling: Future[Compiled],
    options: BuildOptions,
    home: Home,
    store: Store,
    tell: Callable[[str], None],
    *,
    act: bool,
) -> tuple[Images, list[Wanted], ImageTarget]:
    key = _key(options, home)
    loading = threading.Thread(target=_load)  # takes as long as compiling, which is another process
    loading.start()
    try:
        compiled = compiling.result()
    finally:
        loading.join()
    root = compiled.code.root
    pipeline = in_containers(compiled.pipeline)
    images, target_, _ = workshop(root, compiled.interpreter, options, home, store, tell, key, act=act)
    environments = ProjectEnvironments(
        pipeline,
        root=root,
        interpreter=compiled.interpreter,
        home=home,
        offline=options.offline or setting("offline") == "1",
        target=target_,
        listener=lambda event: _tell_of_locks(event, tell),
    )
    names = _chosen(options.names, environments.names)
    environments.make_locks()
    if options.refresh and act and not target_.built.refreshed:
        tell("`--refresh` changes nothing: no environment asks for system packages or a Dockerfile")
    store.write(environments.records())
    declared = {name: container_options(environments.declared(name)[0]) for name in names}
    ready = [name for name in names if declared[name].image]
    for name in ready:
        tell(f"environment `{name}` is the image `{declared[name].image}`: there is nothing to build")
    locks = {
        name: lock
        for name in names
        if name not in ready and name not in target_.unbuilt and (lock := environments.lock(name)) is not None
    }
    return (
        images,
        distinct(locks, target_.base, lambda name: declared[name].settings(images.to.settings)),
        target_,
    )


def _load() -> None:
    """Import what is needed next."""
    load_httpx()
    for name in ("tilth.oci.registry", "tilth.images.inspecting", "tilth.images.making"):
        importlib.import_module(name)


def build_supervisor(options: BuildOptions, *, tell: Callable[[str], None]) -> list[Build]:
    """Build the image of what stands beside a step on another machine: tilth, and what the stack's components need.

    Its environment is locked and recorded like any other, for the base that the stack's environments stand on.
    """
    from tilth.client.supervising import supervisor_environment

    return _build_own(supervisor_environment, "supervisor", options, tell)


def build_server(
    packages: Sequence[str], options: BuildOptions, *, tell: Callable[[str], None]
) -> list[Build]:
    """Build the image of a server: tilth, what the stack's components need there, and `packages`.

    Args:
        packages: Requirements of custom components.
    """
    from tilth.client.serving import server_environment

    return _build_own(lambda needs: server_environment([*needs, *packages]), "server", options, tell)


def _build_own(
    declare: Callable[[Sequence[str]], Environment],
    role: str,
    options: BuildOptions,
    tell: Callable[[str], None],
) -> list[Build]:
    """Build the image of an environment of tilth's own."""
    from tilth.client.code_root import find_code_root
    from tilth.client.environments import records_of
    from tilth.environments import lock, probe, project_interpreter
    from tilth.stack.assembled import stack_requirements

    home = Home(home_folder())
    root = find_code_root(Path.cwd() / "any.py").root
    with contextlib.closing(open_store(home)) as store:
        key = _key(options, home)
        here = probe(Path(options.python) if options.python else project_interpreter(Path.cwd()), home)
        images, target, stack = workshop(root, here, options, home, store, tell, key, act=True)
        declared = declare(stack_requirements(stack, role)).to_json()
        interpreter = target.interpreter({"name": role})
        tell(f"environment `{role}`: locking")
        locked = lock(declared, root=root, interpreter=interpreter, home=home, offline=options.offline)
        store.write(records_of(locked, role=role))
        return images.make_all(distinct({role: locked}, target.base, lambda _: images.to.settings))


def workshop(
    root: Path,
    interpreter: Interpreter,
    options: BuildOptions,
    home: Home,
    store: Store,
    tell: Callable[[str], None],
    key: Any,
    *,
    act: bool,
) -> tuple[Images, ImageTarget, AssembledStack]:
    """What makes images for a project, and what they stand on."""
    from tilth.client.stacks import Stacks, active_stack

    stack = active_stack(home, root, options.stack, store=store)
    registry = _registry(stack, options, root, home)
    if key is not None and registry is None:
        raise DefinitionError(
            "there is nothing to sign: images go to no registry",
            why=f"stack `{stack.name}` has no container registry",
            mend="name one with `--registry`",
        )
    registries = clients(registry)
    bases = Bases(
        home,
        registry=registries,
        engine=_engine_of(stack),
        platform=options.platform or "",
        offline=options.offline,
    )
    project = Stacks(store, root).project
    # What is written to a layout or an engine stands on bases that are shared all the same.
    sharing = registry or stack_registry(stack, root, home)
    builder_name, builder = builder_of(stack, options.builder, root=root, home=home, store=store)
    elsewhere = None
    if registry is not None and builder is not None:
        from tilth.image_builders import Elsewhere

        if isinstance(builder, Elsewhere):
            repository = registry.repository(repository_of(project))
            builder = elsewhere = builder.for_registry(registry.registry(), repository)
    built = BuiltBases(
        bases.find,
        root,
        home,
        registries,
        builder=builder,
        shared=shared_bases(sharing, registries, project, home, tell),
        platform=options.platform or "",
        tell=tell,
        act=act,
        offline=options.offline,
        refreshes=lambda name: options.refresh and (not options.names or name in options.names),
    )
    target_ = ImageTarget(_orchestrator(stack, root, home), bases.find, interpreter, built)
    to = Destination(
        registry=registry,
        repository=repository_of(project),
        layout=options.output or "",
        engine=options.engine or "",
    )
    images = Images(
        to,
        store,
        home,
        registries,
        tell,
        builder=builder_name,
        offline=options.offline,
        key=key if act else None,
        elsewhere=elsewhere,
    )
    return images, target_, stack


def _tell_of_locks(event: events.Event, tell: Callable[[str], None]) -> None:
    if isinstance(event, events.EnvironmentStarted):
        tell(f"environment `{event.name}`: {event.doing}")
    elif isinstance(event, events.Notice):
        tell(event.text)


def _key(options: BuildOptions, home: Home) -> Any:
    """What images are signed with: read first, so that nothing is built in vain."""
    if not options.sign:
        return None
    from tilth.client.signatures import signing_key

    return signing_key(options.sign, home)


def _chosen(asked: tuple[str, ...], known: list[str]) -> list[str]:
    for name in asked:
        if name not in known:
            raise NotFound(f"no step runs in an environment `{name}`", mend=nearest(name, known))
    return [name for name in known if not asked or name in asked]


def _registry(
    stack: AssembledStack, options: BuildOptions, root: Path, home: Home
) -> ContainerRegistry | None:
    """Where images are pushed to: where the command line says, else the stack's."""
    if options.output or options.engine:
        return None
    if options.registry:
        from tilth.container_registries.protocol import OciContainerRegistry
        from tilth.oci.credentials import docker_credentials
        from tilth.oci.references import check_host

        host, _, prefix = options.registry.removeprefix("https://").partition("/")
        host = check_host(host)
        return OciContainerRegistry(
            host,
            prefix=prefix.strip("/"),
            credentials=docker_credentials(),
            login_hint=f"`docker login {host}`",
        )
    return stack_registry(stack, root, home)


def builder_of(
    stack: AssembledStack | None, named: str | None, *, root: Path, home: Home, store: Store
) -> tuple[str, ImageBuilder | None]:
    """The image builder that is asked for, or a stack's: its name and itself. None: this machine, without an engine."""
    from tilth.client.components import Components
    from tilth.client.stacks import open_component

    component = Components(store, root).get(named, "image_builder") if named else None
    if component is None and stack is not None:
        component = stack.component("image_builder")
    if component is None:
        return "", None
    opened = open_component("image_builder", component.used, home=home, root=root)
    return component.name, cast("ImageBuilder", opened)


def _engine_of(stack: AssembledStack) -> str:
    """The engine that a stack's bases may be in."""
    component = stack.component("orchestrator")
    if component is None or component.flavor != "docker":
        return ""
    return str(component.settings.get("engine", "docker"))


def _orchestrator(stack: AssembledStack, root: Path, home: Home) -> Orchestrator:
    """What names the bases of environments that name none: the stack's, or where that has none Docker's."""
    component = stack.component("orchestrator")
    if component is not None and component.flavor != "local":
        from tilth.client.stacks import open_component

        opened = cast("Orchestrator", open_component("orchestrator", component.used, home=home, root=root))
        if opened.in_containers:
            return opened
    from tilth.orchestrators.docker import DockerOrchestrator

    return DockerOrchestrator(DockerSettings())


def project_registries(root: Path, home: Home, store: Store, named: str | None) -> Callable[[str], Registry]:
    """Clients of registries by host, that of a project's stack with its login."""
    from tilth.client.stacks import active_stack

    stack = active_stack(home, root, named, store=store)
    return clients(_registry(stack, BuildOptions(), root, home))


def attached_to(build: Build, registries: Callable[[str], Registry]) -> list[Attached]:
    """The documents beside an image in the registry it was pushed to; none where it is in no registry."""
    from tilth.images.referrers import list_attached
    from tilth.oci.references import parse

    places = [parse(each) for each in build.references if each.endswith(f"@{build.image}")]
    return [
        document
        for place in places
        for document in list_attached(registries(place.registry), place.repository, build.image)
    ]


def find_build(wanted: str, store: Store) -> Build:
    """A build by the end of its id, by its image's digest or the beginning of it, or the newest of an environment.

    Raises:
        NotFound: There is none, or several.
    """
    newest = next(iter(store.find(Build, name=wanted, limit=1)), None)
    if newest is not None:
        return newest
    bare = wanted.removeprefix("sha256:")
    found = [
        each
        for each in walk(store, Build)
        if each.id == wanted or each.id.endswith(bare) or each.image.removeprefix("sha256:").startswith(bare)
    ]
    if not found:
        raise NotFound(f"there is no build `{wanted}`", mend="`tilth builds list` shows them")
    if len({each.image for each in found}) > 1:
        raise NotFound(f"`{wanted}` is the beginning of several builds", mend="write more of it")
    return found[0]


def users_of(build: Build, store: Store) -> list[str]:
    """Names of the runs whose steps ran in an image."""
    return [run.name for run in walk(store, Run) if build.image and build.image in run.images.values()]
