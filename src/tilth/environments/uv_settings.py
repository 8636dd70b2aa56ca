"""What uv's own settings say where tilth acts in uv's place: of builds, and of indexes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.environments.files import read_bytes
from tilth.environments.names import normalised
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TRUE = ("1", "true", "yes", "on", "y", "t")


def config_settings(package: str, root: Path) -> dict[str, Any]:
    """What a package's build backend is told: `config-settings`, and those for the package alone."""
    found: dict[str, Any] = {}
    for settings in reversed(list(tables(root))):
        found |= settings.get("config-settings", {})
        for name, own in settings.get("config-settings-package", {}).items():
            found |= own if normalised(name) == package else {}
    return found


def extra_requirements(package: str, root: Path) -> tuple[str, ...]:
    """What a package needs to be built beside what it says itself: `extra-build-dependencies`.

    Raises:
        DefinitionError: One is to be of the version of the environment, which is not known yet.
    """
    for settings in tables(root):
        for name, lines in settings.get("extra-build-dependencies", {}).items():
            if normalised(name) != package:
                continue
            if any(isinstance(each, dict) and each.get("match-runtime") for each in lines):
                raise DefinitionError(
                    f"`extra-build-dependencies` of `{package}` wants the version that it runs with",
                    why="tilth locks what builds a package apart from what runs it",
                    mend="write the version in the requirement, and leave out `match-runtime`",
                )
            return tuple(each["requirement"] if isinstance(each, dict) else each for each in lines)
    return ()


def build_constraints(root: Path) -> list[str]:
    """Lines that limit the versions of what builds packages: `UV_BUILD_CONSTRAINT`, else the nearest table."""
    files = os.environ.get("UV_BUILD_CONSTRAINT", "").split()
    if files:
        return [f"-r {Path(root, each)}" for each in files]
    for settings in tables(root):
        lines = settings.get("build-constraint-dependencies")
        if lines:
            return [each for each in lines if isinstance(each, str)]
    return []


def without_sources(root: Path) -> Callable[[str], bool]:
    """Tells of a package whether its `[tool.uv.sources]` are switched off, by `no-sources` or a variable."""
    if os.environ.get("UV_NO_SOURCES", "").lower() in _TRUE:
        return lambda _name: True
    names = set(os.environ.get("UV_NO_SOURCES_PACKAGE", "").split())
    nearest: bool | None = None
    for settings in tables(root):
        names |= {each for each in settings.get("no-sources-package", ()) if isinstance(each, str)}
        if nearest is None and isinstance(settings.get("no-sources"), bool):
            nearest = settings["no-sources"]
    if nearest:
        return lambda _name: True
    off = {normalised(each) for each in names}
    return lambda name: normalised(name) in off


def tables(root: Path | None) -> Iterator[dict[str, Any]]:
    """uv's settings that hold in a folder, those that go first first."""
    configured = os.environ.get("UV_CONFIG_FILE")
    if configured:
        yield from _read(Path(configured))
        return
    if os.environ.get("UV_NO_CONFIG") in ("1", "true"):
        return
    for folder in (root, *root.parents) if root else ():
        own = [*_read(folder / "uv.toml")]
        own = own or [
            each["tool"]["uv"]
            for each in _read(folder / "pyproject.toml")
            if isinstance(each.get("tool", {}).get("uv"), dict)
        ]
        if own:  # uv looks no further up
            yield from own
            break
    personal = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    yield from _read(Path(personal) / "uv" / "uv.toml")
    yield from _read(Path("/etc/uv/uv.toml"))


def _read(path: Path) -> Iterator[dict[str, Any]]:
    import tomllib

    content = read_bytes(path)
    if content is not None:
        try:
            yield tomllib.loads(content.decode())
        except ValueError:
            return  # uv says what is wrong with it
