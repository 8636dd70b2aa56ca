"""The project a pipeline belongs to: its folders, its interpreter, its options, and its code as it is now."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomllib

from tilth.errors import DefinitionError
from tilth.runtime.sources import source_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.ir.pipeline import Pipeline

_NOT_OURS = frozenset({"__pycache__", "node_modules", "site-packages"})
_ALL_FILES_S = 1.0  # between two looks at all files of the project


# What the client itself reads of a project's file; the rest is for its pipelines.
_CLIENTS = ("project", "stack")


def project_options(root: Path) -> dict[str, Any]:
    """The options that a project's file gives its pipelines.

    Raises:
        DefinitionError: The file is no TOML.
    """
    return {name: value for name, value in project_file(root).items() if name not in _CLIENTS}


def project_name(root: Path) -> str:
    """What a project is called: `project` of `[tool.tilth]`, else the name in its pyproject.toml, else its folder's.

    Raises:
        DefinitionError: The file is no TOML, or gives no usable name.
    """
    if "project" in (options := project_file(root)):
        return _text(root, "project", options["project"])
    try:
        found = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        found = {}  # a file that is no TOML was told of above, unless tilth.toml makes it of no interest
    declared = found.get("project")
    name = declared.get("name") if isinstance(declared, dict) else None
    return name if isinstance(name, str) and name else root.absolute().name or "project"


def project_stack(root: Path) -> str:
    """The stack that a project's file names; empty when it names none.

    Raises:
        DefinitionError: The file is no TOML, or what it names is no text.
    """
    options = project_file(root)
    return _text(root, "stack", options["stack"]) if "stack" in options else ""


def _text(root: Path, option: str, value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise DefinitionError(
        f"`{option}` of project `{root}` is `{value}`",
        why="it is read from tilth.toml, or from `[tool.tilth]` of pyproject.toml",
        mend=f'give a name: `{option} = "…"`',
    )


def project_file(root: Path) -> dict[str, Any]:
    """`[tool.tilth]` of pyproject.toml, or all of tilth.toml, which wins.

    Raises:
        DefinitionError: The file is no TOML.
    """
    for name, table in (("tilth.toml", ()), ("pyproject.toml", ("tool", "tilth"))):
        path = root / name
        try:
            found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DefinitionError(f"`{path}` cannot be read: {error}", mend="correct the file") from None
        for key in table:
            found = found.get(key, {}) if isinstance(found, dict) else found
        if not isinstance(found, dict):
            raise DefinitionError(
                f"`{'.'.join(table)}` in `{path}` is `{found}`",
                mend=f"make it a table: `[{'.'.join(table)}]`",
            )
        if found or not table:
            return dict(found)
    return {}


class WorkingTree:
    """The project's code where it lies, and whether it is still what was compiled.

    Args:
        roots: Folders that project modules are imported from.
        cwd: Where the run was started; steps start there.
        bundle: Digest of the code bundle.
    """

    def __init__(self, pipeline: Pipeline, *, roots: Sequence[str], cwd: str, bundle: str) -> None:
        self.roots = tuple(roots)
        self.cwd = cwd
        self.bundle = bundle
        self._pipeline = pipeline
        # What modules with dynamic imports may import.
        self._all = _python_files(self.roots) if pipeline.dynamic else {}
        self._looked_at = time.monotonic()
        self._stamps: dict[str, tuple[int, int, int]] = {}

    def changed(self, modules: Iterable[str]) -> list[str]:
        """Files of these modules that are not any more what was compiled."""
        modules = list(modules)
        changed = [self._pipeline.files[each] for each in modules if self._is_changed(each)]
        if not changed and any(each in self._pipeline.dynamic for each in modules):
            return self._changed_files()
        return changed

    def _changed_files(self) -> list[str]:
        if time.monotonic() - self._looked_at < _ALL_FILES_S:
            return []
        now = _python_files(self.roots)
        self._looked_at = time.monotonic()
        return sorted(path for path in now.keys() | self._all.keys() if now.get(path) != self._all.get(path))

    def _is_changed(self, module: str) -> bool:
        path = self._path(module)
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._stamps.get(module) == stamp:
                return False
            if source_digest(path) != self._pipeline.sources[module]:
                return True
        except (OSError, SyntaxError, UnicodeDecodeError):
            return True
        self._stamps[module] = stamp
        return False

    def _path(self, module: str) -> Path:
        relative = self._pipeline.files[module]
        candidates = [Path(root, relative) for root in self.roots]
        return next((each for each in candidates if each.exists()), candidates[0])


def _python_files(roots: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The project's Python files, with time and size of each."""
    found: dict[str, tuple[int, int]] = {}
    for root in roots:
        for folder, folders, files in os.walk(root):
            if "pyvenv.cfg" in files:
                folders.clear()
                continue
            folders[:] = [name for name in folders if name[0] != "." and name not in _NOT_OURS]
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(folder, name)  # noqa: PTH118 - there may be thousands
                    with contextlib.suppress(OSError):
                        status = os.stat(path)  # noqa: PTH116
                        found[path] = (status.st_mtime_ns, status.st_size)
    return found
