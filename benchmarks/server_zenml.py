"""ZenML's own server with as many runs: installed, filled and started, to be asked for the same list."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
import uuid
from typing import TYPE_CHECKING

from frameworks import ZENML, install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = dataclasses.replace(
    ZENML, title="ZenML server", requirements=("zenml[server]==0.98.0",), venv="zenml-server"
)
LIST = "/api/v1/runs?page=1&size=20&sort_by=desc:created"
_PATIENCE_S = 180
_SCRIPT = """
from zenml import pipeline, step

@step
def first(value: int = 0) -> int:
    return value + 1

@step
def more(value: int) -> int:
    return value + 1

@pipeline(enable_cache=False)
def five():
    value = first()
    for _ in range(4):
        value = more(value)

if __name__ == "__main__":
    five()
"""
# What belongs to one run; every other row is shared.
_TABLES = (
    "pipeline_snapshot",
    "pipeline_run",
    "step_run",
    "step_configuration",
    "step_run_parents",
    "artifact_version",
    "artifact_visualization",
    "step_run_input_artifact",
    "step_run_output_artifact",
    "logs",
    "run_metadata",
    "run_metadata_resource",
)


@contextlib.contextmanager
def zenml_server(work: Path, runs: int) -> Iterator[tuple[str, float]]:
    """A server that has so many runs of five steps; gives its address, and the seconds until it answered.

    Raises:
        SystemExit: It cannot be installed.
        OSError, subprocess.SubprocessError: It does not run.
    """
    install(SERVER)
    home = work / "zenml"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "five.py").write_text(_SCRIPT)
    environ = {
        **SERVER.environ(home),
        "ZENML_LOCAL_STORES_PATH": str(home / "stores"),
        "AUTO_OPEN_DASHBOARD": "0",
    }
    for _ in range(2):  # the first makes the database
        subprocess.run(
            [str(SERVER.python), "five.py"],
            cwd=home,
            env=environ,
            check=True,
            capture_output=True,
            timeout=300,
        )
    database = home / "stores" / "default_zen_store" / "zenml.db"
    multiply(database, runs)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environ |= {
        "ZENML_SERVER": "true",
        "ZENML_SERVER_AUTH_SCHEME": "NO_AUTH",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "local",
        "ZENML_SERVER_AUTO_ACTIVATE": "true",
        "ZENML_STORE_TYPE": "sql",
        "ZENML_STORE_URL": f"sqlite:///{database}",
    }
    command = [
        "-m",
        "uvicorn",
        "zenml.zen_server.zen_server_api:app",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    began = time.perf_counter()
    with open(home / "server.log", "wb") as log:
        process = subprocess.Popen(
            [str(SERVER.python), *command],
            cwd=home,
            env=environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while True:
            if process.poll() is not None or time.perf_counter() - began > _PATIENCE_S:
                raise OSError("ZenML's server did not start:\n" + (home / "server.log").read_text()[-2000:])
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
                break
            time.sleep(0.02)
        yield url, time.perf_counter() - began
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def multiply(database: Path, runs: int) -> None:
    """Copy the runs that are there, each row with new ids, until there are so many."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows: dict[str, list[list[object]]] = {}
        names: dict[str, list[str]] = {}
        for table in _TABLES:
            names[table] = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
            rows[table] = [list(row) for row in connection.execute(f'SELECT * FROM "{table}"')]
        ids = {
            row[names[table].index("id")] for table in _TABLES if "id" in names[table] for row in rows[table]
        }
        there = len(rows["pipeline_run"])
        # Values that must differ beside the ids.
        unique = {
            ("pipeline_run", "name"),
            ("pipeline_run", "orchestrator_run_id"),
            ("artifact_version", "version"),
        }
        number = {("pipeline_run", "index"), ("artifact_version", "version_number")}
        for turn in range(1, runs // there):
            new: dict[object, object] = {each: _another(each) for each in ids}
            for table in _TABLES:
                copies = [
                    [
                        f"{value}-{turn}"
                        if (table, name) in unique and value is not None
                        else int(str(value)) + turn * 1000
                        if (table, name) in number and value is not None
                        else new.get(value, value)
                        for name, value in zip(names[table], row, strict=True)
                    ]
                    for row in rows[table]
                ]
                marks = ", ".join("?" * len(names[table]))
                connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', copies)
        connection.commit()


def _another(known: object) -> str:
    """A new id, written as this one is."""
    made = uuid.uuid4()
    return str(made) if "-" in str(known) else made.hex
