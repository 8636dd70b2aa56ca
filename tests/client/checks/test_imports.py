"""Imports that steps need are told before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

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


HANDING_ON = """
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from tilth import Environment, Materializer, pipeline, step

if TYPE_CHECKING:
    import pandas as pd

bare = Environment("bare", requirements=[])


class Own(Materializer):
    types = (complex,)


@step(environment=bare{options})
def frame() -> Annotated[{annotation}, "rows"]:
    raise RuntimeError("runs")


@step(environment=bare)
def count(rows) -> int:
    return len(rows)


@pipeline
def counting():
    count(frame())
"""


def test_a_frame_for_a_step_without_pandas_is_refused_before_it_is_computed(
    tilth: Any, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.py").write_text(HANDING_ON.format(annotation="pd.DataFrame", options=""))
    refused = tilth("run", "pipeline.py", "--offline", code=1).stderr
    assert "step `count` gets `pandas.DataFrame` from step `frame`" in refused
    assert "environment `bare` has no `pandas` to read it" in refused
    assert tilth("runs", "list", "--json").json == []


@pytest.mark.parametrize(
    ("annotation", "options"), [("pd.DataFrame | None", ""), ("pd.DataFrame", ", materializers=[Own]")]
)
def test_what_may_be_readable_after_all_is_not_refused(
    tilth: Any, tmp_path: Path, annotation: str, options: str
) -> None:
    (tmp_path / "pipeline.py").write_text(HANDING_ON.format(annotation=annotation, options=options))
    assert "RuntimeError: runs" in tilth("run", "pipeline.py", "--offline", code=1).stderr


def test_what_many_steps_of_one_function_lack_is_told_once(tilth: Any, tmp_path: Path) -> None:
    calls = "def using():\n    uses(), uses(), uses()\n"
    (tmp_path / "pipeline.py").write_text(USING.replace("def using():\n    names()\n    uses()\n", calls))
    assert tilth("plan", "pipeline.py:using").stderr.count("imports `nowhere_installed`") == 1


def test_what_is_lacking_says_which_package_to_ask_for(tilth: Any, tmp_path: Path) -> None:
    text = USING.replace("nowhere_installed", "cv2")
    (tmp_path / "pipeline.py").write_text(text)
    refused = tilth("run", "pipeline.py:using", code=1).stderr
    assert "give the step an environment that requires `opencv-python`, or install that here" in refused
