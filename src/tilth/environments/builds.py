"""From a source to a wheel: an sdist, a commit or a folder is built once, in an environment that is locked too.

    wheels/built/KEY.json           what a source was built to
    wheels/built/DIGEST/NAME.whl    the wheel that was built
    cache/requires/KEY.json         what a source needs to be built

What a source needs to be built (PEP 517, PEP 518) is resolved like any environment, under the same cut-off date
and with the same indexes, so it is cached, hashed, shared by builds that need the same, and usable offline.
"""

from __future__ import annotations

import contextvars
import hashlib
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import tomllib

from tilth.environments import archives, local, repositories
from tilth.environments.backends import Backend, call_hook
from tilth.environments.builders import find_builder, keep_builder
from tilth.environments.files import (
    explaining_full_disk,
    locked,
    move_folder,
    read_bytes,
    remember,
    scratch,
    sweep,
    write_atomic,
)
from tilth.errors import DefinitionError, EnvironmentBroken, TilthError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tilth.environments.choices import Choice
    from tilth.environments.indexes import Index
    from tilth.environments.interpreters import Interpreter
    from tilth.environments.locks import Locked
    from tilth.home import Home

# Packages that take their own version from the history of a repository.
_READS_HISTORY = re.compile(
    r"(setuptools[-_.]scm|hatch[-_.]vcs|versioningit|setuptools[-_.]git[-_.]versioning|pbr"
    r"|(poetry|uv)[-_.]dynamic[-_.]versioning|flit[-_.]scm|pdm[-_.]backend|dunamai)\b",
    re.IGNORECASE,
)
_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that was built here."""

    name: str
    version: str
    digest: str  # of the wheel
    file: str  # its name
    size: int  # in bytes
    builder: str  # digest of the environment that built it


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Who wants something built, and what the resolution of its build requirements shares with that.

    Args:
        name: Of the environment, for messages.
        index: Where it finds packages.
        exclude_newer: Its cut-off date.
    """

    name: str
    interpreter: Interpreter
    home: Home
    root: Path
    index: Index
    offline: bool = False
    exclude_newer: str = ""

    def declared(self) -> dict[str, Any]:
        """What a declaration of build requirements has in common with that of the environment."""
        index = self.index
        found: dict[str, Any] = {
            "index_url": index.default,
            "extra_index_urls": list(index.extra),
            "package_indexes": index.single,
            "find_links": list(index.links),
            "credentials": index.credentials,
            "exclude_newer": self.exclude_newer,
        }
        return {key: value for key, value in found.items() if value}


def build(choice: Choice, wish: Wish) -> Built:
    """The wheel of a source, built now if it never was; it is at `kept_wheel`.

    Raises:
        EnvironmentBroken: The source is not what was locked, does not build, or needs itself to be built.
        DefinitionError: It is a folder that is no package.
    """
    what = f"`{choice.name}` of environment `{wish.name}`"
    with _Source(choice, wish, what) as source, _no_circle(choice.name, source.key):
        if source.is_wheel:
            return _keep(source.archive(), choice, wish.home, what, builder="")
        # What was built before is built again by the very same packages.
        builder = find_builder(choice.builder, wish.home) or _builder_of(source, choice, wish, what)
        key = hashlib.sha256(f"{source.key}\n{builder.digest}".encode()).hexdigest()
        remembered = wish.home.wheels / "built" / f"{key}.json"
        found = _read(remembered, wish.home)
        if found is not None:
            return found
        with (
            explaining_full_disk(what, wish.home.wheels),
            locked(wish.home.wheels / ".locks" / key),
        ):
            found = _read(remembered, wish.home)  # whoever held the lock before may have built it
            if found is None:
                found = _make(source, builder, choice, wish, what)
                write_atomic(remembered, msgspec.json.encode(found))
    return found


def kept_wheel(digest: str, home: Home) -> Path | None:
    """The wheel of this digest that was built here, if it still is."""
    return next(iter((home.wheels / "built" / digest.rpartition(":")[2]).glob("*.whl")), None)


