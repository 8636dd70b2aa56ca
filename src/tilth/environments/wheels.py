"""The store of unpacked wheels: fetched by uv, compiled once, read-only, shared by every environment.

    wheels/DIGEST/CACHE_TAG/entry.json      what is in it
    wheels/DIGEST/CACHE_TAG/tree/           as below the prefix of a venv: `lib/python3.11/site-packages/…`

DIGEST is the wheel's own, whether it comes from an index or was built here (see `builds`). Bytecode belongs to
one minor version of Python, hence CACHE_TAG. uv's own cache is copied from, never linked to: its files stay
writable.
"""

from __future__ import annotations

import csv
import json
import os
import posixpath
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.environments import skeleton, uv
from tilth.environments.bytecode import compile_trees
from tilth.environments.choices import Choice, compose
from tilth.environments.files import (
    Shared,
    can_clone,
    disk_full,
    explaining_full_disk,
    locked,
    move_folder,
    read_bytes,
    remember,
    remove_tree,
    scratch,
    sweep,
    write_atomic,
)
from tilth.environments.indexes import Index
from tilth.environments.interpreters import find_interpreter, probe
from tilth.environments.inventories import module_names
from tilth.environments.names import normalised
from tilth.errors import EnvironmentBroken, SetupError
from tilth.records import Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home

NOWHERE = Index()  # declared: uv's own settings say
# Where a wheel came from and what uv noted about it: of this machine, and nothing of the wheel's.
_FOREIGN = ("direct_url.json", "REQUESTED", "uv_cache.json", "uv_build.json")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one wheel unpacked to."""

    name: str
    version: str
    digest: str
    files: dict[str, tuple[int, int, int]]  # path below the prefix -> size, mtime in ns, mode
    scripts: tuple[str, ...]  # of those files, the ones that lack their first line: it names the venv
    bare: bool = False  # no bytecode was written yet: images have none


def entry_folder(digest: str, interpreter: Interpreter, home: Home) -> Path:
    """Where a wheel is, or would be."""
    return home.wheels / digest.rpartition(":")[2] / interpreter.cache_tag


def read_entry(folder: Path) -> Entry | None:
    """What is in a wheel's folder; None when there is none, or it is torn."""
    content = read_bytes(folder / "entry.json")
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Entry)
    except msgspec.MsgspecError:
        return None


def changed(folder: Path, entry: Entry) -> bool:
    """Whether any file of a wheel is not as it was when it was unpacked."""
    tree = os.fspath(folder / "tree")
    for path, stamp in entry.files.items():
        try:
            status = os.lstat(f"{tree}/{path}")
        except OSError:
            return True
        if (status.st_size, status.st_mtime_ns, status.st_mode & 0o7777) != stamp:
            return True
    return False


def keep(home: Home) -> Shared:
    """What keeps everything in the store there until it is closed: `tilth env prune` takes what nobody needs."""
    home.wheels.mkdir(parents=True, exist_ok=True)
    return Shared(users_file(home))


def users_file(home: Home) -> Path:
    """Where those who make environments say that they need the store, while they do."""
    return home.wheels / ".users"


def discard(folder: Path, home: Home) -> None:
    """Take a wheel out of the store; environments made from it keep their links."""
    with scratch(home.wheels) as aside, suppress(FileNotFoundError):  # somebody else was faster
        move_folder(folder, aside / "discarded")


def fetch(
    choices: Sequence[Choice],
    interpreter: Interpreter,
    home: Home,
    *,
    name: str,
    index: Index = NOWHERE,
    offline: bool = False,
    bytecode: bool = True,
) -> None:
    """Bring what is not there yet into the store. Others that want the same wheels wait meanwhile.

    Args:
        choices: With the digests that the environment was locked with.
        name: Of the environment, for messages.
        index: Where to find packages.
        bytecode: Whether it is needed: writing it takes longer than all else.
    """
    _bring(choices, interpreter, home, name, index, offline, bytecode)
    if bytecode:
        bare = [each for each in choices if _is_bare(entry_folder(each.digest, interpreter, home))]
        if bare:
            _write_bytecode(bare, interpreter, home, name)


