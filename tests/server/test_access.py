from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta

import httpx
import msgspec
import pytest
from tests.server_running import PASSWORD

from tilth.records import Run, StepRun, now
from tilth.records.access import Purpose, Token, User
from tilth.server.passwords import digest_of


def user_of(server, name):
    return server.access.store.find(User, name=name).items[0]


def test_who_shows_nothing_gets_nothing(nobody):
    for path in ("/me", "/projects", "/projects/default/runs", "/users", "/tokens", "/audit"):
        status, told = nobody.get(path)
        assert status == 401, path
        assert told["error"]["type"] == "LoginNeeded"


def test_a_wrong_password_and_an_unknown_name_sound_alike(nobody, admin):
    admin.post("/users", {"name": "known", "password": PASSWORD})
    answers = {
        (status, told["error"]["summary"])
        for status, told in (
            nobody.post("/login", {"name": "known", "password": "wrong"}),
            nobody.post("/login", {"name": uuid.uuid4().hex, "password": PASSWORD}),
        )
    }
    assert answers == {(401, "name or password are wrong")}


def test_too_many_wrong_passwords_must_wait(nobody, admin):
    name = uuid.uuid4().hex
    admin.post("/users", {"name": name, "password": PASSWORD})
    statuses = [nobody.post("/login", {"name": name, "password": "wrong"})[0] for _ in range(12)]
    assert 429 in statuses
    status, told = nobody.post("/login", {"name": name, "password": PASSWORD})
    assert status == 429
    assert "try again in" in told["error"]["mend"]
    assert nobody.post("/login", {"name": "admin", "password": PASSWORD})[0] == 200


def test_a_login_that_is_ended_is_worth_nothing_at_once(log_in):
    eve = log_in(uuid.uuid4().hex)
    assert eve.get("/me")[0] == 200
    assert eve.post("/logout")[0] == 204
    assert eve.get("/me")[0] == 401


def test_an_expired_and_a_forged_token_are_refused(server, admin, nobody):
    secret, token = server.access.issue(user_of(server, "admin"), Purpose.SESSION, lasts=timedelta(days=1))
    headers = {"Authorization": f"Bearer {secret}"}
    assert nobody.get("/me", headers=headers)[0] == 200
    found = server.access.store.get(Token, token.id)  # it was used, which is noted
    server.access.store.replace(
        found, msgspec.structs.replace(found, expires_at=now() - timedelta(seconds=1))
    )
    assert nobody.get("/me", headers=headers)[0] == 401
    assert nobody.get("/me", headers={"Authorization": f"Bearer {secret}x"})[0] == 401
    assert nobody.get("/me", headers={"Authorization": f"Bearer {token.digest}"})[0] == 401


def test_what_is_kept_of_tokens_and_passwords_opens_nothing(server, admin):
    admin.post("/users", {"name": "kept", "password": PASSWORD})
    status, made = admin.post("/keys", {"name": "ci"})
    assert status == 201
    with open(server.access.store.database.path, "rb") as file:
        content = file.read()
    wal = server.access.store.database.path.with_name("tilth.db-wal")
    content += wal.read_bytes() if wal.exists() else b""
    assert made["secret"].encode() not in content
    assert PASSWORD.encode() not in content
    assert digest_of(made["secret"]).encode() in content


def test_a_project_is_not_there_for_who_is_no_member(admin, log_in):
    project = uuid.uuid4().hex
    admin.post("/projects", {"name": project})
    status, run = admin.post(f"/projects/{project}/runs/start", {"pipeline": "p"})
    assert status == 201
    eve = log_in("eve")
    for path in ("", "/runs", f"/runs/{run['id']}", "/members", "/objects", f"/runs/{run['id']}/logs"):
        status, told = eve.get(f"/projects/{project}{path}")
        assert (status, told["error"]["type"]) == (404, "NoProject"), path
    assert eve.get(f"/projects/{uuid.uuid4().hex}/runs")[0] == 404
    # The id of another project's run, asked for in one's own, is not there either.
    own = uuid.uuid4().hex
    assert eve.post("/projects", {"name": own})[0] == 201
    assert eve.get(f"/projects/{own}/runs/{run['id']}")[0] == 404


