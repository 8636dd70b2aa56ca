"""The table of runs: filters, order, columns and what is done to many; and runs side by side."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tilth.records import Run, State, now
from tilth.records.access import Role
from tilth.records.launching import RunLease

MANY = 330
HOSTILE = "<img src=x onerror=alert(1)>"
FIT = """
from tilth import log_metadata, pipeline, step

@step
def load(rows: int) -> list[int]:
    log_metadata({"rows": rows})
    return list(range(rows))

@step
def fit(rows: list[int], alpha: float) -> float:
    log_metadata({"loss": [1 / (each + alpha) for each in range(1, 9)], "accuracy": 0.5 + alpha, "note": f"a {alpha}"})
    return alpha

@pipeline
def model(alpha: float = 0.1, rows: int = 10):
    fit(load(rows), alpha)
"""


@pytest.fixture(scope="module")
def runs(world):
    """Runs of every state, of two pipelines, made over many days."""
    store = world.server.access.store.within("farm")
    states = [State.COMPLETED, State.COMPLETED, State.FAILED, State.CANCELLED]
    for number in range(MANY):
        began = now() - timedelta(hours=MANY - number)
        store.start_run(
            Run(
                pipeline=["wheat", "barley"][number % 2],
                state=states[number % 4],
                created_at=began,
                started_at=began,
                finished_at=began + timedelta(seconds=number),
                tags=("nightly",) if number % 10 == 0 else (HOSTILE,) if number == MANY - 1 else (),
                stack="cluster" if number % 3 == 0 else "",
                parameters={"depth": number, "text": HOSTILE},
            )
        )
    return store


def names(page):
    return [each.split("\n")[0] for each in page.locator("[role=row] a[title]").all_inner_texts()]


def test_only_the_rows_in_sight_are_drawn_and_all_are_reached(visit, runs):
    page = visit("/p/farm/runs").page
    table = page.get_by_role("table", name="runs")
    expect(table.get_by_role("link", name=f"barley-{MANY // 2}")).to_be_visible()
    scroller = table.locator("..")
    for _ in range(20):
        scroller.evaluate("on => { on.scrollTop = on.scrollHeight }")
        if table.get_by_role("link", name="wheat-1", exact=True).count():
            break
        page.wait_for_timeout(300)
    expect(table.get_by_role("link", name="wheat-1", exact=True)).to_be_visible()
    assert table.get_by_role("row").count() < 80
    expect(page.get_by_text(f"{MANY} runs")).to_be_visible()


def test_filters_are_in_the_address_and_there_after_a_reload(visit, runs):
    visitor = visit("/p/farm/runs")
    page = visitor.page
    page.get_by_role("button", name="State").click()
    page.get_by_role("menuitemcheckbox", name="failed").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Pipeline").click()
    page.get_by_role("menuitemcheckbox", name="wheat").click()
    page.keyboard.press("Escape")
    page.get_by_label("filter by a tag").fill("nightly")
    page.keyboard.press("Enter")
    meant = sum(number % 4 == 2 and number % 10 == 0 for number in range(MANY))
    expect(page.get_by_text(f"{meant} runs", exact=True)).to_be_visible()
    visitor.check_accessibility()
    page.reload()
    expect(page.get_by_text(f"{meant} runs", exact=True)).to_be_visible()
    expect(page.get_by_role("list", name="filters")).to_contain_text("tag nightly")
    page.get_by_role("button", name="Clear").click()
    expect(page).to_have_url(re.compile(r"/runs$"))


def test_a_part_of_a_name_finds_runs_and_what_is_not_there_says_so(visit, runs):
    page = visit("/p/farm/runs").page
    expect(page.get_by_role("link", name="barley-165")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("EY-16")
    expect(page.get_by_text("7 runs", exact=True)).to_be_visible()  # 16 and 160 to 165
    page.get_by_label("Search runs by name").fill("nothing like it")
    expect(page.get_by_text("No run is like that")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.get_by_role("link", name="barley-165")).to_be_visible()


def test_an_address_that_makes_no_sense_shows_all_runs(visit, runs):
    page = visit("/p/farm/runs?state=exploded&sort=colour&since=never&tag=%5B%5D").page
    expect(page.get_by_role("link", name="barley-165")).to_be_visible()


def test_the_longest_come_first_when_asked_for(visit, runs):
    page = visit("/p/farm/runs").page
    expect(page.get_by_role("link", name="barley-165")).to_be_visible()
    page.get_by_role("button", name="Took").click()
    expect(page).to_have_url(re.compile("sort=duration"))
    expect(page.locator("[role=row] a[title]").first).to_have_text("wheat-1")
    page.get_by_role("button", name="Took").click()
    expect(page.locator("[role=row] a[title]").first).to_have_text("barley-165")


def test_columns_that_were_chosen_are_there_next_time(visit, runs):
    visitor = visit("/p/farm/runs")
    page = visitor.page
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("menuitemcheckbox", name="depth").click()
    page.get_by_role("menuitemcheckbox", name="Stack").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("columnheader", name="depth")).to_be_visible()
    page.reload()
    expect(page.get_by_role("columnheader", name="depth")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Stack")).to_have_count(0)
    # Nothing that a run says is more than text.
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert page.evaluate("document.querySelectorAll('main img').length") == 0


def choose(page, *wanted):
    for each in wanted:
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=each, exact=True))
        row.get_by_role("checkbox").check()


def test_many_runs_are_tagged_cancelled_and_deleted(visit, runs):
    made = [runs.start_run(Run(pipeline="oats", state=State.COMPLETED)) for _ in range(3)]
    driven = runs.start_run(Run(pipeline="oats", state=State.RUNNING, started_at=now()))
    lost = runs.start_run(Run(pipeline="oats", state=State.RUNNING, started_at=now()))
    runs.add(RunLease(id=driven.id, holder="a driver", fence=1, expires_at=now() + timedelta(hours=1)))
    visitor = visit('/p/farm/runs?pipeline=["oats"]')
    page = visitor.page
    choose(page, made[0].name, made[1].name)
    expect(page.get_by_text("2 runs chosen")).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("button", name="Tag").click()
    page.get_by_label("tags to add").fill("good, kept")
    page.get_by_role("button", name="Add").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=made[0].name))
    expect(row.get_by_text("kept")).to_be_visible()
    assert runs.get(Run, made[1].id).tags == ("good", "kept")

    choose(page, driven.name, lost.name)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel 2 runs").click()
    expect(page.get_by_text("2 runs told to stop")).to_be_visible()
    assert runs.get(RunLease, driven.id).cancel
    assert runs.get(Run, lost.id).state is State.CANCELLED

    choose(page, made[2].name, driven.name)
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("Artifacts stay")
    dialog.get_by_role("button", name="Delete 2 runs").click()
    # What runs stays, and the page says so.
    expect(page.get_by_text(f"run `{driven.name}` is running")).to_be_visible()
    expect(page.get_by_role("link", name=made[2].name, exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name=driven.name, exact=True)).to_be_visible()


def test_a_viewer_is_offered_to_compare_and_no_changes(visit, runs, world):
    page = visit("/p/farm/runs", token=world.user("vera", Role.VIEWER)).page
    choose(page, "barley-165", "wheat-165")
    expect(page.get_by_role("link", name="Compare")).to_be_visible()
    for name in ("Tag", "Cancel", "Delete"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)


@pytest.fixture(scope="module")
def models(world, runs):
    for alpha in ("0.1", "0.2"):
        world.run(FIT, "--param", f"alpha={alpha}")


def test_runs_are_compared_from_the_table(visit, models):
    visitor = visit("/p/farm/runs?name=model")
    page = visitor.page
    choose(page, "model-1")
    expect(page.get_by_role("button", name="Compare")).to_be_disabled()
    choose(page, "model-2")
    page.get_by_role("link", name="Compare").click()
    expect(page).to_have_url(re.compile("/compare"))
    parameters = page.get_by_role("table", name="parameters")
    expect(parameters.get_by_role("row", name=re.compile("alpha"))).to_contain_text("0.1")
    expect(parameters.get_by_text("rows")).to_have_count(0)  # the same in both
    expect(page.get_by_role("img", name="fit.loss of each run")).to_be_visible()
    expect(page.get_by_role("heading", name="fit.accuracy")).to_be_visible()
    # What a reused step logged is that of the one it was reused from: no difference.
    expect(page.get_by_role("heading", name="load.rows")).to_have_count(0)
    artifacts = page.get_by_role("table", name="artifacts")
    expect(artifacts.get_by_role("row").filter(has_text="model/fit/output")).to_contain_text("version 2")
    expect(artifacts.get_by_text("model/load/output")).to_have_count(0)
    expect(page.get_by_text("the same in all")).to_be_visible()
    visitor.check_accessibility()
    page.get_by_label("only what differs").uncheck()
    expect(parameters.get_by_text("rows")).to_be_visible()
    page.reload()
    expect(parameters.get_by_text("rows")).to_be_visible()


def test_a_comparison_of_too_few_too_many_or_of_runs_that_are_gone_says_what_to_do(visit, models):
    visitor = visit("/p/farm/compare")
    page = visitor.page
    expect(page.get_by_text("Choose two to five runs")).to_be_visible()
    visitor.check_accessibility()
    visitor.go("/p/farm/compare?runs=a-1,b-1,c-1,d-1,e-1,f-1")
    expect(page.get_by_text("6 runs are too many")).to_be_visible()
    visitor.go("/p/farm/compare?runs=model-1,model-2,gone-1")
    expect(page.get_by_role("alert")).to_contain_text("There is no run “gone-1”")
    page.get_by_role("button", name="Take it away").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_label("name of a run to add").fill("barley-1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="the runs")).to_contain_text("barley-1")


def test_environments_that_differ_are_compared_by_package(visit, models, runs):
    from tilth.records import Environment, Package

    def environment(number, *packages):
        made = Environment(
            id=f"sha256:{number:064x}", name="training", python="3.11",
            packages=tuple(Package(name=name, version=version) for name, version in packages),
        )  # fmt: skip
        runs.add(made)
        return {"training": made.id}

    one = environment(1, ("numpy", "1.26.4"), ("six", "1.17.0"))
    two = environment(2, ("numpy", "2.1.0"), ("six", "1.17.0"), ("rich", "14.0"))
    made = [
        runs.start_run(Run(pipeline="rye", state=State.COMPLETED, environments=each)) for each in (one, two)
    ]
    page = visit(f"/p/farm/compare?runs={','.join(each.name for each in made)}").page
    table = page.get_by_role("table", name="environment training")
    expect(table.get_by_role("row", name=re.compile("numpy"))).to_contain_text("1.26.4")
    expect(table.get_by_role("row", name=re.compile("numpy"))).to_contain_text("2.1.0")
    expect(table.get_by_role("row", name=re.compile("rich"))).to_contain_text("14.0")
    expect(table.get_by_text("six")).to_have_count(0)
    expect(page.get_by_text("1 package in common")).to_be_visible()


def test_a_table_whose_server_fails_says_so_and_tries_again(visit, runs):
    visitor = visit()
    body = {"error": {"type": "TilthError", "summary": "the disk is full", "why": "", "mend": "make room"}}
    visitor.page.route(
        "**/run-rows*",
        lambda route: route.fulfill(status=500, content_type="application/json", body=json.dumps(body)),
    )
    page = visitor.go("/p/farm/runs")
    expect(page.get_by_role("alert")).to_contain_text("The disk is full")
    page.unroute("**/run-rows*")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("link", name="barley-165")).to_be_visible()
