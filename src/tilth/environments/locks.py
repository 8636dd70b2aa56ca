"""From a declaration to a lock: resolved once, written as PEP 751, used until an upgrade is asked for.

A lock in the project, `pylock.NAME.toml`, goes before one that was made here. `find_lock` only looks (it is what
planning calls); `lock` resolves what is not there yet.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.environments import project_locks
from tilth.environments.conda_packages import python_of, read_tables, taking
from tilth.environments.declarations import declaration_digest, declared_facts
from tilth.environments.files import (
    explaining_full_disk,
    locked as file_lock,
    read_bytes,
    sweep,
    write_atomic,
)
from tilth.environments.indexes import Index, declared_index
from tilth.environments.interpreters import (
    Interpreter,  # noqa: TC001 - msgspec reads the annotations
)
from tilth.errors import DefinitionError, SetupError
from tilth.records import Package, SystemPackage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tilth.environments.choices import Choice
    from tilth.environments.project_locks import ProjectLock
    from tilth.home import Home

logger = logging.getLogger(__name__)


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """A resolved environment, for one Python and platform."""

    name: str
    digest: str  # of the environment: `sha256:…`
    lock: str  # digest of `text`: `sha256:…`
    text: str  # PEP 751
    declaration: str  # digest of what was declared
    python: str  # `3.11`
    platform: str
    interpreter: str  # executable to realise it with, or to install conda's with
    packages: tuple[Package, ...]  # sorted by name
    sources: tuple[str, ...]  # of each package, as it stands in a PEP 751 document
    index: Index  # where its packages are found
    requirements: tuple[str, ...]  # as declared
    variables: dict[str, str]
    exclude_newer: str = ""  # the cut-off date, for what is needed to build its packages too
    origin: str = ""  # the file it was taken from, relative to the code root; empty when it was resolved here
    system: tuple[SystemPackage, ...] = ()  # what conda installs beneath its packages, sorted by name
    elsewhere: Interpreter | None = None  # what it is for, when that is not on this machine

    @property
    def base(self) -> str:
        """Digest of the base image it stands on; empty for a venv of this machine."""
        return self.elsewhere.image if self.elsewhere else ""


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a resolution. `check` finds a torn or altered file."""

    text: str
    packages: tuple[Package, ...]
    sources: tuple[str, ...]
    check: str
    tools: tuple[str, ...] = ()  # sources of what built its packages, of those that are local folders
    local: str = ""  # what the local folders among sources and tools held when it was made
    system: tuple[SystemPackage, ...] = ()


def find_lock(
    environment: Mapping[str, Any], *, root: Path, interpreter: Interpreter, home: Home
) -> Locked | None:
    """The lock that answers this declaration, if it is known without asking anybody.

    Raises:
        LockStale: The project has a lock of this name that does not answer it.
    """
    given = project_locks.find_project_lock(environment, root)
    declaration = _key(environment, given, root=root, interpreter=interpreter, home=home)
    known = _load(declaration, environment, given, root=root, interpreter=interpreter, home=home)
    if known is not None or given is None:
        return known
    text = _answering(given, environment, root=root, interpreter=interpreter, home=home)
    if any(not each.is_wheel for each in _choose(text, environment, interpreter)):
        return None  # to be built first
    return _remember(text, declaration, environment, given, root=root, interpreter=interpreter, home=home)