class _Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says it is built with."""

    backend: Backend
    requires: tuple[str, ...]
    dynamic: dict[
        str, tuple[str, ...]
    ] = {}  # what the backend asks for besides, by digest of its environment


class _Source:
    """A source as a folder to build from: written aside when it is first needed, gone afterwards."""

    def __init__(self, choice: Choice, wish: Wish, what: str) -> None:
        self._wish = wish
        self._what = what
        self._choice = choice
        ((self._kind, table),) = tomllib.loads(choice.source or "none = {}").items()
        self._table: dict[str, Any] = table[0] if isinstance(table, list) else table
        self.is_wheel = choice.file.endswith(".whl") and self._kind in ("archive", "wheels")
        self._local = local.folder_of(choice.source, wish.root)
        self._folder: Path | None = None
        self._identity = self._identify()
        interpreter = wish.interpreter
        identity = (self._identity, interpreter.minor, interpreter.implementation, interpreter.platform)
        self.key = hashlib.sha256("\n".join(identity).encode()).hexdigest()

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of the user's."""
        return self._local is not None

    def __enter__(self) -> _Source:
        self._aside: Any = None
        return self

    def __exit__(self, *error: object) -> None:
        if self._aside is not None:
            self._aside.__exit__(None, None, None)

    def folder(self) -> Path:
        """Where its project is. Written at the first call."""
        if self._folder is None:
            home = self._wish.home
            sweep(home.wheels)
            self._aside = scratch(home.wheels)
            with explaining_full_disk(self._what, home.wheels):
                below = self._write(self._aside.__enter__() / "source")
            inside = os.path.realpath(below / self._table.get("subdirectory", ""))
            if not f"{inside}/".startswith(f"{os.path.realpath(below)}/") or not Path(inside).is_dir():
                raise EnvironmentBroken(
                    f"the source of {self._what} has no folder `{self._table['subdirectory']}`",
                    mend="correct the `subdirectory` of the requirement",
                )
            self._folder = Path(inside)
        return self._folder

    def _identify(self) -> str:
        below = self._table.get("subdirectory", "")
        if self._local is not None:
            local.check_package(self._local, name=self._wish.name)
            return f"directory {local.digest(self._local, self._wish.home)}"
        if self._kind == "vcs":
            if self._table["type"] != "git":
                raise DefinitionError(
                    f"{self._what} comes from a repository of `{self._table['type']}`",
                    mend="tilth reads git alone: name an archive or a folder instead",
                )
            return f"git {self._table['commit-id']} {below}"
        if self._kind in ("sdist", "archive", "wheels"):
            hashes = sorted(self._table["hashes"].items(), key=lambda each: each[0] != "sha256")
            return f"archive {hashes[:1]} {below}"
        raise EnvironmentBroken(
            f"the lock names no source of {self._what}", mend="lock again with `--upgrade`"
        )

    def _write(self, target: Path) -> Path:
        wish, table = self._wish, self._table
        if self._local is not None:
            found = local.copy(self._local, target, wish.home)
            if f"directory {found}" != self._identity:
                raise EnvironmentBroken(
                    f"the files in `{self._local}` change while {self._what} is built",
                    mend="wait until what writes them is done",
                )
            table.pop("subdirectory", None)
            return target
        if self._kind == "vcs":
            url = table["url"] if "url" in table else os.path.normpath(wish.root / table["path"])
            fetch = partial(
                repositories.check_out,
                url,
                table["commit-id"],
                home=wish.home,
                what=self._what,
                offline=wish.offline,
            )
            fetch(target)
            project = read_bytes(target / table.get("subdirectory", "") / "pyproject.toml") or b""
            setup = read_bytes(target / table.get("subdirectory", "") / "setup.py") or b""
            if _READS_HISTORY.search((project + setup).decode("utf-8", "replace")):
                target = target.with_name("with-history")
                fetch(target, history=True)
            return target
        return archives.unpack(self.archive(), target, file=self._choice.file, what=self._what)

    def archive(self) -> Path:
        """The verified file that it comes as."""
        wish, table = self._wish, self._table
        return archives.get(
            table.get("url") or table["path"],
            table["hashes"],
            wish.home,
            what=self._what,
            credentials=wish.index.logins(wish.home),
            root=wish.root,
            offline=wish.offline,
        )


