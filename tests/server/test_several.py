"""Several processes and several servers on one PostgreSQL, and what is lost when any of them is killed: nothing."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest
from tests.server.processes import OwnPostgres, ServerProcess, wait_for

from tilth.errors import DiskFull
from tilth.records import Run, Snapshot, State, StepRun, now
from tilth.records.launching import Launch, Schedule
from tilth.store import Put, walk
from tilth.store.http import HttpStore
from tilth.store.postgres import PostgresDatabase
from tilth.store.sql import SqlStore

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
PATIENCE_S = 240.0
RANK = {State.QUEUED: 0, State.RUNNING: 1, State.COMPLETED: 2}


@pytest.fixture
def starts(tmp_path):
    """`starts(url)` gives a server with three workers that is ended with the test."""
    made = []

    def starts(database: str, **more) -> ServerProcess:
        made.append(ServerProcess(tmp_path, database, **more))
        return made[-1].start()

    yield starts
    for each in made:
        each.stop()


@pytest.fixture
def own_postgres(postgres):
    # Where its user can reach it: folders of tests are their owner's alone.
    folder = Path(tempfile.mkdtemp(prefix="tilth-pg-", dir="/var/tmp"))
    folder.chmod(0o755)
    server = OwnPostgres(folder / "server")
    yield server.start()
    server.stop()
    shutil.rmtree(folder)


def both(starts, database):
    """Two servers started at once."""
    made = [None, None]
    threads = [threading.Thread(target=lambda i=i: made.__setitem__(i, starts(database))) for i in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(made)
    return made


def test_two_servers_of_three_workers_are_one(starts, postgres_database, tmp_path):
    one, other = both(starts, postgres_database)
    with psycopg.connect(postgres_database) as connection:
        told = connection.execute("SELECT count(*) FROM space WHERE space = ''").fetchone()
        assert told == (1,)  # the first project, and so the first user, were made once
    token = one.token()
    with HttpStore(one.url, token, "p") as here, HttpStore(other.url, token, "p") as there:
        run = here.start_run(Run(pipeline="flow"))
        assert there.get(Run, run.id) == run
        assert there.start_run(Run(pipeline="flow")).number == 2
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(
            base_url=f"{other.url}/api/v1/projects/p/runs/{run.id}", headers=headers, timeout=60
        ) as client:
            with client.stream("GET", "/events?logs=true") as stream:
                lines = stream.iter_lines()
                step = StepRun(run=run.id, step="train", state=State.RUNNING)
                here.add(step)
                here.api.request(
                    "PUT", f"/projects/p/runs/{run.id}/logs/train.1.log?offset=0", b"t O hello\n"
                )
                here.replace(step, msgspec.structs.replace(step, state=State.COMPLETED))
                here.replace(run, msgspec.structs.replace(run, state=State.COMPLETED))
                told = "\n".join(lines)  # it ends with the run
            assert '"completed"' in told
            assert "hello" in told
            assert client.get("/logs/train.1.log").text == "t O hello\n"
        # Whichever of the three answers, it has counted for all.
        counted = [httpx.get(f"{one.url}/metrics", timeout=60).text for _ in range(6)]
        route = "/api/v1/projects/{project}/runs/start"
        wanted = f'tilth_http_requests_total{{method="POST",route="{route}",status="201"}} 1.0'
        assert all(wanted in each for each in counted)


def test_two_clocks_ask_once(starts, postgres_database):
    one, other = both(starts, postgres_database)
    one.token()
    with SqlStore(PostgresDatabase(postgres_database)) as store:
        with HttpStore(one.url, one.token(), "clock") as project:
            project.add(Snapshot(name="s", pipeline="p", file="p.py"))
        due = now() + timedelta(seconds=1)
        made = [
            Schedule(project="clock", name=f"s{i}", snapshot="s", user="first", at=due, next_at=due)
            for i in range(12)
        ]
        store.write([Put(each) for each in made])
        wait_for(
            lambda: not [each for each in walk(store, Schedule) if each.last_at is None], "all have asked"
        )
        causes = Counter(each.cause for each in walk(store, Launch))
    assert causes == {f"schedule s{i}": 1 for i in range(12)}
    assert one.answers()
    assert other.answers()


def test_a_killed_worker_is_started_again_and_a_signal_ends_all(starts, postgres_database):
    server = starts(postgres_database)
    first, *others = before = wait_for(
        lambda: len(server.workers()) == 3 and server.workers(), "three workers"
    )
    first.kill()
    after = wait_for(
        lambda: (
            (now_ := [each for each in server.workers() if each.pid != first.pid]) and len(now_) == 3 and now_
        ),
        "three workers again",
    )
    assert {each.pid for each in others} < {each.pid for each in after}
    assert before[0].pid not in {each.pid for each in after}
    wait_for(server.answers, "it answers")
    assert "tilth_http_requests_in_flight 1.0" in httpx.get(f"{server.url}/metrics", timeout=60).text
    assert server.stop() == 0


def test_a_killed_server_leaves_its_port(starts, postgres_database):
    server = starts(postgres_database)
    wait_for(lambda: len(server.workers()) == 3, "three workers")
    server.kill()
    server.start()
    assert server.answers()


@pytest.mark.faults
def test_a_full_disk_is_told_and_what_came_before_is_kept(starts, postgres_database, mount):
    disk = mount("-o", "size=1m")
    server = starts(postgres_database, TILTH_SERVER_DATA_FOLDER=str(disk))
    with HttpStore(server.url, server.token(), "p", patience_s=5) as store:
        run = store.start_run(Run(pipeline="flow"))
        path = f"/projects/p/runs/{run.id}/logs/a.1.log"
        store.api.request("PUT", f"{path}?offset=0", b"x" * 100_000)
        with pytest.raises(DiskFull) as caught:
            store.api.request("PUT", f"{path}?offset=100000", b"y" * 2_000_000)
        assert "TILTH_SERVER_DATA_FOLDER" in caught.value.mend
        told = store.api.send("PUT", f"{path}?offset=100000", b"y" * 2_000_000, expected=(507,))
        assert told.status_code == 507
        log = store.api.request("GET", path)
        assert log.startswith(b"x" * 100_000)
        assert not log.strip(b"xy")
        assert store.start_run(Run(pipeline="flow")).number == 2  # records go on


class Writers:
    """Threads that write runs and steps, each at one of the servers, and remember what was acknowledged."""

    def __init__(self, urls, token):
        self.over = threading.Event()
        self.runs, self.steps, self.failures = [], {}, []
        self.seen, self.backwards = {}, []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guarded, args=(self._write, urls[i % len(urls)], token))
            for i in range(6)
        ]
        self._threads += [
            threading.Thread(target=self._guarded, args=(self._look, url, token)) for url in urls
        ]
        for each in self._threads:
            each.start()

    def finish(self):
        self.over.set()
        for each in self._threads:
            each.join(PATIENCE_S + 60)
            assert not each.is_alive()

    def _guarded(self, what, url, token):
        try:
            with HttpStore(url, token, "chaos", patience_s=PATIENCE_S) as store:
                what(store)
        except Exception as error:
            self.failures.append(error)

    def _write(self, store):
        while not self.over.is_set():
            run = store.start_run(Run(pipeline="flow"))
            self.runs.append(run)
            made = store.add(*(StepRun(run=run.id, step=f"s{i}") for i in range(3)))
            self._acknowledged(*made)
            for state in (State.RUNNING, State.COMPLETED):
                changed = [msgspec.structs.replace(each, state=state) for each in made[1:]]
                (one,) = made[:1]
                first = store.replace(one, msgspec.structs.replace(one, state=state))
                rest = store.write([Put(each) for each in changed], holding=run)
                made = (first, *rest)
                self._acknowledged(*made)
            run = store.replace(run, msgspec.structs.replace(run, state=State.COMPLETED))
            with self._lock:
                self.steps[run.id] = run

    def _acknowledged(self, *steps):
        with self._lock:
            self.steps.update({each.id: each for each in steps})

    def _look(self, store):
        """See whether anything goes back."""
        while not self.over.is_set():
            for each in store.find(StepRun, limit=50).items:
                with self._lock:
                    before = self.steps.get(each.id)
                found = store.get(StepRun, each.id)
                if before is not None and RANK[found.state] < RANK[before.state]:
                    self.backwards.append((before, found))
            time.sleep(0.1)


def check(writers, database):
    """No acknowledged write is lost or doubled, no number is given twice, nothing has gone back."""
    assert not writers.failures
    assert not writers.backwards
    with SqlStore(PostgresDatabase(database)) as server:
        from tilth.records.access import Space

        assert [each.name for each in walk(server, Space) if each.name == "chaos"] == ["chaos"]
        store = server.within("chaos")
        runs, steps = list(walk(store, Run)), list(walk(store, StepRun))
    assert Counter(each.id for each in runs) == Counter(each.id for each in writers.runs)
    assert sorted(each.number for each in runs) == list(range(1, len(runs) + 1))
    kept = {each.id: each for each in (*runs, *steps)}
    assert len(steps) == 3 * len(runs)
    for acknowledged in writers.steps.values():
        # `write` does not say which revision it makes.
        assert msgspec.structs.replace(kept[acknowledged.id], revision=acknowledged.revision) == acknowledged
    assert {each.state for each in (*runs, *steps)} == {State.COMPLETED}


def more_than_now(writers):
    """Wait until writers have gone on."""
    before = len(writers.runs)
    wait_for(lambda: len(writers.runs) > before + 6 or writers.failures, "writers go on")


@pytest.mark.faults
def test_nothing_acknowledged_is_lost_or_doubled_whatever_is_killed(starts, own_postgres, capsys):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    servers = both(starts, own_postgres.url)
    writers = Writers([each.url for each in servers], servers[0].token())
    try:
        for what in chance.sample(
            ["worker", "server", "backend", "database", "worker", "server", "backend"], 7
        ):
            more_than_now(writers)
            time.sleep(chance.uniform(0, 1))
            server = chance.choice(servers)
            if what == "worker":
                chance.choice(server.workers()).kill()
            elif what == "server":
                server.kill()
                server.start()
            elif what == "backend":
                assert own_postgres.kill_backend()
            else:
                own_postgres.kill()
                own_postgres.start()
            wait_for(
                lambda: all(each.answers() for each in servers), f"servers answer after a {what} was killed"
            )
        more_than_now(writers)
    finally:
        writers.finish()
    check(writers, own_postgres.url)


@pytest.mark.faults
def test_a_database_that_is_gone_for_30_seconds_delays_clients_and_harms_nothing(starts, own_postgres):
    servers = both(starts, own_postgres.url)
    token = servers[0].token()
    writers = Writers([each.url for each in servers], token)
    try:
        more_than_now(writers)
        own_postgres.kill()
        gone = time.monotonic()
        with httpx.Client(base_url=servers[0].url, timeout=60, trust_env=False) as client:
            told = client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
            assert (told.status_code, told.headers["retry-after"]) == (503, "5")
            assert told.json()["error"]["summary"] == "the server's database does not answer"
            assert client.get("/ready").status_code == 503
            assert client.get("/health").status_code == 200
            metrics = client.get("/metrics").text
            assert "tilth_database_up 0.0" in metrics
        servers[1].workers()[0].kill()  # the one that is started for it waits
        time.sleep(max(0.0, gone + 30 - time.monotonic()))
        own_postgres.start()
        wait_for(lambda: all(each.answers() for each in servers), "servers recover by themselves")
        wait_for(lambda: len(servers[1].workers()) == 3, "three workers again")
        more_than_now(writers)
    finally:
        writers.finish()
    check(writers, own_postgres.url)


def test_a_server_ends_while_a_worker_waits_for_the_database(starts, own_postgres):
    server = starts(own_postgres.url)
    own_postgres.kill()
    server.workers()[0].kill()
    wait_for(lambda: "a worker waits" in server.log.read_text(), "a worker waits")
    assert server.stop() == 0
