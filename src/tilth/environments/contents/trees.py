"""Why each package is in an environment: who asked for it, and what requires it.

Dependencies are those the lock names, else those of the packages' own METADATA; of a package that neither tells
of, they are not known, and that is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tilth.environments.names import normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tilth.records import Package

_NAMED = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*(?=[=<>!~@;(,]|$)"
)


@dataclass(frozen=True)
class Graph:
    """Who needs whom in one environment. Every name in it is that of a package in it."""

    requires: dict[str, dict[str, str] | None]  # -> dependency -> as required: `>=1.26`; None: not known
    requested: dict[str, tuple[str, ...]]  # -> the requirements that ask for it
    sources: tuple[str, ...] = ()  # what else was declared, and names no package: files, folders
    required_by: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def unknown(self) -> list[str]:
        """The packages whose dependencies are not known."""
        return [name for name, needs in self.requires.items() if needs is None]

    def why(self, name: str) -> str:
        """In a few words; empty when it is not known."""
        parts = [f"requested: {', '.join(self.requested[name])}"] if name in self.requested else []
        parts += [f"required by {', '.join(self.required_by[name])}"] if self.required_by.get(name) else []
        return "; ".join(parts) or self._declared()

    def _declared(self) -> str:
        """The only reason left for what no package requires, when all that packages require is known."""
        return f"requested in {', '.join(self.sources)}" if self.sources and not self.unknown else ""


class Line(NamedTuple):
    """One line of a tree."""

    indent: str  # box drawing
    name: str
    note: str


def make_graph(
    packages: Iterable[Package],
    *,
    requirements: Iterable[str],
    locked: Mapping[str, tuple[str, ...] | None],
    metadata: Callable[[Package], Iterable[str] | None],
    markers: Callable[[], Mapping[str, str]],
    by_hand: Iterable[str] = (),
) -> Graph:
    """The graph of an environment.

    Args:
        requirements: As declared.
        locked: Package -> names of its dependencies; None where the lock does not say.
        metadata: `Requires-Dist` lines of a package; None where they are not known.
        markers: Of the environment's interpreter (PEP 508).
        by_hand: Packages that somebody told an installer to install.
    """
    by_name = {each.name: each for each in packages}
    requested: dict[str, tuple[str, ...]] = {name: ("by name",) for name in by_hand if name in by_name}
    extras: dict[str, set[str]] = {name: set() for name in by_name}
    sources = []
    for line in requirements:
        match = _NAMED.match(line)
        name = normalised(match["name"]) if match else ""
        if match is None or name not in by_name:
            if line.startswith("-") or "/" in line:
                sources.append(line.removeprefix("-r ").strip())
            continue  # a marker kept it out
        requested[name] = (*requested.get(name, ()), line)
        extras[name] |= _split(match["extras"])
    requires = _requires(by_name, extras, locked, metadata, markers)
    required_by: dict[str, list[str]] = {name: [] for name in by_name}
    for name, needs in requires.items():
        for each in needs or ():
            required_by[each].append(name)
    return Graph(
        requires=requires,
        requested=requested,
        sources=tuple(sources),
        required_by={name: tuple(sorted(each)) for name, each in required_by.items()},
    )


def tree_lines(graph: Graph) -> Iterator[Line]:
    """The graph as a tree. Below each package what it requires, the first time that it appears."""
    shown: set[str] = set()
    tops = [name for name in graph.requires if name in graph.requested]
    tops += [name for name in graph.requires if not graph.required_by[name] and name not in graph.requested]
    for name in tops:
        yield from _branch(graph, name, shown)
    # What is left is required by its own dependencies alone.
    for name in graph.requires:
        if name not in shown:
            yield from _branch(graph, name, shown)


def _branch(graph: Graph, top: str, shown: set[str]) -> Iterator[Line]:
    """One package at the margin and what it requires. A stack of its own: a chain may be long."""
    asked = ", ".join(graph.requested.get(top, ()))
    reason = f"requested: {asked}" if asked else graph.why(top) or "why it is there is not known"
    stack = [("", "", top, reason)]
    while stack:
        indent, below, name, note = stack.pop()
        needs = graph.requires[name]
        again = name in shown and bool(needs)
        shown.add(name)
        if needs is None:
            note = "; ".join(filter(None, (note, "what it requires is not known")))
        yield Line(indent, name, f"{note} (as above)".strip() if again else note)
        if again or not needs:
            continue
        names = sorted(needs, reverse=True)
        for each in names:
            last = each is names[0]
            stack.append(
                (
                    below + ("└── " if last else "├── "),
                    below + ("    " if last else "│   "),
                    each,
                    needs[each],
                )
            )


def _requires(
    by_name: Mapping[str, Package],
    extras: dict[str, set[str]],
    locked: Mapping[str, tuple[str, ...] | None],
    metadata: Callable[[Package], Iterable[str] | None],
    markers: Callable[[], Mapping[str, str]],
) -> dict[str, dict[str, str] | None]:
    requires: dict[str, dict[str, str] | None] = dict.fromkeys(by_name)
    lines: dict[str, list[str]] = {}
    for name, package in by_name.items():
        found = metadata(package)
        if found is not None:
            lines[name] = list(found)
    known = markers() if lines else {}
    waiting = list(lines)
    while waiting:  # an extra that somebody asks for later may add to what was seen already
        name = waiting.pop()
        needs, asked = _needs(lines[name], extras[name], known)
        requires[name] = {each: text for each, text in needs.items() if each in by_name}
        for each, more in asked.items():
            if each in by_name and not more <= extras[each]:
                extras[each] |= more
                if each in lines:
                    waiting.append(each)
    for name in by_name:
        named = locked.get(name)
        if named is not None:  # what was resolved is right; METADATA adds in which words it was asked for
            told = requires[name] or {}
            requires[name] = {each: told.get(each, "") for each in named if each in by_name}
    return requires


def _needs(
    lines: Iterable[str], extras: Iterable[str], markers: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, set[str]]]:
    """(dependency -> as required, dependency -> extras of it) where the markers hold."""
    from packaging.requirements import InvalidRequirement, Requirement

    needs: dict[str, str] = {}
    asked: dict[str, set[str]] = {}
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # written before PEP 508 was enforced
        marker = requirement.marker
        if marker and not any(marker.evaluate({**markers, "extra": each}) for each in ("", *extras)):
            continue
        name = normalised(requirement.name)
        wanted = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        needs[name] = " ".join(filter(None, (needs.get(name), wanted + str(requirement.specifier))))
        asked.setdefault(name, set()).update(map(normalised, requirement.extras))
    return needs, asked


def _split(extras: str | None) -> set[str]:
    return {normalised(each.strip()) for each in (extras or "").split(",") if each.strip()}
