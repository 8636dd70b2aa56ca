"""One canonical JSON form of Python literals, equal on every machine and Python version.

JSON values stand for themselves. Everything else is an object with a single key that starts with `$`:

    {"$tuple": [1, 2]}    {"$set": [...]}          {"$bytes": "base64"}       {"$float": "nan"}
    {"$int": "0x..."}     {"$datetime": "..."}     {"$uuid": "..."}           {"$path": "data/a.csv"}
    {"$enum": {"type": "module:Colour", "name": "RED"}}
    {"$dataclass": {"type": "module:Point", "fields": {"x": 1}}}
    {"$dict": [[key, value], ...]}      keys that are not text, or that start with `$`; in order

Only exact types are taken: a subclass of `float`, as numpy's scalars are, would not come back as what it was.
Knows nothing of files; what is too large or too strange for a literal is for the materializers.
"""

from __future__ import annotations

import json as _json
import sys
from math import inf, isfinite, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Json = Any  # what `json` can hold
else:
    Json = object

_CANONICAL = _json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_SCALARS = frozenset({type(None), bool, int, float, str})
_EXACT_INT = 2**63  # larger ones as `$int`: other readers of JSON stop at 64 bits, Python at 4300 digits


class Unencodable(TypeError):
    """A value has no canonical form. `path` leads to the culprit, as `value["a"][3]`; `kind` is its type."""

    def __init__(self, kind: str, why: str = "", path: str = "") -> None:
        super().__init__(kind, why, path)
        self.kind = kind
        self.why = why
        self.path = path

    def __str__(self) -> str:
        return f"`value{self.path}` is of type `{self.kind}`, {self.why or 'which is not a literal'}"


def _identity(module: str) -> str:
    return module


canonical_module: Callable[[str], str] = _identity
"""Gives the name under which a module's types are written. The runtime replaces it, so that a type of the
module that was started as a script is written under the name it can be imported by, never `__main__`."""


def encode(value: object, *, reference: Callable[[object], Json | None] | None = None) -> Json:
    """The JSON form of `value`.

    Args:
        value: Literals and containers of them, dataclasses, enums, named tuples, pydantic models.
        reference: Asked first about every value that is not None, bool, int, float or str; gives the JSON
            that takes its place, or None. Its tag must not be one of this module's.
    Raises:
        Unencodable: Something in `value` has no canonical form.
    """
    try:
        return _encode(value, reference)
    except RecursionError:
        raise Unencodable(type_name(type(value)), "and contains itself, or is nested too deeply") from None


def decode(json: Json, *, reference: Callable[[str, Json], object] | None = None) -> object:
    """The value whose JSON form is `json`; an unknown tag is given to `reference` with its payload.

    Raises:
        ValueError: An unknown tag, and no `reference`; or a malformed payload.
        ImportError, AttributeError: A type in it does not exist here.
    """
    kind = type(json)
    if kind is list:
        return [item if type(item) in _SCALARS else decode(item, reference=reference) for item in json]
    if kind is not dict:
        return json
    if len(json) == 1:
        ((tag, payload),) = json.items()
        if tag[:1] == "$":
            decoder = _DECODERS.get(tag)
            if decoder is not None:
                return decoder(payload, lambda inner: decode(inner, reference=reference))
            if reference is None:
                raise ValueError(f"unknown tag `{tag}`")
            return reference(tag, payload)
    return {
        key: item if type(item) in _SCALARS else decode(item, reference=reference)
        for key, item in json.items()
    }


def canonical(json: Json) -> bytes:
    """The one text of a JSON value: keys sorted, no spaces, ASCII (so that lone surrogates survive)."""
    return _CANONICAL.encode(json).encode("ascii")


def digest(json: Json) -> str:
    """`sha256:…` of the canonical text."""
    from hashlib import sha256

    return "sha256:" + sha256(canonical(json)).hexdigest()


def type_name(kind: type) -> str:
    """`module:qualname`, the module under its canonical name."""
    return f"{canonical_module(kind.__module__)}:{kind.__qualname__}"


def import_type(name: str) -> Any:
    """The type written as `module:qualname`."""
    from importlib import import_module

    module_name, _, qualname = name.partition(":")
    # A script's own types: importing it a second time under its canonical name would make others.
    if module_name == canonical_module("__main__"):
        found: Any = sys.modules["__main__"]
    else:
        found = import_module(module_name)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def is_importable(kind: type) -> bool:
    """Whether `module:qualname` leads back to this very type, as it does not for one made in a function."""
    found: object = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is kind


