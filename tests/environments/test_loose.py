"""What a step depends on beside the versions of distributions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from tilth.environments import Reach, inventory, loose

if TYPE_CHECKING:
    from pathlib import Path

    from tests.environments.conftest import Here


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    return folder


def reached(here: Here, library: Path, *modules: str) -> dict[str, str]:
    python = msgspec.structs.replace(here.interpreter, site_packages=(str(library),))
    found = Reach(inventory(python, here.home), python, here.home).packages(modules)
    return {each.name: each.version for each in found}


def install(library: Path, name: str, direct: str = "", files: dict[str, str] | None = None) -> None:
    info = library / f"{name}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if direct:
        (info / "direct_url.json").write_text(direct)
    lines = [f"{path},sha256={digest},1\n" for path, digest in (files or {f"{name}.py": "x"}).items()]
    (info / "RECORD").write_text("".join(lines) + f"{info.name}/METADATA,,\n")
    state = library.stat()
    os.utime(library, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))  # as a real installation does


@pytest.mark.parametrize("way", ["PYTHONPATH", "pth", "site-packages"])
@pytest.mark.parametrize("file", ["mylib.py", "mylib/__init__.py", "mylib/deep/part.py"])
def test_a_module_of_no_distribution_counts_by_its_content(
    here: Here, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, file: str
) -> None:
    folder = library if way == "site-packages" else tmp_path / "libs"
    if way == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}")
    elif way == "pth":
        (library / "own.pth").write_text(f"# ours\nimport os\n{folder}\n")
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("VALUE = 1\n")
    before = reached(here, library, "mylib.part", "json", "nowhere")
    assert list(before) == ["mylib"]
    assert reached(here, library, "mylib") == before
    path.write_text("VALUE = 2\n")
    assert reached(here, library, "mylib") != before


def test_what_such_a_module_imports_counts_too(
    here: Here, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    install(library, "alpha")
    (tmp_path / "one.py").write_text("def f():\n    from two import g\n")
    (tmp_path / "two.py").write_text("import one, alpha.deep, os\n")
    found = reached(here, library, "one")
    assert list(found) == ["alpha", "one", "two"]
    (tmp_path / "two.py").write_text("import one, alpha.deep, sys\n")
    assert reached(here, library, "one") == {**found, "two": reached(here, library, "two")["two"]}
    assert reached(here, library, "one") != found


def test_a_module_that_hides_a_distribution_counts_beside_it(
    here: Here, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(library, "alpha")
    assert reached(here, library, "alpha") == {"alpha": "1.0"}
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "alpha.py").touch()
    assert reached(here, library, "alpha")["alpha"].startswith("1.0 sha256:")


@pytest.mark.parametrize("linked", [True, False])
def test_an_editable_distribution_counts_by_its_sources(
    here: Here, library: Path, tmp_path: Path, *, linked: bool
) -> None:
    project = tmp_path / "project"
    source = project / "src" / "mine" / "__init__.py"
    source.parent.mkdir(parents=True)
    source.touch()
    install(library, "mine", f'{{"url": "{project.as_uri()}", "dir_info": {{"editable": true}}}}')
    if linked:
        (library / "mine.pth").write_text(f"{project / 'src'}\n")
    before = reached(here, library, "mine")
    (project / "notes.py").touch()
    assert reached(here, library, "mine") == before
    source.write_text("VALUE = 1\n")
    assert reached(here, library, "mine") != before


@pytest.mark.parametrize(
    ("direct", "origin"),
    [
        ('{"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}', "abc123"),
        ('{"url": "https://host/x.whl", "archive_info": {"hash": "sha256=12"}}', "sha256=12"),
        ('{"url": "https://host/x.whl", "archive_info": {"hashes": {"sha256": "34"}}}', "sha256=34"),
    ],
)
def test_an_install_from_a_url_counts_by_what_was_there(
    here: Here, library: Path, direct: str, origin: str
) -> None:
    install(library, "alpha", direct)
    assert reached(here, library, "alpha") == {"alpha": f"1.0 {origin}"}


def test_an_install_from_a_folder_counts_by_its_files(here: Here, library: Path) -> None:
    direct = '{"url": "file:///project", "dir_info": {}}'
    install(library, "alpha", direct, {"alpha.py": "one", "alpha-1.0.dist-info/uv_cache.json": "now"})
    before = reached(here, library, "alpha")
    install(library, "alpha", direct, {"alpha.py": "one", "alpha-1.0.dist-info/uv_cache.json": "later"})
    assert reached(here, library, "alpha") == before
    install(library, "alpha", direct, {"alpha.py": "two", "alpha-1.0.dist-info/uv_cache.json": "later"})
    assert reached(here, library, "alpha") != before


def test_unchanged_files_are_not_read_again(
    here: Here, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (library / "mylib.py").write_text("import json\n")
    before = reached(here, library, "mylib")
    monkeypatch.setattr(loose, "_imported", lambda text: pytest.fail("it was read again"))
    assert reached(here, library, "mylib") == before


def test_distributions_in_a_folder_on_the_path_count_by_version(
    here: Here, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in ("alpha", "own"):
        (shared / f"{name}.py").touch()
    install(shared, "alpha")
    install(library, "beta")
    monkeypatch.setenv("PYTHONPATH", str(shared))
    found = reached(here, library, "alpha", "beta", "own")
    assert {name: version[:7] for name, version in found.items()} == {
        "alpha": "1.0",
        "beta": "1.0",
        "own": "sha256:",
    }
