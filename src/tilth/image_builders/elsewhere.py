"""A build for somebody on another machine. The order comes in on standard input, behind what `landing` reads.

`serve` is for every program of that kind; run as one, this module builds a base from a recipe:
`python -m tilth.image_builders.elsewhere ENGINE SETTINGS HOME`.

Secrets and logins are in the order alone, and are written nowhere. When whoever ordered is gone, all ends.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import signal
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from tilth.errors import DefinitionError, DiskFull, SetupError, TilthError
from tilth.home import Home
from tilth.image_builders import Work
from tilth.image_builders.contexts import BuildContext
from tilth.image_builders.docker import DockerBuilder, DockerBuilderSettings
from tilth.image_builders.frames import ANSWER, FAILURE, ORDER, SILENCE_S, Teller
from tilth.image_builders.podman import PodmanBuilder, PodmanBuilderSettings
from tilth.image_builders.recipes import Recipe  # noqa: TC001 - msgspec reads the annotations
from tilth.images.bases import Base, BaseLayer  # noqa: TC001 - msgspec reads the annotations
from tilth.oci.access import Access  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.image_builders import Derived
    from tilth.oci.registry import Registry

_GRACE_S = 10.0  # to clean up, when whoever ordered is gone


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A base to build."""

    recipe: Recipe | None = None  # none: only see whether it could be built
    only_reach: bool = False  # not even that
    secrets: dict[str, str] = {}  # value by id
    refresh: bool = False
    known: dict[str, BaseLayer] = {}  # as `Work.known`
    registry: Access | None = None  # where the base is brought; else it is sent back
    repository: str = ""


def pack(content: bytes, files: Sequence[tuple[Path, str]], target: IO[bytes]) -> None:
    """Write an order as a tar: `order.json`, and files and folders under the names they have there."""
    with tarfile.open(fileobj=target, mode="w|") as tar:
        entry = tarfile.TarInfo("order.json")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
        for path, name in files:
            tar.add(path, name)


def base_files(recipe: Recipe) -> list[tuple[Path, str]]:
    """What the base of a recipe goes along as.

    Raises:
        DefinitionError: It lies in an archive or an engine of this machine.
    """
    if recipe.dockerfile or recipe.source.startswith("registry:"):
        return []
    layout = Path(recipe.source.removeprefix("layout:"))
    if not recipe.source.startswith("layout:") or not layout.is_dir():
        raise DefinitionError(
            f"the base `{recipe.base}` of environment `{recipe.owner}` lies in an engine or archive",
            why="the image builder builds on another machine",
            mend="push it to a registry, or name a folder with an OCI layout: `oci:PATH`",
        )
    return [(layout, "base")]


class _Gone(BaseException):
    """Whoever ordered is."""


class _Order:
    """Standard input, as a file that does not wait for ever."""

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            if not select.select([0], [], [], SILENCE_S)[0]:
                raise _Gone
            part = os.read(0, min(1 << 20, size - len(found)))
            if not part:
                raise _Gone
            found += part
        return bytes(found)


def serve(build: Callable[[bytes, Path, Teller], bytes], *, rules: Literal["tar", "data"] = "data") -> int:
    """Take one order, and answer it.

    Args:
        build: Gets the order, the folder with what came along, and what it may tell; gives the answer as JSON.
        rules: What of the files that come along is refused.
    """
    teller = Teller(os.dup(1))
    os.dup2(2, 1)  # what anything prints is no answer
    signal.signal(signal.SIGTERM, _leave)
    teller.tell(ANSWER, b"{}")  # it is there
    try:
        with tempfile.TemporaryDirectory(prefix="tilth-build-", ignore_cleanup_errors=True) as name:
            content = _receive(Path(name), rules)
            threading.Thread(target=_watch, daemon=True).start()
            teller.tell(ANSWER, build(content, Path(name), teller))
    except TilthError as error:
        teller.tell(FAILURE, msgspec.json.encode(error.to_json()))
        return 1
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.ECONNRESET):
            return 1
        told = _explained(error)
        teller.tell(FAILURE, msgspec.json.encode(told.to_json()))
        return 1
    except _Gone:
        _end()
    return 0


def _explained(error: OSError) -> TilthError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("the disk is full where the image is built", why=str(error), mend="make room there")
    return SetupError("what has to be written for the build cannot be", why=str(error))


