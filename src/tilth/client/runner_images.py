"""The image that runs of a snapshot are driven in: the environment that it is compiled in, and tilth's own beside it.

/opt/env      what the project's interpreter has installed, without anything of tilth's
/opt/tilth    tilth, and what the stack's components need where runs are started
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tilth import environments as envs
from tilth.client.building import distinct
from tilth.client.environments import records_of
from tilth.client.images import BuildOptions, workshop
from tilth.client.stacks import open_component
from tilth.client.targets import CLIENT, suits
from tilth.define import Environment
from tilth.errors import DefinitionError, SetupError
from tilth.orchestrators import StartsRunners
from tilth.records import Component
from tilth.stack.assembled import AssembledStack, stack_requirements
from tilth.stack.installed import installed_requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tilth.environments import Interpreter, Locked
    from tilth.home import Home
    from tilth.images.bases import Base
    from tilth.orchestrators import Orchestrator
    from tilth.store import Store

NAME = "runner"
PREFIX = "/opt/tilth"


class RunnerImage(NamedTuple):
    """An image that was made, or found.

    Attributes:
        reference: As the orchestrator's engine takes it: with its digest where it is in a registry.
        lock: Of the environment that the pipeline is compiled in.
        base: That it stands on.
        engine: The only one that has it; empty where it is in a registry.
    """

    reference: str
    lock: Locked
    base: Base
    engine: str


def runner_environment(requirements: Sequence[str] = ()) -> Environment:
    """The declaration of what is of tilth's in it.

    Args:
        requirements: What the components of the stack need where runs are started.
    """
    return Environment(NAME, requirements=[installed_requirement("tilth"), *dict.fromkeys(requirements)])


def starter_of(stack: AssembledStack, root: Path, home: Home) -> StartsRunners:
    """The orchestrator of a stack, which starts the containers of runner images.

    Raises:
        SetupError: It starts none.
    """
    component = stack.component("orchestrator")
    assert component is not None, "every stack has one"
    opened = cast("Orchestrator", open_component("orchestrator", component.used, root=root, home=home))
    if not isinstance(opened, StartsRunners):
        raise SetupError(
            f"stack `{stack.name}` starts no runner images",
            why=f"its orchestrator `{component.name}` is of the flavor `{component.flavor}`, which has no containers "
            "for them",
            mend="name a stack with an orchestrator that has, such as `docker`: `--stack NAME`",
        )
    return opened


def stack_of_steps(stack: AssembledStack, starter: StartsRunners) -> AssembledStack:
    """A stack as it is in the container of a runner: where steps are processes in there, it says so."""
    if not starter.steps_in_runner:
        return stack
    local = Component(project="", type="orchestrator", name="local", flavor="local")
    return dataclasses.replace(stack, components={**stack.components, "orchestrator": local})


def make_runner_image(
    client: Mapping[str, Any],
    stack: AssembledStack,
    starter: StartsRunners,
    *,
    root: Path,
    interpreter: Interpreter,
    steps: Mapping[str, Mapping[str, Any]],
    home: Home,
    store: Store,
    tell: Callable[[str], None],
    offline: bool = False,
) -> RunnerImage:
    """Make the image that runs are driven in, and bring it where the orchestrator's engine finds it.

    It goes to the stack's container registry; where there is none, into the engine of this machine.

    Args:
        client: The declaration of the environment that the pipeline is compiled in.
        interpreter: The client's, whose version the image's base has.
        steps: Declarations of the environments of steps.
    Raises:
        TilthError: It cannot be made, or there is nowhere to bring it.
    """
    registry = stack.component("container_registry")
    if registry is None and not starter.engine:
        raise SetupError(
            f"the image of a runner has nowhere to go: stack `{stack.name}` has no container registry",
            mend=f"give it one: `tilth stack update {stack.name} -c NAME`",
        )
    engine = "" if registry is not None else starter.engine
    options = BuildOptions(stack=stack.name, engine=engine or None, offline=offline)
    images, target, _ = workshop(root, interpreter, options, home, store, tell, None, act=True)
    images.elsewhere = None  # what stands beside the environment is of this machine's tilth
    inside = target.interpreter({"name": CLIENT})
    if tuple(map(int, inside.minor.split("."))) < (3, 11):
        raise DefinitionError(
            f"a runner image cannot have Python {inside.minor}",
            why="tilth itself runs in it, on Python 3.11 or newer",
            mend="compile the pipeline with a newer one: `--python PATH`",
        )
    if starter.steps_in_runner:
        _refuse_other_pythons(steps, target.base(inside.image).version)
    own = runner_environment(stack_requirements(stack, "client")).to_json()
    locks = []
    for declared, name in ((client, CLIENT), (own, NAME)):
        tell(f"environment `{name}`: locking for the image")
        lock = envs.lock(declared, root=root, interpreter=inside, home=home, offline=offline)
        store.write(records_of(lock, role=name, base=target.pinned(lock.base)))
        locks.append(lock)
    return _made(images, locks[0], locks[1], target.base(locks[0].base), engine)


def _refuse_other_pythons(steps: Mapping[str, Mapping[str, Any]], version: str) -> None:
    for name, each in steps.items():
        wanted = each.get("python")
        if wanted and not suits(wanted, version):
            raise DefinitionError(
                f"environment `{name}` asks for Python {wanted}, and the runner image has {version}",
                why="steps run as processes in the container of the runner",
                mend="make the snapshot without `--runner image`, or with a client of that Python",
            )


def _made(images: Any, client: Locked, own: Locked, base: Base, engine: str) -> RunnerImage:
    from tilth.images.making import Beside, image_key  # here for cost

    beside = (Beside(own, PREFIX),)
    (wanted,) = distinct({CLIENT: client}, lambda _: base, lambda _: images.to.settings)
    key = image_key(client, base, images.to.settings, beside=beside)
    build = images.find_or_make(wanted._replace(names=(NAME,), key=key, beside=beside))
    return RunnerImage(build.references[0].removeprefix(f"{engine}:"), client, base, engine)