def lock(
    environment: Mapping[str, Any],
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    upgrade: Sequence[str] | bool = False,
    offline: bool = False,
) -> Locked:
    """The lock that answers this declaration, resolved now if it never was or if `upgrade` is asked for.

    Args:
        environment: What `Environment.to_json` gave, expanded by `sources.expand`.
        root: The code root.
        upgrade: Whether newer versions are taken, or of which packages.
        offline: Resolve with what uv has cached.
    Raises:
        Unresolvable: With the resolver's own reason.
        IndexUnavailable: The index does not answer, and no lock is cached.
        EnvironmentBroken: A source distribution does not build.
        LockStale: A lock in the project does not answer it, or is asked to be upgraded by the way.
    """
    given = project_locks.find_project_lock(environment, root)
    if given is not None and upgrade:
        raise project_locks.not_upgraded_here(given, environment["name"])
    place: dict[str, Any] = {"root": root, "interpreter": interpreter, "home": home}
    declaration = _key(environment, given, **place)
    known = _load(declaration, environment, given, **place)
    if known is not None and not upgrade:
        return known
    with explaining_full_disk("a lock", home.locks), file_lock(home.locks / f".{declaration}.lock"):
        # Whoever held the lock before may have resolved it meanwhile.
        again = _load(declaration, environment, given, **place)
        if again is not None and (not upgrade or again != known):
            return again
        sweep(home.locks)
        if given is not None:
            text = _answering(given, environment, **place)
        else:
            from tilth.environments.resolution import resolve

            before = _read(declaration, home)  # also one that a changed folder has made stale
            kept = before.text if before is not None else ""
            text = resolve(environment, **place, offline=offline, upgrade=upgrade, before=kept)
        return _remember(text, declaration, environment, given, **place, offline=offline)


def open_lock(
    text: str,
    environment: Mapping[str, Any],
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    offline: bool = False,
    packages: Sequence[Package] = (),
) -> Locked:
    """A lock from its text, as recorded with a run, whether or not it is what the declaration gives today.

    Args:
        packages: As they were recorded: what was built then is taken as it is, and not built from the files of today.
    """
    built = {each.name: each for each in packages if each.builder}
    entry = _entry(text, environment, root, interpreter, home, offline=offline, built=built)
    return _locked(entry, "", environment, None, root, interpreter)


def modules(lock: Locked, home: Home) -> dict[str, frozenset[str] | None]:
    """Distribution -> the top-level names it lets a step import; None where no wheel of it was seen here."""
    from tilth.environments.wheels import modules_of

    found = {each.name: modules_of(each.digest, home) for each in lock.packages}
    if not lock.system:
        return found
    from tilth.environments.prefixes import distributions

    return {**{name: each for name, (_, each) in distributions(lock.system, home).items()}, **found}


def environment_digest(
    packages: Sequence[Package],
    *,
    python: str,
    platform: str,
    variables: Mapping[str, str],
    system: Sequence[SystemPackage] = (),
    base: str = "",
) -> str:
    """What identifies an environment: everything that was resolved, nothing of where it came from."""
    identity = {
        "packages": sorted((each.name, each.version, each.digest) for each in packages),
        "python": python,
        "platform": platform,
        "system": sorted((each.name, each.version, each.build, each.digest) for each in system),
        "base": base,
        "variables": dict(sorted(variables.items())),
    }
    return "sha256:" + hashlib.sha256(msgspec.json.encode(identity)).hexdigest()


def _key(
    environment: Mapping[str, Any],
    given: ProjectLock | None,
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
) -> str:
    """What a lock is remembered under: what was declared, and the project's own lock if there is one."""
    declared = declaration_digest(environment, root=root, interpreter=interpreter, home=home)
    if given is None:
        return declared
    return hashlib.sha256(f"{declared} {given.digest}".encode()).hexdigest()


def _answering(
    given: ProjectLock, environment: Mapping[str, Any], *, root: Path, interpreter: Interpreter, home: Home
) -> str:
    """The text of the project's own lock, when it answers the declaration."""
    facts = declared_facts(environment, root=root, home=home)
    given.check(facts, environment["name"], interpreter)
    return given.text_with_paths()


def _load(
    declaration: str,
    environment: Mapping[str, Any],
    given: ProjectLock | None,
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
) -> Locked | None:
    entry = _read(declaration, home)
    if entry is None or _local((*entry.sources, *entry.tools), root, home) != entry.local:
        return None
    return _locked(entry, declaration, environment, given, root, interpreter)


