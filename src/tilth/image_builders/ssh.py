"""Another machine as an image builder, over SSH: what has to be built goes there.

There, tilth runs from an environment that is made once and kept: the files of this tilth, and the versions of what it
needs that are installed here. Nothing has to be there but Python, and an engine where commands have to run.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from tilth.environments.files import explaining_full_disk, locked
from tilth.errors import EngineUnavailable
from tilth.image_builders import Derived
from tilth.image_builders.commands import hiding
from tilth.image_builders.deriving import Bench, derive, find_derived, remember_derived, stands_on
from tilth.image_builders.docker import staged
from tilth.image_builders.elsewhere import Order, base_files, pack
from tilth.image_builders.sessions import Machine, Session
from tilth.images.bases import Base
from tilth.stack.flavors import Finding, Flavor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.image_builders import Work
    from tilth.image_builders.recipes import Recipe
    from tilth.oci.registry import Registry
    from tilth.stack.flavors import Context

_PROGRAM = "tilth.image_builders.elsewhere"
_IN_LAYOUT = r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}"


class SshBuilderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the image builder `ssh`.

    Attributes:
        host: As `ssh` takes it: `user@machine`, or a name of `~/.ssh/config`.
        port: Of its SSH server; by default what `ssh` takes.
        identity: File of the key; by default those that `ssh` finds.
        options: Further options of `ssh`, as `StrictHostKeyChecking=accept-new`.
        engine: What runs commands there.
        program: The engine's command line there; by default the one that is on `PATH`.
        network: That commands of a build see: `host`, `none`; by default the engine's.
        isolation: Of Podman and Buildah there: `chroot` where no container can be started.
        python: The interpreter there, 3.11 or newer; by default the first that is on `PATH`.
        uv: Path of `uv` there; by default the one it has, else it is fetched.
        index: URL of the package index that tilth's own requirements come from there.
        cache: Folder there with tilth's environment, wheels and layers. May be removed when nothing is built.
    """

    host: str
    port: int | None = None
    identity: str = ""
    options: tuple[str, ...] = ()
    engine: Literal["docker", "podman"] = "docker"
    program: str = ""
    network: str = ""
    isolation: Literal["", "oci", "rootless", "chroot"] = ""
    python: str = ""
    uv: str = ""
    index: str = ""
    cache: str = "~/.cache/tilth-builder"


class SshBuilder:
    """Builds on another machine.

    Args:
        to: Where bases are brought from there, and the repository; without, they come back here.
    """

    name = "ssh"

    def __init__(self, settings: SshBuilderSettings, *, to: tuple[Registry, str] | None = None) -> None:
        self.settings = settings
        self._to = to

    @property
    def place(self) -> str:
        """Where it builds, for people."""
        return self.settings.host

    def for_registry(self, registry: Registry, repository: str) -> SshBuilder:
        """The same, for images that go to a registry: what is built for them never comes here."""
        return SshBuilder(self.settings, to=(registry, repository))

    def check(self) -> None:
        """See whether the machine lets us in and has an engine that answers."""
        self._run(Order(), [], None, lambda _: None)

    def reach(self) -> None:
        """See whether the machine lets us in and runs tilth; whether it has an engine does not count."""
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
        with Session(self._machine, program, [f"{self.settings.cache}/home"], tell) as session:
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
        arguments = [given.engine, chosen, f"{given.cache}/home"]
        with Session(self._machine, _PROGRAM, arguments, tell) as session:
            content = msgspec.json.encode(order)
            session.order(lambda target: pack(content, files, target))
            if layout is not None:
                with tarfile.open(fileobj=session.data(), mode="r|") as tar:
                    _unpack_layout(tar, layout)
            return session.answer()

    @property
    def _machine(self) -> Machine:
        names = Machine.__struct_fields__
        return Machine(**{name: getattr(self.settings, name) for name in names})


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


class SshFlavor(Flavor[SshBuilderSettings]):
    """The flavor `ssh`."""

    type = "image_builder"
    name = "ssh"
    title = "another machine, over SSH: whole images, or what an engine there builds"
    settings = SshBuilderSettings

    def make(self, settings: SshBuilderSettings, context: Context) -> SshBuilder:  # noqa: ARG002
        """The builder; nothing is connected yet."""
        return SshBuilder(settings)

    def check(self, settings: SshBuilderSettings, context: Context) -> Sequence[Finding]:  # noqa: ARG002
        """Whether it lets us in, and what it can build; makes tilth's environment there."""
        builder = SshBuilder(settings)
        builder.reach()
        found = [Finding(level="ok", what=f"`{settings.host}` lets us in, and runs tilth")]
        try:
            builder.check()
        except EngineUnavailable as error:
            found.append(
                Finding(
                    level="warning",
                    what=f"`{settings.host}` builds images, though none with `system_packages` or a Dockerfile",
                    why=error.summary,
                    mend="install Docker or Podman there, and say which with the setting `engine`",
                )
            )
        return found