def _receive(folder: Path, rules: Literal["tar", "data"]) -> bytes:
    source = _Order()
    while source.read(1) != ORDER:
        pass
    with tarfile.open(fileobj=source, mode="r|") as tar:  # type: ignore[call-overload] # it reads it, no more
        first = tar.next()  # it holds secrets: read, and written nowhere
        content = tar.extractfile(first) if first is not None and first.name == "order.json" else None
        if content is None:
            raise DefinitionError("an order of a build begins with `order.json`, and this one does not")
        order: bytes = content.read()
        # Pythons before 3.11.4 know no rules. They keep a mistake out; whoever orders may do anything here anyway.
        options: dict[str, Any] = {"filter": rules} if hasattr(tarfile, "data_filter") else {}
        while (member := tar.next()) is not None:
            tar.extract(member, folder, **options)
    return order


def _watch() -> None:
    """End with whoever ordered: at the end of input, or when nothing is heard any more."""
    while select.select([0], [], [], SILENCE_S)[0] and os.read(0, 1 << 16):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    _end()


def _leave(_signal: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGTERM)  # what was started here: an engine's command line, uv
    raise _Gone


def _end() -> NoReturn:
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Build the base that is ordered, or see whether one could be."""
    engine, settings, home = arguments

    def build(content: bytes, folder: Path, teller: Teller) -> bytes:
        order = msgspec.json.decode(content, type=Order)
        builder: DockerBuilder | PodmanBuilder = (
            DockerBuilder(msgspec.json.decode(settings, type=DockerBuilderSettings))
            if engine == "docker"
            else PodmanBuilder(msgspec.json.decode(settings, type=PodmanBuilderSettings))
        )
        if order.only_reach:
            return b"{}"
        if order.recipe is None:
            builder.check()
            return b"{}"
        return _build(builder, order, order.recipe, folder, Path(home).expanduser(), teller)

    return serve(
        build, rules="tar"
    )  # a context may hold links that lead outside, as it does where it comes from


def _build(
    builder: DockerBuilder | PodmanBuilder,
    order: Order,
    given: Recipe,
    folder: Path,
    home: Path,
    teller: Teller,
) -> bytes:
    recipe = _here(given, folder)
    # What is sent back stays nowhere else.
    kept = Home(home if order.registry is not None else folder / "home")
    values = {given.secrets[key]: value for key, value in order.secrets.items()}
    log = Path(tempfile.mkstemp(prefix="tilth-build-", suffix=".log")[1])
    work = Work(
        home=kept,
        secret=values.__getitem__,
        tell=teller.line,
        log=log,
        refresh=order.refresh,
        known=lambda: order.known,
    )
    try:
        derived = builder.derive(recipe, work)
    except TilthError as error:
        error.summary = error.summary.replace(recipe.dockerfile_path or "\0", given.dockerfile_path)
        raise
    log.unlink()  # whoever ordered has read it; that of a failure stays
    if order.registry is not None:
        return msgspec.json.encode(_push(derived, given, order, order.registry.registry(folder), kept))
    made = kept.images / "derived" / recipe.key
    with tarfile.open(fileobj=teller, mode="w|") as out:  # type: ignore[call-overload] # it writes to it, no more
        for each in sorted(made.rglob("*")):
            out.add(each, str(each.relative_to(made)), recursive=False)
    return b"{}"


def _push(derived: Derived, recipe: Recipe, order: Order, client: Registry, home: Home) -> Base:
    """Bring a base into the registry, where whatever is built on it finds it."""
    from tilth.image_builders.sharing import image_of
    from tilth.images.pushing import push_image
    from tilth.oci.credentials import docker_credentials
    from tilth.oci.references import Reference
    from tilth.oci.registry import Registry

    def registries(host: str) -> Registry:
        return client if host == client.host else Registry(host, credentials=docker_credentials())

    to, base = Reference(client.host, order.repository, recipe.tag), derived.base
    try:
        push_image(image_of(derived, registries), to, registries, home)
    finally:
        client.close()
    return msgspec.structs.replace(
        base,
        reference=str(to.at(base.digest)),
        source=f"registry:{to.name}",
        layers=tuple(msgspec.structs.replace(each, source="") for each in base.layers),
    )


def _here(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the places where its parts are on this machine."""
    if recipe.dockerfile:
        context = folder / "context"
        context.mkdir(exist_ok=True)
        # Its files were chosen there. Beside a Dockerfile of this name, nothing says to leave some out.
        rules = folder / "Dockerfile.dockerignore"
        rules.touch()
        return msgspec.structs.replace(
            recipe, context=str(context), dockerfile_path=str(folder / "Dockerfile"),
            context_digest=BuildContext(context, folder / "Dockerfile").digest() if recipe.context_digest else "",
        )  # fmt: skip
    if recipe.source.startswith("layout:"):
        rest = recipe.base.removeprefix("oci:").removeprefix(recipe.source.removeprefix("layout:"))
        return msgspec.structs.replace(
            recipe, source=f"layout:{folder / 'base'}", base=f"oci:{folder / 'base'}{rest}"
        )
    return recipe


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
