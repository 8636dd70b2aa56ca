"""The components of a project: those every project has, and those that were registered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.errors import Conflict, DefinitionError, NotFound, nearest
from tilth.project_file import project_name
from tilth.records import Component, Stack
from tilth.stack.built_in import built_in_components
from tilth.stack.component_types import TYPES, check_type, in_order, label
from tilth.store import Delete, Put, walk

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from tilth.store import Store

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}")


class Components:
    """The components of one project.

    Args:
        store: None where nothing was ever stored: then there are the built-in ones.
        root: The project's code root.
        project: Its name, where there is no code to ask.
    """

    def __init__(self, store: Store | None, root: Path, project: str = "") -> None:
        self._store = store
        self.root = root
        self.project = project or project_name(root)

    def all(self, type_: str = "") -> list[Component]:
        """All of them, or those of a type; by type, the built-in ones first, then by name."""
        wanted = check_type(type_) if type_ else ""
        stored = [] if self._store is None else walk(self._store, Component, project=self.project)
        found = [*built_in_components(self.project), *sorted(stored, key=lambda each: each.name)]
        order = in_order({each.type for each in found})
        found.sort(key=lambda each: order.index(each.type))
        return [each for each in found if not wanted or each.type == wanted]

    def get(self, name: str, type_: str = "") -> Component:
        """The component of a name, and of a type where several types have one of that name.

        Raises:
            NotFound: There is none.
            DefinitionError: There are several.
        """
        known = self.all(type_)
        found = [each for each in known if each.name == name]
        if len(found) > 1:
            types = ", ".join(f"`{each.type}`" for each in found)
            raise DefinitionError(
                f"several components of project `{self.project}` are named `{name}`",
                why=f"one of each of the types {types}",
                mend=f"say which is meant: `--type {found[0].type}`",
            )
        if not found:
            of_type = f" of type `{check_type(type_)}`" if type_ else ""
            raise NotFound(
                f"project `{self.project}` has no component `{name}`{of_type}",
                mend=nearest(name, {each.name for each in known})
                or f"`tilth component register {name} --type TYPE --flavor FLAVOR`",
            )
        return found[0]

    def register(self, name: str, type_: str, flavor: str, given: Mapping[str, str]) -> Component:
        """Keep a new component.

        Args:
            given: Its settings as text.
        Raises:
            UnknownOption, DefinitionError: Name, type, flavor or settings are wrong.
            Conflict: There is one of this type and name already.
        """
        from tilth.stack.catalogue import load_flavor  # here for cost: every run looks at components
        from tilth.stack.settings import plain_settings, settings_from_text

        check_name("component", name)
        type_ = check_type(type_)
        chosen = load_flavor(type_, flavor)
        settings = plain_settings(chosen, settings_from_text(chosen, given))
        self._check_free(type_, name)
        (kept,) = self.store.add(
            Component(project=self.project, type=type_, name=name, flavor=flavor, settings=settings)
        )
        return kept

    def update(self, component: Component, given: Mapping[str, str], unset: Collection[str]) -> Component:
        """Change settings of a component; those of `unset` get their default back.

        Raises:
            UnknownOption, DefinitionError: A setting is wrong, or the component is built in.
            Conflict: Somebody else changed it meanwhile.
        """
        from tilth.stack.catalogue import load_flavor  # here for cost: every run looks at components
        from tilth.stack.settings import plain_settings, settings_from_text

        if component.built_in:
            raise DefinitionError(
                f"{label(component.type)} `{component.name}` cannot be changed: it comes with tilth",
                mend="register one of your own: "
                f"`tilth component register NAME --type {component.type} --flavor {component.flavor} --set …`",
            )
        flavor = load_flavor(component.type, component.flavor)
        settings: dict[str, Any] = {**component.settings, **settings_from_text(flavor, given)}
        for each in unset:
            if each not in settings:
                raise NotFound(
                    f"{label(component.type)} `{component.name}` was given no setting `{each}`",
                    mend=nearest(each, settings),
                )
            del settings[each]
        changed = msgspec.structs.replace(component, settings=plain_settings(flavor, settings))
        return self.store.replace(component, changed)

    def delete(self, component: Component, *, force: bool = False) -> list[str]:
        """Forget a component. Runs that used it remember what it was.

        Args:
            force: Take it out of the stacks that have it.
        Returns:
            The names of these stacks.
        Raises:
            Conflict: A stack has it.
            DefinitionError: It is built in.
        """
        if component.built_in:
            raise DefinitionError(
                f"{label(component.type)} `{component.name}` cannot be deleted: it comes with tilth"
            )
        store = self.store
        users = [
            each
            for each in walk(store, Stack, project=self.project)
            if each.components.get(component.type) == component.name
        ]
        if users and not force:
            names = ", ".join(f"`{each.name}`" for each in users)
            raise Conflict(
                f"{label(component.type)} `{component.name}` is part of {'stack' if len(users) == 1 else 'stacks'} "
                f"{names}",
                mend=f"give them another, as with `tilth stack update {users[0].name} "
                f"-{TYPES[component.type].option} NAME`, or take it out of them with `--force`",
            )
        without = [
            msgspec.structs.replace(
                each,
                components={
                    type_: name for type_, name in each.components.items() if type_ != component.type
                },
            )
            for each in users
        ]
        store.write([*(Put(each) for each in without), Delete(Component, component.id)])
        return [each.name for each in users]

    def _check_free(self, type_: str, name: str) -> None:
        taken = next((each for each in self.all(type_) if each.name == name), None)
        if taken is not None:
            own = "it comes with tilth" if taken.built_in else f"of flavor `{taken.flavor}`"
            raise Conflict(
                f"project `{self.project}` has an {label(type_)} `{name}` already"
                if label(type_)[0] in "aeiou"
                else f"project `{self.project}` has a {label(type_)} `{name}` already",
                why=own,
                mend="give another name"
                if taken.built_in
                else f"give another name, or change it: `tilth component update {name} --set …`",
            )

    @property
    def store(self) -> Store:
        """Where they are kept."""
        assert self._store is not None, "what changes components opens the store"
        return self._store


def check_name(what: str, name: str) -> None:
    """A name is short, and plain enough for a command line, a path and a tag.

    Raises:
        DefinitionError: It is not.
    """
    if not _NAME.fullmatch(name):
        raise DefinitionError(
            f"`{name}` is no name for a {what}",
            mend="use up to 100 letters, digits, hyphens, dots and underscores, a letter or digit first",
        )
