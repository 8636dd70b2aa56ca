"""The supervisor's environment: tilth as it is installed here, locked, recorded and shown."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import run_cli

from tilth import __version__, environments as envs
from tilth.client.environments import records_of
from tilth.client.supervising import supervisor_environment
from tilth.home import Home
from tilth.records import Run, roles
from tilth.stack.installed import installed_requirement
from tilth.store import open_store


def test_requirements_of_components_come_along() -> None:
    declared = supervisor_environment(["boto3>=1.30", "boto3>=1.30"]).to_json()
    assert declared["requirements"] == [installed_requirement("tilth"), "boto3>=1.30"]


@pytest.mark.network
@pytest.mark.slow
def test_it_is_locked_made_recorded_and_shown(home: Path, tmp_path: Path) -> None:
    place = Home(home)
    interpreter = envs.probe(Path(sys.executable), place)
    declared = supervisor_environment().to_json()
    lock = envs.lock(declared, root=tmp_path, interpreter=interpreter, home=place)
    assert "tilth" in {each.name for each in lock.packages}
    again = envs.lock(declared, root=tmp_path, interpreter=interpreter, home=place)
    assert again.digest == lock.digest
    made = envs.realise(lock, place)
    ended = subprocess.run(
        [made.python, "-m", "tilth.engine.supervisor"],
        env={}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 64
    assert "was given no task" in ended.stderr
    with contextlib.closing(open_store(place)) as store:
        store.write(records_of(lock, role="supervisor"))
        run = Run(name="", pipeline="flow", supervisor=lock.digest)
        store.start_run(run)
    assert roles.used_by(run) == {lock.digest}
    listed = run_cli("env", "list").stdout
    assert "supervisor" in listed
    shown = run_cli("env", "show", "supervisor").stdout
    assert f"tilth {__version__}" in " ".join(shown.split())
    assert "flow-1" in shown
