"""Local packages: built once for each content, and what of a folder counts."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.environments.building.test_builds import commit_all, git, hooks, package, value, versions
from tests.index import build_wheel, write_project

from tilth.define.environments import Environment
from tilth.environments import locks, venvs
from tilth.environments.building import local
from tilth.environments.files import remove_tree
from tilth.errors import DefinitionError, TilthError
from tilth.home import Home

if TYPE_CHECKING:
    from pathlib import Path

    from tests.environments.conftest import Here

__all__ = ["hooks"]


@pytest.fixture
def features(tmp_path: Path) -> Path:
    return write_project(
        tmp_path / "libs/features",
        "features",
        "1.0",
        files={"features/__init__.py": "X = 1\n"},
        requires=["beta"],
    )


@pytest.mark.parametrize(
    "line",
    [
        "./libs/features",
        "features @ ./libs/features",
        "-e ./libs/features",
        "./libs/../libs/features",
        "features @ {url}",
    ],
)
def test_a_folder_is_built_as_a_wheel_however_it_is_named(here: Here, features: Path, line: str) -> None:
    lock = here.lock(line.format(url=features.as_uri()))
    assert versions(lock) == {"beta": "2.0", "features": "1.0"}
    built = package(lock, "features")
    assert (built.file, bool(built.size), bool(built.builder)) == (
        "features-1.0-py3-none-any.whl",
        True,
        True,
    )
    where = value(here, lock, "import features; features.__file__")
    assert where.startswith(os.fspath(here.home.environments))
    assert {each.name for each in features.iterdir()} == {
        "backend.py",
        "builder.py",
        "content",
        "pyproject.toml",
    }


def test_a_changed_file_gives_another_environment_and_a_lock_that_is_found_no_more(
    here: Here, features: Path, hooks: list[str]
) -> None:
    environment = Environment("training", requirements=["./libs/features"])
    before = here.lock_of(environment)
    assert here.find(environment) == before
    (features / "content/features/__init__.py").write_text("X = 2\n")
    assert here.find(environment) is None
    after = here.lock_of(environment)
    assert after.digest != before.digest
    assert here.find(environment) == after
    assert value(here, after, "import features; features.X") == "2"
    assert value(here, before, "import features; features.X") == "1", "what a run recorded stays"
    built = len(hooks)
    (features / "content/features/__init__.py").write_text("X = 1\n")
    assert here.lock_of(environment).digest == before.digest
    assert len(hooks) == built, "this content was built before"


def test_a_recorded_lock_keeps_what_was_built_when_the_folder_has_changed(here: Here, features: Path) -> None:
    made = here.lock("./libs/features")
    (features / "content/features/__init__.py").write_text("X = 2\n")
    opened = locks.open_lock(
        made.text,
        {"name": "training"},
        root=here.root,
        interpreter=here.interpreter,
        home=here.home,
        packages=made.packages,
    )
    assert (opened.digest, opened.packages) == (made.digest, made.packages)
    remove_tree(here.home.environments)
    assert value(here, opened, "import features; features.X") == "1"


def test_time_and_what_is_no_part_of_a_package_change_nothing(here: Here, features: Path) -> None:
    environment = Environment("training", requirements=["./libs/features"])
    before = here.lock_of(environment)
    for path in features.rglob("*"):
        os.utime(path, (1, 1))
    for left in (
        "dist/x.whl",
        "build/lib/x.py",
        "features.egg-info/PKG-INFO",
        "content/__pycache__/x.pyc",
        ".venv/pyvenv.cfg",
    ):
        (features / left).parent.mkdir(parents=True, exist_ok=True)
        (features / left).write_text("left over")
    assert here.find(environment) == before


def test_what_is_executable_counts(features: Path, home: Path) -> None:
    before = local.digest(features, Home(home))
    (features / "content/features/__init__.py").chmod(0o755)
    assert local.digest(features, Home(home)) != before


def test_a_file_that_git_ignores_is_no_part_of_a_package(here: Here, features: Path, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\ncontent/generated.py\n")
    commit_all(tmp_path)
    environment = Environment("training", requirements=["./libs/features"])
    before = here.lock_of(environment)
    (features / "content/run.log").write_text("noise")
    assert here.find(environment) == before
    (features / "content/untracked.py").write_text("Y = 1\n")
    assert here.find(environment) is None, "a file that git would add counts"
    (features / "content/untracked.py").unlink()
    assert here.find(environment) == before
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    assert here.find(environment) == before, "a commit alone changes no file"


def test_a_file_that_leads_outside_is_taken_as_what_it_leads_to(
    features: Path, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "shared.py").write_text("S = 1\n")
    (features / "content/shared.py").symlink_to(tmp_path / "shared.py")
    (features / "content/inner.py").symlink_to("features/__init__.py")
    before = local.copy(features, tmp_path / "copy", Home(home))
    assert (tmp_path / "copy/content/shared.py").read_text() == "S = 1\n"
    assert not (tmp_path / "copy/content/shared.py").is_symlink()
    assert (tmp_path / "copy/content/inner.py").is_symlink()
    (tmp_path / "shared.py").write_text("S = 2\n")
    assert local.digest(features, Home(home)) != before


def test_a_change_keeps_the_versions_of_everything_else(here: Here, tmp_path: Path, features: Path) -> None:
    links = tmp_path / "links"
    build_wheel(links, "delta", "1.0")
    environment = Environment("training", requirements=["./libs/features", "delta"], find_links=["links"])
    before = here.lock_of(environment)
    build_wheel(links, "delta", "1.1")
    (features / "content/features/__init__.py").write_text("X = 2\n")
    after = here.lock_of(environment)
    assert versions(after)["delta"] == "1.0"
    assert after.digest != before.digest
    assert versions(here.lock_of(environment, upgrade=True))["delta"] == "1.1"


def test_new_dependencies_of_a_folder_are_locked(here: Here, features: Path) -> None:
    environment = Environment("training", requirements=["./libs/features"])
    here.lock_of(environment)
    pyproject = features / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("['beta']", "['beta', 'space-one']"))
    assert versions(here.lock_of(environment)) == {"beta": "2.0", "features": "1.0", "space-one": "1.0"}


def test_members_of_a_workspace_that_need_each_other(here: Here, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "1"\ndependencies = ["features"]\n'
        '[tool.uv]\nno-index = true\nfind-links = ["links"]\n'
        '[tool.uv.workspace]\nmembers = ["libs/*"]\n'
        "[tool.uv.sources]\nfeatures = { workspace = true }\nbase = { workspace = true }\n"
    )
    write_project(
        tmp_path / "libs/features",
        "features",
        "1.0",
        requires=["base"],
        sources="[tool.uv.sources]\nbase = { workspace = true }\n",
    )
    write_project(tmp_path / "libs/base", "base", "0.5")
    lock = here.lock_of(Environment("training", pyproject="pyproject.toml"))
    assert versions(lock) == {"base": "0.5", "features": "1.0"}
    assert value(here, lock, "import base, features; base.VERSION, features.VERSION") == "0.5 1.0"
    (tmp_path / "libs/base/content/base.py").write_text("VERSION = 'changed'\n")
    after = here.lock_of(Environment("training", pyproject="pyproject.toml"))
    assert package(after, "features") == package(lock, "features")
    assert package(after, "base") != package(lock, "base")


def test_a_lost_wheel_is_built_again_unless_the_folder_has_changed(here: Here, features: Path) -> None:
    lock = here.lock("./libs/features")
    remove_tree(here.home.wheels)
    assert value(here, lock, "import features; features.X") == "1"
    remove_tree(here.home.wheels)
    remove_tree(here.home.environments)
    (features / "content/features/__init__.py").write_text("X = 2\n")
    with pytest.raises(TilthError, match="its files have changed since"):
        venvs.realise(lock, here.home)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "which is not there"),
        ({}, "it lacks a `pyproject.toml`"),
        ({"pyproject.toml": "[tool.ruff]\n"}, "it lacks a table `[project]`"),
        ({"pyproject.toml": "[project\n"}, "is not valid TOML"),
    ],
)
@pytest.mark.parametrize("line", ["./libs/x", "-e ./libs/x", "x @ ./libs/x"])
def test_a_folder_that_is_no_package_is_refused_with_what_it_lacks(
    here: Here, tmp_path: Path, content: dict[str, str] | None, said: str, line: str
) -> None:
    if content is not None:
        (tmp_path / "libs/x").mkdir(parents=True)
        for name, text in content.items():
            (tmp_path / "libs/x" / name).write_text(text)
    with pytest.raises(DefinitionError) as caught:
        here.lock(line)
    assert said in str(caught.value)
    assert "`training`" in str(caught.value)
    assert str(tmp_path / "libs/x") in str(caught.value)


def test_an_unchanged_folder_is_not_read(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"many/m{number}.py": f"X = {number}\n" * 500 for number in range(300)}
    folder = write_project(tmp_path / "many", "many", "1.0", files=files)
    old = time.time() - 100
    for path in folder.rglob("*"):
        os.utime(path, (old, old))
    time.sleep(2.1)  # younger files are read each time
    source = f'directory = {{ path = "{folder}" }}'
    first = local.stamp([source], tmp_path, Home(home))
    read: list[str] = []

    def watched(path: str, *arguments: Any, **options: Any) -> Any:
        read.append(os.fspath(path))
        return open(path, *arguments, **options)

    monkeypatch.setattr(local, "open", watched, raising=False)
    assert local.stamp([source], tmp_path, Home(home)) == first
    assert read == []
    changed = next(folder.rglob("m1.py"))
    changed.write_text("X = 0\n")
    assert local.stamp([source], tmp_path, Home(home)) != first
    assert read == [str(changed)]


def test_only_folders_have_a_stamp(tmp_path: Path, home: Path) -> None:
    assert local.stamp(['sdist = { url = "https://example.com/a.tar.gz" }'], tmp_path, Home(home)) == ""
    gone = local.stamp(['directory = { path = "nowhere" }'], tmp_path, Home(home))
    assert gone
    subprocess.run(["mkdir", tmp_path / "nowhere"], check=True)
    assert local.stamp(['directory = { path = "nowhere" }'], tmp_path, Home(home)) != gone
