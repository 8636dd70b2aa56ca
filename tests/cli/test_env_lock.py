"""`tilth env lock`, as a user runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.index import build_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ended

PIPELINE = """\
from tilth import Environment, pipeline, step

reading = Environment("reading", requirements=["one<2"])
writing = Environment("writing", requirements=["one", "two"])


@step(environment=reading)
def read() -> str:
    import one

    return one.VERSION


@step(environment=writing)
def write(text: str) -> str:
    import one

    return text + one.VERSION


@pipeline
def copy():
    write(read())
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tilth.toml").touch()
    (folder / "pipeline.py").write_text(PIPELINE)
    for name, version in (("one", "1.0"), ("one", "2.0"), ("two", "1.0")):
        build_wheel(tmp_path / "wheels", name, version)
    settings = tmp_path / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(tmp_path / 'wheels'))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


@pytest.fixture
def here(tilth: Callable[..., Ended], project: Path) -> Callable[..., Ended]:
    def call(*arguments: str, **options: Any) -> Ended:
        return tilth(*arguments, cwd=project, **options)

    return call


Call = Any


def test_the_environments_of_a_pipeline_are_locked_and_used(here: Call, project: Path) -> None:
    told = here("env", "lock", "pipeline.py").stderr
    assert "environment reading: 1 package, pylock.reading.toml created\n" in told
    assert "environment writing: 2 packages, pylock.writing.toml created\n" in told
    build_wheel(project.parent / "wheels", "two", "9.0")
    assert "completed" in here("run", "pipeline.py").stderr
    shown = here("env", "show", "writing", "--json").json
    assert {each["name"]: each["version"] for each in shown["packages"]} == {"one": "2.0", "two": "1.0"}


def test_a_lock_is_made_again_by_its_name_and_says_what_changed(here: Call, project: Path) -> None:
    here("env", "lock", "pipeline.py")
    assert "pylock.writing.toml unchanged" in here("env", "lock", "writing").stderr
    build_wheel(project.parent / "wheels", "two", "9.0")
    build_wheel(project.parent / "wheels", "one", "3.0")
    assert "unchanged" in here("env", "lock", "writing").stderr
    ended = here("env", "lock", "writing", "--upgrade-package", "two", "--json")
    [written] = ended.json
    assert (written["state"], written["changes"]) == ("updated", ["two 1.0 -> 9.0"])
    assert "one 2.0 -> 3.0" in here("env", "lock", "writing", "--upgrade").stderr


def test_all_locks_of_a_project_are_made_again(here: Call) -> None:
    here("env", "lock", "pipeline.py")
    told = here("env", "lock").stderr
    assert "pylock.reading.toml unchanged" in told
    assert "pylock.writing.toml unchanged" in told


def test_a_stale_lock_stops_plan_run_and_check(here: Call, project: Path) -> None:
    here("env", "lock", "pipeline.py")
    here("env", "lock", "pipeline.py", "--check")
    (project / "pipeline.py").write_text(PIPELINE.replace('"one<2"', '"one>=2"'))
    for command in (
        ("plan", "pipeline.py"),
        ("run", "pipeline.py"),
        ("env", "lock", "--check", "pipeline.py"),
    ):
        told = here(*command, code=1).stderr
        assert "the lock of environment `reading` is stale" in told
        assert "`one>=2` is asked for, no longer `one<2`; it pins one 1.0" in told
    assert "one 1.0 -> 2.0" in here("env", "lock", "reading").stderr
    here("env", "lock", "--check", "pipeline.py")


def test_a_check_misses_a_lock_that_is_not_there(here: Call) -> None:
    told = here("env", "lock", "pipeline.py", "--check", code=1).stderr
    assert "environment `reading` has no lock in the project" in told


def test_a_lock_that_cannot_be_read_is_made_anew(here: Call, project: Path) -> None:
    (project / "pylock.reading.toml").write_text("[")
    assert "lock again, or delete it" in here("run", "pipeline.py", code=1).stderr
    assert "pylock.reading.toml created" in here("env", "lock", "pipeline.py", "--only", "reading").stderr
    here("run", "pipeline.py")


def test_a_lock_for_elsewhere_is_written_beside(here: Call, project: Path) -> None:
    here(
        "env",
        "lock",
        "pipeline.py",
        "--only",
        "reading",
        "--platform",
        "aarch64-manylinux",
        "--python",
        "3.12",
    )
    text = (project / "pylock.reading-aarch64-manylinux.toml").read_text()
    assert 'requires-python = ">=3.12"' in text
    assert not (project / "pylock.reading.toml").exists()
    # Locking all again, or checking them, takes it for what it is.
    here("env", "lock", "pipeline.py")
    for arguments in (
        ("env", "lock", "--check"),
        ("env", "lock"),
        ("env", "lock", "reading-aarch64-manylinux"),
    ):
        told = here(*arguments).stderr
        assert "pylock.reading-aarch64-manylinux.toml" in told
        assert "updated" not in told
    assert (project / "pylock.reading-aarch64-manylinux.toml").read_text() == text
    (project / "pipeline.py").write_text(PIPELINE.replace('"one<2"', '"one>=2"'))
    assert "is stale" in here("env", "lock", "reading-aarch64-manylinux", "--check", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("env", "lock"), 2, "no `pylock.NAME.toml` yet"),
        (("env", "lock", "nothing"), 1, "no lock `pylock.nothing.toml`"),
        (("env", "lock", "pipeline.py", "--only", "raeding"), 1, "did you mean `reading`?"),
        (("env", "lock", "pipeline.py", "--platform", "windows"), 1, "no platform"),
        (("env", "lock", "pipeline.py", "--output", "a.toml"), 1, "has 2 environments"),
        (("env", "lock", "pipeline.py", "--upgrade", "--upgrade-package", "one"), 2, "say two things"),
        (("run", "pipeline.py", "--upgrade-package", "oen"), 1, "did you mean `one`?"),
    ],
)
def test_a_misuse_is_told(here: Call, arguments: tuple[str, ...], code: int, told: str) -> None:
    assert told in here(*arguments, code=code).stderr


def test_a_run_takes_a_newer_version_of_one_package(here: Call, project: Path) -> None:
    here("run", "pipeline.py")
    build_wheel(project.parent / "wheels", "two", "9.0")
    build_wheel(project.parent / "wheels", "one", "3.0")
    here("run", "pipeline.py", "--upgrade-package", "two")
    shown = here("env", "show", "writing", "--json").json
    assert {each["name"]: each["version"] for each in shown["packages"]} == {"one": "2.0", "two": "9.0"}


def test_an_environment_is_inferred_from_what_its_steps_import(here: Call, project: Path) -> None:
    (project / "inferred.py").write_text(
        "from tilth import Environment, pipeline, step\n"
        "@step(environment=Environment('empty', requirements=[]))\ndef before() -> str:\n    return 'a'\n"
        "@step\ndef use(text: str) -> str:\n    import iniconfig\n    return iniconfig.__name__\n"
        "@pipeline(environment=Environment.infer())\ndef inferred():\n    use(before())\n"
    )
    planned = here("plan", "inferred.py", "--json").json
    environment = next(each for each in planned["environments"] if each["name"] == "inferred")
    [requirement] = environment["requirements"]
    assert requirement.startswith("iniconfig==")
    # It is not on the index of this test, which is told of that environment alone.
    told = here("env", "check", "inferred.py", code=1).stdout
    assert "iniconfig" in told
    assert "`empty`" not in told
