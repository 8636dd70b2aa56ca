"""What the Docker orchestrator tells an engine, and how it explains what an engine answers."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from tilth.errors import BuildFailed, EngineUnavailable, SetupError, TilthError
from tilth.orchestrators import Task
from tilth.orchestrators.docker import DockerFlavor, DockerSettings, command, engine_lost, explain
from tilth.stack.flavors import Context


def task(folder: Path, **options: object) -> Task:
    given = {"roots": (str(folder),), "cwd": str(folder), "image": "x", "python": Path("/opt/env/bin/python")}
    return Task(label="load", folder=folder, **{**given, **options})  # type: ignore[arg-type]


def options(folder: Path, settings: DockerSettings, **given: object) -> list[str]:
    return command(task(folder, **given), settings, "name", folder / "s", [])


def after(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(arguments) if name == option]


def test_a_secret_is_in_no_option(tmp_path: Path) -> None:
    told = options(tmp_path, DockerSettings(), secrets={"TOKEN": "s3cr3t"}, variables={"MODE": "fast"})
    assert not any("TOKEN" in each or "s3cr3t" in each for each in told)
    assert "MODE=fast" in after(told, "--env")


def test_resources_become_limits(tmp_path: Path) -> None:
    told = options(tmp_path, DockerSettings(), memory=1 << 28, cpu=1.0, gpu=2)
    assert after(told, "--memory") == after(told, "--memory-swap") == [str(1 << 28)]
    assert after(told, "--cpus") == ["1"]
    assert after(told, "--gpus") == ["2"]
    assert after(options(tmp_path, DockerSettings(engine="podman"), gpu=1), "--device") == [
        "nvidia.com/gpu=all"
    ]


def test_no_more_cores_are_asked_for_than_there_are(tmp_path: Path) -> None:
    assert after(options(tmp_path, DockerSettings(), cpu=4096.0), "--cpus") == [f"{os.cpu_count()}"]


def test_the_user_is_the_one_who_runs_tilth_unless_it_is_set(tmp_path: Path) -> None:
    assert after(options(tmp_path, DockerSettings()), "--user") == [f"{os.getuid()}:{os.getgid()}"]
    assert after(options(tmp_path, DockerSettings(user="7:8")), "--user") == ["7:8"]


def test_a_folder_with_a_colon_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="its name has a colon"):
        options(tmp_path, DockerSettings(), roots=("/a:b",))


def test_code_in_the_image_is_not_mounted(tmp_path: Path) -> None:
    told = options(tmp_path, DockerSettings(), roots=("/opt/code",), cwd="/opt/code")
    assert not any("/opt/code" in each for each in after(told, "--volume"))


@pytest.mark.parametrize(
    ("said", "code", "kind", "mend"),
    [
        (
            "docker: Cannot connect to the Docker daemon at tcp://127.0.0.1:9.",
            125,
            EngineUnavailable,
            "start it",
        ),
        ("could not select device driver with capabilities: [[gpu]]", 125, SetupError, "NVIDIA container"),
        ("Error: container-init binary not found on the host: stat …", 125, SetupError, "catatonit"),
        ("runc: error setting rlimit type 7: operation not permitted", 126, SetupError, "--ulimit"),
        ("docker: something of its own\nRun 'docker run --help' for more", 125, EngineUnavailable, ""),
        ("exec /opt/env/bin/python: no such file or directory", 127, BuildFailed, "--entrypoint"),
        ("", 1, BuildFailed, "--version"),
    ],
)
def test_what_an_engine_says_is_explained(
    tmp_path: Path, said: str, code: int, kind: type[TilthError], mend: str
) -> None:
    found = explain(said, code, task(tmp_path), "docker")
    assert type(found) is kind
    assert mend in (found.mend or "")
    assert "--help" not in (found.why or "")


def test_an_engine_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="`podman` does not answer"):
        DockerFlavor().check(DockerSettings(engine="podman"), Context.__new__(Context))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b'printed\nlevel=error msg="error waiting for container: unexpected EOF"\n', "error waiting for"),
        (b"Cannot connect to the Docker daemon at x. Is the docker daemon running?\n", "Cannot connect"),
        (b"error waiting for container: said by the step\nand more\n", ""),
        (b"", ""),
    ],
)
def test_an_engine_that_went_away_is_told_from_a_step_that_exits_with_its_code(
    said: bytes, told: str
) -> None:
    assert told in engine_lost(said)
    assert bool(engine_lost(said)) == bool(told)


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_an_engine_that_answers_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = DockerFlavor().check(DockerSettings(), Context.__new__(Context))
    assert found.level == "ok"
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(EngineUnavailable, match="does not answer") as refused:
        DockerFlavor().check(DockerSettings(), Context.__new__(Context))
    assert refused.value.why


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_a_real_engine_says_what_is_looked_for(tmp_path: Path) -> None:
    """Its words are matched, and it may change them."""
    said = subprocess.run(
        ["docker", "--host", "tcp://127.0.0.1:9", "run", "--rm", "x"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert isinstance(explain(said.stderr, said.returncode, task(tmp_path), "docker"), EngineUnavailable)
    assert "does not answer" in explain(said.stderr, said.returncode, task(tmp_path), "docker").summary
