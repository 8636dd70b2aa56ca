"""Image builders that are another machine: what has to be built goes there.

There, tilth runs from an environment that is made once and kept: the files of this tilth, and the versions of what it
needs that are installed here. Nothing has to be there but Python, and an engine where commands have to run.
"""

from __future__ import annotations

import copy
import re
import shutil
import tarfile
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

import msgspec

from tilth.environments.files import explaining_full_disk, locked
from tilth.errors import EngineUnavailable
from tilth.image_builders import Derived
from tilth.image_builders.commands import hiding
from tilth.image_builders.deriving import Bench, derive, find_derived, remember_derived, stands_on
from tilth.image_builders.docker import staged
from tilth.image_builders.elsewhere import Order, base_files, pack
from tilth.image_builders.sessions import Place, Session
from tilth.images.bases import Base
from tilth.stack.flavors import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.image_builders import Work
    from tilth.image_builders.recipes import Recipe
    from tilth.image_builders.sessions import Connection
    from tilth.oci.registry import Registry

_PROGRAM = "tilth.image_builders.elsewhere"
_IN_LAYOUT = r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}"


class EngineThere(Protocol):
    """What the settings of such a builder say of the engine there."""

    @property
    def engine(self) -> Literal["docker", "podman"]: ...
    @property
    def program(self) -> str: ...
    @property
    def network(self) -> str: ...
    @property
    def isolation(self) -> str: ...


S = TypeVar("S", bound=EngineThere)


