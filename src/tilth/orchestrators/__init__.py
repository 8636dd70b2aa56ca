"""Orchestrators: how one step is started, watched and stopped somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# `lost`: nothing was heard any more of where it ran. `upload`: it ran, and what it gave could not be stored.
# `environment`: what it needs could not be brought to where it was to run, so that it was not started.
Delivery = Literal["venv", "mount", "load", "push"]
Ending = Literal["done", "exited", "killed", "out_of_memory", "timeout", "lost", "upload", "environment"]


class Task(msgspec.Struct, frozen=True):
    """One attempt to run one step: a prepared folder, and what to run it with."""

    label: str
    folder: Path
    python: Path  # in the container, for a step that runs in one
    environment: str = ""  # digest; empty for the client's own interpreter
    prefix: Path | None = None  # of the venv, for an environment of tilth's
    conda: Path | None = None  # the conda prefix that the venv stands on
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)  # variables too, to be shown nowhere
    roots: tuple[str, ...] = ()
    cwd: str = "."
    timeout_s: float | None = None
    memory: int | None = None  # bytes
    cpu: float | None = None  # cores
    gpu: int = 0
    image: str = ""  # what a container is started from; `prefix`, if there is one, is mounted into it
    run: str = ""  # id
    fresh: bool = False

    def __repr__(self) -> str:
        return f"<task `{self.label}` in {self.folder}>"


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended. `done` means that the folder holds a result; all else is the end of its process."""

    ended: Ending
    detail: str = ""  # for a person
    peak_memory: int = 0  # bytes
    notice: str = ""  # why the process was not used again, when that is worth telling


class RunnerTask(msgspec.Struct, frozen=True, kw_only=True):
    """A launch that is to be driven in a container of its own: that of a runner image."""

    launch: str  # id: of one launch, one container at most runs
    run: str  # id
    image: str  # with its digest, or as the engine calls it
    command: tuple[str, ...]
    server: str  # URL that the container has to reach
    user: str  # `UID:GID` that it runs as, where the orchestrator's settings say nothing else
    options: tuple[str, ...] = ()  # of the engine, by whoever's machine it is; where there is no engine, none
    held: bool = False  # to that user: settings that could make a run more here are refused
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)  # variables too, to be shown nowhere

    def __repr__(self) -> str:
        return f"<launch `{self.launch}` in {self.image}>"


class Orchestrator(Protocol):
    """Where the steps of a run are started."""

    in_containers: bool  # environments are for the Python of a base image then, not for this machine's
    delivery: Delivery  # how environments come to where steps run
    engine: str  # command of the engine whose images its containers are started from; empty: a registry's

    def base_image(self, minor: str) -> str:
        """The base of environments that name none, for a minor version of Python: `python:3.12-slim`."""
        ...

    def launcher(
        self, keep: int, reads: Sequence[Path], answer: Callable[[str, dict[str, Any]], Any]
    ) -> Launcher:
        """What starts the steps of one run.

        Args:
            keep: How many idle workers to keep at most, where workers are kept.
            reads: Folders of this machine that steps read besides their own: artifacts.
            answer: What a step asks of its supervisor: (method, parameters) to a JSON value.
        """
        ...


@runtime_checkable
class StartsRunners(Orchestrator, Protocol):
    """One that can start the container of a runner image too, in which a whole run is compiled and driven."""

    # Whether steps of such a run are processes of its container, since nothing else can be started from in there.
    steps_in_runner: bool

    async def run_runner(self, task: RunnerTask, output: Callable[[bytes], None]) -> Outcome:
        """Run a launch's container to its end. What is left of an earlier one of this launch is ended before.

        Cancelling asks it to end, with SIGTERM, and after ten seconds ends it; nothing of it goes on when that
        returns. When the process that called is killed, it ends too, soon.

        Args:
            output: Gets what it prints, standard output and standard error.
        Returns:
            `done` or `exited` when it ended by itself, with code 0 or another; `killed`, `out_of_memory` or `lost`
            when it did not, and may be started again.
        Raises:
            TilthError: There is no container to be had of it.
        """
        ...


class Launcher(Protocol):
    """Runs attempts. Cancelling `run` stops the attempt; nothing of it goes on when that returns."""

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        """Run one attempt; `output` gets what it prints as (`stdout` or `stderr`, bytes)."""
        ...

    async def close(self) -> None:
        """End everything that was kept for later."""
        ...
