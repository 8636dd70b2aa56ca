"""Locks realised as virtual environments: linked from the wheel store, read-only, made whole or not at all.

environments/DIGEST/                a venv; `tilth.json` says how it was made, `.tilth-files` what is in it
environments/.DIGEST.suspect        it was changed while others use it, or a file it shares was: look again
environments/.DIGEST.users          locked by those who use it: nobody takes it away under them; dated by the last use
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from tilth import __version__
from tilth.environments import skeleton, wheels
from tilth.environments.choices import Choice
from tilth.environments.files import (
    Shared,
    alone,
    clone_file,
    explaining_full_disk,
    locked as file_lock,
    move_folder,
    read_bytes,
    remove_tree,
    scratch,
    sweep,
)
from tilth.environments.interpreters import probe
from tilth.errors import EnvironmentBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tilth.environments.interpreters import Interpreter
    from tilth.environments.locks import Locked
    from tilth.home import Home

logger = logging.getLogger(__name__)

IN_IMAGE = "/opt/env"  # where an environment is in a container, whatever its digest
_RECORD = "tilth.json"
_MANIFEST = ".tilth-files"
_Files: TypeAlias = dict[str, dict[str, tuple[int, int, int]]]  # folder -> file -> size, mtime in ns, mode
_OWN = frozenset({_RECORD, _MANIFEST})
_ATTEMPTS = 3  # to make an environment whose wheels are thrown away meanwhile


class Realised(msgspec.Struct, frozen=True, kw_only=True):
    """A lock made real on this machine."""

    path: Path
    python: Path
    digest: str
    created: bool  # now, or was it there
    seconds: float


class Realisation(msgspec.Struct, frozen=True, kw_only=True):
    """How a venv was made: what its digest leaves out, because it varies and should not matter."""

    digest: str
    name: str
    interpreter: str
    version: str
    libc: str
    tilth: str
    created_at: str
    wheels: tuple[str, ...]  # digests, in the order they were linked
    cache_tag: str = ""  # of the wheels' bytecode; empty in records from before it was noted
    base: str = ""  # digest of the image whose Python it is for; empty for one of this machine


class _StoreChanged(Exception):
    """A wheel in the store is gone or is not what it was."""


def realisation(digest: str, home: Home) -> Realisation | None:
    """How the venv with this digest was made; None when there is none, or its record is torn."""
    return read_record(_folder(digest, home))


def is_realised(lock: Locked, home: Home) -> bool:
    """Whether `realise` would find it."""
    return _read(lock, home) is not None


def realise(lock: Locked, home: Home, *, offline: bool = False) -> Realised:
    """The venv of a lock, made if it is not there.

    Any number of threads and processes may ask at once: one makes it, the others wait and use it.

    Raises:
        EnvironmentBroken, IndexUnavailable, DiskFull: Nothing half-made is left.
    """
    start = time.perf_counter()
    folder = _folder(lock.digest, home)
    if _read(lock, home) is not None:
        return _realised(folder, lock.digest, start, created=False)
    with (
        explaining_full_disk(f"environment `{lock.name}`", home.environments),
        file_lock(lock_file(folder, home)),
        ExitStack() as held,
    ):
        if _read(lock, home) is not None:
            return _realised(folder, lock.digest, start, created=False)
        sweep(home.environments)
        sweep(home.wheels)
        if folder.exists():
            _replace_unusable(folder, lock, home)
            if _read(lock, home) is not None:
                return _realised(folder, lock.digest, start, created=False)
        held.enter_context(closing(wheels.keep(home)))
        interpreter = _interpreter(lock, home, offline)
        _while_the_store_changes(lambda: _make(lock, folder, interpreter, home, offline), lock, home)
    return _realised(folder, lock.digest, start, created=True)


def make_at(
    lock: Locked, folder: Path, home: Home, *, moves_to: Path | None = None, offline: bool = False
) -> None:
    """Make a venv of a lock at `folder`, which is not there yet, for somebody to keep.

    Nobody looks after it: its folders may be written to, and it stays when the home folder is pruned, but for
    what conda installs beneath it. Its files are shared with the wheel store where the file system allows it.

    Args:
        moves_to: Where the caller moves it afterwards; its scripts name that place.
    Raises:
        EnvironmentBroken, IndexUnavailable, DiskFull: `folder` may be there in part.
    """

    def make() -> None:
        interpreter = _interpreter(lock, home, offline)
        remove_tree(folder)
        _fill(folder, moves_to or folder, lock, interpreter, home, offline)

    with explaining_full_disk(f"environment `{lock.name}`", folder.parent), closing(wheels.keep(home)):
        _while_the_store_changes(make, lock, home)


def use(lock: Locked, home: Home, *, offline: bool = False) -> tuple[Realised, Shared]:
    """The venv of a lock, as by `realise`, and what keeps it where it is until that is closed."""
    while True:
        realised = realise(lock, home, offline=offline)
        with explaining_full_disk(f"that environment `{lock.name}` is in use", home.environments):
            held = Shared(users_file(realised.path, home))
        if _read(lock, home) is not None:
            return realised, held
        held.close()  # it was put aside, or suspected, in between


def find_realised(lock: Locked, home: Home, *, suspected: bool = False) -> Realised | None:
    """The venv of a lock as it is, without a look at what is in it.

    Args:
        suspected: Only when it has to be looked at before it is next used.
    """
    folder = _folder(lock.digest, home)
    if read_record(folder) is None or (suspected and not suspect_file(folder, home).exists()):
        return None
    return _realised(folder, lock.digest, time.perf_counter(), created=False)


def created_at(realised: Realised) -> datetime:
    """When a venv was made, to the second; long ago when its record is torn."""
    record = read_record(realised.path)
    return datetime.fromisoformat(record.created_at) if record else datetime.min.replace(tzinfo=timezone.utc)


def changed_files(realised: Realised) -> list[str]:
    """The files that are not as they were made, are new or are missing, as paths below the venv."""
    content = read_bytes(realised.path / _MANIFEST)
    if content is None:
        return [_MANIFEST]
    try:
        before = msgspec.msgpack.decode(content, type=_Files)
    except msgspec.MsgspecError:
        return [_MANIFEST]
    after = _scan(os.fspath(realised.path))
    changed: list[str] = []
    for folder in before.keys() | after.keys():
        old, new = before.get(folder), after.get(folder)
        if old == new:
            continue
        if old is None or new is None:
            changed.append(f"{folder}/")
        prefix = f"{folder}/" if folder else ""
        old, new = old or {}, new or {}
        changed += [f"{prefix}{name}" for name in old.keys() | new.keys() if old.get(name) != new.get(name)]
    return sorted(changed)


def quarantine(realised: Realised, home: Home) -> Path | None:
    """Take a venv that was changed out of use, with the wheels of the store that were changed through it.

    Files are shared with the store and with other environments, so those are looked at again before they
    are next used. Returns where the venv is now, for whoever wants to see; the last of each is kept. None
    when others use it, who would break: whoever realises it next deals with it, or when it is gone already.
    """
    folder = realised.path
    with file_lock(lock_file(folder, home)):
        return _quarantine(folder, home) if folder.exists() else None


def _quarantine(folder: Path, home: Home) -> Path | None:
    with alone(users_file(folder, home)) as unused:
        if unused:
            return _set_aside(folder, home)
    suspect_file(folder, home).touch()
    suspect_sharers(folder, home)
    return None


def _set_aside(folder: Path, home: Home) -> Path:
    suspect_sharers(folder, home)
    aside = home.environments / ".quarantine" / folder.name
    remove_tree(aside)
    move_folder(folder, aside)
    suspect_file(folder, home).unlink(missing_ok=True)
    return aside


def suspect_sharers(folder: Path, home: Home) -> None:
    """Throw away the wheels that were changed through a venv, and have the others made of them looked at."""
    record = read_record(folder)
    if record is not None:
        damaged = _discard_damaged(record, home)
        if damaged:
            _suspect_others(damaged, folder, home)


def _discard_damaged(record: Realisation, home: Home) -> set[str]:
    damaged = set()
    for digest in record.wheels:
        for entry_folder in (home.wheels / digest.rpartition(":")[2]).glob("*"):
            entry = wheels.read_entry(entry_folder)
            if entry is None or wheels.changed(entry_folder, entry):
                wheels.discard(entry_folder, home)
                damaged.add(digest)
    return damaged


def _suspect_others(damaged: set[str], folder: Path, home: Home) -> None:
    for other in home.environments.iterdir():
        if other.name.startswith(".") or other == folder:
            continue
        record = read_record(other)
        if record is None or damaged & set(record.wheels):
            suspect_file(other, home).touch()


def _replace_unusable(folder: Path, lock: Locked, home: Home) -> None:
    """Deal with a venv that `_read` refused: suspected, its interpreter gone, or its record torn."""
    suspicion = suspect_file(folder, home)
    record = read_record(folder)
    if record is not None and suspicion.exists() and has_python(folder, record):
        suspicion.unlink()
        if not changed_files(_realised(folder, lock.digest, 0.0, created=False)):
            return
        if _quarantine(folder, home) is None:
            raise EnvironmentBroken(
                f"environment `{lock.name}` was changed by a step, and another run still uses it",
                why=f"it can be made anew when nobody uses `{folder}` any more",
                mend="wait for the other run to end, then resume this one",
            )
        return
    _set_aside(folder, home)  # who uses it cannot go on in any case


def _read(lock: Locked, home: Home) -> Realisation | None:
    """The record of a venv that can be used as it is."""
    folder = _folder(lock.digest, home)
    record = read_record(folder)
    if record is None or record.digest != lock.digest:
        return None
    if not has_python(folder, record) or suspect_file(folder, home).exists():
        return None
    return record


def has_python(folder: Path, record: Realisation) -> bool:
    """Whether the interpreter of a venv is there: that of a base image is in no place of this machine."""
    # `exists` follows the link: an interpreter that was removed makes this a venv no more.
    return bool(record.base) or (folder / "bin" / "python").exists()


def read_record(folder: Path) -> Realisation | None:
    """How the venv in a folder was made; None when there is none, or its record is torn."""
    content = read_bytes(folder / _RECORD)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Realisation)
    except msgspec.MsgspecError:
        return None


def _while_the_store_changes(make: Callable[[], object], lock: Locked, home: Home) -> None:
    """Make an environment, again when its wheels were thrown away meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            make()
            return
        except _StoreChanged as error:
            if attempt == _ATTEMPTS:
                raise EnvironmentBroken(
                    f"environment `{lock.name}` cannot be made",
                    why=f"files in `{home.wheels}` change while they are used: {error}",
                ) from error


