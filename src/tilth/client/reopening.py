"""Opens a recorded run to go on with it or to do it again: where it ran, with which locks and options."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tilth.client.driving import RunOptions
from tilth.client.environments import ProjectEnvironments
from tilth.client.recorded import any_interpreter, open_environment, open_locks, open_run
from tilth.client.running import make_images, running_as
from tilth.client.secrets import run_secrets
from tilth.engine import events
from tilth.errors import SetupError
from tilth.orchestrators.docker import DockerOrchestrator, DockerSettings
from tilth.settings import setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tilth.client.recorded import RecordedRun
    from tilth.client.running import Running
    from tilth.engine.environments import Place
    from tilth.engine.secrets import RunSecrets
    from tilth.environments import Interpreter, Locked
    from tilth.home import Home
    from tilth.records import Environment, Run
    from tilth.store import Store

# Of the options a run began with. Others are of the process that drove it: its terminal, its network.
_KEPT = frozenset({"cache", "failure_mode", "workers"})


@dataclass(frozen=True)
class ReopenedRun:
    """A recorded run, ready to be driven.

    Attributes:
        options: Those it was started with, and above them those that are given now.
        interpreter: The client's.
        images: Digests of the images its steps are started from, by name of the environment.
    """

    recorded: RecordedRun
    options: RunOptions
    interpreter: Interpreter
    running: Running
    environments: ProjectEnvironments
    secrets: RunSecrets
    images: dict[str, str]


def reopen_run(
    found: Run, given: RunOptions, store: Store, home: Home, listener: events.Listener
) -> ReopenedRun:
    """Open a run with its own locks, and have the images that it needs.

    Raises:
        SetupError: Its folder or interpreter is gone, or a lock is for another platform.
    """
    recorded = open_run(found, home)
    kept = {name: value for name, value in found.options.items() if name in _KEPT}
    options = msgspec.convert({**kept, **given.to_json()}, RunOptions)
    offline = options.offline or setting("offline") == "1"
    interpreter = recorded.interpreter(home)
    secrets = run_secrets(recorded.pipeline, home)
    running = _running(recorded, interpreter, home, offline)
    environments = ProjectEnvironments(
        recorded.pipeline,
        root=recorded.root,
        interpreter=interpreter,
        home=home,
        offline=offline,
        given=open_locks(recorded, store, home, target=running.target, offline=offline),
        target=running.target,
        listener=listener,
    )
    images = make_images(running, environments, store, home, listener, code=found.code)
    return ReopenedRun(recorded, options, interpreter, running, environments, secrets, images)


@dataclass(frozen=True)
class Contained:
    """An environment that was made for containers, as a step of a run had it.

    Attributes:
        name: As the pipeline has it.
        lock: For the base.
        place: Its interpreter in a container, and what the container is started from.
        settings: Of the orchestrator, which say how.
    """

    name: str
    lock: Locked
    place: Place
    settings: DockerSettings


@contextlib.contextmanager
def contained(
    environment: Environment,
    recorded: RecordedRun | None,
    store: Store,
    home: Home,
    *,
    offline: bool,
    tell: Callable[[str], None],
) -> Iterator[Contained]:
    """Have an environment of containers as a run had it, and hold it; its base, or the engine, is asked for first.

    Args:
        recorded: The run.
    Raises:
        EngineUnavailable, ImageNotFound: There is no engine, or it has no such base any more.
        SetupError: No run that used it is left.
    """
    if recorded is None:
        raise SetupError(
            f"environment `{environment.name}` was made for containers, and no run that used it is left",
            why="the run says which engine starts them, and how",
            mend="start a new run",
        )
    names = [name for name, digest in recorded.run.environments.items() if digest == environment.id]
    name = names[0] if names else environment.name
    interpreter = any_interpreter(recorded, home)
    running = _running(recorded, interpreter, home, offline)
    lock = open_environment(environment, store, home, within=recorded, target=running.target, offline=offline)
    environments = ProjectEnvironments(
        recorded.pipeline,
        root=recorded.root,
        interpreter=interpreter,
        home=home,
        offline=offline,
        given={name: lock},
        target=running.target,
        listener=lambda event: _tell_of(event, tell),
    )
    try:
        make_images(
            running, environments, store, home, lambda event: _tell_of(event, tell), code=recorded.run.code
        )
        place = asyncio.run(environments.place(name))
        opened = running.orchestrator
        settings = opened.settings if isinstance(opened, DockerOrchestrator) else DockerSettings()
        yield Contained(name, lock, place, settings)
    finally:
        environments.leave()


def _running(recorded: RecordedRun, interpreter: Interpreter, home: Home, offline: bool) -> Running:
    """Where a run ran."""
    run = recorded.run
    return running_as(
        run.stack,
        run.orchestrator,
        run.artifact_store,
        root=recorded.root,
        interpreter=interpreter,
        home=home,
        offline=offline,
    )


def _tell_of(event: events.Event, tell: Callable[[str], None]) -> None:
    if isinstance(event, events.Notice):
        tell(event.text)
    elif isinstance(event, events.EnvironmentStarted):
        tell(f"environment `{event.name}`: {event.doing}")
