"""Whole images made on another machine: the same as here, with nothing of them here."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.client.test_building import built as built, write
from tests.engine.conftest import index as index, only_the_index as only_the_index, project as project
from tests.engine.play import wait_until
from tests.image_builders.sshd import SSHD, SshServer, command_lines, ssh_server as ssh_server
from tests.index import build_sdist, build_wheel
from tests.services import own_name
from tests.simple_index import SimpleIndex

from tilth.home import Home
from tilth.records import Build, State
from tilth.secrets import open_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.play import Project
    from tests.services import BaseImages, DockerEngine, RegistryService

pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,  # uv makes tilth's environment there
    pytest.mark.registry,
    pytest.mark.usefixtures("only_the_index"),
    pytest.mark.skipif(SSHD is None, reason="no `sshd` is installed"),
]
LIMIT_S = 300

PRIVATE = """
from tilth import Environment, pipeline, step

one = Environment(
    "one", requirements=["hidden"], base_image={base!r}, index_url={index!r}, credentials={{{host!r}: "INDEX"}}
)

@step(environment=one)
def first() -> int:
    return 1

@pipeline
def single():
    first()
"""
SLOW = """
from tilth import Environment, pipeline, step

one = Environment("one", requirements=["alpha"], dockerfile="Dockerfile", find_links=[{links!r}])

@step(environment=one)
def first() -> int:
    return 1

@pipeline
def single():
    first()