def test_roles_allow_what_they_say(admin, log_in):
    project = uuid.uuid4().hex
    admin.post("/projects", {"name": project})
    eve = log_in("eve-of-roles")
    allowed = {
        "viewer": {"look"},
        "editor": {"look", "write"},
        "admin": {"look", "write", "members"},
    }
    for role, wanted in allowed.items():
        assert admin.put(f"/projects/{project}/members/eve-of-roles", {"role": role})[0] == 200
        done = set()
        if eve.get(f"/projects/{project}/runs")[0] == 200:
            done.add("look")
        if eve.post(f"/projects/{project}/runs/start", {"pipeline": "p"})[0] == 201:
            done.add("write")
        if eve.put(f"/projects/{project}/members/admin", {"role": "viewer"})[0] == 200:
            done.add("members")
        assert done == wanted
    assert admin.delete(f"/projects/{project}/members/eve-of-roles")[0] == 204
    assert eve.get(f"/projects/{project}/runs")[0] == 404


def test_only_admins_of_the_server_make_users(log_in, admin):
    eve = log_in("eve-the-maker")
    assert eve.post("/users", {"name": "another"})[0] == 403
    assert eve.patch("/users/eve-the-maker", {"admin": True})[0] == 403
    assert eve.get("/users/")[0] in (404, 307, 405)
    _, told = eve.get("/users")
    assert [each["name"] for each in told["items"]] == ["eve-the-maker"]


def test_a_user_who_is_shut_out_is_out_at_once(log_in, admin):
    eve = log_in("eve-shut-out")
    status, key = eve.post("/keys", {"name": "ci"})
    assert status == 201
    with_key = {"Authorization": f"Bearer {key['secret']}"}
    assert eve.get("/me", headers=with_key)[0] == 200
    assert admin.patch("/users/eve-shut-out", {"active": False})[0] == 200
    assert eve.get("/me")[0] == 401
    assert eve.get("/me", headers=with_key)[0] == 401


def test_a_changed_password_ends_other_logins(log_in, nobody):
    first, second = log_in("eve-changes"), log_in("eve-changes")
    assert second.patch("/users/eve-changes", {"password": "another good one"})[0] == 403
    changed = {"password": "another good one", "old_password": PASSWORD}
    assert second.patch("/users/eve-changes", changed)[0] == 200
    assert first.get("/me")[0] == 401
    assert second.get("/me")[0] == 200
    assert nobody.post("/login", {"name": "eve-changes", "password": "another good one"})[0] == 200


def test_a_link_sets_a_password_once(admin, nobody):
    name = uuid.uuid4().hex
    status, made = admin.post("/users", {"name": name})
    assert status == 201
    assert made["invite"].startswith("tilth_invite_")
    assert nobody.get("/me", headers={"Authorization": f"Bearer {made['invite']}"})[0] == 401
    told = {"secret": made["invite"], "password": "short"}
    assert nobody.post("/password", told)[0] == 422
    told["password"] = PASSWORD
    assert nobody.post("/password", told)[0] == 200
    assert nobody.post("/password", told)[0] == 404
    assert nobody.post("/login", {"name": name, "password": PASSWORD})[0] == 200


