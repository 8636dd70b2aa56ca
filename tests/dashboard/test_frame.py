"""What stands around every page: navigation, palette, shortcuts, themes, a login that ends, a server that is away."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from tests.server_running import PASSWORD


def test_whoever_is_not_logged_in_comes_back_after_the_login(visit, world):
    page = visit("/p/farm/runs?state=failed", token="").page
    expect(page.locator("#login").get_by_label("Name")).to_be_visible()
    page.locator("#login").get_by_label("Name").fill("admin")
    page.locator("#login").get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/p/farm/runs\?state=.*failed"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_a_login_leads_to_no_other_server(visit, target):
    page = visit(f"/login?next={target}", token="").page
    page.locator("#login").get_by_label("Name").fill("admin")
    page.locator("#login").get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("You are logged in as admin")).to_be_visible()
    assert "evil" not in page.evaluate("location.host")


def test_every_place_is_reached_by_its_keys(visit, world):
    page = visit("/p/farm/overview").page
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    for keys, title in [("r", "Runs"), ("e", "Environments"), ("a", "Artifacts"), ("o", "Overview")]:
        page.keyboard.press("g")
        page.keyboard.press(keys)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)


def test_the_palette_goes_to_pages_and_lists_the_shortcuts(visit):
    visitor = visit("/p/farm/overview")
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search and commands")).to_be_focused()
    page.keyboard.type("sched")
    expect(page.get_by_role("option", name="Schedules")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/p/farm/schedules"))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    visitor.check_accessibility()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_theme_is_kept(visit):
    page = visit("/p/farm/overview", color_scheme="light").page
    page.get_by_role("button", name="dark theme").first.click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(page.get_by_role("button", name="light theme").first).to_be_visible()


def test_a_phone_has_the_navigation_behind_a_button(visit):
    visitor = visit("/p/farm/overview", width=390, height=800)
    page = visitor.page
    page.get_by_role("button", name="navigation").click()
    page.get_by_role("dialog").get_by_role("link", name="Artifacts").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Artifacts")
    expect(page.get_by_role("dialog")).to_have_count(0)
    visitor.check_accessibility()


def test_an_address_that_leads_nowhere_says_so(visit):
    page = visit("/p/farm/nothing/of/this").page
    expect(page.get_by_text("No page has this address")).to_be_visible()


def test_a_missing_part_is_told_in_the_words_of_the_api(visit, world):
    answer = visit().context.request.get(f"{world.url}/assets/gone-1234.js")
    assert answer.status == 404
    assert "load the page again" in answer.json()["error"]["mend"]
    assert visit().context.request.get(f"{world.url}/assets/..%2Findex.html").status == 404


def test_parts_are_compressed_and_kept(visit, world):
    visitor = visit("/p/farm/overview")
    name = visitor.page.evaluate("document.querySelector('script[type=module]').getAttribute('src')")
    answer = visitor.context.request.get(world.url + name, headers={"Accept-Encoding": "br, gzip"})
    assert answer.headers["content-encoding"] == "br"
    assert "immutable" in answer.headers["cache-control"]


def test_a_server_that_is_away_is_said_and_waited_for(visit):
    page = visit("/p/farm/overview").page
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    away = re.compile(r"/(api|health)\b")
    page.route(away, lambda route: route.abort())
    page.keyboard.press("Control+k")  # asks for runs
    expect(page.get_by_text("The server does not answer").first).to_be_visible()
    page.keyboard.press("Escape")
    page.unroute(away)
    expect(page.get_by_text("The server does not answer")).to_have_count(0)


def test_a_login_that_ends_is_asked_for_over_the_page(visit, world):
    visitor = visit("/p/farm/overview")
    page = visitor.page
    expect(page.get_by_role("button", name="account of admin")).to_be_visible()
    cookies = visitor.context.cookies()
    visitor.context.clear_cookies()
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog", name="Your login has ended")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("Name")).to_have_value("admin")
    dialog.get_by_label("Password").fill("wrong")
    dialog.get_by_role("button", name="Log in").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Log in").click()
    expect(dialog).to_have_count(0)
    assert visitor.context.cookies() != cookies