def _bring(
    choices: Sequence[Choice],
    interpreter: Interpreter,
    home: Home,
    name: str,
    index: Index,
    offline: bool,
    bytecode: bool,
) -> None:
    absent = [each for each in choices if read_entry(entry_folder(each.digest, interpreter, home)) is None]
    if not absent:
        return
    sweep(home.wheels)
    wanted = [each for each in absent if each.is_wheel]
    with ExitStack() as stack:
        # In one order everywhere, or two processes with overlapping wishes would wait for each other.
        for digest in sorted({each.digest.rpartition(":")[2] for each in wanted}):
            stack.enter_context(locked(home.wheels / ".locks" / digest))
        missing = [
            each for each in wanted if read_entry(entry_folder(each.digest, interpreter, home)) is None
        ]
        _install(missing, interpreter, home, name, index, offline, bytecode)
    for source in (each for each in absent if not each.is_wheel):
        _bring_built(source, interpreter, home, name, index, offline)


def build(
    source: Choice,
    interpreter: Interpreter,
    home: Home,
    *,
    name: str,
    index: Index = NOWHERE,
    offline: bool = False,
    root: Path | None = None,
    exclude_newer: str = "",
) -> tuple[Package, str]:
    """What a source distribution, repository or folder becomes, built in isolation where it never was.

    Args:
        index: Where to find packages: build requirements come from there too.
        root: What relative paths are relative to, and the folder whose uv settings hold for the build.
        exclude_newer: The cut-off date of the environment that wants it, which its build requirements share.
    Returns:
        The package, and the source that `fetch` brings it back from.
    """
    from tilth.environments.building import builds
    from tilth.environments.building.source_trees import Wish
    from tilth.environments.pylocks import with_paths

    wish = Wish(
        name=name,
        interpreter=interpreter,
        home=home,
        root=root or home.root,
        index=index,
        offline=offline,
        exclude_newer=exclude_newer,
    )
    with closing(keep(home)):
        built = builds.build(source, wish)
        if read_entry(entry_folder(built.digest, interpreter, home)) is None:
            _unpack(Choice(built.name, built.version, built.digest, built.file, ""), interpreter, home, name)
    package = Package(
        name=built.name,
        version=built.version,
        digest=built.digest,
        file=built.file,
        size=built.size,
        builder=built.builder,
    )
    # `fetch` knows no root.
    return package, with_paths(source.source, lambda path: os.path.normpath(wish.root / path))


def _unpack(choice: Choice, interpreter: Interpreter, home: Home, name: str) -> bool:
    """Put a wheel that was built here into the store; False when the wheel is gone."""
    from tilth.environments.building import builds

    builds.discard_torn(choice.digest, home)
    wheel = builds.kept_wheel(choice.digest, home)
    if wheel is None:
        return False
    bare = choice.digest.rpartition(":")[2]
    source = f'wheels = [{{ path = {json.dumps(str(wheel))}, hashes = {{ sha256 = "{bare}" }} }}]'
    with locked(home.wheels / ".locks" / bare):
        if read_entry(entry_folder(choice.digest, interpreter, home)) is None:
            _install([choice._replace(source=source)], interpreter, home, name, NOWHERE, offline=True)
    return True


def _bring_built(
    choice: Choice, interpreter: Interpreter, home: Home, name: str, index: Index, offline: bool
) -> None:
    """Unpack what was built for a lock, or build it again as the lock says when that is gone."""
    if _unpack(choice, interpreter, home, name):
        return
    package, _ = build(choice, interpreter, home, name=name, index=index, offline=offline)
    if package.digest != choice.digest:
        raise EnvironmentBroken(
            f"`{choice.name}` of environment `{name}` builds to something else than before",
            why="the first result is gone from the store, and "
            + (
                "its files have changed since"
                if "directory = " in choice.source
                else "its build is not reproducible"
            ),
            mend="lock again with `--upgrade`, or ask for a version that has a wheel",
        )


def modules_of(digest: str, home: Home) -> frozenset[str] | None:
    """The top-level import names of a wheel, if it was ever unpacked here."""
    content = read_bytes(home.cache / "modules" / f"{digest.rpartition(':')[2]}.json")
    if content is None:
        return None
    try:
        return frozenset(msgspec.json.decode(content, type=list[str]))
    except msgspec.MsgspecError:
        return None


