"""What a driver tells whoever watches a run. Plain facts in the order they happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tilth.ir.pipeline import Pipeline
    from tilth.records import Failure, Run, State


class RunStarted(msgspec.Struct, frozen=True):
    """The run is recorded; nothing has been started."""

    run: Run
    pipeline: Pipeline
    resumed: bool = False


class EnvironmentStarted(msgspec.Struct, frozen=True):
    """An environment is being resolved or made."""

    name: str
    doing: str  # `locking` or `making`


class EnvironmentReady(msgspec.Struct, frozen=True):
    """An environment can be used."""

    name: str
    digest: str
    packages: int
    locked: bool  # resolved just now, rather than known
    created: bool  # made just now, rather than found
    seconds: float


class MapStarted(msgspec.Struct, frozen=True):
    """A mapped step knows its items."""

    step: str
    items: int


class StepStarted(msgspec.Struct, frozen=True):
    """An attempt is handed to a worker."""

    step: str
    index: int | None
    attempt: int


class StepLine(msgspec.Struct, frozen=True):
    """One line that a step printed."""

    step: str
    index: int | None
    text: str  # without the newline
    stream: str  # `stdout` or `stderr`


class StepRetrying(msgspec.Struct, frozen=True):
    """An attempt failed and there will be another."""

    step: str
    index: int | None
    attempt: int  # that failed
    delay_s: float
    failure: Failure


class StepFinished(msgspec.Struct, frozen=True):
    """A step, an item of a mapped step (`index`), or a whole mapped step (`items`) has ended."""

    step: str
    index: int | None
    state: State
    seconds: float
    reason: str = ""  # why it was, or was not, taken from the cache
    failure: Failure | None = None
    inputs: dict[str, str] | None = None  # what a failed step was given, in a few words each
    items: int | None = None


class Notice(msgspec.Struct, frozen=True):
    """Something the user should know: a step changed its environment, a cache entry was broken and remade."""

    text: str


class RunFinished(msgspec.Struct, frozen=True):
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
