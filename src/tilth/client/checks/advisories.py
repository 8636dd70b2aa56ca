"""Packages with known vulnerabilities, by records in the OSV format: https://ossf.github.io/osv-schema/

Where the records come from is the business of `osv.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from packaging.version import InvalidVersion, Version

from tilth.client.checks.findings import WARNING, Finding
from tilth.environments.names import normalised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ECOSYSTEM = "PyPI"


class _Event(msgspec.Struct, frozen=True):
    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None


class _Range(msgspec.Struct, frozen=True):
    type: str
    events: tuple[_Event, ...] = ()


class _Package(msgspec.Struct, frozen=True):
    ecosystem: str = ""
    name: str = ""


class _Affected(msgspec.Struct, frozen=True):
    package: _Package = _Package()
    ranges: tuple[_Range, ...] = ()
    versions: tuple[str, ...] = ()


class Advisory(msgspec.Struct, frozen=True):
    """The part of an OSV record that says whom it concerns."""

    id: str
    summary: str = ""
    details: str = ""
    aliases: tuple[str, ...] = ()
    withdrawn: str | None = None
    affected: tuple[_Affected, ...] = ()


def check_advisories(
    environments: Mapping[str, Iterable[tuple[str, str]]], advisories: Iterable[Advisory]
) -> list[Finding]:
    """Packages that an advisory concerns.

    Args:
        environments: Name -> (package, version) of what it holds; the client's is named "".
    """
    holders: dict[tuple[str, str], list[str]] = {}
    for environment, packages in environments.items():
        for name, version in packages:
            holders.setdefault((normalised(name), version), []).append(environment)
    by_name: dict[str, list[str]] = {}
    for name, version in holders:
        by_name.setdefault(name, []).append(version)
    hits: dict[tuple[str, str], dict[str, Advisory]] = {}
    for advisory in advisories:
        if advisory.withdrawn:
            continue
        for name in {normalised(each.package.name) for each in advisory.affected}:
            for version in by_name.get(name, ()):
                if is_affected(advisory, name, version):
                    hits.setdefault((name, version), {})[advisory.id] = advisory
    return [
        _finding(name, version, same, holders[name, version])
        for (name, version), found in sorted(hits.items())
        for same in _without_aliases(found)
    ]


def is_affected(advisory: Advisory, name: str, version: str) -> bool:
    """Whether a version is listed, or in a range of the ecosystem's own versions."""
    for affected in _concerning(advisory, name):
        if version in affected.versions:
            return True
        parsed = _parse(version)
        if parsed is None:
            continue
        if any(_parse(each) == parsed for each in affected.versions):
            return True
        if any(_in_range(parsed, each.events) for each in affected.ranges if each.type == "ECOSYSTEM"):
            return True
    return False


def fixed_version(advisory: Advisory, name: str, version: str) -> str:
    """The lowest version above this one that is fixed; empty when there is none."""
    parsed = _parse(version)
    fixed = [
        found
        for affected in _concerning(advisory, name)
        for each in affected.ranges
        for event in each.events
        if each.type == "ECOSYSTEM" and event.fixed and (found := _parse(event.fixed)) is not None
    ]
    later = [each for each in fixed if parsed is None or each > parsed]
    return str(min(later)) if later else ""


def _concerning(advisory: Advisory, name: str) -> Iterator[_Affected]:
    for affected in advisory.affected:
        if affected.package.ecosystem == ECOSYSTEM and normalised(affected.package.name) == name:
            yield affected


def _in_range(version: Version, events: Sequence[_Event]) -> bool:
    """By the events in the order of their versions, as the schema's section on evaluation says."""
    at: list[tuple[Version, int, str]] = []
    for event in events:
        if event.introduced is not None:
            start = Version("0.dev0") if event.introduced == "0" else _parse(event.introduced)
            at += [(start, 0, "introduced")] if start is not None else []
        if event.fixed is not None and (found := _parse(event.fixed)) is not None:
            at.append((found, 1, "fixed"))
        if event.last_affected is not None and (found := _parse(event.last_affected)) is not None:
            at.append((found, 1, "last"))
    vulnerable = False
    for bound, _, kind in sorted(at):
        if kind == "introduced" and version >= bound:
            vulnerable = True
        elif (kind == "fixed" and version >= bound) or (kind == "last" and version > bound):
            vulnerable = False
    return vulnerable


def _parse(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _without_aliases(found: Mapping[str, Advisory]) -> list[list[Advisory]]:
    """Advisories of one package version, those about the same vulnerability together."""
    groups: list[tuple[set[str], list[Advisory]]] = []
    for advisory in sorted(found.values(), key=lambda each: each.id):
        names = {advisory.id, *advisory.aliases}
        touching = [each for each in groups if each[0] & names]
        merged = (
            names.union(*(each[0] for each in touching)),
            [*(one for each in touching for one in each[1]), advisory],
        )
        groups = [each for each in groups if each not in touching] + [merged]
    return [advisories for _, advisories in groups]


def _finding(name: str, version: str, same: Sequence[Advisory], holders: Sequence[str]) -> Finding:
    first = same[0]
    fixes = [each for each in (fixed_version(one, name, version) for one in same) if each]
    fixed = max(fixes, key=Version, default="")  # with the lower one, another record still holds
    also = sorted({alias for each in same for alias in (each.id, *each.aliases)} - {first.id})
    summary = next((each.summary for each in same if each.summary), "") or _first_line(first.details)
    named = [f"environment `{each}`" if each else "the client's environment" for each in holders]
    return Finding(
        level=WARNING,
        check="advisories",
        environment=", ".join(each for each in holders if each),
        package=name,
        version=version,
        what=f"`{name}` {version} has a known vulnerability: {first.id}"
        + (f" ({', '.join(also)})" if also else ""),
        why="\n".join(filter(None, (summary, "in " + ", ".join(named)))),
        mend=f"require `{name}>={fixed}`" if fixed else "no fixed version is known",
    )


def _first_line(text: str) -> str:
    line = next((each.strip("# ") for each in text.splitlines() if each.strip("# ")), "")
    return line if len(line) <= 200 else f"{line[:199]}…"
