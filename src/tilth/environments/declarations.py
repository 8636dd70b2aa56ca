"""The digest of what was declared: it finds a lock again. Reads the files that a declaration refers to.

Order and spelling of requirements do not matter to it, and anything that may change the resolution does:
the text of included files, index settings wherever they come from, Python and platform. Time does not,
nor what an index holds today. Kept cheap: neither `packaging` nor a process is started for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.define.environments import CREDENTIALS
from tilth.environments.files import read_bytes, remember
from tilth.environments.uv import without_credentials
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home

_FORMAT = 2  # raised when locks of an older tilth must not be found
_PLAIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*"
    r"\(?\s*(?P<versions>(?:[=<>~!]=?=?\s*[^\s,;()]+\s*,?\s*)*)\)?\s*(?:;(?P<marker>.*))?"
)
_INCLUDE = re.compile(r"(?:-r|--requirements?)(?:\s+|=)?(?P<path>\S.*)")
_CONSTRAINT = re.compile(r"(?:-c|--constraints?)(?:\s+|=)?(?P<path>\S.*)")
_LOCAL = re.compile(r"^(?:(?:-e|--editable)[ =])?\s*\.{1,2}(?:/|$)|@\s*\.{1,2}/")
_LOCAL_FILE = re.compile(r"(?:^|file://|@\s*)(?P<path>[^\s@:]*\.(?:whl|tar\.gz|zip))(?:$|\s)")
_SCRIPT = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_MEMBER = re.compile(r'(?m)^source = \{ (?:editable|virtual|directory) = "([^"]+)" \}')
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
    "UV_NO_SOURCES_PACKAGE",
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
        environment: What `Environment.to_json` gave, expanded by `sources.expand`.
        root: The code root, which relative paths are relative to.
        interpreter: What the lock is for.
        home: Where a parsed `pyproject.toml` is remembered.
    Raises:
        DefinitionError: A file that the declaration names cannot be read.
    """
    system = environment.get("system")
    declared: dict[str, Any] = {
        "format": _FORMAT,
        "facts": declared_facts(environment, root=root, home=home),
        "stamps": sorted(
            stamp for _, line, folder in _lines(environment, root) for stamp in _stamp_of(line, folder)
        ),
        "uv": _settings_of_uv(root, home),
        # Conda brings a Python of its own.
        "python": "" if system else interpreter.minor,
        "implementation": "" if system else interpreter.implementation,
        "platform": interpreter.platform,
    }
    if interpreter.elsewhere:
        declared["elsewhere"] = interpreter.elsewhere, interpreter.version
    if system:
        # Those of conda's variables that change what is chosen.
        overrides = {key: value for key, value in os.environ.items() if key.startswith("CONDA_OVERRIDE_")}
        declared["conda"] = sorted(overrides.items())
    return hashlib.sha256(msgspec.json.encode(declared)).hexdigest()


def declared_facts(environment: Mapping[str, Any], *, root: Path, home: Home) -> list[str]:
    """Everything declared that a resolution depends on, one line each, sorted; the same on every machine.

    A line is a word and what it says, as `requirement: pandas<3`. Two declarations with equal lines have the
    same locks; the lines that differ are why a lock is stale.
    """
    name = environment["name"]
    facts = {f"requirement: {line}" for line in _flat(environment, "requirements", root)}
    for option, word in (("constraints", "constraint"), ("overrides", "override")):
        facts |= {f"{word}: {line}" for line in _flat(environment, option, root)}
    for option, word in (("extras", "extra"), ("groups", "group")):
        facts |= {f"{word}: {each}" for each in environment.get(option, ())}
    links = (str(each) for each in environment.get("find_links", ()))
    facts |= {f"find-links: {each if '://' in each else os.path.normpath(each)}" for each in links}
    for option in ("index_url", "exclude_newer", "package", "python"):
        if environment.get(option):
            facts.add(f"{option.replace('_', '-')}: {environment[option]}")
    # Their order is that in which they are asked.
    facts |= {f"extra-index-url {i}: {url}" for i, url in enumerate(environment.get("extra_index_urls", ()))}
    facts |= {f"index of {each}: {url}" for each, url in environment.get("package_indexes", {}).items()}
    system = environment.get("system")
    if system:
        facts |= {f"conda: {' '.join(spec.split())}" for spec in system["specs"]}
        facts |= {f"conda channel {i}: {name}" for i, name in enumerate(system["channels"])}
    if environment.get("complete"):
        facts.add("complete: nothing is resolved beside what is listed")
    project = environment.get("pyproject")
    if project is not None:
        facts |= set(_project_facts(project, root, name, home))
    script = environment.get("script")
    if script is not None:
        facts.add(f"script: {_shortest(script_metadata(root / script, name))}")
    lock = environment.get("lock")
    if lock is not None:
        text = _read_text(root / lock, name)
        facts.add(f"lock: {_shortest(text)}")
        facts |= set(_locked_facts(lock, text, root, name, home))
    return sorted(facts)


