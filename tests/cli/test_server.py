from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.conftest import TILTH

from tilth.records import State

PIPELINE = """
import time
from pathlib import Path
from tilth import pipeline, step

@step
def one(n: int) -> int:
    for i in range(n):
        print("line", i, flush=True)
        time.sleep(0.05)
    return n

@step
def two(x: int) -> int:
    print("two", x)
    return 2 * x

@pipeline
def chain(n: int = 2):
    two(one(n))
"""


@pytest.fixture
def started(tilth, home):
    told = tilth("server", "start", "--port", "0", "--json").json
    yield told
    tilth("server", "stop", code=None)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "tilth.toml").write_text('project = "churn"\n')
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    return tmp_path


@pytest.fixture
def colleague(tilth, started, tmp_path_factory, project, home):
    """The command line of somebody else, with a home folder of their own."""
    other = tmp_path_factory.mktemp("colleague")
    key = tilth("login", started["url"]) and Path(home, "logins.json").read_text()
    assert key

    def run(*arguments, **more):
        env = {"TILTH_HOME": str(other), "TILTH_SERVER_URL": started["url"], "TILTH_API_KEY": token(home)}
        return tilth(*arguments, **{"env": env, **more})

    return run


def token(home):
    import json

    logins = json.loads(Path(home, "logins.json").read_text())
    return logins["servers"][logins["active"]]["token"]


def test_it_starts_says_where_it_is_and_stops(tilth, home):
    assert "no server runs" in tilth("server", "status", code=1).stdout
    told = tilth("server", "start", "--port", "0", "--json").json
    try:
        assert told["invite"].startswith(f"{told['url']}/invite#tilth_invite_")
        assert f"process {told['pid']}, answers" in tilth("server", "status").stdout
        again = tilth("server", "start", "--port", "0", code=1)
        assert f"a server runs for this home folder: {told['url']}" in again.stderr
        assert "Started server process" in tilth("server", "logs").stdout
        assert told["invite"].partition("#")[2] not in Path(home, "server", "server.log").read_text()
    finally:
        tilth("server", "stop")
    assert "no server runs" in tilth("server", "status", code=1).stdout
    again = tilth("server", "start", "--port", "0", "--json").json
    tilth("server", "stop")
    assert again["invite"] is None or again["invite"] != told["invite"]


def test_on_its_own_machine_nobody_is_locked_out_by_a_logout(tilth, started):
    for _ in range(2):
        assert "logged in at" in tilth("login", started["url"]).stderr
        assert "records are kept on this machine now" in tilth("logout").stderr


def test_an_address_where_no_server_is_says_so(tilth, started, home):
    def told(url):
        done = subprocess.run(
            [TILTH, "login", url, "--api-key"],
            input="tilth_key_x\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        return done.stderr

    port = started["url"].rpartition(":")[2]
    said = told(f"https://127.0.0.1:{port}")
    assert "what answers there speaks HTTP without encryption" in said
    assert f"hint: give `http://127.0.0.1:{port}`" in said
    assert f"no server is at `{started['url']}/team`" in told(f"{started['url']}/team")
    nobody = told("http://127.0.0.1:1")
    assert "does not answer" in nobody
    assert "tilth logout" not in nobody
    unknown = told(started["url"])
    assert f"hint: log in with `tilth login {started['url']}`, or set `TILTH_API_KEY`" in unknown
    assert "tilth_key_x" not in Path(home, "logins.json").read_text()


def test_a_port_that_is_taken_is_told(tilth, started):
    port = started["url"].rpartition(":")[2]
    ended = tilth(
        "server", "start", "--port", port, env={"TILTH_HOME": os.environ["TILTH_HOME"] + "2"}, code=1
    )
    assert f"port {port}" in ended.stderr


def test_a_setting_that_makes_no_sense_is_told(tilth):
    ended = tilth("server", "start", env={"TILTH_SERVER_PORT": "high"}, code=1)
    assert "`TILTH_SERVER_PORT` is `high`" in ended.stderr


def test_after_a_login_records_are_on_the_server(tilth, started, project, colleague):
    assert "churn" in tilth("status").stdout
    tilth("run", "pipeline.py")
    assert "chain-1" in colleague("runs", "list").stdout
    assert "completed" in colleague("runs", "show", "chain-1").stdout
    assert colleague("runs", "logs", "chain-1", "two").stdout == "two 2\n"
    found = colleague("artifacts", "list").stdout
    assert "chain/two/output" in found
    ended = colleague("run", "pipeline.py")
    assert "2 reused" in ended.stderr
    colleague("artifacts", "get", "chain/two/output", "here")
    tilth("logout")
    assert "no runs" in tilth("runs", "list").stderr


def test_a_colleague_may_stop_a_run(tilth, started, project, colleague):
    with subprocess.Popen(
        [TILTH, "run", "pipeline.py", "--param", "n=2000"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as driver:
        deadline = time.monotonic() + 60
        while "running" not in colleague("runs", "list").stdout:
            assert time.monotonic() < deadline
        deadline = time.monotonic() + 60
        while "line 0" not in colleague("runs", "logs", "chain-1").stdout:
            assert time.monotonic() < deadline
        colleague("runs", "cancel", "chain-1")
        driver.stdout.read()
    assert tilth("runs", "show", "chain-1", "--json").json["state"] == State.CANCELLED.value


@pytest.mark.faults
def test_a_server_that_is_killed_and_started_again_costs_no_run(tilth, started, project, home):
    tilth("login", started["url"])
    port = started["url"].rpartition(":")[2]
    with subprocess.Popen(
        [TILTH, "run", "pipeline.py", "--param", "n=60"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as driver:
        for line in driver.stdout:
            if "line 3" in line:
                break
        os.kill(started["pid"], signal.SIGKILL)
        time.sleep(2)
        tilth("server", "start", "--port", port)
        said = driver.stdout.read()
        assert driver.wait() == 0, said
    told = tilth("runs", "show", "chain-1", "--json").json
    assert told["state"] == "completed"
    assert sorted(each["step"] for each in told["step_runs"]) == ["one", "two"]
    assert tilth("runs", "logs", "chain-1", "one").stdout.count("line") == 60


def test_who_is_not_let_in_is_told(tilth, started, project):
    ended = tilth("login", started["url"], "--user", "admin", code=None)
    assert ended.code != 0
    env = {"TILTH_SERVER_URL": started["url"], "TILTH_API_KEY": "nonsense"}
    ended = tilth("runs", "list", env=env, code=1)
    assert "does not know who you are" in ended.stderr
    ended = tilth("runs", "list", env={"TILTH_SERVER_URL": "ftp://x"}, code=1)
    assert "no address of a server" in ended.stderr
