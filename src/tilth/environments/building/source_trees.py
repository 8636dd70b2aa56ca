"""What a wheel is built from: an sdist, a commit or a folder, written aside as files, and what it says it needs.

Nothing of it is run here. What identifies it is its content: where it comes from is not part of that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec
import tomllib

from tilth.environments import uv_settings
from tilth.environments.building import archives, local, repositories, uv_sources
from tilth.environments.building.backends import Backend
from tilth.environments.files import explaining_full_disk, read_bytes, scratch, sweep
from tilth.errors import DefinitionError, EnvironmentBroken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.environments.choices import Choice
    from tilth.environments.indexes import Index
    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home

_LEGACY = "setuptools.build_meta:__legacy__"
# Packages that take their own version from the history of a repository.
_READS_HISTORY = re.compile(
    r"(setuptools[-_.]scm|hatch[-_.]vcs|versioningit|setuptools[-_.]git[-_.]versioning|pbr"
    r"|(poetry|uv)[-_.]dynamic[-_.]versioning|flit[-_.]scm|pdm[-_.]backend|dunamai)\b",
    re.IGNORECASE,
)


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
            "find_links": list(index.links),
            "credentials": index.credentials,
            "exclude_newer": self.exclude_newer,
        }
        return {key: value for key, value in found.items() if value}


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says it is built with."""

    backend: Backend
    requires: tuple[str, ...]
    sources: dict[str, tuple[uv_sources.Source, ...]]  # where it says that these come from
    # What the backend asks for besides, by digest of the environment that it was asked in.
    dynamic: dict[str, tuple[str, ...]] = {}