def _read(declaration: str, home: Home) -> _Entry | None:
    content = read_bytes(home.locks / f"{declaration}.json")
    if content is None:
        return None
    try:
        entry = msgspec.json.decode(content, type=_Entry)
    except msgspec.MsgspecError:
        logger.info("the lock entry %s was torn: it is made anew", declaration)
        return None
    return entry if entry.check == _check(entry) else None


def _local(sources: Sequence[str], root: Path, home: Home) -> str:
    """What the local folders among the sources hold now."""
    if not any(each.startswith("directory = ") for each in sources):
        return ""
    from tilth.environments.building import local

    return local.stamp(sources, root, home)


def _tools(packages: Sequence[Package], home: Home) -> tuple[str, ...]:
    """The local folders that packages were built with, as sources."""
    if not any(each.builder for each in packages):
        return ()
    from tilth.environments.building.builders import builders_behind

    found = {source for builder in builders_behind(packages, home) for source in builder.sources}
    return tuple(sorted(each for each in found if each.startswith("directory = ")))


def _remember(
    text: str,
    declaration: str,
    environment: Mapping[str, Any],
    given: ProjectLock | None,
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    offline: bool = False,
) -> Locked:
    entry = _entry(text, environment, root, interpreter, home, offline=offline)
    write_atomic(home.locks / f"{declaration}.json", msgspec.json.encode(entry))
    return _locked(entry, declaration, environment, given, root, interpreter)


def _locked(
    entry: _Entry,
    declaration: str,
    environment: Mapping[str, Any],
    given: ProjectLock | None,
    root: Path,
    interpreter: Interpreter,
) -> Locked:
    variables = environment.get("variables", {})
    requirements = environment.get("requirements", ())
    python = interpreter.minor
    if entry.system:
        python = ".".join(python_of(entry.system, environment["name"]).version.split(".")[:2])
    return Locked(
        name=environment["name"],
        digest=environment_digest(
            entry.packages,
            python=python,
            platform=interpreter.platform,
            variables=variables,
            system=entry.system,
            base=interpreter.image,
        ),
        lock="sha256:" + hashlib.sha256(entry.text.encode()).hexdigest(),
        text=entry.text,
        declaration=declaration,
        python=python,
        platform=interpreter.platform,
        interpreter=interpreter.executable,
        packages=entry.packages,
        sources=entry.sources,
        index=declared_index(environment, root),
        requirements=(f"-r {requirements}",) if isinstance(requirements, str) else tuple(requirements),
        variables=dict(variables),
        exclude_newer=environment.get("exclude_newer", ""),
        origin=given.path.name if given is not None else environment.get("lock", ""),
        system=entry.system,
        elsewhere=interpreter if interpreter.elsewhere else None,
    )


def _entry(
    text: str,
    environment: Mapping[str, Any],
    root: Path,
    interpreter: Interpreter,
    home: Home,
    *,
    offline: bool,
    built: Mapping[str, Package] | None = None,
) -> _Entry:
    choices = _choose(text, environment, interpreter)
    # Before anything is built: a file may change meanwhile. What was built before comes from no file of today.
    held = _local([each.source for each in choices], root, home) if built is None else ""
    system = read_tables(text, environment["name"], interpreter)
    packages, sources = _select(
        choices, environment, root, interpreter, home, system, offline=offline, built=built
    )
    tools = _tools(packages, home) if built is None else ()
    if tools and held == _local(sources, root, home):
        held = _local((*sources, *tools), root, home)
    entry = _Entry(
        text=text, packages=packages, sources=sources, check="", tools=tools, local=held, system=system
    )
    return msgspec.structs.replace(entry, check=_check(entry))


