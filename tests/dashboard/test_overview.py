"""The overview and the pages of pipelines, with real runs."""

from __future__ import annotations

import re
import threading
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tilth.records import Run, State, now
from tilth.records.launching import Schedule

PIPELINE = """
import sys, time
from pathlib import Path
from tilth import pipeline, step

@step
def grow(seeds: int) -> int:
    if seeds < 0:
        raise ValueError("there are <b>no</b> seeds")
    return seeds * 2

@step
def wait(grown: int, until: str) -> int:
    deadline = time.monotonic() + 120
    while until and not Path(until).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return grown

@pipeline
def garden(seeds: int = 3, until: str = ""):
    wait(grow(seeds), until)
"""


@pytest.fixture(scope="module")
def grown(world):
    """A pipeline that completed twice and failed once, and a history of runs."""
    store = world.server.access.store.within("farm")
    for days in range(1, 20):
        began = now() - timedelta(days=days)
        state = State.FAILED if days % 6 == 0 else State.COMPLETED
        store.start_run(
            Run(
                pipeline="harvest",
                state=state,
                created_at=began,
                started_at=began,
                finished_at=began + timedelta(seconds=60 + days),
                parameters={"acres": days, "crop": "rye" if days % 2 else "oats"},
            )
        )
    world.run(PIPELINE)
    world.run(PIPELINE, "--param", "seeds=4")
    world.run(PIPELINE, "--param", "seeds=-1", code=1)
    at = now() + timedelta(hours=5)
    world.server.access.store.add(
        Schedule(project="farm", name="nightly", snapshot="garden", cron="0 3 * * *", next_at=at)
    )
    return world


def test_a_project_without_runs_says_how_to_make_one(visit):
    visitor = visit("/p/default/overview")
    expect(visitor.page.get_by_text("No runs yet")).to_be_visible()
    expect(visitor.page.get_by_text(f"tilth login {visitor.url}")).to_be_visible()
    visitor.check_accessibility()
    page = visitor.go("/p/default/pipelines")
    expect(page.get_by_text("No pipelines yet")).to_be_visible()


def test_the_overview_tells_what_failed_what_is_due_and_how_runs_went(visit, grown):
    visitor = visit("/p/farm/overview?days=30")
    page = visitor.page
    failed = page.locator("section", has=page.get_by_role("heading", name="Failed since yesterday"))
    expect(failed.get_by_role("link", name="garden-3")).to_be_visible()
    # What a step says is text, whatever it looks like.
    expect(failed.get_by_text("there are <b>no</b> seeds")).to_be_visible()
    due = page.locator("section", has=page.get_by_role("heading", name="Scheduled next"))
    expect(due.get_by_text("nightly")).to_be_visible()
    expect(due.get_by_text("in 5 h")).to_be_visible()
    expect(
        page.get_by_role("img", name=re.compile("22 runs in 30 days, 4 failures; 82 % succeeded"))
    ).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("How long"))).to_be_visible()
    visitor.check_accessibility()
    # The time that is looked at is in the address.
    page.get_by_label("time that is looked at").select_option("7")
    expect(page).to_have_url(re.compile("days=7"))
    page.reload()
    expect(page.get_by_label("time that is looked at")).to_have_value("7")
    failed.get_by_role("link", name="all failed runs").click()
    expect(page.get_by_role("row", name=re.compile("garden-3"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("garden-1"))).to_have_count(0)


def test_a_run_shows_up_while_it_runs_and_goes_when_it_is_over(visit, grown, tmp_path):
    until = tmp_path / "ripe"
    page = visit("/p/farm/overview").page
    running = page.locator("section", has=page.get_by_role("heading", name="Running now"))
    expect(running.get_by_text("Nothing runs.")).to_be_visible()
    run = threading.Thread(
        target=grown.run, args=(PIPELINE, "--param", f"until={until}", "--param", "seeds=7")
    )
    run.start()
    try:
        expect(running.get_by_role("link", name=re.compile("garden-"))).to_be_visible()
        expect(running.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "1")
        expect(running.get_by_text("1 of 2 steps")).to_be_visible()
    finally:
        until.touch()
        run.join()
    expect(running.get_by_text("Nothing runs.")).to_be_visible()


def test_pipelines_are_listed_searched_and_opened(visit, grown):
    visitor = visit("/p/farm/pipelines")
    page = visitor.page
    row = page.get_by_role("row", name=re.compile("harvest"))
    expect(row.get_by_text("84 %")).to_be_visible()
    expect(row.get_by_role("img", name="the newest 19 runs, of which 3 failed")).to_be_visible()
    visitor.check_accessibility()
    page.keyboard.press("/")
    page.keyboard.type("gard")
    expect(row).to_have_count(0)
    expect(page).to_have_url(re.compile("name=gard"))
    page.reload()
    expect(row).to_have_count(0)
    page.get_by_role("link", name="garden", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("garden")


def test_a_pipeline_tells_its_parameters_and_runs_over_time(visit, grown):
    visitor = visit("/p/farm/pipelines/harvest")
    page = visitor.page
    expect(page.get_by_role("img", name="acres of each run, the oldest first")).to_be_visible()
    expect(page.get_by_text("rye", exact=True)).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("harvest-19"))).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("button", name="State").click()
    page.get_by_role("menuitemcheckbox", name="failed").click()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("state="))
    expect(page.get_by_text("3 runs", exact=True)).to_be_visible()


def test_a_pipeline_that_is_not_there_is_told_with_what_to_do(visit, grown):
    visitor = visit("/p/farm/pipelines/nothing")
    expect(visitor.page.get_by_role("alert").first).to_contain_text("No run of pipeline `nothing`")
    visitor.check_accessibility()


def test_pages_can_be_read_on_a_phone(visit, grown):
    page = visit(width=390, height=844)
    for path in ("overview", "pipelines", "pipelines/harvest", "runs"):
        page.go(f"/p/farm/{path}")
        expect(page.page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.page.get_by_role("status", name="loading")).to_have_count(0)
        wide = page.page.evaluate("document.querySelector('main').scrollWidth")
        assert wide <= 390, path
