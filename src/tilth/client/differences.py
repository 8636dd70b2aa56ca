"""What differs between two environments. Decides; reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tilth.environments.contents.lockfiles import LockedPackage
    from tilth.records import Environment


@dataclass(frozen=True)
class Pinned:
    """One package of a side."""

    version: str  # empty: only building tells
    digests: frozenset[str] = frozenset()  # of the file; of a lock, of any it offers. Empty: not known
    files: frozenset[str] = frozenset()
    origin: str = ""  # where it was installed from, when from no index
    built: bool = False  # the digest is that of what was built, and not of a file

    def differs(self, other: Pinned) -> str:
        """`version` or `file`, or empty for the same package. What is not known is no difference."""
        if self.version and other.version and self.version != other.version:
            return "version"
        if self.origin != other.origin and (
            (self.origin and other.origin) or self.is_edited or other.is_edited
        ):
            return "file"
        if self.built != other.built:
            # What was built has a digest of its own; a lock has that of what it is built from.
            given = other if self.built else self
            if not given.files or any(not each.endswith(".whl") for each in given.files):
                return ""
        return "file" if self.digests and other.digests and not self.digests & other.digests else ""

    @property
    def is_edited(self) -> bool:
        """Whether it is the folder it is developed in, whose content no version tells."""
        return self.origin.startswith("/")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "version": self.version,
            "digests": sorted(self.digests),
            "files": sorted(self.files),
            "origin": self.origin,
        }


@dataclass(frozen=True)
class Side:
    """One of two environments that are compared. None where it does not say."""

    name: str
    role: str
    packages: Mapping[str, Pinned]
    digest: str = ""
    python: str | None = None
    platform: str | None = None
    variables: Mapping[str, str] | None = None
    system: Mapping[str, Pinned] | None = None  # what conda installs


@dataclass(frozen=True)
class Change:
    """One package, or one variable, that is not on both sides alike."""

    name: str
    kind: str  # added, removed, version, file
    left: Any = None
    right: Any = None


@dataclass(frozen=True)
class Difference:
    """What is not alike in one environment; `left` or `right` is None when it is on one side alone."""

    name: str
    role: str
    left: Side | None
    right: Side | None
    facts: tuple[Change, ...] = ()  # python, platform
    packages: tuple[Change, ...] = ()
    variables: tuple[Change, ...] = ()
    system: tuple[Change, ...] = ()  # what conda installs

    @property
    def count(self) -> int:
        """How many things differ; an environment on one side alone is one."""
        if self.left is None or self.right is None:
            return 0 if self.is_unrecorded else 1
        return len(self.facts) + len(self.packages) + len(self.variables) + len(self.system)

    @property
    def is_unrecorded(self) -> bool:
        """Whether a side must have had it, and an older tilth did not record it: every run has one client."""
        return self.role == "client" and (self.left is None or self.right is None)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "name": self.name,
            "role": self.role,
            "left": None if self.left is None else self.left.digest,
            "right": None if self.right is None else self.right.digest,
            "facts": [_json(each) for each in self.facts],
            "packages": [_json(each) for each in self.packages],
            "variables": [_json(each) for each in self.variables],
            "system": [_json(each) for each in self.system],
        }


def side_of_environment(environment: Environment) -> Side:
    """An environment as it is recorded."""
    packages = {
        each.name: Pinned(
            version=each.version,
            digests=frozenset(filter(None, [each.digest])),
            files=frozenset(filter(None, [each.file])),
            origin=each.origin,
            built=each.is_built,
        )
        for each in environment.packages
    }
    return Side(
        name=environment.name,
        role=environment.role,
        packages=packages,
        digest=environment.id,
        python=environment.python,
        platform=environment.platform,
        variables=environment.variables,
        system={
            each.name: Pinned(
                version=f"{each.version} {each.build}",
                digests=frozenset(filter(None, [each.digest])),
                files=frozenset([each.url.rpartition("/")[2]]),
            )
            for each in environment.system
        },
    )


def side_of_lock(name: str, packages: Iterable[LockedPackage]) -> Side:
    """A lock file: it says nothing of Python, platform and variables."""
    return Side(
        name=name,
        role="lock",
        packages={
            each.name: Pinned(
                version=each.version,
                digests=frozenset(file.digest for file in each.files if file.digest),
                files=frozenset(file.name for file in each.files if file.name),
            )
            for each in packages
        },
    )


def compare(left: Side, right: Side) -> Difference:
    """From `left` to `right`: what only `right` has was added."""
    facts = [
        Change(name, "changed", before, after)
        for name, before, after in (
            ("python", left.python, right.python),
            ("platform", left.platform, right.platform),
        )
        if before is not None and after is not None and before != after
    ]
    packages = _changed(left.packages, right.packages)
    system: list[Change] = []
    if left.system is not None and right.system is not None:
        system = _changed(left.system, right.system)
    variables = []
    if left.variables is not None and right.variables is not None:
        for name in sorted(left.variables.keys() | right.variables.keys()):
            was, now = left.variables.get(name), right.variables.get(name)
            if was != now:
                kind = "added" if was is None else "removed" if now is None else "changed"
                variables.append(Change(name, kind, was, now))
    return Difference(
        name=left.name if left.name == right.name else f"{left.name} → {right.name}",
        role=right.role if left.role == "lock" else left.role,
        left=left,
        right=right,
        facts=tuple(facts),
        packages=tuple(packages),
        variables=tuple(variables),
        system=tuple(system),
    )


def _changed(left: Mapping[str, Pinned], right: Mapping[str, Pinned]) -> list[Change]:
    changes = []
    for name in sorted(left.keys() | right.keys()):
        old, new = left.get(name), right.get(name)
        kind = "added" if old is None else "removed" if new is None else old.differs(new)
        if kind:
            changes.append(Change(name, kind, old, new))
    return changes


def compare_all(left: Iterable[Side], right: Iterable[Side]) -> list[Difference]:
    """The environments of two runs, by role and name."""
    old = {(each.role, each.name): each for each in left}
    new = {(each.role, each.name): each for each in right}
    found = []
    for key in [*old, *(each for each in new if each not in old)]:
        if key in old and key in new:
            found.append(compare(old[key], new[key]))
        else:
            found.append(Difference(key[1], key[0], old.get(key), new.get(key)))
    return found


def _json(change: Change) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.to_json() if isinstance(value, Pinned) else value

    return {
        "name": change.name,
        "change": change.kind,
        "left": plain(change.left),
        "right": plain(change.right),
    }
