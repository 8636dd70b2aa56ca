"""What the store asks of a database, whichever keeps its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Cursor(Protocol):
    """Runs SQL within a transaction."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement before changed."""
        ...

    def execute(self, sql: str, values: Sequence[object] = ()) -> object:
        """Run one statement; a question mark stands for each value."""
        ...

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row of what was selected."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows of what was selected."""
        ...


class Database(Protocol):
    """Tables at the newest version. Any thread may use it; nothing is shared with a forked child."""

    finding: str  # the function that tells where in a text another is; 0 for nowhere
    locking: str  # what ends a SELECT of a row that no other transaction may change before this one ends

    def select(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Read, without waiting for who writes."""
        ...

    def transact(self, work: Callable[[Cursor], T]) -> T:
        """Do `work` in one transaction, durable on return. It may be begun again, and must change nothing else."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
