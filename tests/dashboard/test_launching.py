"""Snapshots, schedules and webhooks: forms from a pipeline's parameters, and the real runs that come of them."""

from __future__ import annotations

import re
import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import expect
from tests.server.launching import RunnerInTest

from tilth.records import Snapshot
from tilth.records.access import Role
from tilth.records.launching import Launch, Schedule, Webhook

pytestmark = pytest.mark.dashboard

PIPELINE = """
from typing import Literal
from tilth import pipeline, step

@step
def load(rows: int, source: str) -> list[int]:
    return list(range(rows))

@step
def total(numbers: list[int], alpha: float) -> float:
    return sum(numbers) * alpha

@pipeline
def churn(source: str, rows: int = 3, alpha: float = 0.5, model: Literal["tree", "linear"] = "tree",
          columns: list[str] = ["age", "plan"], dry: bool = False):
    total(load(rows, source), alpha)
"""


@pytest.fixture(scope="module")
def snapshot(world):
    """`nightly:1`, as the command line makes it."""
    (world.project / "pipeline.py").write_text(PIPELINE)
    # What a snapshot is compiled in is locked with it: an interpreter with nothing in it.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", world.project / ".venv"], check=True)
    made = ["--name", "nightly", "--anywhere", "--param", "source=lake"]
    with _runner(world, "first"):
        world.tilth("snapshots", "create", "pipeline.py", *made)
    return world.server.access.store.within("farm").find(Snapshot, name="nightly").items[0]


class _runner:
    """A real runner, while a test needs one."""

    def __init__(self, world, name="runner"):
        self._arguments = (world.url, world.server.token, world.home.parent / name, "--slots", "1")

    def __enter__(self):
        self._runner = RunnerInTest(*self._arguments, TILTH_HOME=str(self._arguments[2] / "home"))

    def __exit__(self, *_):
        self._runner.stop()


def _confirm(page, action):
    """Say yes. Behind the question the page is hidden from whoever asks by roles."""
    page.get_by_role("alertdialog").get_by_role("button", name=action).click()
    expect(page.get_by_role("alertdialog")).to_have_count(0)


def _launches(world, **where):
    return world.server.access.store.find(Launch, project="farm", **where).items


def test_a_run_is_started_by_the_form_and_seen_to_its_end(visit, world, snapshot):
    visitor = visit("/p/farm/snapshots")
    page = visitor.page
    page.get_by_role("link", name="nightly:1").click()
    expect(page.get_by_label("source", exact=True)).to_have_value("lake")
    expect(page.get_by_label("columns", exact=True)).to_have_value('["age","plan"]')
    visitor.check_accessibility()
    page.get_by_label("rows", exact=True).fill("many")
    page.get_by_role("button", name="Start a run").click()
    expect(page.get_by_text("Give a whole number.")).to_be_visible()
    expect(page.get_by_label("rows", exact=True)).to_be_focused()
    assert _launches(world) == ()

    page.get_by_label("rows", exact=True).fill("7")
    page.get_by_label("model", exact=True).select_option("linear")
    page.get_by_label("dry", exact=True).select_option("true")
    expect(page.get_by_text("tilth snapshots run nightly:1 --project farm --param rows=7")).to_be_visible()
    page.get_by_role("button", name="Start a run").click()
    asked = page.get_by_role("list", name="Runs asked for")
    expect(asked).to_contain_text("no run yet")
    (launch,) = _launches(world)
    assert launch.parameters == {"rows": 7, "model": "linear", "dry": True}
    with _runner(world):
        expect(asked.get_by_role("link", name=re.compile(r"churn-\d+"))).to_be_visible()
        expect(asked).to_contain_text("completed", timeout=120_000)


def test_a_run_that_nobody_takes_is_cancelled(visit, world, snapshot):
    page = visit(f"/p/farm/snapshots/{snapshot.id}").page
    page.get_by_role("button", name="Start a run").click()
    page.get_by_role("button", name="Cancel").first.click()
    _confirm(page, "End it")
    expect(page.get_by_role("list", name="Runs asked for")).to_contain_text("cancelled")


def test_the_next_version_has_other_parameters(visit, world, snapshot):
    visitor = visit(f"/p/farm/snapshots/{snapshot.id}")
    page = visitor.page
    page.get_by_role("button", name="New version").click()
    dialog = page.get_by_role("dialog")
    visitor.check_accessibility()
    dialog.get_by_label("alpha", exact=True).fill("0.25")
    dialog.get_by_label("What was run before").select_option("no")
    dialog.get_by_label("Tags").fill("prod, daily")
    dialog.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("nightly:2")
    expect(page.get_by_label("alpha", exact=True)).to_have_value("0.25")
    expect(page.get_by_text("cache=false")).to_be_visible()
    store = world.server.access.store.within("farm")
    made = store.find(Snapshot, name="nightly", version=2).items[0]
    assert made.parameters == {"source": "lake", "alpha": 0.25}
    assert (made.options, made.tags, made.bundle) == ({"cache": False}, ("prod", "daily"), snapshot.bundle)
    page.get_by_role("button", name="Delete").click()
    _confirm(page, "Delete it")
    expect(page).to_have_url(re.compile(r"/p/farm/snapshots$"))
    expect(page.get_by_role("link", name="nightly:2")).to_have_count(0)


