"""What a driver asks about environments and code. The client answers, where they are found and made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tilth.ir.pipeline import Node
    from tilth.records import Package


@dataclass(frozen=True)
class Place:
    """An environment that steps can run in."""

    python: Path
    prefix: Path | None = None  # of the venv
    variables: Mapping[str, str] = field(default_factory=dict)
    conda: Path | None = None  # the conda prefix that the venv stands on
    image: str = ""  # of the container it is in; `python` is a path in there then


class Environments(Protocol):
    """Environments by their names in the compiled pipeline; None is the client's own interpreter."""

    def digest(self, name: str | None) -> str:
        """Of the resolved environment; empty for the client's own."""
        ...

    def minor(self, name: str | None) -> str:
        """Major and minor version of its Python."""
        ...

    def packages(self, node: Node) -> Iterable[Package]:
        """What the sources of a step reach in the client's interpreter."""
        ...

    def readers(self, name: str | None) -> frozenset[str] | None:
        """Import names it has at the top level; None when that is not known."""
        ...

    def ready_soon(self, names: Iterable[str | None]) -> None:
        """Begin to make these, without waiting: steps will need them."""
        ...

    async def place(self, name: str | None) -> Place:
        """Make it if need be.

        Raises:
            TilthError: It cannot be made.
        """
        ...


class Code(Protocol):
    """The project's code as it was compiled."""

    roots: tuple[str, ...]  # folders that modules are imported from
    cwd: str
    bundle: str  # digest

    def changed(self, modules: Iterable[str]) -> list[str]:
        """Files of these modules that are not any more what was compiled."""
        ...
