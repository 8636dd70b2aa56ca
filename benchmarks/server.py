"""Measure tilth's server, and ZenML's beside it, on this machine, now.

    python benchmarks/server.py             100,000 runs with a million steps: about 10 minutes
    python benchmarks/server.py --quick     a tenth of it, everything once: does it all still run?

Each server is started by its own command and asked by another process over loopback. ZenML's is installed from the
package index and filled by copying its own runs; where that cannot be done, figures measured earlier stand in, and are
marked. PostgreSQL is that of `scripts/services start postgres`. Results go to `SERVER.md` beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
from server_data import LARGE_STEPS, fill_postgres, fill_sqlite
from server_zenml import LIST as ZENML_LIST, zenml_server

from tilth.records import OutputRef, Run, State, StepRun, now
from tilth.store.postgres import PostgresDatabase
from tilth.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work" / "server"
STATE = Path(os.environ.get("TILTH_SERVICES") or Path.home() / ".cache" / "tilth-services")
PASSWORD = "not-a-secret-of-anybody"
ZENML_QUOTED = 12.9  # requests per second, measured on a quiet machine of two cores, 2026-11-22
RUNS = "/api/v1/projects/default/runs"
STEPS = "/api/v1/projects/default/step-runs"
PIPELINE = """
from tilth import pipeline, step

@step
def one(value: int = 0) -> int:
    return value + 1

@pipeline
def ten():
    value = one()
    for _ in range(9):
        value = one(value)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure tilth's server.")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, everything once")
    parser.add_argument("--without-zenml", action="store_true", help="quote its figures")
    options, _ = parser.parse_known_args()  # those of run.py may stand beside them
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    bench = Bench(quick=options.quick)
    with postgres_url() as url:
        bench.start()
        bench.against_zenml(install=not options.without_zenml)
        bench.added_per_step()
        bench.large("SQLite", "")
        bench.large("PostgreSQL", url)
        bench.events(url)
        bench.streams(url)
    text = bench.render()
    ((WORK if options.quick else HERE) / "SERVER.md").write_text(text)
    print(text)
    return 0


