"""Every check at once, for `tilth env check`: of a pipeline, of a run, or of a lock alone."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tilth import environments as envs
from tilth.client import checks
from tilth.client.artifacts import open_artifacts
from tilth.client.checks.artifacts import check_stored
from tilth.client.checks.client_lock import project_lock
from tilth.client.checks.drift import (
    check_against_lock,
    check_since_run,
    client_packages,
    newest_from_here,
    only_for_tilth,
    snapshot,
    snapshot_of,
)
from tilth.client.checks.findings import ERROR, WARNING, Finding, owners, unique
from tilth.client.checks.kept import keep_checks
from tilth.client.checks.locks import check_lock
from tilth.client.checks.sides import Side, client_side, locked_side
from tilth.client.environments import ProjectEnvironments
from tilth.client.installed import client_environment
from tilth.client.running import running_on
from tilth.client.secrets import missing_secrets
from tilth.client.stacks import active_stack
from tilth.environments import background
from tilth.environments.conda_packages import has_tables
from tilth.errors import SetupError, TilthError
from tilth.ir.pipeline import Pipeline
from tilth.records import Environment, Lock, Run, StepRun
from tilth.settings import setting
from tilth.store import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tilth.artifact_stores import ArtifactStore
    from tilth.client.compilation import Compiled
    from tilth.client.running import Running
    from tilth.environments import Interpreter, Inventory, Locked
    from tilth.home import Home
    from tilth.records import Package
    from tilth.store import Store

_DOES_NOT_FIT = "does not fit this interpreter"  # of one package; the check of the lock names all


@dataclass(frozen=True)
class Report:
    """What was looked at, and what was found."""

    subject: str
    environments: int
    steps: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """Findings that certainly fail."""
        return sum(each.level == ERROR for each in self.findings)

    @property
    def warnings(self) -> int:
        """The others."""
        return len(self.findings) - self.errors


def check_file(
    target: str,
    parameters: Mapping[str, str],
    *,
    home: Home,
    store: Store,
    python: str | None = None,
    offline: bool = False,
) -> Report:
    """What a run of `FILE[:PIPELINE]` would meet. Locks what never was, and makes no environment."""
    from tilth.client.compilation import compile_file

    compiled = compile_file(target, parameters, home=home, python=python)
    pipeline, interpreter = compiled.pipeline, compiled.interpreter
    found = checks.check_pythons(pipeline, lambda wanted: envs.find_interpreter(wanted, interpreter, home))
    without = {each.environment for each in found}
    locks, failed = _lock(compiled, home, without, offline=offline)
    misfits = _given_locks(compiled, home, without)
    told = {each.environment for each in misfits}
    found += misfits
    found += [each for each in failed if not (each.environment in told and _DOES_NOT_FIT in each.what)]
    pipeline = _leaving_out(pipeline, without | {each.environment for each in failed})
    environments = ProjectEnvironments(
        pipeline, root=compiled.code.root, interpreter=interpreter, home=home, offline=offline, given=locks
    )
    found += checks.at_compile(pipeline, environments, home, absent=compiled.absent)
    found += [
        Finding(level=ERROR, check="secrets", what=each) for each in missing_secrets(compiled.pipeline, home)
    ]
    found += _stored_outputs(compiled, environments, home, store)
    inventory = environments.inventory()
    drift = _drift(pipeline.name, inventory, interpreter, store, compiled.code.root)
    packages = {name: each.packages for name, each in locks.items()}
    used = {node.environment for node in pipeline.nodes}
    vulnerable = _vulnerable(packages, inventory if None in used else None, offline=offline)
    found += [*drift, *vulnerable.findings]
    digests = {name: each.digest for name, each in locks.items()}
    digests[""] = client_environment(interpreter, inventory).id
    keep_checks(store, digests, vulnerable.by_environment, drift)
    newest = newest_from_here(store, pipeline.name)
    if newest is not None and newest.client is not None and newest.client.environment != digests[""]:
        keep_checks(store, {"": newest.client.environment}, None, drift)
    return Report(f"pipeline `{pipeline.name}`", len(used), len(pipeline.nodes), tuple(unique(found)))


def check_run(run: Run, *, home: Home, store: Store, offline: bool = False) -> Report:
    """What running a recorded run again would meet here, going by its own records."""
    folder = home.runs / run.id
    try:
        pipeline = Pipeline.from_json(json.loads((folder / "pipeline.json").read_bytes()))
        project = json.loads((folder / "project.json").read_bytes())
    except (OSError, ValueError) as error:
        raise SetupError(f"the folder of run `{run.name}` is incomplete: {folder}", why=str(error)) from error
    records = {name: store.get(Environment, digest) for name, digest in run.environments.items()}
    found: list[Finding] = []
    interpreter = _own_interpreter(run, Path(project["python"]), Path(project["root"]), home, found)
    fits = {}
    for name, each in records.items():
        try:
            python = None if each.system else each.python  # conda brings its own
            fits[name] = envs.find_interpreter(python, interpreter, home)
        except SetupError as error:
            told = _of_error(error, name, pipeline)
            found.append(msgspec.structs.replace(told, check="python"))
            continue
        if each.platform != fits[name].platform:
            found.append(
                Finding(
                    level=ERROR,
                    check="lock",
                    environment=name,
                    what=f"environment `{name}` was locked for {each.platform}; this machine is "
                    f"{fits[name].platform}",
                    why=owners(pipeline, name),
                    mend="start a new run: it makes a lock for this machine",
                )
            )
        elif each.lock:
            found += check_lock(store.get(Lock, each.lock).text, name, fits[name])
    inventory = envs.inventory(interpreter, home)
    sides: dict[str | None, Side | None] = {
        name: locked_side(name, each, home) for name, each in records.items()
    }
    sides[None] = client_side(inventory, interpreter.minor)
    sides.update(dict.fromkeys({node.environment for node in pipeline.nodes} - sides.keys()))
    found += checks.check_imports(pipeline, sides)
    found += checks.check_artifacts(pipeline, sides)
    found += check_stored(
        pipeline, sides, _manifests(_outputs_of(run, store), open_artifacts(home, run.artifact_store))
    )
    if run.client is not None:
        before = snapshot(run.client.python, client_packages(store, run))
        found += check_since_run(before, snapshot_of(inventory, interpreter.version), run.name)
    packages = {name: each.packages for name, each in records.items()}
    in_client = any(node.environment is None for node in pipeline.nodes)
    vulnerable = _vulnerable(packages, inventory if in_client else None, offline=offline)
    found += vulnerable.findings
    keep_checks(store, run.environments, vulnerable.by_environment)
    return Report(f"run `{run.name}`", len(records) + in_client, len(pipeline.nodes), tuple(unique(found)))


def check_lock_file(
    path: Path, *, home: Home, python: str | None = None, platform: str | None = None, offline: bool = False
) -> Report:
    """Whether a lock can be used, and what is known of its packages.

    Args:
        python: An interpreter, by default the project's; or a minor version.
        platform: Where it shall be used, if that is not here.
    """
    minor = python if python and re.fullmatch(r"3\.\d+", python) else ""
    executable = (
        Path(python).absolute() if python and not minor else envs.project_interpreter(path.absolute().parent)
    )
    interpreter = envs.probe(executable, home)
    if platform:
        interpreter = envs.foreign(platform, minor or interpreter.minor)
    elif minor:
        interpreter = envs.find_interpreter(minor, interpreter, home)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"`{path}` cannot be read", why=str(error)) from error
    found = check_lock(text, "", interpreter, where=path.name)
    if not any("not valid" in each.what for each in found):
        import tomllib

        listed = [
            (each["name"], each["version"]) for each in tomllib.loads(text)["packages"] if "version" in each
        ]
        found += _advisories({path.name: listed}, offline=offline).findings
    return Report(f"lock `{path.name}`", 1, 0, tuple(unique(found)))


def _given_locks(compiled: Compiled, home: Home, without: set[str]) -> list[Finding]:
    """What does not fit in the locks that the project keeps: each of its packages, not only the first."""
    root, found = compiled.code.root, []
    used = {node.environment for node in compiled.pipeline.nodes}
    for name, declared in compiled.pipeline.environments.items():
        other = str(declared.get("lock", ""))
        paths = {envs.lock_path(root, name), *([root / other] if is_pylock(Path(other).name) else [])}
        for path in sorted(paths):
            if name in used and name not in without and path.is_file():
                text = path.read_text(encoding="utf-8")
                python = None if has_tables(text) else declared.get("python")  # conda brings its own
                fits = envs.find_interpreter(python, compiled.interpreter, home)
                label = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
                found += check_lock(text, name, fits, where=label)
    return found


def is_pylock(name: str) -> bool:
    """Whether a file of this name is a PEP 751 lock."""
    return re.fullmatch(r"pylock(\.[^.]+)?\.toml", name) is not None


def _running(compiled: Compiled, home: Home) -> Running:
    """Where the pipeline would run next."""
    root = compiled.code.root
    return running_on(active_stack(home, root), root=root, interpreter=compiled.interpreter, home=home)


def _lock(
    compiled: Compiled, home: Home, without: set[str], *, offline: bool
) -> tuple[dict[str, Locked], list[Finding]]:
    """The locks of a pipeline's environments, and what is wrong with those that cannot be had."""
    pipeline = compiled.pipeline
    used = {node.environment for node in pipeline.nodes} - without
    names = [name for name in pipeline.environments if name in used]

    environments = ProjectEnvironments(
        pipeline, root=compiled.code.root, interpreter=compiled.interpreter, home=home, offline=offline
    )

    def one(name: str) -> Locked | TilthError:
        try:
            return environments.make_lock(name)
        except TilthError as error:
            return error

    locks, failed = {}, []
    for name, result in zip(names, background.at_once(one, names) if names else (), strict=True):
        if isinstance(result, TilthError):
            failed.append(_of_error(result, name, pipeline))
        else:
            locks[name] = result
    return locks, failed


