"""`Resources`, `Retry`, durations and sizes: quantities with units, checked where they are written."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from tilth.errors import DefinitionError, UnknownOption, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn, TypeGuard

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_MAX = 1e300  # above it a whole number may not fit into a float
_BYTES = {
    "": 1, "B": 1,
    "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
    "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4,
    "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4,
}  # fmt: skip


def seconds(value: float | str | timedelta, what: str = "duration") -> float:
    """A duration in seconds, from a number of seconds, a timedelta, or text as `30m`, `1h30m`, `500ms`."""
    if isinstance(value, timedelta):
        amount = value.total_seconds()
    elif isinstance(value, str):
        parts = re.findall(r"([\d.]+)\s*([a-z]+)", value)
        rest = re.sub(r"([\d.]+)\s*([a-z]+)", "", value).strip()
        try:
            amount = float(value) if not parts else sum(float(n) * _SECONDS[unit] for n, unit in parts)
        except (KeyError, ValueError):
            rest = value
            amount = -1
        if (rest and parts) or amount < 0:
            raise DefinitionError(
                f"`{value}` is no {what}",
                mend='write seconds as a number, or text as `"90s"`, `"30m"`, `"1h30m"`',
            )
    elif _is_number(value):
        amount = float(value) if value < _MAX else float("inf")
    else:
        raise DefinitionError(
            f"`{value!r}` is no {what}", mend='write seconds as a number, or text as `"30m"`'
        )
    if not 0 <= amount < float("inf"):
        raise DefinitionError(f"`{value}` is no {what}", mend="give a finite number of seconds, not negative")
    return amount


def byte_count(value: int | str, what: str = "size") -> int:
    """A size in bytes, from a whole number of bytes or text as `4GiB`, `500MB`, `1.5G`."""
    if _is_count(value):
        return value
    match = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]*)\s*", value) if isinstance(value, str) else None
    unit = next((size for name, size in _BYTES.items() if match and name.lower() == match[2].lower()), None)
    try:
        if match and unit:
            return int(float(match[1]) * unit)
    except (ValueError, OverflowError):
        pass
    raise DefinitionError(
        f"`{value}` is no {what}", mend='write bytes as a whole number, or text as `"4GiB"`'
    )


def _refuse_unknown(made: object, given: Mapping[str, object]) -> None:
    for name in given:
        known = type(made).__init__.__code__
        options = known.co_varnames[1 : known.co_argcount + known.co_kwonlyargcount]
        raise UnknownOption(f"`{type(made).__name__}` has no option `{name}`", mend=nearest(name, options))


def _is_number(value: object) -> TypeGuard[float]:
    """What users write is not always what the annotations ask for, and a bool is an int to Python."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class Resources:
    """What a step needs; it starts only where so much is free.

    Args:
        cpu: Cores, may be a fraction.
        memory: Bytes, or text as `"4GiB"`. A step that uses more is stopped and reported as out of memory.
        gpu: Number of GPUs.
    """

    __slots__ = ("cpu", "gpu", "memory")

    def __init__(
        self, *, cpu: float = 1, memory: int | str | None = None, gpu: int = 0, **unknown: NoReturn
    ) -> None:
        _refuse_unknown(self, unknown)
        if not _is_number(cpu) or not 0 <= cpu < float("inf"):
            raise DefinitionError(f"`cpu={cpu!r}` is no number of cores", mend="give a number, as `cpu=2`")
        if not _is_count(gpu):
            raise DefinitionError(
                f"`gpu={gpu!r}` is no number of GPUs", mend="give a whole number, as `gpu=1`"
            )
        self.cpu = cpu
        self.memory = None if memory is None else byte_count(memory, "amount of memory")
        if self.memory == 0:
            raise DefinitionError(
                "`memory` is 0", mend='give an amount as `"4GiB"`, or leave it out for no limit'
            )
        self.gpu = gpu

    def to_json(self) -> dict[str, float | int | None]:
        """As kept in the compiled pipeline; memory in bytes."""
        return {"cpu": self.cpu, "memory": self.memory, "gpu": self.gpu}

    def __repr__(self) -> str:
        return f"Resources(cpu={self.cpu}, memory={self.memory}, gpu={self.gpu})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.cpu, self.memory, self.gpu))


class Retry:
    """Try a failed step again.

    Args:
        max_retries: Tries after the first one.
        delay: Before the first retry: seconds, or text as `"10s"`.
        backoff: Each later delay is the one before times this.
        max_delay: No delay is longer than this.
    """

    __slots__ = ("backoff", "delay_s", "max_delay_s", "max_retries")

    def __init__(
        self,
        max_retries: int = 3,
        *,
        delay: float | str | timedelta = 1,
        backoff: float = 2,
        max_delay: float | str | timedelta = "5m",
        **unknown: NoReturn,
    ) -> None:
        _refuse_unknown(self, unknown)
        if not _is_count(max_retries):
            raise DefinitionError(
                f"`max_retries={max_retries!r}` is no number of tries", mend="give a whole number"
            )
        if not _is_number(backoff) or not 1 <= backoff < float("inf"):
            raise DefinitionError(
                f"`backoff={backoff!r}` is no factor", mend="give a number from 1, as `backoff=2`"
            )
        self.max_retries = max_retries
        self.delay_s = seconds(delay, "delay")
        self.backoff = backoff
        self.max_delay_s = seconds(max_delay, "delay")

    def to_json(self) -> dict[str, float]:
        """As kept in the compiled pipeline; delays in seconds."""
        return {each: getattr(self, each) for each in ("max_retries", "delay_s", "backoff", "max_delay_s")}

    def __repr__(self) -> str:
        return f"Retry({self.max_retries}, delay={self.delay_s}, backoff={self.backoff})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retry) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(tuple(self.to_json().values()))
