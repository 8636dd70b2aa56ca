"""The example of a flavor by somebody else: installed beside tilth, used, and held to its promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.network, pytest.mark.slow]

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "examples" / "plugin"
PIPELINE = """
from tilth import pipeline, step


@step
def give() -> list[int]:
    return [1, 2, 3]


@pipeline
def given():
    give()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv with tilth and the example, made as their user makes it."""
    place = tmp_path_factory.mktemp("plugin") / "venv"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, place], check=True)
    python = place / "bin/python"
    subprocess.run([*uv, "pip", "install", "-q", "--python", python, ROOT, f"{PLUGIN}[test]"], check=True)
    return place


@pytest.fixture
def tilth(environment: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """That environment's `tilth`, in a project of its own."""
    (tmp_path / "tilth.toml").write_text('project = "given"\n')

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [environment / "bin/tilth", *arguments],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def test_its_contract_suites_pass(environment: Path) -> None:
    done = subprocess.run(
        [environment / "bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", PLUGIN],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_it_is_registered_checked_and_keeps_what_a_run_gives(
    tilth: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    assert "sqlite" in tilth("component", "flavors", "--type", "artifact_store").stdout
    assert "tilth-sqlite" in tilth("integration", "list").stdout

    register = ("component", "register", "file", "--type", "artifact_store", "--flavor", "sqlite")
    assert "did you mean `path`?" in tilth(*register, "--set", "pat=x", code=1).stderr
    tilth(*register, "--set", f"path={tmp_path / 'artifacts.db'}")
    tilth("stack", "register", "single-file", "-o", "local", "-a", "file", "--set")
    assert f"writes, reads and deletes in `{tmp_path / 'artifacts.db'}`" in tilth("stack", "check").stdout
    assert (
        f"tilth-sqlite @ {PLUGIN.as_uri()}"
        in tilth("integration", "requirements", "--stack", "single-file").stdout
    )

    (tmp_path / "given.py").write_text(PIPELINE)
    tilth("run", "given.py")
    import shutil

    shutil.rmtree(Path(os.environ["TILTH_HOME"]) / "artifacts", onerror=_writable)
    tilth("artifacts", "get", "given/give/output", "here")
    assert (tmp_path / "here").exists()


def test_a_file_that_cannot_be_written_is_found(
    tilth: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    register = ("component", "register", "file", "--type", "artifact_store", "--flavor", "sqlite")
    tilth(*register, "--set", "path=/nowhere/artifacts.db")
    tilth("stack", "register", "single-file", "-o", "local", "-a", "file")
    assert "unable to open database file" in tilth("stack", "check", "single-file", code=1).stdout


def _writable(function: Callable[[str], None], path: str, _: object) -> None:
    """Artifacts are read-only: make the folder writable, and remove again."""
    Path(path).parent.chmod(0o755)
    Path(path).chmod(0o755)
    function(path)
