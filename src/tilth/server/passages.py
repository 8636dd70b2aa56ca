"""The environments that a run passed through, side by side: by role, with what differs from the runs before."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
import sys
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tilth.client.differences import compare, side_of_environment
from tilth.environments.names import normalised
from tilth.errors import NotFound
from tilth.records import (
    Build,
    ClientEnvironment,
    Environment,
    EnvironmentCheck,
    EnvironmentContents,
    Moment,
    Package,
    Record,
    Run,
    Snapshot,
    State,
    StepRun,
)
from tilth.records.roles import ROLES, behind, in_order
from tilth.server.compiled import keys_of_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tilth.server.files import Files
    from tilth.store.sql import SqlStore

R = TypeVar("R", bound=Record)
BEFORE = 20  # older runs of a pipeline that are looked at for when an environment changed last
_MOST_STEPS = 1000
_MOST_BUILDS = 20  # of one environment, that are looked at for one whose layers are known
_NEWEST_BUILDS = 200  # of the project, that are looked at for one of an environment of the same name


class EnvironmentChange(msgspec.Struct, frozen=True, kw_only=True):
    """How an environment differs from the one of its name that an earlier run had."""

    run: str  # name of that run
    digest: str
    added: int
    removed: int
    changed: int
    facts: tuple[str, ...]  # which of `python`, `platform` changed


class PassedEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """One environment that a run passed through."""

    role: str
    name: str
    title: str  # what happens in it
    digest: str  # empty for that of the server which answers
    python: str
    platform: str
    base: str
    lock: str
    requirements: tuple[str, ...]
    packages: tuple[Package, ...]
    unpacked: dict[str, int]  # bytes on disk by package, where known
    system: tuple[str, ...]  # what conda installs: `name version`
    variables: dict[str, str]
    steps: tuple[str, ...]
    built: tuple[str, ...]  # of a builder: the packages that it made
    recorded_at: Moment | None
    change: EnvironmentChange | None  # None: none in the newest runs before
    check: EnvironmentCheck | None  # None: never checked
    build: Build | None  # the newest of its images; where it has none, that of the newest of its name


class PassageRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run whose environments these are."""

    id: str
    name: str
    state: State
    created_at: Moment
    client: ClientEnvironment | None
    stack: str
    snapshot: str


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """All environments that a run passed through, by role."""

    pipeline: str
    run: PassageRun
    environments: tuple[PassedEnvironment, ...]


def passage_of(store: SqlStore, files: Files, run: Run) -> Passage:
    """The environments of a run. Asks a bounded number of questions, each by an index."""
    named = _named(store, run)
    records = _get_all(store, Environment, {digest for _, _, digest in named})
    builders: dict[str, list[str]] = {}
    for each in records.values():
        for package in each.packages:
            if package.builder:
                builders.setdefault(package.builder, []).append(package.name)
    built = _get_all(store, Environment, builders.keys())
    named += [("builder", each.name, digest) for digest, each in built.items()]
    records |= built
    contents = _get_all(store, EnvironmentContents, records.keys())
    checks = _get_all(store, EnvironmentCheck, records.keys())
    steps = steps_by_environment(store, files, run)
    changes = _changes(store, run, named, records)
    newest = [
        each
        for each in store.find(Build, limit=_NEWEST_BUILDS)
        if each.layers and each.state is State.COMPLETED
    ]
    found = []
    for role, name, digest in named:
        record = records.get(digest)
        if record is None:
            continue  # forgotten
        told = contents.get(digest)
        found.append(
            PassedEnvironment(
                role=role,
                name=name,
                title=ROLES[role].title if role in ROLES else "",
                digest=digest,
                python=run.client.python if role == "client" and run.client else record.python,
                platform=record.platform,
                base=record.base,
                lock=record.lock,
                requirements=record.requirements,
                packages=record.packages,
                unpacked={key: each.size for key, each in told.packages.items() if each.size} if told else {},
                system=tuple(f"{each.name} {each.version}" for each in record.system),
                variables=record.variables,
                steps=steps.get(digest, ()),
                built=tuple(sorted(builders.get(digest, ()))),
                recorded_at=record.created_at,
                change=changes.get((role, name)),
                check=checks.get(digest),
                build=build_with_layers(store, digest, run.images.get(name, ""))
                or next((each for each in newest if each.name == name), None),
            )
        )
    found.append(this_server())
    found.sort(key=lambda each: in_order(each.role))
    about = PassageRun(
        id=run.id,
        name=run.name,
        state=run.state,
        created_at=run.created_at,
        client=run.client,
        stack=run.stack,
        snapshot=run.snapshot,
    )
    return Passage(pipeline=run.pipeline, run=about, environments=tuple(found))


