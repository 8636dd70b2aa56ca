"""Writes the locks that a project keeps: `pylock.NAME.toml`, for the environments of a pipeline."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tilth import environments as envs
from tilth.client.compilation import compile_file, split_target
from tilth.client.environments import ProjectEnvironments
from tilth.environments import background
from tilth.errors import DefinitionError, LockStale, NotFound, nearest
from tilth.home import Home
from tilth.settings import home_folder, setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tilth.client.compilation import Compiled


@dataclass(frozen=True, kw_only=True)
class LockOptions:
    """How locks are made."""

    upgrade: Sequence[str] | bool = False
    platform: str | None = None  # for that one alone, instead of for all
    python: str | None = None  # minor version, instead of the environment's
    output: Path | None = None
    offline: bool = False
    check: bool = False  # write nothing


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of the lock of one environment."""

    environment: str
    path: str  # relative to the code root where it is below that
    packages: int
    state: str  # `created`, `updated`, `unchanged`; of a check `current` or `stale`
    changes: tuple[str, ...] = field(default=())  # `numpy 2.1.0 -> 2.2.0`, `tzdata 2026.1 added`


def lock_file(
    target: str,
    options: LockOptions,
    *,
    names: Sequence[str] = (),
) -> list[Written]:
    """Lock the environments of the pipeline in `FILE[:PIPELINE]`, or those of them that are named.

    Raises:
        LockStale: With `check`: one of them does not answer what is declared, or is not there.
    """
    home = Home(home_folder())
    compiled = compile_file(target, {}, home=home, python=setting("python") or None)
    environments = ProjectEnvironments(
        compiled.pipeline, root=compiled.code.root, interpreter=compiled.interpreter, home=home
    )
    for name in names:
        if name not in environments.names:
            raise NotFound(
                f"pipeline `{compiled.pipeline.name}` has no environment `{name}`",
                mend=nearest(name, environments.names),
            )
    wanted = list(names) or [
        name for name in environments.names if not _is_kept_elsewhere(environments, name)
    ]
    if not wanted:
        raise NotFound(
            f"pipeline `{compiled.pipeline.name}` has no environment to lock",
            why="its steps run in the client's interpreter, or in environments that another tool locks",
        )
    if options.output and len(wanted) > 1:
        raise DefinitionError(
            f"pipeline `{compiled.pipeline.name}` has {len(wanted)} environments, and `--output` names one file",
            mend=f"name the environment too: `--only {wanted[0]}`",
        )
    file, pipeline = split_target(target)
    source = _relative(file, compiled.code.root) + (f":{pipeline}" if pipeline else "")
    project = _Project(compiled, environments, home, options, source)
    if options.check:
        return [project.check(name) for name in wanted]
    return background.at_once(project.lock, wanted)


def lock_named(name: str, root: Path, options: LockOptions) -> list[Written]:
    """Lock an environment by its name again, as its lock in the project says where it is declared.

    Raises:
        NotFound: The project has no such lock, or another tool made it.
    """
    path = envs.lock_path(root, name)
    known = [each.name.split(".")[1] for each in root.glob("pylock.*.toml")]
    if not path.exists():
        raise NotFound(
            f"`{root.name}` has no lock `{path.name}`, and no file `{name}`",
            mend=nearest(name, known) or "name the file of a pipeline: `tilth env lock FILE`",
        )
    text = path.read_text(encoding="utf-8")
    noted = envs.ProjectLock(path, text).noted()
    source = noted.get("source")
    if not source:
        raise NotFound(
            f"`{path.name}` does not say where environment `{name}` is declared: another tool made it",
            mend=f"name the file of its pipeline: `tilth env lock FILE --only {name}`",
        )
    if not (root / source.partition(":")[0]).exists():
        raise NotFound(
            f"`{source}`, which declares environment `{name}` as `{path.name}` says, is gone",
            mend=f"name the file that declares it: `tilth env lock FILE --only {name}`",
        )
    suffix = f"-{noted.get('platform', '')}".replace(".", "-")
    if noted.get("platform") and name.endswith(suffix):  # made with `--platform`, which stays what it is for
        name = name.removesuffix(suffix)
        options = replace(
            options,
            platform=options.platform or noted["platform"],
            python=options.python or _minor(text),
        )
    return lock_file(str(root / source), options, names=[name])


def _minor(text: str) -> str | None:
    """The Python minor version a lock starts at."""
    import tomllib

    found = re.match(r">=\s*(\d+\.\d+)", str(tomllib.loads(text).get("requires-python", "")))
    return found[1] if found else None


