"""Imports that steps need are told before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

USING = """
import nowhere_installed as away

from tilth import Environment, pipeline, step


@step
def names(frame: "away.Frame | int" = 1) -> int:
    return 1


@step
def uses() -> int:
    return away.Frame().height


@pipeline
def naming():
    names()


@pipeline
def using():
    names()
    uses()
"""


def test_a_package_that_a_step_uses_in_the_client_and_is_not_there_is_told_before_anything_runs(
    tilth: Any, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.py").write_text(USING)
    told = "step `uses` imports `nowhere_installed` (pipeline.py:2), which is not installed here"
    assert told in tilth("plan", "pipeline.py:using").stderr
    assert told in tilth("run", "pipeline.py:using", code=1).stderr
    assert tilth("runs", "list", "--json").json == []


def test_a_package_that_only_annotations_name_may_be_absent(tilth: Any, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(USING)
    assert "completed" in tilth("run", "pipeline.py:naming").stderr


def test_a_step_that_debugging_brings_here_must_find_its_packages_here(tilth: Any, tmp_path: Path) -> None:
    elsewhere = USING.replace(
        "@step\ndef uses", "@step(environment=Environment('e', requirements=['none']))\ndef uses"
    )
    (tmp_path / "pipeline.py").write_text(elsewhere)
    refused = tilth("run", "pipeline.py:using", "--in-process", code=1)
    assert "step `uses` imports `nowhere_installed`" in refused.stderr
