"""Images made on a runner, through a server that is a process of its own: the same as here, and secret on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.client.test_building import built as built, write
from tests.client.test_elsewhere import PRIVATE, SLOW, attached, build, run
from tests.conftest import TILTH
from tests.engine.conftest import index as index, only_the_index as only_the_index, project as project
from tests.engine.play import wait_until
from tests.image_builders.sshd import command_lines
from tests.index import build_sdist, build_wheel
from tests.server.launching import RunnerInTest
from tests.server.processes import ServerProcess
from tests.services import own_name
from tests.simple_index import SimpleIndex

from tilth.home import Home
from tilth.records import Build, State
from tilth.records.launching import BuildOrder
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engine.play import Project
    from tests.services import BaseImages, DockerEngine, RegistryService

pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,  # uv makes tilth's environment there
    pytest.mark.registry,
    pytest.mark.usefixtures("only_the_index"),
]
PROJECT = "churn"


@dataclass
class Site:
    """A server and its runners."""

    folder: Path
    server: ServerProcess
    token: str
    environment: dict[str, str]  # of whoever starts runners
    runners: list[RunnerInTest] = field(default_factory=list)

    def runner(self, name: str = "box", *arguments: str) -> RunnerInTest:
        started = RunnerInTest(
            self.server.url, self.token, self.folder / f"runner-{name}", "--name", name, *arguments,
            environment=self.environment,
        )  # fmt: skip
        self.runners.append(started)
        return started

    def variables(self) -> dict[str, str]:
        return {
            "TILTH_SERVER_URL": self.server.url,
            "TILTH_API_KEY": self.token,
            "TILTH_PROJECT": PROJECT,
        }

    def orders(self) -> list[BuildOrder]:
        with SqlStore(SqliteDatabase(self.folder / "tilth.db")) as store:
            return list(store.find(BuildOrder, limit=100))

    def programs(self) -> list[str]:
        """Command lines of what runs there for a builder."""
        return [each for each in command_lines() if each.startswith(f"{self.environment['HOME']}/.cache")]

    def stop(self) -> None:
        for each in self.runners:
            each.process.kill()
            each.process.wait()
        self.server.stop()


def open_site(folder: Path, environment: dict[str, str]) -> Site:
    server = ServerProcess(folder, f"sqlite:///{folder / 'tilth.db'}", workers=1).start()
    return Site(folder, server, server.token(), environment)


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of who starts runners. Whoever runs the tests says in some where package indexes are."""
    home = tmp_path_factory.mktemp("operator")
    return {**os.environ, "HOME": str(home), "TILTH_HOME": str(home / "tilth")}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, operator: dict[str, str]) -> Iterator[Site]:
    """A server, and a runner that builds."""
    site = open_site(tmp_path_factory.mktemp("site"), operator)
    site.runner("box", "--builds", "--slots", "3")
    yield site
    site.stop()


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory, operator: dict[str, str]) -> Iterator[Site]:
    """A server of this test's own, and no runner."""
    site = open_site(tmp_path_factory.mktemp("site"), operator)
    yield site
    site.stop()


@pytest.fixture
def log_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def log_in(site: Site) -> None:
        for name, value in site.variables().items():
            monkeypatch.setenv(name, value)

    return log_in


def register(project: Project, name: str = "far", **settings: str) -> None:
    if Path("/usr/bin/docker").exists():
        settings.setdefault("program", "/usr/bin/docker")
    given = [
        part for key, value in {"network": "host", **settings}.items() for part in ("--set", f"{key}={value}")
    ]
    run(project, "component", "register", name, "--type", "image_builder", "--flavor", "runner", *given)


