"""What an operator sees: counts, log lines, traces, the id of a request."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server_running import running_server

from tilth.errors import DatabaseUnavailable
from tilth.records import Run
from tilth.server import logs
from tilth.server.settings import ServerSettings
from tilth.store.http import HttpStore
from tilth.store.sqlite import SqliteDatabase


def settings(folder):
    return {"data_folder": str(folder), "schedules": False, "secrets_key_file": str(folder / "key")}


def scraped(client, **more):
    """Every sample by name and labels."""
    response = client.get("/metrics", **more)
    assert response.status_code == 200, response.text
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


@contextlib.contextmanager
def written(settings):
    """What a process with these settings writes: the text comes when it has left."""
    root = logging.getLogger()
    before, level, access = root.handlers[:], root.level, logging.getLogger("tilth.access").level
    logs.set_up(settings)
    stream = io.StringIO()
    root.handlers[0].setStream(stream)
    try:
        yield stream
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.getLogger("tilth.access").setLevel(access)


def lines_about(stream, name):
    """The access line of a request, which is written after its answer has been sent."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in stream.getvalue().splitlines():
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if told["logger"] == "tilth.access" and told["request_id"] == name:
                    return told
        time.sleep(0.01)
    raise AssertionError(stream.getvalue())


def test_requests_are_counted_by_the_template_of_their_route(server, admin):
    route = "/api/v1/projects/{project}/runs/{id}"
    admin.post("/projects", {"name": "counted"})
    before = scraped(admin.client)
    for i in range(3):
        assert admin.get(f"/projects/counted/runs/{i}")[0] == 404
    assert admin.client.get("/no/such/page").status_code == 404
    after = scraped(admin.client)

    def more(name, **labels):
        key = (name, *sorted(labels.items()))
        return after.get(key, 0) - before.get(key, 0)

    assert more("tilth_http_requests_total", method="GET", route=route, status="404") == 3
    assert more("tilth_http_requests_total", method="GET", route="(none)", status="404") == 1
    assert more("tilth_http_request_duration_seconds_count", method="GET", route=route) == 3
    assert not any("/0" in str(key) for key in after)
    assert after["tilth_http_requests_in_flight",] >= 1  # that which asks


def test_runs_and_the_queue_are_counted_by_state(tmp_path):
    database = SqliteDatabase(tmp_path / "tilth.db")
    with running_server(
        database, data_folder=str(tmp_path), schedules=False, secrets_key_file=str(tmp_path / "key")
    ) as server:
        with HttpStore(server.url, server.token, "churn") as store:
            for _ in range(2):
                store.start_run(Run(pipeline="p"))
        with httpx.Client(base_url=server.url) as client:
            told = scraped(client)
    database.close()
    assert told["tilth_runs", ("state", "running")] == 2
    assert told["tilth_database_up",] == 1


def test_open_event_streams_are_counted(server, admin):
    with HttpStore(server.url, server.token, "streams") as store:
        run = store.start_run(Run(pipeline="p"))
        before = scraped(admin.client)["tilth_event_streams",]
        with admin.client.stream("GET", f"/api/v1/projects/streams/runs/{run.id}/events") as stream:
            assert stream.status_code == 200
            assert scraped(admin.client)["tilth_event_streams",] == before + 1
    deadline = time.monotonic() + 60
    while scraped(admin.client)["tilth_event_streams",] > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_database_that_is_away_is_counted_and_the_rest_is_told(tmp_path, monkeypatch):
    database = SqliteDatabase(tmp_path / "tilth.db")
    with running_server(
        database, data_folder=str(tmp_path), schedules=False, secrets_key_file=str(tmp_path / "key")
    ) as server:

        def away(*_):
            raise DatabaseUnavailable("the server's database does not answer")

        monkeypatch.setattr(database, "select", away)
        with httpx.Client(base_url=server.url) as client:
            answer = client.get("/ready")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert client.get("/health").status_code == 200
            told = scraped(client)
        monkeypatch.undo()
    database.close()
    assert told["tilth_database_up",] == 0
    assert told["tilth_database_errors_total",] == 1
    assert not any(key[0] == "tilth_runs" for key in told)


