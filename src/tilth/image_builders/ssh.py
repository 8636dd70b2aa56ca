"""Another machine as an image builder, over SSH: what has to be built goes there, what came out comes back.

There, tilth runs from an environment that uv makes and keeps; nothing has to be installed but uv and an engine. The
program `ssh` is used, so that keys, agents, jump hosts and `~/.ssh/config` count as everywhere else.
"""

from __future__ import annotations

import shlex
import subprocess
import tarfile
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from tilth import __version__
from tilth.errors import EngineUnavailable, TilthError
from tilth.image_builders.commands import absent, ask
from tilth.image_builders.deriving import derive
from tilth.image_builders.docker import staged
from tilth.image_builders.elsewhere import ERROR, Order, pack
from tilth.stack.flavors import Flavor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.image_builders import Derived, Work
    from tilth.image_builders.deriving import Bench
    from tilth.image_builders.recipes import Recipe
    from tilth.stack.flavors import Context, Finding

_NO_CONNECTION = 255  # how `ssh` itself ends when it fails


class SshBuilderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the image builder `ssh`.

    Attributes:
        host: As `ssh` takes it: `user@machine`, or a name of `~/.ssh/config`.
        port: Of its SSH server; by default what `ssh` takes.
        identity: File of the key; by default those that `ssh` finds.
        options: Further options of `ssh`, as `StrictHostKeyChecking=accept-new`.
        engine: What builds there.
        program: The engine's command line there; by default the one that is on `PATH`.
        network: That commands of a build see: `host`, `none`; by default the engine's.
        isolation: Of Podman and Buildah there: `chroot` where no container can be started.
        uv: Path of `uv` there.
        tilth: What uv installs there, as a requirement or the path of a wheel there; by default this version.
    """

    host: str
    port: int | None = None
    identity: str = ""
    options: tuple[str, ...] = ()
    engine: Literal["docker", "podman"] = "docker"
    program: str = ""
    network: str = ""
    isolation: Literal["", "oci", "rootless", "chroot"] = ""
    uv: str = "uv"
    tilth: str = f"tilth=={__version__}"


class SshBuilder:
    """Builds on another machine."""

    name = "ssh"

    def __init__(self, settings: SshBuilderSettings) -> None:
        self.settings = settings

    def check(self) -> None:
        """See whether the machine lets us in and has an engine that answers."""
        answer = ask(self._command("--check", *self._engine()), timeout_s=300)
        if answer.returncode != 0:
            raise self._explained(answer.returncode, answer.stderr.splitlines())

    def derive(self, recipe: Recipe, work: Work) -> Derived:
        """The base that a recipe gives; the other machine is asked only when it is not remembered here."""
        return derive(recipe, work, self.name, lambda bench: self._build(recipe, bench))

    def image_id(self, name: str) -> str | None:  # noqa: ARG002 - as builders have it
        """Not known: the engine is on the other machine."""
        return None

    def _build(self, recipe: Recipe, bench: Bench) -> str:
        secrets = {key: path.read_text(encoding="utf-8") for key, path in bench.secrets.items()}
        order = Order(recipe=recipe, secrets=secrets, refresh=bench.refresh)
        context = staged(recipe, bench) if recipe.dockerfile else None
        try:
            process = subprocess.Popen(
                self._command(*self._engine()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise absent("ssh", error) from error
        last: deque[str] = deque(maxlen=400)
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            telling = threading.Thread(target=_listen, args=(process.stderr, bench, last), daemon=True)
            telling.start()
            broken: Exception | None = None
            try:
                try:
                    pack(order, context, process.stdin)
                    process.stdin.close()
                except BrokenPipeError:
                    pass  # it ended before it had read all: its own words are the reason
                with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                    tar.extractall(bench.layout, filter="data")
            except (tarfile.TarError, OSError) as error:
                broken = error
            except BaseException:
                process.terminate()
                raise
            telling.join()
        if process.returncode != 0 or broken is not None:
            raise self._explained(process.returncode, list(last)) from broken
        return ""

    def _command(self, *arguments: str) -> list[str]:
        given = self.settings
        command = ["ssh", "-o", "BatchMode=yes", *(part for each in given.options for part in ("-o", each))]
        if given.port:
            command += ["-p", str(given.port)]
        if given.identity:
            command += ["-i", given.identity]
        there = [given.uv, "run", "--quiet", "--no-project", "--with", given.tilth, "python", "-m"]
        return [
            *command,
            "--",
            given.host,
            shlex.join([*there, "tilth.image_builders.elsewhere", *arguments]),
        ]

    def _engine(self) -> list[str]:
        given = self.settings
        settings = {"program": given.program, "network": given.network, "isolation": given.isolation}
        chosen = {key: value for key, value in settings.items() if value}
        return [given.engine, msgspec.json.encode(chosen).decode()]

    def _explained(self, code: int, lines: Sequence[str]) -> TilthError:
        told = next((line for line in reversed(lines) if line.startswith(ERROR)), None)
        host = self.settings.host
        if told is not None:
            error = TilthError.from_json(msgspec.json.decode(told.removeprefix(ERROR), type=dict[str, str]))
            error.mend = error.mend.replace("the whole log is in", f"on `{host}`, the whole log is in")
            return error
        said = "\n".join(lines[-8:])
        if code == _NO_CONNECTION:
            return EngineUnavailable(
                f"the image builder `ssh` does not get into `{host}`",
                why=said,
                mend=f"see whether `ssh {host} true` works without a password",
            )
        return EngineUnavailable(
            f"tilth could not be started on `{host}`, where the image builder `ssh` builds",
            why=said,
            mend=f"it needs `{self.settings.uv}` there, and uv has to find `{self.settings.tilth}`: "
            "see the settings `uv` and `tilth`",
        )


def _listen(stream: IO[bytes], bench: Bench, last: deque[str]) -> None:
    for line in stream:
        text = bench.hide(line.decode("utf-8", "replace").rstrip())
        last.append(text)
        if text and not text.startswith(ERROR):
            bench.log.write(f"{text}\n")
            bench.tell(text)


class SshFlavor(Flavor[SshBuilderSettings]):
    """The flavor `ssh`."""

    type = "image_builder"
    name = "ssh"
    title = "an engine on another machine, over SSH"
    settings = SshBuilderSettings

    def make(self, settings: SshBuilderSettings, context: Context) -> SshBuilder:  # noqa: ARG002
        """The builder; nothing is connected yet."""
        return SshBuilder(settings)

    def check(self, settings: SshBuilderSettings, context: Context) -> Sequence[Finding]:
        """Whether it could build; makes tilth's environment there."""
        self.make(settings, context).check()
        return ()
