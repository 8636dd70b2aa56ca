"""From a declaration to a lock: resolved once by uv, written as PEP 751, used until an upgrade is asked for.

`find_lock` only looks (it is what planning calls); `lock` resolves what is not there yet.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.environments import uv
from tilth.environments.declarations import declaration_digest
from tilth.environments.files import (
    explaining_full_disk,
    locked as file_lock,
    read_bytes,
    scratch,
    sweep,
    write_atomic,
)
from tilth.records import Package

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tilth.environments.interpreters import Interpreter
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
    interpreter: str  # executable to realise it with
    packages: tuple[Package, ...]  # sorted by name
    sources: tuple[str, ...]  # of each package, as it stands in a PEP 751 document
    index: tuple[str, ...]  # uv's options that name where to find packages, for building sdists
    requirements: tuple[str, ...]  # as declared
    variables: dict[str, str]


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a resolution. `check` finds a torn or altered file."""

    text: str
    packages: tuple[Package, ...]
    sources: tuple[str, ...]
    check: str


def find_lock(
    environment: Mapping[str, Any], *, root: Path, interpreter: Interpreter, home: Home
) -> Locked | None:
    """The lock that answers this declaration, if it was ever resolved. Starts nothing, asks nobody."""
    declaration = declaration_digest(environment, root=root, interpreter=interpreter, home=home)
    return _load(declaration, environment, root=root, interpreter=interpreter, home=home)


def lock(
    environment: Mapping[str, Any],
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    upgrade: bool = False,
    offline: bool = False,
) -> Locked:
    """The lock that answers this declaration, resolved now if it never was or if `upgrade` is asked for.

    Args:
        environment: What `Environment.to_json` gave.
        root: The code root.
        offline: Resolve with what uv has cached.
    Raises:
        Unresolvable: With the resolver's own reason.
        IndexUnavailable: The index does not answer, and no lock is cached.
        EnvironmentBroken: A source distribution does not build.
    """
    declaration = declaration_digest(environment, root=root, interpreter=interpreter, home=home)
    known = _load(declaration, environment, root=root, interpreter=interpreter, home=home)
    if known is not None and not upgrade:
        return known
    with explaining_full_disk("a lock", home.locks), file_lock(home.locks / f".{declaration}.lock"):
        # Whoever held the lock before may have resolved it meanwhile.
        again = _load(declaration, environment, root=root, interpreter=interpreter, home=home)
        if again is not None and (not upgrade or again != known):
            return again
        sweep(home.locks)
        text = _resolve(environment, root, interpreter, home, upgrade=upgrade, offline=offline)
        packages, sources = _select(text, environment, root, interpreter, home, offline=offline)
        entry = _Entry(text=text, packages=packages, sources=sources, check=_check(text, packages, sources))
        write_atomic(home.locks / f"{declaration}.json", msgspec.json.encode(entry))
    return _locked(entry, declaration, environment, root, interpreter)


def open_lock(
    text: str,
    environment: Mapping[str, Any],
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    offline: bool = False,
) -> Locked:
    """A lock from its text, as recorded with a run, whether or not it is what the declaration gives today."""
    packages, sources = _select(text, environment, root, interpreter, home, offline=offline)
    entry = _Entry(text=text, packages=packages, sources=sources, check="")
    return _locked(entry, "", environment, root, interpreter)


def modules(lock: Locked, home: Home) -> dict[str, frozenset[str] | None]:
    """Distribution -> the top-level names it lets a step import; None where no wheel of it was seen here."""
    from tilth.environments.wheels import modules_of

    return {each.name: modules_of(each.digest, home) for each in lock.packages}


def environment_digest(
    packages: Sequence[Package], *, python: str, platform: str, variables: Mapping[str, str]
) -> str:
    """What identifies an environment: everything that was resolved, nothing of where it came from."""
    identity = {
        "packages": sorted((each.name, each.version, each.digest) for each in packages),
        "python": python,
        "platform": platform,
        "system": [],
        "base": "",
        "variables": dict(sorted(variables.items())),
    }
    return "sha256:" + hashlib.sha256(msgspec.json.encode(identity)).hexdigest()


def _load(
    declaration: str, environment: Mapping[str, Any], *, root: Path, interpreter: Interpreter, home: Home
) -> Locked | None:
    content = read_bytes(home.locks / f"{declaration}.json")
    if content is None:
        return None
    try:
        entry = msgspec.json.decode(content, type=_Entry)
    except msgspec.MsgspecError:
        logger.info("the lock entry %s was torn: it is made anew", declaration)
        return None
    if entry.check != _check(entry.text, entry.packages, entry.sources):
        return None
    return _locked(entry, declaration, environment, root, interpreter)