def _interpreter(lock: Locked, home: Home, offline: bool) -> Interpreter:
    """What the venv of a lock stands on: conda's Python is installed first."""
    if lock.elsewhere is not None:
        return lock.elsewhere
    interpreter = probe(Path(lock.interpreter), home)
    if not lock.system:
        return interpreter
    from tilth.environments import prefixes  # here for cost: few environments have packages of conda

    return prefixes.install(lock.system, interpreter, home, name=lock.name, offline=offline)


def _make(
    lock: Locked,
    folder: Path,
    interpreter: Interpreter,
    home: Home,
    offline: bool,
) -> None:
    with scratch(home.environments) as aside:
        venv = aside / "venv"
        place = Path(IN_IMAGE) if lock.elsewhere else folder
        choices = _fill(venv, place, lock, interpreter, home, offline)
        (venv / "pyvenv.cfg").chmod(0o444)
        manifest = _scan(os.fspath(venv))
        record = Realisation(
            digest=lock.digest,
            name=lock.name,
            interpreter=interpreter.base,
            version=interpreter.version,
            libc=interpreter.libc,
            tilth=__version__,
            created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            wheels=tuple(each.digest for each in choices),
            cache_tag=interpreter.cache_tag,
            base=lock.base,
        )
        for below in manifest:
            (venv / below).chmod(0o555)
        venv.chmod(0o755)
        (venv / _MANIFEST).write_bytes(msgspec.msgpack.encode(manifest))
        (venv / _RECORD).write_bytes(msgspec.json.encode(record))
        for name in _OWN:
            (venv / name).chmod(0o444)
        move_folder(venv, folder)
        folder.chmod(0o555)