"""


@pytest.fixture
def there(built: Project, ssh_server: SshServer) -> Callable[..., None]:
    """Registers the builder `big`, with other settings where they are given."""

    def register(**changed: Any) -> None:
        settings = msgspec.to_builtins(msgspec.structs.replace(ssh_server.settings, **changed))
        given = [
            part
            for name, value in settings.items()
            if value
            for part in ("--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}")
        ]
        run(built, "component", "register", "big", "--type", "image_builder", "--flavor", "ssh", *given)

    return register


def run(project: Project, *arguments: str, code: int = 0) -> Any:
    """What a command printed; what it said where it should fail."""
    with project.start(*arguments) as command:
        assert command.wait(LIMIT_S) == code, command.stderr
    return command.stdout if code == 0 else command.stderr


def build(project: Project, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(run(project, "build", "pipeline.py", "--json", *arguments))


def attached(project: Project, reference: str) -> set[tuple[str, str]]:
    """Name and digest of what is attached to an image."""
    place, _, digest = reference.partition("@")
    repository, _, _ = place.rpartition(":")
    host, _, name = repository.partition("/")
    from tilth.images.referrers import list_attached
    from tilth.oci.registry import Registry

    return {(each.name, each.digest) for each in list_attached(Registry(host), name, digest)}


def test_an_image_made_there_is_the_one_made_here(
    built: Project,
    there: Callable[..., None],
    base_images: BaseImages,
    registry_plain: RegistryService,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    links = built.folder / "wheels"
    build_wheel(links, "large", "1.0", files={"large.bin": bytes(range(256)) * 20_000})
    build_sdist(links, "sourced", "1.0")
    write(built, base_images.registry["3.11"], "alpha==1.0", "large", "sourced")
    there()
    elsewhere = build(built, "--builder", "big", "--registry", f"{registry_plain.host}/{own_name()}")
    other = type(built)(built.folder, Home(tmp_path_factory.mktemp("other") / "tilth"))
    here = build(other, "--registry", f"{registry_plain.host}/{own_name()}")
    assert [each["image"] for each in elsewhere] == [each["image"] for each in here]
    for made, same in zip(elsewhere, here, strict=True):
        assert attached(built, made["references"][0]) == attached(other, same["references"][0])
        assert made["layers"]
        assert made["builder"] == "big"
        assert same.get("builder", "") == ""
    assert {each.builder for each in built.records(Build)} == {"big"}
    # Of an image nothing was here, but the config of its base.
    assert sum(each.stat().st_size for each in built.home.images.rglob("sha256/*")) < 20_000
    again = run(built, "build", "pipeline.py", "--builder", "big", "--registry", "127.0.0.1:1/x", code=1)
    assert "127.0.0.1:1" in again


def test_logins_go_there_and_are_left_nowhere(
    built: Project,
    there: Callable[..., None],
    ssh_server: SshServer,
    base_images: BaseImages,
    registry_token: RegistryService,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.delenv("UV_OFFLINE")
    files = tmp_path_factory.mktemp("files")
    build_wheel(files, "hidden", "1.0")
    password = f"index-{own_name()}"
    token = "tilth-identity"  # of `scripts/services`
    there()
    settings = {
        "host": registry_token.host, "prefix": registry_token.repository(own_name()),
        "ca": str(registry_token.ca), "token": "secret:REGISTRY",
    }  # fmt: skip
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    open_secrets(built.home).set("REGISTRY", token)
    open_secrets(built.home).set("INDEX", f"somebody:{password}")
    run(built, "component", "register", "images", "--type", "container_registry", "--flavor", "oci", *given)
    run(
        built, "stack", "register", "far", "--orchestrator", "local", "--artifact-store", "local",
        "--container-registry", "images", "--image-builder", "big",
    )  # fmt: skip
    watched: set[bytes] = set()
    seen: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        marks = (str(ssh_server.cache).encode(), f"\0-p\0{ssh_server.settings.port}\0".encode())
        while not ended.wait(0.02):
            for each in Path("/proc").iterdir():
                try:
                    command = (each / "cmdline").read_bytes() if each.name.isdigit() else b""
                    if any(mark in command for mark in marks):
                        watched.add(command)
                        if token.encode() in command + (each / "environ").read_bytes():
                            seen.add(command)
                except OSError:
                    pass

    looking = threading.Thread(target=look)
    with SimpleIndex(files) as private:
        private.login = ("somebody", password)
        host = private.url.split("/")[2]
        base = base_images.registry["3.11"]
        built.write(PRIVATE.format(base=base, index=private.url, host=host))
        looking.start()
        try:
            told = run(built, "build", "pipeline.py", "--stack", "far")
        finally:
            ended.set()
            looking.join()
        asked = [path for _, path in private.requests]
    assert told.startswith(f"one  {registry_token.host}/")
    assert any("/files/" in path and path.endswith(".whl") for path in asked)
    assert watched
    assert not seen
    for secret in (token, password):
        for folder in (ssh_server.cache, built.home.root):
            assert subprocess.run(["grep", "-rqF", secret, folder], check=False).returncode == 1


def test_what_fails_there_is_told_and_recorded_here(
    built: Project, there: Callable[..., None], registry_plain: RegistryService
) -> None:
    there(cache="/proc/nowhere")
    registry = f"{registry_plain.host}/{own_name()}"
    said = run(built, "build", "pipeline.py", "--builder", "big", "--registry", registry, code=1)
    assert "cannot be written" in said
    assert "the setting `cache`" in said
    assert {each.state for each in built.records(Build)} == {State.FAILED}
    assert {each.builder for each in built.records(Build)} == {"big"}


@pytest.mark.faults
def test_a_full_disk_there_is_told(
    built: Project,
    there: Callable[..., None],
    registry_plain: RegistryService,
    mount: Callable[..., Path],
) -> None:
    there(cache=str(mount("-o", "size=4m")))
    registry = f"{registry_plain.host}/{own_name()}"
    said = run(built, "build", "pipeline.py", "--builder", "big", "--registry", registry, code=1)
    assert "the disk is full" in said
    assert "make room there" in said


@pytest.mark.faults
@pytest.mark.parametrize("how", ["interrupted", "killed", "cut"])
def test_a_build_there_ends_with_whoever_ordered_it(
    built: Project,
    there: Callable[..., None],
    ssh_server: SshServer,
    docker_engine: DockerEngine,
    registry_plain: RegistryService,
    how: str,
) -> None:
    there()
    name = own_name()
    (built.folder / "Dockerfile").write_text(
        f"FROM {docker_engine.images['3.11']}\nRUN echo {name}; sleep 600\n"
    )
    built.write(SLOW.format(links=str(built.folder / "wheels")))

    def runs() -> bool:
        """BuildKit lists no containers; their processes are this machine's."""
        return any(line.startswith("/bin/sh -c") and name in line for line in command_lines())

    registry = f"{registry_plain.host}/{own_name()}"
    with built.start("build", "pipeline.py", "--builder", "big", "--registry", registry) as command:
        wait_until(runs, "the build there")
        assert ssh_server.programs()
        if how == "cut":
            ssh_server.cut()
        else:
            command.signal(signal.SIGINT if how == "interrupted" else signal.SIGKILL)
        code = command.wait(60)
    if how == "cut":
        assert code == 1
        assert "broke off" in command.stderr
        assert "start again" in command.stderr
    wait_until(lambda: not ssh_server.programs(), "the end of the program there")
    wait_until(lambda: not runs(), "the end of what it had begun")
