"""`[tool.uv.sources]`: where a project takes what it needs from, other than from the index. Asks nobody.

Read for what builds a project: the index may have a stranger of the same name, which would build it then.
uv itself follows these tables when it builds, and holds to the same rules: the project's own entry goes before that
of its workspace's root, and a member of the workspace is only ever taken from there.

Source: https://docs.astral.sh/uv/concepts/projects/dependencies/#dependency-sources
"""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import tomllib

from tilth.environments.files import read_bytes
from tilth.environments.names import normalised
from tilth.environments.uv import without_credentials
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_KINDS = ("workspace", "path", "git", "url", "index")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a package comes from, when `marker` holds: one of the others is given."""

    says: str = ""  # the entry, for messages
    marker: str = ""
    address: str = ""  # a URL, as after `@` in a requirement
    inside: str | None = (
        None  # a path below the top of what has the table, where that is no folder of the user's
    )
    index: str = ""  # a URL
    refused: str = ""  # why it is not followed


class Placed(NamedTuple):
    """Requirements, with where each comes from."""

    lines: tuple[str, ...]
    indexes: dict[str, str]  # URL by package


def read_sources(folder: Path, top: Path | None = None) -> dict[str, tuple[Source, ...]]:
    """What the project in a folder, and the root of its workspace, say of packages, by their normalised names.

    Args:
        top: What the project came in as, an archive or a repository: it may name nothing outside of that. None for
            a folder of the user's.
    """
    project = _Project.read(folder)
    if project is None:
        return {}
    root = _workspace_root(project, top)
    members = _members(root, top) if root is not None else {}
    found: dict[str, tuple[Source, ...]] = {}
    for owner in (root, project):  # the project's own go first, so they come last
        if owner is not None:
            indexes = _indexes(root) | _indexes(project)
            reader = _Reader(owner, root, members, indexes, top)
            for name, told in owner.sources.items():
                found[normalised(name)] = tuple(reader.entries(normalised(name), told))
    for name in members:
        if not found.get(name):
            found[name] = (Source(says="no source of it", refused=_member(name)),)
    return found


def place(
    requirements: Iterable[str],
    sources: Mapping[str, tuple[Source, ...]],
    *,
    markers: Mapping[str, str],
    inside: Callable[[str], str],
    wanted_by: str,
    file: str,
) -> Placed:
    """The requirements, with where the sources say that they come from.

    Args:
        sources: As `read_sources` gives them.
        markers: Of the interpreter they are for.
        inside: The URL of a folder in what has the table; empty where there is none.
        wanted_by: Who needs them, for messages: "`alpha` of environment `training`".
        file: Where the sources are written, for messages.
    Raises:
        DefinitionError: A source cannot be followed; the index is not asked instead.
    """
    from packaging.markers import InvalidMarker, Marker
    from packaging.requirements import InvalidRequirement, Requirement

    lines: list[str] = []
    indexes: dict[str, str] = {}
    for line in requirements:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            lines.append(line)  # the resolver says what is wrong with it
            continue
        name = normalised(wanted.name)
        entries = sources.get(name, ())
        try:
            held = [
                each for each in entries if not each.marker or Marker(each.marker).evaluate(dict(markers))
            ]
        except InvalidMarker as error:
            raise _refused(
                name, entries[0], f"its marker cannot be read: {error}", wanted_by, file
            ) from error
        if wanted.marker is not None and not wanted.marker.evaluate({**markers, "extra": ""}):
            held = []  # it is not asked for here
        if not held:
            lines.append(line)
            continue
        source = held[0]
        why = source.refused
        if len(held) > 1:
            why = "several of its sources hold for this Python and platform"
        if wanted.url is not None:
            why = why or f"it is asked for with an address of its own: `{line}`"
        if why:
            raise _refused(name, source, why, wanted_by, file)
        if source.index:
            lines.append(line)
            indexes[name] = source.index
            continue
        address = source.address if source.inside is None else inside(source.inside)
        if not address:
            why = "it is inside of an archive on this machine; unpack that, and name its folder"
            raise _refused(name, source, why, wanted_by, file)
        extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
        lines.append(f"{name}{extras} @ {address}" + (f" ; {wanted.marker}" if wanted.marker else ""))
    return Placed(tuple(lines), indexes)


def _refused(name: str, source: Source, why: str, wanted_by: str, file: str) -> DefinitionError:
    return DefinitionError(
        f"`{name}`, which {wanted_by} needs to be built, cannot be taken from its source",
        why=f"`[tool.uv.sources]` of {file} has {source.says}\n{why}",
        mend="correct it there; the index is not asked for what has a source, as it may have another of that name",
    )


class _Project(NamedTuple):
    """A `pyproject.toml`, as far as it is about this."""

    folder: Path
    name: str  # normalised; empty without a table `[project]`
    uv: dict[str, Any]

    @staticmethod
    def read(folder: Path) -> _Project | None:
        content = read_bytes(folder / "pyproject.toml")
        if content is None:
            return None
        try:
            document = tomllib.loads(content.decode())
        except ValueError as error:
            raise DefinitionError(
                f"`{folder / 'pyproject.toml'}` is not valid TOML", why=str(error)
            ) from error
        project, tool = document.get("project"), document.get("tool")
        uv = tool.get("uv") if isinstance(tool, dict) else None
        name = project.get("name") if isinstance(project, dict) else None
        return _Project(
            folder,
            normalised(name) if isinstance(name, str) else "",
            uv if isinstance(uv, dict) else {},
        )

    @property
    def sources(self) -> dict[str, Any]:
        found = self.uv.get("sources")
        return found if isinstance(found, dict) else {}

    @property
    def workspace(self) -> dict[str, Any] | None:
        found = self.uv.get("workspace")
        return found if isinstance(found, dict) else None


class _Reader:
    """Reads the entries of one table."""

    def __init__(
        self,
        owner: _Project,
        root: _Project | None,
        members: Mapping[str, Path],
        indexes: Mapping[str, str],
        top: Path | None,
    ) -> None:
        self._owner = owner
        self._root = root
        self._members = members
        self._indexes = indexes
        self._top = top

    def entries(self, name: str, told: Any) -> Iterator[Source]:
        """The sources of one package; those that hold for an extra or a group alone are for no build."""
        for each in told if isinstance(told, list) else [told]:
            if not isinstance(each, dict):
                yield Source(says=f"`{_shown(each)}`", refused="it is no table")
            elif "extra" not in each and "group" not in each:
                found = self._entry(name, each)
                marker = str(each.get("marker", ""))
                yield msgspec.structs.replace(found, says=f"`{_shown(each)}`", marker=marker)

    def _entry(self, name: str, told: dict[str, Any]) -> Source:
        kinds = [each for each in _KINDS if each in told]
        if len(kinds) != 1:
            named = " and ".join(f"`{each}`" for each in kinds) or "no place"
            return _not(f"it names {named}, and is to name one of: {', '.join(_KINDS)}")
        (kind,) = kinds
        if kind == "workspace":
            return self._workspace(name, told)
        if name in self._members:
            return _not(_member(name))
        value = told[kind]
        if not isinstance(value, str):
            return _not(f"its `{kind}` is no text")
        if kind == "path":
            if told.get("package") is False:
                return _not("it is said to be no package, so nothing can be built with it")
            return self._at(self._owner.folder / value)
        if kind == "index":
            return self._index(value)
        if kind == "url":
            return self._remote(value + _below(told))
        if told.get("lfs"):
            return _not("tilth fetches no large files (`lfs`) of repositories")
        reference = next((f"@{told[each]}" for each in ("rev", "tag", "branch") if told.get(each)), "")
        return self._remote(f"git+{value.removeprefix('git+')}{reference}{_below(told)}")

    def _workspace(self, name: str, told: dict[str, Any]) -> Source:
        if told["workspace"] is not True:
            return _not("`workspace` can only be `true`")
        if self._root is None:
            return _not("the project is in no workspace")
        if name not in self._members:
            known = ", ".join(f"`{each}`" for each in sorted(self._members))
            return _not(f"the workspace has no member of this name; it has: {known or 'none'}")
        return self._at(self._members[name])

    def _index(self, name: str) -> Source:
        known = self._indexes
        if name not in known:
            return _not(f"no `[[tool.uv.index]]` has this name; there are: {', '.join(known) or 'none'}")
        if not known[name]:
            return _not("this index is `flat`, and tilth takes single packages from others alone")
        found = self._remote(known[name])
        return found if found.refused else Source(index=found.address)

    def _remote(self, address: str) -> Source:
        scheme = urlsplit(address.removeprefix("git+")).scheme
        if not scheme:
            return _not("it is no URL, which has a scheme as `https:`")
        if scheme == "file" and self._top is not None:
            return _not("it names a place on this machine, and the project comes from elsewhere")
        return Source(address=address)

    def _at(self, path: Path) -> Source:
        if self._top is not None:
            if not _is_inside(path, self._top):
                return _not("it leads outside of what the project came in")
            return Source(inside=os.path.relpath(os.path.realpath(path), os.path.realpath(self._top)))
        found = Path(os.path.normpath(path))
        return Source(address=found.as_uri()) if found.exists() else _not(f"`{found}` is not there")


def _not(why: str) -> Source:
    return Source(refused=why)


def _member(name: str) -> str:
    return (
        f"it is a member of the workspace, and is to be taken from there: `{name} = {{ workspace = true }}`"
    )


def _workspace_root(project: _Project, top: Path | None) -> _Project | None:
    """The root of the workspace that the project is in; may be the project itself."""
    if project.workspace is not None:
        return project
    for folder in project.folder.parents:
        if top is not None and not _is_inside(folder, top):
            return None
        above = _Project.read(folder)
        if above is None:
            continue
        # uv looks no further than the first one that it meets.
        return above if above.workspace is not None and project.folder in _folders(above) else None
    return None


def _members(root: _Project, top: Path | None) -> dict[str, Path]:
    """Folder of each member of a workspace, by normalised name."""
    found: dict[str, Path] = {}
    for folder in (root.folder, *_folders(root)):
        if top is None or _is_inside(folder, top):
            project = root if folder == root.folder else _Project.read(folder)
            if project is not None and project.name:
                found.setdefault(project.name, folder)
    return found


def _folders(root: _Project) -> list[Path]:
    """What the patterns of a workspace name, without what they leave out."""
    workspace = root.workspace or {}
    base = os.fspath(root.folder)
    named: dict[str, set[str]] = {}
    for key in ("members", "exclude"):
        patterns = [each for each in workspace.get(key, ()) if isinstance(each, str)]
        named[key] = {
            os.path.normpath(each)
            for pattern in patterns
            for each in glob.glob(f"{glob.escape(base)}/{pattern}", recursive=True)  # noqa: PTH207 - `../x` too
        }
    return [Path(each) for each in sorted(named["members"] - named["exclude"])]


def _indexes(project: _Project | None) -> dict[str, str]:
    """URL of each named index; empty for one that is no simple index."""
    found: dict[str, str] = {}
    given = project.uv.get("index") if project is not None else None
    for each in given if isinstance(given, list) else ():
        if project is not None and isinstance(each, dict) and "name" in each and "url" in each:
            url = str(each["url"])
            if "://" not in url:
                url = Path(os.path.normpath(project.folder / url)).as_uri()
            found[str(each["name"])] = "" if each.get("format") == "flat" else url
    return found


def _below(told: Mapping[str, Any]) -> str:
    return f"#subdirectory={told['subdirectory']}" if told.get("subdirectory") else ""


def _is_inside(path: Path, top: Path) -> bool:
    return f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(top)}/")


def _shown(told: Any) -> str:
    """An entry as it stands in TOML."""
    if not isinstance(told, dict):
        return without_credentials(json.dumps(told))
    pairs = ", ".join(f"{key} = {json.dumps(value, default=str)}" for key, value in told.items())
    return without_credentials(f"{{ {pairs} }}")
