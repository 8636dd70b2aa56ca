"""What can be installed beside tilth: its extras, and packages of others that add flavors of component.

Everything is told from the metadata of installed packages; nothing of them is imported.
"""

from __future__ import annotations

import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tilth.errors import NotFound, SetupError, UnknownOption, nearest
from tilth.stack.catalogue import clashes, find_offer, offers
from tilth.stack.component_types import PLACES, TYPES, check_type, in_order
from tilth.stack.flavors import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.stack.catalogue import Offer


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be installed beside tilth.

    Attributes:
        name: The extra of tilth, or the package of others.
        package: `tilth` for an extra.
        flavors: Which it gives: `artifact_store.s3`.
        places: Whose environments need it, of `client`, `supervisor` and `server`.
        requires: What the package itself requires for it.
        missing: Of these, what is not installed where tilth runs.
    """

    name: str
    package: str
    version: str
    extras: tuple[str, ...] = ()
    flavors: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """As it is written into requirements: `tilth[s3]==1.0`."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.package}{extras}=={self.version}"


def integrations() -> list[Integration]:
    """tilth's extras, then the packages of others, each by name."""
    found = [
        _integration(extra, "tilth", (extra,), [each for each in offers() if each.integration == extra])
        for extra in sorted(_extras("tilth"))
    ]
    others = sorted({each.package for each in offers() if each.package not in ("tilth", "")})
    for package in others:
        of_it = [each for each in offers() if each.package == package]
        extras = tuple(sorted({each.extra for each in of_it if each.extra}))
        found.append(_integration(package, package, extras, of_it))
    return found


def find_integrations(names: Iterable[str]) -> list[Integration]:
    """Those of these names.

    Raises:
        NotFound: There is none of a name.
    """
    known = {each.name: each for each in integrations()}
    plain = {canonicalize_name(name): each for name, each in known.items()}
    found = []
    for name in names:
        if name not in known and canonicalize_name(name) not in plain:
            raise NotFound(
                f"there is no integration `{name}`",
                why="it is no extra of tilth, and no installed package of that name adds flavors",
                mend=nearest(
                    name, known, f"`tilth integration install --package {name}` installs a package of others"
                ),
            )
        found.append(known.get(name) or plain[canonicalize_name(name)])
    return found


def offered(type_: str = "", name: str = "") -> list[dict[str, Any]]:
    """The flavors there are: all, those of a type, or those of a name, with what is missing for each.

    Raises:
        UnknownOption: There is no such type, or no flavor of that name.
    """
    wanted = check_type(type_) if type_ else ""
    if name and wanted:
        find_offer(wanted, name)
    double = clashes()
    found = [
        {
            "type": each.type,
            "flavor": each.name,
            "package": each.package,
            "version": each.version,
            "integration": each.integration,
            "missing": list(_unmet(_requires(each.package, (each.extra,)))) if each.extra else [],
            "problem": each.problem
            or (
                f"declared by {len(double[each.type, each.name])} packages: "
                + " and ".join(double[each.type, each.name])
                if (each.type, each.name) in double
                else ""
            ),
        }
        for each in offers()
        if (not wanted or each.type == wanted) and (not name or each.name == name)
    ]
    if name and not found:
        raise UnknownOption(
            f"there is no flavor `{name}`",
            mend=nearest(name, {each.name for each in offers()}),
        )
    return found


def requirement_lines(found: Iterable[Integration], place: str = "") -> list[str]:
    """What integrations need, as lines of a requirements file: those that an environment of `place` needs."""
    assert not place or place in PLACES
    lines: set[str] = set()
    for each in found:
        if place and place not in each.places:
            continue
        lines.update(each.requires if each.package == "tilth" else [each.requirement])
    return sorted(lines)