@dataclass
class Serving:
    """A server of tilth's that answers."""

    url: str
    headers: dict[str, str]
    pid: int
    ready_s: float

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request, and the JSON of its answer."""
        content = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(self.url + path, content, self.headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or "null")

    def load(self, requests: list[tuple[str, str, str | None]], **task: Any) -> dict[str, Any]:
        """Ask from another process; see `server_load.py`."""
        task |= {"url": self.url, "headers": self.headers, "requests": requests}
        done = subprocess.run(
            [sys.executable, str(HERE / "server_load.py")],
            input=json.dumps(task),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        told: dict[str, Any] = json.loads(done.stdout)
        if told["failed"]:
            raise SystemExit(f"requests failed: {told['failed']}")
        return told


class Bench:
    """What was measured: rows of title, figure, aim, and whether it was met."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.runs = 10_000 if quick else 100_000
        self.samples = 60 if quick else 300
        self.seconds = 2 if quick else 8
        self.rows: list[tuple[str, str, str, bool]] = []
        self.notes: list[str] = []

    def note(self, title: str, figure: str, aim: str, met: bool) -> None:
        figure += f" (load {os.getloadavg()[0]:.0f})"
        print(f"{title}: {figure}; aim {aim}{'' if met else ': MISSED'}", flush=True)
        self.rows.append((title, figure, aim, met))

    def start(self) -> None:
        """From the command to the first answer, on a database that is there, and what it holds then."""
        home = WORK / "start"
        taken, memory = [], 0.0
        for turn in range(2 if self.quick else 6):
            with serving(home) as server:
                if turn:  # the first makes the database
                    taken.append(server.ready_s)
                server.ask("GET", f"{RUNS}?limit=1")
                memory = pss(server.pid)
        self.note("ready, from `tilth server start`", f"{median(taken):.2f} s", "2 s", median(taken) < 2)
        self.note("memory when idle, PSS of all its processes", f"{memory:.0f} MB", "150 MB", memory < 150)

    def against_zenml(self, *, install: bool) -> None:
        """The same list, newest first, 20 at a time, of 2,000 runs; eight connections."""
        runs = 2000
        home = WORK / "small"
        fill(SqliteDatabase(home_database(home)), runs)
        ours, theirs, told = [], [], "at the same time"
        with contextlib.ExitStack() as stack:
            url, ready = "", 0.0
            if install:
                try:
                    url, ready = stack.enter_context(zenml_server(WORK, runs))
                except (SystemExit, OSError, subprocess.SubprocessError) as error:
                    print(error, file=sys.stderr)
            server = stack.enter_context(serving(home))
            for _ in range(1 if self.quick else 3):
                ours.append(per_second(server.url, f"{RUNS}?limit=20", server.headers, self.seconds))
                if url:
                    theirs.append(per_second(url, ZENML_LIST, {}, self.seconds))
        if not theirs:
            theirs, told = [ZENML_QUOTED], "quoted: not measured here"
        ratio = median(ours) / median(theirs)
        self.note(
            "list of 2,000 runs, requests per second, one process on SQLite",
            f"{median(ours):.0f}; ZenML 0.98 {median(theirs):.1f} ({told}): {ratio:.0f} times",
            "50 times",
            ratio >= 50,
        )
        if ready:
            self.notes.append(f"ZenML's server was ready after {ready:.1f} s.")

    def added_per_step(self) -> None:
        """Ten steps with records on a server, and the same with them in the home folder, in turns."""
        project = WORK / "project"
        project.mkdir(exist_ok=True)
        (project / "tilth.toml").touch()
        (project / "pipeline.py").write_text(PIPELINE)
        embedded, with_server = WORK / "embedded", WORK / "client"
        taken: dict[Path, list[float]] = {embedded: [], with_server: []}
        with serving(WORK / "records") as server:
            key = server.headers["Authorization"].split()[1]
            tilth(with_server, project, "login", server.url, "--api-key", given=key)
            for turn in range(3 if self.quick else 16):
                for home in (embedded, with_server) if turn % 2 else (with_server, embedded):
                    began = time.perf_counter()
                    tilth(home, project, "run", "--no-cache", "pipeline.py")
                    if turn:
                        taken[home].append(time.perf_counter() - began)
        without, through = (sorted(each) for each in taken.values())
        # The quickest half of both: on a shared machine the rest says what others did.
        few = max(1, len(without) // 2)
        added = (median(through[:few]) - median(without[:few])) / 10 * 1000
        self.note(
            "ten steps through the server, added per step",
            f"{added:.1f} ms ({median(through[:few]):.2f} s; {median(without[:few]):.2f} s without)",
            "5 ms",
            added < 5,
        )

    def large(self, name: str, url: str) -> None:
        """Lists and one run with 200 steps, of 100,000 runs and a million steps; one connection."""
        home = WORK / "large"
        began = time.perf_counter()
        fill(PostgresDatabase(url) if url else SqliteDatabase(home_database(home)), self.runs)
        self.notes.append(f"Filling {name} took {time.perf_counter() - began:.0f} s.")
        with serving(home, url) as server:
            newest = server.ask("GET", f"{RUNS}?limit=100")
            page = server.ask("GET", f"{RUNS}?limit=20&after={quote(newest['next'])}")
            large = [each["id"] for each in newest["items"] if each["steps"] == LARGE_STEPS]
            middle = server.ask("GET", f"{RUNS}?name=pipeline-07-{self.runs // 100}")["items"][0]
            moment = int(datetime.fromisoformat(middle["created_at"]).timestamp() * 1e6)
            self.p95(
                server,
                f"{name}: list runs",
                [f"{RUNS}?limit=20", f"{RUNS}?limit=20&after={quote(page['next'])}"],
                30,
            )
            detail = [
                path
                for run in large
                for path in (f"{RUNS}/{run}", f"{STEPS}?run={run}&order=created_at&limit=1000")
            ]
            self.p95(server, f"{name}: a run and its 200 steps", detail, 50, together=2)
            since = quote(json.dumps([moment, ""]))
            for title, path in (
                ("runs of one state", f"{RUNS}?state=failed&limit=20"),
                ("runs of one pipeline", f"{RUNS}?pipeline=pipeline-07&limit=20"),
                ("runs of a pipeline and state", f"{RUNS}?pipeline=pipeline-07&state=cancelled&limit=20"),
                ("runs of a pipeline and two states", f"{RUNS}?pipeline=pipeline-07&state=failed&state=cancelled"),
                ("runs of a state that none has", f"{RUNS}?state=queued&limit=20"),
                ("a pipeline's runs by number", f"{RUNS}?pipeline=pipeline-07&order=-number&limit=20"),
                ("runs by name", f"{RUNS}?order=name&limit=20"),
                ("runs by number", f"{RUNS}?order=-number&limit=20"),
                ("runs since a moment", f"{RUNS}?order=created_at&after={since}&limit=20"),
                ("runs before a moment", f"{RUNS}?after={since}&limit=20"),
                ("runs of a state before a moment", f"{RUNS}?state=failed&after={since}&limit=20"),
                ("how a step went before", f"{STEPS}?pipeline=pipeline-07&step=step_003&limit=20"),
                ("failed steps of a run", f"{STEPS}?run={large[0]}&state=failed&limit=20"),
                ("steps that failed", f"{STEPS}?state=failed&limit=20"),
                ("steps that are running", f"{STEPS}?state=running&limit=20"),
            ):  # fmt: skip
                self.p95(server, f"{name}: {title}", [path], 30)

    def p95(self, server: Serving, title: str, paths: list[str], aim_ms: int, *, together: int = 1) -> None:
        asked = [("GET", path, None) for path in paths]
        server.load(asked, connections=1, count=max(5, together * 5))
        taken = server.load(asked, connections=1, count=self.samples * together)["taken"]
        whole = sorted(sum(taken[at : at + together]) * 1000 for at in range(0, len(taken), together))
        p50, p95 = median(whole), whole[int(len(whole) * 0.95)]
        self.note(title, f"p95 {p95:.1f} ms, median {p50:.1f} ms", f"p95 {aim_ms} ms", p95 < aim_ms)

    def events(self, url: str) -> None:
        """Step events taken in, with two processes on PostgreSQL: as drivers send them, and one at a time."""
        with serving(WORK / "events", url, workers=2) as server:
            drivers = [start_run(server) for _ in range(16)]
            for title, batch, aim in (
                ("step events per second, 50 to a request", 50, 2000),
                ("step events per second, one to a request", 1, 2000),
            ):
                count = 20_000 if batch > 1 else 6_000
                requests = changes(drivers, count // (10 if self.quick else 1), batch)
                told = server.load(requests, connections=len(drivers), count=len(requests))
                rate = len(requests) * batch / told["seconds"]
                self.note(title, f"{rate:,.0f}", f"{aim:,}", rate >= aim)

    def streams(self, url: str) -> None:
        """Event streams of runs that go on: every one hears every event, and how long after it was told."""
        count = 50 if self.quick else 500
        with serving(WORK / "streams", url) as server:
            runs = [start_run(server) for _ in range(10)]
            paths = [(f"{RUNS}/{run.id}/events", count // len(runs)) for run in runs]
            task = {
                "url": server.url,
                "headers": server.headers,
                "streams": paths,
                "until": '"state":"completed"',
            }
            task["until"] = '"tags":["over"]'
            listener = subprocess.Popen(
                [sys.executable, str(HERE / "server_load.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert listener.stdin is not None
            assert listener.stdout is not None
            listener.stdin.write(json.dumps(task))
            listener.stdin.close()
            began = time.perf_counter()
            if listener.stdout.readline() != "open\n":
                raise SystemExit("the streams did not open")
            opened = time.perf_counter() - began
            requests = changes(runs, 10 * 20, 1)
            server.load(requests, connections=2, count=len(requests))
            self.p95(server, f"list runs while {count} event streams are open", [f"{RUNS}?limit=20"], 30)
            memory = pss(server.pid)
            told_at = time.time()
            for run in runs:
                over = msgspec.structs.replace(run, state=State.COMPLETED, tags=("over",), finished_at=now())
                server.ask(
                    "POST", "/api/v1/projects/default/changes", {"changes": [{"kind": "run", "put": over}]}
                )
            told = json.loads(listener.stdout.read())
            listener.wait()
        late = sorted(each - told_at for each in told["ended"])
        steps = len({json.loads(body)["changes"][0]["put"]["id"] for _, _, body in requests})
        least = count // len(runs) * (steps + len(runs))  # each step's last state, and each run's
        whole = len(late) == count and told["events"] >= least
        self.note(
            f"{count} event streams of 10 runs",
            f"opened in {opened:.1f} s, the last event at all of them within {late[-1]:.2f} s, {memory:.0f} MB",
            "none misses an event",
            whole,
        )

    def render(self) -> str:
        """The page of results."""
        about = (
            f"Made by `python benchmarks/server.py{' --quick' if self.quick else ''}` on "
            f"{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}; "
            f"{self.runs:,} runs with ten steps each. The machine's load, others' included, stands with each row."
        )
        lines = ["# The server: what it takes", "", about, *self.notes, ""]
        lines += ["| | measured | aim | |", "|---|---:|---:|---|"]
        lines += [
            f"| {title} | {figure} | {aim} | {'' if met else 'missed'} |"
            for title, figure, aim, met in self.rows
        ]
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def serving(home: Path, url: str = "", *, workers: int = 1) -> Iterator[Serving]:
    """`tilth server start` with a home folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    home.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("tilth")), "server", "start", "--foreground"]
    environ = environment(home) | {"TILTH_SERVER_ADMIN_PASSWORD": PASSWORD, "TILTH_SERVER_DATABASE_URL": url}
    began = time.perf_counter()
    with open(home / "bench.log", "ab") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", str(workers)],
            env=environ,
            stdout=log,
            stderr=log,
            cwd=home,
        )
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/ready", timeout=30):
                break
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise SystemExit("the server did not start:\n" + (home / "bench.log").read_text()[-2000:])
            time.sleep(0.01)
        ready = time.perf_counter() - began
        server = Serving(address, {}, process.pid, ready)
        login = server.ask("POST", "/api/v1/login", {"name": "admin", "password": PASSWORD})
        server.headers = {"Authorization": f"Bearer {login['token']}"}
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def postgres_url() -> Iterator[str]:
    """An empty database, dropped afterwards."""
    import psycopg

    known = json.loads((STATE / "services.json").read_text()).get("postgres")
    if not known:
        raise SystemExit("PostgreSQL does not run: `scripts/services start postgres`")
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{known['url']}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield f"{known['url']}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def fill(database: SqliteDatabase | PostgresDatabase, runs: int) -> None:
    """Put the runs in, and close it."""
    try:
        if isinstance(database, SqliteDatabase):
            fill_sqlite(database, runs)
        else:
            fill_postgres(database, runs)
    finally:
        database.close()


def start_run(server: Serving) -> Run:
    """A run that goes on."""
    run = Run(pipeline=f"live-{uuid.uuid4().hex[:6]}", steps=1)
    return msgspec.convert(server.ask("POST", f"{RUNS}/start", run), Run)


def changes(runs: list[Run], count: int, batch: int) -> list[tuple[str, str, str | None]]:
    """Requests with so many step events in all: each step begins, and ends. One run's come from one driver."""
    told = []
    for at in range(count // batch):
        run = runs[at % len(runs)]
        events: list[StepRun] = []
        for index in range((batch + 1) // 2):
            step = StepRun(
                run=run.id, step=f"step_{at}_{index}", pipeline=run.pipeline, state=State.RUNNING,
                cache_key=f"sha256:{uuid.uuid4().hex * 2}", started_at=now(), environment="sha256:" + "e" * 64,
                inputs={"frame": {"$artifact": "sha256:" + "d" * 64, "from": "step_000"}, "alpha": 0.5},
            )  # fmt: skip
            outputs = {"output": OutputRef(digest=f"sha256:{uuid.uuid4().hex * 2}", artifact=step.id)}
            done = msgspec.structs.replace(
                step, state=State.COMPLETED, outputs=outputs, finished_at=now() + timedelta(seconds=1)
            )
            events += [step, done]
        body = {"changes": [{"kind": "step_run", "put": each} for each in events[:batch]], "holding": run}
        told.append(("POST", "/api/v1/projects/default/changes", msgspec.json.encode(body).decode()))
    return told


def per_second(url: str, path: str, headers: dict[str, str], seconds: int) -> float:
    """Requests per second over eight connections: by wrk, or by a process of our own where there is none."""
    if wrk := shutil.which("wrk"):
        given = [text for name, value in headers.items() for text in ("-H", f"{name}: {value}")]
        command = [wrk, "-t1", "-c8", f"-d{seconds}s", *given, url + path]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in printed:
            raise SystemExit(printed)
        return float(printed.split("Requests/sec:")[1].split()[0])
    told = Serving(url, headers, 0, 0).load([("GET", path, None)], connections=8, seconds=seconds)
    return len(told["taken"]) / float(told["seconds"])


def tilth(home: Path, folder: Path, *command: str, given: str = "") -> str:
    """Run `tilth`; what it printed."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("tilth")), *command],
        cwd=folder, env=environment(home), input=given, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"tilth {' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def environment(home: Path) -> dict[str, str]:
    """Variables of a process of tilth's: none of the caller's own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TILTH_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {**kept, "TILTH_HOME": str(home)}


def home_database(home: Path) -> Path:
    """The file of records in a home folder."""
    home.mkdir(parents=True, exist_ok=True)
    return home / "tilth.db"


def pss(pid: int) -> float:
    """Megabytes of a process and all below it, shared pages counted once."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        for task in Path(f"/proc/{one}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        total += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return total / 1024


def quote(text: str) -> str:
    """A value in an address."""
    from urllib.parse import quote as escape

    return escape(text, safe="")


if __name__ == "__main__":
    raise SystemExit(main())
