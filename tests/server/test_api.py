"""The whole API against what its OpenAPI says of it, and against input that nobody should send."""

# ruff: noqa: UP031 - JSON has braces of its own

from __future__ import annotations

import secrets
import time

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS
from tests.server_running import running_server

from tilth.store.postgres import PostgresDatabase
from tilth.store.sqlite import SqliteDatabase

HALF = r"\ud800"  # of a character, as JSON has it
# A schema says less than the code checks (names, ids, what belongs together), and what nobody knows is ignored.
NO_CHECKS = ("positive_data_acceptance", "negative_data_rejection", "ignored_auth")
ENDED = "POST /api/v1/logout"  # the login that asks


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def served(request, tmp_path):
    if request.param == "sqlite":
        database = SqliteDatabase(tmp_path / "tilth.db")
    else:
        database = PostgresDatabase(request.getfixturevalue("postgres_database"))
    with running_server(
        database, data_folder=str(tmp_path / "data"), secrets_key_file=str(tmp_path / "key"), schedules=False
    ) as server:
        yield server
    database.close()


@pytest.fixture
def ask(served):
    with httpx.Client(
        base_url=f"{served.url}/api/v1", headers={"Authorization": f"Bearer {served.token}"}, timeout=60
    ) as client:
        yield client


def holds_to_its_schema(server, examples: int, seconds: float) -> set[str]:
    """Ask every operation for at most so many examples and so long in all; gives the operations asked."""
    schema = schemathesis.openapi.from_url(f"{server.url}/api/v1/openapi.json")
    excluded = [CHECKS.get_one(name) for name in NO_CHECKS]
    asked, until = set(), time.monotonic() + seconds
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.label == ENDED:
            continue
        modes = schemathesis.GenerationMode
        cases = operation.as_strategy(generation_mode=modes.POSITIVE) | operation.as_strategy(
            generation_mode=modes.NEGATIVE
        )

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=cases)
        def answers_as_told(case):
            label = case.operation.label
            if label in asked and time.monotonic() > until:
                return
            if "project" in case.path_parameters and len(case.path_parameters["project"]) % 2:
                case.path_parameters["project"] = "default"
            asked.add(label)
            headers = {"Authorization": f"Bearer {server.token}"}
            response = case.call(headers=headers, timeout=60)
            case.validate_response(response, excluded_checks=excluded)

        answers_as_told()
    return asked


def test_the_api_answers_as_its_openapi_says(served):
    asked = holds_to_its_schema(served, examples=3, seconds=20)
    assert len(asked) > 100


@pytest.mark.slow
def test_the_api_answers_many_requests_as_its_openapi_says(served):
    assert len(holds_to_its_schema(served, examples=50, seconds=240)) > 100