def _encode(value: Any, reference: Callable[[object], Json | None] | None) -> Json:
    kind = type(value)
    if kind in _SCALARS:
        return _encode_scalar(value, kind)
    if reference is not None:
        instead = reference(value)
        if instead is not None:
            return instead
    if kind is list:
        return _encode_items(value, reference)
    if kind is tuple:
        return {"$tuple": _encode_items(value, reference)}
    if kind is dict:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return _encode_fields(value, reference, '["{}"]')
        return {"$dict": _encode_pairs(value, reference)}
    encoder = _ENCODERS.get(f"{kind.__module__}.{kind.__qualname__}")
    if encoder is not None:
        return encoder(value, reference)
    return _encode_instance(value, kind, reference)


def _encode_scalar(value: Any, kind: type) -> Json:
    if kind is float and not isfinite(value):
        return {"$float": "nan" if value != value else "inf" if value > 0 else "-inf"}
    if kind is int and not -_EXACT_INT <= value < _EXACT_INT:
        return {"$int": hex(value)}
    return value


def _encode_items(items: Iterable[Any], reference: Any) -> list[Json]:
    index = -1
    result = []
    try:
        for index, item in enumerate(items):  # noqa: B007 - the handler below says which item it was
            result.append(_encode(item, reference))
    except Unencodable as error:
        raise _deeper(error, f"[{index}]") from None
    return result


def _encode_fields(fields: dict[str, Any], reference: Any, step: str) -> dict[str, Json]:
    name = ""
    result = {}
    try:
        for name, item in fields.items():
            result[name] = _encode(item, reference)
    except Unencodable as error:
        raise _deeper(error, step.format(name)) from None
    return result


def _encode_pairs(pairs: dict[Any, Any], reference: Any) -> list[Json]:
    key: Any = None
    result = []
    try:
        for key, item in pairs.items():
            result.append([_encode(key, reference), _encode(item, reference)])
    except Unencodable as error:
        raise _deeper(error, f"[{key!r:.80}]") from None
    return result


def _deeper(error: Unencodable, step: str) -> Unencodable:
    return Unencodable(error.kind, error.why, step + error.path)


def _encode_set(value: Any, reference: Any) -> list[Json]:
    try:
        # Sorted by text: the order of a set differs from process to process.
        return sorted((_encode(item, reference) for item in value), key=canonical)
    except Unencodable as error:
        raise _deeper(error, "{…}") from None


def _encode_instance(value: Any, kind: type, reference: Any) -> Json:
    enum = sys.modules.get("enum")
    tag: str
    payload: dict[str, Json]
    if enum is not None and isinstance(value, enum.Enum):
        tag, payload = "$enum", {}
        if kind.__dict__["_member_map_"].get(value._name_) is value:
            payload["name"] = value._name_
        else:  # several flags at once have no name of their own
            payload["value"] = _encode(value._value_, reference)
    elif hasattr(kind, "__dataclass_fields__"):
        tag, payload = "$dataclass", {"fields": _encode_dataclass(value, kind, reference)}
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        tag, payload = "$namedtuple", {"values": _encode_items(value, reference)}
    elif is_pydantic(kind):
        tag, payload = "$model", _encode_model(value, kind, reference)
    else:
        raise Unencodable(type_name(kind))
    if not is_importable(kind):
        raise Unencodable(type_name(kind), "which cannot be imported by that name")
    return {tag: {"type": type_name(kind), **payload}}


def _encode_dataclass(value: Any, kind: Any, reference: Any) -> dict[str, Json]:
    if kind.__new__ is not object.__new__:
        raise Unencodable(type_name(kind), "a dataclass that is also something else")
    names = [name for name, field in kind.__dataclass_fields__.items() if field._field_type.name == "_FIELD"]
    held = _held(value, kind)
    beyond = held.keys() - set(names)
    if beyond:
        raise Unencodable(type_name(kind), f"which holds `{min(beyond)}` beyond its fields")
    return _encode_fields({name: held[name] for name in names if name in held}, reference, ".{}")


def _held(value: Any, kind: type) -> dict[str, Any]:
    """What an instance holds in its dictionary and slots, less what can be computed again."""
    held = {
        name: item
        for name, item in getattr(value, "__dict__", {}).items()
        if type(getattr(kind, name, None)).__name__ != "cached_property"
    }
    for each in kind.__mro__:
        slots = each.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            name = f"_{each.__name__.lstrip('_')}{slot}" if slot[:2] == "__" != slot[-2:] else slot
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                held[name] = getattr(value, name)
    return held


