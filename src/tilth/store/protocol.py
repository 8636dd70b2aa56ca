"""What a store promises, whether records lie in SQL here or behind HTTP elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from tilth.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from tilth.records import Run, StepRun

R = TypeVar("R", bound=Record)
Value: TypeAlias = str | int | None
Where: TypeAlias = "Value | Sequence[Value]"


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some of what was asked for, in order. `next` goes into `after` for the rest; None when this is all."""

    items: tuple[R, ...]
    next: str | None = None

    def __iter__(self) -> Iterator[R]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Put:
    """Remember a record, whatever was remembered under its id before."""

    record: Record


@dataclass(frozen=True, slots=True)
class Delete:
    """Forget a record; nothing happens when there is none."""

    kind: type[Record]
    id: str


Change = Put | Delete


class Store(Protocol):
    """Keeps records. A call is one transaction, durable when it returns; any thread may make it."""

    def add(self, *records: R) -> tuple[R, ...]:
        """Keep new records, all or none. Returns them as kept: an artifact of version 0 gets the next one.

        Raises:
            Conflict: One of them, or another with its unique name, is there already.
        """
        ...

    def get(self, kind: type[R], id: str) -> R:  # noqa: A002 - the field's word
        """The record with this id.

        Raises:
            NotFound: There is none.
        """
        ...

    def find(
        self,
        kind: type[R],
        *,
        order: str = "-created_at",
        limit: int = 100,
        after: str | None = None,
        id_prefix: str = "",
        **where: Where,
    ) -> Page[R]:
        """The records whose columns have the given values (of a list, any one), a page at a time.

        Pages are cut by value, not by position: what is added meanwhile makes no record appear twice.

        Args:
            order: A column that is never None; `-` puts the largest first. Equals are ordered by id.
            after: `next` of the page before.
        """
        ...

    def replace(self, old: R, new: R) -> R:
        """Keep `new` in the place of `old`, which must not have changed meanwhile; both have one id.

        Returns:
            `new`, with the next revision.
        Raises:
            Conflict: What is kept is not `old` any more.
            NotFound: It is not there at all.
        """
        ...

    def write(self, changes: Sequence[Change], *, holding: Run | None = None) -> tuple[Record, ...]:
        """Make many changes at once, all or none. The same changes made again change nothing.

        Args:
            holding: The run as its driver holds it.
        Returns:
            The records put, as kept; a version given to an artifact before is kept.
        Raises:
            Conflict: Another driver has taken the run over: its stored fence is above `holding`'s.
        """
        ...

    def start_run(self, run: Run) -> Run:
        """Keep a new run under the next number of its pipeline; numbers are never given twice."""
        ...

    def cached_step_run(self, cache_key: str) -> StepRun | None:
        """The newest step run with this key that has outputs."""
        ...

    def close(self) -> None:
        """Let go of what it holds open; it is not asked again."""
        ...

    def __enter__(self) -> Store: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def walk(
    store: Store,
    kind: type[R],
    *,
    order: str = "-created_at",
    page: int = 1000,
    id_prefix: str = "",
    **where: Where,
) -> Iterator[R]:
    """Every record that `find` would give, page by page."""
    after: str | None = None
    while True:
        found = store.find(kind, order=order, limit=page, after=after, id_prefix=id_prefix, **where)
        yield from found.items
        after = found.next
        if after is None:
            return
