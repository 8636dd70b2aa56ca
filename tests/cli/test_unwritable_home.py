"""A home folder on a read-only or full disk: what can be read is, the rest is told in a few lines, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import Project
from tests.index import build_wheel

from tilth.errors import HomeUnwritable
from tilth.home import Home
from tilth.records import Run, State
from tilth.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ended

    Mount = Callable[..., Path]
    Tilth = Callable[..., Ended]

pytestmark = pytest.mark.faults

PIPELINE = """
    from tilth import Environment, pipeline, step


    @step(environment=Environment("small", requirements=["alpha"]))
    def small() -> str:
        import alpha

        return alpha.VERSION


    @step
    def length(text: str) -> int:
        return len(text)


    @pipeline
    def sizes():
        length(small())
"""

READING = [
    ("plan", "pipeline.py"),
    ("env", "list"),
    ("env", "show", "small"),
    ("env", "prune", "--plan"),
    ("runs", "list"),
    ("runs", "show", "sizes-1"),
    ("artifacts", "list"),
    ("artifacts", "show", "length/output"),
    ("cache", "info"),
]
WRITING = [
    ("run", "pipeline.py"),
    ("run", "pipeline.py", "--no-cache"),
    ("env", "prune", "--all"),
    ("runs", "resume", "sizes-1"),
    ("runs", "delete", "sizes-1"),
]


@pytest.fixture
def disk(mount: Mount) -> Path:
    return mount("-o", "size=16m")


@pytest.fixture
def project(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose home is on a small disk of its own."""
    links = tmp_path / "links"
    build_wheel(links, "alpha", "1.0")
    (tmp_path / "uv.toml").write_text(f"no-index = true\nfind-links = [{json.dumps(str(links))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("TILTH_HOME", str(disk / "home"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tilth.toml").touch()
    project = Project(folder, Home(disk / "home"))
    project.write(PIPELINE)
    return project


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    status = os.statvfs(folder)
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize)
    return filler


def explained(ended: Ended, *words: str) -> None:
    """Failed in tilth's own form, in a few lines, with what to do."""
    assert ended.code == 1, ended
    assert "Traceback" not in ended.stderr, ended
    assert "bug in tilth" not in ended.stderr, ended
    assert "error: " in ended.stderr, ended
    assert "  hint: " in ended.stderr, ended
    assert any(word in ended.stderr for word in words), ended
    assert len(ended.stderr.splitlines()) < 15, ended


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(each.relative_to(folder)): each.read_bytes()
        for each in sorted(folder.rglob("*"))
        if each.is_file()
    }


def test_what_is_on_a_read_only_disk_can_be_looked_at_and_nothing_else(
    project: Project, disk: Path, tilth: Tilth
) -> None:
    project.run()
    before = tree(disk)
    remount(disk, "ro")
    for command in READING:
        tilth(*command, cwd=project.folder)
    assert "2 reused" in tilth("plan", "pipeline.py", cwd=project.folder).stdout
    tilth("artifacts", "get", "small/output", "out", cwd=project.folder)
    assert "1.0" in (project.folder / "out").read_text()
    for command in WRITING:
        explained(tilth(*command, cwd=project.folder, code=None), "read-only")
    remount(disk, "rw")
    assert tree(disk) == before
    assert project.run().states == {"small": "cached", "length": "cached"}


def test_a_read_only_disk_without_a_home_is_told(project: Project, disk: Path, tilth: Tilth) -> None:
    remount(disk, "ro")
    assert "1 to run" in tilth("plan", "pipeline.py", cwd=project.folder).stdout
    for command in (("run", "pipeline.py"), ("env", "list")):
        ended = tilth(*command, cwd=project.folder, code=1)
        explained(ended, "ead-only file system")
        assert "or set `TILTH_HOME`" in ended.stderr
    assert list(disk.iterdir()) == []


def test_a_database_whose_log_was_not_folded_in_is_not_read_without_it(project: Project, disk: Path) -> None:
    project.run()
    kept = disk / "kept"
    store = open_store(project.home)
    store.replace(run := project.last_run(), run)  # in the log alone, while the store is open
    shutil.copytree(project.home.root, kept, ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    shutil.rmtree(project.home.root)
    kept.rename(project.home.root)
    assert (project.home.root / "tilth.db-wal").stat().st_size
    remount(disk, "ro")
    with pytest.raises(HomeUnwritable):
        open_store(project.home, to_read=True)
    remount(disk, "rw")
    with open_store(project.home, to_read=True) as store:
        assert store.get(type(run), run.id).revision == run.revision + 1


@pytest.mark.parametrize(
    "folder", ["artifacts", "bundles", "runs", "locks", "wheels", "environments", "cache"]
)
def test_a_folder_of_the_home_that_is_read_only_is_named(
    project: Project, mount: Mount, tilth: Tilth, folder: str
) -> None:
    place = project.home.root / folder
    mount("-o", "size=1m", at=place)
    remount(place, "ro")
    tilth("plan", "pipeline.py", cwd=project.folder)
    ended = tilth("run", "pipeline.py", cwd=project.folder, code=None)
    if folder == "cache":
        assert ended.code == 0, ended  # it only saves time
        return
    explained(ended, f"`{place}")
    remount(place, "rw")
    for run in project.records(Run):  # it had begun
        assert project.resume(run.name).run.state is State.COMPLETED
    assert project.run().run.state is State.COMPLETED


def test_environments_on_a_read_only_disk_are_used_as_they_are(
    project: Project, mount: Mount, tmp_path: Path
) -> None:
    project.run()
    place = project.home.environments
    shutil.copytree(place, tmp_path / "kept", symlinks=True)
    mount("-o", "size=4m", at=place)
    shutil.copytree(tmp_path / "kept", place, symlinks=True, dirs_exist_ok=True)
    remount(place, "ro")
    played = project.run(cache=False)
    assert played.states == {"small": "completed", "length": "completed"}


def test_a_full_disk_is_told_and_pruning_makes_room(project: Project, disk: Path, tilth: Tilth) -> None:
    filler = fill(disk)
    for command in (("run", "pipeline.py"), ("env", "list"), ("plan", "pipeline.py")):
        ended = tilth(*command, cwd=project.folder, code=None)
        if ended.code:
            explained(ended, "no space left")
    filler.unlink()
    project.run()
    filler = fill(disk)
    project.write(PIPELINE.replace("len(text)", "len(text) + 1"))
    for command in (*READING, ("run", "pipeline.py")):
        ended = tilth(*command, cwd=project.folder, code=None)
        if ended.code:
            explained(ended, "no space left")
    explained(tilth("run", "pipeline.py", cwd=project.folder, code=1), "no space left")
    assert "removed" in tilth("env", "prune", "--all", cwd=project.folder).stdout
    assert list(project.home.environments.glob("*")) == []
    filler.unlink()
    assert project.run().states == {"small": "completed", "length": "completed"}
    project.write(PIPELINE)
    assert project.run().states == {"small": "cached", "length": "cached"}  # of before the disk was full


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_cache_of_uv_that_cannot_be_written_is_named(
    project: Project, mount: Mount, tilth: Tilth, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    place = mount("-o", "size=1m")
    monkeypatch.setenv("UV_CACHE_DIR", str(place / "cache"))
    if state == "full":
        fill(place)
    else:
        remount(place, "ro")
    ended = tilth("run", "pipeline.py", cwd=project.folder, code=None)
    explained(ended, f"`{place}/cache`")