def is_pydantic(kind: type) -> bool:
    """Whether a type is a pydantic model, of version 1 or 2, without importing pydantic."""
    return any(
        each.__name__ == "BaseModel" and each.__module__ in ("pydantic.main", "pydantic.v1.main")
        for each in kind.__mro__
    )


def _encode_model(value: Any, kind: Any, reference: Any) -> dict[str, Json]:
    state = value.__getstate__()
    one = "__fields_set__" in state  # version 1 keeps extras among the fields
    payload: dict[str, Json] = {
        "fields": _encode_fields(
            {
                name: item
                for name, item in state["__dict__"].items()
                if type(getattr(kind, name, None)).__name__ != "cached_property"
            },
            reference,
            ".{}",
        ),
        "set": sorted(state["__fields_set__" if one else "__pydantic_fields_set__"]),
    }
    extra = None if one else state["__pydantic_extra__"]
    if extra:
        payload["extra"] = _encode_fields(extra, reference, ".{}")
    private = state["__private_attribute_values__" if one else "__pydantic_private__"]
    private = {
        name: item
        for name, item in (private or {}).items()
        if type(item).__name__ not in ("UndefinedType", "PydanticUndefinedType")
    }
    if private:
        payload["private"] = _encode_fields(private, reference, ".{}")
    return payload


def _encode_datetime(value: Any) -> Json:
    """ISO 8601 where that says everything; else an object with `fold`, and the zone's name or offset."""
    zone = value.tzinfo
    if zone is None:
        if not value.fold:
            return value.isoformat()
        return {"at": value.isoformat(), "fold": 1}
    from datetime import timezone

    payload: dict[str, Json] = {"at": value.replace(tzinfo=None).isoformat()}
    if value.fold:
        payload["fold"] = value.fold
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        if name == timezone(offset).tzname(None):
            if not value.fold and type(value).__name__ == "datetime":
                return value.isoformat()
        else:
            payload["name"] = name
        payload["offset"] = [offset.days, offset.seconds, offset.microseconds]
        return payload
    if type(zone).__module__ == "zoneinfo" and getattr(zone, "key", None):
        payload["zone"] = zone.key
        return payload
    raise Unencodable(type_name(type(zone)), "a time zone without a name", ".tzinfo")


def _decode_datetime(kind: Any, payload: Json) -> object:
    if isinstance(payload, str):
        return kind.fromisoformat(payload)
    zone: object = None
    if "zone" in payload:
        from zoneinfo import ZoneInfo

        zone = ZoneInfo(payload["zone"])
    elif "offset" in payload:
        from datetime import timedelta, timezone

        offset = timedelta(*payload["offset"])
        zone = timezone(offset, payload["name"]) if "name" in payload else timezone(offset)
    return kind.fromisoformat(payload["at"]).replace(tzinfo=zone, fold=payload.get("fold", 0))


def _base64(value: bytes | bytearray) -> str:
    from binascii import b2a_base64

    return b2a_base64(value, newline=False).decode("ascii")


def _unbase64(text: str) -> bytes:
    from binascii import a2b_base64

    return a2b_base64(text)


# By name rather than by type: nothing needs to be imported to find out that a value is not one of these.
_ENCODERS: dict[str, Callable[[Any, Any], Json]] = {
    "builtins.set": lambda value, ask: {"$set": _encode_set(value, ask)},
    "builtins.frozenset": lambda value, ask: {"$frozenset": _encode_set(value, ask)},
    "builtins.bytes": lambda value, _: {"$bytes": _base64(value)},
    "builtins.bytearray": lambda value, _: {"$bytearray": _base64(value)},
    "builtins.complex": lambda value, _: {
        "$complex": [_encode_scalar(value.real, float), _encode_scalar(value.imag, float)]
    },
    "builtins.range": lambda value, _: {
        "$range": [_encode_scalar(int(each), int) for each in (value.start, value.stop, value.step)]
    },
    "datetime.datetime": lambda value, _: {"$datetime": _encode_datetime(value)},
    "datetime.date": lambda value, _: {"$date": value.isoformat()},
    "datetime.time": lambda value, _: {"$time": _encode_datetime(value)},
    "datetime.timedelta": lambda value, _: {"$timedelta": [value.days, value.seconds, value.microseconds]},
    "uuid.UUID": lambda value, _: {"$uuid": str(value)},
    "decimal.Decimal": lambda value, _: {"$decimal": str(value)},
    "fractions.Fraction": lambda value, _: {
        "$fraction": [_encode_scalar(value.numerator, int), _encode_scalar(value.denominator, int)]
    },
}
for _module in ("pathlib", "pathlib._local"):  # the second in Python 3.13
    _ENCODERS[f"{_module}.PosixPath"] = lambda value, _: {"$path": str(value)}
    _ENCODERS[f"{_module}.WindowsPath"] = lambda value, _: {"$path": str(value)}
    _ENCODERS[f"{_module}.PurePosixPath"] = lambda value, _: {"$posixpath": str(value)}
    _ENCODERS[f"{_module}.PureWindowsPath"] = lambda value, _: {"$windowspath": str(value)}


