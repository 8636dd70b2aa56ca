"""Environments as a list: where each is realised, how large it is, and which steps and runs used it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.client.reporting import run_folder
from tilth.client.subjects import environment_with, environments_of_run, lock_text
from tilth.environments.venvs import has_python, read_record
from tilth.errors import NotFound, TilthError
from tilth.records import Environment, Run, StepRun
from tilth.records.roles import ROLES, behind, in_order, used_by
from tilth.runtime.folder import read_json
from tilth.store import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tilth.home import Home
    from tilth.store import Store

RECENT = 10_000  # runs that are looked through for those that used an environment
MADE, ABSENT, UNLOCKED = "made", "not made here", "to be locked"
INSTALLED, CHANGED, GONE = "as it was", "changed since", "gone"  # of the client's


@dataclass(frozen=True)
class Uses:
    """The runs that used an environment, of the newest `RECENT`."""

    runs: tuple[str, ...] = ()  # names, newest first

    @property
    def newest(self) -> str:
        """Name of the newest run; empty for none."""
        return next(iter(self.runs), "")


@dataclass(frozen=True)
class Listed:
    """One environment, and what this machine knows of it."""

    environment: Environment  # without an id when it is not locked yet
    state: str
    folder: str = ""  # where it is realised
    steps: tuple[str, ...] = ()
    uses: Uses = field(default_factory=Uses)
    download_size: int = 0  # bytes; 0: not known
    unpacked_size: int = 0

    def to_json(self) -> dict[str, Any]:
        """The record, with what this machine knows beside it."""
        more = {
            "state": self.state,
            "folder": self.folder,
            "steps": list(self.steps),
            "runs": len(self.uses.runs),
            "newest_run": self.uses.newest,
            "download_size": self.download_size,
            "unpacked_size": self.unpacked_size,
        }
        return {**msgspec.to_builtins(self.environment), **more}


def of_all(store: Store, home: Home, *, limit: int) -> tuple[list[Listed], bool]:
    """The newest of all that are recorded, and whether there are more."""
    page = store.find(Environment, limit=limit)
    return _listed(store, home, list(page), {}), page.next is not None


def of_run(store: Store, home: Home, run: Run) -> list[Listed]:
    """Every environment of a run, by role."""
    return _listed(store, home, environments_of_run(store, run), steps_of_run(store, home, run))


def of_pipeline(store: Store, home: Home, pipeline: str) -> list[Listed]:
    """Every environment that a pipeline's runs used, by role, those of its newest run first.

    Raises:
        NotFound: No run of it is recorded.
    """
    found: dict[tuple[str, str], Environment] = {}
    steps: dict[str, tuple[str, ...]] = {}
    for run in islice(walk(store, Run, pipeline=pipeline), RECENT):
        referred = used_by(run)
        if all(digest in steps for digest in referred):
            continue  # it used nothing that newer ones did not
        for each in environments_of_run(store, run):
            found.setdefault((each.name, each.id), each)
        steps = {**dict.fromkeys(referred, ()), **steps_of_run(store, home, run), **steps}
    if not found:
        raise NotFound(f"no run of pipeline `{pipeline}` is recorded")
    by_role = sorted(found.values(), key=lambda each: in_order(each.role))
    return _listed(store, home, by_role, steps)


def of_file(
    target: str, parameters: Mapping[str, str], home: Home, *, python: str | None = None
) -> list[Listed]:
    """Every environment of `FILE[:PIPELINE]` as it is now. Locks, makes and records nothing."""
    from tilth.client.compilation import compile_file
    from tilth.client.environments import ProjectEnvironments
    from tilth.client.installed import client_environment
    from tilth.client.plan import existing

    with existing(home) as (home, store):
        compiled = compile_file(target, parameters, home=home, python=python)
        pipeline, interpreter = compiled.pipeline, compiled.interpreter
        environments = ProjectEnvironments(
            pipeline, root=compiled.code.root, interpreter=interpreter, home=home
        )
        environments.find_locks()
        known = [each.record for each in environments.records()]
        locks = {each.id: each for each in known if not isinstance(each, Environment)}
        by_name = {each.name: each for each in known if isinstance(each, Environment)}
        client = client_environment(interpreter, environments.inventory())
        found, unlocked = [client], []
        for name in environments.names:
            if name in by_name:
                found.append(by_name[name])
            else:
                unlocked.append(_unlocked(name, environments.minor(name), interpreter.platform, pipeline))
        builders = [digest for each in found for digest in behind(each)]
        found += [
            made
            for digest in dict.fromkeys(builders)
            if (made := environment_with(store, digest)) is not None
        ]
        steps = _by_environment(
            (node.id, by_name[node.environment].id if node.environment in by_name else "")
            for node in pipeline.nodes
            if node.environment is None or node.environment in by_name
        )
        steps[client.id] = steps.pop("", ())
        texts = {digest: getattr(each, "text", "") for digest, each in locks.items()}
        listed = _listed(
            store, home, found, steps, texts=texts, interpreters={client.id: interpreter.executable}
        )
        waiting = [
            Listed(
                each,
                UNLOCKED,
                steps=tuple(node.id for node in pipeline.nodes if node.environment == each.name),
            )
            for each in unlocked
        ]
        return sorted([*listed, *waiting], key=lambda each: in_order(each.environment.role))


def uses_of(store: Store, environments: Iterable[Environment]) -> dict[str, Uses]:
    """The runs that used each, among the newest `RECENT`; of a builder, those that used what it built."""
    wanted = {each.id: each for each in environments}
    found: dict[str, list[str]] = {digest: [] for digest in wanted}
    built: dict[str, set[str]] = {}  # digest of an environment -> those of `wanted` that it was made with
    if any(each.role in ROLES and ROLES[each.role].is_behind for each in wanted.values()):
        for each in walk(store, Environment):
            if digests := behind(each).keys() & wanted.keys():
                built[each.id] = digests
    for run in islice(walk(store, Run), RECENT):
        digests = used_by(run)
        for digest in digests | {builder for each in digests for builder in built.get(each, ())}:
            if digest in found:
                found[digest].append(run.name)
    return {digest: Uses(tuple(runs)) for digest, runs in found.items()}


def executables(store: Store, environments: Iterable[Environment]) -> dict[str, str]:
    """The interpreter of each client's environment, as the newest run that used it says."""
    wanted = {each.id for each in environments if each.role == "client"}
    found: dict[str, str] = {}
    if wanted:
        for run in islice(walk(store, Run), RECENT):
            if run.client and run.client.environment in wanted - found.keys():
                found[run.client.environment] = run.client.executable
                if wanted == found.keys():
                    break
    return found


