"""Local packages: which files of a folder make one, the digest of those, and a copy to build from.

    cache/local/KEY.msgpack     digests of a folder's files, by what a change would change

In a repository the files are those git tracks or would add, else all but caches, virtual environments and what
an earlier build left. The digest is of paths, contents and what is executable; time alone does not change it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from tilth.environments import background
from tilth.environments.files import read_bytes, remember
from tilth.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tilth.home import Home

_NO_CODE = frozenset({"pyvenv.cfg", "tilth.db"})  # a virtual environment, a home folder of tilth's
_LEFT_OUT = frozenset(
    {
        ".git", ".hg", ".svn", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache",
        ".hypothesis", ".tox", ".nox", ".eggs", ".ipynb_checkpoints", ".venv",
    }
)  # fmt: skip
_BUILT = frozenset({"build", "dist"})  # at the top, where no repository says otherwise
_LEFTOVER = re.compile(r"(^|/)[^/]+\.egg-info/")  # uv has setuptools write it when it asks for metadata
_PAIR = re.compile(r'[{,] (path|subdirectory) = ("(?:[^"\\]|\\.)*")')
# `./libs/features`, `-e ../features[gpu]`, `features @ ./libs/features`, with a marker or without.
_FOLDER = re.compile(
    r"(?:(?:-e|--editable)[ =]?\s*)?(?:[A-Za-z0-9][\w.-]*\s*(?:\[[^\]]*\])?\s*@\s*)?(?:file://(?=/))?"
    r"(?P<path>\.{0,2}/[^\s\[;]*|\.{1,2})(?:\[[^\]]*\])?\s*(?:;.*)?"
)
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_ATTEMPTS = 5  # to read a folder that somebody writes into
# A file may change twice within one tick of the file system's clock, so a young one is not remembered.
_YOUNG_NS = 2_000_000_000


class _File(msgspec.Struct, frozen=True, array_like=True):
    """One file, with what a change of it would change."""

    stamp: tuple[int, int, int, int, int]  # size, mtime, ctime, inode, mode
    digest: str  # of its content; for a link inside of the folder, of its target


class _Changed(Exception):
    """A file is not any more what it was when it was digested."""


def folder_of(source: str, root: Path) -> Path | None:
    """The local folder that the key of a PEP 751 package names, if it names one."""
    if not source.startswith("directory = "):
        return None
    # Not `tomllib`, which would cost more to load than all else that planning does with a lock.
    table = {key: json.loads(value) for key, value in _PAIR.findall(source)}
    return Path(os.path.normpath(root / table["path"] / table.get("subdirectory", "")))


def stamp(sources: Iterable[str], root: Path, home: Home) -> str:
    """What the local folders among the sources of a lock hold now; empty when there are none.

    A lock that was made with another stamp does not hold any more. Costs a few milliseconds for each folder.

    Args:
        sources: Keys of PEP 751 packages.
        root: What relative paths are relative to.
    """
    folders = sorted({folder for each in sources if (folder := folder_of(each, root)) is not None})
    if not folders:
        return ""
    found = hashlib.sha256()
    for folder in folders:
        try:
            held = digest(folder, home)
        except DefinitionError:  # the folder is gone: who locks again says so
            held = "gone"
        found.update(f"{folder}\0{held}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def digest(folder: Path, home: Home) -> str:
    """The digest of the files that make the package in `folder`: hexadecimal digits.

    Raises:
        DefinitionError: There is no such folder, or a file in it cannot be read.
    """
    return _digest(_read(folder, home))


def copy(folder: Path, target: Path, home: Home) -> str:
    """Copy the files that make the package in `folder` into the new folder `target`; returns their digest."""
    from tilth.environments.files import remove_tree

    for _ in range(_ATTEMPTS):
        files = _read(folder, home)
        try:
            for name, file in files.items():
                _copy(folder, target, name, file)
        except (_Changed, FileNotFoundError):
            remove_tree(target)
            continue
        target.mkdir(exist_ok=True)
        return _digest(files)
    raise DefinitionError(
        f"the files in `{folder}` change while they are read", mend="wait until what writes them is done"
    )


def check_requirements(lines: Iterable[str], root: Path, *, name: str) -> None:
    """Refuse requirements that name a folder which is no package, where uv would say less of it.

    Raises:
        DefinitionError: As `check_package` does.
    """
    for line in lines:
        match = _FOLDER.fullmatch(line.strip())
        if match is None:
            continue
        # In a URL, what follows `#` says which part of an archive is meant.
        path = unquote(match["path"].partition("#")[0]) if "file://" in line else match["path"]
        if not path.endswith(_ARCHIVES):
            check_package(Path(os.path.normpath(root / path)), name=name)


def check_package(folder: Path, *, name: str) -> None:
    """Refuse a folder that nothing can build a wheel from.

    Args:
        name: Of the environment, for messages.
    Raises:
        DefinitionError: It is not there, is no folder, or says nothing of a package.
    """
    if not folder.is_dir():
        raise DefinitionError(
            f"environment `{name}` asks for the folder `{folder}`, which is not there",
            mend="relative paths are relative to the folder that holds the project",
        )
    if (folder / "setup.py").is_file() or (folder / "setup.cfg").is_file():
        return
    import tomllib

    content = read_bytes(folder / "pyproject.toml")
    try:
        document = {} if content is None else tomllib.loads(content.decode())
    except ValueError as error:
        raise DefinitionError(
            f"`{folder / 'pyproject.toml'}` is not valid TOML, and environment `{name}` needs it",
            why=str(error),
        ) from error
    if "project" not in document and "build-system" not in document:
        lacking = "a `pyproject.toml`" if content is None else "a table `[project]` in its `pyproject.toml`"
        raise DefinitionError(
            f"environment `{name}` asks for the folder `{folder}`, which is no package",
            why=f"it lacks {lacking}",
            mend="give it one with name, version and build system, as `uv init --lib` does, or take it out of the list",
        )


def _read(folder: Path, home: Home) -> dict[str, _File]:
    """Every file with its digest, by its path below `folder`, sorted."""
    if not folder.is_dir():
        raise DefinitionError(
            f"the folder `{folder}` is not there, and a package is made from it",
            mend="relative paths are relative to the folder that holds the project",
        )
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    path = home.cache / "local" / f"{key}.msgpack"
    try:
        known = msgspec.msgpack.decode(read_bytes(path) or b"\x80", type=dict[bytes, _File])
    except msgspec.MsgspecError:
        known = {}
    now = time.time_ns()
    files: dict[str, _File] = {}
    kept: dict[bytes, _File] = {}
    for name in sorted(_listed(folder, home)):
        encoded = os.fsencode(name)
        try:
            file = _file(folder, name, known.get(encoded))
        except OSError as error:
            raise DefinitionError(
                f"`{folder / name}` cannot be read, and a package is made from it", why=error.strerror or ""
            ) from error
        if file is not None:
            files[name] = file
            if now - max(file.stamp[1], file.stamp[2]) > _YOUNG_NS:
                kept[encoded] = file
    if kept != known:
        remember(path, msgspec.msgpack.encode(kept))
    return files


def _file(folder: Path, name: str, known: _File | None) -> _File | None:
    path = f"{folder}/{name}"
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(path)  # noqa: PTH115 - the text as it stands, here and below
            if _leads_inside(name, target):
                status_of_link = (0, 0, 0, 0, status.st_mode)
                return _File(status_of_link, "link " + hashlib.sha256(os.fsencode(target)).hexdigest())
            status = os.stat(path)  # noqa: PTH116 - a link that leads outside: what it leads to is the file
    except FileNotFoundError:
        return None  # tracked, but deleted; or a link to nothing
    if not stat.S_ISREG(status.st_mode):
        return None
    now = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)
    if known is not None and known.stamp == now:
        return known
    with open(path, "rb") as file:
        return _File(now, hashlib.file_digest(file, "sha256").hexdigest())


def _leads_inside(name: str, target: str) -> bool:
    joined = os.path.normpath(os.path.join(os.path.dirname(name), target))  # noqa: PTH118, PTH120 - text alone
    return not os.path.isabs(target) and joined != ".." and not joined.startswith("../")  # noqa: PTH117


def _digest(files: dict[str, _File]) -> str:
    found = hashlib.sha256()
    for name, file in files.items():
        path = os.fsencode(name)
        # Lengths come first, so that no name can be mistaken for the end of the one before.
        found.update(b"%d %s %d %s\n" % (len(path), path, _is_program(file), file.digest.encode()))
    return found.hexdigest()


def _is_program(file: _File) -> bool:
    return bool(file.stamp[4] & 0o100)


def _copy(folder: Path, target: Path, name: str, file: _File) -> None:
    new = target / name
    new.parent.mkdir(parents=True, exist_ok=True)
    if file.digest.startswith("link "):
        to = os.readlink(folder / name)  # noqa: PTH115
        if "link " + hashlib.sha256(os.fsencode(to)).hexdigest() != file.digest:
            raise _Changed
        new.symlink_to(to)
        return
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != file.digest:
        raise _Changed
    new.write_bytes(content)
    new.chmod(0o755 if _is_program(file) else 0o644)


def _listed(folder: Path, home: Home) -> list[str]:
    names = _of_git(folder) if any((each / ".git").exists() for each in (folder, *folder.parents)) else None
    if names is None:
        # No repository, no git, or a folder that its repository ignores.
        names = list(_walk(os.fspath(folder), "", os.fspath(home.root)))
    else:
        own = [os.path.dirname(each) + "/" for each in names if os.path.basename(each) in _NO_CODE]  # noqa: PTH119, PTH120
        names = [each for each in names if not each.startswith(tuple(own))]
    return [each for each in names if not _LEFTOVER.search(each) and _LEFT_OUT.isdisjoint(each.split("/"))]


def _of_git(folder: Path) -> list[str] | None:
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
    hidden = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    try:
        done = background.call(
            [*command, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={key: value for key, value in os.environ.items() if key not in hidden},
        )
    except OSError:
        return None
    if done.returncode != 0 or not done.stdout:
        return None
    names: dict[str, None] = {}
    for encoded in done.stdout.split(b"\0"):
        name = os.fsdecode(encoded)
        if name and (folder / name).is_dir() and not (folder / name).is_symlink():
            if (folder / name / ".git").exists():  # a submodule, or a repository in this one
                below = _of_git(folder / name) or []
                names.update(dict.fromkeys(f"{name.rstrip('/')}/{each}" for each in below))
        elif name:
            names[name] = None  # once, though git lists each side of a conflict
    return list(names)


def _walk(folder: str, prefix: str, home: str) -> Iterator[str]:
    with os.scandir(f"{folder}/{prefix}") as found:
        entries = list(found)
    if prefix and any(each.name in _NO_CODE for each in entries):
        return
    for each in entries:
        if not each.is_dir(follow_symlinks=False):
            yield prefix + each.name
        elif each.name not in _LEFT_OUT and not (not prefix and each.name in _BUILT) and each.path != home:
            yield from _walk(folder, f"{prefix}{each.name}/", home)
