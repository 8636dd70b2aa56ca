"""What realised environments leave on this machine, which of it may go, and taking it away.

`survey` looks, `decide` judges and touches nothing, `remove` does what was decided as far as it still holds: what came
into use meanwhile stays. Things are renamed first and deleted then, so nobody meets half of one, whenever this ends.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.environments import disk, prefixes, venvs, wheels
from tilth.environments.files import alone, is_used, read_bytes, remove_tree, sweep, throw_away

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tilth.home import Home

READY, SUSPECTED, UNUSABLE = "ready", "suspected", "unusable"
_ABANDONED_S = 3600  # as `sweep` has it


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """Something on disk that may be taken away."""

    kind: str  # environment, wheel, kept wheel, prefix, conda package, quarantined, leftover
    path: Path
    name: str = ""  # of the environment, or the wheel's with its version
    digest: str = ""  # `sha256:…`
    size: int = 0  # bytes on disk, whether or not it shares them
    last_used: datetime | None = None  # of an environment; of another thing, when it was written
    state: str = READY  # of an environment: ready, suspected or unusable
    used: bool = False  # now, by a process
    tag: str = ""  # of the Python that a wheel's bytecode is for, or that an environment has
    wheels: tuple[str, ...] = ()  # digests of what an environment is made of
    built: bool = False  # a wheel that was made here from source
    conda: tuple[
        str, ...
    ] = ()  # digests of the prefix that an environment stands on, and of what that is made of


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """What is there."""

    things: tuple[Thing, ...]
    trees: dict[Path, disk.Tree]
    making: bool  # whether some process makes an environment now, and needs wheels for it

    def of(self, kind: str) -> list[Thing]:
        """The things of one kind."""
        return [each for each in self.things if each.kind == kind]


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to be rid of. Without any, what nobody can use any more."""

    all: bool = False
    unused_since: datetime | None = None
    max_size: int | None = None  # bytes on disk, of environments and wheels together
    only: frozenset[str] | None = (
        None  # digests of environments: no other goes, and nothing but wheels beside
    )
    built: bool = False  # also wheels that were made here from source


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one thing."""

    thing: Thing
    goes: bool
    why: str


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What was done."""

    gone: tuple[Decision, ...]
    kept: tuple[Decision, ...]  # was to go, and stays
    freed: int  # bytes


def survey(home: Home) -> Stock:
    """Look at everything. Changes nothing, waits for nobody."""
    things: list[Thing] = []
    trees: dict[Path, disk.Tree] = {}
    found = (_environments, _wheels, _kept, _conda, _quarantined, _leftovers)
    for thing in (thing for look in found for thing in look(home)):
        tree = disk.measure(thing.path)
        trees[thing.path] = tree
        things.append(msgspec.structs.replace(thing, size=tree.size))
    return Stock(things=tuple(things), trees=trees, making=is_used(wheels.users_file(home)))


def decide(stock: Stock, wishes: Wishes) -> list[Decision]:
    """What goes, what stays, and why. Environments in order of their last use, the longest ago first."""
    environments = sorted(stock.of("environment"), key=lambda each: (each.last_used or _LONG_AGO, each.path))
    store = _Remaining(stock, built=wishes.built)
    goes: dict[Path, str] = {}
    stays: dict[Path, str] = {}
    open_to_size: list[Thing] = []
    for each in environments:
        why, free = _judge(each, wishes)
        if free:
            goes[each.path] = why
        else:
            stays[each.path] = why
            if not each.used and (wishes.only is None or each.digest in wishes.only):
                open_to_size.append(each)
    for kind, why in (
        ("quarantined", "it was changed by a step, and put aside"),
        ("leftover", "its maker is gone"),
    ):
        for each in stock.of(kind):
            if wishes.only is not None:
                stays[each.path] = "it was not asked for"
            elif each.used:
                stays[each.path] = "somebody works in it"
            else:
                goes[each.path] = why
    for path in goes:
        store.take(path)
    if wishes.max_size is not None:
        for each in open_to_size:
            if store.size <= wishes.max_size:
                break
            store.take(each.path)
            del stays[each.path]
            goes[each.path] = "it was used least recently"
    for each in _parts(stock):
        why, free = store.judge(each)
        (goes if free else stays)[each.path] = why
    return [
        Decision(thing=each, goes=each.path in goes, why=goes.get(each.path) or stays[each.path])
        for each in (*environments, *(each for each in stock.things if each.kind != "environment"))
    ]


