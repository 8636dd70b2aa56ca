"""The server as people start it, with its own runner, killed at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import pytest
from tests.conftest import run_cli
from tests.server.launching import asker, drivers_in, kill_all, make_project, wait_for

from tilth.engine.lease import is_held
from tilth.home import Home
from tilth.records import Run
from tilth.records.launching import LaunchState
from tilth.store.logins import read_logins

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("project") / "churn")


class Server:
    """`tilth server start` in the background, on one port through all its lives."""

    def __init__(self, home):
        self.home = Home(home)
        self.port = 0
        self.url = ""

    def start(self):
        told = json.loads(run_cli("server", "start", "--port", str(self.port), "--json").stdout)
        self.url, self.pid = told["url"], told["pid"]
        self.port = int(self.url.rpartition(":")[2])

    @property
    def token(self):
        return read_logins(self.home).servers[self.url].token

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        wait_for(lambda: not is_held(self.home.server), "the server is gone")

    @property
    def runner(self):
        """Process of its runner."""
        said = (self.home.server / "runner" / "lease").read_text()
        return int(said.removeprefix("process ") or 0)

    def has_runner(self):
        return is_held(self.home.server / "runner") and self.runner


@pytest.fixture
def server(home, monkeypatch):
    monkeypatch.setenv("TILTH_SERVER_LEASE_SECONDS", "5")
    server = Server(home)
    server.start()
    # The client below names the server by a variable; a server's own settings begin with the same letters.
    yield server
    run_cli("server", "stop", code=None)
    wait_for(lambda: not server.has_runner(), "its runner ends")
    kill_all(drivers_in(home))


@pytest.fixture
def client(server, tmp_path):
    with asker(server.url, server.token, tmp_path / "elsewhere") as client:
        yield client


def test_a_server_starts_runs_by_itself(server, client, project):
    client.snapshot(project)  # at once: that it has a runner here, it knows from its start
    client.open_gate()
    told = json.loads(client.tilth("snapshots", "run", "nightly", "--wait", "--json").stdout)
    assert told["state"] == "completed"


def test_a_killed_server_finds_its_runs_again(server, client, project):
    wait_for(lambda: json.loads(client.tilth("runner", "list", "--json").stdout), "a runner is there")
    client.snapshot(project)
    running = client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    waiting = [client.ask() for _ in range(3)]  # the runner has two slots
    server.kill()
    wait_for(lambda: not server.has_runner(), "its runner follows it")
    assert drivers_in(server.home.root), "the drivers go on"
    server.start()
    client.open_gate()
    launches = [client.ended(each) for each in (running, *waiting)]
    assert {each.state for each in launches} == {LaunchState.ENDED}
    runs = client.store.find(Run).items
    assert sorted(each.id for each in runs) == sorted(each.run for each in launches)
    assert {each.state.value for each in runs} == {"completed"}


def test_a_killed_runner_is_started_again(server, client):
    wait_for(server.has_runner, "its runner begins")
    first = server.runner
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: server.has_runner() and server.runner != first, "another begins")


@pytest.mark.faults
def test_whatever_is_killed_whenever_each_run_comes_once(server, client, project):
    wait_for(lambda: json.loads(client.tilth("runner", "list", "--json").stdout), "a runner is there")
    client.snapshot(project)
    client.open_gate()
    chance = random.Random(20261126)
    launches = [client.ask() for _ in range(6)]
    for _ in range(8):
        time.sleep(chance.uniform(0.1, 2.0))
        what = chance.choice(["server", "runner", "driver"])
        if what == "server":
            server.kill()
            server.start()
        elif what == "runner":
            if server.has_runner():
                os.kill(server.runner, signal.SIGKILL)
        else:
            kill_all(drivers_in(server.home.root)[:1])
    ended = [client.ended(each) for each in launches]
    runs = {each.id: each for each in client.store.find(Run).items}
    assert sorted(runs) == sorted(each.run for each in launches)
    for launch in ended:
        run = runs[launch.run]
        if launch.state is LaunchState.FAILED:  # its drivers were killed more often than is borne
            assert launch.failure.reason == "lost"
            assert run.state.value == "failed"
        else:
            assert (launch.state, run.state.value) == (LaunchState.ENDED, "completed")
