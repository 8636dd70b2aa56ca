"""`tilth cache info`: that every file is counted, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import Project
from tests.index import build_sdist, build_wheel

from tilth.client import holdings
from tilth.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ended

PIPELINE = """
    from tilth import Environment, pipeline, step


    @step(environment=Environment("one", requirements=["alpha", "made-here"]))
    def one() -> int:
        return 1


    @step(environment=Environment("two", requirements=["alpha"]))
    def two() -> int:
        return 2


    @pipeline
    def both():
        one()
        two()
"""


def blocks(folder: Path) -> int:
    """As `du` counts them."""
    done = subprocess.run(["du", "-s", "--block-size=1", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


@pytest.fixture
def used(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home folder after a run."""
    links = tmp_path / "links"
    build_wheel(links, "alpha", "1.0", files={"alpha.py": "", "alpha.bin": os.urandom(200_000)})
    build_sdist(links, "made-here", "1.0")
    (tmp_path / "uv.toml").write_text(f"no-index = true\nfind-links = [{json.dumps(str(links))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tilth.toml").touch()
    project = Project(folder, Home(home))
    project.write(PIPELINE)
    project.run()
    return project.home


def test_every_kind_is_counted_and_the_sum_is_what_the_disk_has(
    used: Home, tilth: Callable[..., Ended], tmp_path: Path
) -> None:
    (used.environments / ".tmp-dead").mkdir()
    (used.root / "something").write_text("else")
    told = tilth("cache", "info", "--json").json
    kinds = {each["kind"]: each for each in told["holdings"]}
    # What builds the one that comes as source is an environment too; its lock is kept once more by its digest.
    assert {name: each["number"] for name, each in kinds.items() if name != "caches"} == {
        "wheels": 1, "built wheels": 1, "environments": 3, "locks": 4, "artifacts": 2, "bundles": 1, "runs": 1,
        "database": kinds["database"]["number"], "leftovers": 1, "other": 1,
    }  # fmt: skip
    assert told["size"] == blocks(used.root)
    assert told["uv_cache"] == str(tmp_path / "uv-cache")
    assert told["uv_cache_size"] == blocks(tmp_path / "uv-cache")


def test_what_environments_share_with_wheels_counts_once(used: Home, tilth: Callable[..., Ended]) -> None:
    told = tilth("cache", "info", "--json").json
    if told["file_system"]["clones"] or not told["file_system"]["links"]:
        pytest.skip("this file system shares in another way")
    kinds = {each["kind"]: each for each in told["holdings"]}
    assert kinds["wheels"]["size"] > 200_000
    assert kinds["environments"]["size"] < 200_000 < kinds["environments"]["shared"] < 400_000
    assert "shared" in tilth("cache", "info").stdout.splitlines()[0]


def test_an_empty_home_is_said_to_be_empty_and_not_made(tilth: Callable[..., Ended], home: Path) -> None:
    ended = tilth("cache", "info")
    assert ended.stderr == "nothing is kept yet\n"
    assert f"home         {home}\nsize         0 bytes\n" in ended.stdout
    assert not home.exists()


@pytest.mark.slow
def test_a_hundred_thousand_files_take_little_longer_than_walking_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "none"))
    for number in range(100):
        folder = home.environments / f"{number:064x}" / "lib"
        folder.mkdir(parents=True)
        for each in range(1000):
            (folder / str(each)).touch()
    code = "import os, sys\nfor root, _, files in os.walk(sys.argv[1]):\n    [os.lstat(f'{root}/{f}') for f in files]"
    ratios = []
    while not ratios or (
        min(ratios) >= 4 and len(ratios) < 10
    ):  # others may have taken the processor meanwhile
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, home.root], check=True)
        walked = time.perf_counter() - began
        began = time.perf_counter()
        found = holdings.look(home)
        ratios.append((time.perf_counter() - began) / walked)
        assert [(each.kind, each.number) for each in found.holdings] == [("environments", 100)]
    assert min(ratios) < 4