def _locked(
    entry: _Entry, declaration: str, environment: Mapping[str, Any], root: Path, interpreter: Interpreter
) -> Locked:
    variables = environment.get("variables", {})
    requirements = environment.get("requirements", ())
    return Locked(
        name=environment["name"],
        digest=environment_digest(
            entry.packages, python=interpreter.minor, platform=interpreter.platform, variables=variables
        ),
        lock="sha256:" + hashlib.sha256(entry.text.encode()).hexdigest(),
        text=entry.text,
        declaration=declaration,
        python=interpreter.minor,
        platform=interpreter.platform,
        interpreter=interpreter.executable,
        packages=entry.packages,
        sources=entry.sources,
        index=tuple(_index(environment, root)),
        requirements=(f"-r {requirements}",) if isinstance(requirements, str) else tuple(requirements),
        variables=dict(variables),
    )


def _check(text: str, packages: tuple[Package, ...], sources: tuple[str, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode((text, packages, sources))).hexdigest()


def _index(environment: Mapping[str, Any], root: Path) -> list[str]:
    """uv's options for the declared places to find packages."""
    options: list[str] = []
    if environment.get("index_url"):
        options += ["--default-index", environment["index_url"]]
    for url in environment.get("extra_index_urls", ()):
        options += ["--index", url]
    for link in environment.get("find_links", ()):
        options += ["--find-links", link if "://" in link else os.path.normpath(root / link)]
    return options


def _resolve(
    environment: Mapping[str, Any],
    root: Path,
    interpreter: Interpreter,
    home: Home,
    *,
    upgrade: bool,
    offline: bool,
) -> str:
    name = environment["name"]
    requirements = environment.get("requirements", ())
    sources = [requirements] if isinstance(requirements, str) else ["-"] if requirements else []
    typed = None if isinstance(requirements, str) else "".join(f"{each}\n" for each in sorted(requirements))
    project = environment.get("pyproject")
    if project is not None:
        sources.append(project)
    options = [f"--extra={each}" for each in environment.get("extras", ())]
    options += [f"--group={project}:{each}" for each in environment.get("groups", ())]
    options += [
        *_index(environment, root),
        *(["--offline"] if offline else []),
        *(["--upgrade"] if upgrade else []),
    ]
    if not sources:
        return _tidy('lock-version = "1.0"\ncreated-by = "tilth"\npackages = []\n', interpreter)
    with scratch(home.locks) as folder:
        target = folder / "pylock.toml"
        result = uv.call(
            ["pip", "compile", *sources, "--format", "pylock.toml", "--output-file", target, "--no-header",
             "--python", interpreter.executable, *options],
            root=root,
            text=typed,
        )  # fmt: skip
        if result.code != 0:
            raise uv.explain(result, name, usable=_usable(home))
        text = target.read_text(encoding="utf-8")
    for line in result.errors.splitlines():
        if line.startswith("warning:"):
            logger.warning("environment `%s`: %s", name, uv.without_credentials(line[8:].strip()))
    return _tidy(_absolute(text, folder), interpreter)


def _absolute(text: str, folder: Path) -> str:
    """uv names local files relative to the lock's folder; ours is kept elsewhere."""
    return re.sub(
        r'(?<=[{,] )path = "([^"]+)"',
        lambda match: f"path = {json.dumps(os.path.normpath(folder / match[1]))}",
        text,
    )


def _tidy(text: str, interpreter: Interpreter) -> str:
    # uv writes the patch release it resolved with; another patch release of the same minor may use the lock.
    text = re.sub(r"(?m)^requires-python = .*$", f'requires-python = ">={interpreter.minor}"', text)
    return uv.without_credentials(text)


def _usable(home: Home) -> str:
    count = sum(1 for each in home.locks.glob("*.json"))
    wheels = sum(1 for each in home.wheels.glob("*/*/entry.json")) if home.wheels.is_dir() else 0
    if not count:
        return "nothing is cached yet"
    return f"{count} earlier locks and {wheels} packages are cached: what uses them still runs"


def _select(
    text: str,
    environment: Mapping[str, Any],
    root: Path,
    interpreter: Interpreter,
    home: Home,
    *,
    offline: bool,
) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """The files of a lock that this interpreter takes, with those that come as source built."""
    from tilth.environments import pylocks, wheels

    name = environment["name"]
    choices = pylocks.choose(text, name, interpreter)
    places = _index(environment, root)
    packages = tuple(
        Package(name=each.name, version=each.version, digest=each.digest, file=each.file)
        if each.is_wheel
        else wheels.build(each, interpreter, home, name=name, index=places, offline=offline, root=root)
        for each in choices
    )
    return packages, tuple(each.source for each in choices)
