"""Pipeline parameters written as text, as on a command line, turned into what their annotations ask for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tilth.errors import DefinitionError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.define.pipelines import Pipeline

_WORDS = {"True": "true", "False": "false", "None": "null"}
_COLLECTIONS = (list, dict, tuple, set, frozenset)


def from_text(pipeline: Pipeline, given: Mapping[str, str]) -> dict[str, Any]:
    """Parameters by name. A name that the pipeline does not have is kept as it is: calling it tells.

    Numbers, dates, paths, ids and members of an enum are written plainly, everything else as JSON.

    Raises:
        DefinitionError: A text that is not what the annotation asks for.
    """
    import inspect

    signature = inspect.signature(pipeline.function)
    parsed: dict[str, Any] = {}
    for name, text in given.items():
        parameter = signature.parameters.get(name)
        if parameter is None:
            parsed[name] = text
            continue
        wanted = _annotation(pipeline, parameter)
        if wanted is parameter.empty:
            wanted = str if isinstance(parameter.default, str) else Any
        try:
            parsed[name] = _read(text, wanted)
        except _NotOfThisType as error:
            raise DefinitionError(
                f"parameter `{name}` of pipeline `{pipeline.name}` is `{text}`",
                why="\n".join(filter(None, (f"it is declared as `{_shown(wanted)}`", str(error)))),
            ) from None
    return parsed


def declared(pipeline: Pipeline) -> dict[str, Any]:
    """What a pipeline asks for, as JSON: by name, `type` as people read it, `kind` as `is_one` does, `required`.

    `choices` are those of a `Literal` or an enum; `default` is told where JSON can tell it.
    """
    import inspect

    told: dict[str, Any] = {}
    for name, parameter in inspect.signature(pipeline.function).parameters.items():
        wanted = _annotation(pipeline, parameter)
        required = parameter.default is parameter.empty
        if wanted is parameter.empty:
            wanted = str if isinstance(parameter.default, str) else Any
        told[name] = {"type": _shown(wanted), "kind": _kind(wanted), "required": required}
        if choices := _choices(wanted):
            told[name]["choices"] = choices
        if not required:
            try:
                json.dumps(parameter.default)
            except (TypeError, ValueError):
                continue
            told[name]["default"] = parameter.default
    return told


def is_one(value: Any, told: Mapping[str, Any]) -> bool:
    """Whether a value, as JSON or as text, may be what `declared` tells of a parameter; without its code."""
    if told.get("choices"):
        return as_text(value) in told["choices"]
    kind = {each.__name__: each for each in (bool, int, float, str, *_COLLECTIONS)}.get(told["kind"])
    if kind is None:
        return True
    try:
        _read(as_text(value), kind)
    except _NotOfThisType:
        return False
    return True


def as_text(value: Any) -> str:
    """A value of JSON as it is written on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _kind(wanted: Any) -> str:
    """The name of a built-in type that a value must be of; empty where code decides."""
    import typing

    origin = typing.get_origin(wanted) or wanted
    if origin is typing.Annotated:
        return _kind(typing.get_args(wanted)[0])
    return origin.__name__ if origin in (bool, int, float, str, *_COLLECTIONS) else ""


def _choices(wanted: Any) -> list[str]:
    import typing

    if typing.get_origin(wanted) is typing.Literal:
        return [str(each) for each in typing.get_args(wanted)]
    if isinstance(wanted, type) and issubclass(wanted, _loaded("enum", "Enum")):
        kind: Any = wanted
        return list(dict.fromkeys([*(str(each.value) for each in kind), *kind.__members__]))
    return []


class _NotOfThisType(ValueError):
    """A text is not what an annotation asks for; its message, if any, says more."""


def _annotation(pipeline: Pipeline, parameter: Any) -> Any:
    """The parameter's type; `Any` for one whose names do not exist here, as those only type checkers see."""
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, pipeline.function.__globals__)  # noqa: S307 - what Python itself does with it
    except Exception:
        return Any


