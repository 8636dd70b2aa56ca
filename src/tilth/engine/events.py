"""What a driver tells whoever watches a run. Plain facts in the order they happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilth.ir.pipeline import Pipeline
    from tilth.records import Failure, Run, State


@dataclass(frozen=True)
class RunStarted:
    """The run is recorded; nothing has been started."""

    run: Run
    pipeline: Pipeline
    resumed: bool = False


@dataclass(frozen=True)
class EnvironmentStarted:
    """An environment is being resolved or made."""

    name: str
    doing: str  # `locking` or `making`


@dataclass(frozen=True)
class EnvironmentReady:
    """An environment can be used."""

    name: str
    digest: str
    packages: int
    locked: bool  # resolved just now, rather than known
    created: bool  # made just now, rather than found
    seconds: float


@dataclass(frozen=True)
class MapStarted:
    """A mapped step knows its items."""

    step: str
    items: int


@dataclass(frozen=True)
class StepStarted:
    """An attempt is handed to a worker."""

    step: str
    index: int | None
    attempt: int


@dataclass(frozen=True)
class StepLine:
    """One line that a step printed."""

    step: str
    index: int | None
    text: str  # without the newline
    stream: str  # `stdout` or `stderr`


@dataclass(frozen=True)
class StepRetrying:
    """An attempt failed and there will be another."""

    step: str
    index: int | None
    attempt: int  # that failed
    delay_s: float
    failure: Failure


@dataclass(frozen=True)
class StepFinished:
    """A step, an item of a mapped step (`index`), or a whole mapped step (`items`) has ended."""

    step: str
    index: int | None
    state: State
    seconds: float
    reason: str = ""  # why it was, or was not, taken from the cache
    failure: Failure | None = None
    inputs: dict[str, str] | None = None  # what a failed step was given, in a few words each
    items: int | None = None


@dataclass(frozen=True)
class Notice:
    """Something the user should know: a step changed its environment, a cache entry was broken and remade."""

    text: str


@dataclass(frozen=True)
class RunFinished:
    """The run has ended and everything is recorded."""

    run: Run
    seconds: float


Event = (
    RunStarted
    | EnvironmentStarted
    | EnvironmentReady
    | MapStarted
    | StepStarted
    | StepLine
    | StepRetrying
    | StepFinished
    | Notice
    | RunFinished
)
Listener = Callable[[Event], None]