def test_a_schedule_shows_its_next_times_while_it_is_written(visit, world, snapshot):
    visitor = visit("/p/farm/schedules")
    page = visitor.page
    expect(page.get_by_text("No schedules yet")).to_be_visible()
    page.get_by_role("link", name="Make one").click()
    times = page.locator("[data-times] li")
    expect(times).to_have_count(5)
    page.get_by_label("Minute, hour, day, month, weekday").fill("30 6 * *")
    expect(page.get_by_text("is no schedule of cron's").first).to_be_visible()
    page.get_by_label("Minute, hour, day, month, weekday").fill("30 6 * * mon")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(times.first).to_contain_text("Mon")
    expect(times.first).to_contain_text("06:30")
    expect(page.get_by_text("By the clock of Europe/Berlin.")).to_be_visible()
    visitor.check_accessibility()
    page.get_by_label("Name").fill("a b")
    page.get_by_role("button", name="Make the schedule").click()
    expect(page.get_by_role("alert")).to_contain_text("`a b` is no name of a schedule")
    page.get_by_label("Name").fill("weekly")
    page.get_by_label("alpha", exact=True).fill("0.75")
    page.get_by_label("While a run of it goes on, the next").select_option("skip")
    page.get_by_role("button", name="Make the schedule").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("weekly")
    schedule = world.server.access.store.find(Schedule, name="weekly").items[0]
    assert (schedule.cron, schedule.timezone, schedule.overlap.value) == (
        "30 6 * * mon",
        "Europe/Berlin",
        "skip",
    )
    assert schedule.parameters == {"alpha": 0.75}

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("list", name="What became of its times")).to_contain_text("by schedule weekly")
    visitor.check_accessibility()

    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("alpha", exact=True)).to_have_value("0.75")
    page.get_by_role("radio", name="every so often").check()
    page.get_by_role("textbox", name="Every").fill("2")
    page.get_by_label("unit of time").select_option("days")
    page.get_by_role("button", name="Undo: take alpha from the snapshot").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("every 2 days")).to_be_visible()
    schedule = world.server.access.store.find(Schedule, name="weekly").items[0]
    assert (schedule.cron, schedule.every_s, schedule.parameters) == ("", 172_800, {})
    page.get_by_role("button", name="Delete").click()
    _confirm(page, "Delete it")
    expect(page.get_by_text("No schedules yet")).to_be_visible()


def test_a_webhook_is_made_and_called_as_its_page_says(visit, world, snapshot):
    visitor = visit("/p/farm/webhooks/new")
    page = visitor.page
    page.get_by_label("Name").fill("deploy")
    page.get_by_role("checkbox", name="rows").check()
    visitor.check_accessibility()
    page.get_by_role("button", name="Make the webhook").click()
    secret = page.locator("[data-secret]").inner_text()
    assert secret.startswith("tilth_hook_")
    visitor.check_accessibility()
    page.get_by_role("link", name="I have it").click()
    expect(page.get_by_text("Nobody has called it yet.")).to_be_visible()
    assert secret not in page.content()

    script = page.locator("pre", has_text="openssl").inner_text()
    called = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": "/usr/bin:/bin", "TILTH_WEBHOOK_SECRET": secret},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"state"' in called.stdout or '"id"' in called.stdout, called
    expect(page.get_by_role("list", name="Its last calls")).to_contain_text("rows=3")
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("checkbox", name="model").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("rows, model")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    hook = world.server.access.store.find(Webhook, name="deploy").items[0]
    assert (hook.allowed, hook.active) == (("rows", "model"), False)
    visitor.check_accessibility()


def test_a_viewer_is_offered_nothing_that_would_be_refused(visit, world, snapshot):
    token = world.user("vera", Role.VIEWER)
    where = f"{world.url}/api/v1/projects/farm"
    with httpx.Client(headers={"Authorization": f"Bearer {world.server.token}"}) as api:
        api.post(f"{where}/schedules", json={"name": "seen", "snapshot": "nightly", "every_s": 3600})
        api.post(f"{where}/webhooks", json={"name": "seen", "snapshot": "nightly"})
    for path, title in (
        ("snapshots", "Snapshots"),
        (f"snapshots/{snapshot.id}", "nightly:1"),
        ("schedules", "Schedules"),
        ("schedules/seen", "seen"),
        ("webhooks", "Webhooks"),
        ("webhooks/seen", "seen"),
    ):
        page = visit(f"/p/farm/{path}", token=token).page
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator("main")).not_to_contain_text("loading")
        for word in ("Make one", "Start a run", "New version", "Delete", "Pause", "Edit", "Run now"):
            expect(page.get_by_role("main").get_by_role("button", name=word)).to_have_count(0)
            expect(page.get_by_role("main").get_by_role("link", name=word)).to_have_count(0)


@pytest.mark.parametrize("path", ["snapshots", "schedules/new", "webhooks/new"])
def test_pages_fit_a_phone(visit, world, snapshot, path):
    page = visit(f"/p/farm/{path}", width=390).page
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("main").get_by_text("nightly").first).to_be_attached()
    wider = "document.getElementById('page').scrollWidth - document.getElementById('page').clientWidth"
    assert page.evaluate(wider) <= 0
