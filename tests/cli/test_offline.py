"""With packages cached, everything about environments works without a network: these commands have none."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import TILTH
from tests.index import build_wheel
from tests.simple_index import SimpleIndex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ended

PIPELINE = """\
from tilth import Environment, pipeline, step

training = Environment("training", requirements=["one", "two<2"])


@step(environment=training)
def train() -> str:
    import one

    return one.VERSION


@pipeline
def learn():
    train()
"""


def can_cut() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


needs_cut = pytest.mark.skipif(not can_cut(), reason="this user cannot make a network namespace")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, version in (("one", "1.0"), ("two", "1.0")):
        build_wheel(tmp_path / "wheels", name, version, requires=["two"] if name == "one" else [])
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tilth.toml").touch()
    (folder / "pipeline.py").write_text(PIPELINE)
    (tmp_path / "uv.toml").write_text("")
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


def cut(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run tilth where there is no network at all, not even loopback."""
    done = subprocess.run(
        ["unshare", "--net", str(TILTH), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done


@needs_cut
def test_nothing_is_asked_of_an_index_that_is_gone(
    project: Path, tilth: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimpleIndex(project.parent / "wheels") as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        tilth("run", "pipeline.py", cwd=project)
        tilth("env", "lock", "pipeline.py", cwd=project)
    lock = (project / "pylock.training.toml").read_text()
    for command in (
        ("plan", "pipeline.py"),
        ("run", "pipeline.py", "--no-cache"),
        ("env", "list"),
        ("env", "list", "pipeline.py"),
        ("env", "show", "training"),
        ("env", "diff", "learn-1", "learn-2"),
        ("env", "export", "training", "--format", "requirements"),
        ("env", "lock", "--check", "pipeline.py"),
        ("env", "check", "pipeline.py"),
        ("env", "shell", "training", "--", "python", "-c", "import one, two"),
        ("runs", "rerun", "learn-1/train", "--local"),
        ("env", "prune", "--plan"),
        ("cache", "info"),
    ):
        cut(*command, cwd=project)
    cut("env", "checkout", "learn-1/train", "again", cwd=project)
    assert (project / "again").is_dir()
    # Resolving again works with what uv has seen, and what is not there is named.
    cut("env", "lock", "training", "--offline", cwd=project)
    assert (project / "pylock.training.toml").read_text() == lock
    (project / "pipeline.py").write_text(PIPELINE.replace('"two<2"', '"three"'))
    told = cut("env", "lock", "pipeline.py", "--offline", cwd=project, code=1).stderr
    assert "three" in told


@needs_cut
def test_an_environment_that_was_pruned_is_made_again_from_its_packages(
    project: Path, tilth: Callable[..., Ended], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimpleIndex(project.parent / "wheels") as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        tilth("run", "pipeline.py", cwd=project)
    # Its packages are in uv's cache still.
    tilth("env", "prune", "--all", cwd=project)
    listed: Any = json.loads(cut("env", "list", "--json", cwd=project).stdout)
    assert [each["state"] for each in listed if each["name"] == "training"] == ["not made here"]
    cut("run", "pipeline.py", "--no-cache", "--offline", cwd=project)
