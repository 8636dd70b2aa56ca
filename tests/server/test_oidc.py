"""Logins by a real provider of OpenID Connect, through its own pages, as a browser goes."""

from __future__ import annotations

import re
import uuid
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import httpx
import pytest
from tests.server_running import PASSWORD, running_server

from tilth.records.access import AuditEntry, Purpose, User
from tilth.server.requests import COOKIE
from tilth.store.sqlite import SqliteDatabase


def serve(tmp_path_factory, provider, **settings):
    folder = tmp_path_factory.mktemp("oidc")
    given = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": provider.client_id,
        "oidc_client_secret": provider.client_secret,
        "data_folder": str(folder / "data"),
        "secrets_key_file": str(folder / "key"),
        "schedules": False,
    } | settings
    return SqliteDatabase(folder / "tilth.db"), given


@pytest.fixture(scope="module")
def server(tmp_path_factory, oidc_provider):
    database, given = serve(tmp_path_factory, oidc_provider, oidc_create_users=True)
    with running_server(database, **given) as server:
        yield server
    database.close()


@pytest.fixture
def browser():
    with httpx.Client(timeout=60) as client:
        yield client


def go(browser: httpx.Client, url: str, login: str, *, to: str = "/api/v1/oidc/callback") -> str:
    """Follow a login through the provider's pages as `login`; the address that the provider sends back to."""
    response = browser.get(url)
    for _ in range(20):
        if response.is_redirect:
            following = urljoin(str(response.request.url), response.headers["location"])
            if urlsplit(following).path == to:
                return following
            response = browser.get(following)
            continue
        form = re.search(r'action="([^"]+)"', response.text)
        prompt = re.search(r'name="prompt" value="(\w+)"', response.text)
        assert form, response.text
        assert prompt, response.text
        response = browser.post(
            urljoin(str(response.request.url), form[1]),
            data={"prompt": prompt[1], "login": login, "password": "any"},
        )
    raise AssertionError("the provider goes round and round")


def log_in(server, browser: httpx.Client, login: str, query: str = "") -> httpx.Response:
    return browser.get(go(browser, f"{server.url}/api/v1/oidc/login{query}", login))


def who(server, browser: httpx.Client) -> str | None:
    response = browser.get(f"{server.url}/api/v1/me")
    return response.json()["user"]["name"] if response.status_code == 200 else None


def name() -> str:
    return f"u{uuid.uuid4().hex[:10]}"


def make_user(server, named: str) -> None:
    with httpx.Client(headers={"Authorization": f"Bearer {server.token}"}) as admin:
        made = admin.post(f"{server.url}/api/v1/users", json={"name": named, "password": PASSWORD})
        assert made.status_code == 201


def enter_password(server, browser: httpx.Client, named: str) -> None:
    told = {"name": named, "password": PASSWORD, "cookie": True}
    assert browser.post(f"{server.url}/api/v1/login", json=told).status_code == 200


def user_of(server, named: str) -> User:
    (found,) = server.access.store.find(User, name=named).items
    return found


def test_a_login_by_the_provider_makes_a_user_and_finds_them_again(server, browser):
    named = name()
    back = log_in(server, browser, named)
    assert (back.status_code, back.headers["location"]) == (303, "/login")
    cookie = next(each for each in back.headers.get_list("set-cookie") if each.startswith(COOKIE))
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert who(server, browser) == named
    user = user_of(server, named)
    assert (user.email, user.password, user.admin) == (f"{named}@example.test", "", False)
    with httpx.Client(timeout=60) as another:
        log_in(server, another, named)
        assert who(server, another) == named
    assert user_of(server, named).id == user.id
    assert [each.action for each in server.access.store.find(AuditEntry, user="", action="user.create").items]
    assert "oidc" in browser.get(f"{server.url}/api/v1/info").json()["login"]


