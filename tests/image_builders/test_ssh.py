"""Builds on another machine: here an SSH server of the test's own, which lets in one key."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.image_builders.conftest import SECRET, base_of
from tests.ports import free_port, wait_for_port
from tests.services import own_name

from tilth.errors import BuildFailed, DefinitionError, EngineUnavailable
from tilth.image_builders.ssh import SshBuilder, SshBuilderSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.image_builders.conftest import Site
    from tests.services import BaseImages

SSHD = shutil.which("sshd", path=f"/usr/sbin:{os.environ['PATH']}")
_OF_INDEXES = re.compile(r"(UV|SSL)_|(?i:https?|no|all)_proxy$")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,  # uv makes tilth's environment there
    pytest.mark.skipif(SSHD is None, reason="no `sshd` is installed"),
]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBuilderSettings]:
    """The settings that get into it; tilth there is a wheel of this checkout."""
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    project = Path(__file__).parents[2]
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, project], check=True)
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
    assert SSHD is not None
    command = [SSHD, "-D", "-e", "-f", "/dev/null", "-h", folder / "host"]
    command += [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    with open(folder / "log", "w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            wait_for_port(port)
            yield SshBuilderSettings(
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
                uv=str(there),
                tilth=str(next(folder.glob("*.whl"))),
            )
        finally:
            process.terminate()


@pytest.fixture
def ssh_site(docker_site: Site, server: SshBuilderSettings) -> Site:
    docker_site.builder = SshBuilder(server)
    return docker_site


def test_a_dockerfile_is_built_there_and_comes_back_whole(ssh_site: Site) -> None:
    ssh_site.builder.check()
    (ssh_site.root / "kept").write_text("kept")
    (ssh_site.root / "left").write_text("left")
    (ssh_site.root / ".dockerignore").write_text("left\n")
    recipe = ssh_site.dockerfile(
        f"FROM {ssh_site.start}\nCOPY . /context/\n"
        f"RUN --mount=type=secret,id=key : {own_name()}; cat /run/secrets/key;"
        " wc -c < /run/secrets/key > /length\n",
        build_secrets={"key": "token"},
    )
    derived = ssh_site.derive(recipe)
    rootfs = ssh_site.unpack(derived)
    assert (rootfs / "length").read_text().strip() == str(len(SECRET))
    assert {each.name for each in (rootfs / "context").iterdir()} == {"kept", ".dockerignore", "Dockerfile"}
    assert any("COPY . /context/" in line for line in ssh_site.lines)
    assert any("•••" in line for line in ssh_site.lines)
    assert subprocess.run(["grep", "-rqF", SECRET, ssh_site.home.root], check=False).returncode == 1
    assert not ssh_site.derive(recipe).made


def test_a_base_in_a_layout_goes_along(ssh_site: Site, base_images: BaseImages) -> None:
    base = base_of("layout", base_images)
    derived = ssh_site.derive(ssh_site.recipe(base, system_packages=["tree"]))
    assert (ssh_site.unpack(derived) / "usr/bin/tree").exists()


def test_a_failure_there_is_told_here(ssh_site: Site) -> None:
    with pytest.raises(BuildFailed) as caught:
        ssh_site.derive(ssh_site.dockerfile(f"FROM {ssh_site.start}\nRUN echo because >&2; exit 9\n"))
    assert "with exit code 9" in caught.value.summary
    assert "because" in caught.value.why
    assert "127.0.0.1" in caught.value.mend


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"port": 1}, "does not get into"),
        ({"identity": "/nowhere"}, "does not get into"),
        ({"uv": "/no/such/uv"}, "could not be started"),
        ({"tilth": "tilth==0.0.0.dev1"}, "could not be started"),
        ({"program": "no-such-docker"}, "cannot be started"),
    ],
)
def test_what_keeps_it_from_building_there_is_told(
    ssh_site: Site, change: dict[str, object], told: str
) -> None:
    assert isinstance(ssh_site.builder, SshBuilder)
    ssh_site.builder = SshBuilder(msgspec.structs.replace(ssh_site.builder.settings, **change))
    with pytest.raises(EngineUnavailable) as caught:
        ssh_site.builder.check()
    assert told in caught.value.summary
    with pytest.raises(EngineUnavailable):
        ssh_site.derive(ssh_site.dockerfile("FROM scratch\nCOPY . /\n"))


def test_a_base_in_an_engine_here_is_refused(ssh_site: Site, base_images: BaseImages) -> None:
    recipe = ssh_site.recipe(base_of("engine", base_images), system_packages=["tree"])
    with pytest.raises(DefinitionError, match="lies in an engine"):
        ssh_site.derive(recipe)