def _read(text: str, wanted: Any) -> Any:
    import typing

    origin = typing.get_origin(wanted) or wanted
    arguments = typing.get_args(wanted)
    if origin is typing.Annotated:
        return _read(text, arguments[0])
    if origin is typing.Literal:
        return _one_of(text, {str(each): each for each in arguments})
    if origin is typing.Union or type(wanted).__name__ == "UnionType":
        told: list[str] = []
        # Texts and paths take anything, so they are asked last, and nothing can be mistaken for `None`.
        for each in sorted(
            arguments, key=lambda kind: (kind is not type(None), kind is str or _is_plain(kind))
        ):
            try:
                return _read(text, each)
            except _NotOfThisType as error:
                told.append(str(error))
        _fail("\n".join(filter(None, told)))
    if not isinstance(origin, type):
        return _json(text)
    return _of_class(text, origin, arguments)


def _of_class(text: str, kind: Any, arguments: tuple[Any, ...]) -> Any:
    if kind is str:
        return text
    if kind in (bool, int, float, type(None)):
        value = _json(text)
        if kind is float and isinstance(value, str):
            return _called(float, text)  # `inf`, `1e-3`
        if kind is float and type(value) is int:
            return float(value)
        return value if type(value) is kind else _fail()
    if kind in _COLLECTIONS:
        value = _json(text)
        if not isinstance(value, dict if kind is dict else list):
            _fail()
        return _called(kind, _items(value, kind, arguments))
    if issubclass(kind, _loaded("enum", "Enum")):
        return _one_of(text, {**{str(each.value): each for each in kind}, **kind.__members__})
    if _is_plain(kind):
        return _called(kind, text)
    if kind.__module__ == "datetime" and hasattr(kind, "fromisoformat"):
        return _called(kind.fromisoformat, text)
    value = _json(text)
    try:
        if isinstance(value, kind):
            return value
    except TypeError:  # what only type checkers can tell apart, as a typed dict
        return value
    return _made(kind, value) if isinstance(value, dict) else _fail()


def _items(value: Any, kind: type, arguments: tuple[Any, ...]) -> Any:
    """The items of a collection as its type arguments want them."""
    if kind is dict:
        wanted = arguments[1] if len(arguments) == 2 else Any
        return {key: _again(each, wanted) for key, each in value.items()}
    if kind is tuple and len(arguments) == len(value) and ... not in arguments:
        return [_again(each, wanted) for each, wanted in zip(value, arguments, strict=True)]
    return (
        [_again(each, arguments[0]) for each in value]
        if arguments[1:] in ((), (...,)) and arguments
        else value
    )


def _made(kind: Any, given: Mapping[str, Any]) -> Any:
    """An instance of a dataclass, a pydantic model or any other class that takes its fields by name."""
    import typing

    # pydantic reads the fields itself
    if not (hasattr(kind, "model_validate") or hasattr(kind, "parse_obj")):
        try:
            hints = typing.get_type_hints(kind, include_extras=True)
        except Exception:  # names that only type checkers see
            hints = {}
        given = {name: _field(each, hints.get(name, Any), name) for name, each in given.items()}
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        _fail(f"it makes no `{kind.__qualname__}`: {error}")


def _field(value: Any, wanted: Any, name: str) -> Any:
    try:
        return _again(value, wanted)
    except _NotOfThisType as error:
        _fail("\n".join(filter(None, (f"its `{name}` is to be `{_shown(wanted)}`", str(error)))))


def _is_plain(kind: Any) -> bool:
    """Whether a class takes the text as it stands."""
    return getattr(kind, "__module__", "") in ("pathlib", "pathlib._local", "uuid", "decimal", "fractions")


def _json(text: str) -> Any:
    """What JSON says it is; text that is no JSON is itself."""
    try:
        return json.loads(_WORDS.get(text, text))
    except ValueError:
        return text


def _again(value: Any, wanted: Any) -> Any:
    """An item of a collection, which JSON has read as far as JSON can."""
    if wanted is Any:
        return value
    return _read(value, wanted) if isinstance(value, str) else _read(json.dumps(value), wanted)


def _one_of(text: str, known: Mapping[str, Any]) -> Any:
    return known[text] if text in known else _fail(nearest(text, known))


def _called(make: Any, value: Any) -> Any:
    try:
        return make(value)
    except (ValueError, TypeError, ArithmeticError):
        _fail()


def _fail(more: str = "") -> Any:
    raise _NotOfThisType(more)


def _loaded(module: str, name: str) -> tuple[type, ...]:
    """A class whose subclasses can only be here when its module is loaded."""
    loaded = sys.modules.get(module)
    return (getattr(loaded, name),) if loaded else ()


def _shown(wanted: Any) -> str:
    return wanted.__qualname__ if isinstance(wanted, type) else str(wanted).replace("typing.", "")
