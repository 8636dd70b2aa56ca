"""What an interpreter has installed, read from its site-packages by path, without starting it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from tilth.environments.files import read_bytes, remember
from tilth.environments.names import normalised
from tilth.environments.uv import without_credentials
from tilth.records import Package

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home

_FORMAT = 3
_EXTENSION = re.compile(r"\.(?:[\w-]+\.)*(?:so|pyd)$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_TOOLS = frozenset({"dev", "develop", "development", "doc", "docs", "lint", "test", "testing", "tests"})

_TILTH = "tilth"


class Installed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One installed distribution."""

    name: str  # normalised (PEP 503)
    version: str
    requires: tuple[
        str, ...
    ] = ()  # normalised names, of those whose marker holds here and that no extra asks for
    modules: tuple[str, ...] = ()  # top-level import names
    editable: str = ""  # the folder it is developed in
    origin: str = ""  # what tells it from others of its version, when it comes from no index
    url: str = ""  # where it comes from then, as in a requirement `name @ url`
    requested: bool = False  # by name, and not only required by another: as far as the installer noted that


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """The distributions of one interpreter, sorted by name."""

    packages: tuple[Installed, ...]

    def distribution_of(self, module: str) -> Package | None:
        """The distribution that `import module` finds, by the first part of its name."""
        first = module.partition(".")[0]
        for each in self.packages:
            if first in each.modules:
                return Package(name=each.name, version=each.version)
        return None

    def reach(self, modules: Iterable[str]) -> list[Package]:
        """The distributions behind `modules` and all they require; not `tilth`, nor what only it requires."""
        by_name = {each.name: each for each in self.packages}
        owners: dict[str, list[str]] = {}
        for each in self.packages:
            for module in each.modules:
                owners.setdefault(module, []).append(each.name)
        pending = [name for module in modules for name in owners.get(module.partition(".")[0], ())]
        reached: set[str] = set()
        while pending:
            name = pending.pop()
            # Reached by another way than tilth, what tilth requires counts; reached through it, it does not.
            if name in reached or name == _TILTH or name not in by_name:
                continue
            reached.add(name)
            pending += by_name[name].requires
        return [
            Package(name=name, version=" ".join(filter(None, (by_name[name].version, by_name[name].origin))))
            for name in sorted(reached)
        ]


class _Cached(msgspec.Struct, frozen=True):
    format: int
    stamp: tuple[tuple[str, int], ...]
    inventory: Inventory


def inventory(interpreter: Interpreter, home: Home) -> Inventory:
    """What `interpreter` has installed; remembered until one of its site-packages folders changes."""
    folders = [Path(each) for each in interpreter.site_packages]
    stamp = tuple((str(each), each.stat().st_mtime_ns) for each in folders if each.is_dir())
    places = "\0".join([interpreter.executable, *interpreter.site_packages])
    key = hashlib.sha256(places.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    entry = home.cache / "inventories" / f"{key}.json"
    content = read_bytes(entry)
    if content is not None:
        try:
            cached = msgspec.json.decode(content, type=_Cached)
            if (cached.format, cached.stamp) == (_FORMAT, stamp):
                return cached.inventory
        except msgspec.MsgspecError:
            pass  # torn: read anew
    found = _read(interpreter)
    remember(entry, msgspec.json.encode(_Cached(_FORMAT, stamp, found)))
    return found


def _read(interpreter: Interpreter) -> Inventory:
    installed: dict[str, Installed] = {}
    for folder in interpreter.site_packages:
        for info in sorted([*Path(folder).glob("*.dist-info"), *Path(folder).glob("*.egg-info")]):
            one = _distribution(info, interpreter)
            if one is not None:
                installed.setdefault(one.name, one)  # the first on the path is the one imported
    return Inventory(packages=tuple(installed[name] for name in sorted(installed)))


def _distribution(info: Path, interpreter: Interpreter) -> Installed | None:
    # A distribution's `egg-info` may be a file that is itself what `PKG-INFO` is in the folder.
    places = (info / "METADATA", info / "PKG-INFO", info)
    content = next((found for found in map(_content, places) if found is not None), None)
    if content is None:
        return None  # half-removed: pip leaves such folders, named with a tilde
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    header = text.partition("\n\n")[0]
    fields: dict[str, list[str]] = {}
    for line in header.splitlines():
        key, separator, value = line.partition(": ")
        if separator and key in ("Name", "Version", "Requires-Dist"):
            fields.setdefault(key, []).append(value.strip())
    if "Name" not in fields or "Version" not in fields:
        return None
    editable, origin, url = _direct(info)
    listed = (_content(info / "top_level.txt") or b"").decode("utf-8", "replace").split()
    modules = _recorded_modules(info) | {each for each in listed if each.isidentifier()}
    if editable:
        modules |= _editable_modules(info, Path(editable))
    return Installed(
        name=normalised(fields["Name"][0]),
        version=fields["Version"][0],
        requires=_required(fields.get("Requires-Dist", []), interpreter),
        modules=tuple(sorted(modules)),
        editable=editable,
        origin=origin,
        url=url,
        requested=(info / "REQUESTED").exists(),
    )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _required(lines: list[str], interpreter: Interpreter) -> tuple[str, ...]:
    from packaging.requirements import InvalidRequirement, Requirement

    names = set()
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # written before PEP 508 was enforced
        # What an extra asks for counts too when it is installed: pandas uses pyarrow whoever asked for it.
        # Not so tools for working on the package itself, which say nothing about what it computes.
        extras = {"", *_EXTRA.findall(line)} - _TOOLS
        markers = ({**interpreter.markers, "extra": extra} for extra in extras)
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in markers):
            names.add(normalised(requirement.name))
    return tuple(sorted(names))


