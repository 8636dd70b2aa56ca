"""Where each requirement of an environment is declared: the list, a line of a file, or a table of a project."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.environments.names import normalised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.specifiers import SpecifierSet

    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home

_INCLUDE = re.compile(r"(?:-r|--requirements?)(?:\s+|=)?(?P<path>\S.*)")
_CONSTRAINT = re.compile(r"(?:-c|--constraints?)(?:\s+|=)?(?P<path>\S.*)")
OWN_PROJECT = "tilth-single-indexes"  # in which `resolution` writes what must come from one index


class Declared(NamedTuple):
    """One requirement, as somebody wrote it."""

    name: str  # normalised
    versions: SpecifierSet
    text: str
    where: str  # `requirements.txt`, line 3
    limits: bool = False  # a constraint: asks for nothing by itself


class Asked(NamedTuple):
    """What a resolution was asked for, for the story of its failure."""

    environment: Mapping[str, Any]
    root: Path
    interpreter: Interpreter
    home: Home

    def declared(self) -> list[Declared]:
        """Every requirement and constraint that can be read. Never raises: an error is being explained."""
        try:
            return list(_declared(self.environment, self.root))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return []

    def projects(self) -> set[str]:
        """Names of the projects whose files the requirements are declared in."""
        import tomllib

        found = {OWN_PROJECT}
        with suppress(OSError, ValueError, KeyError, TypeError):
            text = (self.root / self.environment["pyproject"]).read_text(encoding="utf-8")
            found.add(normalised(tomllib.loads(text)["project"]["name"]))
        return found

    def known_names(self) -> set[str]:
        """Packages that exist: of cached locks, in the client, in declared folders."""
        return set(_known_names(self.environment, self.root, self.interpreter, self.home))


def _declared(environment: Mapping[str, Any], root: Path) -> Iterator[Declared]:
    requirements = environment.get("requirements", ())
    if isinstance(requirements, str):
        yield from _of_file(root / requirements, root, limits=False, seen=frozenset())
    else:
        yield from _of_lines(requirements, "`requirements`", root)
    for option in ("constraints", "overrides"):
        given = environment.get(option, ())
        limits = option == "constraints"
        if isinstance(given, str):
            yield from _of_file(root / given, root, limits=limits, seen=frozenset())
        else:
            yield from _of_lines(given, f"`{option}`", root, limits=limits)
    if environment.get("pyproject"):
        yield from _of_project(root / environment["pyproject"], environment, root)
    if environment.get("script"):
        import tomllib

        from tilth.environments.declarations import script_metadata

        path = root / environment["script"]
        metadata = tomllib.loads(script_metadata(path, environment["name"]))
        yield from _of_lines(metadata.get("dependencies", ()), f"`{_shown(path, root)}`", root)


def _of_lines(lines: Iterable[str], where: str, root: Path, *, limits: bool = False) -> Iterator[Declared]:
    for line in lines:
        included = _INCLUDE.fullmatch(line.strip())
        constraint = _CONSTRAINT.fullmatch(line.strip())
        if included or constraint:
            path = root / (included or constraint)["path"]  # type: ignore[index]
            yield from _of_file(path, root, limits=constraint is not None, seen=frozenset())
        else:
            yield from _of_line(line, where, limits)


def _of_line(line: str, where: str, limits: bool) -> Iterator[Declared]:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line.partition(" --hash")[0].strip().rstrip("\\").strip())
    except InvalidRequirement:
        return
    if requirement.marker is None or requirement.marker.evaluate():
        yield Declared(normalised(requirement.name), requirement.specifier, str(requirement), where, limits)


def _of_file(path: Path, root: Path, *, limits: bool, seen: frozenset[Path]) -> Iterator[Declared]:
    path = Path(os.path.normpath(path))
    if path in seen:
        return
    for number, written in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", written).strip()
        included, constraint = _INCLUDE.fullmatch(line), _CONSTRAINT.fullmatch(line)
        inner = included or constraint
        if inner:
            below = path.parent / inner["path"].strip()
            yield from _of_file(below, root, limits=limits or constraint is not None, seen=seen | {path})
        elif line:
            yield from _of_line(line, f"`{_shown(path, root)}`, line {number}", limits)


def _of_project(path: Path, environment: Mapping[str, Any], root: Path) -> Iterator[Declared]:
    import tomllib

    document = tomllib.loads(path.read_text(encoding="utf-8"))
    project, file = document.get("project", {}), f"`{_shown(path, root)}`"
    yield from _of_lines(project.get("dependencies", ()), f"{file}, `dependencies`", root)
    for extra in environment.get("extras", ()):
        lines = project.get("optional-dependencies", {}).get(extra, ())
        yield from _of_lines(lines, f"{file}, extra `{extra}`", root)
    groups = document.get("dependency-groups", {})
    for group in environment.get("groups", ()):
        yield from _of_lines(_group(groups, group, frozenset()), f"{file}, group `{group}`", root)


def _group(groups: Mapping[str, Any], name: str, seen: frozenset[str]) -> Iterator[str]:
    for each in groups.get(name, ()) if name not in seen else ():
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict) and "include-group" in each:
            yield from _group(groups, each["include-group"], seen | {name})


def _known_names(
    environment: Mapping[str, Any], root: Path, interpreter: Interpreter, home: Home
) -> Iterator[str]:
    import msgspec

    from tilth.environments.inventories import inventory

    for entry in home.locks.glob("*.json"):
        try:
            packages = msgspec.json.decode(entry.read_bytes())["packages"]
        except (OSError, msgspec.MsgspecError, KeyError, TypeError):
            continue
        yield from (each["name"] for each in packages if isinstance(each, dict) and "name" in each)
    if interpreter.executable:
        yield from (each.name for each in inventory(interpreter, home).packages)
    links: Sequence[str] = [*environment.get("find_links", ()), *os.environ.get("UV_FIND_LINKS", "").split()]
    for link in links:
        if "://" not in link and (root / link).is_dir():
            for file in (root / link).iterdir():
                if file.name.endswith((".whl", ".tar.gz")):
                    yield normalised(re.split(r"-\d", file.name, maxsplit=1)[0])


def _shown(path: Path, root: Path) -> str:
    path = Path(os.path.normpath(path))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