@pytest.mark.parametrize(
    ("asked", "led_to"),
    [
        ("/p/farm/runs?state=failed", "/login?next=%2Fp%2Ffarm%2Fruns%3Fstate%3Dfailed"),
        ("//evil.example/", "/login"),
        ("/\\evil.example/", "/login"),
        ("https://evil.example/", "/login"),
        ("/" + "x" * 2000, "/login"),
        ("/a\r\nSet-Cookie: a=b", "/login"),
    ],
)
def test_a_login_leads_back_to_a_page_of_this_server_alone(server, browser, asked, led_to):
    back = log_in(server, browser, name(), f"?next={quote(asked, safe='')}")
    assert back.headers["location"] == led_to


def test_a_login_ends(server, browser):
    log_in(server, browser, name())
    left = browser.post(f"{server.url}/api/v1/logout", headers={"Origin": server.url})
    assert left.status_code == 204
    assert who(server, browser) is None


def test_a_device_that_waits_is_let_in_afterwards_and_nowhere_else(server, browser):
    assert log_in(server, browser, name(), "?code=BCDF-GHJK").headers["location"] == "/device?code=BCDF-GHJK"
    for odd in ("//evil.example", "https://evil.example", "BCDF-GHJK/..", "a%0d%0aX-Evil:%201"):
        with httpx.Client(timeout=60) as another:
            back = log_in(server, another, name(), f"?code={odd}")
            assert back.headers["location"] == "/login"
            assert "x-evil" not in back.headers


def test_a_name_at_the_provider_takes_no_user_over(server, browser):
    make_user(server, victim := name())
    assert log_in(server, browser, f"as-{name()}-{victim}").headers["location"] == "/login?failed=taken"
    assert who(server, browser) is None
    assert user_of(server, victim).subject is None
    # Nor the admin, nor one who came by the provider under another subject.
    assert log_in(server, browser, f"as-{name()}-admin").headers["location"] == "/login?failed=taken"


def test_who_is_logged_in_links_their_login_and_uses_it_from_then_on(server, browser, oidc_provider):
    make_user(server, named := name())
    enter_password(server, browser, named)
    subject = f"as-{name()}-other"
    assert log_in(server, browser, subject, "?link=true").headers["location"] == "/login"
    assert user_of(server, named).subject == f"{oidc_provider.issuer} {subject}"
    with httpx.Client(timeout=60) as another:
        log_in(server, another, subject)
        assert who(server, another) == named
    (entry,) = server.access.store.find(AuditEntry, action="user.link").items
    assert (entry.subject, entry.user) == (named, named)
    # Somebody else cannot have the same one.
    make_user(server, second := name())
    with httpx.Client(timeout=60) as another:
        enter_password(server, another, second)
        back = log_in(server, another, subject, "?link=true")
        assert back.headers["location"] == "/login?failed=linked"
        assert user_of(server, second).subject is None


def test_a_link_takes_a_login(server, browser):
    assert browser.get(f"{server.url}/api/v1/oidc/login?link=true").status_code == 401
    user = server.access.store.find(User, limit=1).items[0]
    limited, _ = server.access.issue(user, Purpose.RUN, project="default", run="r")
    shown = {"Authorization": f"Bearer {limited}"}
    assert browser.get(f"{server.url}/api/v1/oidc/login?link=true", headers=shown).status_code == 403
    # One that was ended while its browser was at the provider links nothing.
    make_user(server, named := name())
    enter_password(server, browser, named)
    back = go(browser, f"{server.url}/api/v1/oidc/login?link=true", name())
    browser.post(f"{server.url}/api/v1/logout", headers={"Origin": server.url})
    assert browser.get(back).headers["location"] == "/login?failed=expired"
    assert user_of(server, named).subject is None


