"""Modules whose content no version tells: outside any distribution, or of one that is installed editable."""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.environments.files import read_bytes, remember
from tilth.environments.inventories import inventory as read_inventory
from tilth.records import Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tilth.environments.interpreters import Interpreter
    from tilth.environments.inventories import Installed, Inventory
    from tilth.home import Home

_MODULES = (".py", ".so", ".pyd")


class _Seen(msgspec.Struct, frozen=True):
    """What the files of one module were found to be."""

    stamp: str
    digest: str
    imports: tuple[str, ...]  # top-level names


class Reach:
    """What modules depend on in one interpreter. Files are looked at once: make another for the next run."""

    def __init__(self, inventory: Inventory, interpreter: Interpreter, home: Home) -> None:
        self._home = home
        self._first = [Path(each).absolute() for each in _search_path() if each]
        # Clusters offer whole site-packages folders this way: what is in those has versions, and is large.
        self._stocked = [each for each in self._first if any(each.glob("*.dist-info"))]
        if self._stocked:
            places = (*map(str, self._stocked), *interpreter.site_packages)
            inventory = read_inventory(msgspec.structs.replace(interpreter, site_packages=places), home)
        self._inventory = inventory
        self._owned = {module for each in inventory.packages for module in each.modules}
        self._library = [Path(each) for each in interpreter.site_packages]
        self._linked: list[Path] | None = None
        self._seen: dict[Path, _Seen] = {}
        self._known: dict[frozenset[str], list[Package]] = {}

    def packages(self, modules: Iterable[str]) -> list[Package]:
        """`Inventory.reach`, with modules outside distributions, and digests where a version says too little."""
        names = frozenset(each.partition(".")[0] for each in modules)
        if names not in self._known:
            self._known[names] = self._packages(names)
        return self._known[names]

    def _packages(self, names: frozenset[str]) -> list[Package]:
        digests: dict[str, str] = {}
        waiting = list(names)
        followed = set(names)
        while waiting:
            name = waiting.pop()
            if name in sys.stdlib_module_names or name == "tilth":
                continue
            path = self._outside_distributions(name)
            if path is None:
                continue
            seen = self._look(path)
            digests[name] = seen.digest
            waiting += set(seen.imports) - followed
            followed.update(seen.imports)
        found = {each.name: each.version for each in self._inventory.reach(sorted(followed))}
        for each in self._inventory.packages:
            if each.name in found and each.editable:
                found[each.name] += f" {self._sources(each)}"
        for name, digest in digests.items():
            found[name] = f"{found[name]} {digest}" if name in found else digest
        return [Package(name=name, version=found[name]) for name in sorted(found)]

    def _outside_distributions(self, name: str) -> Path | None:
        """Where `import` finds a module that is no distribution's, or that hides one."""
        path = _find(name, self._first)
        if path is not None and path.parent in self._stocked and name in self._owned:
            return None
        if path is None and name not in self._owned:
            path = _find(name, [*self._library, *self._links()])
        return path

    def _links(self) -> list[Path]:
        """The folders that `.pth` files add to the path."""
        if self._linked is None:
            self._linked = [
                folder / line.strip()
                for folder in self._library
                for link in sorted(folder.glob("*.pth"))
                for line in (read_bytes(link) or b"").decode("utf-8", "replace").splitlines()
                if line.strip() and not line.startswith(("import ", "import\t", "#"))
            ]
        return self._linked

    def _sources(self, installed: Installed) -> str:
        """The digest of the modules of an editable distribution."""
        project = Path(installed.editable)
        # Import hooks name no folder: then it is one of the usual two.
        folders = [*self._links(), project / "src", project]
        paths = [_find(name, folders) for name in installed.modules]
        digests = [self._look(path).digest for path in paths if path is not None]
        return _digest("\n".join(digests).encode())

    def _look(self, path: Path) -> _Seen:
        if path not in self._seen:
            self._seen[path] = self._read(path)
        return self._seen[path]

    def _read(self, path: Path) -> _Seen:
        files = sorted(_files(path))
        states = [(file, os.stat(file)) for file in files]  # noqa: PTH116 - a `Path` each is slow
        stamp = _digest(
            "\n".join(
                f"{file} {state.st_mtime_ns} {state.st_size} {state.st_ino}" for file, state in states
            ).encode("utf-8", "surrogateescape")
        )
        entry = self._home.cache / "modules" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
        content = read_bytes(entry)
        if content is not None:
            try:
                seen = msgspec.json.decode(content, type=_Seen)
                if seen.stamp == stamp:
                    return seen
            except msgspec.MsgspecError:
                pass  # torn: read anew
        total = hashlib.sha256()
        imports: set[str] = set()
        for file in files:
            text = read_bytes(Path(file)) or b""
            total.update(os.fsencode(os.path.relpath(file, path.parent)) + b"\0")
            total.update(hashlib.sha256(text).digest())
            if file.endswith(".py"):
                imports |= _imported(text)
        seen = _Seen(stamp, f"sha256:{total.hexdigest()}", tuple(sorted(imports)))
        remember(entry, msgspec.json.encode(seen))
        return seen


def _search_path() -> list[str]:
    # Python's own variable, not a setting of tilth's: the steps' interpreters read it too.
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)


def _find(name: str, folders: Iterable[Path]) -> Path | None:
    """The file or folder of a top-level module, in the first folder that has one."""
    portion = None
    for folder in folders:
        package = folder / name
        if (package / "__init__.py").is_file():
            return package
        compiled = [each for each in folder.glob(f"{name}.*") if each.suffix in (".so", ".pyd")]
        if compiled:
            return min(compiled)
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
        if portion is None and any(_files(package)):
            portion = package
    return portion


def _files(path: Path) -> Iterator[str]:
    if path.is_file():
        yield str(path)
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [each for each in folders if each != "__pycache__" and not each.startswith(".")]
        yield from (os.path.join(folder, name) for name in names if name.endswith(_MODULES))  # noqa: PTH118


def _imported(text: bytes) -> set[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
