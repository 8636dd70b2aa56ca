"""Orchestrators: how one step is started, watched and stopped somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Ending = Literal["done", "exited", "killed", "out_of_memory", "timeout"]


class Task(msgspec.Struct, frozen=True):
    """One attempt to run one step: a prepared folder, and what to run it with."""

    label: str
    folder: Path
    python: Path
    environment: str = ""  # digest; empty for the client's own interpreter
    prefix: Path | None = None  # of the venv, for an environment of tilth's
    conda: Path | None = None  # the conda prefix that the venv stands on
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)  # variables too, to be shown nowhere
    roots: tuple[str, ...] = ()
    cwd: str = "."
    timeout_s: float | None = None
    memory: int | None = None  # bytes
    fresh: bool = False

    def __repr__(self) -> str:
        return f"<task `{self.label}` in {self.folder}>"


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended. `done` means that the folder holds a result; all else is the end of its process."""

    ended: Ending
    detail: str = ""  # for a person
    peak_memory: int = 0  # bytes
    notice: str = ""  # why the process was not used again, when that is worth telling


class Launcher(Protocol):
    """Runs attempts. Cancelling `run` stops the attempt; nothing of it goes on when that returns."""

    async def run(self, task: Task, output: Callable[[str, bytes], None]) -> Outcome:
        """Run one attempt; `output` gets what it prints as (`stdout` or `stderr`, bytes)."""
        ...

    async def close(self) -> None:
        """End everything that was kept for later."""
        ...