def test_a_token_guards_the_counts_where_one_is_set(tmp_path):
    database = SqliteDatabase(tmp_path / "tilth.db")
    with (
        running_server(database, metrics_token="open sesame", **settings(tmp_path)) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer öpen".encode()}).status_code == 401
        assert scraped(client, headers={"Authorization": "Bearer open sesame"})
    database.close()


def test_each_request_has_an_id(admin):
    one, other = (admin.client.get("/health").headers["x-request-id"] for _ in range(2))
    assert one != other
    told = admin.client.get("/health", headers={"X-Request-Id": "from-the.proxy_1"})
    assert told.headers["x-request-id"] == "from-the.proxy_1"
    for bad in ("a b", "x" * 65, '"},{"', "", "é"):
        assert admin.client.get("/health", headers={"X-Request-Id": bad.encode()}).headers[
            "x-request-id"
        ] not in ("", bad)


def test_a_line_tells_who_asked_for_what_and_no_secret(server, admin):
    with written(ServerSettings(log_format="json")) as stream:
        answer = admin.client.get(
            "/api/v1/projects/lines/runs?pipeline=tilth_key_verysecret",
            headers={"X-Request-Id": "line-1", "Cookie": "tilth_session=cookie-secret"},
        )
        told = lines_about(stream, "line-1")
        admin.client.post("/api/v1/login", json={"name": "admin", "password": "pass-secret"})
    assert answer.status_code == 404
    assert (
        told.items()
        >= {
            "method": "GET",
            "route": "/api/v1/projects/{project}/runs",
            "status": 404,
            "user": "admin",
            "address": "127.0.0.1",
            "level": "info",
        }.items()
    )
    assert told["ms"] > 0
    for secret in ("secret", server.token):
        assert secret not in stream.getvalue()


def test_probes_that_succeed_have_no_lines(server, admin):
    with written(ServerSettings(log_format="json")) as stream:
        for path in ("/health", "/ready", "/metrics", "/api/v1/info"):
            admin.client.get(path, headers={"X-Request-Id": "probe"})
        lines_about(stream, "probe")
    routes = [json.loads(line).get("route") for line in stream.getvalue().splitlines()]
    assert [each for each in routes if each] == ["/api/v1/info"]


def test_a_failure_nobody_foresaw_is_found_by_its_id(server, admin, monkeypatch):
    with written(ServerSettings(log_format="json")) as stream:
        monkeypatch.setattr("tilth.server.api.health.respond", lambda _: 1 / 0)
        answer = admin.client.get("/api/v1/info", headers={"X-Request-Id": "bug-1"})
        assert answer.status_code == 500
        assert answer.headers["x-request-id"] == "bug-1"
        assert lines_about(stream, "bug-1")["level"] == "warning"
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert any(
        "ZeroDivisionError" in each.get("exception", "") and each["request_id"] == "bug-1" for each in told
    )


@pytest.fixture
def collector():
    """Takes traces as a collector does; gives their spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    taken = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", taken
        listening.shutdown()
        thread.join()


def test_traces_go_where_the_operator_says(tmp_path, collector, monkeypatch):
    endpoint, taken = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "our-tilth")
    monkeypatch.setenv("no_proxy", "*")
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    database = SqliteDatabase(tmp_path / "tilth.db")
    with (
        running_server(
            database, data_folder=str(tmp_path), schedules=False, secrets_key_file=str(tmp_path / "key")
        ) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        client.get("/api/v1/projects/a/runs?x=secret", headers={"traceparent": f"00-{trace}-{parent}-01"})
    database.close()  # leaving the server sends what is not sent yet
    resources = [each for _, request in taken for each in request.resource_spans]
    assert {path for path, _ in taken} == {"/v1/traces"}
    names = {a.key: a.value.string_value for a in resources[0].resource.attributes}
    assert names["service.name"] == "our-tilth"
    (span,) = [
        span
        for each in resources
        for scope in each.scope_spans
        for span in scope.spans
        if span.name == "GET /api/v1/projects/{project}/runs"
    ]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)
    assert {a.key: a.value.int_value for a in span.attributes}["http.response.status_code"] == 401
    assert "secret" not in str(span)


def test_without_an_endpoint_nothing_of_tracing_is_imported():
    code = "import sys, tilth.server.app; assert not [m for m in sys.modules if m.startswith('opentelemetry.sdk')]"
    subprocess.run([sys.executable, "-c", code], check=True, env={})


def test_settings_are_shown_without_their_secrets(tilth):
    variables = {"TILTH_SERVER_DATABASE_URL": "postgresql://u:hunter2@h/d", "TILTH_SERVER_PORT": "99"}
    shown = tilth("server", "settings", env=variables).stdout
    assert "hunter2" not in shown
    assert "(hidden)" in shown
    told = {each["setting"]: each for each in tilth("server", "settings", "--json", env=variables).json}
    assert (told["port"]["value"], told["port"]["from"]) == ("99", "`TILTH_SERVER_PORT`")
    assert (told["host"]["value"], told["host"]["from"]) == ("127.0.0.1", "default")
    assert "give a whole number" in tilth("server", "settings", env={"TILTH_SERVER_PORT": "x"}, code=1).stderr
