"""The project's options, and its code as it is now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tilth.client.project import WorkingTree
from tilth.errors import DefinitionError
from tilth.ir.pipeline import Pipeline
from tilth.project_file import project_options
from tilth.runtime.sources import source_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ended


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {}),
        ({"pyproject.toml": ""}, {}),
        ({"pyproject.toml": "[tool.ruff]\nline-length = 9"}, {}),
        ({"pyproject.toml": "[tool.tilth]\ncache = false"}, {"cache": False}),
        (
            {"pyproject.toml": "[tool.tilth.environment]\nrequirements = ['a']"},
            {"environment": {"requirements": ["a"]}},
        ),
        ({"tilth.toml": "retry = {delay = '1s'}"}, {"retry": {"delay": "1s"}}),
        ({"tilth.toml": "worker = 'fresh'", "pyproject.toml": "[tool.tilth]\ncache = false"}, {"worker": "fresh"}),
        ({"tilth.toml": "", "pyproject.toml": "[tool.tilth]\ncache = false"}, {}),
    ],
)  # fmt: skip
def test_options_are_those_of_the_project_s_file(
    tmp_path: Path, files: dict[str, str], expected: object
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert project_options(tmp_path) == expected


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tilth.toml", b"cache = ", "tilth.toml` cannot be read"),
        ("tilth.toml", b"# caf\xe9", "tilth.toml` cannot be read"),
        ("pyproject.toml", b"[tool.tilth", "pyproject.toml` cannot be read"),
        ("pyproject.toml", b"[tool]\ntilth = 3", "`tool.tilth` in .* is `3`"),
        ("pyproject.toml", b"tool = 'x'", "`tool.tilth` in .* is `x`"),
    ],
)
def test_a_file_that_says_nothing_sensible_is_refused(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DefinitionError, match=told) as caught:
        project_options(tmp_path)
    assert caught.value.mend


@pytest.fixture
def tree(tmp_path: Path) -> WorkingTree:
    """Two modules in two roots, as they were compiled."""
    for folder, name in (("src", "a"), ("scripts", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text("x = 1\n")
    files = {"a": "a.py", "b": "b.py"}
    digests = {
        "a": source_digest(tmp_path / "src" / "a.py"),
        "b": source_digest(tmp_path / "scripts" / "b.py"),
    }
    pipeline = Pipeline(name="p", function="a:p", sources=digests, files=files)
    roots = [str(tmp_path / "src"), str(tmp_path / "scripts")]
    return WorkingTree(pipeline, roots=roots, cwd=str(tmp_path), bundle="")


def test_the_working_tree_knows_which_files_have_changed(tree: WorkingTree, tmp_path: Path) -> None:
    a, b = tmp_path / "src" / "a.py", tmp_path / "scripts" / "b.py"
    assert tree.changed(["a", "b"]) == []
    b.write_text("x = 2\n")
    assert tree.changed(["a", "b"]) == ["b.py"]
    b.write_text("x = 1\r\n")  # the same source, with other newlines
    assert tree.changed(["a", "b"]) == []
    a.unlink()
    assert tree.changed(["a", "b"]) == ["a.py"]
    assert tree.changed(["b"]) == []


def test_a_file_that_was_touched_is_read_again_and_found_the_same(tree: WorkingTree, tmp_path: Path) -> None:
    assert tree.changed(["a"]) == []
    os.utime(tmp_path / "src" / "a.py", (1, 1))
    assert tree.changed(["a"]) == []


def test_a_file_that_is_no_python_any_more_has_changed(tree: WorkingTree, tmp_path: Path) -> None:
    (tmp_path / "src" / "a.py").write_bytes(b"\xff\xfe")
    assert tree.changed(["a"]) == ["a.py"]


def test_what_a_project_says_of_its_runs_is_no_option_of_its_steps(
    tmp_path: Path, tilth: Callable[..., Ended]
) -> None:
    (tmp_path / "flow.py").write_text(
        "from tilth import pipeline, step\n\n@step\ndef f() -> int:\n    return 1\n\n@pipeline\ndef flow():\n    f()\n"
    )
    (tmp_path / "tilth.toml").write_text('code = "git"\ncode-remote = "origin"\n')
    tilth("plan", "flow.py")
    (tmp_path / "tilth.toml").write_text('code = "gti"\n')
    told = tilth("plan", "flow.py", code=1).stderr
    assert "code cannot be delivered by `gti`" in told
    assert "did you mean `git`?" in told
