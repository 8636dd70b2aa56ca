"""What Prometheus is told at `/metrics`: requests, and how many runs and launches are in which state.

With several worker processes each writes its counts into files of a folder that the first process made and named in
`PROMETHEUS_MULTIPROC_DIR`; whichever answers adds them up.

Source:
    https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from tilth.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from tilth.store.database import Database

SHARED = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COUNTED_S = 10.0  # for which counts of records are not counted again, however often somebody asks


class Metrics:
    """Counts of one application.

    Args:
        database: Of the records that are counted when somebody asks.
    """

    def __init__(self, database: Database) -> None:
        registry = CollectorRegistry()
        self.requests = Counter(
            "tilth_http_requests_total",
            "Requests answered, by the template of their address.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "tilth_http_request_duration_seconds",
            "From the first byte of a request to the last of its answer; event streams are left out.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "tilth_http_requests_in_flight",
            "Requests that are being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.streams = Gauge(
            "tilth_event_streams",
            "Event streams that are open.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.database_errors = Counter(
            "tilth_database_errors_total",
            "Requests that failed because the database did not answer.",
            registry=registry,
        )
        self._by_answer: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._registry = registry
        self._records = _Records(database)

    def answered(self, method: str, route: str, status: int, took_s: float | None) -> None:
        """Count a request that was answered; of an event stream without how long that took."""
        # Looking these up by labels takes longer than counting.
        key = (method, route, status)
        counts = self._by_answer.get(key)
        if counts is None:
            counts = (self.requests.labels(method, route, str(status)), self.seconds.labels(method, route))
            self._by_answer[key] = counts
        requests, seconds = counts
        requests.inc()
        if took_s is not None:
            seconds.observe(took_s)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many runs, and launches, are in which state: as of a few seconds ago at most."""
        found: dict[str, dict[str, int]] = {"run": {}, "launch": {}}
        for table, state, number in self._records.count():
            found[table][state] = number
        return found

    def text(self) -> bytes:
        """Everything, of all processes of this server, as Prometheus reads it."""
        registry = self._registry
        if os.environ.get(SHARED):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        counted = CollectorRegistry()
        counted.register(self._records)
        return generate_latest(registry) + generate_latest(counted)


class _Records:
    """Counts of records, which every process of every server sees alike."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counted: list[tuple[str, str, int]] = []
        self._at = -_COUNTED_S

    def collect(self) -> Iterable[Metric]:
        answers = GaugeMetricFamily("tilth_database_up", "Whether the database answers.")
        try:
            counted = self.count()
        except DatabaseUnavailable:
            answers.add_metric([], 0)
            yield answers
            return
        answers.add_metric([], 1)
        yield answers
        for table, name, meaning in (
            ("run", "tilth_runs", "Runs, by state."),
            ("launch", "tilth_queue_launches", "Runs that were asked for, by state in the queue."),
        ):
            family = GaugeMetricFamily(name, meaning, labels=["state"])
            for kind, state, number in counted:
                if kind == table:
                    family.add_metric([state], number)
            yield family

    def describe(self) -> Iterable[Metric]:
        return ()  # so that being registered asks nothing of the database

    def count(self) -> list[tuple[str, str, int]]:
        """Kind, state, number."""
        with self._lock:
            if time.monotonic() - self._at >= _COUNTED_S:
                rows = self._database.select(
                    "SELECT 'run', state, count(*) FROM run GROUP BY state "
                    "UNION ALL SELECT 'launch', state, count(*) FROM launch GROUP BY state"
                )
                self._counted = [(str(table), str(state), int(number)) for table, state, number in rows]
                self._at = time.monotonic()
            return self._counted
