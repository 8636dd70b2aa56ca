"""Which files a build may copy, compared with what Docker itself sends."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.services import DockerEngine, own_name

from tilth.image_builders.contexts import BuildContext

if TYPE_CHECKING:
    from pathlib import Path

FILES = ["a.py", "a.pyc", "b/a.pyc", "b/c/a.pyc", "b/c/keep.txt", "b/keep.txt", "data/x/1", "data/y/1", "-x",
         "Dockerfile", ".git/config", "sub/.git/config", "[x]/a", "#hash", "docs/a.md", "README.md"]  # fmt: skip
IGNORED = {
    "nothing": "",
    "only at the root": "*.pyc\n",
    "anywhere": "**/*.pyc\n**/.git\n",
    "a folder, in every spelling": "/b/\n./data\n",
    "all but some": "*\n!b/keep.txt\n!data/x\n",
    "the last counts": "b\n!b/c\nb/c/keep.txt\n",
    "comments and blanks": "# a comment\n\n  docs  \n #hash\n",
    "inner stars": "*/c\n*/*/1\n",
    "question marks and classes": "?.py\nREADME.[a-m]d\n",
    "exceptions with blanks": "*.md\n! README.md\n",
    "dots": "b/../data\n../a.py\n.\n",
    "a folder's content": "data/**\n!data/y/1\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "tree"


def files(folder: Path) -> set[str]:
    return {path for path in BuildContext(folder).paths() if not (folder / path).is_dir()}


@pytest.mark.parametrize("rules", IGNORED.values(), ids=IGNORED)
def test_the_same_files_are_ignored_as_docker_ignores(
    tree: Path, docker_engine: DockerEngine, rules: str
) -> None:
    (tree / ".dockerignore").write_text(rules)
    name = own_name()
    docker = [docker_engine.cli, "--host", docker_engine.host]
    (tree.parent / "Dockerfile").write_text("FROM scratch\nCOPY . /\nCMD x\n")
    subprocess.run(
        [*docker, "build", "--quiet", "--tag", name, "--file", str(tree.parent / "Dockerfile"), str(tree)],
        check=True, capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )  # fmt: skip
    try:
        created = subprocess.run([*docker, "create", name], check=True, capture_output=True, text=True).stdout
        exported = subprocess.run(
            [*docker, "export", created.strip()], check=True, capture_output=True
        ).stdout
        subprocess.run([*docker, "rm", created.strip()], check=True, capture_output=True)
    finally:
        subprocess.run([*docker, "rmi", name], check=True, capture_output=True)
    listed = subprocess.run(["tar", "--list"], input=exported, check=True, capture_output=True).stdout
    # Docker makes these in every container.
    own = (".dockerenv", "dev/", "etc/", "proc/", "sys/")
    docker_has = {
        each
        for each in listed.decode().split("\n")
        if each and not each.endswith("/") and not each.startswith(own)
    }
    assert files(tree) == docker_has


def test_a_file_beside_the_dockerfile_goes_before(tree: Path) -> None:
    (tree / ".dockerignore").write_text("a.py\n")
    (tree / "Dockerfile.dockerignore").write_text("*\n!README.md\n")
    assert BuildContext(tree, tree / "Dockerfile").paths() == ["README.md"]
    assert "a.py" not in BuildContext(tree, tree / "other").paths()


def test_the_digest_is_of_contents_and_modes_and_not_of_times(tree: Path, tmp_path: Path) -> None:
    before = BuildContext(tree).digest()
    os.utime(tree / "a.py", (1, 1))
    assert BuildContext(tree).digest() == before
    (tmp_path / "copy").mkdir()
    assert BuildContext(tree).stage(tmp_path / "copy") == before
    (tree / "a.py").chmod(0o755)
    executable = BuildContext(tree).digest()
    (tree / "a.py").write_text("other")
    changed = BuildContext(tree).digest()
    (tree / "empty").mkdir()
    with_folder = BuildContext(tree).digest()
    (tree / "link").symlink_to("a.py")
    assert len({before, executable, changed, with_folder, BuildContext(tree).digest()}) == 5


def test_a_link_that_leads_outside_stays_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (tree / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "copy").mkdir()
    BuildContext(tree).stage(tmp_path / "copy")
    assert (tmp_path / "copy" / "link").is_symlink()


def test_the_home_of_tilth_is_no_part_of_it(tree: Path) -> None:
    before = BuildContext(tree).digest()
    (tree / ".tilth").mkdir()
    (tree / ".tilth" / "log").write_text("changes")
    assert BuildContext(tree, without=tree / ".tilth").digest() == before