def _of_error(error: TilthError, name: str, pipeline: Pipeline) -> Finding:
    wanted = owners(pipeline, name)
    why = error.why if wanted in error.why else "\n".join(filter(None, (error.why, wanted)))
    return Finding(
        level=ERROR, check="environment", environment=name, what=error.summary, why=why, mend=error.mend
    )


def _leaving_out(pipeline: Pipeline, names: set[str]) -> Pipeline:
    """The pipeline without the environments that cannot be had: their steps know nothing of what they have."""
    return replace(
        pipeline,
        environments={name: each for name, each in pipeline.environments.items() if name not in names},
    )


def _stored_outputs(
    compiled: Compiled, environments: ProjectEnvironments, home: Home, store: Store
) -> list[Finding]:
    from tilth.client.bundle import bundle_digest
    from tilth.client.plan import plan

    if any(
        node.environment and environments.lock(node.environment) is None for node in compiled.pipeline.nodes
    ):
        return []  # what is reused depends on all of them
    artifacts = open_artifacts(home, _running(compiled, home).artifact_store)
    planned = plan(
        compiled.pipeline,
        environments=environments,
        store=store,
        artifacts=artifacts,
        home=home,
        bundle=bundle_digest(compiled.code, home) if compiled.pipeline.dynamic else "",
        cache_on=None,
    )
    kept = {(step.id, name): digest for step in planned.steps for name, digest in step.outputs.items()}
    return checks.of_stored(compiled.pipeline, environments, home, artifacts, kept)


