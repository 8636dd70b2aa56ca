"""Container engines of this machine, by their command lines: Docker and Podman."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tilth.errors import EngineUnavailable, ImageNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 80  # characters of a command that errors show
_NATIVE = "making images and pushing them needs no engine: only {} does"
_INSTALL = {
    "docker": "start Docker, or check `DOCKER_HOST` and that you may use its socket: `docker info` has to work",
    "podman": "check that `podman info` works",
    "ctr": "start containerd, and run as somebody who may use its socket; `CONTAINERD_ADDRESS` names another one",
}


MOVING_S = 6 * 3600  # that saving or loading an image may take: of tens of gigabytes, on a slow disk


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """An engine as a command.

    `needed_for` says in errors what needs it: `the orchestrator `docker-local``, `loading an image`.
    """

    kind: Literal["docker", "podman"] = "docker"
    command: str = ""  # by default the kind's, found on PATH
    needed_for: str = "loading an image into an engine"
    variables: dict[str, str] = {}  # beside those of the process: `DOCKER_HOST`

    def run(
        self, *arguments: str, check: bool = True, timeout_s: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of it to its end.

        Raises:
            EngineUnavailable: There is no engine, it does not answer, or (with `check`) it refuses.
        """
        return run_engine(
            self.kind,
            [self.command or self.kind, *arguments],
            needed_for=self.needed_for,
            variables=self.variables,
            check=check,
            timeout_s=timeout_s,
        )

    def image(self, name: str) -> dict[str, Any]:
        """What the engine says of an image.

        Raises:
            ImageNotFound: It has none of that name.
        """
        ended = self.run("image", "inspect", "--", name, check=False)
        if ended.returncode == 0:
            found: list[dict[str, Any]] = msgspec.json.decode(ended.stdout)
            return found[0]
        if "no such image" in ended.stderr.lower() or "not known" in ended.stderr.lower():
            raise ImageNotFound(
                f"there is no image `{name}` in the {self.kind} engine",
                why=ended.stderr.strip(),
                mend=f"`{self.kind} images` lists those there are; to take it from a registry leave `{self.kind}:` out",
            )
        raise refused(self.kind, ended.stderr, self.needed_for)

    def has(self, name: str) -> bool:
        """Whether it has an image."""
        try:
            self.image(name)
        except ImageNotFound:
            return False
        return True

    def chains(self) -> list[tuple[str, ...]]:
        """The diff_ids of the layers of each image that it has, lowest first."""
        ids = self.run("image", "ls", "--all", "--quiet", "--no-trunc").stdout.split()
        if not ids:
            return []
        ended = self.run(
            "image", "inspect", "--format", "{{json .RootFS.Layers}}", *sorted(set(ids)), check=False
        )
        # One that was removed meanwhile is told on stderr, and the others are listed all the same.
        lines = [line for line in ended.stdout.splitlines() if line.startswith("[")]
        return [tuple(msgspec.json.decode(line)) for line in lines]


def containerd(
    *arguments: str,
    needed_for: str,
    command: str = "ctr",
    address: str = "",
    namespace: str = "",
    timeout_s: float = 600,
) -> str:
    """Standard output of a command of containerd's own command line.

    Args:
        address: Of its socket; by default `CONTAINERD_ADDRESS`, which `ctr` reads itself, or the usual one.
        namespace: By default `CONTAINERD_NAMESPACE`, or `default`; Kubernetes has `k8s.io`.
    Raises:
        EngineUnavailable: There is no containerd, or it refuses.
    """
    import os

    # Whether a socket answers is told at once.
    start = [command, "--connect-timeout", "5s", *(["--address", address] if address else [])]
    start += ["--namespace", namespace or os.environ.get("CONTAINERD_NAMESPACE") or "default"]
    return run_engine("ctr", [*start, *arguments], needed_for=needed_for, timeout_s=timeout_s).stdout


def run_engine(
    kind: str,
    command: Sequence[str],
    *,
    needed_for: str,
    variables: Mapping[str, str] | None = None,
    check: bool = True,
    timeout_s: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run an engine's command line to its end; see `Engine.run`."""
    import os

    if shutil.which(command[0]) is None:
        raise EngineUnavailable(
            f"there is no command `{command[0]}` on this machine",
            why=f"{needed_for} needs it",
            mend=f"install {'containerd' if kind == 'ctr' else kind}; " + _NATIVE.format(needed_for),
        )
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(variables or {})},
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineUnavailable(
            f"{_called(kind)} did not do `{' '.join(command)[:_SHOWN]}` within {timeout_s:.0f} s",
            why=f"{needed_for} needs it",
            mend=_INSTALL.get(kind, ""),
        ) from error
    except OSError as error:
        raise EngineUnavailable(f"`{command[0]}` cannot be started", why=str(error)) from error
    if ended.returncode and (check or _is_down(ended.stderr)):
        raise refused(kind, ended.stderr, needed_for)
    return ended


def refused(kind: str, told: str, needed_for: str) -> EngineUnavailable:
    """The error for an engine that does not do what it was asked."""
    down = _is_down(told)
    return EngineUnavailable(
        f"{_called(kind)} does not answer" if down else f"{_called(kind)} refuses",
        why=f"{told.strip() or 'it says nothing'}\n{needed_for} needs it",
        mend=(f"{_INSTALL.get(kind, '')}; " if down else "") + _NATIVE.format(needed_for),
    )


def _called(kind: str) -> str:
    return "containerd" if kind == "ctr" else f"the {kind} engine"


def _is_down(told: str) -> bool:
    text = told.lower()
    return any(
        part in text
        for part in (
            "cannot connect to the docker daemon",
            "is the docker daemon running",
            "permission denied while trying to connect",
            "failed to dial",
            "error during connect",
            "cannot connect to podman",
            "connection refused",
        )
    )
