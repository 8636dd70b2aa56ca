"""Which folder is the project, and what its files are called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tilth.client.code_root import canonical_module, find_code_root
from tilth.errors import DefinitionError


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("marker", ["tilth.toml", "pyproject.toml", ".git/HEAD"])
def test_the_nearest_marked_folder_is_the_root(tmp_path: Path, marker: str) -> None:
    touch(tmp_path / "pyproject.toml")
    touch(tmp_path / "inner" / marker)
    file = touch(tmp_path / "inner" / "pipelines" / "train.py")
    code = find_code_root(file)
    assert (code.root, code.import_roots, code.marked) == (tmp_path / "inner", (tmp_path / "inner",), True)
    assert canonical_module(file, code) == "pipelines.train"


def test_without_a_marker_the_file_s_folder_is_the_root(tmp_path: Path) -> None:
    file = touch(tmp_path / "train.py")
    code = find_code_root(file)
    assert (code.root, code.import_roots, code.marked) == (tmp_path, (tmp_path,), False)
    assert canonical_module(file, code) == "train"


@pytest.mark.parametrize(
    ("pyproject", "folder"),
    [
        ('[tool.hatch.build.targets.wheel]\npackages = ["lib/pkg"]', "lib"),
        ('[tool.hatch.build.targets.wheel]\nsources = ["lib"]', "lib"),
        ('[tool.setuptools.package-dir]\n"" = "lib"', "lib"),
        ('[tool.setuptools.packages.find]\nwhere = ["lib"]', "lib"),
        ('[[tool.poetry.packages]]\ninclude = "pkg"\nfrom = "lib"', "lib"),
        ('[tool.uv.build-backend]\nmodule-root = "lib"', "lib"),
        ('[tool.pdm.build]\npackage-dir = "lib"', "lib"),
        ('[project]\nname = "x"', "src"),
        ("", "src"),
    ],
)
def test_source_folders_are_read_from_pyproject(tmp_path: Path, pyproject: str, folder: str) -> None:
    touch(tmp_path / "pyproject.toml", pyproject)
    file = touch(tmp_path / folder / "pkg" / "steps.py")
    code = find_code_root(file)
    assert code.import_roots == (tmp_path / folder, tmp_path)
    assert canonical_module(file, code) == "pkg.steps"
    script = touch(tmp_path / "run.py")
    assert canonical_module(script, find_code_root(script)) == "run"


def test_a_package_named_src_is_a_package(tmp_path: Path) -> None:
    touch(tmp_path / "pyproject.toml", "[project]\nname = 'x'")
    touch(tmp_path / "src" / "__init__.py")
    file = touch(tmp_path / "src" / "steps.py")
    assert canonical_module(file, find_code_root(file)) == "src.steps"


def test_packages_and_programs_have_their_names(tmp_path: Path) -> None:
    touch(tmp_path / "tilth.toml")
    for name, module in (
        ("pkg/__init__.py", "pkg"),
        ("pkg/__main__.py", "pkg.__main__"),
        ("__init__.py", "__init__"),
    ):
        file = touch(tmp_path / name)
        assert canonical_module(file, find_code_root(file)) == module


@pytest.mark.parametrize("name", ["train-model", "01_load", "für", "my script", "class"])
def test_a_file_whose_name_is_no_identifier_can_be_imported(tmp_path: Path, name: str) -> None:
    file = touch(tmp_path / "steps" / f"{name}.py", "def f(): return 5")
    touch(tmp_path / "tilth.toml")
    module = canonical_module(file, find_code_root(file))
    program = (
        f"import importlib, pickle, sys; sys.path[0] = {str(tmp_path)!r}; f = importlib.import_module({module!r}).f; "
        "print(f(), f.__module__, pickle.loads(pickle.dumps(f)) is f)"
    )
    ended = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program], capture_output=True, text=True, encoding="utf-8"
    )
    assert ended.stdout.strip() == f"5 steps.{name} True"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("types.py", "module of Python's own"),
        ("tilth.py", "tilth's own"),
        ("train.v2.py", "train_v2"),
        ("a.b/x.py", "a_b"),
    ],
)
def test_a_name_that_cannot_be_imported_is_refused_with_a_better_one(
    tmp_path: Path, name: str, said: str
) -> None:
    touch(tmp_path / "tilth.toml")
    file = touch(tmp_path / name)
    with pytest.raises(DefinitionError, match=said):
        canonical_module(file, find_code_root(file))


def test_a_module_of_a_package_may_be_called_like_one_of_python_s(tmp_path: Path) -> None:
    touch(tmp_path / "tilth.toml")
    file = touch(tmp_path / "pkg" / "types.py")
    assert canonical_module(file, find_code_root(file)) == "pkg.types"


def test_a_broken_pyproject_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "pyproject.toml", "[project\n")
    with pytest.raises(DefinitionError, match=r"pyproject\.toml"):
        find_code_root(touch(tmp_path / "x.py"))


def test_a_relative_path_is_taken_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "train.py")
    monkeypatch.chdir(tmp_path)
    assert canonical_module(Path("train.py"), find_code_root(Path("train.py"))) == "train"
