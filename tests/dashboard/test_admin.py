"""Stacks, secrets, members, users, keys, the audit log and the server, as their admins and others see them."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import expect

from tilth.records import Component, Stack
from tilth.records.access import Member, Purpose, Role, Space, Token, User
from tilth.records.launching import ServerSecret

pytestmark = pytest.mark.dashboard


def _found(world, kind, **where):
    return world.server.access.store.find(kind, **where).items


def _confirm(page, action):
    """Say yes. Behind the question the page is hidden from whoever asks by roles."""
    page.get_by_role("alertdialog").get_by_role("button", name=action).click()
    expect(page.get_by_role("alertdialog")).to_have_count(0)


def test_a_component_is_made_from_its_flavors_settings(visit, world):
    secret = f"{world.url}/api/v1/projects/farm/secrets/S3_SECRET"
    httpx.put(secret, json={"value": "x"}, headers={"Authorization": f"Bearer {world.server.token}"})
    visitor = visit("/p/farm/stacks")
    page = visitor.page
    expect(page.get_by_text("docker-local").first).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("button", name="Make a component").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("models")
    dialog.get_by_label("Flavor").select_option("s3")
    expect(dialog.get_by_text("pip install 'tilth[s3]'")).to_be_visible()
    visitor.check_accessibility()
    dialog.get_by_label("bucket").fill("models")
    dialog.get_by_label("secret", exact=True).select_option("secret:S3_SECRET")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog).to_have_count(0)
    store = world.server.access.store.within("farm")
    (made,) = store.find(Component, name="models").items
    assert made.settings == {"bucket": "models", "secret": "secret:S3_SECRET"}
    assert made.project == "farm"

    page.get_by_role("button", name="Make a stack").click()
    dialog.get_by_label("Name").fill("team")
    dialog.get_by_label("artifact store").select_option("models")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Use it: team").click()
    expect(page.get_by_text("Runs that name no stack use team.")).to_be_visible()
    assert store.find(Stack, name="team").items[0].components["artifact_store"] == "models"

    page.get_by_role("button", name="settings of models").click()
    dialog.get_by_label("bucket").fill("")
    dialog.get_by_label("bucket").evaluate("each => { each.required = false }")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("needs setting `bucket`")
    expect(dialog.get_by_label("bucket")).to_be_focused()
    dialog.get_by_role("button", name="Cancel").click()

    page.get_by_role("button", name="delete component models").click()
    expect(page.get_by_role("alertdialog")).to_contain_text("taken out of team")
    _confirm(page, "Take it out and delete it")
    assert store.find(Component, name="models").items == ()
    expect(page.get_by_role("button", name="delete component models")).to_have_count(0)


def test_a_secret_is_set_and_never_shown(visit, world):
    visitor = visit("/p/farm/secrets")
    page = visitor.page
    page.get_by_role("button", name="Set one").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("WAREHOUSE")
    dialog.get_by_label("Value").fill("hunter2-hunter2")
    visitor.check_accessibility()
    dialog.get_by_role("button", name="Set it").click()
    row = page.get_by_role("row", name="WAREHOUSE")
    expect(row).to_contain_text("secret:WAREHOUSE")
    visitor.check_accessibility()
    page.reload()
    expect(row).to_be_visible()
    assert "hunter2" not in page.content()
    (kept,) = _found(world, ServerSecret, name="WAREHOUSE")
    assert "hunter2" not in kept.value
    page.get_by_role("button", name="Encrypt anew").click()
    _confirm(page, "Encrypt them")
    expect(page.get_by_text("encrypted anew").last).to_be_visible()
    page.get_by_role("button", name="delete WAREHOUSE").click()
    _confirm(page, "Delete it")
    expect(row).to_have_count(0)


def test_members_are_added_changed_and_taken_out(visit, world):
    user = world.server.access.store.add(User(name="mia"))[0]
    visitor = visit("/p/farm/members")
    page = visitor.page
    page.get_by_role("button", name="Add one").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User").fill("nobody-of-this-name")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.get_by_role("alert")).to_contain_text("no user `nobody-of-this-name`", ignore_case=True)
    dialog.get_by_label("User").fill("mia")
    dialog.get_by_role("radio", name="viewer").check()
    dialog.get_by_role("button", name="Add").click()
    role = page.get_by_label("role of mia")
    expect(role).to_have_value("viewer")
    visitor.check_accessibility()
    role.select_option("editor")
    expect(page.get_by_text("mia is editor now.")).to_be_visible()
    assert _found(world, Member, user=user.id)[0].role is Role.EDITOR
    page.get_by_role("button", name="take mia out").click()
    _confirm(page, "Take them out")
    expect(role).to_have_count(0)


def test_a_user_is_invited_shut_out_let_in_and_deleted(visit, world):
    visitor = visit("/settings/users")
    page = visitor.page
    page.get_by_role("button", name="Make one").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("una")
    visitor.check_accessibility()
    dialog.get_by_role("button", name="Make them").click()
    expect(page.locator("[data-secret]")).to_contain_text(f"{world.url}/invite#tilth_invite_")
    page.get_by_role("button", name="Done").click()
    row = page.get_by_role("row", name="una")
    expect(row).to_contain_text("has not logged in")
    visitor.check_accessibility()
    for item, action in (("Shut out", "Shut them out"), ("Let in again", "Let them in")):
        page.get_by_role("button", name="what to do with una").click()
        page.get_by_role("menuitem", name=item).click()
        dialog.get_by_role("button", name=action).click()
        expect(dialog).to_have_count(0)
        expect(row.get_by_text("shut out")).to_have_count(1 if item == "Shut out" else 0)
    page.get_by_role("button", name="what to do with una").click()
    page.get_by_role("menuitem", name="Link to set a password").click()
    dialog.get_by_role("button", name="Make the link").click()
    expect(page.locator("[data-secret]")).to_contain_text("/invite#")
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="what to do with una").click()
    page.get_by_role("menuitem", name="Delete").click()
    dialog.get_by_role("button", name="Delete them").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="what to do with admin").click()
    expect(page.get_by_role("menuitem", name="Shut out")).to_be_disabled()


def test_a_key_is_shown_once_and_works_until_it_is_deleted(visit, world):
    visitor = visit("/settings/keys")
    page = visitor.page
    page.get_by_role("button", name="Make one").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("ci")
    dialog.get_by_label("Opens").select_option("farm")
    dialog.get_by_label("Ends after days").fill("0")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Give a number of days")
    dialog.get_by_label("Ends after days").fill("30")
    dialog.get_by_role("button", name="Make it").click()
    secret = page.locator("[data-secret]").inner_text()
    visitor.check_accessibility()
    with httpx.Client(headers={"Authorization": f"Bearer {secret}"}) as program:
        assert program.get(f"{world.url}/api/v1/me").json()["project"] == "farm"
        page.get_by_role("button", name="I have it").click()
        expect(page.get_by_role("row", name="ci")).to_contain_text("farm")
        assert secret not in page.content()
        page.get_by_role("button", name="end ci").click()
        _confirm(page, "Delete it")
        expect(page.get_by_role("row", name="ci")).to_have_count(0)
        assert program.get(f"{world.url}/api/v1/me").status_code == 401


def test_the_audit_log_is_filtered_by_its_address(visit, world):
    visitor = visit("/settings/audit")
    page = visitor.page
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    visitor.check_accessibility()
    page.get_by_label("what was done").select_option("secret.set")
    expect(page).to_have_url(re.compile("action=secret.set"))
    page.goto(f"{world.url}/settings/audit?user=nobody-at-all")
    expect(page.get_by_text("Nothing of this was done")).to_be_visible()


def test_an_admin_sees_how_the_server_is(visit, world):
    visitor = visit("/settings/server")
    page = visitor.page
    expect(page.get_by_text("waiting for a runner")).to_be_visible()
    expect(page.get_by_text(re.compile("^sqlite "))).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("tab", name="Runners").click()
    expect(page.get_by_text("No runner was ever here")).to_be_visible()
    page.get_by_role("tab", name="Settings").click()
    expect(page.get_by_text("TILTH_SERVER_ADMIN_PASSWORD")).to_be_visible()
    expect(page.get_by_role("tabpanel").get_by_text("(hidden)").first).to_be_visible()
    page.get_by_label("setting, meaning").fill("lease")
    expect(page.get_by_text("TILTH_SERVER_ADMIN_PASSWORD")).to_have_count(0)
    expect(page.get_by_text("TILTH_SERVER_LEASE_SECONDS")).to_be_visible()
    visitor.check_accessibility()


def test_projects_are_made_and_described(visit, world):
    visitor = visit("/settings/projects")
    page = visitor.page
    page.get_by_role("button", name="Make one").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("farm")
    dialog.get_by_role("button", name="Make the project").click()
    expect(dialog.get_by_role("alert")).to_contain_text("There is a project `farm` already")
    dialog.get_by_label("Name").fill("orchard")
    dialog.get_by_role("button", name="Make the project").click()
    expect(page).to_have_url(re.compile("/p/orchard/overview"))
    page.goto(f"{world.url}/settings/projects")
    page.get_by_role("button", name="describe orchard").click()
    dialog.get_by_label("Description").fill("which trees where")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name="orchard")).to_contain_text("which trees where")
    visitor.check_accessibility()
    assert _found(world, Space, name="orchard")[0].description == "which trees where"


def test_the_own_profile_and_logins_are_changed(visit, world):
    token = world.user("paul", Role.EDITOR)
    world.server.access.issue(_found(world, User, name="paul")[0], Purpose.SESSION, name="phone")
    visitor = visit("/settings/account", token=token)
    page = visitor.page
    page.get_by_label("Full name").fill("Paul P.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Your profile is saved.")).to_be_visible()
    page.get_by_label("The new one").fill("a plum a day")
    page.get_by_label("The same again").fill("a plum a night")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_text("The two differ.")).to_be_visible()
    page.get_by_role("button", name="end phone").click()
    _confirm(page, "End it")
    expect(page.get_by_role("row", name="phone")).to_have_count(0)
    page.get_by_label("The same again").fill("a plum a day")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_text("Your password is changed")).to_be_visible()
    visitor.check_accessibility()
    user = _found(world, User, name="paul")[0]
    assert (user.full_name, bool(user.password)) == ("Paul P.", True)
    assert len([each for each in _found(world, Token, user=user.id) if each.purpose is Purpose.SESSION]) == 1


def test_a_viewer_sees_no_button_that_would_be_refused(visit, world):
    token = world.user("victor", Role.VIEWER)
    for path in ("stacks", "secrets", "members"):
        page = visit(f"/p/farm/{path}", token=token).page
        expect(page.get_by_role("heading", level=1)).to_have_text(path.capitalize())
        expect(
            page.get_by_role("main").get_by_role("table").first.or_(page.get_by_text("No secrets yet"))
        ).to_be_visible()
        words = "Make|Use it|Let go|edit|delete|Set one|Encrypt|Add one|take|settings of"
        offered = page.get_by_role("main").get_by_role("button", name=re.compile(words))
        expect(offered).to_have_count(0)
        expect(page.get_by_role("main").get_by_label("role of")).to_have_count(0)
    page = visit("/settings/account", token=token).page
    expect(page.get_by_role("navigation", name="main").get_by_role("link", name="Users")).to_have_count(0)
    page = visit("/settings/server", token=token).page
    expect(page.get_by_role("alert")).to_contain_text("Only an admin of the server may do this")


@pytest.mark.parametrize(
    "path",
    ["/p/farm/stacks", "/p/farm/secrets", "/p/farm/members", "/settings/account", "/settings/users", "/settings/keys",
     "/settings/projects", "/settings/audit", "/settings/server", "/setup"],
)  # fmt: skip
def test_pages_fit_a_phone(visit, world, path):
    visitor = visit(path, width=390)
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_label("loading", exact=True)).to_have_count(0)
    wider = "document.getElementById('page').scrollWidth - document.getElementById('page').clientWidth"
    assert page.evaluate(wider) <= 0
    visitor.check_accessibility()