def test_a_key_of_one_project_opens_no_other(admin, nobody):
    one, other = uuid.uuid4().hex, uuid.uuid4().hex
    for each in (one, other):
        admin.post("/projects", {"name": each})
    _, key = admin.post("/keys", {"name": "ci", "project": one, "days": 3})
    headers = {"Authorization": f"Bearer {key['secret']}"}
    assert nobody.get(f"/projects/{one}/runs", headers=headers)[0] == 200
    assert nobody.get(f"/projects/{other}/runs", headers=headers)[0] == 404
    assert nobody.get("/users", headers=headers)[1]["items"][0]["name"] == "admin"
    assert nobody.post("/users", {"name": "x"}, headers=headers)[0] == 403
    assert nobody.post("/keys", {"name": "more"}, headers=headers)[0] == 403
    assert admin.delete(f"/tokens/{key['key']['id']}")[0] == 204
    assert nobody.get(f"/projects/{one}/runs", headers=headers)[0] == 401


def test_a_token_of_a_run_changes_that_run_alone(server, admin, nobody):
    project = uuid.uuid4().hex
    admin.post("/projects", {"name": project})
    _, run = admin.post(f"/projects/{project}/runs/start", {"pipeline": "p"})
    _, other = admin.post(f"/projects/{project}/runs/start", {"pipeline": "p"})
    secret, _ = server.access.issue(
        user_of(server, "admin"), Purpose.RUN, project=project, run=run["id"], lasts=timedelta(hours=1)
    )
    headers = {"Authorization": f"Bearer {secret}"}

    def change(kind, record):
        told = {"changes": [{"kind": kind, "put": record}]}
        return nobody.post(f"/projects/{project}/changes", told, headers=headers)[0]

    assert change("run", {**run, "tags": ["a"]}) == 200
    assert change("run", {**other, "tags": ["a"]}) == 403
    assert change("step_run", {"run": run["id"], "step": "s"}) == 200
    assert change("step_run", {"run": other["id"], "step": "s"}) == 403
    assert change("stack", {"project": project, "name": "s", "components": {}}) == 403
    assert nobody.post(f"/projects/{project}/runs/start", {"pipeline": "p"}, headers=headers)[0] == 403
    beat = {"holder": "x", "fence": 1}
    assert nobody.put(f"/projects/{project}/runs/{run['id']}/lease", beat, headers=headers)[0] == 200
    assert nobody.put(f"/projects/{project}/runs/{other['id']}/lease", beat, headers=headers)[0] == 403
    assert nobody.get("/projects/default/runs", headers=headers)[0] == 404

    def put(key, content):
        asked = f"digest=sha256:{hashlib.sha256(content).hexdigest()}&size={len(content)}"
        return nobody.put(f"/projects/{project}/objects/{key}?{asked}", content=content, headers=headers)[0]

    assert put("artifacts/ab", b"one") == 200
    assert put("artifacts/ab", b"one") == 200
    assert put("artifacts/ab", b"two") == 403
    assert put(f"runs/{run['id']}/x", b"one") == put(f"runs/{run['id']}/x", b"two") == 200
    assert put(f"runs/{other['id']}/x", b"one") == put(f"attempts/{other['id']}/x", b"one") == 403
    gone = f"/projects/{project}/objects"
    assert nobody.ask("DELETE", f"{gone}/artifacts/ab", headers=headers)[0] == 403
    assert nobody.ask("DELETE", f"{gone}/runs/{run['id']}/x", headers=headers)[0] == 204


def test_a_device_is_let_in_by_a_person(nobody, log_in, admin):
    status, asked = nobody.post("/device", {"client": "tilth on laptop"})
    assert status == 201
    assert asked["verification_uri"].endswith(f"/device?code={asked['user_code']}")
    poll = {"device_code": asked["device_code"]}
    assert nobody.post("/device/token", poll) == (200, {"login": None})
    eve = log_in("eve-of-device")
    assert eve.get(f"/device/{asked['user_code'].lower()}")[1] == {"client": "tilth on laptop"}
    assert nobody.post("/device/grant", {"user_code": asked["user_code"]})[0] == 401
    assert eve.post("/device/grant", {"user_code": asked["user_code"]})[0] == 204
    status, told = nobody.post("/device/token", poll)
    headers = {"Authorization": f"Bearer {told['login']['token']}"}
    assert nobody.get("/me", headers=headers)[1]["user"]["name"] == "eve-of-device"
    assert nobody.post("/device/token", poll)[0] == 401


