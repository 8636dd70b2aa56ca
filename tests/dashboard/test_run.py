"""The page of a run: its graph, timeline, steps and what can be done with it, with runs that are real."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect
from tests.conftest import TILTH

from tilth.ir.values import canonical
from tilth.records import Run, Snapshot, State, StepRun, now
from tilth.records.access import Role
from tilth.store import Delete
from tilth.store.http import HttpStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
PIPELINE = '''
"""A small pipeline."""

from tilth import log_metadata, pipeline, step


@step
def load(count: int) -> list[int]:
    print("loading", count)
    return list(range(count))


@step
def square(number: int) -> int:
    if number == LIMIT:
        raise ValueError(f"{number} is {HOSTILE}")
    return number * number


@step
def total(numbers: list[int]) -> int:
    log_metadata({"numbers": len(numbers), "from": HOSTILE})
    log_metadata({"accuracy": 0.5}, run=True)
    return sum(numbers)


@pipeline
def sums(count: int = 30):
    total(square.map(load(count)))


HOSTILE = %r
LIMIT = %d
'''
WAITING = '''
"""Goes on when files are there."""

import time
from pathlib import Path

from tilth import pipeline, step


@step(cache=False)
def first() -> int:
    while not Path("first").exists():
        time.sleep(0.05)
    return 1


@step(cache=False)
def item(number: int) -> int:
    while number and not Path("items").exists():
        time.sleep(0.05)
    return number


@step(cache=False)
def last(one: int, numbers: list[int]) -> int:
    while not Path("last").exists():
        time.sleep(0.05)
    return one + sum(numbers)


@pipeline
def waits():
    last(first(), item.map([0, 1, 2]))
'''


@pytest.fixture(scope="module")
def runs(world):
    """`sums-1` completed, `sums-2` reused it, `sums-3` failed."""
    for limit, code in ((-1, 0), (-1, 0), (7, 1)):
        world.run(PIPELINE % (HOSTILE, limit), name="sums.py", code=code)
    return world


@pytest.fixture
def store(world) -> Iterator[HttpStore]:
    with HttpStore(world.url, world.server.token, world.name) as store:
        yield store


class Waiting:
    """A run that goes on, whose steps wait for files."""

    def __init__(self, world, process: subprocess.Popen, name: str) -> None:
        self.process, self.name, self._folder = process, name, world.project

    def let(self, *names: str) -> None:
        for name in names:
            (self._folder / name).touch()


@pytest.fixture
def waiting(world, store, tmp_path: Path) -> Iterator[Waiting]:
    for name in ("first", "items", "last"):
        (world.project / name).unlink(missing_ok=True)
    (world.project / "waits.py").write_text(WAITING)
    env = {
        **os.environ,
        "TILTH_HOME": str(world.home),
        "TILTH_SERVER_URL": world.url,
        "TILTH_API_KEY": world.server.token,
    }
    before = {each.id for each in store.find(Run, pipeline="waits", limit=100)}
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [str(TILTH), "run", "waits.py", "--workers", "4"],
            cwd=world.project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 300
            while not (
                new := [r for r in store.find(Run, pipeline="waits", limit=100) if r.id not in before]
            ):
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield Waiting(world, process, new[0].name)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def node(page: Page, step: str):
    return page.locator(f"[data-step='{step}']")


def tab(page: Page, name: str):
    return page.get_by_role("tab", name=re.compile(f"^{name}"))


def test_the_graph_shows_each_step_and_folds_the_items_of_a_mapped_one(visit, runs):
    visitor = visit("/p/farm/runs/sums-1")
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("sums-1")
    expect(node(page, "load")).to_contain_text("completed")
    expect(node(page, "square")).to_contain_text("30 items")
    assert page.locator("[data-step]").count() == 3
    assert page.locator(".react-flow__edge").count() == 2
    node(page, "square").click()
    expect(page).to_have_url(re.compile(r"step=square"))
    items = page.get_by_role("table", name="items of square")
    expect(items.get_by_role("button", name="12", exact=True)).to_be_attached()
    visitor.check_accessibility()
    items.get_by_role("button", name="3", exact=True).click()
    expect(page).to_have_url(re.compile(r"item=3"))
    expect(page.get_by_role("heading", name="square[3]")).to_be_visible()
    expect(page.get_by_text("tilth env checkout 'sums-1/square[3]' sums-1-square-3")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="square[3]")).to_be_visible()
    page.get_by_role("button", name="All items").click()
    page.get_by_role("button", name="close the details").click()
    expect(page).not_to_have_url(re.compile("step="))


def test_the_graph_is_walked_by_arrows(visit, runs):
    page = visit("/p/farm/runs/sums-1").page
    node(page, "load").focus()
    page.keyboard.press("ArrowRight")
    expect(node(page, "square")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(node(page, "total")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="step total")).to_be_visible()


def test_a_step_tells_its_inputs_outputs_environment_metadata_and_source(visit, runs):
    page = visit("/p/farm/runs/sums-1?step=total").page
    details = page.get_by_role("region", name="step total")
    expect(details.get_by_text("it has not run before")).to_be_visible()
    link = details.get_by_role("link", name="sums/total/output v1")
    expect(link).to_have_attribute("href", "/p/farm/artifacts/sums%2Ftotal%2Foutput/1")
    expect(details.get_by_role("link", name=re.compile("the client"))).to_have_attribute(
        "href", re.compile("/p/farm/environments/sha256")
    )
    expect(details.get_by_text(json.dumps(HOSTILE))).to_be_visible()
    expect(details.get_by_text("def total(numbers: list[int]) -> int:")).to_be_visible()
    expect(details.get_by_text("def load")).to_have_count(0)
    details.get_by_role("button", name="The whole module").click()
    expect(details.get_by_text("def load(count: int)")).to_be_visible()
    assert page.title().startswith("sums-1")


def test_a_reused_step_says_from_where_and_a_new_one_why(visit, runs):
    page = visit("/p/farm/runs/sums-2?step=total").page
    expect(node(page, "square")).to_contain_text("30 items reused")
    details = page.get_by_role("region", name="step total")
    expect(details.get_by_text("same code, inputs and environment")).to_be_visible()
    expect(details.get_by_role("link", name="sums-1")).to_be_visible()
    details.get_by_role("button", name=re.compile("Show all")).click()
    expect(details.get_by_role("list", name="what the outputs depend on")).to_contain_text("source sums")

    page = visit("/p/farm/runs/sums-3?step=load").page
    details = page.get_by_role("region", name="step load")
    expect(details.get_by_text(re.compile("^Ran: source sums changed"))).to_be_visible()
    parts = details.get_by_role("list", name="what the outputs depend on")
    expect(parts.get_by_role("listitem")).to_have_count(1)
    expect(parts).to_contain_text("changed")


def test_a_failure_shows_its_traceback_and_how_to_have_it_here(visit, runs):
    visitor = visit("/p/farm/runs/sums-3")
    page = visitor.page
    expect(page.get_by_role("alert")).to_contain_text("ValueError")
    visitor.check_accessibility()
    page.get_by_role("button", name="Show square").click()
    failure = page.get_by_role("region", name="failure")
    expect(failure).to_contain_text("Traceback (most recent call last)")
    expect(failure).to_contain_text(HOSTILE)
    page.get_by_label("state of the items").select_option("failed")
    items = page.get_by_role("table", name="items of square")
    expect(items.get_by_role("row")).to_have_count(2)
    items.get_by_role("button", name="7").click()
    expect(page.get_by_text("tilth runs rerun 'sums-3/square[7]' --debug")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    dialog = page.get_by_role("dialog", name="Resume sums-3")
    expect(dialog.get_by_text("tilth runs resume sums-3")).to_be_visible()
    visitor.check_accessibility()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Rerun").click()
    expect(page.get_by_role("dialog").get_by_text("tilth runs rerun sums-3 --no-cache")).to_be_visible()
    assert page.title().startswith("sums-3")


def test_the_other_views_are_there_by_their_addresses(visit, runs):
    visitor = visit("/p/farm/runs/sums-3?tab=timeline")
    page = visitor.page
    timeline = page.get_by_role("list", name="timeline of the steps")
    expect(timeline.get_by_role("listitem")).to_have_count(2)
    expect(timeline).to_contain_text("running")
    expect(page.get_by_text("1 step more has not begun")).to_be_visible()
    visitor.check_accessibility()
    timeline.get_by_role("button", name="load").click()
    expect(page.get_by_role("region", name="step load")).to_be_visible()

    tab(page, "Steps").click()
    table = page.get_by_role("table", name="steps")
    expect(table.get_by_role("row")).to_have_count(4)
    page.get_by_label("state", exact=True).select_option("skipped")
    expect(page).to_have_url(re.compile("state=skipped"))
    expect(table.get_by_role("row")).to_have_count(2)
    page.get_by_role("button", name="close the details").click()
    visitor.check_accessibility()

    tab(page, "Environments").click()
    expect(page.get_by_role("link", name="client", exact=True)).to_be_visible()
    visitor.check_accessibility()
    tab(page, "Details").click()
    expect(page.get_by_text("count", exact=True)).to_be_visible()
    expect(page.get_by_text("30", exact=True)).to_be_visible()
    visitor.check_accessibility()
    tab(page, "Logs").click()
    expect(page.get_by_text("loading 30")).to_be_visible()


def test_steps_are_seen_as_they_go_on_and_the_run_is_cancelled(visit, waiting, world):
    visitor = visit(f"/p/farm/runs/{waiting.name}")
    page = visitor.page
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(node(page, "first")).to_contain_text("running")
    expect(node(page, "last")).to_contain_text("queued")
    expect(node(page, "item")).to_contain_text("1 of 3 items")
    page.evaluate("() => { window.same = true }")
    waiting.let("items")
    expect(node(page, "item")).to_contain_text("3 items")
    expect(node(page, "item")).to_contain_text("completed")
    waiting.let("first")
    expect(node(page, "first")).to_contain_text("completed")
    expect(node(page, "last")).to_contain_text("running")
    tab(page, "Timeline").click()
    expect(page.get_by_role("list", name="timeline of the steps").get_by_role("listitem")).to_have_count(3)

    watcher = visit(f"/p/farm/runs/{waiting.name}", token=world.user("looks", Role.VIEWER)).page
    expect(node(watcher, "last")).to_contain_text("running")
    expect(watcher.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)

    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    heading = page.get_by_role("banner").or_(page.locator("main header")).first
    expect(heading.get_by_text("cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    assert page.evaluate("() => window.same")
    waiting.process.wait(300)


def test_a_run_that_is_deleted_while_it_is_open_stays_in_sight(visit, waiting, store):
    page = visit(f"/p/farm/runs/{waiting.name}").page
    expect(node(page, "first")).to_contain_text("running")
    run = store.find(Run, name=waiting.name, limit=1).items[0]
    os.killpg(waiting.process.pid, signal.SIGKILL)
    waiting.process.wait()
    steps = store.find(StepRun, run=run.id, limit=100)
    store.write([*(Delete(StepRun, each.id) for each in steps), Delete(Run, run.id)])
    expect(page.get_by_role("alert")).to_contain_text("deleted while it was open")
    expect(node(page, "first")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    page.reload()
    expect(page.get_by_text(f"There is no run {waiting.name}")).to_be_visible()


def test_a_server_that_was_away_is_heard_again(visit, waiting):
    visitor = visit()
    page = visitor.page
    # Each stream of events ends after its first: as when a server is stopped, or a proxy gives up.
    page.add_init_script(
        """
        const Real = window.EventSource;
        window.sources = [];
        window.EventSource = class extends Real {
          constructor(...given) { super(...given); window.sources.push(this); }
        };
        """
    )
    visitor.go(f"/p/farm/runs/{waiting.name}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    away = re.compile(r"/(api|health)\b")
    page.route(away, lambda route: route.abort())
    page.evaluate(
        "() => { const last = window.sources.at(-1); last.close(); last.onerror(new Event('error')); }"
    )
    expect(page.get_by_text("not live, connecting again")).to_be_visible()
    expect(page.get_by_text("The server does not answer")).to_be_visible()
    waiting.let("first", "items")
    page.unroute(away)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(node(page, "first")).to_contain_text("completed")
    expect(page.get_by_text("The server does not answer")).to_have_count(0)


def test_a_run_whose_driver_was_killed_is_interrupted(visit, store):
    run = store.start_run(Run(pipeline="killed", started_at=now()))
    page = visit(f"/p/farm/runs/{run.name}").page
    expect(page.get_by_text("interrupted", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(f"tilth runs resume {run.name}")).to_be_visible()


def test_a_run_of_a_snapshot_is_asked_for_again(visit, store, world):
    snapshot = store.add(Snapshot(name="nightly", pipeline="p", file="p.py", signature={}))[0]
    run = store.start_run(Run(pipeline="p", snapshot=snapshot.id, state=State.COMPLETED, finished_at=now()))
    page = visit(f"/p/farm/runs/{run.name}").page
    page.get_by_role("button", name="Rerun").click()
    page.get_by_role("button", name="Run it again on a runner").click()
    expect(page.get_by_text("It waits for a runner.")).to_be_visible()
    page = visit(f"/p/farm/runs/{run.name}", token=world.user("only-looks", Role.VIEWER)).page
    page.get_by_role("button", name="Rerun").click()
    expect(page.get_by_text(f"tilth runs rerun {run.name}").first).to_be_visible()
    expect(page.get_by_role("button", name="Run it again on a runner")).to_have_count(0)


def large(store: HttpStore, functions: int, count: int) -> Run:
    """A run of a compiled pipeline of chains, as a client would have sent it; nothing of it has begun."""
    nodes = []
    for at in range(count):
        name = f"s{at}"
        before = {"x": {"$output": [f"s{at - 1}", "output"]}} if at % 20 else {}
        nodes.append(
            {
                "id": name, "function": f"m:f{at % functions}", "inputs": before,
                "outputs": [{"name": "output", "tags": []}], "map": [], "after": [], "tags": [],
            }
        )  # fmt: skip
    text = canonical({"version": 1, "name": "large", "function": "m:large", "nodes": nodes})
    digest = hashlib.sha256(text).hexdigest()
    path = (
        f"/projects/{store.project}/objects/pipelines/{digest}.json?digest=sha256:{digest}&size={len(text)}"
    )
    store.api.request("PUT", path, text)
    return store.start_run(Run(pipeline="large", pipeline_digest=f"sha256:{digest}", state=State.FAILED))


def test_a_thousand_steps_are_laid_out_while_the_page_answers(visit, store):
    run = large(store, 1000, 1000)
    page = visit(f"/p/farm/runs/{run.name}").page
    page.locator("[data-laid-out-ms]").wait_for(state="attached")
    graph = page.locator("[data-drawn]")
    expect(graph).to_have_attribute("data-drawn", "1000")
    expect(node(page, "s0")).to_be_visible()
    # Of what is not in sight nothing is drawn.
    assert page.locator("[data-step]").count() < 300
    page.get_by_role("button", name="zoom out").click()
    node(page, "s0").click()
    expect(page.get_by_role("region", name="step s0")).to_be_visible()


def test_of_ten_thousand_steps_a_part_is_drawn_and_the_rest_is_said(visit, store):
    run = large(store, 10_000, 10_000)
    page = visit(f"/p/farm/runs/{run.name}").page
    expect(page.get_by_text("10,000 steps are too many to draw")).to_contain_text(
        "8,500 nodes more are left out"
    )
    page.locator("[data-laid-out-ms]").wait_for(state="attached")
    expect(page.locator("[data-drawn]")).to_have_attribute("data-drawn", "1500")
    tab(page, "Steps").click()
    page.get_by_label("find a step").fill("s9876")
    page.get_by_role("table", name="steps").get_by_role("button", name="s9876").click()
    tab(page, "Graph").click()
    expect(node(page, "s9876")).to_have_attribute("aria-pressed", "true")

    folded = large(store, 20, 10_000)
    page = visit(f"/p/farm/runs/{folded.name}").page
    expect(page.locator("[data-drawn]")).to_have_attribute("data-drawn", "20")
    page.get_by_role("button", name=re.compile("500 steps alike")).first.click()
    alike = page.get_by_role("region", name="steps that are alike")
    expect(alike.get_by_role("button", name="s20", exact=True)).to_be_visible()
    page.get_by_label(re.compile("Fold steps that are alike")).uncheck()
    expect(page.get_by_text("10,000 steps are too many to draw")).to_be_visible()


def test_it_is_read_on_a_phone(visit, runs):
    visitor = visit("/p/farm/runs/sums-3", width=390, height=844)
    page = visitor.page
    expect(page.get_by_role("button", name="Show square")).to_be_visible()
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 390
    page.get_by_role("button", name="Show square").click()
    details = page.get_by_role("dialog")
    expect(details.get_by_role("region", name="failure")).to_be_visible()
    visitor.check_accessibility()
    page.keyboard.press("Escape")
    expect(details).to_have_count(0)
    tab(page, "Timeline").click()
    expect(page.get_by_role("list", name="timeline of the steps")).to_be_visible()
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 390


def test_names_of_nothing_are_told(visit, runs):
    page = visit("/p/farm/runs/nothing-1").page
    expect(page.get_by_text("There is no run nothing-1")).to_be_visible()
    page = visit("/p/farm/runs/sums-1?step=nothing&tab=wrong&item=-3").page
    expect(page.get_by_text("This run has no such step")).to_be_visible()
    page = visit("/p/farm/runs/sums-1?step=square&item=99").page
    expect(page.get_by_role("heading", name="square[99]")).to_be_visible()
    page = visit("/p/farm/runs/sums-1?tab=logs&log=nothing.1.log").page
    expect(page.get_by_text("there is no log", exact=False).first).to_be_visible()
