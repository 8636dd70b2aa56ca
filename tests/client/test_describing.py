"""What is recorded beside a run for those who look from elsewhere: what packages say of themselves, and of checks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.engine.conftest import only_the_index as only_the_index, project as project
from tests.index import build_wheel

from tilth.client.describing import installed_sizes
from tilth.records import Environment, EnvironmentCheck, EnvironmentContents, Run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.play import Project

pytestmark = pytest.mark.usefixtures("only_the_index")

SOURCE = """
from tilth import Environment, pipeline, step

own = Environment("own", requirements=["alpha"], find_links=[{links!r}])

@step(environment=own)
def one() -> int:
    return 1

@step
def two(value: int) -> int:
    return value

@pipeline
def both():
    two(one())
"""


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    headers = [
        "Summary: first of all",
        "License-Expression: MIT",
        "Classifier: Topic :: Other",
        "Author: nobody",
    ]
    build_wheel(folder, "alpha", "1.0", requires=["beta>=1"], headers=headers, files={"alpha.py": "x" * 5000})
    build_wheel(folder, "beta", "1.0")
    return folder


def run(project: Project, index: Path, *arguments: str) -> None:
    project.write(SOURCE.format(links=str(index)))
    with project.start("run", "pipeline.py", *arguments) as command:
        assert command.wait() == 0, command.stderr


def test_a_run_records_what_its_packages_say_of_themselves(project: Project, index: Path) -> None:
    run(project, index)
    (ran,) = project.records(Run)
    told = {each.id: each.packages for each in project.records(EnvironmentContents)}
    assert ran.client
    assert set(told) == {ran.environments["own"], ran.client.environment}
    own = told[ran.environments["own"]]
    assert own["alpha"].headers == {
        "Requires-Dist": ("beta>=1",),
        "Summary": ("first of all",),
        "License-Expression": ("MIT",),
    }
    assert own["alpha"].size > 5000
    assert "Requires-Dist" not in own["beta"].headers


def test_it_is_recorded_once(project: Project, index: Path) -> None:
    run(project, index)
    before = project.records(EnvironmentContents)
    run(project, index, "--no-cache")
    assert project.records(EnvironmentContents) == before


def test_sizes_of_what_is_installed_are_those_of_its_record(tmp_path: Path) -> None:
    info = tmp_path / "Some_Thing-1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text('some.py,sha256=x,100\n"a,b.py",sha256=y,20\nx.pyc,,\n')
    other = tmp_path / "broken-2.0.dist-info"
    other.mkdir()
    (other / "RECORD").write_bytes(b"\xff\xfe,\n")
    assert installed_sizes([str(tmp_path), str(tmp_path / "none")]) == {("some-thing", "1.0"): 120}


def test_a_check_is_kept_with_what_it_found(
    project: Project, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project, index)
    (ran,) = project.records(Run)
    with project.start("env", "check", "pipeline.py") as command:
        command.wait()
    digest = ran.environments["own"]
    assert digest not in {each.id for each in project.records(EnvironmentCheck)}  # nothing was looked up
    events = [{"introduced": "0"}, {"fixed": "2.0"}]
    affected = {
        "package": {"ecosystem": "PyPI", "name": "beta"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    advisories = tmp_path / "osv.json"
    advisories.write_text(json.dumps({"id": "PYSEC-7", "summary": "bad", "affected": [affected]}))
    monkeypatch.setenv("TILTH_ADVISORIES", str(advisories))
    with project.start("env", "check", "pipeline.py") as command:
        command.wait()
    (check,) = [each for each in project.records(EnvironmentCheck) if each.id == digest]
    assert check.advisories
    (finding,) = check.findings
    assert (finding.package, finding.version, finding.check) == ("beta", "1.0", "advisories")
    assert "PYSEC-7" in finding.what
    assert {each.id for each in project.records(Environment)} >= {digest}
