"""The server's pages in a real browser."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.server_running import PASSWORD, running_server

from tilth.client.login import log_in_by_browser
from tilth.errors import LoginNeeded
from tilth.home import Home
from tilth.records.access import Purpose, User
from tilth.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server_running import RunningServer

expect.set_options(timeout=60_000)


@pytest.fixture
def server(home: Path) -> Iterator[RunningServer]:
    home.mkdir(parents=True, exist_ok=True)
    with (
        contextlib.closing(SqliteDatabase(home / "tilth.db")) as database,
        running_server(database) as running,
    ):
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page as wide as a small phone; what its scripts throw, or it asks of other servers, fails the test."""
    page = browser.new_page(viewport={"width": 320, "height": 640})
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    ours = ("http://127.0.0.1:", "data:")
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(ours) else wrong.append(asked.url))
    yield page
    page.close()
    assert wrong == []


class _Asking(threading.Thread):
    """A command line that waits to be let in."""

    def __init__(self, home: Path, url: str) -> None:
        super().__init__(daemon=True)
        self._home, self._url = Home(home), url
        self.shown = threading.Event()
        self.address = ""
        self.came: object = None

    def run(self) -> None:
        try:
            self.came = log_in_by_browser(self._home, self._url, self._show)
        except LoginNeeded as error:
            self.came = error

    def _show(self, address: str, code: str) -> None:
        assert code in address
        self.address = address
        self.shown.set()


def _log_in(page: Page, url: str) -> None:
    page.goto(url)
    page.locator("#login").get_by_label("Name").fill("admin")
    page.locator("#login").get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def test_a_command_line_is_let_in_or_denied_as_its_button_says(
    page: Page, server: RunningServer, home: Path
) -> None:
    asking = _Asking(home, server.url)
    asking.start()
    assert asking.shown.wait(60)
    _log_in(page, asking.address)
    expect(page.locator("#asks")).to_contain_text("wants to log in as admin")
    page.get_by_role("button", name="Let it in as you").click()
    expect(page.locator("#said")).to_contain_text("Done.")
    asking.join(60)
    assert getattr(asking.came, "user", asking.came) == "admin"

    denied = _Asking(home, server.url)
    denied.start()
    assert denied.shown.wait(60)
    page.goto(denied.address)
    page.get_by_role("button", name="Deny").click()
    expect(page.locator("#said")).to_have_text("Denied.")
    denied.join(60)
    assert "denied" in str(denied.came)


def test_a_link_sets_a_password_once(page: Page, server: RunningServer) -> None:
    user = server.access.store.add(User(name="ada"))[0]
    secret, _ = server.access.issue(user, Purpose.INVITE)
    page.goto(f"{server.url}/invite#{secret}")
    for again in ("an apple a day", "an apple a night"):
        page.locator("#invite").get_by_label("Password").fill("an apple a night")
        page.get_by_label("The same again").fill(again)
        page.get_by_role("button", name="Set password").click()
        if again != "an apple a night":
            expect(page.locator("#said")).to_have_text("The two passwords differ.")
    page.wait_for_url(f"{server.url}/setup*")
    page.goto(f"{server.url}/invite#{secret}")
    page.locator("#invite").get_by_label("Password").fill("an apple a night")
    page.get_by_label("The same again").fill("an apple a night")
    page.get_by_role("button", name="Set password").click()
    expect(page.locator("#said")).to_have_text("This link is good no more. Ask an admin for another.")


def test_the_login_lets_in_and_out_and_refuses(page: Page, server: RunningServer) -> None:
    _log_in(page, f"{server.url}/login")
    expect(page).not_to_have_url(f"{server.url}/login")
    page.goto(f"{server.url}/login")
    expect(page.locator("#said")).to_have_text("You are logged in as admin.")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#login")).to_be_visible()
    page.locator("#login").get_by_label("Name").fill("admin")
    page.locator("#login").get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#said")).to_have_text("Name or password are wrong.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_api_is_described_without_another_server(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.url}/docs")
    expect(page.locator("details").first).to_be_visible()
    paths = server_paths(page)
    assert page.locator("details").count() == paths
    page.get_by_label("Find").fill("snapshots")
    expect(page.get_by_text("/api/v1/projects/{project}/secrets", exact=True)).to_be_hidden()
    page.get_by_text("/api/v1/snapshots/{id}/runs", exact=True).click()
    expect(page.get_by_role("heading", name="Body: NewLaunch")).to_be_visible()
    expect(page.get_by_role("heading", name="202: Launch")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def server_paths(page: Page) -> int:
    """How many operations the server's OpenAPI has."""
    found: int = page.evaluate(
        "fetch('/api/v1/openapi.json').then(a => a.json())"
        ".then(a => Object.values(a.paths).flatMap(each => Object.keys(each)).length)"
    )
    return found
