"""Bases built on another machine: here an SSH server of the test's own."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.image_builders.conftest import SECRET, base_of
from tests.image_builders.sshd import SSHD, SshServer, ssh_server as ssh_server
from tests.services import own_name

from tilth.errors import BuildFailed, DefinitionError, EngineUnavailable
from tilth.image_builders.ssh import SshBuilder, SshFlavor
from tilth.oci.registry import Registry
from tilth.stack.flavors import Context

if TYPE_CHECKING:
    from tests.image_builders.conftest import Site
    from tests.services import BaseImages, RegistryService

pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,  # uv makes tilth's environment there
    pytest.mark.skipif(SSHD is None, reason="no `sshd` is installed"),
]


@pytest.fixture
def ssh_site(docker_site: Site, ssh_server: SshServer) -> Site:
    docker_site.builder = SshBuilder(ssh_server.settings)
    return docker_site


def test_a_dockerfile_is_built_there_and_comes_back_whole(ssh_site: Site, ssh_server: SshServer) -> None:
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
    for folder in (ssh_site.home.root, ssh_server.cache):
        assert subprocess.run(["grep", "-rqF", SECRET, folder], check=False).returncode == 1
    assert not ssh_site.derive(recipe).made


def test_a_base_in_a_layout_goes_along(ssh_site: Site, base_images: BaseImages) -> None:
    base = base_of("layout", base_images)
    derived = ssh_site.derive(ssh_site.recipe(base, system_packages=["tree"]))
    assert (ssh_site.unpack(derived) / "usr/bin/tree").exists()


def test_a_base_for_a_registry_goes_there_and_never_comes_here(
    ssh_site: Site, registry_plain: RegistryService, base_images: BaseImages
) -> None:
    assert isinstance(ssh_site.builder, SshBuilder)
    repository = registry_plain.repository(own_name())
    ssh_site.builder = ssh_site.builder.for_registry(Registry(registry_plain.host), repository)
    recipe = ssh_site.dockerfile(f"FROM {base_images.registry['3.11']}\nRUN echo {own_name()} > /made\n")
    derived = ssh_site.derive(recipe)
    assert derived.reference == f"{registry_plain.host}/{repository}:{recipe.tag}@{derived.digest}"
    told = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{registry_plain.host}/{repository}:{recipe.tag}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert derived.digest in told
    assert not list(ssh_site.home.images.rglob("blobs"))
    again = ssh_site.derive(recipe)
    assert not again.made
    assert again.digest == derived.digest
    assert ssh_site.derive(recipe, refresh=True).made


def test_a_failure_there_is_told_here(ssh_site: Site) -> None:
    with pytest.raises(BuildFailed) as caught:
        ssh_site.derive(ssh_site.dockerfile(f"FROM {ssh_site.start}\nRUN echo because >&2; exit 9\n"))
    assert "with exit code 9" in caught.value.summary
    assert str(ssh_site.root / "Dockerfile") in caught.value.summary
    assert "because" in caught.value.why
    assert "127.0.0.1" in caught.value.mend


@pytest.mark.parametrize(
    ("change", "told", "mend"),
    [
        ({"port": 1}, "does not get into", "without a password"),
        ({"identity": "/nowhere"}, "does not get into", "ssh-copy-id"),
        ({"host": "nobody@nowhere.invalid"}, "does not get into", "setting `host`"),
        (
            {"options": ("StrictHostKeyChecking=yes", "UserKnownHostsFile=/dev/null")},
            "does not get into",
            "connect once by hand",
        ),
        ({"python": "/no/such/python"}, "there is no Python 3.11", "setting `python`"),
        ({"program": "no-such-docker"}, "cannot be started", "install it"),
    ],
)
def test_what_keeps_it_from_building_there_is_told(
    ssh_site: Site, change: dict[str, object], told: str, mend: str
) -> None:
    assert isinstance(ssh_site.builder, SshBuilder)
    ssh_site.builder = SshBuilder(msgspec.structs.replace(ssh_site.builder.settings, **change))
    with pytest.raises(EngineUnavailable) as caught:
        ssh_site.builder.check()
    assert told in caught.value.summary
    assert mend in caught.value.mend
    with pytest.raises(EngineUnavailable):
        ssh_site.derive(ssh_site.dockerfile("FROM scratch\nCOPY . /\n"))


def test_without_the_program_ssh_it_says_so(ssh_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineUnavailable, match="`ssh`, which the image builder needs"):
        ssh_site.builder.check()


def test_a_machine_without_an_engine_still_builds_images(ssh_site: Site, ssh_server: SshServer) -> None:
    settings = msgspec.structs.replace(ssh_server.settings, program="no-such-docker")
    context = Context(home=ssh_site.home, root=ssh_site.root, reveal={}.__getitem__)
    found = SshFlavor().check(settings, context)
    assert [each.level for each in found] == ["ok", "warning"]
    assert "none with `system_packages`" in found[1].what


def test_a_base_in_an_engine_here_is_refused(ssh_site: Site, base_images: BaseImages) -> None:
    recipe = ssh_site.recipe(base_of("engine", base_images), system_packages=["tree"])
    with pytest.raises(DefinitionError, match="lies in an engine"):
        ssh_site.derive(recipe)