def install(
    found: Sequence[Integration], packages: Sequence[str] = (), *, offline: bool = False
) -> list[str]:
    """Install what is missing into the environment that tilth runs from, and nothing of tilth itself.

    Args:
        packages: Of others, as requirements: `tilth-ftp>=2`.
    Returns:
        The requirements that were installed.
    Raises:
        SetupError: That environment is kept by somebody else: uv's tools, the operating system.
        TilthError: It failed.
    """
    wanted = [*dict.fromkeys(line for each in found for line in each.missing), *packages]
    if not wanted:
        return []
    if (receipt := Path(sys.prefix) / "uv-receipt.toml").is_file():
        raise SetupError(
            "this tilth is a tool of uv, which keeps its environment itself",
            mend=f"`{_tool_command(receipt, found, packages)}`",
        )
    from tilth.environments import uv  # here for cost

    options = ["--offline"] if offline else []
    # What is there stays: a newer tilth, or another version of what it needs, would be another program.
    done = uv.call(["pip", "install", *options, "--python", sys.executable, *wanted])
    if done.code == 0:
        return wanted
    if "externally managed" in done.errors:
        raise SetupError(
            f"`{sys.prefix}` belongs to the operating system, and nothing is installed into it",
            mend="install tilth into an environment of its own: `uv tool install tilth`",
        )
    raise uv.explain(done, "tilth")


def without_flavors(packages: Iterable[str]) -> list[str]:
    """Of the packages just installed, those that add no flavor."""
    names = [Requirement(each).name for each in packages]
    adding = {
        canonicalize_name(entry.dist.name) for entry in metadata.entry_points(group=GROUP) if entry.dist
    }
    return [name for name in names if canonicalize_name(name) not in adding]


def check_packages(packages: Iterable[str]) -> None:
    """Each is a requirement by name.

    Raises:
        UnknownOption: One is not.
    """
    for each in packages:
        try:
            Requirement(each)
        except ValueError as error:
            raise UnknownOption(
                f"`{each}` is no requirement",
                why=str(error).splitlines()[0],
                mend="write it as pip takes it: `NAME>=1.0`",
            ) from None


def _integration(name: str, package: str, extras: tuple[str, ...], given: Sequence[Offer]) -> Integration:
    requires = _requires(package, extras)
    types = {each.type for each in given}
    # An extra without flavors is for the machine where pipelines are compiled and started.
    needed = {place for type_ in types if type_ in TYPES for place in TYPES[type_].needed_by} or {"client"}
    return Integration(
        name=name,
        package=package,
        version=metadata.version(package),
        extras=extras,
        flavors=tuple(
            f"{each.type}.{each.name}" for type_ in in_order(types) for each in given if each.type == type_
        ),
        places=tuple(each for each in PLACES if each in needed),
        requires=tuple(requires),
        missing=_unmet(requires),
    )


def _extras(package: str) -> list[str]:
    try:
        return metadata.metadata(package).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:  # a source tree on the path: nothing is known of it
        return []


def _requires(package: str, extras: tuple[str, ...]) -> list[str]:
    """What extras of a package add to what it requires anyway, for this machine, without their markers."""
    found = []
    for text in metadata.requires(package) or []:
        try:
            requirement = Requirement(text)
        except ValueError:  # of a package whose author got it wrong: it harms no other
            continue
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}):
            continue
        if any(marker.evaluate({"extra": extra}) for extra in extras):
            requirement.marker = None
            found.append(str(requirement))
    return found


def _unmet(requirements: Iterable[str]) -> tuple[str, ...]:
    """Those that are not installed here, or in another version."""
    unmet = []
    for text in requirements:
        requirement = Requirement(text)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            unmet.append(text)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            unmet.append(text)
    return tuple(unmet)


def _tool_command(receipt: Path, found: Sequence[Integration], packages: Sequence[str]) -> str:
    """The command that adds them to what the tool was installed with, which uv would otherwise take away."""
    extras = {extra for each in found if each.package == "tilth" for extra in each.extras}
    beside = [*packages, *(each.requirement for each in found if each.package != "tilth")]
    source = "tilth"
    try:
        kept = tomllib.loads(receipt.read_text(encoding="utf-8"))["tool"]["requirements"]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError):
        kept = []
    for each in kept:
        if each.get("name") == "tilth":
            extras.update(each.get("extras", []))
            source = each.get("directory") or each.get("editable") or each.get("path") or source
        else:
            named = f"[{','.join(each['extras'])}]" if each.get("extras") else ""
            beside.append(f"{each.get('name', '')}{named}{each.get('specifier', '')}")
    wanted = f"{source}[{','.join(sorted(extras))}]" if extras else source
    words = ["uv", "tool", "install", wanted]
    for each in dict.fromkeys(beside):
        words += ["--with", each]
    return shlex.join(words)
