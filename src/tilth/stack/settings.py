"""The settings of a component: from text or a file to what its flavor declares, and what is wrong with them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from tilth.define.environments import SECRET_NAME
from tilth.errors import DefinitionError, UnknownOption, nearest
from tilth.stack.component_types import label
from tilth.stack.flavors import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tilth.stack.flavors import Flavor

_ATTRIBUTE = re.compile(r"^(\w+)(?: \([^)]*\))?: (.*)$")
_KINDS = {str: "text", int: "integer", float: "number", bool: "boolean"}
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "`true` or `false`"}


def read_settings(flavor: Flavor[Any], given: Mapping[str, Any]) -> msgspec.Struct:
    """The settings of a flavor.

    Raises:
        UnknownOption: One of them is not the flavor's.
        DefinitionError: One is missing, of the wrong type, or a secret that is written out.
    """
    return _converted(flavor, {name: _checked(flavor, name, value) for name, value in given.items()})


def settings_from_text(flavor: Flavor[Any], given: Mapping[str, str]) -> dict[str, Any]:
    """What was written on the command line, each as its setting's type wants it; lists and maps as JSON.

    Raises:
        UnknownOption, DefinitionError: As for `read_settings`, but for settings that are missing.
    """
    return {name: msgspec.to_builtins(_from_text(flavor, name, text)) for name, text in given.items()}


def plain_settings(flavor: Flavor[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those given, checked, as they are kept: defaults are left out, so that a later default holds for them.

    Raises:
        UnknownOption, DefinitionError: As for `read_settings`.
    """
    checked = {name: _checked(flavor, name, value) for name, value in given.items()}
    _converted(flavor, checked)
    return checked


def secrets_in(settings: object) -> list[str]:
    """The names of the secrets that settings refer to, each once."""
    return list(dict.fromkeys(_references(msgspec.to_builtins(settings))))