def _direct(info: Path) -> tuple[str, str, str]:
    """(folder of an editable install, what identifies one from a URL, repository or folder, the URL): PEP 610."""
    content = read_bytes(info / "direct_url.json")
    if content is None:
        return "", "", ""
    try:
        document = json.loads(content)
    except ValueError:
        return "", "", ""
    url = without_credentials(document.get("url", ""))
    if document.get("dir_info", {}).get("editable"):
        return unquote(urlsplit(url).path), "", ""
    vcs = document.get("vcs_info", {})
    commit = vcs.get("commit_id", "")
    archive = document.get("archive_info", {})
    hashes = [f"{name}={value}" for name, value in sorted(archive.get("hashes", {}).items())]
    below = f"#subdirectory={document['subdirectory']}" if document.get("subdirectory") else ""
    origin = commit or archive.get("hash", "") or ",".join(hashes) or _recorded_digest(info)
    return "", origin, (f"{vcs['vcs']}+{url}@{commit}" if commit else url) + below


def _recorded_digest(info: Path) -> str:
    """The digest of the hashes of all installed files but those about the installation."""
    lines = (read_bytes(info / "RECORD") or b"").splitlines()
    kept = sorted(line for line in lines if not line.startswith(info.name.encode()) and b",sha256=" in line)
    return "sha256:" + hashlib.sha256(b"\n".join(kept)).hexdigest()


def _recorded_modules(info: Path) -> set[str]:
    try:
        with open(info / "RECORD", encoding="utf-8", newline="") as file:
            paths = [row[0] for row in csv.reader(file) if row]
    except OSError:
        return set()
    return module_names(paths)


def module_names(paths: Iterable[str]) -> set[str]:
    """What `import` finds at the top level among files with these paths below site-packages."""
    found = set()
    for path in paths:
        first, _, rest = path.partition("/")
        if rest:
            name = first if rest.endswith((".py", ".so", ".pyd")) else ""
        elif first.endswith(".py"):
            name = first[:-3]
        else:
            name = _EXTENSION.sub("", first) if _EXTENSION.search(first) else ""
        if name.isidentifier():
            found.add(name)
    return found


def _editable_modules(info: Path, project: Path) -> set[str]:
    """The modules behind an editable install: in the folders its `.pth` file names, or in the project."""
    folders = []
    try:
        with open(info / "RECORD", encoding="utf-8", newline="") as file:
            links = [info.parent / row[0] for row in csv.reader(file) if row and row[0].endswith(".pth")]
    except OSError:
        links = []
    for link in links:
        lines = (read_bytes(link) or b"").decode("utf-8", "replace").splitlines()
        folders += [
            Path(line.strip()) for line in lines if line.strip() and not line.startswith(("import ", "#"))
        ]
    # Import hooks, as setuptools writes for some layouts, name no folder: then the usual two are looked at.
    found = set()
    for folder in folders or [project / "src", project]:
        if not folder.is_dir():
            continue
        for each in folder.iterdir():
            if each.suffix == ".py" and each.stem.isidentifier():
                found.add(each.stem)
            elif each.name.isidentifier() and (each / "__init__.py").is_file():
                found.add(each.name)
        if found:
            break
    return found - {"setup", "conftest", "tests"}
