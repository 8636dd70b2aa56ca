"""What is told of environments that cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

WANTED = """
from tilth import Environment, pipeline, step

wanted = Environment("wanted", {options})


@step(environment=wanted)
def train(alpha: int) -> int:
    return alpha


@step
def load() -> int:
    return 1


@pipeline
def learn():
    for alpha in range({count}):
        train(load(), after=()) if alpha else train(alpha)
"""


@pytest.mark.parametrize(
    "options", ['requirements=["no-such-package==1"]', 'requirements=["tilth"], python="3.99"']
)
def test_what_cannot_be_had_names_the_environment_and_its_steps(
    tilth: Any, tmp_path: Path, options: str
) -> None:
    (tmp_path / "pipeline.py").write_text(WANTED.format(options=options, count=1))
    said = tilth("run", "pipeline.py", "--offline", code=1).stderr
    assert "environment `wanted` is that of step `train`\n" in said
    (tmp_path / "pipeline.py").write_text(WANTED.format(options=options, count=15))
    said = tilth("run", "pipeline.py", "--offline", code=1).stderr
    assert "environment `wanted` is that of steps `train`, `train_2`, `train_3`, …\n" in said


def test_an_environment_whose_interpreter_was_removed_is_made_anew(
    tilth: Any, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "pipeline.py").write_text(WANTED.format(options="requirements=[]", count=1))
    tilth("run", "pipeline.py", "--offline")
    (python,) = home.glob("environments/*/bin/python")
    python.parent.chmod(0o755)
    python.unlink()
    python.symlink_to(tmp_path / "removed" / "python3")
    assert "locked, to be made" in tilth("plan", "pipeline.py").stdout
    again = tilth("run", "pipeline.py", "--offline", "--no-cache").stderr
    assert "environment wanted: " in again
    assert "made in" in again
    assert "completed" in again
    assert python.resolve().exists()
