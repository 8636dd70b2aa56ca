"""The supervisor's environment: tilth as it is installed here, locked, recorded and shown."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from tests.conftest import run_cli

from tilth import __version__, environments as envs
from tilth.client.supervising import (
    lock_supervisor,
    supervisor_environment,
    supervisor_records,
    tilth_requirement,
)
from tilth.errors import SetupError
from tilth.home import Home
from tilth.records import Run, roles
from tilth.store import open_store


class Installed(Distribution):
    """An installation of tilth from somewhere."""

    def __init__(self, origin: dict[str, object] | None) -> None:
        self._origin = origin

    def read_text(self, filename: str) -> str | None:
        if filename == "direct_url.json":
            return json.dumps(self._origin) if self._origin else None
        return "Metadata-Version: 2.1\nName: tilth\nVersion: 1.2.3\n"

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


def test_tilth_comes_from_where_it_was_installed_from(tmp_path: Path) -> None:
    assert tilth_requirement(Installed(None)) == "tilth==1.2.3"
    folder = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    assert tilth_requirement(Installed(folder)) == f"tilth @ {tmp_path.as_uri()}"
    commit = {"url": "https://host/tilth.git", "vcs_info": {"vcs": "git", "commit_id": "ab" * 20}}
    assert tilth_requirement(Installed(commit)) == f"tilth @ git+https://host/tilth.git@{'ab' * 20}"
    with pytest.raises(SetupError, match="is gone"):
        tilth_requirement(Installed({"url": (tmp_path / "gone").as_uri(), "dir_info": {}}))


def test_requirements_of_components_come_along() -> None:
    declared = supervisor_environment(["boto3>=1.30", "boto3>=1.30"]).to_json()
    assert declared["requirements"] == [tilth_requirement(), "boto3>=1.30"]


@pytest.mark.network
@pytest.mark.slow
def test_it_is_locked_made_recorded_and_shown(home: Path, tmp_path: Path) -> None:
    place = Home(home)
    interpreter = envs.probe(Path(sys.executable), place)
    lock = lock_supervisor([], root=tmp_path, interpreter=interpreter, home=place)
    assert "tilth" in {each.name for each in lock.packages}
    assert lock_supervisor([], root=tmp_path, interpreter=interpreter, home=place).digest == lock.digest
    made = envs.realise(lock, place)
    ended = subprocess.run(
        [made.python, "-m", "tilth.engine.supervisor"],
        env={}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 64
    assert "was given no task" in ended.stderr
    with contextlib.closing(open_store(place)) as store:
        store.write(supervisor_records(lock))
        run = Run(name="", pipeline="flow", supervisor=lock.digest)
        store.start_run(run)
    assert roles.used_by(run) == {lock.digest}
    listed = run_cli("env", "list").stdout
    assert "supervisor" in listed
    shown = run_cli("env", "show", "supervisor").stdout
    assert f"tilth {__version__}" in " ".join(shown.split())
    assert "flow-1" in shown