def freed(stock: Stock, decisions: Iterable[Decision]) -> int:
    """Bytes that come free when what goes is gone."""
    return disk.freed(stock.trees[each.thing.path] for each in decisions if each.goes)


def total(stock: Stock) -> int:
    """Bytes on disk of everything together."""
    return disk.total(stock.trees.values())


def remove(
    stock: Stock,
    decisions: Iterable[Decision],
    home: Home,
    *,
    changed: Callable[[venvs.Realised, list[str]], None] = lambda _realised, _files: None,
) -> Removed:
    """Take away what was decided to go, unless somebody uses it by now.

    Args:
        changed: Told of an environment that is not as it was made, and of the files, before it goes: what ran in it
            is not what its digest stands for.
    """
    wanted = [each for each in decisions if each.goes]
    gone: list[Decision] = []
    kept: list[Decision] = []
    aside: list[Path] = []

    def settle(decision: Decision, why_not: str) -> None:
        if why_not:
            kept.append(msgspec.structs.replace(decision, goes=False, why=why_not))
        else:
            gone.append(decision)

    try:
        for each in wanted:
            if each.thing.kind == "environment":
                settle(each, _take_environment(each.thing, home, changed, aside))
            elif each.thing.kind == "quarantined":
                with suppress(FileNotFoundError):
                    aside.append(throw_away(each.thing.path, home.environments))
                settle(each, "")
        _take_parts([each for each in wanted if each.thing.kind in _PARTS], home, settle, aside)
    finally:
        for path in aside:
            remove_tree(path)
    leftovers = [each for each in wanted if each.thing.kind == "leftover"]
    for folder in {each.thing.path.parent for each in leftovers}:
        sweep(folder)
    for each in leftovers:
        settle(each, "somebody works in it" if each.thing.path.exists() else "")
    _remove_strays(home)
    left = [path for path in aside if path.exists()]
    return Removed(
        gone=tuple(gone),
        kept=tuple(kept),
        freed=freed(stock, gone) - disk.total(disk.measure(path) for path in left),
    )


_PARTS = ("wheel", "kept wheel", "prefix", "conda package")
_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


def _judge(thing: Thing, wishes: Wishes) -> tuple[str, bool]:
    """(why, whether an environment goes), whatever the size of all."""
    last = thing.last_used or _LONG_AGO
    if wishes.only is not None and thing.digest not in wishes.only:
        return "it was not asked for", False
    if thing.used:
        return "it is in use", False
    if thing.state == UNUSABLE:
        return "its interpreter or its record is gone", True
    if thing.state == SUSPECTED:
        return "a step may have changed it", True
    if wishes.all:
        return "all were asked for", True
    if wishes.unused_since is not None and last < wishes.unused_since:
        return "it was not used for so long", True
    if wishes.only is not None and wishes.unused_since is None and wishes.max_size is None:
        return "it was asked for", True
    if wishes.unused_since is not None:
        return "it was used since", False
    if wishes.max_size is not None:
        return "there is room for it", False
    return "it can be used again", False


class _Remaining:
    """What is left of a stock while things are taken out of it: its size, and which wheels are needed."""

    def __init__(self, stock: Stock, *, built: bool) -> None:
        self._stock = stock
        self._built = built
        self._names: Counter[disk.Inode] = Counter()
        self._needed: Counter[tuple[str, str]] = Counter()
        self._environments = {each.path: each for each in stock.of("environment")}
        self._wheels: dict[str, list[Thing]] = {}
        self._taken: set[Path] = set()
        self.size = 0
        for path, tree in stock.trees.items():
            for inode, (size, names, _) in tree.inodes.items():
                if not self._names[inode]:
                    self.size += size
                self._names[inode] += names
            if path in self._environments:
                self._needed.update(_needs(self._environments[path]))
        for wheel in _parts(stock):
            self._wheels.setdefault(wheel.digest, []).append(wheel)
            if self.judge(wheel)[1]:
                self._out(wheel.path)

    def take(self, path: Path) -> None:
        """Take one thing out, and with an environment the wheels that only it needed."""
        self._out(path)
        environment = self._environments.get(path)
        if environment is None:
            return
        self._needed.subtract(_needs(environment))
        for digest, _ in _needs(environment):
            for wheel in self._wheels.get(digest, ()):
                if self.judge(wheel)[1]:
                    self._out(wheel.path)

    def judge(self, wheel: Thing) -> tuple[str, bool]:
        """(why, whether a wheel goes)."""
        if wheel.kind == "kept wheel":  # for every Python
            count = sum(number for (digest, _), number in self._needed.items() if digest == wheel.digest)
        else:
            count = sum(self._needed[wheel.digest, tag] for tag in {wheel.tag, ""})
        if count:
            return f"{count} environment{'s need' if count > 1 else ' needs'} it", False
        if self._stock.making:
            return "an environment is being made, which may need it", False
        if wheel.built and not self._built:
            return "it was built here, and may not come out the same again", False
        return "no environment needs it", True

    def _out(self, path: Path) -> None:
        if path in self._taken:
            return
        self._taken.add(path)
        for inode, (size, names, _) in self._stock.trees[path].inodes.items():
            self._names[inode] -= names
            if not self._names[inode]:
                self.size -= size