def test_an_image_made_there_is_the_one_made_here(
    built: Project,
    shared: Site,
    log_in: Callable[[Site], None],
    base_images: BaseImages,
    registry_plain: RegistryService,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_in(shared)
    links = built.folder / "wheels"
    build_wheel(links, "large", "1.0", files={"large.bin": os.urandom(5 << 20)})  # more than one request
    build_sdist(links, "sourced", "1.0")
    write(built, base_images.registry["3.11"], "alpha==1.0", "large", "sourced")
    register(built, "same")
    elsewhere = build(built, "--builder", "same", "--registry", f"{registry_plain.host}/{own_name()}")
    assert {each.builder for each in built.records(Build)} == {"same"}
    for name in shared.variables():
        monkeypatch.delenv(name)
    other = type(built)(built.folder, Home(tmp_path_factory.mktemp("other") / "tilth"))
    here = build(other, "--registry", f"{registry_plain.host}/{own_name()}")
    assert [each["image"] for each in elsewhere] == [each["image"] for each in here]
    for made, same in zip(elsewhere, here, strict=True):
        assert attached(built, made["references"][0]) == attached(other, same["references"][0])
        assert made["builder"] == "same"
        assert made["layers"]
    # Of an image nothing was here, but the config of its base; and on the server nothing is left.
    assert sum(each.stat().st_size for each in built.home.images.rglob("sha256/*")) < 20_000
    assert not list(shared.folder.glob("data/*/builds/*"))


def test_logins_are_left_nowhere(
    built: Project,
    own: Site,
    log_in: Callable[[Site], None],
    base_images: BaseImages,
    registry_token: RegistryService,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    own.runner("box", "--builds")
    log_in(own)
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.delenv("UV_OFFLINE")
    files = tmp_path_factory.mktemp("files")
    build_wheel(files, "hidden", "1.0")
    password = f"index-{own_name()}"
    token = "tilth-identity"  # of `scripts/services`
    register(built)
    settings = {
        "host": registry_token.host, "prefix": registry_token.repository(own_name()),
        "ca": str(registry_token.ca), "token": "secret:REGISTRY",
    }  # fmt: skip
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    for name, value in (("REGISTRY", token), ("INDEX", f"somebody:{password}")):
        subprocess.run(
            [TILTH, "secret", "set", name], input=value, text=True, check=True, capture_output=True,
            cwd=built.folder, env={**os.environ, "TILTH_HOME": str(built.home.root)},
        )  # fmt: skip
    run(built, "component", "register", "images", "--type", "container_registry", "--flavor", "oci", *given)
    run(
        built, "stack", "register", "far", "--orchestrator", "local", "--artifact-store", "local",
        "--container-registry", "images", "--image-builder", "far",
    )  # fmt: skip
    # What went through is kept, as by somebody who looks at the server's disk all the time.
    copies = tmp_path_factory.mktemp("copies")
    copying = subprocess.Popen(
        [
            "/bin/sh",
            "-c",
            'while :; do cp -rln "$0"/data/*/builds "$1"/ 2>/dev/null; sleep 0.01; done',
            own.folder,
            copies,
        ],
    )
    try:
        with SimpleIndex(files) as private:
            private.login = ("somebody", password)
            host = private.url.split("/")[2]
            built.write(PRIVATE.format(base=base_images.registry["3.11"], index=private.url, host=host))
            told = run(built, "build", "pipeline.py", "--stack", "far")
            asked = [path for _, path in private.requests]
    finally:
        copying.kill()
        copying.wait()
    assert told.startswith(f"one  {registry_token.host}/")
    assert any("/files/" in path and path.endswith(".whl") for path in asked)
    seen = [each for each in copies.rglob("in/*") if each.is_file()]
    assert sum(each.stat().st_size for each in seen) > 100
    for secret in (token, password):
        for folder in (own.folder, copies, Path(own.environment["HOME"]), built.home.root):
            assert subprocess.run(["grep", "-rqF", secret, folder], check=False).returncode == 1, folder


def test_what_fails_there_is_told_and_recorded_here(
    built: Project,
    shared: Site,
    log_in: Callable[[Site], None],
    docker_engine: DockerEngine,
    registry_plain: RegistryService,
) -> None:
    log_in(shared)
    register(built, "failing")
    (built.folder / "Dockerfile").write_text(
        f"FROM {docker_engine.images['3.11']}\nRUN echo because {own_name()} >&2; exit 9\n"
    )
    built.write(SLOW.format(links=str(built.folder / "wheels")))
    registry = f"{registry_plain.host}/{own_name()}"
    said = run(built, "build", "pipeline.py", "--builder", "failing", "--registry", registry, code=1)
    assert "with exit code 9" in said
    assert "because" in said
    assert "that was on `box`, where the image builder `runner` builds" in said
    register(built, "without", program="no-such-docker")
    said = run(built, "build", "pipeline.py", "--builder", "without", "--registry", registry, code=1)
    assert "`no-such-docker`" in said


def test_that_nobody_builds_is_told_soon(
    built: Project, own: Site, log_in: Callable[[Site], None], registry_plain: RegistryService
) -> None:
    log_in(own)
    own.runner("runs")
    registry = f"{registry_plain.host}/{own_name()}"
    register(built)
    said = run(built, "build", "pipeline.py", "--builder", "far", "--registry", registry, code=1)
    assert f"no runner of {own.server.url} takes builds" in said
    assert "`tilth runner start --builds`" in said
    own.runner("box", "--builds")
    register(built, "named", runner="boks")
    said = run(built, "build", "pipeline.py", "--builder", "named", "--registry", registry, code=1)
    assert "runner `boks`" in said
    assert "did you mean `box`?" in said
    assert {each.state.value for each in own.orders()} == {"cancelled"}
    listed = json.loads(run(built, "runner", "list", "--json"))
    assert {each["name"]: each["builds"] for each in listed} == {"box": True, "runs": False}


def test_without_a_server_it_says_so(built: Project) -> None:
    register(built)
    said = run(built, "build", "pipeline.py", "--builder", "far", "--registry", "127.0.0.1:1/x", code=1)
    assert "needs a server" in said
    assert "tilth login URL" in said


@dataclass
class Slow:
    """A build there that lasts until somebody ends it."""

    project: Project
    site: Site
    registry: str
    name: str

    def runs(self) -> bool:
        """BuildKit lists no containers; their processes are this machine's."""
        return any(line.startswith("/bin/sh -c") and self.name in line for line in command_lines())

    def start(self) -> Any:
        command = self.project.start("build", "pipeline.py", "--builder", "far", "--registry", self.registry)
        wait_until(lambda: self.runs() or command.process.poll() is not None, "the build there")
        assert self.site.programs()
        return command

    def ends(self) -> None:
        wait_until(lambda: not self.site.programs(), "the end of the program there")
        wait_until(lambda: not self.runs(), "the end of what it had begun")


@pytest.fixture
def slow(
    built: Project,
    own: Site,
    log_in: Callable[[Site], None],
    docker_engine: DockerEngine,
    registry_plain: RegistryService,
) -> Slow:
    log_in(own)
    own.runner("box", "--builds")
    register(built)
    name = own_name()
    (built.folder / "Dockerfile").write_text(
        f"FROM {docker_engine.images['3.11']}\nRUN echo {name}; sleep 600\n"
    )
    built.write(SLOW.format(links=str(built.folder / "wheels")))
    return Slow(built, own, f"{registry_plain.host}/{own_name()}", name)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_build_there_ends_with_whoever_ordered_it(slow: Slow, number: int) -> None:
    with slow.start() as command:
        command.signal(number)
        command.wait(60)
    slow.ends()
    wait_until(lambda: all(each.state.is_final for each in slow.site.orders()), "the order is over")
    (order,) = slow.site.orders()
    if number == signal.SIGINT:
        assert order.state.value == "cancelled"
    else:
        assert order.failure is not None
        assert "nothing was heard of who ordered it" in order.failure.message


@pytest.mark.faults
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_build_there_ends_with_its_runner_and_goes_to_no_other(slow: Slow, how: str) -> None:
    second = slow.site.runner("second", "--builds")
    second.process.send_signal(signal.SIGSTOP)
    with slow.start() as command:
        first = slow.site.runners[0]
        if how == "killed":
            first.kill()
        else:
            first.stop()
        second.process.send_signal(signal.SIGCONT)
        slow.ends()
        assert command.wait() == 1
    assert f"its runner was {'lost' if how == 'killed' else how}" in command.stderr
    assert "start again" in command.stderr
    assert [each.runner_name for each in slow.site.orders()] == ["box"]
    assert "build" not in second.log.read_text().replace("runs and builds", "")


@pytest.mark.faults
def test_a_build_there_ends_with_the_server(slow: Slow) -> None:
    with slow.start() as command:
        slow.site.server.kill()
        slow.ends()
        assert command.wait() == 1
    assert f"the server at `{slow.site.server.url}` does not answer" in command.stderr


@pytest.mark.faults
def test_a_build_goes_on_when_the_server_comes_back(slow: Slow) -> None:
    path = slow.project.folder / "Dockerfile"
    path.write_text(path.read_text().replace("sleep 600", "sleep 25"))
    with slow.start() as command:
        slow.site.server.kill()
        slow.site.server.start()
        assert command.wait() == 0, command.stderr
    assert command.stdout.startswith(f"one  {slow.registry}")
    assert [each.state.value for each in slow.site.orders()] == ["ended", "ended"]
    assert {each.state for each in slow.project.records(Build)} == {State.COMPLETED}
