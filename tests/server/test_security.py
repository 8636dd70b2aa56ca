"""What each kind of token may do, and what strangers, users and their runs must not be able to do."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import hmac
import http.client
import importlib
import io
import json
import logging
import pkgutil
import re
import socket
import sys
import threading
import time
import uuid
from datetime import timedelta

import httpx
import msgspec
import pytest
from fastapi import APIRouter
from tests.server.conftest import asker
from tests.server_running import PASSWORD, running_server

from tilth.errors import Conflict
from tilth.records import Artifact, Run, Snapshot, StepRun, now
from tilth.records.access import AuditEntry, DeviceLogin, Purpose, Token, User
from tilth.records.launching import Launch, LaunchState
from tilth.server import api, logs
from tilth.server.documents import BY_PLURAL
from tilth.server.limits import Attempts, TooManyAttempts
from tilth.server.observed import API
from tilth.server.settings import ServerSettings
from tilth.store import Delete, Put

SERVER_ADMIN = "admin"

# Who is let in by what they show. A number: what they are told instead.
IN = 0
TOKENS = ("session", "api_key", "project_key", "run", "runner", "invite", "nothing")
RULES = {
    "open": (IN, IN, IN, IN, IN, IN, IN),
    "any": (IN, IN, IN, IN, IN, 401, 401),
    "account": (IN, IN, 403, 403, 403, 401, 401),
    "server": (IN, IN, 403, 403, 403, 401, 401),  # of an admin of the server
    "look": (IN, IN, IN, IN, 403, 401, 401),
    "viewer": (IN, IN, IN, IN, 404, 401, 401),
    "editor": (IN, IN, IN, IN, 404, 401, 401),
    "own": (IN, IN, IN, 403, 404, 401, 401),  # an editor; and a run what is of that run, which these are not
    "person": (IN, IN, IN, 403, 404, 401, 401),  # an editor, and never a run
    "admin": (IN, IN, IN, 403, 404, 401, 401),  # of the project
    "runner": (IN, IN, 403, 403, IN, 401, 401),
    "itself": (IN, IN, 403, 403, IN, 401, 401),  # whose user has begun the runner
    "signed": (401, 401, 401, 401, 401, 401, 401),
}
# What a session may, by the role of its user.
ROLES = ("stranger", "viewer", "editor", "admin")
BY_ROLE = {
    "open": (IN, IN, IN, IN),
    "any": (IN, IN, IN, IN),
    "account": (IN, IN, IN, IN),
    "server": (403, 403, 403, 403),
    "look": (IN, IN, IN, IN),
    "viewer": (404, IN, IN, IN),
    "editor": (404, 403, IN, IN),
    "own": (404, 403, IN, IN),
    "person": (404, 403, IN, IN),
    "admin": (404, 403, 403, IN),
    "runner": (403, 403, 403, 403),
    "itself": (IN, IN, IN, IN),  # and for all others there is none of that id
    "signed": (401, 401, 401, 401),
}
P = "/projects/{project}"
R = f"{P}/runs/{{run}}"
ROUTES = {
    "GET /health": "open",
    "GET /ready": "open",
    "GET /metrics": "open",  # unless it has a token of its own
    "GET /login": "open",
    "GET /device": "open",
    "GET /invite": "open",
    "GET /": "open",
    "GET /docs": "open",
    "GET /p/{path:path}": "open",  # the application, which then asks the API
    "GET /settings": "open",
    "GET /settings/{path:path}": "open",
    "GET /setup": "open",
    "GET /theme.js": "open",
    "GET /sprout.svg": "open",
    "GET /assets/{name}": "open",
    "GET /pages/{name}": "open",
    "GET /info": "open",
    "POST /login": "open",
    "POST /password": "open",
    "POST /device": "open",
    "POST /device/token": "open",
    "GET /oidc/login": "open",
    "GET /oidc/callback": "open",
    "POST /hooks/{id}": "signed",
    "POST /logout": "any",
    "GET /me": "any",
    "GET /users": "any",  # themselves
    "GET /projects": "any",  # those that the token opens
    "POST /snapshots/{id}/runs": "any",  # as the same within a project
    "GET /device/{user_code}": "account",
    "POST /device/grant": "account",
    "PATCH /users/{name}": "account",
    "GET /tokens": "account",
    "DELETE /tokens/{id}": "account",
    "POST /keys": "account",
    "POST /projects": "account",
    "POST /users": "server",
    "DELETE /users/{name}": "server",
    "POST /users/{name}/invite": "server",
    "GET /audit": "server",
    "GET /flavors": "any",
    "GET /server/settings": "server",
    "GET /server/health": "server",
    "GET /runners": "look",
    "POST /runners": "runner",
    "POST /runners/{id}/poll": "itself",
    "POST /runners/{id}/launches/{launch}/ended": "itself",
    "POST /runners/{id}/builds/{build}/begin": "itself",
    "GET /runners/{id}/builds/{build}/in": "itself",
    "PUT /runners/{id}/builds/{build}/out": "itself",
    "POST /runners/{id}/builds/{build}/ended": "itself",
    f"GET {P}": "viewer",
    f"PATCH {P}": "admin",
    f"GET {P}/members": "viewer",
    f"PUT {P}/members/{{user}}": "admin",
    f"DELETE {P}/members/{{user}}": "admin",
    f"GET {P}/KIND": "viewer",
    f"POST {P}/KIND/query": "viewer",
    f"GET {P}/KIND/{{id}}": "viewer",
    f"POST {P}/KIND": "person",
    f"PUT {P}/KIND/{{id}}": "editor",  # of what a run may put, see below
    f"DELETE {P}/KIND/{{id}}": "person",
    f"POST {P}/changes": "editor",  # the same
    f"POST {P}/runs/start": "own",
    f"GET {R}/lease": "viewer",
    f"PUT {R}/lease": "own",
    f"DELETE {R}/lease": "own",
    f"POST {R}/cancel": "own",
    f"GET {R}/logs": "viewer",
    f"GET {R}/logs/{{name}}": "viewer",
    f"PUT {R}/logs/{{name}}": "own",
    f"GET {R}/events": "viewer",
    f"GET {P}/pipelines/{{pipeline}}/environments": "viewer",
    f"GET {R}/environments": "viewer",
    f"GET {P}/environments/{{id}}/contents": "viewer",
    f"GET {P}/environments/{{id}}/users": "viewer",
    f"GET {P}/environments/{{id}}/diff/{{other}}": "viewer",
    f"GET {P}/environments/{{id}}/export/{{form}}": "viewer",
    f"GET {P}/builds/{{id}}/layers": "viewer",
    f"GET {P}/builds/{{id}}/log": "viewer",
    f"PUT {P}/builds/{{id}}/log": "editor",
    f"GET {R}/graph": "viewer",
    f"GET {R}/steps/{{step}}": "viewer",
    f"GET {R}/steps/{{step}}/items": "viewer",
    f"GET {P}/objects": "viewer",
    f"POST {P}/objects/query": "viewer",
    f"GET {P}/uploads/{{digest}}": "viewer",
    f"GET {P}/objects/{{key:path}}": "viewer",
    f"HEAD {P}/objects/{{key:path}}": "viewer",
    f"PUT {P}/objects/{{key:path}}": "editor",
    f"DELETE {P}/objects/{{key:path}}": "own",
    f"GET {P}/artifact-names": "viewer",
    f"GET {P}/artifacts/{{id}}/files": "viewer",
    f"GET {P}/artifacts/{{id}}/files/{{name:path}}": "viewer",
    f"GET {P}/artifacts/{{id}}/visualizations/{{name:path}}": "viewer",
    f"GET {P}/artifacts/{{id}}/download": "viewer",
    f"GET {P}/artifacts/{{id}}/table": "viewer",
    f"GET {P}/artifacts/{{id}}/columns": "viewer",
    f"GET {P}/artifacts/{{id}}/items": "viewer",
    f"GET {P}/artifacts/{{id}}/lineage": "viewer",
    f"POST {P}/snapshots/{{id}}/runs": "person",
    f"GET {P}/overview": "viewer",
    f"GET {P}/pipelines": "viewer",
    f"GET {P}/pipelines/{{pipeline}}": "viewer",
    f"GET {P}/run-rows": "viewer",
    f"POST {P}/run-actions": "person",
    f"POST {P}/snapshots/{{id}}/versions": "person",
    f"PATCH {P}/snapshots/{{id}}/words": "person",
    f"GET {P}/launches": "viewer",
    f"GET {P}/launches/{{id}}": "viewer",
    f"POST {P}/launches/{{id}}/cancel": "person",
    f"GET {P}/build-queue": "viewer",
    f"POST {P}/build-orders": "person",
    f"GET {P}/build-orders/{{id}}": "person",  # and for all others there is none of that id, as below
    f"PUT {P}/build-orders/{{id}}/in": "person",
    f"GET {P}/build-orders/{{id}}/out": "person",
    f"POST {P}/build-orders/{{id}}/close": "person",
    f"GET {P}/schedules": "viewer",
    f"POST {P}/schedules": "person",
    f"POST {P}/schedules/times": "viewer",
    f"GET {P}/schedules/{{name}}": "viewer",
    f"GET {P}/schedules/{{name}}/launches": "viewer",
    f"GET {P}/schedules/{{name}}/times": "viewer",
    f"PATCH {P}/schedules/{{name}}": "person",
    f"POST {P}/schedules/{{name}}/runs": "person",
    f"DELETE {P}/schedules/{{name}}": "person",
    f"GET {P}/webhooks": "viewer",
    f"POST {P}/webhooks": "person",
    f"GET {P}/webhooks/{{name}}/launches": "viewer",
    f"PATCH {P}/webhooks/{{name}}": "person",
    f"DELETE {P}/webhooks/{{name}}": "person",
    f"GET {P}/stack-catalogue": "viewer",
    f"PUT {P}/stack-catalogue/chosen": "person",
    f"POST {P}/stack-catalogue/components": "person",
    f"PATCH {P}/stack-catalogue/components/{{id}}": "person",
    f"DELETE {P}/stack-catalogue/components/{{id}}": "person",
    f"POST {P}/stack-catalogue/stacks": "person",
    f"PATCH {P}/stack-catalogue/stacks/{{id}}": "person",
    f"DELETE {P}/stack-catalogue/stacks/{{id}}": "person",
    f"GET {P}/secrets": "viewer",
    f"PUT {P}/secrets/{{name}}": "admin",
    f"POST {P}/secrets/{{name}}/value": "editor",
    f"DELETE {P}/secrets/{{name}}": "admin",
    f"POST {P}/secrets/rotate": "admin",
}
RUNNER = {"id": "r-sec", "name": "r", "platform": "p", "machine": "m", "version": "1"}
BODIES = {
    "POST /runners": RUNNER,
    f"POST {P}/KIND": {"items": []},
    f"POST {P}/run-actions": {"action": "delete", "runs": []},
    f"POST {P}/runs/start": {"pipeline": "p"},
    f"PUT {R}/lease": {"holder": "h", "fence": 1},
}
QUERIES = {
    f"PUT {R}/logs/{{name}}": "?offset=0",
    f"GET {R}/events": "?logs=false",
    f"GET {P}/artifacts/{{id}}/table": "?file=value.npy",
    f"GET {P}/artifacts/{{id}}/columns": "?file=value.npy",
    f"PUT {P}/builds/{{id}}/log": "?offset=0",
    f"PUT {P}/build-orders/{{id}}/in": "?offset=0",
    f"GET {P}/build-orders/{{id}}/out": "?offset=0",
    "GET /runners/{id}/builds/{build}/in": "?fence=1&offset=0",
    "PUT /runners/{id}/builds/{build}/out": "?fence=1&offset=0",
}
_KIND = re.compile(rf"{re.escape(P)}/({'|'.join(BY_PLURAL)})(/query|/{{id}})?")


def routes():
    """`METHOD PATH` of everything that the API answers, from its routers."""
    for module in pkgutil.iter_modules(api.__path__):
        for name, router in vars(importlib.import_module(f"{api.__name__}.{module.name}")).items():
            if isinstance(router, APIRouter):
                for route in router.routes:
                    for method in route.methods:
                        yield method, route.path.removeprefix(API), name in ("probes", "pages")


def row_of(method, path):
    found = _KIND.fullmatch(path)
    return f"{method} {P}/KIND{found[2] or ''}" if found else f"{method} {path}"


@pytest.fixture(scope="module")
def project(server):
    """A project with a run that has ended, and the runner of `RUNNER`."""
    admin = asker(server, server.token)
    assert admin.post("/projects", {"name": "secured"})[0] == 201
    status, run = admin.post("/projects/secured/runs/start", {"pipeline": "p", "state": "completed"})
    assert status == 201
    assert admin.post("/runners", RUNNER)[0] == 200
    asked = f"digest=sha256:{hashlib.sha256(b'').hexdigest()}&size=0"
    assert admin.put(f"/projects/secured/objects/there?{asked}", content=b"")[0] == 200
    admin.client.close()
    return "secured", run["id"]


def user_of(server, name):
    return server.access.store.find(User, name=name).items[0]


def token_of(server, kind, project="secured", run="a-run", user=SERVER_ADMIN):
    """The secret of a new token of a user."""
    more = {
        "session": {"purpose": Purpose.SESSION},
        "api_key": {"purpose": Purpose.API_KEY},
        "project_key": {"purpose": Purpose.API_KEY, "project": project},
        "run": {"purpose": Purpose.RUN, "project": project, "run": run, "lasts": timedelta(hours=1)},
        "runner": {"purpose": Purpose.RUNNER},
        "invite": {"purpose": Purpose.INVITE},
    }
    return server.access.issue(user_of(server, user), **more[kind])[0] if kind in more else ""


def let_in(client, token, method, path, at_root, project, run):
    """What a request is refused with, or `IN`: what it asks for then may make no sense, or not be there."""
    row = row_of(method, path)
    where = (
        path.replace("{key:path}", "there" if method == "HEAD" else "nothing")
        .replace("{name:path}", "nothing")
        .replace("{project}", project)
        .replace("{run}", run)
    )
    where = where.replace("{id}", RUNNER["id"]) if path.startswith("/runners") else where
    where = re.sub(r"\{\w+\}", "nothing", where) + QUERIES.get(row, "")
    body = BODIES.get(row, {})
    response = client.request(
        method,
        where if at_root else f"/api/v1{where}",
        content=None if method in ("GET", "HEAD") else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    if response.status_code in (401, 403):
        return response.status_code
    assert response.status_code < 500, (method, where, response.text)
    if method == "HEAD":  # says no more than its status; what it asks for is there
        return response.status_code if response.status_code != 200 else IN
    told = response.json() if response.status_code == 404 else {}
    return 404 if told and told["error"]["type"] == "NoProject" else IN


def test_every_route_has_a_rule():
    there = {row_of(method, path) for method, path, _ in routes()}
    assert there - ROUTES.keys() == set(), "say in ROUTES who may do this"
    assert ROUTES.keys() - there == set(), "nothing is there any more"


@pytest.mark.parametrize("kind", TOKENS)
def test_each_kind_of_token_opens_what_it_should(server, project, kind):
    wrong = {}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        token = token_of(server, kind)
        for method, path, at_root in routes():
            row = row_of(method, path)
            shown = token_of(server, kind) if row == "POST /logout" else token
            found = let_in(client, shown, method, path, at_root, *project)
            if found != RULES[ROUTES[row]][TOKENS.index(kind)]:
                wrong[f"{method} {path}"] = found
    assert wrong == {}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_what_it_should(server, admin, log_in, project, role):
    eve = log_in(f"eve-{role}")
    if role != "stranger":
        assert admin.put(f"/projects/secured/members/eve-{role}", {"role": role})[0] == 200
    wrong = {}
    token = eve.client.headers["Authorization"].removeprefix("Bearer ")
    for method, path, at_root in routes():
        row = row_of(method, path)
        shown = token_of(server, "session", user=f"eve-{role}") if row == "POST /logout" else token
        found = let_in(eve.client, shown, method, path, at_root, *project)
        if found != BY_ROLE[ROUTES[row]][ROLES.index(role)]:
            wrong[f"{method} {path}"] = found
    assert wrong == {}


def as_token(server, secret):
    return {"headers": {"Authorization": f"Bearer {secret}"}}


def test_a_token_of_a_run_puts_no_record_of_others(server, admin, nobody, project):
    name, other = project
    status, run = admin.post(f"/projects/{name}/runs/start", {"pipeline": "mine"})
    mine = token_of(server, "run", run=run["id"])
    headers = {"Authorization": f"Bearer {mine}", "Tilth-Revision": "1"}
    kept = {
        "runs": [Run(id=other, pipeline="p")],
        "step-runs": [StepRun(run=other, step="s")],
        "artifacts": [Artifact(name="a", version=1, digest="d", run=other)],
        "snapshots": [Snapshot(name="s", version=1, pipeline="p", file="p.py")],
    }
    for plural, records in kept.items():
        for record in records:
            path = f"/projects/{name}/{plural}/{record.id}"
            status, told = nobody.ask("PUT", path, content=msgspec.json.encode(record), headers=headers)
            assert status == 403, (plural, told)
    # What it shares with other runs it may add, and not change.
    text = "what is installed"
    lock = {"id": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", "text": text}
    there = {"id": "sha256:there", "name": "e", "lock": lock["id"]}
    path = f"/projects/{name}/changes"

    def change(asker, **puts):
        told = {"changes": [{"kind": kind, "put": each} for kind, each in puts.items()]}
        return asker.post(path, told, **({"headers": headers} if asker is nobody else {}))

    assert change(admin, environment=there)[0] == 200
    assert change(nobody, lock={**lock, "text": "something else"})[0] == 403
    evil = {**there, "lock": "sha256:evil"}
    status, told = change(nobody, environment=evil, lock=lock, run={**run, "tags": ["a"]})
    assert status == 200
    assert [each["id"] for each in told["items"]] == [there["id"], lock["id"], run["id"]]
    for _ in range(2):
        assert admin.get(f"/projects/{name}/environments/{there['id']}")[1]["lock"] == lock["id"]
        assert nobody.put(f"/projects/{name}/environments/{there['id']}", evil, headers=headers)[0] == 403
    # What a run of another project has, under the same id, is not there.
    assert nobody.get(f"/projects/default/runs/{other}", headers=headers)[0] == 404


@pytest.mark.parametrize("kind", ["project_key", "run", "runner"])
def test_no_limited_token_becomes_its_user_s_login(server, nobody, project, kind):
    shown = as_token(server, token_of(server, kind))
    _, asked = nobody.post("/device", {"client": "evil"})
    assert nobody.get(f"/device/{asked['user_code']}", **shown)[0] == 403
    assert nobody.post("/device/grant", {"user_code": asked["user_code"]}, **shown)[0] == 403
    assert nobody.post("/device/token", {"device_code": asked["device_code"]}) == (200, {"login": None})


@pytest.mark.parametrize("kind", ["project_key", "run", "runner"])
def test_no_limited_token_touches_its_user_s_account(server, admin, nobody, project, kind):
    # A user who logs in by a provider has no password that would have to be known.
    name = f"oidc-{kind}"
    server.access.store.add(User(name=name, subject=f"https://issuer {name}"))
    admin.put(f"/projects/secured/members/{name}", {"role": "editor"})
    session, key = (
        server.access.issue(user_of(server, name), each)[1] for each in (Purpose.SESSION, Purpose.API_KEY)
    )
    shown = as_token(server, token_of(server, kind, user=name))
    for change in ({"password": PASSWORD}, {"full_name": "Eve"}, {"email": "eve@evil.example"}):
        assert nobody.ask("PATCH", f"/users/{name}", change, **shown)[0] == 403
    for each in (session, key):
        assert nobody.ask("DELETE", f"/tokens/{each.id}", **shown)[0] == 403
        assert server.access.store.get(Token, each.id) == each
    assert nobody.get("/tokens", **shown)[0] == 403
    assert user_of(server, name).password == ""


def test_a_runner_s_token_knows_no_projects(server, nobody, project):
    assert nobody.get("/projects?limit=1", **as_token(server, token_of(server, "runner"))) == (
        200,
        {"items": [], "next": None},
    )


def test_a_run_loses_what_its_user_loses(server, admin, nobody, log_in, project):
    name, _ = project
    log_in("eve-of-runs")
    admin.put(f"/projects/{name}/members/eve-of-runs", {"role": "editor"})
    shown = as_token(server, token_of(server, "run", user="eve-of-runs"))
    assert nobody.get(f"/projects/{name}/runs", **shown)[0] == 200
    admin.put(f"/projects/{name}/members/eve-of-runs", {"role": "viewer"})
    assert nobody.get(f"/projects/{name}/runs", **shown)[0] == 404
    admin.delete(f"/projects/{name}/members/eve-of-runs")
    assert nobody.get(f"/projects/{name}/runs", **shown)[0] == 404


def test_a_run_that_is_over_gets_no_secrets(server, admin, nobody, project):
    name, _ = project
    admin.put(f"/projects/{name}/secrets/DB", {"value": "very secret"})
    launch = Launch(project=name, snapshot="s", pipeline="p", run="r-of-launch", state=LaunchState.STARTED)
    server.access.store.add(launch)
    shown = as_token(server, token_of(server, "run", run="r-of-launch"))
    path = f"/projects/{name}/secrets/DB/value"
    assert nobody.post(path, **shown) == (200, {"value": "very secret"})
    server.access.store.replace(launch, msgspec.structs.replace(launch, state=LaunchState.CANCELLED))
    assert nobody.post(path, **shown)[0] == 403
    assert nobody.post("/projects/default/secrets/DB/value", **shown)[0] == 404


def test_runners_of_other_projects_are_not_shown(admin, log_in, project):
    _name, _ = project
    hidden = uuid.uuid4().hex
    admin.post("/projects", {"name": hidden})
    assert admin.post("/runners", {**RUNNER, "id": hidden, "project": hidden})[0] == 200
    eve = log_in("eve-of-runners")
    shown = [each["id"] for each in eve.get("/runners")[1]["items"]]
    assert RUNNER["id"] in shown
    assert hidden not in shown
    assert hidden in [each["id"] for each in admin.get("/runners")[1]["items"]]


class Listening(threading.Thread):
    """Somebody who listens to a run; `heard` is all that came until the stream ended."""

    def __init__(self, client, path):
        super().__init__(daemon=True)
        self.client, self.path, self.heard = client, path, []
        self.began = threading.Event()

    def run(self):
        with (
            contextlib.suppress(httpx.HTTPError),
            self.client.stream("GET", self.path, timeout=120) as answer,
        ):
            for line in answer.iter_lines():
                self.heard.append(line)
                if line.startswith("event: run"):
                    self.began.set()


@pytest.mark.parametrize("lost", ["role", "login", "user"])
def test_who_loses_the_project_hears_no_more_of_its_runs(server, admin, log_in, project, lost):
    name, _ = project
    user = f"eve-who-loses-{lost}"
    eve = log_in(user)
    admin.put(f"/projects/{name}/members/{user}", {"role": "viewer"})
    _, run = admin.post(f"/projects/{name}/runs/start", {"pipeline": "heard"})
    path = f"/projects/{name}/runs/{run['id']}"
    listening = Listening(eve.client, f"/api/v1{path}/events")
    listening.start()
    assert listening.began.wait(60)
    if lost == "role":
        assert admin.delete(f"/projects/{name}/members/{user}")[0] == 204
    elif lost == "login":
        with httpx.Client(base_url=server.url, headers=eve.client.headers) as other:
            assert other.post("/api/v1/logout").status_code == 204
    else:
        assert admin.patch(f"/users/{user}", {"active": False})[0] == 200
    admin.put(path, {**run, "metadata": {"told": "afterwards"}}, headers={"Tilth-Revision": "1"})
    listening.join(60)
    assert not listening.is_alive(), "the stream goes on"
    assert "afterwards" not in "".join(listening.heard)


def test_a_stream_ends_when_nothing_happens_either(server, admin, log_in, project):
    name, _ = project
    eve = log_in("eve-who-waits")
    admin.put(f"/projects/{name}/members/eve-who-waits", {"role": "viewer"})
    _, run = admin.post(f"/projects/{name}/runs/start", {"pipeline": "quiet"})
    listening = Listening(eve.client, f"/api/v1/projects/{name}/runs/{run['id']}/events")
    listening.start()
    assert listening.began.wait(60)
    admin.delete(f"/projects/{name}/members/eve-who-waits")
    listening.join(60)
    assert not listening.is_alive()


def from_address(address):
    return {"X-Forwarded-For": address}


def test_machines_that_want_in_are_few_from_one_address(nobody):
    statuses = [
        nobody.post("/device", {"client": "x"}, headers=from_address("203.0.113.1"))[0] for _ in range(110)
    ]
    assert statuses.count(201) == 100
    assert statuses[-1] == 429
    assert nobody.post("/device", {}, headers=from_address("203.0.113.2"))[0] == 201


def test_codes_of_machines_cannot_be_guessed(nobody, log_in):
    eve, other = log_in("eve-who-guesses"), log_in("eve-who-knows")
    guesses = [eve.get("/device/BCDF-GHJK")[0] for _ in range(7)]
    guesses += [eve.post("/device/grant", {"user_code": "BCDF-GHJK"})[0] for _ in range(7)]
    assert (guesses.count(404), guesses[-1]) == (10, 429)
    _, asked = nobody.post("/device", {}, headers=from_address("203.0.113.3"))
    assert eve.get(f"/device/{asked['user_code']}")[0] == 429
    for _ in range(12):
        assert other.get(f"/device/{asked['user_code']}")[0] == 200


def test_links_cannot_be_guessed(nobody):
    statuses = [
        nobody.post(
            "/password",
            {"secret": f"tilth_invite_{index}", "password": PASSWORD},
            headers=from_address("203.0.113.4"),
        )[0]
        for index in range(110)
    ]
    assert (statuses.count(404), statuses[-1]) == (100, 429)


def test_the_old_password_cannot_be_guessed_with_a_login_that_was_stolen(log_in):
    eve = log_in("eve-who-was-robbed")
    change = {"password": "another good one", "old_password": "wrong"}
    statuses = [eve.patch("/users/eve-who-was-robbed", change)[0] for _ in range(12)]
    assert (statuses.count(403), statuses[-1]) == (10, 429)


def test_all_addresses_of_a_network_are_one():
    attempts = Attempts(1)
    for index in range(10):
        attempts.begin("device", f"2001:db8::{index:x}")
    with pytest.raises(TooManyAttempts):
        attempts.begin("device", "2001:db8::ffff")
    attempts.begin("device", "2001:db8:0:1::1")
    for _ in range(10):
        attempts.begin("device", "::ffff:203.0.113.9")
    with pytest.raises(TooManyAttempts):
        attempts.begin("device", "203.0.113.9")


def test_counting_takes_no_more_memory_than_it_may(monkeypatch):
    monkeypatch.setattr("tilth.server.limits._MOST_COUNTED", 100)
    attempts = Attempts(3)
    for index in range(1000):
        attempts.begin("password", f"203.0.{index // 250}.{index % 250}", f"user {index}")
    assert len(attempts._tried) <= 101
    for _ in range(2):
        attempts.begin("password", "203.0.3.249", "user 999")
    with pytest.raises(TooManyAttempts):
        attempts.begin("password", "203.0.3.249", "user 999")


def test_failed_logins_do_not_fill_the_audit_log(server, nobody):
    for _ in range(13):
        told = {"name": uuid.uuid4().hex, "password": "wrong"}
        assert nobody.post("/login", told, headers=from_address("203.0.113.5"))[0] == 401
    entries = [
        each
        for each in server.access.store.find(AuditEntry, action="login.fail", limit=1000)
        if each.address == "203.0.113.5"
    ]
    assert len(entries) == 10


def test_what_strangers_leave_behind_is_swept(server):
    access = server.access
    old, fresh = now() - timedelta(days=100), now()
    user = user_of(server, SERVER_ADMIN)

    def records(at):
        return (
            DeviceLogin(digest=uuid.uuid4().hex, user_code=uuid.uuid4().hex, expires_at=at, created_at=at),
            AuditEntry(action="login.fail", created_at=at),
            Token(
                digest=uuid.uuid4().hex, user=user.id, purpose=Purpose.SESSION, expires_at=at, created_at=at
            ),
        )

    kept = [*records(fresh + timedelta(days=1)), AuditEntry(action="user.create", created_at=old)]
    gone = list(records(old))
    access.store.add(*kept, *gone)
    access._sweeps_at = 0.0
    access.sweep()

    def there(record):
        return record.id in {each.id for each in access.store.find(type(record), id=record.id)}

    assert [there(each) for each in kept] == [True] * 4
    assert [there(each) for each in gone] == [False] * 3


def test_tokens_come_in_pages(server, admin):
    name = uuid.uuid4().hex
    admin.post("/users", {"name": name, "service": True})
    made = {server.access.issue(user_of(server, name), Purpose.API_KEY)[1].id for _ in range(5)}
    found, after = [], ""
    while after is not None:
        status, page = admin.get(
            "/tokens", params={"user": name, "limit": 2, **({"after": after} if after else {})}
        )
        assert (status, len(page["items"]) <= 2) == (200, True)
        found += [each["id"] for each in page["items"]]
        after = page["next"]
    assert (set(found), len(found)) == (made, 5)
    assert admin.get("/tokens?limit=1001")[0] == 422


def test_a_change_and_its_entry_are_made_together(server):
    access, name = server.access, uuid.uuid4().hex
    user, taken = access.store.add(User(name=name), User(name=f"{name}-taken"))
    changed = msgspec.structs.replace(user, full_name="changed")
    entry = AuditEntry(action="user.update", subject=name)
    with pytest.raises(Conflict):
        access.replace(user, changed, entry, Put(User(name=taken.name)))
    assert access.store.get(User, user.id) == user
    assert not access.store.find(AuditEntry, id=entry.id).items
    access.replace(user, changed, entry, Delete(User, taken.id))
    assert access.store.get(User, user.id).full_name == "changed"
    assert access.store.find(AuditEntry, id=entry.id).items


def test_logging_out_is_written_down(server, log_in):
    name = f"eve-{uuid.uuid4().hex}"
    assert log_in(name).post("/logout")[0] == 204
    assert [each.action for each in server.access.store.find(AuditEntry, user=name)] == ["logout"]


def test_no_link_gives_a_service_account_a_password(admin):
    name = uuid.uuid4().hex
    admin.post("/users", {"name": name, "service": True})
    assert admin.post(f"/users/{name}/invite")[0] == 422


def test_a_link_ends_logins_and_other_links_and_no_run(server, admin, nobody):
    name = uuid.uuid4().hex
    _, made = admin.post("/users", {"name": name})
    _, again = admin.post(f"/users/{name}/invite")
    user = user_of(server, name)
    ended = server.access.issue(user, Purpose.SESSION)[1]
    kept = [
        server.access.issue(user, purpose)[1] for purpose in (Purpose.RUN, Purpose.RUNNER, Purpose.API_KEY)
    ]
    assert nobody.post("/password", {"secret": made["invite"], "password": PASSWORD})[0] == 200
    assert nobody.post("/password", {"secret": again["invite"], "password": PASSWORD})[0] == 404
    there = {each.id for each in server.access.store.find(Token, user=user.id)}
    assert ended.id not in there
    assert {each.id for each in kept} <= there


def test_one_grant_gives_one_login(server, nobody, admin):
    _, asked = nobody.post("/device", {}, headers=from_address("203.0.113.6"))
    assert admin.post("/device/grant", {"user_code": asked["user_code"]})[0] == 204
    answers = []

    def poll():
        with httpx.Client(base_url=server.url, timeout=60) as client:
            told = client.post("/api/v1/device/token", json={"device_code": asked["device_code"]})
            answers.append(told.status_code)

    polls = [threading.Thread(target=poll) for _ in range(8)]
    for each in polls:
        each.start()
    for each in polls:
        each.join()
    assert sorted(answers) == [200] + [401] * 7


def test_a_revoked_token_is_refused_by_every_server_at_once(server, admin, tmp_path):
    with running_server(
        server.access.store.database,
        data_folder=str(tmp_path),
        secrets_key_file=str(tmp_path / "k"),
        schedules=False,
    ) as other:
        _, key = admin.post("/keys", {"name": "ci"})
        elsewhere = asker(other, key["secret"])
        assert elsewhere.get("/me")[0] == 200
        assert admin.delete(f"/tokens/{key['key']['id']}")[0] == 204
        assert elsewhere.get("/me")[0] == 401
        elsewhere.client.close()


def test_cookies_behind_a_proxy_with_a_certificate_are_secure(server):
    proxied = {"X-Forwarded-Proto": "https", "Host": "tilth.example"}
    with httpx.Client(base_url=server.url) as browser:
        told = {"name": "admin", "password": PASSWORD, "cookie": True}
        plain = browser.post("/api/v1/login", json=told).headers["set-cookie"].lower()
        told = browser.post("/api/v1/login", json=told, headers=proxied).headers
        assert "; secure" not in plain
        assert "; secure" in told["set-cookie"].lower()
        value = re.search(r"tilth_session=([^;]+)", told["set-cookie"])[1]
        shown = {**proxied, "Cookie": f"tilth_session={value}"}
        for origin, status in (
            ("https://tilth.example", 201),
            ("http://tilth.example", 403),
            ("https://tilth.example.evil.example", 403),
            ("null", 403),
            ("https://[", 403),
            ("", 403),
        ):
            made = {"name": uuid.uuid4().hex}
            response = browser.post("/api/v1/projects", json=made, headers={**shown, "Origin": origin})
            assert response.status_code == status, origin


def test_no_other_page_logs_a_browser_in_as_whom_it_likes(server):
    told = {"name": "admin", "password": PASSWORD, "cookie": True}
    with httpx.Client(base_url=server.url) as browser:
        for origin in ("https://evil.example", "null", "https://["):
            answer = browser.post("/api/v1/login", json=told, headers={"Origin": origin})
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False), origin
        answer = browser.post("/api/v1/login", json=told, headers={"Origin": server.url})
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, True)


def test_every_answer_says_what_browsers_may_not_do(server, admin, project, tmp_path):
    name, run = project
    asked = [
        ("GET", "/nothing", {}),
        ("GET", "/api/v1/me", {}),
        ("GET", "/api/v1/me", {"Authorization": "Bearer x"}),
        ("POST", "/api/v1/login", {}),
        ("GET", "/docs", {}),
        ("GET", "/health", {}),
        ("GET", "/pages/page.js", {}),
        ("GET", "/api/v1/info", {"Tilth-Protocol": "0"}),
        ("PUT", "/api/v1/me", {}),
        ("POST", "/api/v1/login", {"Content-Length": str(1 << 40)}),
        ("GET", f"/api/v1/projects/{name}/runs/{run}/events", {"Authorization": f"Bearer {server.token}"}),
        (
            "OPTIONS",
            "/api/v1/me",
            {"Origin": "https://other.example", "Access-Control-Request-Method": "GET"},
        ),
    ]
    for method, path, headers in asked:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        connection.request(method, path, headers=headers)
        told = {each.lower(): value for each, value in connection.getresponse().getheaders()}
        connection.close()
        assert told["x-content-type-options"] == "nosniff", (method, path)
        assert told["x-frame-options"] == "DENY", (method, path)
        assert "no-store" in told["cache-control"], (method, path)
        assert "frame-ancestors 'none'" in told["content-security-policy"], (method, path)
        assert "access-control-allow-origin" not in told, (method, path)


NAMES = [
    "../up",
    "..%2fup",
    "%2e%2e/%2e%2e/up",
    "a/../../up",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "a/%2e%2e",
    "a%00b",
    "..\\up",
    "a//b",
    "./a",
    "%ff",
    "x" * 100_000,
    "x/" * 3_000,
]


def test_no_name_of_an_object_or_log_leads_elsewhere(server, admin, project):
    name, run = project
    outside = set(server.access.data.parent.iterdir())
    content = b"mine"
    asked = f"digest=sha256:{hashlib.sha256(content).hexdigest()}&size={len(content)}"
    port = server.url.removeprefix("http://")
    for odd in NAMES:
        for method, path in (
            ("PUT", f"/api/v1/projects/{name}/objects/{odd}?{asked}"),
            ("PUT", f"/api/v1/projects/{name}/runs/{run}/logs/{odd}?offset=0"),
            ("PUT", f"/api/v1/projects/{name}/runs/{odd}/logs/x?offset=0"),
            ("GET", f"/api/v1/projects/{name}/objects/{odd}"),
            ("GET", f"/api/v1/projects/{name}/runs/{run}/logs/{odd}"),
            ("GET", f"/api/v1/projects/{name}/uploads/{odd}"),
            ("DELETE", f"/api/v1/projects/{name}/objects/{odd}"),
        ):
            connection = http.client.HTTPConnection(port, timeout=60)  # httpx would tidy the address up
            with contextlib.suppress(ConnectionError):  # an address that is too long is not read to its end
                connection.request(
                    method, path, body=content if method == "PUT" else None,
                    headers={"Authorization": f"Bearer {server.token}"},
                )  # fmt: skip
                response = connection.getresponse()
                assert response.status < 500, (method, path[:200], response.read()[:300])
                assert b"root:" not in response.read()
            connection.close()
    assert set(server.access.data.parent.iterdir()) - outside <= {server.access.data}
    projects = [each for each in server.access.data.iterdir() if each.is_dir()]
    for folder in projects:
        assert {each.name for each in folder.iterdir()} <= {"objects", "digests", "coming", "logs"}


def test_bodies_are_bounded_however_they_come(admin):
    def chunks():
        for _ in range(70):
            yield b"x" * (1 << 20)

    path = "/projects/default/runs/start"
    try:
        status, _ = admin.ask("POST", path, content=chunks())
    except httpx.TransportError:
        status = 413  # it hung up while it was sent to
    assert status == 413
    bomb = gzip.compress(b'{"pipeline": "' + b"x" * (80 << 20) + b'"}')
    status, _ = admin.ask("POST", path, content=bomb, headers={"Content-Encoding": "gzip"})
    assert status == 422, "what is packed is not unpacked"
    assert admin.client.get("/health").status_code == 200


def test_who_has_not_said_who_they_are_sends_little(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for path in ("/login", "/password", "/device", "/device/token"):
            assert client.post(f"/api/v1{path}", content=b"x" * (1 << 17)).status_code == 413, path


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET /",
        b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
)
@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * 1000 + b"\r\nX: "])
def test_a_head_without_end_ends_the_connection(server, beginning, part):
    host, _, port = server.url.removeprefix("http://").partition(":")
    sent = 0
    with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(beginning)
        while sent < 50 << 20:
            connection.sendall(part)
            sent += len(part)
    assert sent < 50 << 20
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_a_body_in_small_chunks_is_no_head_without_end(server, admin):
    content = b"x" * (4 << 20)
    digest = hashlib.sha256(content).hexdigest()
    chunks = (content[at : at + 100] for at in range(0, len(content), 100))
    path = f"/projects/default/objects/in-chunks?digest=sha256:{digest}&size={len(content)}"
    for _ in range(2):
        assert admin.ask("PUT", path, content=chunks)[0] == 200
        chunks = iter([content])


def test_texts_and_numbers_that_fit_nowhere_are_refused(admin, project):
    path = f"/projects/{project[0]}"
    nested = "[" * 100_000
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    bodies = [
        ("POST", f"{path}/changes", nested),
        ("POST", f"{path}/changes", '{"changes": [{"kind": "run", "put": ' + deep + "}]}"),
        ("POST", f"{path}/runs/start", '{"pipeline": "p", "metadata": ' + deep + "}"),
        ("POST", f"{path}/runs/start", '{"pipeline": "a\\u0000b"}'),
        ("POST", f"{path}/runs/start", '{"pipeline": "a\\ud800b"}'),
        ("POST", f"{path}/runs/start", '{"pipeline": "p", "id": "a\\u0000b"}'),
        ("POST", f"{path}/runs/start", '{"pipeline": "p", "fence": ' + "9" * 5000 + "}"),
        ("POST", f"{path}/runs", '{"items": [{"pipeline": "p", "number": 9223372036854775807}]}'),
        ("POST", f"{path}/artifacts", '{"items": [{"name": "a", "digest": "d", "version": 9223372036854775807}]}'),
        ("POST", f"{path}/snapshots/x/runs", deep),
        ("POST", f"{path}/schedules", '{"name": "s", "snapshot": "x", "every_s": ' + "9" * 30 + "}"),
        ("POST", f"{path}/schedules", '{"name": "s", "snapshot": "a\\u0000", "every_s": 60}'),
        ("POST", f"{path}/webhooks", '{"name": "s", "snapshot": "' + "x" * 100_000 + '"}'),
        ("PUT", f"{path}/secrets/x", '{"value": "a\\u0000"}'),
        ("PUT", f"{path}/secrets/x", '{"value": "a\\ud800"}'),
        ("PUT", f"{path}/secrets/{'x' * 10_000}", '{"value": "a"}'),
        ("POST", "/login", '{"name": "a\\u0000", "password": "x"}'),
        ("POST", "/login", '{"name": "a\\ud800", "password": "x"}'),
        ("POST", "/login", '{"name": "a", "password": "\\ud800"}'),
        ("POST", "/device/grant", '{"user_code": "\\u0000"}'),
        ("POST", "/password", '{"secret": "\\ud800", "password": "long enough it is"}'),
        ("POST", "/users", '{"name": "."}'),
        ("POST", "/users", '{"name": "a\\u0000"}'),
        ("POST", "/users", '{"name": "u-of-texts", "password": "\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800"}'),
        ("POST", "/projects", '{"name": ".."}'),
        ("POST", "/keys", '{"name": "\\u0000", "days": ' + "9" * 30 + "}"),
        ("PUT", f"{path}/members/admin", '{"role": "owner"}'),
    ]  # fmt: skip
    for method, where, body in bodies:
        status, told = admin.ask(method, where, content=body.encode(), headers=from_address("203.0.113.7"))
        assert 400 <= status < 500, (where[:100], body[:100], status, told)
        assert told["error"]["summary"], (where[:100], body[:100])
        assert len(json.dumps(told)) < 3000, (where[:100], body[:100])


def test_a_question_over_many_values_does_not_multiply(admin, project):
    where = {
        name: [str(each) for each in range(8)]
        for name in ("id", "run", "step", "pipeline", "state", "cache_key")
    }
    status, told = admin.post(f"/projects/{project[0]}/step-runs/query", {"where": where})
    assert (status, told["items"]) == (200, [])
    many = {
        "state": ["queued", "running", "failed"],
        "run": [str(each) for each in range(9_900)],
        "step": ["a", "b"],
    }
    assert admin.post(f"/projects/{project[0]}/step-runs/query", {"where": many})[0] == 200
    many |= {"id": [str(each) for each in range(9_900)]}
    assert admin.post(f"/projects/{project[0]}/step-runs/query", {"where": many})[0] == 422


def test_records_are_of_the_project_they_were_put_in(admin, log_in):
    one, other = uuid.uuid4().hex, uuid.uuid4().hex
    admin.post("/projects", {"name": one})
    eve = log_in("eve-of-projects")
    eve.post("/projects", {"name": other})
    _, run = admin.post(f"/projects/{one}/runs/start", {"pipeline": "p"})
    # The same id in another project is another record.
    assert eve.post(f"/projects/{other}/runs/start", {"pipeline": "q", "id": run["id"]})[0] == 201
    assert admin.get(f"/projects/{one}/runs/{run['id']}")[1]["pipeline"] == "p"
    assert eve.put(f"/projects/{other}/runs/{run['id']}/lease", {"holder": "h", "fence": 1})[0] == 200
    assert admin.get(f"/projects/{one}/runs/{run['id']}/lease")[1]["held"] is False
    assert eve.delete(f"/projects/{other}/runs/{run['id']}")[0] == 204
    assert admin.get(f"/projects/{one}/runs/{run['id']}")[0] == 200
    # What a record says of itself moves it nowhere.
    component = {"project": one, "type": "orchestrator", "name": "c", "flavor": "local"}
    assert eve.post(f"/projects/{other}/components", {"items": [component]})[0] == 201
    assert admin.get(f"/projects/{one}/components")[1]["items"] == []
    # Who made a snapshot is not for who makes it to say.
    told = {"name": "s", "pipeline": "p", "file": "p.py", "created_by": "admin"}
    _, made = eve.post(f"/projects/{other}/snapshots", {"items": [told]})
    (snapshot,) = made["items"]
    assert snapshot["created_by"] == "eve-of-projects"
    path = f"/projects/{other}/snapshots/{snapshot['id']}"
    changed = {**snapshot, "created_by": "admin", "tags": ["a"]}
    status, kept = eve.put(path, changed, headers={"Tilth-Revision": "1"})
    assert (status, kept["created_by"], kept["tags"]) == (200, "eve-of-projects", ["a"])
    # What only the server decides goes by no generic way.
    for kind in (
        "user",
        "token",
        "member",
        "launch",
        "server_secret",
        "webhook",
        "runner",
        "audit_entry",
        "run_lease",
    ):
        change = {"changes": [{"kind": kind, "put": {}}]}
        assert eve.post(f"/projects/{other}/changes", change)[0] == 422, kind


def webhook_of(server, admin, project):
    name = uuid.uuid4().hex
    snapshot = Snapshot(name=name, pipeline="p", file="p.py")
    server.access.store.within(project).add(snapshot)
    status, made = admin.post(f"/projects/{project}/webhooks", {"name": name, "snapshot": name})
    assert status == 201, made
    return f"/hooks/{made['webhook']['id']}", made["secret"]


def signed(secret, *parts):
    return f"sha256={hmac.new(secret.encode(), b'.'.join(parts), hashlib.sha256).hexdigest()}"


def test_a_webhook_s_request_that_was_overheard_starts_no_other_run(server, admin, nobody):
    project = uuid.uuid4().hex
    admin.post("/projects", {"name": project})
    path, secret = webhook_of(server, admin, project)
    stamp = str(int(time.time()))

    def launches():
        return len(server.access.store.find(Launch, project=project).items)

    told = {"Tilth-Timestamp": stamp, "Tilth-Signature": signed(secret, stamp.encode(), b"{}")}
    assert nobody.post(path, content=b"{}", headers=told)[0] == 202
    assert nobody.post(path, content=b"{}", headers={**told, "Tilth-Delivery": "another"})[0] == 401
    assert launches() == 1
    told = {
        "Tilth-Timestamp": stamp,
        "Tilth-Delivery": "one",
        "Tilth-Signature": signed(secret, stamp.encode(), b"one", b"{}"),
    }
    for _ in range(2):
        assert nobody.post(path, content=b"{}", headers=told)[0] == 202
    assert nobody.post(path, content=b"{}", headers={**told, "Tilth-Delivery": "two"})[0] == 401
    whole = stamp.encode() + b".one.{}"
    assert (
        nobody.post(
            path,
            content=whole,
            headers={"X-Hub-Signature-256": told["Tilth-Signature"], "X-GitHub-Delivery": "1"},
        )[0]
        == 401
    )
    assert launches() == 2
    for delivery in ("1", "2"):
        body = b'{"ref": "refs/heads/main"}'
        github = {"X-Hub-Signature-256": signed(secret, body), "X-GitHub-Delivery": delivery}
        assert nobody.post(path, content=body, headers=github)[0] == 202
    assert launches() == 3


@pytest.fixture
def debugged(monkeypatch):
    """What a server writes when all of it is asked for."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", *logging.Logger.manager.loggerDict)}
    handlers = root.handlers[:]
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.set_up(ServerSettings(log_level="debug", log_format="json"))
    yield written
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_no_secret_is_written_anywhere(server, admin, nobody, project, debugged):
    name, _ = project
    word = uuid.uuid4().hex
    user = f"user-{word[:8]}"
    _, made = admin.post("/users", {"name": user})
    password, value = f"password {word}", f"value {word}"
    nobody.post("/password", {"secret": made["invite"], "password": password})
    _, session = nobody.post("/login", {"name": user, "password": password})
    nobody.post("/login", {"name": user, "password": f"wrong {word}"})
    _, key = admin.post("/keys", {"name": "ci"})
    _, asked = nobody.post("/device", {}, headers=from_address("203.0.113.8"))
    admin.get(f"/device/{asked['user_code']}")
    admin.post("/device/grant", {"user_code": asked["user_code"]})
    _, device = nobody.post("/device/token", {"device_code": asked["device_code"]})
    admin.put(f"/projects/{name}/secrets/WORD", {"value": value})
    admin.put(f"/projects/{name}/secrets/WORD", {"value": [value]})
    admin.put(f"/projects/{name}/secrets/WORD", content=f'{{"value": "{value}'.encode())
    admin.post(f"/projects/{name}/secrets/WORD/value")
    nobody.get("/me", headers={"Authorization": f"Bearer wrong-{word}"})
    admin.get(f"/me?token={word}")
    _, run = admin.post(f"/projects/{name}/runs/start", {"pipeline": "p"})
    admin.put(f"/projects/{name}/runs/{run['id']}/logs/s.1.log?offset=0", content=f"line {word}\n".encode())
    done = {**run, "state": "completed"}
    admin.put(f"/projects/{name}/runs/{run['id']}", done, headers={"Tilth-Revision": "1"})
    stream = admin.client.get(f"/api/v1/projects/{name}/runs/{run['id']}/events").text
    assert word in stream
    secrets = [
        word, made["invite"], session["token"], key["secret"], device["login"]["token"],
        asked["device_code"], asked["user_code"], server.token,
    ]  # fmt: skip
    shown = {
        "the log": debugged.getvalue(),
        "the audit log": json.dumps(admin.get("/audit?limit=1000")[1]),
        "the metrics": nobody.client.get("/metrics").text,
        "the list of secrets": json.dumps(admin.get(f"/projects/{name}/secrets")[1]),
        "the list of tokens": json.dumps(admin.get("/tokens?limit=1000")[1]),
        "the users": json.dumps(admin.get("/users?limit=1000")[1]),
    }
    assert "/api/v1/login" in shown["the log"]
    for where, text in shown.items():
        assert [each for each in secrets if each in text] == [], where
