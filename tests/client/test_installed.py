"""The client's own environment, as it is recorded."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec

from tilth.client.installed import client_environment
from tilth.environments import probe
from tilth.environments.inventories import Installed, Inventory
from tilth.home import Home
from tilth.records import Environment, Run
from tilth.records.roles import ROLES
from tilth.store import open_store, walk

FLOW = """
from tilth import pipeline, step

@step
def load() -> int:
    return 1

@pipeline
def flow():
    load()
"""
NUMPY = Installed(name="numpy", version="2.1.0")


def test_runs_refer_to_one_record_of_the_client(tilth: Any, tmp_path: Path, home: Path) -> None:
    (tmp_path / "pipeline.py").write_text(FLOW)
    for _ in range(2):
        tilth("run", "pipeline.py")
    with open_store(Home(home)) as store:
        (found,) = walk(store, Environment)
        runs = list(walk(store, Run))
    assert found.role == "client"
    assert "msgspec" in {each.name for each in found.packages}
    assert found.revision == 1  # written once
    assert [ROLES["client"].of_run(run) for run in runs] == [{"client": found.id}] * 2


def test_the_digest_is_that_of_packages_python_and_platform(home: Path) -> None:
    interpreter = probe(Path(sys.executable), Home(home))

    def digest(*packages: Installed, **other: str) -> str:
        changed = msgspec.structs.replace(interpreter, **other)
        return client_environment(changed, Inventory(packages=packages)).id

    same = digest(NUMPY)
    assert same == digest(NUMPY, executable="/elsewhere/python")
    different = {
        same,
        digest(),
        digest(msgspec.structs.replace(NUMPY, version="2.1.1")),
        digest(msgspec.structs.replace(NUMPY, origin="1a2b3c")),
        digest(msgspec.structs.replace(NUMPY, editable="/home/me/numpy")),
        digest(NUMPY, minor="3.99"),
        digest(NUMPY, platform="macos-arm64"),
    }
    assert len(different) == 7
    # Where an editable one lies is a matter of the machine.
    assert digest(msgspec.structs.replace(NUMPY, editable="/there/numpy")) in different


def test_a_database_that_lists_packages_in_its_runs_opens(home: Path) -> None:
    with open_store(Home(home)) as store:
        run = store.start_run(Run(pipeline="churn"))
    client = {
        "python": "3.11.7",
        "implementation": "cpython",
        "executable": "/usr/bin/python3",
        "platform": "linux-x86_64",
        "tilth": "0.1.0",
        "packages": [{"name": "numpy", "version": "2.1.0"}],
        "git": None,
    }
    with sqlite3.connect(Home(home).database) as connection:
        connection.execute("UPDATE run SET body = json_set(body, '$.client', json(?))", (json.dumps(client),))
    connection.close()
    with open_store(Home(home)) as store:
        found = store.get(Run, run.id)
    assert found.client is not None
    assert found.client.python == "3.11.7"
    assert ROLES["client"].of_run(found) == {}