def steps_of_run(store: Store, home: Home, run: Run) -> dict[str, tuple[str, ...]]:
    """Digest of an environment -> the steps that it is for; of the compiled graph, where that is still there."""
    client = next(iter(ROLES["client"].of_run(run).values()), "")
    graph = read_json(run_folder(run, home, store) / "pipeline.json")
    if graph is not None:
        nodes = ((node["id"], node.get("environment")) for node in graph["nodes"])
        return _by_environment(
            (step, run.environments.get(name, "") if name else client) for step, name in nodes
        )
    recorded = walk(store, StepRun, run=run.id, index=None, order="created_at")
    return _by_environment((each.step, each.environment or client) for each in recorded)


def realisation(environment: Environment, home: Home, executable: str = "") -> tuple[str, str]:
    """(state, folder) of an environment on this machine.

    Args:
        executable: The interpreter of a client's environment.
    """
    if environment.role == "client":
        return _installed(environment, home, executable)
    if not environment.id:
        return UNLOCKED, ""
    folder = home.environments / environment.id.rpartition(":")[2]
    record = read_record(folder)
    # `exists` follows the link: without its interpreter it is none any more, unless that is in an image.
    made = (folder / "bin" / "python").exists() or (record is not None and has_python(folder, record))
    return (MADE, str(folder)) if made else (ABSENT, "")


def _listed(
    store: Store,
    home: Home,
    environments: list[Environment],
    steps: Mapping[str, tuple[str, ...]],
    *,
    texts: Mapping[str, str] | None = None,
    interpreters: Mapping[str, str] | None = None,
) -> list[Listed]:
    from tilth.client.contents import Contents

    uses = uses_of(store, environments)
    programs = interpreters if interpreters is not None else executables(store, environments)
    found = []
    for each in environments:
        state, folder = realisation(each, home, programs.get(each.id, ""))
        contents = Contents(each, (texts or {}).get(each.lock, "") or lock_text(store, each), home)
        found.append(
            Listed(
                each,
                state,
                folder,
                steps=steps.get(each.id, ()),
                uses=uses[each.id],
                download_size=_sum(contents.download_sizes, each),
                unpacked_size=_sum(contents.unpacked_sizes, each),
            )
        )
    return found


def _sum(sizes: Mapping[str, int], environment: Environment) -> int:
    """Of all packages; 0 when one is not known."""
    return sum(sizes.values()) if len(sizes) == len(environment.packages) else 0


def _by_environment(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for step, digest in pairs:
        names = found.setdefault(digest, [])
        if step not in names:
            names.append(step)
    return {digest: tuple(names) for digest, names in found.items()}


def _unlocked(name: str, python: str, platform: str, pipeline: Any) -> Environment:
    declared = pipeline.environments[name]
    asked = declared.get("requirements", ())
    return Environment(
        id="",
        name=name,
        python=python,
        platform=platform,
        requirements=(f"-r {asked}",) if isinstance(asked, str) else tuple(asked),
        variables=dict(declared.get("variables", {})),
    )


def _installed(environment: Environment, home: Home, executable: str) -> tuple[str, str]:
    from tilth.client.installed import client_environment
    from tilth.environments import inventory, probe

    if not executable or not Path(executable).exists():
        return GONE, ""
    try:
        interpreter = probe(Path(executable), home)
        now = client_environment(interpreter, inventory(interpreter, home))
    except TilthError:
        return GONE, ""
    return INSTALLED if now.id == environment.id else CHANGED, interpreter.prefix
