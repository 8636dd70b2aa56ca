"""Which Python a project uses, and what is known of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.markers import default_environment
from packaging.tags import sys_tags

from tilth.environments import find_interpreter, interpreters, probe, project_interpreter
from tilth.errors import SetupError

if TYPE_CHECKING:
    from tests.environments.conftest import Here


def test_an_interpreter_says_what_this_process_knows_of_itself(here: Here) -> None:
    found = probe(Path(sys.executable), here.home)
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.executable == sys.executable
    assert found.cache_tag == sys.implementation.cache_tag
    assert found.prefix == sys.prefix
    assert found.markers == default_environment()
    assert found.tags == tuple(map(str, sys_tags()))
    assert Path(pytest.__file__).parent.parent in [Path(each) for each in found.site_packages]


def test_it_is_asked_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    first = probe(Path(sys.executable), here.home)
    monkeypatch.setattr(interpreters, "_ask", lambda path: pytest.fail("it was asked again"))
    assert probe(Path(sys.executable), here.home) == first


def test_a_torn_answer_is_asked_for_again(here: Here) -> None:
    first = probe(Path(sys.executable), here.home)
    (entry,) = (here.home.cache / "interpreters").iterdir()
    entry.write_bytes(entry.read_bytes()[:50])
    assert probe(Path(sys.executable), here.home) == first


def test_what_is_no_interpreter_is_refused(here: Here, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="there is no Python"):
        probe(tmp_path / "python", here.home)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(SetupError, match="no"):
        probe(broken, here.home)


def test_the_default_serves_its_own_version(here: Here) -> None:
    for request in (None, here.interpreter.minor, here.interpreter.version):
        assert find_interpreter(request, here.interpreter, here.home) is here.interpreter


def test_a_version_that_is_not_installed_lists_those_that_are(here: Here) -> None:
    with pytest.raises(SetupError) as caught:
        find_interpreter("3.99", here.interpreter, here.home)
    assert "no Python 3.99 is installed" in str(caught.value)
    assert "installed: 3." in str(caught.value)


def executable(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    return folder / "python"


def test_the_project_s_interpreter_is_found_in_the_order_uv_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX", "TILTH_PYTHON"):
        monkeypatch.delenv(variable, raising=False)
    assert project_interpreter(below) == Path(sys.executable), "the environment tilth is installed in"
    own = executable(project / ".venv" / "bin")
    assert project_interpreter(below) == own
    active = executable(tmp_path / "active" / "bin")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    assert project_interpreter(below) == active
    set_to = executable(tmp_path / "set" / "bin")
    monkeypatch.setenv("TILTH_PYTHON", str(tmp_path / "set"))
    assert project_interpreter(below) == set_to
    monkeypatch.setenv("TILTH_PYTHON", str(tmp_path / "nowhere"))
    with pytest.raises(SetupError, match="TILTH_PYTHON"):
        project_interpreter(below)


def test_a_tool_s_environment_is_not_the_project_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX", "TILTH_PYTHON"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "uv-receipt.toml").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "tool"))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(folder))
    assert project_interpreter(tmp_path) == folder / "python3"