def _outputs_of(run: Run, store: Store) -> dict[tuple[str, str], str]:
    return {
        (step.step, name): ref.digest
        for step in walk(store, StepRun, run=run.id)
        if step.index is None and step.state.is_good
        for name, ref in step.outputs.items()
    }


def _manifests(
    outputs: Mapping[tuple[str, str], str], artifacts: ArtifactStore
) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for source, digest in outputs.items():
        with suppress(TilthError, OSError):  # deleted, or damaged: nobody can use it
            found[source] = artifacts.manifest(digest)
    return found


def _own_interpreter(run: Run, python: Path, root: Path, home: Home, found: list[Finding]) -> Interpreter:
    """The interpreter that compiled a run, or the project's now where that one is gone."""
    try:
        return envs.probe(python, home)
    except SetupError as error:
        found.append(
            Finding(
                level=ERROR,
                check="python",
                what=f"the interpreter that run `{run.name}` was started with is gone: {python}",
                why=error.why,
                mend="start a new run",
            )
        )
    return envs.probe(envs.project_interpreter(root if root.is_dir() else Path.cwd()), home)


def _drift(
    pipeline: str, inventory: Inventory, interpreter: Interpreter, store: Store, root: Path
) -> list[Finding]:
    current = snapshot_of(inventory, interpreter.version)
    found: list[Finding] = []
    newest = newest_from_here(store, pipeline)
    if newest is not None and newest.client is not None:
        before = snapshot(newest.client.python, client_packages(store, newest))
        found += check_since_run(before, current, newest.name)
    try:
        locked = project_lock(root, interpreter)
    except TilthError as error:
        return [
            *found,
            Finding(level=WARNING, check="client", what=error.summary, why=error.why, mend=error.mend),
        ]
    if locked is not None:
        found += check_against_lock(
            locked.packages, current, locked.file, known=locked.known, beside=only_for_tilth(inventory)
        )
    return found


class _Vulnerable(NamedTuple):
    """Known vulnerabilities: all, each once, and by name of the environment; None where they were not looked up."""

    findings: list[Finding]
    by_environment: dict[str, list[Finding]] | None = None


def _vulnerable(
    environments: Mapping[str, Iterable[Package]], client: Inventory | None, *, offline: bool
) -> _Vulnerable:
    held = {name: [(each.name, each.version) for each in packages] for name, packages in environments.items()}
    if client is not None:
        held[""] = [(each.name, each.version) for each in client.packages]
    return _advisories(held, offline=offline)


def _advisories(held: Mapping[str, list[tuple[str, str]]], *, offline: bool) -> _Vulnerable:
    source = setting("advisories")
    if not source:
        return _Vulnerable([])
    from tilth.client.checks.advisories import check_advisories
    from tilth.client.checks.osv import advisories

    packages = {each for packages in held.values() for each in packages}
    errors: list[TilthError] = []
    found: list[Finding] = []
    by_environment: dict[str, list[Finding]] | None = None
    try:
        known = list(advisories(source, packages, offline=offline, unreadable=errors.append))
        found = check_advisories(held, known)
        by_environment = {name: check_advisories({name: each}, known) for name, each in held.items()}
    except TilthError as error:
        errors.append(error)
    told = [
        Finding(level=WARNING, check="advisories", what=each.summary, why=each.why, mend=each.mend)
        for each in errors
    ]
    return _Vulnerable(found + told, by_environment)
