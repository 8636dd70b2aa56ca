"""A component from what is remembered of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import SetupError
from tilth.stack.catalogue import find_offer, load_flavor
from tilth.stack.component_types import label
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
        SetupError: What it needs is not installed, or a secret it names is not set.
    """
    flavor = load_flavor(type_, used.flavor)
    settings = read_settings(flavor, used.settings)
    try:
        return flavor.make(settings, context)
    except ImportError as error:
        raise not_installed(find_offer(type_, used.flavor), error) from error


def not_installed(offer: Offer, error: ImportError) -> SetupError:
    """What a flavor needs could not be imported."""
    return SetupError(
        f"{label(offer.type)} flavor `{offer.name}` needs what is not installed: `{error.name or error}`",
        mend=f"`tilth integration install {offer.integration}`"
        if offer.integration
        else "install tilth again",
    )
