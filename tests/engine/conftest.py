"""Projects in folders of their own, and an index of tiny wheels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import Project
from tests.index import build_wheel

from tilth.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Project:
    """An empty project."""
    (tmp_path / "tilth.toml").touch()
    return Project(tmp_path, Home(home))


@pytest.fixture(scope="module")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """Projects that a module's tests share: what was run once is looked at by many."""

    def make(source: str) -> Project:
        folder = tmp_path_factory.mktemp("project")
        (folder / "tilth.toml").touch()
        made = Project(folder, Home(tmp_path_factory.mktemp("shared") / "tilth"))
        made.write(source)
        return made

    return make


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder index: `alpha` 1.0 and 2.0 exclude each other, `roomy` fills a small disk."""
    folder = tmp_path_factory.mktemp("index")
    for version in ("1.0", "2.0"):
        build_wheel(folder, "alpha", version)
    build_wheel(folder, "beta", "1.0", files={"beta.py": "VERSION = '1.0'\n"})
    build_wheel(folder, "roomy", "1.0", files={"roomy/__init__.py": "", "roomy/data.bin": bytes(24 << 20)})
    return folder


@pytest.fixture
def only_the_index(
    index: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("uv")
    settings = folder / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(index))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
