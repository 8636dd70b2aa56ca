"""What builds a package comes from where its project says, and never from a stranger of the same name."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.index import build_wheel, write_project
from tests.simple_index import SimpleIndex

from tilth.environments.building import builders
from tilth.errors import DefinitionError, EnvironmentBroken

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.environments.locks import Locked

Here = Any  # see conftest.py


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index on which somebody else has the name `helper`."""
    folder = tmp_path / "strangers"
    build_wheel(folder, "helper", "9.9")
    settings = tmp_path / "strangers.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(folder))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    return folder


def helper_of(here: Here, lock: Locked, name: str) -> str:
    """The version of `helper` that built a package."""
    package = next(each for each in lock.packages if each.name == name)
    builder = builders.find_builder(package.builder, here.home)
    assert builder is not None
    return next(each.version for each in builder.packages if each.name == "helper")


def workspace(root: Path, sources: str) -> None:
    (root / "pyproject.toml").write_text(
        '[project]\nname = "around"\nversion = "0"\ndependencies = []\n'
        f'[tool.uv.workspace]\nmembers = ["libs/*"]\n[tool.uv.sources]\n{sources}'
    )


def test_a_member_of_the_workspace_builds_and_no_stranger(here: Here, strangers: Path) -> None:
    workspace(here.root, "helper = { workspace = true }\n")
    write_project(here.root / "libs/helper", "helper", "0.1")
    write_project(here.root / "libs/made", "made", "1.0", build_requires=["helper"])
    assert helper_of(here, here.lock("./libs/made"), "made") == "0.1"


def test_a_member_says_itself_where_its_build_requirements_are(here: Here, strangers: Path) -> None:
    write_project(here.root / "elsewhere", "helper", "0.2")
    source = '[tool.uv.sources]\nHelper = { path = "../../elsewhere" }\n'
    write_project(here.root / "libs/made", "made", "1.0", build_requires=["helper>=0.1"], sources=source)
    assert helper_of(here, here.lock("./libs/made"), "made") == "0.2"


def test_a_repository_builds_when_that_is_the_source(here: Here, strangers: Path, tmp_path: Path) -> None:
    repository = write_project(tmp_path / "repository", "helper", "0.3")
    for arguments in (
        ["init", "--quiet"], ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "one"],
    ):  # fmt: skip
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    source = f"[tool.uv.sources]\nhelper = {{ git = {json.dumps(repository.as_uri())} }}\n"
    write_project(here.root / "libs/made", "made", "1.0", build_requires=["helper"], sources=source)
    assert helper_of(here, here.lock("./libs/made"), "made") == "0.3"


def test_an_index_builds_when_that_is_the_source(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.toml").write_text("")
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "empty.toml"))
    build_wheel(tmp_path / "strangers", "helper", "9.9")
    build_wheel(tmp_path / "own", "helper", "0.4")
    with SimpleIndex(tmp_path / "strangers") as strangers, SimpleIndex(tmp_path / "own") as own:
        source = (
            f'[[tool.uv.index]]\nname = "own"\nurl = {json.dumps(own.url)}\nexplicit = true\n'
            '[tool.uv.sources]\nhelper = { index = "own" }\n'
        )
        write_project(here.root / "libs/made", "made", "1.0", build_requires=["helper"], sources=source)
        lock = here.lock("./libs/made", index_url=strangers.url)
    assert helper_of(here, lock, "made") == "0.4"


@pytest.mark.parametrize(
    "source",
    [
        "{ workspace = true }",
        '{ index = "nowhere" }',
        '[{ path = "../x", marker = "python_version > \'3\'" }]',
    ],
)
def test_a_source_that_cannot_be_followed_is_refused(here: Here, strangers: Path, source: str) -> None:
    write_project(
        here.root / "libs/made",
        "made",
        "1.0",
        build_requires=["helper"],
        sources=f"[tool.uv.sources]\nhelper = {source}\n",
    )
    with pytest.raises((DefinitionError, EnvironmentBroken)) as caught:
        here.lock("./libs/made")
    assert "helper" in str(caught.value)


def test_sources_can_be_switched_off(here: Here, strangers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace(here.root, "helper = { workspace = true }\n")
    write_project(here.root / "libs/helper", "helper", "0.1")
    write_project(here.root / "libs/made", "made", "1.0", build_requires=["helper"])
    monkeypatch.setenv("UV_NO_SOURCES", "1")
    assert helper_of(here, here.lock("./libs/made"), "made") == "9.9"


def test_members_that_need_each_other_to_be_built_are_named(here: Here, strangers: Path) -> None:
    workspace(here.root, "helper = { workspace = true }\nmade = { workspace = true }\n")
    write_project(here.root / "libs/helper", "helper", "0.1", build_requires=["made"])
    write_project(here.root / "libs/made", "made", "1.0", build_requires=["helper"])
    with pytest.raises(EnvironmentBroken) as caught:
        here.lock("./libs/made")
    assert "needs itself" in str(caught.value)
    assert "`helper`" in str(caught.value)