def _needs(environment: Thing) -> Iterator[tuple[str, str]]:
    """The (digest, tag) of each thing it is made of."""
    yield from ((digest, environment.tag) for digest in environment.wheels)
    yield from ((digest, "") for digest in environment.conda)


def _parts(stock: Stock) -> list[Thing]:
    """What environments are made of."""
    return [each for each in stock.things if each.kind in _PARTS]


def _environments(home: Home) -> Iterator[Thing]:
    for folder in listed(home.environments):
        if not folder.name.startswith(".") and folder.is_dir():
            yield _environment(folder, home)


def _environment(folder: Path, home: Home) -> Thing:
    record = venvs.read_record(folder)
    state = READY
    if record is None or not venvs.has_python(folder, record):
        state = UNUSABLE
    elif venvs.suspect_file(folder, home).exists():
        state = SUSPECTED
    return Thing(
        kind="environment",
        path=folder,
        name=record.name if record else "",
        digest=f"sha256:{folder.name}",
        last_used=_last_used(folder, home),
        state=state,
        used=is_used(venvs.users_file(folder, home)) or is_used(venvs.lock_file(folder, home)),
        tag=record.cache_tag if record else "",
        wheels=record.wheels if record else (),
        conda=prefixes.needed_by(Path(record.interpreter), home) if record else (),
    )


def _last_used(folder: Path, home: Home) -> datetime:
    """When an environment was last used or, never used, made."""
    moments = []
    for path in (folder, venvs.users_file(folder, home)):
        with suppress(OSError):
            moments.append(path.stat().st_mtime)
    return datetime.fromtimestamp(max(moments, default=0), timezone.utc)


def _wheels(home: Home) -> Iterator[Thing]:
    built = built_digests(home)
    for folder in listed(home.wheels):
        if folder.name.startswith(".") or folder.name == "built":
            continue
        for entry_folder in listed(folder):
            entry = wheels.read_entry(entry_folder)
            yield Thing(
                kind="wheel",
                path=entry_folder,
                name=f"{entry.name} {entry.version}" if entry else "",
                digest=f"sha256:{folder.name}",
                last_used=written(entry_folder),
                tag=entry_folder.name,
                built=folder.name in built,
            )


def _kept(home: Home) -> Iterator[Thing]:
    """Wheels as they were built here, to be unpacked again."""
    for folder in listed(home.wheels / ".kept"):
        name = next((each.name for each in listed(folder)), "")
        yield Thing(
            kind="kept wheel",
            path=folder,
            name=" ".join(name.split("-")[:2]),
            digest=f"sha256:{folder.name}",
            last_used=written(folder),
            built=True,
        )


def _conda(home: Home) -> Iterator[Thing]:
    for folder in listed(home.conda):
        if not folder.name.startswith("."):
            yield Thing(kind="prefix", path=folder, digest=f"sha256:{folder.name}", last_used=written(folder))
    for folder in listed(prefixes.packages_folder(home)):
        if folder.is_dir():
            yield Thing(
                kind="conda package",
                path=folder,
                name=folder.name,
                digest=prefixes.package_digest(folder.name),
                last_used=written(folder),
            )


def built_digests(home: Home) -> set[str]:
    """The digests, without `sha256:`, of wheels that were made here from source."""
    found = set()
    for path in listed(home.wheels / "built"):
        with suppress(msgspec.MsgspecError):
            found.add(msgspec.json.decode(read_bytes(path) or b"", type=_Built).digest.rpartition(":")[2])
    return found


class _Built(msgspec.Struct):
    digest: str


