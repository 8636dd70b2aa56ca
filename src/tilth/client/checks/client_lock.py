"""The lock that a project keeps for its own environment: `uv.lock`, or `pylock.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.client.checks.drift import Snapshot
from tilth.environments import uv
from tilth.environments.names import normalised
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.environments import Interpreter


class ProjectLock(NamedTuple):
    """What it would install here, and what else it has."""

    file: str
    packages: Snapshot
    known: frozenset[str]  # every package in it, for whichever group, extra or platform


def project_lock(root: Path, interpreter: Interpreter) -> ProjectLock | None:
    """The lock in the project's folder, `uv.lock` first; None when there is none. Asks no index.

    Raises:
        DefinitionError: It cannot be read.
    """
    import tomllib

    path = root / "uv.lock"
    try:
        if path.is_file():
            all_of_it = tomllib.loads(path.read_text(encoding="utf-8"))
            exported = uv.call(
                ["export", "--frozen", "--offline", "--format", "pylock.toml", "--no-header", "--no-emit-project",
                 "--quiet", "--python", interpreter.executable],
                root=root,
            )  # fmt: skip
            if exported.code != 0:
                reason = uv.without_credentials(exported.errors).strip()
                raise DefinitionError(
                    f"`{path.name}` cannot be read", why=reason, mend="lock the project again: `uv lock`"
                )
            document = tomllib.loads(exported.output)
            known = [each["name"] for each in all_of_it.get("package", ())]
        else:
            path = root / "pylock.toml"
            if not path.is_file():
                return None
            document = tomllib.loads(path.read_text(encoding="utf-8"))
            known = []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise DefinitionError(f"`{path.name}` cannot be read", why=str(error)) from error
    return _read(path.name, document, known, interpreter)


def _read(file: str, document: dict[str, Any], known: list[str], interpreter: Interpreter) -> ProjectLock:
    from packaging.pylock import Pylock, PylockValidationError

    try:
        pylock = Pylock.from_dict(document)
    except PylockValidationError as error:
        raise DefinitionError(f"`{file}` is not valid PEP 751", why=str(error)) from error
    groups = frozenset(pylock.default_groups or ())
    markers: Any = {**interpreter.markers, "extras": frozenset(), "dependency_groups": groups}
    packages = {
        normalised(each.name): str(each.version or "")
        for each in pylock.packages
        if each.marker is None or each.marker.evaluate(markers, context="lock_file")
    }
    every = frozenset(map(normalised, [*known, *(each.name for each in pylock.packages)]))
    versioned = {name: version for name, version in packages.items() if version}
    return ProjectLock(file, Snapshot("", versioned), every)