def _check(entry: _Entry) -> str:
    content = (entry.text, entry.packages, entry.sources, *([entry.system] if entry.system else []))
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def _choose(text: str, environment: Mapping[str, Any], interpreter: Interpreter) -> list[Choice]:
    from tilth.environments.pylocks import choose

    interpreter = taking(text, environment["name"], interpreter)
    if not environment.get("lock", "").endswith(".toml"):
        return choose(text, environment["name"], interpreter)
    extras, groups = environment.get("extras", ()), environment.get("groups")
    return choose(text, environment["name"], interpreter, extras=extras, groups=groups)


def _select(
    choices: Sequence[Choice],
    environment: Mapping[str, Any],
    root: Path,
    interpreter: Interpreter,
    home: Home,
    system: Sequence[SystemPackage],
    *,
    offline: bool,
    built: Mapping[str, Package] | None = None,
) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """The packages that were chosen, with those that come as source built; and what brings each back."""
    sources = []
    packages = []
    for choice in choices:
        source = choice.source
        if choice.is_wheel:
            package = Package(
                name=choice.name,
                version=choice.version,
                digest=choice.digest,
                file=choice.file,
                size=choice.size,
            )
        elif built and choice.name in built:
            from tilth.environments.pylocks import with_paths

            package = built[choice.name]
            source = with_paths(source, lambda path: os.path.normpath(root / path))
        else:
            if system:
                from tilth.environments import prefixes

                interpreter = prefixes.install(
                    system, interpreter, home, name=environment["name"], offline=offline
                )
                system = ()  # it is there now
            package, source = _build(choice, environment, root, interpreter, home, offline=offline)
        packages.append(package)
        sources.append(source)
    return tuple(packages), tuple(sources)


def _build(
    choice: Choice,
    environment: Mapping[str, Any],
    root: Path,
    interpreter: Interpreter,
    home: Home,
    *,
    offline: bool,
) -> tuple[Package, str]:
    from tilth.environments import wheels

    builds = _builds_here(interpreter, home) if interpreter.elsewhere else interpreter
    refused = DefinitionError(
        f"`{choice.name}` of environment `{environment['name']}` has no wheel for {interpreter.platform}, "
        f"Python {interpreter.minor}",
        why="it comes as source, and what is built here is for this machine",
        mend="ask for a version that has a wheel for it, or lock on such a machine",
    )
    if builds is None:
        raise refused
    package, source = wheels.build(
        choice,
        builds,
        home,
        name=environment["name"],
        index=declared_index(environment, root),
        offline=offline,
        root=root,
        exclude_newer=environment.get("exclude_newer", ""),
    )
    if builds is not interpreter and not _runs_there(package.file, builds, interpreter):
        raise refused
    return package, source


def _builds_here(interpreter: Interpreter, home: Home) -> Interpreter | None:
    """What builds a source for an interpreter that is elsewhere: the same Python here, else any."""
    from tilth.environments.interpreters import find_interpreter, probe

    if not interpreter.here:
        return None
    here = probe(Path(interpreter.here), home)
    try:
        return find_interpreter(interpreter.minor, here, home)
    except SetupError:
        return here  # enough for what is Python alone


def _runs_there(wheel: str, builder: Interpreter, interpreter: Interpreter) -> bool:
    """Whether a wheel that was built here runs in an interpreter elsewhere: as Python alone, or on a like platform."""
    tags = wheel.removesuffix(".whl").split("-")[-3:]
    if tags[1:] == ["none", "any"]:
        return (
            f"py{interpreter.minor[0]}" in tags[0].split(".") or tags[0] == interpreter.tags[0].split("-")[0]
        )
    if (builder.platform, builder.minor) != (interpreter.platform, interpreter.minor):
        return False
    # What was linked to a C library runs with that one and newer ones.
    ours, theirs = _libc(builder), _libc(interpreter)
    return ours is not None and theirs is not None and ours[0] == theirs[0] and ours[1:] <= theirs[1:]


def _libc(interpreter: Interpreter) -> tuple[str, int, int] | None:
    match = re.fullmatch(r"(glibc|musl) (\d+)\.(\d+)", interpreter.libc)
    return (match[1], int(match[2]), int(match[3])) if match else None
