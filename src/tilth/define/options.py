"""The options of steps and pipelines: declared once, checked once, passed on as a whole.

Absent means «inherit»; the later of pipeline, step and run wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from tilth.define.environments import Environment, secret_names
from tilth.define.quantities import Resources, Retry, seconds
from tilth.errors import DefinitionError, UnknownOption, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from tilth.materializers import Materializer

LONGEST_NAME = 120  # bytes; file systems take 255, and numbers are added
FAILURE_MODES = ("stop_new", "fail_fast", "continue")


class StepOptions(TypedDict, total=False):
    """Options of a step.

    Attributes:
        name: Of the step in the graph; by default the function's.
        environment: Where it runs; `None` is the client's own interpreter.
        cache: Whether its outputs may be taken from an earlier run.
        resources: What it needs.
        retry: What to do when it fails; a number is `Retry(number)`.
        timeout: Seconds, or text as `"30m"`, for one attempt.
        worker: `"warm"` (may share a process with steps before it) or `"fresh"`.
        materializers: Classes for values of its outputs, asked before tilth's own.
        tags: Words to find its runs by.
        secrets: Secrets that it gets as variables: names, as `["HF_TOKEN"]`, or name of the secret by variable,
            as `{"HF_TOKEN": "hugging-face"}`. Those of its environment are added.
        extra: Anything JSON can hold; part of the cache key, readable in the step's context.
    """

    name: str
    environment: Environment | None
    cache: bool
    resources: Resources
    retry: Retry | int
    timeout: float | str | timedelta | None
    worker: str
    materializers: Sequence[type[Materializer]]
    tags: Sequence[str]
    secrets: Sequence[str] | Mapping[str, str]
    extra: Mapping[str, Any]


class PipelineOptions(TypedDict, total=False):
    """Options of a pipeline; those it shares with a step are defaults for its steps.

    Attributes:
        name: By default the function's.
        failure_mode: What a failed step means for others: `"stop_new"` lets running ones finish and
            starts none, `"fail_fast"` stops them too, `"continue"` runs all that do not depend on it.
    """

    name: str
    environment: Environment | None
    cache: bool
    resources: Resources
    retry: Retry | int
    timeout: float | str | timedelta | None
    worker: str
    materializers: Sequence[type[Materializer]]
    tags: Sequence[str]
    secrets: Sequence[str] | Mapping[str, str]
    failure_mode: str


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip(" .") or any(c in value for c in "/\\\0\n:"):
        raise DefinitionError(f"`name={value!r}` is no name", mend="use letters, digits, `_`, `-` and `.`")
    if len(value.encode("utf-8", "replace")) > LONGEST_NAME:
        raise DefinitionError(
            f"the name `{value[:40]}…` is too long",
            why=f"it becomes the name of a folder: {LONGEST_NAME} bytes at most",
        )
    return value


def _environment(value: object) -> Environment | None:
    if value is None or isinstance(value, Environment):
        return value
    raise DefinitionError(
        f"`environment` is {_described(value)}", mend='give an `Environment("name", requirements=[...])`'
    )


def _cache(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise DefinitionError(f"`cache` is {_described(value)}", mend="give `True` or `False`")


def _resources(value: object) -> Resources:
    if isinstance(value, Resources):
        return value
    raise DefinitionError(
        f"`resources` is {_described(value)}", mend='give `Resources(cpu=2, memory="4GiB")`'
    )


def _retry(value: object) -> Retry:
    if isinstance(value, Retry):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Retry(value)
    raise DefinitionError(f"`retry` is {_described(value)}", mend="give `Retry(3)`")


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    amount = seconds(value, "timeout")
    if not amount:
        raise DefinitionError(f"`timeout` is {_described(value)}", mend="give a time, or `None` for no limit")
    return amount


def _worker(value: object) -> str:
    if value in ("warm", "fresh"):
        return str(value)
    raise DefinitionError(f"`worker` is {_described(value)}", mend='give `"warm"` or `"fresh"`')


def _materializers(value: object) -> tuple[type[Materializer], ...]:
    from tilth.materializers import Materializer

    given = (
        (value,)
        if isinstance(value, type)
        else tuple(value)
        if isinstance(value, (list, tuple))
        else (value,)
    )
    for each in given:
        if not (isinstance(each, type) and issubclass(each, Materializer)):
            raise DefinitionError(
                f"`materializers` holds {_described(each)}", mend="give subclasses of `tilth.Materializer`"
            )
        if not each.types:
            raise DefinitionError(
                f"materializer `{each.__qualname__}` names no types",
                mend="set `types = (MyType,)` in the class",
            )
    return given


def _tags(value: object) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise DefinitionError(f"`tags` is {_described(value)}", mend='give a list of texts: `tags=["weekly"]`')


def _secrets(value: object) -> dict[str, str]:
    return dict(secret_names("a step or pipeline", value))


def _extra(value: object) -> dict[str, Any]:
    from tilth.ir.values import Unencodable, encode

    if isinstance(value, dict) and all(isinstance(each, str) for each in value):
        try:
            encode(value)
        except Unencodable as error:
            raise DefinitionError(
                f"`extra` cannot be recorded: {error}", mend="give numbers, texts, lists and dicts"
            ) from None
        return dict(value)
    raise DefinitionError(f"`extra` is {_described(value)}", mend="give a dict with texts as keys")


def _failure_mode(value: object) -> str:
    if isinstance(value, str) and value in FAILURE_MODES:
        return value
    raise DefinitionError(f"`failure_mode` is {_described(value)}", mend=nearest(str(value), FAILURE_MODES))


_SHARED: dict[str, Callable[[Any], Any]] = {
    "name": _name,
    "environment": _environment,
    "cache": _cache,
    "resources": _resources,
    "retry": _retry,
    "timeout": _timeout,
    "worker": _worker,
    "materializers": _materializers,
    "tags": _tags,
    "secrets": _secrets,
}
STEP = {**_SHARED, "extra": _extra}
PIPELINE = {**_SHARED, "failure_mode": _failure_mode}


_ELSEWHERE = {
    "enable_cache": "`cache=…`",
    "output_materializers": "`materializers=[…]`",
    "settings": "`environment=…` for packages, `resources=…` for what the machine must have",
    "experiment_tracker": "`log_metadata(…)` in the step to record metrics",
    "on_failure": "`failure_mode=…` of the pipeline, and `retry=…` of the step",
}
"""How that is said here, for options that other frameworks have under a name too far from ours to guess."""


def checked(kind: str, known: Mapping[str, Callable[[Any], Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given options in normal form; an unknown name or a wrong value is an error."""
    for name in given:
        if name not in known:
            raise UnknownOption(f"`{name}` is no option of a {kind}", mend=_meant(name, known))
    return {name: known[name](value) for name, value in given.items()}


def _meant(name: str, known: Mapping[str, Any]) -> str:
    return f"here that is {_ELSEWHERE[name]}" if name in _ELSEWHERE else nearest(name, known)


def _described(value: object) -> str:
    text = repr(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}` (a `{type(value).__name__}`)"
