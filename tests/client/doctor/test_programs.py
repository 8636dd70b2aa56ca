"""Programs that are missing, too old, or do not run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tilth.client.doctor import examine, programs
from tilth.client.doctor.finding import ERROR, OK, SKIPPED, WARNING
from tilth.environments import uv
from tilth.home import Home


def script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder on the path, with nothing in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_uv_that_came_with_tilth_is_fine() -> None:
    assert programs.uv_runs().state == OK


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("echo uv 0.4.2", "is too old: tilth needs 0."),
        ("echo cannot load library >&2; exit 127", "does not run: cannot load library"),
    ],
)
def test_a_uv_that_is_too_old_or_does_not_run_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, told: str
) -> None:
    # uv's own finder prefers the one beside this interpreter, which is fine: another is put in its place.
    binary = str(script(tmp_path, "uv", says))
    monkeypatch.setattr(uv, "binary", lambda: binary)
    found = programs.uv_runs()
    assert found.state == ERROR
    assert told in found.told
    assert "pip install" in found.mend


def test_no_uv_at_all_is_a_finding_and_harms_no_other(
    home: Path, monkeypatch: pytest.MonkeyPatch, no_programs: Path
) -> None:
    import uv as package

    def nowhere() -> str:
        raise FileNotFoundError("uv")

    monkeypatch.setattr(package, "find_uv_bin", nowhere)
    monkeypatch.setattr(uv, "binary", uv.binary.__wrapped__)  # it is remembered from other tests
    found = {each.name: each for each in examine(Home(home), offline=True)}
    assert (found["uv"].state, found["uv"].told) == (ERROR, "uv is not installed")
    assert found["space"].state != SKIPPED
    assert len(found) == 17


def test_the_interpreter_of_this_folder_is_named_and_no_home_is_made(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILTH_PYTHON", sys.executable)
    found = programs.project_python()
    assert (found.state, sys.executable in found.told) == (OK, True)
    assert not home.exists()


def test_an_interpreter_that_is_set_and_not_there_is_found(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILTH_PYTHON", "/nowhere/python")
    found = {each.name: each for each in examine(Home(home), offline=True)}
    assert found["python"].state == ERROR
    assert "`TILTH_PYTHON` is `/nowhere/python`" in found["python"].told


def test_an_interpreter_that_is_too_old_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = next(iter(sorted(Path("~/.pyenv/versions").expanduser().glob("3.[89].*/bin/python"))), None)
    if old is None:
        pytest.skip("no old Python is installed here")
    monkeypatch.setenv("TILTH_PYTHON", str(old))
    found = programs.project_python()
    assert (found.state, "too old" in found.told) == (ERROR, True)


def test_versions_that_environments_may_ask_for_are_listed(
    monkeypatch: pytest.MonkeyPatch, no_programs: Path, tmp_path: Path
) -> None:
    (no_programs / "python3").symlink_to(sys.executable)
    assert programs.pythons().state == OK
    (no_programs / "python3").unlink()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))
    assert programs.pythons().state == WARNING


def test_git_is_looked_for(no_programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.git().state == WARNING
    script(no_programs, "git", "echo broken >&2; exit 1")
    assert "does not run: broken" in programs.git().told
    script(no_programs, "git", "echo git version 2.39.5")
    assert programs.git().state == OK


def test_no_container_engine_is_no_error(no_programs: Path) -> None:
    assert programs.containers().state == SKIPPED


def test_the_real_client_of_docker_without_an_engine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("docker") is None:
        pytest.skip("there is no docker here")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    monkeypatch.setenv("PATH", os.path.dirname(shutil.which("docker") or ""))  # noqa: PTH120
    found = programs.containers()
    if found.state == OK:
        pytest.skip("podman answers here")
    assert found.state == WARNING
    assert "its engine does not answer" in found.told
    assert "nothing.sock" in found.told


def test_an_engine_that_answers_is_named(no_programs: Path) -> None:
    script(no_programs, "docker", "echo refused >&2; exit 1")
    script(no_programs, "podman", "echo 4.3.1")
    found = programs.containers()
    assert (found.state, found.told) == (OK, "podman 4.3.1 answers")


def test_an_engine_that_hangs_is_not_waited_for(no_programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_PATIENCE_S", 0.2)
    script(no_programs, "docker", "exec /bin/sleep 60")
    found = programs.containers()
    assert (found.state, "no answer within" in found.told) == (WARNING, True)
