"""Two servers, two runners, their drivers and a database, killed at any moment while runs are asked for and driven."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest
from tests.server.launching import RunnerInTest, asker, drivers_in, kill_all, make_project
from tests.server.processes import ServerProcess, wait_for

from tilth.client.snapshots import find_launch, launch as ask_for
from tilth.errors import NotFound
from tilth.records import Run, Snapshot, StepRun
from tilth.records.launching import LaunchState
from tilth.store import walk
from tilth.store.http import HttpStore

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.faults]
KILLS = int(os.environ.get("CHAOS_KILLS", "10"))
PATIENCE_S = 240.0
_RANK = {LaunchState.QUEUED: 0, LaunchState.LEASED: 1, LaunchState.STARTED: 2}


class Watcher:
    """Looks at all there is, and remembers what went back."""

    def __init__(self, url, token):
        self.backwards = []
        self.failures = []
        self._seen = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(url, token))
        self._asked = []
        self._thread.start()

    def follow(self, launch):
        self._asked.append(launch)

    def finish(self):
        self._over.set()
        self._thread.join(PATIENCE_S + 60)
        assert not self._thread.is_alive()

    def _work(self, url, token):
        try:
            with HttpStore(url, token, "churn", patience_s=PATIENCE_S) as store:
                while not self._over.wait(0.1):
                    for each in list(self._asked):
                        self._see(find_launch(store, each.id), lambda state: _RANK.get(state, 3))
                    for kind in (Run, StepRun):
                        for each in store.find(kind, limit=100).items:
                            self._see(each, lambda state: 1 if state.is_final else 0)
        except Exception as error:
            self.failures.append(error)

    def _see(self, record, rank):
        before = self._seen.get(record.id)
        if before is not None:
            back = rank(record.state) < rank(before.state) or record.revision < before.revision
            if back or (before.state.is_final and before.state is not record.state):
                self.backwards.append((before, record))
        self._seen[record.id] = record


class Asking:
    """Asks for runs, each under a key of its own, until it is told to end."""

    def __init__(self, url, token, folder, watcher):
        self.launches = []
        self.failures = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(url, token, folder, watcher))
        self._thread.start()

    def finish(self):
        self._over.set()
        self._thread.join(PATIENCE_S + 60)
        assert not self._thread.is_alive()

    def _work(self, url, token, folder, watcher):
        try:
            with HttpStore(url, token, "churn", patience_s=PATIENCE_S) as store:
                (snapshot,) = store.find(Snapshot, name="nightly").items
                while True:
                    given = {"folder": str(folder)}
                    launch = ask_for(store, snapshot, given, key=f"run {len(self.launches)}")
                    self.launches.append(launch)
                    watcher.follow(launch)
                    if self._over.wait(2.0):
                        return
        except Exception as error:
            self.failures.append(error)


class Runners:
    """Two that are started again after they were killed."""

    def __init__(self, url, token, folder):
        self._of = [(url, token, folder / f"runner-{i}") for i in range(2)]
        self._started = [self._start(i) for i in range(2)]

    def _start(self, i):
        url, token, folder = self._of[i]
        # Each has its own machine, so to speak: nothing that a driver made is there for the other's.
        return RunnerInTest(url, token, folder, TILTH_HOME=str(folder / "home"))

    def kill(self, i):
        self._started[i].kill()
        self._started[i] = self._start(i)

    def drivers(self):
        return [pid for _, _, folder in self._of for pid in drivers_in(folder)]

    def end(self):
        for each in self._started:
            each.kill()
            kill_all(each.drivers())


def test_each_run_comes_once_whatever_is_killed_whenever(own_postgres, tmp_path, request):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    settings = {"workers": 2, "TILTH_SERVER_LEASE_SECONDS": "5"}
    servers = [ServerProcess(tmp_path, own_postgres.url, **settings) for _ in range(2)]
    for each in servers:
        request.addfinalizer(each.stop)
        each.start()
    token = servers[0].token()
    project = make_project(tmp_path / "project" / "churn")
    with asker(servers[0].url, token, tmp_path / "elsewhere") as client:
        client.snapshot(project, "--anywhere")
        client.open_gate()
    runners = Runners(servers[1].url, token, tmp_path)
    request.addfinalizer(runners.end)
    watcher = Watcher(servers[1].url, token)
    asking = Asking(servers[0].url, token, tmp_path / "elsewhere", watcher)
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 3))
            what = chance.choice(["worker", "server", "runner", "driver", "driver", "backend", "database"])
            server = chance.choice(servers)
            print(time.strftime("%H:%M:%S"), what, len(asking.launches))
            if what == "worker":
                wait_for(server.workers, "it has workers")[0].kill()
            elif what == "server":
                server.kill()
                time.sleep(chance.uniform(0, 2))
                server.start()
            elif what == "runner":
                runners.kill(chance.randrange(2))
            elif what == "driver":
                kill_all(runners.drivers()[:1])
            elif what == "backend":
                own_postgres.kill_backend()
            else:
                own_postgres.kill()
                time.sleep(chance.uniform(0, 3))
                own_postgres.start()
        asking.finish()
        with HttpStore(servers[0].url, token, "churn", patience_s=PATIENCE_S) as store:
            ended = [
                wait_for(lambda each=each: over(store, each.id), f"launch {each.id} ends")
                for each in asking.launches
            ]
            runs = {each.id: each for each in walk(store, Run)}
            steps = list(walk(store, StepRun))
    finally:
        asking.finish()
        watcher.finish()
    assert not asking.failures
    assert not watcher.failures
    assert not watcher.backwards
    assert len({each.id for each in asking.launches}) == len(asking.launches)
    assert sorted(runs) == sorted(each.run for each in ended)  # none is lost, none doubled
    numbers = sorted(each.number for each in runs.values())
    assert numbers == list(range(1, len(runs) + 1))
    for launch in ended:
        run = runs[launch.run]
        if launch.state is LaunchState.FAILED:  # its drivers were killed more often than is borne
            assert launch.failure.reason == "lost"
            assert run.state.value == "failed"
            continue
        assert (launch.state, run.state.value) == (LaunchState.ENDED, "completed")
        good = sorted(each.step for each in steps if each.run == run.id and each.state.is_good)
        assert good == ["load", "total"], run.name


def over(store, id):  # noqa: A002
    try:
        found = find_launch(store, id)
    except NotFound:
        return pytest.fail(f"launch {id} is lost")
    return found.state.is_final and found
