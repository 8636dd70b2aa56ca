"""Containers of runner images in an engine."""

from __future__ import annotations

import itertools
import subprocess

import msgspec
import pytest

from tilth.errors import SetupError
from tilth.orchestrators import RunnerTask
from tilth.orchestrators.docker import DockerOrchestrator, DockerSettings
from tilth.orchestrators.runner_containers import runner_command
from tilth.testing.runners import StartsRunnersContract


def task(server: str = "https://tilth.example.com", image: str = "tilth/runner:1") -> RunnerTask:
    return RunnerTask(
        launch="l-1", run="r-1", image=image, command=("tilth", "runner"), server=server, user="5:6",
        variables={"TZ": "UTC"}, secrets={"TILTH_API_KEY": "s3cr3t"},
    )  # fmt: skip


def after(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(arguments) if name == option]


def test_no_secret_is_in_what_starts_it_and_nothing_is_mounted() -> None:
    told = runner_command(task(), DockerSettings(user="7:8", run_options=("--shm-size=2g",)))
    assert not any("s3cr3t" in each or "TILTH_API_KEY" in each for each in told)
    assert not {"--volume", "--mount", "--privileged"} & set(told)
    assert after(told, "--env") == ["TZ=UTC"]
    assert after(told, "--user") == ["7:8"]
    assert told[-4:] == ["--shm-size=2g", "tilth/runner:1", "runner", "--told"]
    assert after(told, "--entrypoint") == ["tilth"]
    assert after(runner_command(task(), DockerSettings()), "--user") == ["5:6"]


@pytest.mark.parametrize(
    "settings", [DockerSettings(user="0:0"), DockerSettings(run_options=("--volume=/:/machine",))]
)
def test_where_runs_have_a_user_no_setting_makes_them_another(settings: DockerSettings) -> None:
    with pytest.raises(SetupError, match="starts no container with") as refused:
        runner_command(msgspec.structs.replace(task(), held=True), settings)
    assert "--container-option" in str(refused.value.mend)
    by_its_owner = msgspec.structs.replace(task(), held=True, options=("--volume=/certs:/certs:ro",))
    assert "--volume=/certs:/certs:ro" in runner_command(by_its_owner, DockerSettings())


def test_only_an_image_with_a_digest_is_pulled() -> None:
    assert after(runner_command(task(), DockerSettings()), "--pull") == ["never"]
    there = task(image=f"ghcr.io/acme/churn@sha256:{'0' * 64}")
    assert after(runner_command(there, DockerSettings()), "--pull") == ["missing"]


@pytest.mark.parametrize("server", ["http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8"])
def test_a_server_that_only_this_machine_reaches_takes_its_network(server: str) -> None:
    with pytest.raises(SetupError, match="cannot reach the server") as refused:
        runner_command(task(server), DockerSettings())
    assert "network=host" in str(refused.value.mend)
    assert after(runner_command(task(server), DockerSettings(network="host")), "--network") == ["host"]


def test_the_token_is_no_part_of_what_is_shown() -> None:
    assert "s3cr3t" not in repr(task())


@pytest.mark.docker
@pytest.mark.slow
class TestDocker(StartsRunnersContract):
    @pytest.fixture
    def starter(self) -> DockerOrchestrator:
        return DockerOrchestrator(DockerSettings())

    @pytest.fixture
    def image(self, docker_engine) -> str:
        name = docker_engine.images["3.11"]
        asked = ["docker", "image", "inspect", "--format", "{{.Id}}", name]
        assert subprocess.run(asked, check=True, capture_output=True).stdout
        return name