_building: contextvars.ContextVar[tuple[tuple[str, str], ...]] = contextvars.ContextVar(
    "building", default=()
)


@contextmanager
def _no_circle(name: str, key: str) -> Iterator[None]:
    """Refuse to build what is being built: something that it needs for that needs it."""
    around = _building.get()
    keys = [each for _, each in around]
    if key in keys:
        circle = [each for each, _ in around[keys.index(key) :]] + [name]
        raise EnvironmentBroken(
            f"`{name}` cannot be built: it needs itself for that",
            why="\n".join(f"`{one}` needs `{other}` to be built" for one, other in pairwise(circle)),
            mend=f"ask for a version of {' or '.join(f'`{each}`' for each in sorted(set(circle)))} that has a wheel",
        )
    token = _building.set((*around, (name, key)))
    try:
        yield
    finally:
        _building.reset(token)


def _builder_of(source: _Source, choice: Choice, wish: Wish, what: str) -> Locked:
    """The environment that builds a source: what it says it needs, and what its backend asks for besides."""
    needs = _needs(source, what, wish)
    builder = _lock_builder(choice, needs.requires, wish)
    if builder.digest not in needs.dynamic:
        with locked(wish.home.wheels / ".locks" / source.key):
            needs = _needs(source, what, wish)
            if builder.digest not in needs.dynamic:
                needs = _ask(source, needs, builder, what, wish)
    asked = needs.dynamic[builder.digest]
    if asked:
        builder = _lock_builder(choice, (*needs.requires, *asked), wish)
    keep_builder(builder, wish.home)
    return builder


def _ask(source: _Source, needs: _Needs, builder: Locked, what: str, wish: Wish) -> _Needs:
    """Add what the backend says it needs besides."""
    hook = "get_requires_for_build_wheel"
    answer = call_hook(
        hook, needs.backend, source.folder(), builder, wish.home, what, wish.offline, ours=source.is_local
    )
    asked = tuple(each for each in msgspec.convert(answer or [], list[str]) if each not in needs.requires)
    needs = msgspec.structs.replace(needs, dynamic={**needs.dynamic, builder.digest: asked})
    remember(_needs_file(source, wish), msgspec.json.encode(needs))
    return needs


def _needs_file(source: _Source, wish: Wish) -> Path:
    return wish.home.cache / "requires" / f"{source.key}.json"


def _needs(source: _Source, what: str, wish: Wish) -> _Needs:
    content = read_bytes(_needs_file(source, wish))
    if content is not None:
        try:
            return msgspec.json.decode(content, type=_Needs)
        except msgspec.MsgspecError:
            pass  # torn: read again
    return read_needs(source.folder(), what)


def read_needs(folder: Path, what: str) -> _Needs:
    """What the project in a folder says it is built with.

    Source: PEP 518 for the table, PEP 517 for what holds where it lacks something.
    """
    content = read_bytes(folder / "pyproject.toml")
    try:
        table = {} if content is None else tomllib.loads(content.decode()).get("build-system", {})
        if not table:
            legacy = Backend(name="setuptools.build_meta:__legacy__")
            if content is None and not (folder / "setup.py").exists() and not (folder / "setup.cfg").exists():
                raise EnvironmentBroken(
                    f"the source of {what} is no package",
                    why="it has neither `pyproject.toml` nor `setup.py`",
                    mend="name the folder of it that is one as `subdirectory`",
                )
            return _Needs(backend=legacy, requires=("setuptools>=40.8",))
        requires = tuple(msgspec.convert(table["requires"], list[str]))
        name = table.get("build-backend", "setuptools.build_meta:__legacy__")
        backend = Backend(name=name, path=tuple(table.get("backend-path", ())))
        return _Needs(backend=msgspec.convert(msgspec.to_builtins(backend), Backend), requires=requires)
    except KeyError as error:
        raise EnvironmentBroken(
            f"the source of {what} does not say what it is built with",
            why="its `pyproject.toml` has a table `[build-system]` without `requires`",
        ) from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise EnvironmentBroken(
            f"the `pyproject.toml` in the source of {what} cannot be read", why=str(error)
        ) from error