def _of(module: str, name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(module), name)


def _decode_enum(payload: Json, inner: Callable[[Json], Any]) -> object:
    kind = import_type(payload["type"])
    return kind[payload["name"]] if "name" in payload else kind(inner(payload["value"]))


def _decode_dataclass(payload: Json, inner: Callable[[Json], Any]) -> object:
    kind = import_type(payload["type"])
    # Not by calling it: `__post_init__` has run already, and fields may not be among its arguments.
    result = object.__new__(kind)
    for name, item in payload["fields"].items():
        object.__setattr__(result, name, inner(item))
    return result


def _decode_namedtuple(payload: Json, inner: Callable[[Json], Any]) -> object:
    return import_type(payload["type"])._make(inner(item) for item in payload["values"])


def _decode_model(payload: Json, inner: Callable[[Json], Any]) -> object:
    kind = import_type(payload["type"])
    fields = {name: inner(item) for name, item in payload["fields"].items()}
    extra = {name: inner(item) for name, item in payload.get("extra", {}).items()}
    private = {name: inner(item) for name, item in payload.get("private", {}).items()}
    given = set(payload["set"])
    result = kind.__new__(kind)
    # Not validated again: a model may hold what its own validators would not take a second time.
    if hasattr(kind, "__pydantic_validator__"):
        allows_extra = kind.model_config.get("extra") == "allow"
        declared = getattr(kind, "__private_attributes__", {})
        result.__setstate__(
            {
                "__dict__": fields,
                "__pydantic_fields_set__": given,
                "__pydantic_extra__": extra if allows_extra else None,
                "__pydantic_private__": private if declared else None,
            }
        )
    else:
        result.__setstate__(
            {
                "__dict__": {**fields, **extra},
                "__fields_set__": given,
                "__private_attribute_values__": private,
            }
        )
    return result


def _decode_float(payload: str) -> float:
    return {"nan": nan, "inf": inf, "-inf": -inf}[payload]


_DECODERS: dict[str, Callable[[Any, Callable[[Json], Any]], object]] = {
    "$tuple": lambda items, inner: tuple([inner(item) for item in items]),
    "$set": lambda items, inner: {inner(item) for item in items},
    "$frozenset": lambda items, inner: frozenset([inner(item) for item in items]),
    "$dict": lambda pairs, inner: {inner(key): inner(item) for key, item in pairs},
    "$bytes": lambda text, _: _unbase64(text),
    "$bytearray": lambda text, _: bytearray(_unbase64(text)),
    "$float": lambda text, _: _decode_float(text),
    "$int": lambda text, _: int(text, 16),
    "$complex": lambda parts, inner: complex(inner(parts[0]), inner(parts[1])),
    "$range": lambda parts, inner: range(*[inner(part) for part in parts]),
    "$datetime": lambda payload, _: _decode_datetime(_of("datetime", "datetime"), payload),
    "$date": lambda text, _: _of("datetime", "date").fromisoformat(text),
    "$time": lambda payload, _: _decode_datetime(_of("datetime", "time"), payload),
    "$timedelta": lambda parts, _: _of("datetime", "timedelta")(*parts),
    "$uuid": lambda text, _: _of("uuid", "UUID")(text),
    "$decimal": lambda text, _: _of("decimal", "Decimal")(text),
    "$fraction": lambda parts, inner: _of("fractions", "Fraction")(*[inner(part) for part in parts]),
    "$path": lambda text, _: _of("pathlib", "Path")(text),
    "$posixpath": lambda text, _: _of("pathlib", "PurePosixPath")(text),
    "$windowspath": lambda text, _: _of("pathlib", "PureWindowsPath")(text),
    "$enum": _decode_enum,
    "$dataclass": _decode_dataclass,
    "$namedtuple": _decode_namedtuple,
    "$model": _decode_model,
}
