"""What a project's own file says of it: its name, its stack, and options for its pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomllib

from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from pathlib import Path

MARKERS = ("tilth.toml", "pyproject.toml", ".git")
# What the client itself reads of a project's file; the rest is for its pipelines.
_CLIENTS = ("project", "stack")


def marked_root(path: Path) -> Path | None:
    """The nearest folder above a file with something that says: here is a project."""
    return next((each for each in path.parents if any((each / mark).exists() for mark in MARKERS)), None)


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
