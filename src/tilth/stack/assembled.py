"""A stack with its components in hand, and what can be told from both: requirements, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tilth.stack.component_types import TYPES, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.records import Component


@dataclass(frozen=True)
class AssembledStack:
    """A stack of a project with the components it names.

    Attributes:
        components: By type.
        chosen_by: What made it the active one: `--stack`, `TILTH_STACK`, `tilth stack set`, `[tool.tilth]`; empty
            for the one that nobody chose.
    """

    name: str
    components: dict[str, Component]
    chosen_by: str = ""

    def component(self, type_: str) -> Component | None:
        """The component of a type; None when the stack has none."""
        return self.components.get(type_)


def stack_requirements(stack: AssembledStack, place: str = "supervisor") -> list[str]:
    """What its components need installed beside tilth, sorted: PEP 508 lines. Of tilth itself only its extras.

    Args:
        place: `client`, `supervisor` or `server`; a supervisor needs no more than the artifact store.
    Raises:
        TilthError: A flavor is not there, or cannot be imported.
    """
    return requirements_of((each for each in stack.components.values()), place)


def requirements_of(components: Iterable[Component], place: str) -> list[str]:
    """As `stack_requirements`, for components."""
    from tilth.stack.catalogue import find_offer, load_flavor  # here for cost: a run may not ask
    from tilth.stack.installed import installed_requirement

    found: set[str] = set()
    for each in components:
        if each.type in TYPES and place not in TYPES[each.type].needed_by:
            continue
        offer = find_offer(each.type, each.flavor)
        own = load_flavor(each.type, each.flavor).requirements
        if own:
            found.update(own)
        elif offer.package != "tilth":
            found.add(installed_requirement(offer.package, extra=offer.extra))
        elif offer.extra:
            found.add(offer.requirement)
    return sorted(found)


def required_types() -> list[str]:
    """The component types that every stack has."""
    return in_order(name for name, each in TYPES.items() if each.required)