def script_metadata(path: Path, name: str) -> str:
    """The inline metadata of a script, as TOML.

    Raises:
        DefinitionError: The file cannot be read, or has none.

    Source:
        PEP 723, whose reference implementation this follows.
    """
    text = _read_text(path, name)
    found = [match for match in _SCRIPT.finditer(text) if match["type"] == "script"]
    if len(found) != 1:
        raise DefinitionError(
            f"environment `{name}` names the script `{path.name}`, which has "
            + ("no inline metadata" if not found else "inline metadata twice"),
            mend="write a comment block that begins with `# /// script` and ends with `# ///` (PEP 723)",
        )
    lines = found[0]["content"].splitlines()
    return "".join(f"{line[2:] if line.startswith('# ') else line[1:]}\n" for line in lines)


def _lines(environment: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str, Path]]:
    """The lines of the declaration and of the files it includes: what kind, the line, what it is relative to."""
    for option in ("requirements", "constraints", "overrides"):
        declared = environment.get(option, ())
        lines = [f"-r {declared}"] if isinstance(declared, str) else list(declared)
        yield from _followed("", lines, root, environment["name"], frozenset())


def declared_lines(environment: Mapping[str, Any], root: Path) -> list[str]:
    """The lines of all requirements, constraints and overrides as they are written, those of files included."""
    return [line for _, line, _ in _lines(environment, root)]


def _flat(environment: Mapping[str, Any], option: str, root: Path) -> list[str]:
    part = {"name": environment["name"], option: environment.get(option, ())}
    return [kind + normalise(line) + _place(line, folder, root) for kind, line, folder in _lines(part, root)]


def _place(line: str, folder: Path, root: Path) -> str:
    """Where a path in an included file starts from, when that is not the code root."""
    if folder == root or not _LOCAL.search(line):
        return ""
    return f" (below {os.path.relpath(folder, root)})"


def _shortest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


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


def _followed(
    kind: str, lines: list[str], folder: Path, name: str, seen: frozenset[Path]
) -> Iterator[tuple[str, str, Path]]:
    """The lines with the content of included files in place of their names."""
    for line in lines:
        for pattern, inner in ((_INCLUDE, kind), (_CONSTRAINT, "constraint: ")):
            match = pattern.fullmatch(line)
            if match and "://" not in match["path"]:
                path = Path(os.path.normpath(folder / match["path"].strip()))
                if path not in seen:
                    included = _logical_lines(_read_text(path, name))
                    _refuse_credentials(included, path, name)
                    yield from _followed(inner, included, path.parent, name, seen | {path})
                break
        else:
            yield kind, line, folder


def _refuse_credentials(lines: list[str], path: Path, name: str) -> None:
    for line in lines:
        # `https://${USER}:${TOKEN}@…` names variables, and is nobody's secret.
        if CREDENTIALS.search(re.sub(r"://(?:\$\{\w+\}:?){1,2}@", "://", line)):
            raise DefinitionError(
                f"`{path.name}`, which environment `{name}` names, holds a user name or password",
                why="the project's files are kept with each run, and what is declared is recorded and shown",
                mend="take it out, and give it as a secret (`credentials=`) or in `~/.netrc`",
            )


def _logical_lines(text: str) -> list[str]:
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _stamp_of(line: str, folder: Path) -> Iterator[str]:
    """What tells whether an archive that a line names is another one now."""
    local = _LOCAL_FILE.search(line)
    if local is None:
        return
    path = folder / local["path"]
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


def _project_facts(project: str, root: Path, name: str, home: Home) -> Iterator[str]:
    """What a `pyproject.toml` says of dependencies: its other tables may change without a new lock."""
    path = root / project
    project = os.path.normpath(project)
    text = _read_text(path, name)
    document = _parsed(text, home)
    if document is None:
        raise DefinitionError(f"environment `{name}` names `{path}`, which is not valid TOML")
    if document["dynamic"]:
        # A dynamic list is what the build backend says it is, and that may read anything in the file.
        yield f"{project}: {_shortest(text)}"
        return
    yield f"{project} python: {document['python']}"
    yield from (f"{project}: {normalise(each)}" for each in document["dependencies"])
    for table in ("optional", "groups"):
        for group, lines in document[table].items():
            for each in lines:
                told = normalise(each) if isinstance(each, str) else json.dumps(each, sort_keys=True)
                yield f"{project} [{group}]: {told}"
    if document["uv"] is not None:
        yield f"{project} [tool.uv]: {json.dumps(document['uv'], sort_keys=True)}"


def _locked_facts(lock: str, text: str, root: Path, name: str, home: Home) -> Iterator[str]:
    """What another tool's lock was made from: once that changes, the lock may not answer it any more."""
    folder, file = Path(lock).parent, Path(lock).name
    if file == "uv.lock":
        members = {str(folder / each / "pyproject.toml") for each in _MEMBER.findall(text)}
        for each in sorted(members):
            if (root / each).is_file():
                yield from _project_facts(each, root, name, home)
    elif file.endswith(".py.lock"):
        script = folder / file.removesuffix(".lock")
        if (root / script).is_file():
            yield f"script: {_shortest(script_metadata(root / script, name))}"
    else:
        # Their tables are known to their own tools alone.
        made_from = {"poetry.lock": "pyproject.toml", "Pipfile.lock": "Pipfile"}.get(file)
        if made_from and (root / folder / made_from).is_file():
            yield f"{made_from}: {_shortest(_read_text(root / folder / made_from, name))}"


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