def test_a_device_that_is_denied_is_told(nobody, admin):
    _, asked = nobody.post("/device")
    assert admin.post("/device/grant", {"user_code": asked["user_code"], "grant": False})[0] == 204
    status, told = nobody.post("/device/token", {"device_code": asked["device_code"]})
    assert (status, told["error"]["summary"]) == (401, "this login was denied")


def test_a_cookie_is_for_pages_of_ours_alone(server):
    with httpx.Client(base_url=server.url) as browser:
        told = {"name": "admin", "password": PASSWORD, "cookie": True}
        response = browser.post("/api/v1/login", json=told)
        assert response.json()["token"] == ""
        cookie = response.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/api/v1/me").status_code == 200
        made = {"name": uuid.uuid4().hex}
        for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            assert browser.post("/api/v1/projects", json=made, headers=origin).status_code == 403
        assert browser.post("/api/v1/projects", json=made, headers={"Origin": server.url}).status_code == 201


def test_every_answer_says_what_browsers_may_not_do(nobody):
    response = nobody.client.get("/login")
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert (
        "access-control-allow-origin"
        not in nobody.client.get("/api/v1/info", headers={"Origin": "https://evil.example"}).headers
    )


def test_who_changed_what_is_written_down(admin, log_in):
    project = uuid.uuid4().hex
    admin.post("/projects", {"name": project})
    log_in("eve-of-audit")
    admin.put(f"/projects/{project}/members/eve-of-audit", {"role": "viewer"})
    _, told = admin.get(f"/audit?project={project}")
    assert [(each["action"], each["user"]) for each in told["items"]] == [
        ("member.put", "admin"),
        ("project.create", "admin"),
    ]
    assert log_in("eve-of-audit").get("/audit")[0] == 403
    assert log_in("eve-of-audit").get(f"/audit?project={project}")[0] == 403


def test_bodies_that_make_no_sense_are_refused(admin):
    project = uuid.uuid4().hex
    admin.post("/projects", {"name": project})
    path = f"/projects/{project}"
    wrong = [
        ("POST", f"{path}/runs/start", b"{"),
        ("POST", f"{path}/runs/start", b"[]"),
        ("POST", f"{path}/runs/start", b'{"pipeline": 3}'),
        ("POST", f"{path}/runs/start", b"\xff\xfe"),
        ("POST", f"{path}/changes", b'{"changes":[{"kind":"nonsense","put":{}}]}'),
        ("POST", f"{path}/changes", b'{"changes":[{"kind":"run"}]}'),
        ("POST", f"{path}/runs/query", b'{"where":{"nonsense":1}}'),
        ("POST", f"{path}/runs/query", b'{"limit":100000}'),
        ("POST", f"{path}/runs/query", b"[" * 100_000),
        ("POST", "/projects", b'{"name":"../up"}'),
        ("POST", "/projects", b'{"name":""}'),
        ("POST", "/projects", msgspec.json.encode({"name": "x" * 100_000})),
    ]
    for method, where, content in wrong:
        status, told = admin.ask(method, where, content=content)
        assert status == 422, (where, content[:80], told)
        assert told["error"]["summary"]


def test_a_body_that_is_too_large_is_refused(server, admin):
    content = b'{"pipeline":"' + b"x" * (65 << 20) + b'"}'
    try:
        status, told = admin.ask("POST", "/projects/default/runs/start", content=content)
    except httpx.TransportError:
        return  # it hung up while it was sent to
    assert status == 413
    assert "too large" in told["error"]["summary"]