def meanings(settings: type[msgspec.Struct]) -> dict[str, str]:
    """What the docstring of settings says below `Attributes:`, by name."""
    _, _, told = (settings.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in told.splitlines():
        text = line.strip()
        if not text:
            break
        entry = _ATTRIBUTE.match(text)
        if entry and entry[1] in settings.__struct_fields__:
            name = entry[1]
            found[name] = entry[2]
        elif name:
            found[name] += f" {text}"
    return found


def described(flavor: Flavor[Any]) -> list[dict[str, Any]]:
    """Each setting of a flavor: name, type in words and as a form asks for it, its default and its meaning.

    `kind` is one of `text`, `integer`, `number`, `boolean`, `choice`, `secret`, `map`, `list` and `json`.
    """
    told = meanings(flavor.settings)
    return [
        {
            "setting": name,
            "takes": words(hint),
            "kind": kind_of(hint),
            "choices": _choices(hint),
            "required": field.required,
            "default": None if field.required else msgspec.to_builtins(_default(field)),
            "meaning": told.get(field.name, ""),
        }
        for name, (field, hint) in _fields(flavor.settings).items()
    ]


def words(hint: Any) -> str:
    """A type, as it is told to a person."""
    if is_secret(hint):
        return "`secret:NAME`"
    hint = _bare(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    origin, options = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in options)
    if isinstance(origin, type) and issubclass(origin, dict):
        return "a map, as JSON"
    if isinstance(origin, type) and issubclass(origin, list | tuple | set | frozenset):
        return "a list, as JSON"
    if _is_union(hint):
        return " or ".join(words(each) if each is not type(None) else "`null`" for each in options)
    return "JSON"


def kind_of(hint: Any) -> str:
    """A type, as a form asks for it; of an optional one, what it is when it is given."""
    if is_secret(hint):
        return "secret"
    hint = _bare(hint)
    if _is_union(hint):
        given = [each for each in get_args(hint) if each is not type(None)]
        return kind_of(given[0]) if len(given) == 1 else "json"
    if hint in _KINDS:
        return _KINDS[hint]
    origin = get_origin(hint) or hint
    if origin is Literal:
        return "choice"
    if isinstance(origin, type) and issubclass(origin, dict):
        return "map"
    if isinstance(origin, type) and issubclass(origin, list | tuple | set | frozenset):
        return "list"
    return "json"


def is_secret(hint: Any) -> bool:
    """Whether a setting of this type is only taken as `secret:NAME`."""
    metas = getattr(hint, "__metadata__", ())
    if any(isinstance(each, msgspec.Meta) and (each.extra or {}).get("secret") for each in metas):
        return True
    return _is_union(hint) and any(is_secret(each) for each in get_args(hint))


def _choices(hint: Any) -> list[str]:
    hint = _bare(hint)
    if _is_union(hint):
        return [choice for each in get_args(hint) for choice in _choices(each)]
    return [str(each) for each in get_args(hint)] if get_origin(hint) is Literal else []


def _fields(settings: type[msgspec.Struct]) -> dict[str, tuple[msgspec.structs.FieldInfo, Any]]:
    hints = get_type_hints(settings, include_extras=True)
    return {each.encode_name: (each, hints[each.name]) for each in msgspec.structs.fields(settings)}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _checked(flavor: Flavor[Any], name: str, value: Any) -> Any:
    hint = _hint(flavor, name)
    _check_reference(flavor, name, hint, value)
    try:
        return msgspec.to_builtins(msgspec.convert(msgspec.to_builtins(value), hint))
    except msgspec.ValidationError as error:
        raise _wrong(flavor, name, hint, value, error) from None


def _from_text(flavor: Flavor[Any], name: str, text: str) -> Any:
    hint = _hint(flavor, name)
    _check_reference(flavor, name, hint, text)
    try:
        return msgspec.convert(text, hint, strict=False)
    except msgspec.ValidationError as error:
        first = error
    try:
        value = json.loads(text)
    except ValueError:
        raise _wrong(flavor, name, hint, text, first) from None
    _check_reference(flavor, name, hint, value)
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        raise _wrong(flavor, name, hint, text, error) from None


def _converted(flavor: Flavor[Any], given: Mapping[str, Any]) -> msgspec.Struct:
    for name, (field, hint) in _fields(flavor.settings).items():
        if field.required and name not in given:
            raise DefinitionError(
                f"{_named(flavor)} needs setting `{name}`",
                why="\n".join(filter(None, (meanings(flavor.settings).get(name), f"it takes {words(hint)}"))),
                mend=f"give it: `--set {name}={'secret:NAME' if is_secret(hint) else '…'}`",
            )
    try:
        settings: msgspec.Struct = msgspec.convert(dict(given), flavor.settings)
        return settings
    except msgspec.ValidationError as error:  # what the flavor itself says of its settings together
        raise DefinitionError(f"the settings of {_named(flavor)} cannot be used", why=str(error)) from None


def _hint(flavor: Flavor[Any], name: str) -> Any:
    fields = _fields(flavor.settings)
    if name not in fields:
        raise UnknownOption(
            f"{_named(flavor)} has no setting `{name}`",
            mend=nearest(name, fields) or "it takes no settings",
        )
    return fields[name][1]


def _check_reference(flavor: Flavor[Any], name: str, hint: Any, value: object) -> None:
    """A secret is not written out; a reference names one. What is wrong is not repeated: it may be the secret."""
    if is_secret(hint) and isinstance(value, str) and value and not value.startswith(REFERENCE):
        raise DefinitionError(
            f"setting `{name}` of {_named(flavor)} is a secret that is written out",
            why="settings are kept as they are, and shown",
            mend=f"`tilth secret set NAME`, and `--set {name}=secret:NAME`",
        )
    for secret in _references(value):
        if not SECRET_NAME.fullmatch(secret):
            raise DefinitionError(
                f"setting `{name}` of {_named(flavor)} names no secret: `{REFERENCE}{secret}`",
                mend="the name of a secret has letters, digits, hyphens, dots and underscores",
            )


def _references(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith(REFERENCE):
            yield value.removeprefix(REFERENCE)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _references(each)


def _wrong(
    flavor: Flavor[Any], name: str, hint: Any, value: object, error: msgspec.ValidationError
) -> DefinitionError:
    # A map is not repeated either: secrets are written into it by mistake.
    is_hidden = is_secret(hint) or "a map" in words(hint)
    seen = "" if is_hidden else f": `{value if isinstance(value, str) else json.dumps(value)}`"
    options = [str(each) for each in get_args(_bare(hint))] if get_origin(_bare(hint)) is Literal else []
    return DefinitionError(
        f"setting `{name}` of {_named(flavor)} does not take what it was given{seen}",
        why="" if options else str(error).replace(" - at `$`", ""),
        mend=nearest(str(value), options) if options else f"it takes {words(hint)}",
    )


def _named(flavor: Flavor[Any]) -> str:
    return f"{label(flavor.type)} flavor `{flavor.name}`"


def _bare(hint: Any) -> Any:
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    return hint


def _is_union(hint: Any) -> bool:
    from types import UnionType

    return get_origin(hint) in (Union, UnionType)
