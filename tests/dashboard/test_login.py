"""The way in: links, the set-up of those who are new, and a login that ends in the middle of a form."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from tests.dashboard.conftest import world_at
from tests.server_running import PASSWORD

from tilth.records import Run
from tilth.records.access import Purpose, Space, User
from tilth.records.launching import ServerSecret

pytestmark = pytest.mark.dashboard


def test_who_is_new_is_led_from_their_link_to_a_first_run(visit, world):
    user = world.server.access.store.add(User(name="nina", full_name="Nina N."))[0]
    secret, _ = world.server.access.issue(user, Purpose.INVITE)
    visitor = visit(f"/invite#{secret}", token="")
    page = visitor.page
    visitor.check_accessibility()
    page.locator("#invite").get_by_label("Password").fill("an apple a night")
    page.get_by_label("The same again").fill("an apple a night")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Set up")
    expect(page.get_by_text("Welcome, Nina N.")).to_be_visible()
    page.get_by_label("Name").fill("meadow")
    page.get_by_role("button", name="Make the project").click()
    expect(page.get_by_text("""echo 'project = "meadow"' > tilth.toml""")).to_be_visible()
    expect(page.get_by_text(f"tilth login {world.url}")).to_be_visible()
    visitor.check_accessibility()

    store = world.server.access.store.within("meadow")
    store.start_run(Run(pipeline="first"))
    expect(page.get_by_role("link", name="first-1")).to_be_visible()
    page.get_by_role("button", name="Make a key").click()
    page.get_by_role("dialog").get_by_role("button", name="Make it").click()
    expect(page.locator("[data-secret]")).to_contain_text("tilth_key_")
    page.get_by_role("button", name="I have it").click()
    page.get_by_role("link", name="To the overview of meadow").click()
    expect(page).to_have_url(re.compile("/p/meadow/overview"))


def test_who_is_in_no_project_yet_comes_to_the_set_up(visit, world):
    page = visit("/", token=world.user("newcomer")).page
    expect(page.get_by_role("heading", level=1)).to_have_text("Set up")
    expect(page.get_by_role("button", name="Make the project")).to_be_visible()


def test_the_first_pipeline_of_the_set_up_runs(visit, world, tmp_path):
    page = visit("/setup?project=farm").page
    text = page.locator("pre", has_text="@pipeline").inner_text()
    assert "completed" in world.run(text, name="first.py").stderr
    expect(page.get_by_role("link", name=re.compile(r"first-\d+"))).to_be_visible()


@pytest.mark.parametrize("path", ["/p/farm/secrets", "/settings/account"])
def test_what_was_typed_in_a_form_outlives_the_login(visit, world, path):
    visitor = visit(path)
    page = visitor.page
    if path == "/p/farm/secrets":
        page.get_by_role("button", name="Set one").click()
        form = page.get_by_role("dialog", name="Set a secret")
        form.get_by_label("Name").fill("TYPED")
        form.get_by_label("Value").fill("a long text that nobody types twice")
        send = form.get_by_role("button", name="Set it")
    else:
        page.get_by_label("Full name").fill("typed before the login ended")
        send = page.get_by_role("button", name="Save")
    visitor.context.clear_cookies()
    send.click()
    again = page.get_by_role("dialog", name="Your login has ended")
    expect(again).to_be_visible()
    again.get_by_label("Password").fill(PASSWORD)
    again.get_by_role("button", name="Log in").click()
    expect(again).to_have_count(0)
    # What was asked for goes on by itself.
    if path == "/p/farm/secrets":
        expect(page.get_by_role("row", name="TYPED")).to_be_visible()
        assert len(world.server.access.store.find(ServerSecret, name="TYPED").items) == 1
    else:
        expect(page.get_by_text("Your profile is saved.")).to_be_visible()
        expect(page.get_by_label("Full name")).to_have_value("typed before the login ended")


def test_the_login_looks_as_the_theme_that_was_chosen(visit):
    visitor = visit("/p/farm/members", color_scheme="light")
    page = visitor.page
    page.get_by_role("button", name="dark theme").first.click()
    visitor.context.clear_cookies()
    page.goto(f"{visitor.url}/login")
    expect(page.locator("#login").get_by_label("Name")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 15)"
    visitor.check_accessibility()


def test_who_is_logged_in_already_goes_on(visit, world):
    page = visit("/login?next=/settings/keys").page
    expect(page.get_by_role("heading", level=1)).to_have_text("API keys")


def test_the_organisations_login_leads_back_to_where_one_was(browser, dashboard, oidc_provider, tmp_path):
    folder = tmp_path / "oidc"
    folder.mkdir()
    given = {
        "oidc_issuer": oidc_provider.issuer,
        "oidc_client_id": oidc_provider.client_id,
        "oidc_client_secret": oidc_provider.client_secret,
        "oidc_create_users": True,
    }
    with world_at(folder, **given) as world:
        context = browser.new_context()
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto(f"{world.url}/settings/account")
        page.get_by_role("link", name="Log in with your organisation").click()
        for _ in range(2):  # who, and whether tilth may know
            if page.locator("input[name=login]").count():
                page.locator("input[name=login]").fill("olga")
                page.locator("input[name=password]").fill("any")
            page.locator("button[type=submit]").first.click()
        expect(page).to_have_url(f"{world.url}/settings/account")
        expect(page.get_by_text("You can log in with your organisation.")).to_be_visible()
        assert world.server.access.store.find(User, name="olga").items[0].subject
        assert world.server.access.store.find(Space, name="farm").items
        context.close()