def _install(
    choices: Sequence[Choice],
    interpreter: Interpreter,
    home: Home,
    name: str,
    index: Index,
    offline: bool,
    bytecode: bool = True,
) -> list[Entry]:
    """Let uv install into a venv aside, take that apart again, and put each wheel in its place."""
    if not choices:
        return []
    with (
        explaining_full_disk(f"the packages of environment `{name}`", home.wheels),
        scratch(home.wheels) as aside,
    ):
        venv = aside / "venv"
        stand_in = _stand_in(interpreter, home)
        skeleton.write(venv, stand_in)
        document = aside / "pylock.toml"
        document.write_text(compose((each.name, each.version, each.source) for each in choices))
        python = venv / "bin" / "python"
        # Never hard links to uv's cache, which is what its `clone` falls back to.
        mode = "clone" if can_clone(aside) else "copy"
        arguments: list[str | Path] = ["pip", "sync", document, "--python", python, "--link-mode", mode]
        if interpreter.elsewhere:
            arguments += ["--python-platform", interpreter.elsewhere, "--python-version", interpreter.version]
        arguments += [*index.fetching(), *(["--offline"] if offline else [])]
        result = uv.call(arguments, root=aside, variables=index.variables(home))
        if result.code != 0:
            needed = f"not in the store yet: {_some(each.name for each in choices)}"
            raise uv.explain(result, name, usable=needed)
        if stand_in.library != interpreter.library:
            (venv / interpreter.library).parent.mkdir()
            (venv / stand_in.library).rename(venv / interpreter.library)
        records = _records(venv, interpreter, name)
        shared = _shared(records)
        entries = []
        trees = []
        for choice in choices:
            if choice.name not in records:
                raise EnvironmentBroken(f"uv did not install `{choice.name}` of environment `{name}`")
            if choice.name in shared:
                continue  # uv wrote one file over another: each of them is unpacked alone below
            tree = aside / "entries" / choice.name / "tree"
            scripts = _take_apart(venv, tree, records[choice.name], interpreter)
            trees.append((choice, tree, scripts))
        compiler = compiler_of(interpreter, home) if bytecode else None
        if compiler and not compile_trees([tree for _, tree, _ in trees], compiler):
            raise disk_full(f"the packages of environment `{name}`", home.wheels)
        for choice, tree, scripts in trees:
            version = _version(tree, interpreter) or choice.version
            entry = _put(
                choice.name, version, choice.digest, tree, scripts, interpreter, home, bare=not bytecode
            )
            entries.append(entry)
    for choice in choices:
        if choice.name in shared:
            entries += _install([choice], interpreter, home, name, index, offline, bytecode)
    return entries


def _is_bare(folder: Path) -> bool:
    entry = read_entry(folder)
    return entry is not None and entry.bare


def _write_bytecode(choices: Sequence[Choice], interpreter: Interpreter, home: Home, name: str) -> None:
    """Add the bytecode of wheels that were unpacked for an image first.

    What a killed process leaves is in no entry, and so in no environment.
    """
    compiler = compiler_of(interpreter, home)
    with explaining_full_disk(f"the packages of environment `{name}`", home.wheels), ExitStack() as stack:
        for digest in sorted({each.digest.rpartition(":")[2] for each in choices}):
            stack.enter_context(locked(home.wheels / ".locks" / digest))
        folders = [entry_folder(each.digest, interpreter, home) for each in choices]
        bare = [each for each in folders if _is_bare(each)]  # whoever held a lock before may have done it
        trees = [each / "tree" for each in bare]
        for tree in trees:
            _make_writable(tree)
        if compiler and not compile_trees(trees, compiler):
            raise disk_full(f"the packages of environment `{name}`", home.wheels)
        for folder in bare:
            entry = read_entry(folder)
            if entry is not None:
                entry = msgspec.structs.replace(entry, files=_seal(folder / "tree"), bare=False)
                write_atomic(folder / "entry.json", msgspec.json.encode(entry))


def _make_writable(tree: Path) -> None:
    """Let folders be written into; their files stay as they are."""
    for folder, _, _ in os.walk(tree):
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - some thousands of them


def _stand_in(interpreter: Interpreter, home: Home) -> Interpreter:
    """The interpreter that uv is given, which needs one of this machine."""
    return probe(Path(interpreter.here), home) if interpreter.elsewhere else interpreter


def compiler_of(interpreter: Interpreter, home: Home) -> Interpreter | None:
    """What writes bytecode for an interpreter: for one elsewhere the same minor version of Python here, if it is."""
    if not interpreter.elsewhere:
        return interpreter
    try:
        found = find_interpreter(interpreter.minor, _stand_in(interpreter, home), home)
    except SetupError:
        return None  # it is imported without, or compiled there
    return (
        found if found.cache_tag == interpreter.cache_tag and found.library == interpreter.library else None
    )