def test_a_stale_change_is_told_with_both_revisions(admin):
    project = uuid.uuid4().hex
    admin.post("/projects", {"name": project})
    _, run = admin.post(f"/projects/{project}/runs/start", {"pipeline": "p"})
    path = f"/projects/{project}/runs/{run['id']}"
    first = admin.put(path, {**run, "tags": ["a"]}, headers={"Tilth-Revision": "1"})
    assert (first[0], first[1]["revision"]) == (200, 2)
    status, told = admin.put(path, {**run, "tags": ["b"]}, headers={"Tilth-Revision": "1"})
    assert status == 409
    assert told["error"]["why"] == "it is at revision 2, the change was made to revision 1"


def test_an_old_client_is_told_what_to_install(nobody):
    status, told = nobody.get("/info", headers={"Tilth-Protocol": "0"})
    assert status == 426
    assert "install `tilth==" in told["error"]["mend"]


def test_lists_take_every_column_as_a_filter(admin):
    project = uuid.uuid4().hex
    admin.post("/projects", {"name": project})
    path = f"/projects/{project}"
    runs = [admin.post(f"{path}/runs/start", {"pipeline": each})[1] for each in ("p", "p", "q")]
    steps = [StepRun(run=runs[0]["id"], step="s", index=index) for index in (None, 0, 1)]
    content = b'{"items":' + msgspec.json.encode(steps) + b"}"
    assert admin.ask("POST", f"{path}/step-runs", content=content)[0] == 201
    assert [each["name"] for each in admin.get(f"{path}/runs?pipeline=p")[1]["items"]] == ["p-2", "p-1"]
    assert len(admin.get(f"{path}/runs?pipeline=p&pipeline=q&order=number")[1]["items"]) == 3
    assert len(admin.get(f"{path}/step-runs?index=null")[1]["items"]) == 1
    assert len(admin.get(f"{path}/step-runs?index=0&index=1")[1]["items"]) == 2
    _, page = admin.get(f"{path}/runs?limit=2")
    _, rest = admin.get(f"{path}/runs", params={"limit": "2", "after": page["next"]})
    assert [each["name"] for each in page["items"] + rest["items"]] == ["q-1", "p-2", "p-1"]
    assert admin.get(f"{path}/runs?order=nonsense")[0] == 422
    assert admin.get(f"{path}/step-runs?index=x")[0] == 422
    assert admin.get(f"{path}/runs?after=nonsense")[0] == 422


@pytest.mark.parametrize(
    "page", ["/login", "/device", "/invite", "/pages/page.js", "/pages/page.css", "/docs", "/pages/docs.js"]
)
def test_pages_are_there(nobody, page):
    assert nobody.client.get(page).status_code == 200


def test_health_and_readiness(nobody):
    assert nobody.client.get("/health").json() == {"status": "ok"}
    assert nobody.client.get("/ready").json() == {"status": "ok"}


def test_a_run_is_a_run(admin):
    status, told = admin.post("/projects/default/runs/start", {"pipeline": "p"})
    assert status == 201
    assert msgspec.convert(told, Run).pipeline == "p"


def test_a_project_is_described_by_its_admins(admin, log_in):
    assert admin.post("/projects", {"name": "described"})[0] == 201
    assert admin.put("/projects/described/members/eve", {"role": "editor"})[0] in (200, 404)
    status, told = admin.patch("/projects/described", {"description": "who leaves, and when"})
    assert (status, told["description"]) == (200, "who leaves, and when")
    assert admin.get("/projects/described")[1]["description"] == "who leaves, and when"
    assert admin.patch("/projects/described", {"description": "x" * 10_001})[0] in (400, 422)


def test_who_asks_is_told_their_token_and_how_they_log_in(admin, log_in):
    me = log_in("maya").get("/me")[1]
    assert (me["user"]["has_password"], me["user"]["linked"]) == (True, False)
    mine = log_in("maya").get("/tokens")[1]["items"]
    assert me["token"] in [each["id"] for each in mine]
    admin.post("/users", {"name": "robot", "service": True})
    (robot,) = admin.get("/users?name=robot")[1]["items"]
    assert not robot["has_password"]
