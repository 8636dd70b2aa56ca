"""The digest of what was declared: it finds a lock again. Reads the files that a declaration refers to.

Order and spelling of requirements do not matter to it, and anything that may change the resolution does:
the text of included files, index settings wherever they come from, Python and platform. Time does not,
nor what an index holds today. Kept cheap: neither `packaging` nor a process is started for it.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.environments.files import read_bytes, remember
from tilth.environments.uv import without_credentials
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home

_FORMAT = 1  # raised when locks of an older tilth must not be found
_PLAIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*"
    r"\(?\s*(?P<versions>(?:[=<>~!]=?=?\s*[^\s,;()]+\s*,?\s*)*)\)?\s*(?:;(?P<marker>.*))?"
)
_INCLUDE = re.compile(r"(?:-r|--requirements?)(?:\s+|=)?(?P<path>\S.*)")
_CONSTRAINT = re.compile(r"(?:-c|--constraints?)(?:\s+|=)?(?P<path>\S.*)")
_LOCAL_FILE = re.compile(r"(?:^|file://|@\s*)(?P<path>[^\s@:]*\.(?:whl|tar\.gz|zip))(?:$|\s)")
# Those of uv's variables that change what is chosen, and not merely how it is fetched.
_VARIABLES = (
    "UV_BUILD_CONSTRAINT",
    "UV_CONFIG_FILE",
    "UV_CONSTRAINT",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_FORK_STRATEGY",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_NO_BUILD",
    "UV_NO_BUILD_PACKAGE",
    "UV_NO_CONFIG",
    "UV_NO_SOURCES",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_TORCH_BACKEND",
)
_VARIABLES_WITH_FILES = ("UV_BUILD_CONSTRAINT", "UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_OVERRIDE")


def declaration_digest(
    environment: Mapping[str, Any], *, root: Path, interpreter: Interpreter, home: Home
) -> str:
    """The digest, as hexadecimal digits.

    Args:
        environment: What `Environment.to_json` gave.
        root: The code root, which relative paths are relative to.
        interpreter: What the lock is for.
        home: Where a parsed `pyproject.toml` is remembered.
    Raises:
        DefinitionError: A file that the declaration names cannot be read.
    """
    name = environment["name"]
    requirements = environment.get("requirements", ())
    lines = [f"-r {requirements}"] if isinstance(requirements, str) else list(requirements)
    links = (str(each) for each in environment.get("find_links", ()))
    declared = {
        "format": _FORMAT,
        "requirements": sorted(set(_flatten(lines, root, name, frozenset()))),
        "extras": sorted(environment.get("extras", ())),
        "groups": sorted(environment.get("groups", ())),
        "find_links": [each if "://" in each else os.path.normpath(root / each) for each in links],
        "index_url": environment.get("index_url"),
        "extra_index_urls": environment.get("extra_index_urls", ()),
        "uv": _settings_of_uv(root, home),
        "python": interpreter.minor,
        "implementation": interpreter.implementation,
        "platform": interpreter.platform,
    }
    project = environment.get("pyproject")
    if project is not None:
        declared["pyproject"] = _dependencies(root / project, name, home)
    return hashlib.sha256(msgspec.json.encode(declared)).hexdigest()


def normalise(line: str) -> str:
    """One spelling for all spellings of a PEP 508 requirement by version; other lines as they are."""
    line = " ".join(line.split())
    match = _PLAIN.fullmatch(line)
    if match is None:
        return line
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    extras = sorted(
        re.sub(r"[-_.]+", "-", each.strip()).lower() for each in (match["extras"] or "").split(",")
    )
    versions = sorted({re.sub(r"\s", "", each) for each in match["versions"].split(",") if each.strip()})
    marker = " ".join((match["marker"] or "").replace("'", '"').split())
    return (
        name
        + (f"[{','.join(each for each in extras if each)}]" if any(extras) else "")
        + ",".join(versions)
        + (f" ; {marker}" if marker else "")
    )


def _flatten(lines: list[str], folder: Path, name: str, seen: frozenset[Path]) -> Iterator[str]:
    """The lines with the content of included files in place of their names."""
    for line in lines:
        for pattern, prefix in ((_INCLUDE, ""), (_CONSTRAINT, "constraint: ")):
            match = pattern.fullmatch(line)
            if match and "://" not in match["path"]:
                path = Path(os.path.normpath(folder / match["path"].strip()))
                if path not in seen:
                    inner = _logical_lines(_read_text(path, name))
                    yield from (prefix + each for each in _flatten(inner, path.parent, name, seen | {path}))
                break
        else:
            yield normalise(line)
            local = _LOCAL_FILE.search(line)
            if local:
                yield from _stamp(folder / local["path"])


def _logical_lines(text: str) -> list[str]:
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _stamp(path: Path) -> Iterator[str]:
    try:
        status = path.stat()
    except OSError:
        return  # uv says what is wrong with it
    yield f"{path} {status.st_size} {status.st_mtime_ns}"


def _read_text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(
            f"environment `{name}` names the file `{path}`, which cannot be read",
            why=(error.strerror or "") if isinstance(error, OSError) else "it is not UTF-8 text",
            mend="relative paths are relative to the folder that holds the project"
            if path.suffix in (".txt", ".in", ".toml")
            else f'a text names a file; requirements go in a list: `requirements=["{path.name}"]`',
        ) from error


def _dependencies(path: Path, name: str, home: Home) -> object:
    """What a `pyproject.toml` says of dependencies: its other tables may change without a new lock."""
    text = _read_text(path, name)
    document = _parsed(text, home)
    if document is None:
        raise DefinitionError(f"environment `{name}` names `{path}`, which is not valid TOML")
    # A dynamic list is what the build backend says it is, and that may read anything in the file.
    return text if document["dynamic"] else document


def _parsed(text: str, home: Home) -> dict[str, Any] | None:
    """The tables of a `pyproject.toml` that matter; None when it is not TOML."""
    entry = home.cache / "pyproject" / hashlib.sha256(text.encode()).hexdigest()[:32]
    cached = read_bytes(entry)
    if cached is not None:
        try:
            return msgspec.json.decode(cached, type=dict[str, Any])
        except msgspec.MsgspecError:
            pass
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    project = document.get("project", {})
    kept = {
        "dependencies": project.get("dependencies", []),
        "optional": project.get("optional-dependencies", {}),
        "python": project.get("requires-python", ""),
        "dynamic": sorted({"dependencies", "optional-dependencies"} & set(project.get("dynamic", ()))),
        "groups": document.get("dependency-groups", {}),
        "uv": document.get("tool", {}).get("uv"),
    }
    encoded = msgspec.json.encode(kept)
    remember(entry, encoded)
    return msgspec.json.decode(encoded, type=dict[str, Any])


def _settings_of_uv(root: Path, home: Home) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in _VARIABLES:
        value = os.environ.get(variable)
        if value:
            found[variable] = without_credentials(value)
            if variable in _VARIABLES_WITH_FILES:
                found[f"{variable} content"] = [_hash(root / each) for each in value.split()]
    if os.environ.get("UV_NO_CONFIG") in ("1", "true"):
        return found
    configured = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    for path in (Path(configured) / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        found[path.name + path.parts[1]] = _hash(path)
    found["project"] = _project_settings(root, home)
    return found


def _project_settings(root: Path, home: Home) -> object:
    # uv takes the nearest of these above the folder it runs in, and `uv.toml` before `pyproject.toml`.
    for folder in (root, *root.parents):
        own = _hash(folder / "uv.toml")
        if own:
            return own
        text = read_bytes(folder / "pyproject.toml")
        if text is not None:
            document = _parsed(text.decode("utf-8", "replace"), home)
            if document is not None and document["uv"] is not None:
                return document["uv"]
    return None


def _hash(path: Path) -> str:
    content = read_bytes(path)
    return "" if content is None else hashlib.sha256(content).hexdigest()
