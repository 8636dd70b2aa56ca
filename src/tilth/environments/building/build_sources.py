"""`[tool.uv.sources]` of what is built: where its build requirements come from, instead of from the index.

Left unread, a requirement that a project takes from its workspace would be taken from whoever has that name on the
index. So what cannot be followed is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.environments import uv_settings
from tilth.environments.files import read_bytes
from tilth.environments.names import normalised
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.requirements import Requirement


class Placed(NamedTuple):
    """Requirements with where they come from."""

    requires: tuple[str, ...]
    indexes: dict[str, str]  # URL by package, for those of one index alone


class _Table(NamedTuple):
    """`[tool.uv]` of one project, and the folder that its paths are relative to; None: it is not on this machine."""

    uv: Mapping[str, Any]
    folder: Path | None


def place(
    requires: Iterable[str], own: Mapping[str, Any], folder: Path | None, *, root: Path, what: str
) -> Placed:
    """The build requirements of a project, each from where its `[tool.uv.sources]` say.

    Args:
        own: Its `[tool.uv]`.
        folder: Of the project, when it is a local package; the workspace around it counts too.
        root: The folder whose uv settings hold.
        what: Is built, for messages.
    Raises:
        DefinitionError: A source cannot be followed.
    """
    tables = [_Table(own, folder), *_workspace(folder)]
    if _switched_off(root) or not any(each.uv.get("sources") for each in tables):
        return Placed(tuple(requires), {})
    from packaging.requirements import InvalidRequirement, Requirement

    placed: list[str] = []
    indexes: dict[str, str] = {}
    for line in requires:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            placed.append(line)  # whoever resolves it says what is wrong
            continue
        name = normalised(wanted.name)
        found = next(((source, table) for table in tables if (source := _source(table, name))), None)
        if found is None or wanted.url:
            placed.append(line)
            continue
        url, index = _follow(*found, tables, name, root, what)
        placed.append(_at(wanted, url) if url else line)
        if index:
            indexes[name] = index
    return Placed(tuple(placed), indexes)


def _source(table: _Table, name: str) -> Any:
    return next((each for key, each in table.uv.get("sources", {}).items() if normalised(key) == name), None)


def _follow(
    source: Any, table: _Table, tables: list[_Table], name: str, root: Path, what: str
) -> tuple[str, str]:
    """(the URL a requirement comes from, the index it comes from); one of them is empty."""
    if isinstance(source, dict) and not source.get("marker"):
        if "url" in source:
            return str(source["url"]), ""
        if "git" in source:
            revision = next((source[each] for each in ("rev", "tag", "branch") if each in source), "")
            below = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
            return f"git+{source['git']}" + (f"@{revision}" if revision else "") + below, ""
        if "index" in source and (index := _index(source["index"], tables, root)):
            return "", index
        if "path" in source and table.folder is not None:
            return Path(os.path.normpath(table.folder / source["path"])).as_uri(), ""
        if source.get("workspace") and (member := _member(name, tables)):
            return member.as_uri(), ""
    raise DefinitionError(
        f"{what} needs `{name}` to be built, from a source that cannot be followed",
        why=f"`[tool.uv.sources]` says: {name} = {source}",
        mend="name it without markers, as a folder of this project, a repository, a URL or a declared index; "
        "`UV_NO_SOURCES=1` takes everything from the index",
    )


def _workspace(folder: Path | None) -> Iterator[_Table]:
    """The workspace that a local project belongs to."""
    for around in (folder, *folder.parents) if folder is not None else ():
        uv = _tool_uv(around)
        if "workspace" in uv:
            yield _Table(uv, around)
            return


def _member(name: str, tables: list[_Table]) -> Path | None:
    for table in tables:
        if table.folder is None or "workspace" not in table.uv:
            continue
        patterns = table.uv["workspace"].get("members", ())
        for folder in (
            table.folder,
            *(each for pattern in patterns for each in sorted(table.folder.glob(pattern))),
        ):
            if normalised(str(_document(folder).get("project", {}).get("name", ""))) == name:
                return folder
    return None


def _index(name: str, tables: list[_Table], root: Path) -> str:
    declared = [index for table in tables for index in table.uv.get("index", ())]
    declared += [index for settings in uv_settings.tables(root) for index in settings.get("index", ())]
    return next((str(each.get("url", "")) for each in declared if each.get("name") == name), "")


def _switched_off(root: Path) -> bool:
    told = os.environ.get("UV_NO_SOURCES", "").lower()
    return told in ("1", "true") or any(each.get("no-sources") is True for each in uv_settings.tables(root))


def _at(wanted: Requirement, url: str) -> str:
    extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    return f"{wanted.name}{extras} @ {url}" + (f" ; {wanted.marker}" if wanted.marker else "")


def _tool_uv(folder: Path) -> Mapping[str, Any]:
    found = _document(folder).get("tool", {}).get("uv", {})
    return found if isinstance(found, dict) else {}


def _document(folder: Path) -> dict[str, Any]:
    import tomllib

    content = read_bytes(folder / "pyproject.toml")
    try:
        return {} if content is None else tomllib.loads(content.decode())
    except ValueError:
        return {}  # whoever builds it says what is wrong
