"""A stack in a file: to be kept beside the code, or to be given to a colleague. Secrets are in it by name alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.client.components import check_name
from tilth.errors import Conflict, DefinitionError, HomeTooNew, nearest
from tilth.records import Component, Stack
from tilth.stack.assembled import required_types
from tilth.stack.built_in import built_in_stacks
from tilth.stack.catalogue import load_flavor
from tilth.stack.component_types import TYPES, check_type, in_order, label
from tilth.stack.settings import plain_settings
from tilth.store import Put

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tilth.client.stacks import Stacks
    from tilth.stack.assembled import AssembledStack
    from tilth.store import Change, Store

_VERSION = 1


class _Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    flavor: str
    settings: dict[str, Any] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    stack: str
    components: dict[str, _Described]


@dataclass(frozen=True)
class Import:
    """What importing a file would do.

    Attributes:
        stack: As it will be.
        added: Components that are new.
        replaced: What there is, and would be replaced by what is in the file, in words: `stack `cloud``.
    """

    stack: Stack
    added: tuple[Component, ...]
    replaced: tuple[str, ...]
    changes: tuple[Change, ...]


def exported(stack: AssembledStack) -> dict[str, Any]:
    """A stack and its components, as they are written to a file."""
    components = {
        type_: {"name": each.name, "flavor": each.flavor}
        | ({"settings": each.settings} if each.settings else {})
        for type_, each in stack.components.items()
    }
    return {"version": _VERSION, "stack": stack.name, "components": components}


def to_text(document: dict[str, Any], *, as_json: bool) -> str:
    """The document as YAML, or as JSON."""
    if as_json:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    import yaml  # here for cost

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return text


def read_file(path: Path) -> _File:
    """The stack in a file, YAML or JSON.

    Raises:
        DefinitionError: There is no such file, or no stack in it.
        HomeTooNew: A newer tilth wrote it.
    """
    import yaml  # here for cost

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DefinitionError(f"`{path}` cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DefinitionError(f"`{path}` is neither YAML nor JSON", why=str(error)) from None
    version = found.get("version") if isinstance(found, dict) else None
    if isinstance(version, int) and version > _VERSION:
        raise HomeTooNew(
            f"`{path}` was written by a newer tilth",
            why=f"it has version {version}; this tilth reads version {_VERSION}",
            mend="upgrade tilth",
        )
    try:
        return msgspec.convert(found, _File)
    except msgspec.ValidationError as error:
        raise DefinitionError(
            f"`{path}` holds no stack",
            why=str(error),
            mend="`tilth stack export NAME` shows what such a file looks like",
        ) from None


def plan_import(path: Path, stacks: Stacks, *, name: str = "") -> Import:
    """What importing a file would do, everything in it being checked.

    Args:
        name: For the stack, instead of the one in the file.
    Raises:
        DefinitionError, UnknownOption, SetupError: Something in the file is wrong, or a flavor is not installed.
        Conflict: It has another component of the name of one that comes with tilth.
    """
    file = read_file(path)
    wanted = name or file.stack
    check_name("stack", wanted)
    known = {(each.type, each.name): each for each in stacks.components.all()}
    added: list[Component] = []
    changes: list[Change] = []
    replaced: list[str] = []
    for given in in_order(file.components):
        type_, described = _type(path, given), file.components[given]
        check_name("component", described.name)
        flavor = load_flavor(type_, described.flavor)
        settings = plain_settings(flavor, described.settings)
        there = known.get((type_, described.name))
        if there is None:
            component = Component(
                project=stacks.project,
                type=type_,
                name=described.name,
                flavor=described.flavor,
                settings=settings,
            )
            added.append(component)
            changes.append(Put(component))
        elif (there.flavor, there.settings) != (described.flavor, settings):
            if there.built_in:
                raise Conflict(
                    f"{label(type_)} `{there.name}` in `{path}` is not the one that comes with tilth",
                    mend="give it another name in the file",
                )
            replaced.append(f"{label(type_)} `{there.name}`")
            changes.append(Put(msgspec.structs.replace(there, flavor=described.flavor, settings=settings)))
    components = {check_type(type_): each.name for type_, each in file.components.items()}
    missing = [each for each in required_types() if each not in components]
    if missing:
        raise DefinitionError(
            f"the stack in `{path}` has no {label(missing[0])}",
            why=f"every stack says {TYPES[missing[0]].title}",
        )
    stack = next((each for each in stacks.all() if each.name == wanted), None)
    if stack is None:
        stack = Stack(project=stacks.project, name=wanted, components=components)
        changes.append(Put(stack))
    elif stack.components != components:
        if any(each.name == wanted for each in built_in_stacks(stacks.project)):
            raise Conflict(
                f"stack `{wanted}` in `{path}` is not the one that comes with tilth",
                mend="give it another name: `--name NAME`",
            )
        replaced.insert(0, f"stack `{wanted}`")
        stack = msgspec.structs.replace(stack, components=components)
        changes.append(Put(stack))
    return Import(stack, tuple(added), tuple(replaced), tuple(changes))


def carry_out(store: Store, planned: Import) -> None:
    """Do it, all or nothing."""
    changes: Sequence[Change] = planned.changes
    if changes:
        store.write(changes)


def _type(path: Path, name: str) -> str:
    if name.replace("-", "_") not in TYPES:
        raise DefinitionError(
            f"`{path}` has a component of a type that does not exist: `{name}`", mend=nearest(name, TYPES)
        )
    return check_type(name)
