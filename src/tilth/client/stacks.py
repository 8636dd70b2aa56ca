"""The stacks of a project: which there are, which is active, and whether they work."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from tilth.client.components import Components, check_name
from tilth.errors import Conflict, DefinitionError, NotFound, nearest
from tilth.project_file import project_stack
from tilth.records import Project, Stack
from tilth.settings import setting
from tilth.stack.assembled import AssembledStack, required_types
from tilth.stack.built_in import DEFAULT, built_in_stacks
from tilth.stack.component_types import TYPES, check_type, in_order, label
from tilth.store import Delete, Put, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from tilth.home import Home
    from tilth.records import Component, ComponentUsed
    from tilth.stack.flavors import Context, Finding
    from tilth.store import Store


def active_stack(
    home: Home, root: Path, named: str | None = None, *, store: Store | None = None
) -> AssembledStack:
    """The stack that a run of a project uses, with its components.

    Args:
        root: The project's code root.
        named: The stack that the command line asks for; None for the active one.
        store: The records, where they are open already. Else they are opened if there are any, and none are made.
    Raises:
        NotFound: There is no such stack, or it has a component that is not there.
    """
    if store is not None or not home.database.exists():
        return Stacks(store, root).active(named)
    from tilth.store import open_store  # here for cost: a run has it open

    with closing(open_store(home, to_read=True)) as opened:
        return Stacks(opened, root).active(named)


def open_component(
    type_: str,
    used: ComponentUsed,
    *,
    home: Home,
    root: Path,
    listener: Callable[[str], None] | None = None,
) -> object:
    """The component that a stack has (`Component.used`), or that a recorded run had.

    Raises:
        TilthError: Its flavor is not there, its settings are wrong, or it cannot be made.
    """
    from tilth.stack import opening  # here for cost

    return opening.open_component(type_, used, context_of(home, root, used.component, listener))


def context_of(
    home: Home, root: Path, component: str = "", listener: Callable[[str], None] | None = None
) -> Context:
    """What components of a project are made in, on this machine."""
    from tilth.stack.flavors import Context  # here for cost: every run looks at stacks

    def reveal(name: str) -> str:
        from tilth.secrets import open_secrets  # here for cost: most stacks name none

        try:
            return open_secrets(home).get(name)
        except NotFound as error:
            asker = f"component `{component}` names it" if component else ""
            raise NotFound(error.summary, why=error.why or asker, mend=error.mend) from None

    context = Context(home, root, reveal, component)
    return context if listener is None else Context(home, root, reveal, component, listener)


class Stacks:
    """The stacks of one project.

    Args:
        store: None where nothing was ever stored: then there are the built-in ones.
        root: The project's code root.
        project: Its name, where there is no code to ask.
    """

    def __init__(self, store: Store | None, root: Path, project: str = "") -> None:
        self._store = store
        self.components = Components(store, root, project)
        self.project = self.components.project

    def all(self) -> list[Stack]:
        """All of them, the built-in ones first, then by name."""
        stored = [] if self._store is None else walk(self._store, Stack, project=self.project)
        return [*built_in_stacks(self.project), *sorted(stored, key=lambda each: each.name)]

    def get(self, name: str, *, why: str = "") -> Stack:
        """The stack of a name.

        Raises:
            NotFound: There is none; `why` says who asked for it.
        """
        for each in built_in_stacks(self.project):
            if each.name == name:
                return each
        found = () if self._store is None else self._store.find(Stack, project=self.project, name=name).items
        if not found:
            raise NotFound(
                f"project `{self.project}` has no stack `{name}`",
                why=why,
                mend=nearest(name, [each.name for each in self.all()], "`tilth stack register` makes one"),
            )
        return found[0]

    def active(self, named: str | None = None) -> AssembledStack:
        """The stack that runs use, with its components.

        Raises:
            NotFound: It, or one of its components, is not there.
        """
        name, chosen_by = self.chosen(named)
        return self.assembled(self.get(name, why=f"{chosen_by} names it"), chosen_by)

    def chosen(self, named: str | None = None) -> tuple[str, str]:
        """The name of the active stack, and what chose it; nothing did where it is the default one."""
        if named:
            return named, "`--stack`"
        if name := setting("stack"):
            return name, "`TILTH_STACK`"
        remembered = self._remembered()
        if remembered is not None and remembered.stack:
            return remembered.stack, "`tilth stack set`"
        if name := project_stack(self.components.root):
            return name, "the project's file"
        return DEFAULT, ""

    def assembled(self, stack: Stack, chosen_by: str = "") -> AssembledStack:
        """A stack with its components.

        Raises:
            NotFound: One of them is not there any more.
        """
        known = {(each.type, each.name): each for each in self.components.all()}
        components: dict[str, Component] = {}
        for type_ in in_order(stack.components):
            name = stack.components[type_]
            if (type_, name) not in known:
                raise NotFound(
                    f"stack `{stack.name}` has the {label(type_)} `{name}`, which does not exist",
                    mend=f"`tilth stack update {stack.name} --component {type_}=NAME`",
                )
            components[type_] = known[type_, name]
        return AssembledStack(stack.name, components, chosen_by)

    def register(self, name: str, components: Mapping[str, str]) -> Stack:
        """Keep a new stack of components that exist: type to name.

        Raises:
            DefinitionError: Its name is none, or a type is missing that every stack has.
            NotFound: A component does not exist.
            Conflict: There is a stack of this name already.
        """
        check_name("stack", name)
        chosen = self._known(components)
        self._check_whole(name, chosen)
        if any(each.name == name for each in self.all()):
            built_in = any(each.name == name for each in built_in_stacks(self.project))
            raise Conflict(
                f"project `{self.project}` has a stack `{name}` already",
                why="it comes with tilth" if built_in else "",
                mend="give another name"
                if built_in
                else f"give another name, or change it: `tilth stack update {name} …`",
            )
        (kept,) = self.store.add(Stack(project=self.project, name=name, components=chosen))
        return kept

    def update(self, stack: Stack, components: Mapping[str, str], without: Collection[str] = ()) -> Stack:
        """Give a stack other components, and take those of the types `without` out of it.

        Raises:
            DefinitionError: The stack is built in, or would miss a type that every stack has.
            NotFound: A component does not exist, or the stack has none of a type to be taken out.
            Conflict: Somebody else changed it meanwhile.
        """
        if stack.built_in:
            raise DefinitionError(
                f"stack `{stack.name}` cannot be changed: it comes with tilth",
                mend="register one of your own: `tilth stack register NAME "
                + " ".join(f"-{TYPES[type_].option} {name}" for type_, name in stack.components.items())
                + "`",
            )
        changed = dict(stack.components)
        for type_ in map(check_type, without):
            if type_ not in changed:
                raise NotFound(f"stack `{stack.name}` has no {label(type_)}")
            del changed[type_]
        changed |= self._known(components)
        self._check_whole(stack.name, changed)
        return self.store.replace(stack, msgspec.structs.replace(stack, components=changed))

    def delete(self, stack: Stack) -> bool:
        """Forget a stack; its components stay. Returns whether it was the one chosen for the project.

        Raises:
            DefinitionError: It is built in.
        """
        if stack.built_in:
            raise DefinitionError(f"stack `{stack.name}` cannot be deleted: it comes with tilth")
        project = self._remembered()
        if project is None or project.stack != stack.name:
            self.store.write([Delete(Stack, stack.id)])
            return False
        let_go = msgspec.structs.replace(project, stack="")
        self.store.write([Put(let_go), Delete(Stack, stack.id)])
        return True

    def choose(self, stack: Stack | None) -> None:
        """Make a stack the active one of the project; None leaves it to the project's file."""
        name = "" if stack is None else stack.name
        store, project = self.store, self._remembered()
        if project is None:
            store.add(Project(name=self.project, stack=name))
        elif project.stack != name:
            store.replace(project, msgspec.structs.replace(project, stack=name))

    def check(self, stack: Stack, home: Home) -> list[tuple[Component | None, Finding]]:
        """Ask every component of a stack whether it works from here, all at once.

        Returns:
            What was found, each with its component; None for what concerns the stack as a whole.
        """
        from concurrent.futures import ThreadPoolExecutor  # here for cost

        from tilth.errors import TilthError
        from tilth.secrets import open_secrets
        from tilth.stack.checking import check_completeness, check_component
        from tilth.stack.flavors import Finding

        try:
            assembled = self.assembled(stack)
        except TilthError as error:
            return [(None, Finding.of(error))]
        components = list(assembled.components.values())
        secrets = open_secrets(home).names()

        def checked(component: Component) -> list[Finding]:
            return check_component(component, context_of(home, self.components.root, component.name), secrets)

        with ThreadPoolExecutor(max_workers=max(1, len(components))) as pool:
            findings = list(pool.map(checked, components))
        told: list[tuple[Component | None, Finding]] = [
            (component, finding)
            for component, found in zip(components, findings, strict=True)
            for finding in found
        ]
        return [*told, *((None, each) for each in check_completeness(assembled))]

    def _known(self, components: Mapping[str, str]) -> dict[str, str]:
        given = {check_type(type_): name for type_, name in components.items()}
        return {type_: self.components.get(given[type_], type_).name for type_ in in_order(given)}

    def _check_whole(self, name: str, components: Mapping[str, str]) -> None:
        for type_ in required_types():
            if type_ not in components:
                raise DefinitionError(
                    f"stack `{name}` needs an {label(type_)}",
                    why=f"{TYPES[type_].title}",
                    mend=f"`-{TYPES[type_].option} NAME`; `local` is one that every project has",
                )

    def remembered(self) -> str:
        """The name of the stack that was chosen for the project; empty when none was."""
        project = self._remembered()
        return project.stack if project is not None else ""

    def _remembered(self) -> Project | None:
        found = () if self._store is None else self._store.find(Project, name=self.project).items
        return found[0] if found else None

    @property
    def store(self) -> Store:
        """Where they are kept."""
        assert self._store is not None, "what changes stacks opens the store"
        return self._store