def steps_by_environment(store: SqlStore, files: Files, run: Run) -> dict[str, tuple[str, ...]]:
    """Digest of an environment -> the steps it is for: of the compiled pipeline, else of what has begun."""
    client = run.client.environment if run.client else ""
    pairs: Iterable[tuple[str, str]]
    try:
        key = next(each for each in keys_of_pipeline(run) if files.find(each) is not None)
        nodes = json.loads(files.path(key)[0].read_bytes())["nodes"]
        pairs = [
            (node["id"], run.environments.get(node["environment"], "") if node.get("environment") else client)
            for node in nodes
        ]
    except (StopIteration, NotFound, OSError, ValueError, KeyError, TypeError):
        begun = store.find(StepRun, run=run.id, index=None, order="created_at", limit=_MOST_STEPS)
        pairs = [(each.step, each.environment or client) for each in begun]
    found: dict[str, dict[str, None]] = {}
    for step, digest in pairs:
        found.setdefault(digest, {})[step] = None
    return {digest: tuple(steps) for digest, steps in found.items()}


def build_with_layers(store: SqlStore, environment: str, image: str = "") -> Build | None:
    """The newest build of an environment, of this image where one is named, whose layers are known."""
    found = store.find(Build, environment=environment, state=State.COMPLETED, limit=_MOST_BUILDS)
    known = [each for each in found if each.layers]
    return next((each for each in known if each.image == image), next(iter(known), None))


@functools.cache
def this_server() -> PassedEnvironment:
    """The environment that the server itself runs in."""
    packages: dict[str, Package] = {}
    for each in importlib.metadata.distributions():
        name = normalised(each.metadata["Name"] or "")
        if name:
            packages.setdefault(name, Package(name=name, version=each.version or ""))
    return PassedEnvironment(
        role="server",
        name="this server",
        title=ROLES["server"].title,
        digest="",
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine()}",
        base="",
        lock="",
        requirements=(),
        packages=tuple(packages[name] for name in sorted(packages)),
        unpacked={},
        system=(),
        variables={},
        steps=(),
        built=(),
        recorded_at=None,
        change=None,
        check=None,
        build=None,
    )


def _named(store: SqlStore, run: Run) -> list[tuple[str, str, str]]:
    """(role, name, digest) of the environments that a run refers to, and of what drove it where that was an image."""
    found = [
        (role, name, digest)
        for role, each in ROLES.items()
        for name, digest in each.of_run(run).items()
        if digest
    ]
    if run.snapshot:
        snapshot = next(iter(store.find(Snapshot, id=run.snapshot, limit=1)), None)
        if snapshot is not None and snapshot.image:
            runner = store.find(Environment, name="runner", role="runner", limit=1).items
            found += [("runner", each.name, each.id) for each in runner]
    return found


def _changes(
    store: SqlStore, run: Run, named: Sequence[tuple[str, str, str]], records: Mapping[str, Environment]
) -> dict[tuple[str, str], EnvironmentChange]:
    """For each role and name, the newest run before that had another environment there, and what differs."""
    wanted = {(role, name): digest for role, name, digest in named}
    other: dict[tuple[str, str], tuple[str, str]] = {}
    numbers = list(range(run.number - 1, max(run.number - 1 - BEFORE, 0), -1))
    before = store.find(Run, pipeline=run.pipeline, number=numbers, limit=BEFORE).items if numbers else ()
    for each in sorted(before, key=lambda each: -each.number):
        for role, of in ROLES.items():
            for name, digest in of.of_run(each).items():
                key = role, name
                if digest and key in wanted and key not in other and digest != wanted[key]:
                    other[key] = each.name, digest
    older = _get_all(store, Environment, {digest for _, digest in other.values()})
    found = {}
    for key, (name, digest) in other.items():
        if digest not in older or wanted[key] not in records:
            continue
        told = compare(side_of_environment(older[digest]), side_of_environment(records[wanted[key]]))
        kinds = [each.kind for each in (*told.packages, *told.system)]
        found[key] = EnvironmentChange(
            run=name,
            digest=digest,
            added=kinds.count("added"),
            removed=kinds.count("removed"),
            changed=len(kinds) - kinds.count("added") - kinds.count("removed"),
            facts=tuple(each.name for each in told.facts),
        )
    return found


def _get_all(store: SqlStore, kind: type[R], digests: Iterable[str]) -> dict[str, R]:
    asked = sorted(digests)
    return {each.id: each for each in store.find(kind, id=asked, limit=len(asked))} if asked else {}


def behind_of(environments: Iterable[Environment], builder: str) -> list[str]:
    """Digests of the environments that have a package which a builder made."""
    return [each.id for each in environments if builder in behind(each)]
