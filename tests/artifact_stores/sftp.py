"""An SFTP server of the machine's own sshd."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = shutil.which("sshd", path=f"/usr/sbin:{os.environ['PATH']}")


@dataclass(frozen=True)
class SftpServer:
    """A running one, that lets in whoever has the key."""

    port: int
    key: Path

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec takes beside the URL `sftp://127.0.0.1/FOLDER`."""
        return {"port": self.port, "username": getpass.getuser(), "key_filename": str(self.key)}


@contextlib.contextmanager
def sftp_server(folder: Path) -> Iterator[SftpServer]:
    """Start one, which keeps its keys and log in `folder`."""
    assert SSHD is not None
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "AuthorizedKeysFile": folder / "key.pub", "PidFile": "none",
        "PasswordAuthentication": "no", "UsePAM": "no", "StrictModes": "no", "PermitRootLogin": "prohibit-password",
        "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    command = [SSHD, "-D", "-e", "-f", "/dev/null", "-h", str(folder / "host")]
    command += [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    with open(folder / "log", "w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield SftpServer(port, folder / "key")
        finally:
            process.terminate()
