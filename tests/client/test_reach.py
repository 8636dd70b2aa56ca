"""Modules that belong to no distribution, from the command line to the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.home import Home
from tilth.records import StepRun
from tilth.store import open_store

if TYPE_CHECKING:
    from pathlib import Path


def test_a_step_runs_again_when_a_module_from_the_path_has_changed(
    tilth: Any, tmp_path: Path, home: Path
) -> None:
    libraries = tmp_path / "libraries"
    project = tmp_path / "project"
    for folder in (libraries, project):
        folder.mkdir()
    (project / "tilth.toml").touch()
    (libraries / "mylib.py").write_text("from mypart import VALUE\n")
    (libraries / "mypart.py").write_text("VALUE = 1\n")
    (project / "flow.py").write_text(
        "from mylib import VALUE\nfrom tilth import pipeline, step\n\n"
        "@step\ndef give() -> int:\n    return VALUE\n\n@pipeline\ndef flow():\n    give()\n"
    )

    def run() -> tuple[str, str]:
        tilth("run", "flow.py", cwd=project, env={"PYTHONPATH": str(libraries)})
        with open_store(Home(home)) as store:
            (step,) = store.find(StepRun, limit=1)
        return step.state.value, step.cache_reason

    assert run()[0] == "completed"
    assert run()[0] == "cached"
    (libraries / "mypart.py").write_text("VALUE = 20\n")
    assert run() == ("completed", "package `mypart` changed")