def _quarantined(home: Home) -> Iterator[Thing]:
    for path in listed(home.environments / ".quarantine"):
        record = venvs.read_record(path)
        yield Thing(
            kind="quarantined",
            path=path,
            name=record.name if record else "",
            digest=f"sha256:{path.name}",
            last_used=written(path),
        )


def _leftovers(home: Home) -> Iterator[Thing]:
    """What was left by makers who were killed, and is being written by those who live."""
    places = (
        home.environments,
        home.wheels,
        home.wheels / "built",
        home.conda,
        home.locks,
        home.cache,
        *listed(home.cache),
    )
    for place in places:
        for path in listed(place):
            if path.name.startswith(".tmp-"):
                young = not path.is_dir() and time.time() - _time(path) < _ABANDONED_S
                yield Thing(kind="leftover", path=path, last_used=written(path), used=young or is_used(path))


def _take_environment(
    thing: Thing,
    home: Home,
    changed: Callable[[venvs.Realised, list[str]], None],
    aside: list[Path],
) -> str:
    """Rename an environment away; else why not."""
    folder = thing.path
    with ExitStack() as stack:
        lock, users = venvs.lock_file(folder, home), venvs.users_file(folder, home)
        known = users.exists()  # `alone` makes the file, with the time of now
        if not all(stack.enter_context(alone(each)) for each in (lock, users)):
            return "it is in use"
        if not folder.exists():
            return "somebody else removed it"
        if known and thing.last_used is not None and _last_used(folder, home) > thing.last_used:
            return "it was used meanwhile"
        realised = venvs.Realised(
            path=folder, python=folder / "bin" / "python", digest=thing.digest, created=False, seconds=0.0
        )
        files = venvs.changed_files(realised)
        if files:
            changed(realised, files)
            venvs.suspect_sharers(folder, home)
        aside.append(throw_away(folder, home.environments))
        venvs.suspect_file(folder, home).unlink(missing_ok=True)
        users.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
    return ""


def _take_parts(
    decisions: list[Decision], home: Home, settle: Callable[[Decision, str], None], aside: list[Path]
) -> None:
    """Rename wheels away that no environment needs, while none is being made."""
    if not decisions:
        return
    with alone(wheels.users_file(home)) as unused:
        needed: set[tuple[str, str]] = set()
        if unused:
            for environment in _environments(home):
                needed.update(_needs(environment))
        for each in decisions:
            wheel = each.thing
            if not unused:
                settle(each, "an environment is being made, which may need it")
            elif _is_needed(wheel, needed):
                settle(each, "an environment needs it by now")
            elif not wheel.path.exists():
                settle(each, "somebody else removed it")
            elif wheel.kind == "kept wheel":
                aside.append(throw_away(wheel.path, home.wheels))
                settle(each, "")
            elif wheel.kind != "wheel":
                aside.append(throw_away(wheel.path, home.conda))
                for lock in (f".{wheel.path.name}.lock", f"{wheel.path.name}.lock"):
                    (wheel.path.parent / lock).unlink(missing_ok=True)
                settle(each, "")
            else:
                aside.append(throw_away(wheel.path, home.wheels))
                with suppress(OSError):  # bytecode of another Python may be there
                    wheel.path.parent.rmdir()
                    (home.wheels / ".locks" / wheel.path.parent.name).unlink(missing_ok=True)
                settle(each, "")


def _is_needed(part: Thing, needed: set[tuple[str, str]]) -> bool:
    if part.kind == "kept wheel":
        return any(digest == part.digest for digest, _ in needed)
    return (part.digest, part.tag) in needed or (part.digest, "") in needed


def _remove_strays(home: Home) -> None:
    """Remove lock files whose environment is gone, unless somebody makes it just now."""
    for path in listed(home.environments):
        name, dot, kind = path.name[1:].rpartition(".")
        folder = home.environments / name
        if (
            not (path.name.startswith(".") and dot and kind in ("lock", "users", "suspect"))
            or folder.exists()
        ):
            continue
        with alone(venvs.lock_file(folder, home)) as unmade, alone(venvs.users_file(folder, home)) as unused:
            if unmade and unused and not folder.exists():
                for each in (venvs.suspect_file, venvs.users_file, venvs.lock_file):
                    each(folder, home).unlink(missing_ok=True)


def listed(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing where there is none."""
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def written(path: Path) -> datetime:
    """When something was changed last; long ago for what is not there."""
    return datetime.fromtimestamp(_time(path), timezone.utc)


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