def _fill(
    venv: Path, place: Path, lock: Locked, interpreter: Interpreter, home: Home, offline: bool
) -> list[Choice]:
    """Make a venv that will be at `place`, and give what it is made of. Its files are read-only, its folders not."""
    choices = [
        Choice(
            package.name, package.version, package.digest, package.file, source, package.size, package.builder
        )
        for package, source in zip(lock.packages, lock.sources, strict=True)
    ]
    wheels.fetch(choices, interpreter, home, name=lock.name, index=lock.index, offline=offline)
    skeleton.write(venv, interpreter, beneath=bool(lock.system))
    _Linker(venv, place / "bin" / "python").link(choices, interpreter, home)
    return choices


class _Linker:
    """Puts the files of wheels into a venv, in the cheapest way this file system has."""

    def __init__(self, venv: Path, python: Path) -> None:
        self.venv = os.fspath(venv)
        self.shebang = skeleton.shebang(python)
        self.put = self._clone

    def link(self, choices: list[Choice], interpreter: Interpreter, home: Home) -> None:
        """Fill the venv with the files of `choices`, which are sorted by name."""
        origin: dict[str, str] = {}  # path below the venv -> the tree it comes from
        stamps: dict[str, tuple[int, int, int]] = {}
        scripts: set[str] = set()
        for choice in choices:
            where = wheels.entry_folder(choice.digest, interpreter, home)
            entry = wheels.read_entry(where)
            if entry is None:
                wheels.discard(where, home)
                raise _StoreChanged(where)
            if not origin.keys().isdisjoint(entry.files):
                self._override(origin, entry)
            origin.update(dict.fromkeys(entry.files, f"{where}/tree"))
            stamps.update(entry.files)
            scripts.difference_update(entry.files)
            scripts.update(entry.scripts)
        self._make_folders(origin)
        for path, tree in origin.items():
            source = f"{tree}/{path}"
            try:
                status = os.lstat(source)
                if (status.st_size, status.st_mtime_ns, status.st_mode & 0o7777) != stamps[path]:
                    raise FileNotFoundError(source)
                if path in scripts:
                    self._script(source, f"{self.venv}/{path}")
                else:
                    self.put(source, f"{self.venv}/{path}")
            except FileNotFoundError as error:
                wheels.discard(Path(tree).parent, home)
                raise _StoreChanged(source) from error

    def _override(self, origin: dict[str, str], entry: wheels.Entry) -> None:
        """Two wheels ship one file: the later one in name order has it, bytecode included."""
        shared = origin.keys() & entry.files.keys()
        owners = sorted({Path(origin[path]).parent.parent.name[:12] for path in shared})
        logger.warning(
            "`%s` replaces %d files of other packages (%s), such as `%s`",
            entry.name, len(shared), ", ".join(owners), min(shared),
        )  # fmt: skip
        for path in shared:
            folder, _, name = path.rpartition("/")
            if not name.endswith(".py"):
                continue
            start = f"{folder}/__pycache__/{name[:-3]}."
            for stale in [each for each in origin if each.startswith(start) and each.endswith(".pyc")]:
                del origin[stale]

    def _make_folders(self, paths: Iterable[str]) -> None:
        made: set[str] = set()
        for path in paths:
            folder = path.rpartition("/")[0]
            if folder not in made:
                os.makedirs(f"{self.venv}/{folder}", exist_ok=True)  # noqa: PTH103 - some thousands of them
                made.add(folder)

    def _script(self, source: str, target: str) -> None:
        with open(source, "rb") as body, open(target, "wb") as file:
            file.write(self.shebang + body.read())
        Path(target).chmod(0o555)

    def _clone(self, source: str, target: str) -> None:
        if not clone_file(source, target):
            Path(target).unlink()
            self.put = self._hard_link  # this file system cannot; it is not asked again
            self._hard_link(source, target)

    def _hard_link(self, source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError as error:
            # Another device; a file system without hard links; one file linked too often.
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            shutil.copy2(source, target)


def _scan(root: str) -> _Files:
    """Folder below `root` -> file -> what would show a change, leaving out what tilth itself writes."""
    found: _Files = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        files: dict[str, tuple[int, int, int]] = {}
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{folder}/{entry.name}" if folder else entry.name)
                else:
                    status = entry.stat(follow_symlinks=False)
                    files[entry.name] = (status.st_size, status.st_mtime_ns, status.st_mode)
        found[folder] = files
    for name in _OWN:
        found[""].pop(name, None)
    return found


def _folder(digest: str, home: Home) -> Path:
    return home.environments / digest.rpartition(":")[2]


def suspect_file(folder: Path, home: Home) -> Path:
    """There when a venv must be looked at before it is next used."""
    return home.environments / f".{folder.name}.suspect"


def users_file(folder: Path, home: Home) -> Path:
    """Where those who use a venv say so, while they do; its time is that of the last use."""
    return home.environments / f".{folder.name}.users"


def lock_file(folder: Path, home: Home) -> Path:
    """Held by whoever makes a venv or takes it away."""
    return home.environments / f".{folder.name}.lock"


def _realised(folder: Path, digest: str, start: float, *, created: bool) -> Realised:
    return Realised(
        path=folder,
        python=folder / "bin" / "python",
        digest=digest,
        created=created,
        seconds=time.perf_counter() - start,
    )
