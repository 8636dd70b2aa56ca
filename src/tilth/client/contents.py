"""All that is known of one environment: its lock, why each package is in it, their METADATA and sizes."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.client.subjects import lock_text, one_environment
from tilth.environments.contents.exporting import Exported, dockerfile, files_of, requirements
from tilth.environments.contents.lockfiles import markers, pylock_text, read_pylock
from tilth.environments.contents.sboms import cyclonedx
from tilth.environments.contents.trees import make_graph
from tilth.environments.contents.unpacked import Unpacked
from tilth.environments.names import normalised
from tilth.environments.uv import without_credentials
from tilth.environments.venvs import realisation
from tilth.errors import NotFound, TilthError
from tilth.records import Environment, Package

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.client.subjects import Subject
    from tilth.environments.contents.lockfiles import LockedPackage
    from tilth.environments.contents.trees import Graph
    from tilth.environments.contents.unpacked import Metadata
    from tilth.home import Home
    from tilth.store import Store


class Contents:
    """One environment, read as far as it is asked for.

    Args:
        lock: Its PEP 751 document; empty when it has none.
        site_packages: Of an interpreter that may know packages which the store of wheels does not.
    """

    def __init__(
        self, environment: Environment, lock: str, home: Home, site_packages: Iterable[str] = ()
    ) -> None:
        self.environment = environment
        # None of ours has any; one that somebody else wrote may.
        self.lock = without_credentials(lock)
        self._unpacked = Unpacked(home, environment.python, site_packages)

    @functools.cached_property
    def locked(self) -> list[LockedPackage]:
        """What the lock says of its packages."""
        if not self.lock:
            return []
        return read_pylock(self.lock, f"the lock of environment `{self.environment.name}`")

    @functools.cached_property
    def graph(self) -> Graph:
        """Who needs whom."""
        environment = self.environment

        def requires(package: Package) -> list[str] | None:
            found = self.metadata(package)
            return None if found is None else found.all("Requires-Dist")

        requested = [
            each.name
            for each in environment.packages
            if environment.role == "client" and (known := self.metadata(each)) and known.requested
        ]
        if len(requested) == len(environment.packages) > 1:
            requested = []  # uv notes it of whatever it installs, which tells nothing
        return make_graph(
            environment.packages,
            requirements=environment.requirements,
            locked={each.name: each.requires for each in self.locked},
            metadata=requires,
            markers=lambda: markers(environment.python, environment.platform),
            by_hand=requested,
        )

    @functools.cached_property
    def download_sizes(self) -> dict[str, int]:
        """Bytes to download by package, of those whose lock says."""
        sizes = {}
        for each in self.environment.packages:
            _, taken = files_of(each, self.locked)
            size = each.size or (taken.size if taken else 0)
            if size:
                sizes[each.name] = size
        return sizes

    @functools.cached_property
    def unpacked_sizes(self) -> dict[str, int]:
        """Bytes on disk by package, of those in the store of wheels."""
        found = {each.name: self._unpacked.size(each) for each in self.environment.packages}
        return {name: size for name, size in found.items() if size}

    def metadata(self, package: Package) -> Metadata | None:
        """Headers of its METADATA; None when it is nowhere on this machine."""
        return self._metadata(package.name)

    @functools.cache  # noqa: B019 - lives as long as one command
    def _metadata(self, name: str) -> Metadata | None:
        package = next(each for each in self.environment.packages if each.name == name)
        return self._unpacked.metadata(package)


def contents_of(store: Store, home: Home, subject: Subject) -> Contents:
    """The contents of a subject's only environment, or of a lock file as the project's interpreter takes it."""
    if subject.path is not None:
        return _of_lock_file(subject.path, home)
    environment = one_environment(subject)
    return Contents(
        environment,
        lock_text(store, environment),
        home,
        subject.interpreter.site_packages
        if subject.interpreter
        else _site_packages(store, environment, home),
    )


def exported(contents: Contents, form: str, home: Home) -> Exported:
    """An environment as `requirements`, `pylock`, `cyclonedx` or `dockerfile`.

    Raises:
        NotFound: A lock is wanted of what has none.
    """
    environment = contents.environment
    if form == "pylock":
        if not contents.lock:
            raise NotFound(
                f"environment `{environment.name}` has no lock",
                why="what an interpreter has installed does not tell from which files",
                mend="declare `Environment.from_client()`: it is locked like any other",
            )
        return Exported(contents.lock)
    found = _translated(contents, form, home)
    if not environment.system:
        return found
    names = ", ".join(each.name for each in environment.system)
    return replace(found, notes=(*found.notes, f"what conda installs beneath it is not in it: {names}"))


def _translated(contents: Contents, form: str, home: Home) -> Exported:
    environment = contents.environment
    if form == "cyclonedx":
        return Exported(cyclonedx(environment, contents.locked, contents.graph, contents.metadata))
    if form == "requirements":
        return requirements(environment, contents.locked)
    made = realisation(environment.id, home)
    return dockerfile(environment, contents.locked, version=made.version if made else "")


def _of_lock_file(path: Path, home: Home) -> Contents:
    from tilth.environments import environment_digest, probe, project_interpreter
    from tilth.environments.conda_packages import read_tables, taking
    from tilth.environments.pylocks import choose

    interpreter = probe(project_interpreter(Path.cwd()), home)
    text, name = pylock_text(path), path.name.removesuffix(".toml").removesuffix(".lock")
    system = read_tables(text, name, interpreter)
    python = taking(text, name, interpreter)
    packages = tuple(
        Package(name=normalised(each.name), version=each.version, digest=each.digest, file=each.file)
        for each in choose(text, name, python)
    )
    digest = environment_digest(
        packages, python=python.minor, platform=python.platform, variables={}, system=system
    )
    environment = Environment(
        id=digest,
        name=name,
        python=python.minor,
        platform=python.platform,
        packages=packages,
        system=system,
    )
    return Contents(environment, text, home, interpreter.site_packages)


def _site_packages(store: Store, environment: Environment, home: Home) -> tuple[str, ...]:
    """Where packages of the same versions may be installed: in the interpreter that was recorded, or the project's."""
    from tilth.client.overview import executables
    from tilth.environments import probe, project_interpreter

    recorded = executables(store, [environment]).get(environment.id, "")
    try:
        path = Path(recorded) if recorded and Path(recorded).exists() else project_interpreter(Path.cwd())
        return probe(path, home).site_packages
    except TilthError:
        return ()  # it tells more where there is one
