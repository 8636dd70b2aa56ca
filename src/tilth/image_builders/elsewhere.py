"""A build for somebody on another machine: `python -m tilth.image_builders.elsewhere ENGINE SETTINGS`.

The order comes in on stdin as a tar, the layout goes out on stdout as one, and what the build says on stderr, an error
as its last line. Nothing of the order stays on this machine but what the engine keeps, and the log of a failure.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from tilth.errors import DefinitionError, TilthError
from tilth.home import Home
from tilth.image_builders import Work
from tilth.image_builders.contexts import BuildContext
from tilth.image_builders.docker import DockerBuilder, DockerBuilderSettings
from tilth.image_builders.podman import PodmanBuilder, PodmanBuilderSettings
from tilth.image_builders.recipes import Recipe  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

ERROR = "tilth-error: "  # begins the line that an error is told in


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to build. Secrets travel in it, and in nothing else: not as arguments, which everybody there could see."""

    recipe: Recipe
    secrets: dict[str, str] = {}  # value by id
    refresh: bool = False


def pack(order: Order, context: Path | None, target: IO[bytes]) -> None:
    """Write an order as a tar: `order.json`, the build context, and the layout that the base lies in.

    Raises:
        DefinitionError: The base lies in an archive or an engine of this machine.
    """
    recipe = order.recipe
    layout = None
    if not recipe.dockerfile and not recipe.source.startswith("registry:"):
        layout = Path(recipe.source.removeprefix("layout:"))
        if not recipe.source.startswith("layout:") or not layout.is_dir():
            raise DefinitionError(
                f"the base `{recipe.base}` of environment `{recipe.owner}` lies in an engine or archive",
                why="the image builder `ssh` builds on another one",
                mend="push it to a registry, or name a folder with an OCI layout: `oci:PATH`",
            )
    content = msgspec.json.encode(order)
    with tarfile.open(fileobj=target, mode="w|") as tar:
        entry = tarfile.TarInfo("order.json")
        entry.size = len(content)
        entry.mode = 0o600
        tar.addfile(entry, io.BytesIO(content))
        if context is not None:
            tar.add(context, "context")
        if layout is not None:
            tar.add(layout, "base")


def main(arguments: Sequence[str]) -> int:
    """Build what stdin orders, or see with `--check` whether that could be done."""
    checking = arguments[0] == "--check"
    engine, settings = arguments[1:] if checking else arguments
    try:
        builder: DockerBuilder | PodmanBuilder = (
            DockerBuilder(msgspec.json.decode(settings, type=DockerBuilderSettings))
            if engine == "docker"
            else PodmanBuilder(msgspec.json.decode(settings, type=PodmanBuilderSettings))
        )
        if checking:
            builder.check()
        else:
            _build(builder)
    except TilthError as error:
        _say(ERROR + msgspec.json.encode(error.to_json()).decode())
        return 1
    return 0


def _build(builder: DockerBuilder | PodmanBuilder) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="tilth-build-") as name,
        tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar,
    ):
        folder = Path(name)
        first = tar.next()  # it holds secrets: read, and written nowhere
        content = tar.extractfile(first) if first is not None and first.name == "order.json" else None
        if content is None:
            raise DefinitionError("an order of a build begins with `order.json`, and this one does not")
        order = msgspec.json.decode(content.read(), type=Order)
        # A context may hold links that lead outside, as it does where it comes from.
        rules: Literal["tar", "data"] = "tar" if order.recipe.dockerfile else "data"
        while (member := tar.next()) is not None:
            tar.extract(member, folder, filter=rules)
        recipe = _here(order.recipe, folder)
        values = {order.recipe.secrets[key]: value for key, value in order.secrets.items()}
        log = Path(tempfile.mkstemp(prefix="tilth-build-", suffix=".log")[1])
        work = Work(
            home=Home(folder / "home"), secret=values.__getitem__, tell=_say, log=log, refresh=order.refresh
        )
        builder.derive(recipe, work)
        log.unlink()  # whoever ordered has read it; that of a failure stays
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as out:
            made = folder / "home" / "images" / "derived" / recipe.key
            for each in sorted(made.rglob("*")):
                out.add(each, str(each.relative_to(made)), recursive=False)
        sys.stdout.flush()


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


def _say(line: str) -> None:
    os.write(2, f"{line}\n".encode(errors="replace"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