def _records(venv: Path, interpreter: Interpreter, name: str) -> dict[str, list[str]]:
    """Distribution -> its files, as paths below the venv."""
    library = interpreter.library
    records: dict[str, list[str]] = {}
    for info in sorted((venv / library).glob("*.dist-info")):
        with open(info / "RECORD", encoding="utf-8", newline="") as file:
            rows = [row[0] for row in csv.reader(file) if row]
        paths = [posixpath.normpath(posixpath.join(library, row)) for row in rows]
        if any(path.startswith(("../", "/")) for path in paths):
            raise EnvironmentBroken(
                f"a wheel of environment `{name}` has files outside the environment: `{info.stem}`"
            )
        records[normalised(info.stem.rpartition("-")[0])] = paths
    return records


def _shared(records: dict[str, list[str]]) -> set[str]:
    """The distributions that have a file in common with another."""
    owner: dict[str, str] = {}
    shared: set[str] = set()
    for name, paths in records.items():
        for path in set(paths):
            if path in owner:
                shared |= {name, owner[path]}
            owner[path] = name
    return shared


def _take_apart(venv: Path, tree: Path, paths: list[str], interpreter: Interpreter) -> list[str]:
    """Move one distribution's files out of the venv; returns its scripts, cut of their first line."""
    scripts = []
    kept = []
    python = os.fsencode(venv / "bin" / "python")
    made: set[str] = set()
    for path in dict.fromkeys(paths):
        source = venv / path
        if posixpath.basename(path) in _FOREIGN and posixpath.dirname(path).endswith(".dist-info"):
            continue
        if posixpath.basename(posixpath.dirname(path)) == "__pycache__" or not source.is_file():
            continue  # bytecode that came along is of somebody else's making
        target = tree / path
        parent = posixpath.dirname(path)
        if parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(parent)
        source.rename(target)
        kept.append(path)
        if parent == "bin" and skeleton.strip_shebang(target, python):
            scripts.append(path)
    _rewrite_record(tree, kept, scripts, interpreter)
    return scripts


def _rewrite_record(tree: Path, kept: list[str], scripts: list[str], interpreter: Interpreter) -> None:
    """Let RECORD name what is there, without digests of scripts: their first line differs per venv."""
    present = {posixpath.relpath(path, interpreter.library) for path in kept}
    varying = {posixpath.relpath(path, interpreter.library) for path in scripts}
    for record in (tree / interpreter.library).glob("*.dist-info/RECORD"):
        with open(record, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row and posixpath.normpath(row[0]) in present]
        with open(record, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows(
                [row[0], "", ""] if posixpath.normpath(row[0]) in varying else row for row in rows
            )


def _put(
    name: str,
    version: str,
    digest: str,
    tree: Path,
    scripts: list[str],
    interpreter: Interpreter,
    home: Home,
    *,
    bare: bool = False,
) -> Entry:
    """Make a tree read-only, write what is in it beside it, and rename both in place."""
    files = _seal(tree)
    entry = Entry(
        name=name,
        version=version,
        digest=digest,
        files=files,
        scripts=tuple(sorted(scripts)),
        bare=bare,
    )
    (tree.parent / "entry.json").write_bytes(msgspec.json.encode(entry))
    digits = digest.rpartition(":")[2]
    below = f"{interpreter.library}/"
    names = sorted(module_names(path.removeprefix(below) for path in files if path.startswith(below)))
    remember(home.cache / "modules" / f"{digits}.json", msgspec.json.encode(names))
    target = entry_folder(digest, interpreter, home)
    if target.exists():
        if read_entry(target) is not None:
            return entry
        remove_tree(target)
    move_folder(tree.parent, target)
    return entry


def _seal(tree: Path) -> dict[str, tuple[int, int, int]]:
    """Make a tree read-only; its files by path, with size, mtime in ns, and mode."""
    files: dict[str, tuple[int, int, int]] = {}
    for folder, _, names in os.walk(tree, topdown=False):
        for file in names:
            path = f"{folder}/{file}"
            mode = 0o555 if os.lstat(path).st_mode & 0o111 else 0o444
            os.chmod(path, mode)  # noqa: PTH101 - some thousands of them
            status = os.lstat(path)
            files[os.path.relpath(path, tree)] = (status.st_size, status.st_mtime_ns, mode)
        os.chmod(folder, 0o555)  # noqa: PTH101, S103 - read-only is the point
    return dict(sorted(files.items()))


def _version(tree: Path, interpreter: Interpreter) -> str:
    for info in (tree / interpreter.library).glob("*.dist-info"):
        return info.stem.rpartition("-")[2]
    return ""


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "")