def _lock_builder(choice: Choice, requires: tuple[str, ...], wish: Wish) -> Locked:
    from tilth.environments import locks, pylocks, resolution

    declaration = {
        **wish.declared(),
        "name": f"build-{choice.name}",
        "requirements": list(requires),
    }
    place: dict[str, Any] = {"root": wish.root, "interpreter": wish.interpreter, "home": wish.home}
    found = locks.find_lock(declaration, **place)
    if found is not None:
        return found
    try:
        # What comes as source among them is built before the lock is taken that is held while it is made: or two
        # processes that go round a circle from opposite sides would wait for each other.
        text = resolution.resolve(declaration, **place, offline=wish.offline)
        for each in pylocks.choose(text, declaration["name"], wish.interpreter):
            if not each.is_wheel:
                build(each, wish)
        return locks.lock(declaration, **place, offline=wish.offline)
    except TilthError as error:
        needed = f"`{choice.name}` of environment `{wish.name}` comes as source, and needs it to be built"
        if needed not in error.why and "needs itself" not in error.summary:
            error.why = "\n".join(filter(None, (error.why, needed)))
        raise


def _read(remembered: Path, home: Home) -> Built | None:
    content = read_bytes(remembered)
    if content is None:
        return None
    try:
        built = msgspec.json.decode(content, type=Built)
    except msgspec.MsgspecError:
        return None
    # A wheel that was unpacked is as good as the file it came from.
    bare = built.digest.rpartition(":")[2]
    if kept_wheel(built.digest, home) is None and not any((home.wheels / bare).glob("*/entry.json")):
        return None
    return built


def _make(source: _Source, builder: Locked, choice: Choice, wish: Wish, what: str) -> Built:
    home = wish.home
    needs = _needs(source, what, wish)
    with scratch(home.wheels) as aside:
        out = aside / "out"
        out.mkdir()
        hook = "build_wheel"
        call_hook(
            hook,
            needs.backend,
            source.folder(),
            builder,
            home,
            what,
            wish.offline,
            out=out,
            ours=source.is_local,
        )
        wheels = sorted(out.glob("*.whl"))
        if len(wheels) != 1:
            raise EnvironmentBroken(
                f"building {what} gave {len(wheels)} wheels", why=f"its backend is `{needs.backend.name}`"
            )
        return _keep(wheels[0], choice, home, what, builder=builder.digest)


def _keep(wheel: Path, choice: Choice, home: Home, what: str, *, builder: str) -> Built:
    """Put a copy of a wheel where `kept_wheel` finds it."""
    file = wheel.name if wheel.suffix == ".whl" else choice.file
    name, version = _name_and_version(file, choice, what)
    with open(wheel, "rb") as content:
        bare = hashlib.file_digest(content, "sha256").hexdigest()
    kept = home.wheels / "built" / bare
    with scratch(home.wheels) as aside, locked(home.wheels / ".locks" / f"kept-{bare}"):
        if not kept.exists():
            only = aside / "only"
            only.mkdir()
            shutil.copyfile(wheel, only / file)
            (only / file).chmod(0o444)
            move_folder(only, kept)
    size = wheel.stat().st_size
    return Built(name=name, version=version, digest=f"sha256:{bare}", file=file, size=size, builder=builder)


def _name_and_version(file: str, choice: Choice, what: str) -> tuple[str, str]:
    from packaging.version import InvalidVersion, Version

    match = _WHEEL.fullmatch(file)
    if match is None:
        raise EnvironmentBroken(f"building {what} gave `{file}`, which is no name of a wheel")
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    version = match["version"]
    try:
        fits = not choice.version or Version(version) == Version(choice.version)
    except InvalidVersion:
        fits = version == choice.version
    if name != choice.name or not fits:
        wanted = f"{choice.name} {choice.version}".strip()
        raise EnvironmentBroken(
            f"building {what} gave another package",
            why=f"wanted: `{wanted}`; built: `{name} {version}`",
            mend="correct the name in the requirement, or in the source of the package",
        )
    return name, version