def test_an_answer_is_good_in_the_browser_that_asked_and_once(server, browser):
    back = go(browser, f"{server.url}/api/v1/oidc/login", name())
    with httpx.Client(timeout=60) as victim:  # login CSRF: somebody is sent to an attacker's answer
        assert victim.get(back).headers["location"] == "/login?failed=expired"
        assert who(server, victim) is None
        go(victim, f"{server.url}/api/v1/oidc/login", name())
        assert victim.get(back).headers["location"] == "/login?failed=expired"
    assert browser.get(back).headers["location"] == "/login"
    with httpx.Client(timeout=60) as again:
        assert again.get(back).headers["location"] == "/login?failed=expired"
    assert browser.get(back).headers["location"] == "/login?failed=expired"


def test_a_changed_state_code_or_cookie_logs_nobody_in(server, browser):
    back = go(browser, f"{server.url}/api/v1/oidc/login", name())
    asked = parse_qs(urlsplit(back).query)
    callback = f"{server.url}/api/v1/oidc/callback"
    wrong = browser.get(callback, params={"state": "other", "code": asked["code"][0]})
    assert wrong.headers["location"] == "/login?failed=expired"
    go(browser, f"{server.url}/api/v1/oidc/login", name())
    cookie = browser.cookies.get("tilth_oidc", path="/api/v1/oidc")
    browser.cookies.set("tilth_oidc", cookie[:-4] + "AAA=", domain="127.0.0.1", path="/api/v1/oidc")
    assert browser.get(callback, params={"state": "s", "code": "c"}).headers["location"].endswith("expired")
    with httpx.Client(timeout=60) as another:
        state = parse_qs(urlsplit(go(another, f"{server.url}/api/v1/oidc/login", name())).query)["state"][0]
        refused = another.get(callback, params={"state": state, "code": "forged"})
        assert refused.headers["location"] == "/login?failed=provider"
        assert who(server, another) is None


def test_an_answer_of_refusal_is_told(server, browser):
    start = browser.get(f"{server.url}/api/v1/oidc/login")
    asked = parse_qs(urlsplit(start.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["nonce"][0] != asked["state"][0]
    back = browser.get(
        f"{server.url}/api/v1/oidc/callback", params={"state": asked["state"][0], "error": "access_denied"}
    )
    assert back.headers["location"] == "/login?failed=denied"


def test_a_user_who_is_shut_out_comes_in_by_no_provider(server, browser):
    log_in(server, browser, named := name())
    with httpx.Client(headers={"Authorization": f"Bearer {server.token}"}) as admin:
        admin.patch(f"{server.url}/api/v1/users/{named}", json={"active": False})
    with httpx.Client(timeout=60) as again:
        assert log_in(server, again, named).headers["location"] == "/login?failed=unknown"
    assert who(server, browser) is None


def test_nobody_is_made_where_that_is_not_asked_for(tmp_path_factory, oidc_provider, browser):
    database, given = serve(tmp_path_factory, oidc_provider)
    with running_server(database, **given) as server:
        assert log_in(server, browser, named := name()).headers["location"] == "/login?failed=unknown"
        assert not server.access.store.find(User, name=named).items
    database.close()


def test_a_provider_that_is_away_or_another_is_told(tmp_path_factory, oidc_provider, browser):
    for issuer in ("http://127.0.0.1:9", f"{oidc_provider.issuer}/"):
        database, given = serve(tmp_path_factory, oidc_provider, oidc_issuer=issuer)
        with running_server(database, **given) as server:
            back = browser.get(f"{server.url}/api/v1/oidc/login")
            assert back.headers["location"] == "/login?failed=provider"
        database.close()


def test_a_server_without_a_provider_has_no_such_login(tmp_path_factory, oidc_provider, browser):
    database, given = serve(tmp_path_factory, oidc_provider, oidc_issuer="")
    with running_server(database, **given) as server:
        assert browser.get(f"{server.url}/api/v1/oidc/login").status_code == 404
        assert browser.get(f"{server.url}/api/v1/info").json()["login"] == ["password"]
    database.close()
