"""Which flavors are installed: what packages declare by entry points, and the code of the one that is chosen.

Listing reads the metadata of installed packages and imports nothing of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import SetupError, UnknownOption, nearest
from tilth.stack.component_types import TYPES, check_type, label
from tilth.stack.flavors import GROUP, Flavor

if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Offer:
    """A flavor as a package declares it.

    Attributes:
        extra: Of the package, that the flavor needs: named behind the object, as `module:object [extra]`.
        problem: Why it cannot be used, where that is known without importing it.
    """

    type: str
    name: str
    value: str  # `module:object`
    package: str
    version: str
    extra: str = ""
    problem: str = ""

    @property
    def integration(self) -> str:
        """What `tilth integration install` takes for what it needs; empty when that is there with tilth."""
        return self.extra if self.package == "tilth" else self.package

    @property
    def requirement(self) -> str:
        """What has to be installed to have it: `tilth[s3]`."""
        return f"{self.package}[{self.extra}]" if self.extra else self.package


@cache
def offers() -> tuple[Offer, ...]:
    """All flavors that installed packages declare, by type and name. One of two packages is there twice."""
    found = []
    known: dict[metadata.Distribution | None, tuple[str, str]] = {}
    for entry in metadata.entry_points(group=GROUP):
        kind, dot, name = entry.name.partition(".")
        if entry.dist not in known:
            known[entry.dist] = _about(entry.dist)
        package, version = known[entry.dist]
        problem = ""
        if not dot or not name:
            problem = f"its entry point is called `{entry.name}`, and not `TYPE.FLAVOR`"
        elif kind not in TYPES:
            problem = f"this tilth knows no component type `{kind}`"
        value = f"{entry.module}:{entry.attr}"
        extra = entry.extras[0] if entry.extras else ""
        found.append(Offer(kind, name, value, package, version, extra, problem))
    order = list(TYPES)
    # tilth's own first: those of others are told after what everybody has.
    found.sort(
        key=lambda each: (
            order.index(each.type) if each.type in order else len(order),
            each.package != "tilth",
            each.name,
            each.package,
        )
    )
    return tuple(found)


def _about(package: metadata.Distribution | None) -> tuple[str, str]:
    """Name and version of a package, which reads its metadata whenever it is asked for one of them."""
    if package is None:
        return "", ""
    told = package.metadata
    return told["Name"], told["Version"]


def clashes() -> dict[tuple[str, str], list[str]]:
    """Flavors that several packages declare: (type, name) to the packages."""
    by: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for each in offers():
        by[each.type, each.name].append(each.package)
    return {key: packages for key, packages in by.items() if len(packages) > 1}


def find_offer(type_: str, name: str) -> Offer:
    """The one package that declares a flavor.

    Raises:
        UnknownOption: There is none.
        SetupError: There are two.
    """
    type_ = check_type(type_)
    found = [each for each in offers() if (each.type, each.name) == (type_, name)]
    if not found:
        known = [each.name for each in offers() if each.type == type_]
        raise UnknownOption(
            f"there is no {label(type_)} flavor `{name}`",
            why="" if known else "no installed package declares one of this type",
            mend=nearest(name, known, "`tilth component flavors` lists them"),
        )
    if len(found) > 1:
        packages = " and ".join(f"`{each.package}`" for each in found)
        raise SetupError(
            f"{label(type_)} flavor `{name}` is declared by {len(found)} packages: {packages}",
            why="which of them is meant cannot be told",
            mend=f"uninstall one of them from the environment that tilth runs from: `{found[-1].package}`, for example",
        )
    return found[0]


def load_flavor(type_: str, name: str) -> Flavor[Any]:
    """Import a flavor.

    Raises:
        UnknownOption: There is none.
        SetupError: There are two, or its package is broken.
    """
    offer = find_offer(type_, name)
    module, _, attribute = offer.value.partition(":")
    entry = metadata.EntryPoint(f"{offer.type}.{offer.name}", offer.value, GROUP)
    try:
        loaded = entry.load()
        flavor = loaded() if isinstance(loaded, type) else loaded
    except (Exception, SystemExit) as error:  # whatever the code of others does when it is imported
        raise broken(offer, f"{type(error).__name__}: {error}") from error
    if not isinstance(flavor, Flavor):
        raise broken(offer, f"`{attribute}` of `{module}` is a `{type(flavor).__name__}`, and no `Flavor`")
    if (flavor.type, flavor.name) != (offer.type, offer.name):
        raise broken(
            offer,
            f"it calls itself `{flavor.type}.{flavor.name}`, its entry point `{offer.type}.{offer.name}`",
        )
    settings: object = getattr(flavor, "settings", None)
    if not (isinstance(settings, type) and issubclass(settings, msgspec.Struct)):
        raise broken(offer, "its `settings` are no struct of msgspec")
    try:
        msgspec.convert({}, settings)
    except msgspec.ValidationError:  # one is required
        pass
    except Exception as error:  # types that do not exist, or that nothing is converted to
        raise broken(offer, f"its `settings` cannot be read: {type(error).__name__}: {error}") from error
    return flavor


def broken(offer: Offer, why: str) -> SetupError:
    """The error for a flavor whose package does not keep what every flavor promises."""
    own = offer.package == "tilth"
    return SetupError(
        f"{label(offer.type)} flavor `{offer.name}`, from package `{offer.package}` {offer.version}, cannot be used",
        why=why,
        mend="install tilth again"
        if own
        else f"see whether there is another version of `{offer.package}` that suits this tilth",
    )