def test_every_operation_is_told_of_whole(ask):
    told = ask.get("/openapi.json").json()
    operations = [each for path in told["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names))
    for each in operations:
        assert each["summary"], each["operationId"]
        assert {"401", "422", "503"} <= each["responses"].keys(), each["operationId"]
        assert any(code.startswith("2") for code in each["responses"])
    assert told["components"]["schemas"]["Run"]["properties"]["created_at"]["format"] == "date-time"


def refused(response: httpx.Response) -> bool:
    """Whether a request was refused as one that cannot be used, in the words of an error."""
    if response.status_code not in (401, 404, 409, 413, 422):
        return False
    return bool(response.json()["error"]["summary"])


RUNS = "/projects/default/runs"


UNUSABLE = [
    (f"{RUNS}/start", r'{"pipeline": "a\u0000b"}'),
    (f"{RUNS}/start", '{"pipeline": "a%s"}' % HALF),
    (f"{RUNS}/start", '{"pipeline": "p", "created_at": "2026-01-01T00:00:00"}'),
    (f"{RUNS}/start", '{"pipeline": "p", "created_at": "0000-01-01T00:00:00Z"}'),
    (f"{RUNS}/start", '{"pipeline": "p", "created_at": "10000-01-01T00:00:00Z"}'),
    (f"{RUNS}/start", '{"pipeline": "p", "started_at": "2026-01-01T00:00:00"}'),
    (f"{RUNS}/start", '{"pipeline": "p", "id": ".."}'),
    (f"{RUNS}/start", '{"pipeline": "p", "id": "a/b"}'),
    (f"{RUNS}/start", '{"pipeline": "p", "id": ""}'),
    (f"{RUNS}/start", '{"pipeline": "p", "metadata": {"a": %s}}' % ("[" * 100_000 + "]" * 100_000)),
    (f"{RUNS}/query", '{"where": {"pipeline": "a%s"}}' % HALF),
    (f"{RUNS}/query", '{"where": {"pipeline": 1}}'),
    (f"{RUNS}/query", '{"where": {"number": "one"}}'),
    (f"{RUNS}/query", '{"where": {"number": %d}}' % (1 << 70)),
    (f"{RUNS}/query", '{"where": {"pipeline": [%s]}}' % ",".join(['"a"'] * 70_000)),
    (f"{RUNS}/query", '{"where": {"nothing": "a"}}'),
    (f"{RUNS}", '{"items": [{"pipeline": "p", "id": "two"}, {"pipeline": "p", "id": "two"}]}'),
    ("/projects/default/changes", '{"changes": [{"kind": "run%s"}]}' % HALF),
    ("/projects/default/changes", '{"changes": [{"kind": "run", "put": 1}]}'),
    ("/projects/default/changes", '{"changes": [], "holding": {"pipeline": "%s"}}' % HALF),
    ("/projects", r'{"name": "a\u0000"}'),
    ("/users", '{"name": "a%s"}' % HALF),
    ("/users", '{"name": "a", "password": "long enough %s"}' % HALF),
    ("/keys", '{"name": "a%s"}' % HALF),
    ("/login", '{"name": "a%s", "password": "b"}' % HALF),
    ("/login", '{"name": "a", "password": "b%s"}' % HALF),
    ("/login", r'{"name": "a\u0000", "password": "b"}'),
    ("/device/grant", '{"user_code": "%s"}' % HALF),
    ("/device/token", r'{"device_code": "%s\u0000"}' % HALF),
    ("/password", r'{"secret": "%s\u0000", "password": "long enough"}' % HALF),
]  # fmt: skip


def test_what_cannot_be_used_is_refused_by_name(ask):
    for path, body in UNUSABLE:
        response = ask.post(path, content=body.encode())
        assert refused(response), (path, body[:100], response.status_code, response.text[:300])


def test_names_of_100000_characters_are_refused_by_name(ask):
    long = secrets.token_hex(50_000)  # no index compresses it
    for path, body in (
        (f"{RUNS}/start", {"pipeline": long}),
        (f"{RUNS}/start", {"pipeline": "p", "id": long}),
        ("/projects/default/stacks", {"items": [{"project": "p", "name": long, "components": {}}]}),
        ("/projects", {"name": long}),
        ("/projects", {"name": "p", "description": long}),
        ("/users", {"name": long}),
        ("/users", {"name": "u", "full_name": long}),
        ("/users", {"name": "u", "email": long}),
        ("/login", {"name": long, "password": "p"}),
        ("/login", {"name": "n", "password": long}),
        ("/runners", {"id": long, "name": "n", "platform": "p", "machine": "m", "version": "1"}),
        ("/runners", {"id": "r", "name": long, "platform": "p", "machine": "m", "version": "1"}),
    ):
        response = ask.post(path, json=body)
        assert refused(response), (path, response.status_code, response.text[:300])
        assert len(response.content) < 2000
    assert ask.post(f"{RUNS}/query", json={"where": {"pipeline": long}}).json()["items"] == []


ODD = ["%00", "%ff%fe", "%2e%2e", "%20", "a%0ab", "x" * 20_000, "%F0%9F%98%80" * 240]


def test_odd_characters_in_an_address_are_answered(ask):
    run = ask.post(f"{RUNS}/start", json={"pipeline": "p"}).json()["id"]
    for odd in ODD:
        for method, path in (
            ("GET", f"{RUNS}/{odd}"),
            ("DELETE", f"{RUNS}/{odd}"),
            ("GET", f"{RUNS}?pipeline={odd}&id_prefix={odd}"),
            ("GET", f"{RUNS}?after={odd}"),
            ("GET", f"{RUNS}?order={odd}"),
            ("GET", f"/projects/{odd}/runs"),
            ("GET", f"/projects/default/objects/{odd}"),
            ("DELETE", f"/projects/default/objects/{odd}"),
            ("GET", f"/projects/default/objects?prefix={odd}/&after={odd}"),
            ("GET", f"/projects/default/uploads/{odd}"),
            ("GET", f"{RUNS}/{run}/logs/{odd}"),
            ("GET", f"{RUNS}/{odd}/logs"),
            ("GET", f"/users?name={odd}&after={odd}"),
            ("GET", f"/audit?user={odd}&project={odd}"),
            ("GET", f"/device/{odd}"),
            ("DELETE", f"/tokens/{odd}"),
        ):
            response = ask.request(method, path)
            assert response.status_code < 500, (method, path[:100], response.text[:300])


def test_numbers_at_the_end_of_their_range_are_answered(ask):
    run = {"pipeline": "p", "id": "r"}
    assert ask.post(f"{RUNS}/start", json=run).status_code == 201
    for revision in ("0", "-1", str(1 << 63), "9" * 40, "x"):
        assert refused(ask.put(f"{RUNS}/r", json=run, headers={"Tilth-Revision": revision})), revision
    for limit in ("0", "-1", "1001", "9" * 30):
        assert refused(ask.get(f"{RUNS}?limit={limit}")), limit
    for number in ((1 << 63) - 1, -(1 << 63), 1 << 63, 1 << 80):
        assert ask.post(RUNS, json={"items": [{"pipeline": "n", "number": number}]}).status_code < 500
        assert ask.post(f"{RUNS}/start", json={"pipeline": "n"}).status_code < 500
    for moment in ("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"):
        assert ask.post(f"{RUNS}/start", json={"pipeline": "d", "created_at": moment}).status_code == 201
    assert len(ask.get(f"{RUNS}?pipeline=d&order=created_at").json()["items"]) == 2


def test_text_that_no_database_indexes_is_kept_where_none_does(ask):
    run = r'{"pipeline": "p", "metadata": {"file": "a\udcff", "nul": "\u0000"}}'
    kept = ask.post(f"{RUNS}/start", content=run.encode())
    assert kept.status_code == 201
    found = ask.get(f"{RUNS}/{kept.json()['id']}").json()
    assert found["metadata"] == {"file": "a\udcff", "nul": "\0"}