class SourceTree:
    """A source as a folder to build from: written aside when it is first needed, gone afterwards."""

    def __init__(self, choice: Choice, wish: Wish, what: str) -> None:
        self._wish = wish
        self._what = what
        ((self._kind, table),) = tomllib.loads(choice.source or "none = {}").items()
        self._table: dict[str, Any] = table[0] if isinstance(table, list) else table
        # Not the file of the choice: what was built before has that of its wheel.
        address = self._table.get("url") or self._table.get("path", "")
        self.file = self._table.get("name") or unquote(urlsplit(address).path.rpartition("/")[2])
        self.is_wheel = self.file.endswith(".whl") and self._kind in ("archive", "wheels")
        self._local = local.folder_of(choice.source, wish.root)
        self._folder: Path | None = None
        self._top: Path | None = None  # what `folder` is below
        self._aside = ExitStack()
        self._identity = self._identify()
        self.name = choice.name
        # What uv is told of the build of this package holds here too.
        self.settings = uv_settings.config_settings(choice.name, wish.root)
        self.extra = uv_settings.extra_requirements(choice.name, wish.root)
        interpreter = wish.interpreter
        identity = [self._identity, interpreter.minor, interpreter.implementation, interpreter.platform]
        identity += [json.dumps(self.settings, sort_keys=True)] if self.settings else []
        self.key = hashlib.sha256("\n".join(identity).encode()).hexdigest()

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of the user's."""
        return self._local is not None

    def __enter__(self) -> SourceTree:
        return self

    def __exit__(self, *error: object) -> None:
        self._aside.close()

    def needs(self, known: Needs | None) -> Needs:
        """What it says it is built with; `known` from before, as far as that still holds."""
        if self._local is not None:
            # The root of its workspace is no part of what identifies it, so it is read each time.
            found = known or read_needs(self.folder(), self._what)
            return msgspec.structs.replace(found, sources=uv_sources.read_sources(self._local))
        if known is not None:
            return known
        found = read_needs(self.folder(), self._what)
        sources = uv_sources.read_sources(self.folder(), self._top)
        return msgspec.structs.replace(found, sources=sources)

    def place(self, needs: Needs, asked: Iterable[str] = ()) -> uv_sources.Placed:
        """What it is built with, with where that comes from.

        Args:
            asked: What its backend asks for besides.
        Raises:
            DefinitionError: It has a source that cannot be followed.
        """
        wish = self._wish
        is_off = uv_settings.without_sources(wish.root)
        shared: dict[str, Any] = {"markers": wish.interpreter.markers, "wanted_by": self._what}

        def held(
            sources: dict[str, tuple[uv_sources.Source, ...]],
        ) -> dict[str, tuple[uv_sources.Source, ...]]:
            return {name: each for name, each in sources.items() if not is_off(name)}

        file = f"`{self._local}`" if self._local is not None else "what it comes in"
        lines, indexes = uv_sources.place(
            (*needs.requires, *asked), held(needs.sources), inside=self._inside, file=file, **shared
        )
        if self.extra:  # it is the user's project that asks for these
            own = held(uv_sources.read_sources(wish.root))
            more = uv_sources.place(self.extra, own, inside=self._inside, file=f"`{wish.root}`", **shared)
            lines, indexes = (*lines, *more.lines), {**indexes, **more.indexes}
        return uv_sources.Placed(lines, indexes)

    def _inside(self, path: str) -> str:
        """The URL of a path below the top of the archive or commit; empty where uv has no words for that."""
        table = self._table
        if self._kind == "vcs":
            root = self._wish.root
            repository = table.get("url") or Path(os.path.normpath(root / table["path"])).as_uri()
            return f"git+{repository}@{table['commit-id']}#subdirectory={path}"
        if not urlsplit(table.get("url", "")).scheme.startswith("http"):
            return ""
        sha256 = table["hashes"].get("sha256")
        return f"{table['url']}#subdirectory={path}" + (f"&sha256={sha256}" if sha256 else "")

    def folder(self) -> Path:
        """Where its project is. Written at the first call."""
        if self._folder is None:
            home = self._wish.home
            sweep(home.wheels)
            with explaining_full_disk(self._what, home.wheels):
                below = self._write(self._aside.enter_context(scratch(home.wheels)) / "source")
            inside = os.path.realpath(below / self._table.get("subdirectory", ""))
            if not f"{inside}/".startswith(f"{os.path.realpath(below)}/") or not Path(inside).is_dir():
                raise EnvironmentBroken(
                    f"the source of {self._what} has no folder `{self._table['subdirectory']}`",
                    mend="correct the `subdirectory` of the requirement",
                )
            self._folder, self._top = Path(inside), below
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
        return archives.unpack(self.archive(), target, file=self.file, what=self._what)

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


def read_needs(folder: Path, what: str) -> Needs:
    """What the project in a folder says it is built with; nothing of where that comes from.

    Source: PEP 518 for the table, PEP 517 for what holds where it lacks something.
    """
    content = read_bytes(folder / "pyproject.toml")
    try:
        table = {} if content is None else tomllib.loads(content.decode()).get("build-system", {})
        if not table:
            if content is None and not (folder / "setup.py").exists() and not (folder / "setup.cfg").exists():
                raise EnvironmentBroken(
                    f"the source of {what} is no package",
                    why="it has neither `pyproject.toml` nor `setup.py`",
                    mend="name the folder of it that is one as `subdirectory`",
                )
            return Needs(backend=Backend(name=_LEGACY), requires=("setuptools>=40.8",), sources={})
        requires = tuple(msgspec.convert(table["requires"], list[str]))
        backend = {"name": table.get("build-backend", _LEGACY), "path": table.get("backend-path", ())}
        return Needs(backend=msgspec.convert(backend, Backend), requires=requires, sources={})
    except KeyError as error:
        raise EnvironmentBroken(
            f"the source of {what} does not say what it is built with",
            why="its `pyproject.toml` has a table `[build-system]` without `requires`",
        ) from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise EnvironmentBroken(
            f"the `pyproject.toml` in the source of {what} cannot be read", why=str(error)
        ) from error
