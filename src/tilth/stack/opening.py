"""A component from what is remembered of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import SetupError, TilthError
from tilth.stack.catalogue import broken, find_offer, load_flavor
from tilth.stack.component_types import TYPES, label
from tilth.stack.settings import read_settings

if TYPE_CHECKING:
    from tilth.records import ComponentUsed
    from tilth.stack.catalogue import Offer
    from tilth.stack.flavors import Context


def open_component(type_: str, used: ComponentUsed, context: Context) -> object:
    """The component that a stack has, or that a recorded run had.

    Raises:
        UnknownOption: There is no such flavor, or a setting is not its.
        DefinitionError: Its settings are wrong.
        SetupError: What it needs is not installed, a secret it names is not set, or its flavor's package is broken.
    """
    flavor = load_flavor(type_, used.flavor)
    settings = read_settings(flavor, used.settings)
    offer = find_offer(type_, used.flavor)
    try:
        made: object = flavor.make(settings, context)
    except ImportError as error:
        raise not_installed(offer, error) from error
    except TilthError:
        raise
    except Exception as error:
        if offer.package == "tilth":  # a bug of ours is told as that
            raise
        raise broken(offer, f"making it failed: {type(error).__name__}: {error}") from error
    if offer.package != "tilth" and (lacking := lacks(type_, made)):
        listed = ", ".join(f"`{each}`" for each in lacking)
        raise broken(offer, f"it makes a `{type(made).__name__}`, which has no {listed}")
    return made


def lacks(type_: str, component: object) -> list[str]:
    """What a component would have to have and has not."""
    return [each for each in TYPES[type_].has if not hasattr(component, each)]


def not_installed(offer: Offer, error: ImportError) -> SetupError:
    """What a flavor needs could not be imported."""
    return SetupError(
        f"{label(offer.type)} flavor `{offer.name}` needs what is not installed: `{error.name or error}`",
        mend=f"`tilth integration install {offer.integration}`"
        if offer.integration
        else "install tilth again",
    )