class _Project:
    """One compiled pipeline whose environments are locked."""

    def __init__(
        self,
        compiled: Compiled,
        environments: ProjectEnvironments,
        home: Home,
        options: LockOptions,
        source: str,
    ) -> None:
        self._root = compiled.code.root
        self._environments = environments
        self._home = home
        self._options = options
        self._source = source

    def lock(self, name: str) -> Written:
        options = self._options
        declared, interpreter = self._environments.declared(name)
        path = self._path(name)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        earlier = envs.ProjectLock(path, before)
        try:
            earlier.noted()
        except DefinitionError:
            before = ""  # it cannot be read: it is made anew
        python = options.python or interpreter.minor
        target = interpreter
        has_conda = bool(declared.get("system"))
        if has_conda and (options.platform or options.python):
            raise DefinitionError(
                f"environment `{name}` has packages of conda, which are locked for this machine alone",
                why="conda says which Python, and what another platform gives is not known here",
                mend="leave out `--platform` and `--python`, and lock on each platform under a name of its own",
            )
        if options.platform:
            target = envs.foreign(options.platform, python)
        elif options.python:
            target = envs.find_interpreter(python, interpreter, self._home)
        text = envs.resolve(
            declared,
            root=self._root,
            interpreter=target,
            home=self._home,
            offline=options.offline,
            upgrade=options.upgrade,
            before=earlier.text_with_paths() if before else "",
            universal=not options.platform and not has_conda,
        )
        facts = envs.declared_facts(declared, root=self._root, home=self._home)
        after = versions(text)
        platform = options.platform or (interpreter.platform if has_conda else "")
        envs.write_project_lock(path, text, facts=facts, source=self._source, platform=platform)
        changes = () if not before else _changes(versions(before), after)
        same = before == path.read_text(encoding="utf-8")
        return Written(
            environment=name,
            path=_relative(path, self._root),
            packages=len(after),
            state="unchanged" if same else "updated" if before else "created",
            changes=changes,
        )

    def check(self, name: str) -> Written:
        declared, interpreter = self._environments.declared(name)
        path = self._path(name)
        if not path.exists():
            raise LockStale(
                f"environment `{name}` has no lock in the project",
                mend=f"run `tilth env lock {self._source}`",
            )
        lock = envs.ProjectLock(path, path.read_text(encoding="utf-8"))
        if self._options.platform:
            interpreter = envs.foreign(self._options.platform, self._options.python or interpreter.minor)
        lock.check(envs.declared_facts(declared, root=self._root, home=self._home), name, interpreter)
        return Written(
            environment=name,
            path=_relative(path, self._root),
            packages=len(versions(lock.text)),
            state="current",
        )

    def _path(self, name: str) -> Path:
        if self._options.output:
            return self._options.output.absolute()
        platform = f"-{self._options.platform}" if self._options.platform else ""
        return envs.lock_path(self._root, f"{name}{platform.replace('.', '-')}")


def versions(text: str) -> dict[str, tuple[str, ...]]:
    """Package -> the versions a lock has of it: several where they depend on the Python or platform."""
    import tomllib

    found: dict[str, tuple[str, ...]] = {}
    document = tomllib.loads(text)
    conda = document.get("tool", {}).get("tilth", {}).get("conda", ())
    for each in (*document.get("packages", ()), *conda):
        found[each["name"]] = (*found.get(each["name"], ()), str(each.get("version", "")))
    return found


def to_json(written: Written) -> dict[str, Any]:
    """As plain JSON."""
    return asdict(written)


def _changes(before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    told = []
    for name in sorted(before.keys() | after.keys()):
        old, new = ", ".join(before.get(name, ())), ", ".join(after.get(name, ()))
        if old == new:
            continue
        told.append(
            f"{name} {old} -> {new}"
            if old and new
            else f"{name} {new} added"
            if new
            else f"{name} {old} removed"
        )
    return tuple(told)


def _is_kept_elsewhere(environments: ProjectEnvironments, name: str) -> bool:
    """Whether its packages come from another tool's lock, or from what is installed here."""
    return "lock" in environments.declared(name)[0]


def _relative(path: Path, root: Path) -> str:
    absolute = path.absolute()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)


def project_root(start: Path) -> Path:
    """The code root around a folder, as it is for a pipeline in it."""
    from tilth.client.code_root import find_code_root

    return find_code_root(start / "pipeline.py").root
