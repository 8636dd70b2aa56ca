"""Whether components work, really: each is asked, and whatever happens becomes a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import TilthError
from tilth.stack.assembled import required_types
from tilth.stack.catalogue import find_offer, load_flavor
from tilth.stack.component_types import TYPES, label
from tilth.stack.flavors import Finding, Flavor
from tilth.stack.opening import not_installed, open_component
from tilth.stack.settings import read_settings, secrets_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from tilth.records import Component
    from tilth.stack.assembled import AssembledStack
    from tilth.stack.flavors import Context


def check_component(component: Component, context: Context, secrets: Collection[str]) -> list[Finding]:
    """Ask a component's flavor whether it works from here; `ok` is the one finding when nothing is wrong.

    Args:
        secrets: Names of those that are set.
    """
    try:
        flavor = load_flavor(component.type, component.flavor)
        settings = read_settings(flavor, component.settings)
    except TilthError as error:
        return [Finding.of(error)]
    missing = [name for name in secrets_in(settings) if name not in secrets]
    if missing:
        return [
            Finding(level="error", what=f"secret `{name}` is not set", mend=f"`tilth secret set {name}`")
            for name in missing
        ]
    try:
        if type(flavor).check is Flavor.check:  # it says no more than that the component can be made
            open_component(component.type, component.used, context)
            found = []
        else:
            given: list[object] = list(flavor.check(settings, context))
            found = [each for each in given if isinstance(each, Finding)]
            if len(found) < len(given):
                raise TypeError("what it gives are no `Finding`s")
    except TilthError as error:
        return [Finding.of(error)]
    except ImportError as error:
        return [Finding.of(not_installed(find_offer(component.type, component.flavor), error))]
    except (Exception, SystemExit) as error:  # the code of others: that it fails is what was asked
        return [_failed(component, "check", error)]
    return found or [Finding(level="ok", what=flavor.title)]


def check_completeness(stack: AssembledStack) -> list[Finding]:
    """Whether a stack has the component types that every stack has, and those its components need beside them."""
    found = [
        Finding(
            level="error",
            what=f"stack `{stack.name}` has no {label(each)}",
            mend=f"`tilth stack update {stack.name} -{TYPES[each].option} NAME`",
        )
        for each in required_types()
        if each not in stack.components
    ]
    for component in stack.components.values():
        try:
            flavor = load_flavor(component.type, component.flavor)
            needed = list(flavor.needs(read_settings(flavor, component.settings)))
        except TilthError:
            continue  # the check of the component tells
        except Exception as error:  # the code of others
            found.append(_failed(component, "`needs`", error))
            continue
        found += [
            Finding(
                level="error",
                what=f"{label(component.type)} `{component.name}` needs {_article(label(each))} in its stack",
                mend=f"`tilth component register NAME --type {each} --flavor FLAVOR`, then "
                f"`tilth stack update {stack.name} --component {each}=NAME`",
            )
            for each in needed
            if each not in stack.components
        ]
    return found


def _failed(component: Component, what: str, error: BaseException) -> Finding:
    return Finding(
        level="error",
        what=f"the {what} of flavor `{component.flavor}` failed: {type(error).__name__}",
        why=str(error),
        mend=f"tell who keeps up `{find_offer(component.type, component.flavor).package}`",
    )


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