class RemoteBuilder(ABC, Generic[S]):
    """Builds on another machine. What inherits says how that is reached."""

    name: str

    def __init__(self, settings: S, there: Place) -> None:
        self.settings = settings
        self._there = there
        # Where bases are brought from there, and the repository; without, they come back here.
        self._to: tuple[Registry, str] | None = None

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it builds, for people."""

    @abstractmethod
    def connect(self, tell: Callable[[str], None]) -> Connection:
        """Start `BOOT` there.

        Args:
            tell: Is told what is waited for.
        """

    def for_registry(self, registry: Registry, repository: str) -> RemoteBuilder[S]:
        """The same, for images that go to a registry: what is built for them never comes here."""
        made = copy.copy(self)
        made._to = (registry, repository)
        return made

    def check(self) -> None:
        """See whether the machine can be reached and has an engine that answers."""
        self._run(Order(), [], None, lambda _: None)

    def reach(self) -> None:
        """See whether the machine can be reached and runs tilth; whether it has an engine does not count."""
        self._run(Order(only_reach=True), [], None, lambda _: None)

    def derive(self, recipe: Recipe, work: Work) -> Derived:
        """The base that a recipe gives; the other machine is asked only when it is not remembered here."""
        if self._to is not None:
            return self._derive_there(recipe, work, *self._to)
        return derive(recipe, work, self.name, lambda bench: self._build(recipe, bench))

    def run(
        self,
        program: str,
        order: bytes,
        files: Sequence[tuple[Path, str]],
        tell: Callable[[str], None],
    ) -> bytes:
        """Have a program there do what it is ordered; gives its answer, as JSON.

        Args:
            program: A module of tilth that calls `elsewhere.serve`; its argument is the folder of its home there.
            files: What goes along, each with its name there.
        Raises:
            TilthError: As the program fails there.
            EngineUnavailable: There is no getting there.
        """
        with self._session(program, [f"{self._there.cache}/home"], tell) as session:
            session.order(lambda target: pack(order, files, target))
            return session.answer()

    def _derive_there(self, recipe: Recipe, work: Work, registry: Registry, repository: str) -> Derived:
        """A base that is brought from there into a registry; here it is only described."""
        place = f"{registry.host}/{repository}"
        folder = work.home.images / "derived"
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{recipe.key}.lock"):
            found = None if work.refresh else find_derived(recipe, work.home)
            if found is not None:
                return found
            started = time.monotonic()
            values = {key: work.secret(name) for key, name in sorted(recipe.secrets.items())}
            known = {key: each for key, each in work.known().items() if each.source.startswith("registry:")}
            registry.prepare(repository)
            order = Order(
                recipe=recipe, secrets=values, refresh=work.refresh,
                known=known, registry=registry.access(), repository=repository,
            )  # fmt: skip
            log = work.log or folder / f"{recipe.key}.log"
            with (
                explaining_full_disk("the build context", folder),
                tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as scratch,
                open(log, "w", encoding="utf-8") as file,
            ):
                bench = Bench(
                    home=work.home, layout=Path(scratch), folder=Path(scratch), refresh=work.refresh,
                    known=known, secrets={}, log=file, tell=work.tell, hide=hiding(values.values()),
                )  # fmt: skip
                answer = self._run(order, _files(recipe, bench), None, _telling(bench))
            derived = Derived(
                key=recipe.key, base=msgspec.json.decode(answer, type=Base), asked=recipe.asked,
                stands_on=stands_on(recipe), builder=self.name, places=(place,),
                seconds=round(time.monotonic() - started, 3), made=True,
            )  # fmt: skip
            remember_derived(derived, work.home)
            return derived

    def image_id(self, name: str) -> str | None:  # noqa: ARG002 - as builders have it
        """Not known: the engine is on the other machine."""
        return None

    def _build(self, recipe: Recipe, bench: Bench) -> str:
        secrets = {key: path.read_text(encoding="utf-8") for key, path in bench.secrets.items()}
        order = Order(recipe=recipe, secrets=secrets, refresh=bench.refresh)
        self._run(order, _files(recipe, bench), bench.layout, _telling(bench))
        return ""

    def _run(
        self,
        order: Order,
        files: Sequence[tuple[Path, str]],
        layout: Path | None,
        tell: Callable[[str], None],
    ) -> bytes:
        given = self.settings
        settings = {"program": given.program, "network": given.network, "isolation": given.isolation}
        chosen = msgspec.json.encode({key: value for key, value in settings.items() if value}).decode()
        arguments = [given.engine, chosen, f"{self._there.cache}/home"]
        with self._session(_PROGRAM, arguments, tell) as session:
            content = msgspec.json.encode(order)
            session.order(lambda target: pack(content, files, target))
            if layout is not None:
                with tarfile.open(fileobj=session.data(), mode="r|") as tar:
                    _unpack_layout(tar, layout)
            return session.answer()

    def _session(self, program: str, arguments: Sequence[str], tell: Callable[[str], None]) -> Session:
        return Session(self.connect(tell), self._there, program, arguments, tell)


def findings(builder: RemoteBuilder[S], reached: str) -> list[Finding]:
    """Whether a builder's machine can be reached, and what it can build; makes tilth's environment there.

    Args:
        reached: What is said when it can.
    """
    builder.reach()
    found = [Finding(level="ok", what=reached)]
    try:
        builder.check()
    except EngineUnavailable as error:
        found.append(
            Finding(
                level="warning",
                what=f"{builder.place} builds images, though none with `system_packages` or a Dockerfile",
                why=error.summary,
                mend="install Docker or Podman there, and say which with the setting `engine`",
            )
        )
    return found


def _files(recipe: Recipe, bench: Bench) -> list[tuple[Path, str]]:
    """What of this machine a recipe needs there."""
    return [(staged(recipe, bench), "context")] if recipe.dockerfile else base_files(recipe)


def _unpack_layout(tar: tarfile.TarFile, layout: Path) -> None:
    """Take the files of a layout, and nothing else: it comes from elsewhere."""
    for member in tar:
        if not member.isfile() or not re.fullmatch(_IN_LAYOUT, member.name):
            continue
        target = layout / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        assert content is not None
        with open(target, "wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)


def _telling(bench: Bench) -> Callable[[str], None]:
    def tell(line: str) -> None:
        text = bench.hide(line)
        bench.log.write(f"{text}\n")
        bench.tell(text)

    return tell
