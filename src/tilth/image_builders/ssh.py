"""Builds on another machine over SSH.

The program `ssh` is used, so that keys, agents, jump hosts and `~/.ssh/config` count as everywhere else. Nothing but
its host stands on a command line.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from tilth.errors import EngineUnavailable, TilthError
from tilth.image_builders.remote import RemoteBuilder, findings
from tilth.image_builders.sessions import BOOT, Place, ended_early
from tilth.stack.flavors import Finding, Flavor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.stack.flavors import Context

_NO_CONNECTION = 255  # how `ssh` itself ends when it fails
_NO_PYTHON = 78
_PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
_OPTIONS = ("BatchMode=yes", "ServerAliveInterval=15", "ServerAliveCountMax=4", "ConnectTimeout=30")


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


class SshBuilder(RemoteBuilder[SshBuilderSettings]):
    """Builds on another machine, over SSH."""

    name = "ssh"

    def __init__(self, settings: SshBuilderSettings) -> None:
        super().__init__(settings, Place(settings.uv, settings.index, settings.cache))

    @property
    def place(self) -> str:
        """Where it builds, for people."""
        return f"`{self.settings.host}`"

    def connect(self, tell: Callable[[str], None]) -> SshConnection:  # noqa: ARG002 - nothing is waited for
        """Start `ssh`."""
        return SshConnection(self.settings)


class SshConnection:
    """A `Connection`: the program `ssh`."""

    flavor = "ssh"

    def __init__(self, machine: SshBuilderSettings) -> None:
        self.place = machine.host
        self._machine = machine
        self._said: deque[str] = deque(
            maxlen=200
        )  # beside the frames: by ssh, or by a Python that cannot go on
        try:
            self._process = subprocess.Popen(
                _command(machine), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise EngineUnavailable(
                "`ssh`, which the image builder needs, cannot be started",
                why=(error.strerror or str(error)).lower(),
                mend="install the client of OpenSSH, or name another image builder",
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._listening = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listening.start()

    def write(self, content: bytes) -> None:
        """Send something."""
        self._input.write(content)
        self._input.flush()

    def read(self, size: int, /) -> bytes:
        """What comes."""
        return self._output.read(size)

    def lost(self, *, landed: bool) -> TilthError:
        """Why nothing more comes."""
        with contextlib.suppress(OSError):
            self._input.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self._listening.join(5)
        return lost(self._machine, self._process.returncode, list(self._said), landed=landed)

    def close(self, *, done: bool) -> None:  # noqa: ARG002 - what is done has ended there
        """Close the connection: what is not done there ends with it."""
        with contextlib.suppress(OSError):
            self._input.close()
        try:
            self._process.wait(5)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.terminate()
            self._process.wait()
        self._listening.join(5)
        self._output.close()

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._said.append(line.decode(errors="replace").rstrip())


def _command(machine: SshBuilderSettings) -> list[str]:
    command = ["ssh", "-T"]
    command += [part for each in (*machine.options, *_OPTIONS) for part in ("-o", each)]
    if machine.port:
        command += ["-p", str(machine.port)]
    if machine.identity:
        command += ["-i", machine.identity]
    found = [machine.python] if machine.python else _PYTHONS
    # A shell of its own: the user's there may be any.
    script = (
        f"for p in {shlex.join(found)}; do "
        'if "$p" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then '
        f'exec "$p" -c {shlex.quote(BOOT)}; fi; done; exit {_NO_PYTHON}'
    )
    return [*command, "--", machine.host, f"exec sh -c {shlex.quote(script)}"]


def lost(
    machine: SshBuilderSettings, code: int | None, said: Sequence[str], *, landed: bool
) -> EngineUnavailable:
    """Why there is no answer."""
    host, text = machine.host, "\n".join(said)
    if code == _NO_PYTHON:
        looked = f"`{machine.python}`" if machine.python else ", ".join(f"`{each}`" for each in _PYTHONS)
        return EngineUnavailable(
            f"there is no Python 3.11 or newer on `{host}`, where the image builder `ssh` builds",
            why=f"looked for: {looked}",
            mend="install one there, or name its path with the setting `python`",
        )
    last = "\n".join(said[-8:]).strip()
    if code == _NO_CONNECTION or code is None or code < 0:
        if not landed:
            return _unconnected(host, text, last)
        return EngineUnavailable(
            f"the connection to `{host}` broke off, where the image builder `ssh` builds",
            why=last or "or tilth was killed there, as for its memory",
            mend="start again: what was made there is kept",
        )
    return ended_early(host, code, said)


def _unconnected(host: str, text: str, last: str) -> EngineUnavailable:
    mends = {
        "Host key verification failed": f"connect once by hand, `ssh {host}`, and see whether its key is right; "
        "or set the option `StrictHostKeyChecking=accept-new`",
        "REMOTE HOST IDENTIFICATION HAS CHANGED": "it may be another machine: ask whoever keeps it",
        "Permission denied": f"have it take your key, as `ssh-copy-id {host}` does, or name another with `identity`",
        "Could not resolve hostname": "mend the setting `host`: it is `USER@MACHINE`, or a name of `~/.ssh/config`",
    }
    mend = next((each for sign, each in mends.items() if sign in text), "")
    return EngineUnavailable(
        f"the image builder `ssh` does not get into `{host}`",
        why=last,
        mend=mend or f"see whether `ssh {host} true` works without a password",
    )


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
        return findings(SshBuilder(settings), f"`{settings.host}` lets us in, and runs tilth")
