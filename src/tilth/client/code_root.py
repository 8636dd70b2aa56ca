"""Finds the folder a project's code is in, and the one name each of its files is imported by."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilth.errors import DefinitionError
from tilth.project_file import marked_root

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class CodeRoot:
    """Where a project's code is.

    Attributes:
        root: The folder that is bundled; paths in declarations are relative to it.
        import_roots: Folders its modules are imported from, the first one first.
        marked: Whether a file or folder says that this is a project; else it is just the script's folder.
    """

    root: Path
    import_roots: tuple[Path, ...]
    marked: bool


def find_code_root(file: Path) -> CodeRoot:
    """The project of a file: the nearest folder with `tilth.toml`, `pyproject.toml` or `.git`, else its own folder.

    Raises:
        DefinitionError: pyproject.toml is no TOML.
    """
    path = file.absolute()
    folder = marked_root(path)
    if folder is not None:
        return code_root_at(folder, path)
    return CodeRoot(path.parent, (path.parent,), marked=False)


def code_root_at(folder: Path, file: Path) -> CodeRoot:
    """The project in a folder, as a file in it sees it.

    Raises:
        DefinitionError: pyproject.toml is no TOML.
    """
    roots = tuple(dict.fromkeys([*_source_folders(folder, file.absolute()), folder]))
    return CodeRoot(folder, roots, marked=True)


def canonical_module(file: Path, code: CodeRoot) -> str:
    """The name a file is imported by, wherever it runs: never `__main__`.

    A name that is no identifier, as of `train-model.py` or `01_load.py`, is fine: `importlib` imports it, though
    an import statement could not.

    Raises:
        DefinitionError: The file cannot be imported under its name.
    """
    path = file.absolute()
    root = next((each for each in code.import_roots if path.is_relative_to(each)), None)
    if root is None:
        raise DefinitionError(
            f"`{path}` is outside of its project", why=f"modules are imported from {code.import_roots[0]}"
        )
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    for part in parts:
        if "." in part or ":" in part:
            raise DefinitionError(
                f"`{path.relative_to(code.root)}` cannot be imported: its path has a `{'.' if '.' in part else ':'}`",
                why="steps run in other interpreters, which import the file as a module",
                mend=f"rename `{part}`, for example to `{part.replace('.', '_').replace(':', '_')}`",
            )
    top = parts[0]
    if top in sys.stdlib_module_names or top == "tilth":
        owner = "tilth" if top == "tilth" else "Python"
        raise DefinitionError(
            f"`{path.relative_to(code.root)}` has the name of a module of {owner}'s own: `{top}`",
            why=f"`import {top}` would give the one or the other",
            mend=f"rename it, for example to `my_{top}`",
        )
    return ".".join(parts)


def _source_folders(root: Path, file: Path) -> list[Path]:
    """The folders below a project's root that its packages are in, as its pyproject.toml or its layout says."""
    import tomllib  # here for cost: many projects have no pyproject.toml

    path = root / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        project = {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(f"`{path}` cannot be read: {error}", mend="correct the file") from None
    named = [root / each for each in _declared(project) if each not in ("", ".")]
    source = root / "src"
    is_layout = not (source / "__init__.py").exists() and (
        project.get("project") or file.is_relative_to(source)
    )
    if is_layout:
        named.append(source)
    return [each for each in dict.fromkeys(named) if each.is_dir()]


def _declared(project: dict[str, Any]) -> list[str]:
    """Source folders in the tables of the build backends that people use."""
    hatch = _table(project, "tool", "hatch", "build", "targets", "wheel")
    setuptools = _table(project, "tool", "setuptools")
    poetry = _table(project, "tool", "poetry")
    folders: list[str] = [
        each.rpartition("/")[0] for each in hatch.get("packages", []) if isinstance(each, str)
    ]
    folders += [each for each in hatch.get("sources", []) if isinstance(each, str)]
    folders += [_table(setuptools, "package-dir").get("", "")]
    folders += _table(setuptools, "packages", "find").get("where", [])
    folders += [each.get("from", "") for each in poetry.get("packages", []) if isinstance(each, dict)]
    folders += [_table(project, "tool", "uv", "build-backend").get("module-root", "")]
    folders += [_table(project, "tool", "pdm", "build").get("package-dir", "")]
    return [each.strip("/") for each in folders]


def _table(data: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        value = data.get(name)
        data = value if isinstance(value, dict) else {}
    return data
