"""An SSH server of the tests' own, which lets in one key: another machine, as far as an image builder knows."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.ports import free_port, wait_for_port

from tilth.image_builders.ssh import SshBuilderSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = shutil.which("sshd", path=f"/usr/sbin:{os.environ['PATH']}")
_OF_INDEXES = re.compile(r"(UV|SSL)_|(?i:https?|no|all)_proxy$")


@dataclass(frozen=True)
class SshServer:
    """The server, and the settings that get into it."""

    process: subprocess.Popen[bytes]
    settings: SshBuilderSettings

    @property
    def cache(self) -> Path:
        return Path(self.settings.cache)

    def cut(self) -> None:
        """Break every connection off."""
        for pid in _children(self.process.pid):
            os.kill(pid, signal.SIGKILL)

    def programs(self) -> list[str]:
        """Command lines of what runs there for a builder."""
        return [line for line in command_lines() if line.startswith(str(self.cache))]


def command_lines() -> Iterator[str]:
    """Of every process."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue


def _children(pid: int) -> list[int]:
    return [
        int(each)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for each in (task / "children").read_text().split()
    ]


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """It has a uv that finds the package index, and keeps what builders make in a folder of its own."""
    if SSHD is None:
        pytest.skip("no `sshd` is installed")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    uv = Path(sys.executable).with_name("uv")
    # What whoever runs the tests says of package indexes; a server of its own would have that in its files.
    said = [
        f"export {shlex.join([f'{key}={value}'])}"
        for key, value in os.environ.items()
        if _OF_INDEXES.match(key)
    ]
    there = folder / "uv"
    there.write_text("\n".join(["#!/bin/sh", *said, f'exec {uv} "$@"', ""]))
    there.chmod(0o700)
    Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "AuthorizedKeysFile": folder / "key.pub", "PidFile": "none",
        "PasswordAuthentication": "no", "UsePAM": "no", "StrictModes": "no", "PermitRootLogin": "prohibit-password",
        "SetEnv": f"TMPDIR={tempfile.gettempdir()}",  # the log of a failure stays
    }  # fmt: skip
    command = [SSHD, "-D", "-e", "-f", "/dev/null", "-h", folder / "host"]
    command += [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    with open(folder / "log", "w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            wait_for_port(port)
            yield SshServer(
                process,
                SshBuilderSettings(
                    host=f"{getpass.getuser()}@127.0.0.1",
                    port=port,
                    identity=str(folder / "key"),
                    options=(
                        "StrictHostKeyChecking=no",
                        f"UserKnownHostsFile={folder / 'known'}",
                        "LogLevel=ERROR",
                    ),
                    program="/usr/bin/docker" if Path("/usr/bin/docker").exists() else "",
                    network="host",
                    python=sys.executable,
                    uv=str(there),
                    cache=str(folder / "cache"),
                ),
            )
        finally:
            process.terminate()
