"""Logs: a million lines that a real step printed, live ones, colours, and what no page may obey."""

from __future__ import annotations

import re
import threading

import pytest
from playwright.sync_api import expect

LINES = 1_000_000
CHATTER = """
import sys
from tilth import pipeline, step

@step
def talk(lines: int) -> int:
    for number in range(lines):
        print(f"line {number}: \\x1b[3{number % 7}mthe quick brown fox\\x1b[0m jumps")
    print("this is told apart", file=sys.stderr)
    return lines

@pipeline
def chatter(lines: int = 3):
    talk(lines)
"""
HOSTILE = """
from tilth import pipeline, step

@step
def shout() -> int:
    print("<img src=x onerror=alert(1)>")
    print("\\x1b]8;;javascript:alert(1)\\x1b\\\\click\\x1b]8;;\\x1b\\\\ \\x1b[2J\\x1b[38;2;1;2;3mclear")
    print("x" * 100_000)
    print(b"\\xff\\xfe".decode("latin-1"))
    return 1

@pipeline
def shouting():
    shout()
"""
LIVE = """
import time
from pathlib import Path
from tilth import pipeline, step

@step
def tell(folder: str) -> int:
    for number in range(200):
        print(f"told {number}", flush=True)
    deadline = time.monotonic() + 120
    while not (Path(folder) / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    print("told at last", flush=True)
    while not (Path(folder) / "end").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return 1

@pipeline
def telling(folder: str):
    tell(folder)
"""


@pytest.fixture(scope="module")
def million(world):
    world.run(CHATTER, "--param", f"lines={LINES}")
    return "/p/farm/runs/chatter-1/logs/talk.1.log"


def log(page):
    return page.locator("[data-log]")


def test_a_million_lines_scroll_and_are_searched_while_the_page_stays_quick(visit, million):
    visitor = visit(million)
    page = visitor.page
    expect(page.get_by_text("1,000,001 lines")).to_be_visible()
    expect(page.locator("[data-line='1']")).to_contain_text("line 0: the quick brown fox jumps")
    assert page.locator("[data-line]").count() < 120

    # Every frame somewhere else, so that each draws new lines. Counted is the time that the page's own thread works:
    # how long frames take depends on what else the machine does.
    session = visitor.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked_s():
        found = session.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in found if each["name"] == "TaskDuration")

    frames, before = 200, worked_s()
    page.evaluate(
        """frames => new Promise(done => {
            const on = document.querySelector("[data-log]");
            let frame = 0;
            const step = () => {
                on.scrollTop = on.scrollHeight * ((frame * 0.618) % 1);
                frame += 1;
                if (frame < frames) requestAnimationFrame(step); else done();
            };
            step();
        })""",
        frames,
    )
    assert (worked_s() - before) / frames < 0.05

    log(page).evaluate("on => { on.scrollTop = on.scrollHeight }")
    expect(page.locator(f"[data-line='{LINES + 1}']")).to_contain_text("this is told apart")
    expect(page.locator(f"[data-line='{LINES + 1}']")).to_have_attribute("data-stream", "stderr")
    visitor.check_accessibility()

    page.keyboard.press("/")
    page.keyboard.type("LINE 765432: the")
    expect(page.get_by_text("1 of 1 line")).to_be_visible()
    expect(page.locator("[data-line='765433'] mark").first).to_be_visible()
    page.get_by_label("Search, or /expression/").fill("/line \\d*99999: /")
    expect(page.get_by_text("1 of 10 lines")).to_be_visible()
    expect(page.locator("mark", has_text="line 99999: ").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 of 10 lines")).to_be_visible()
    expect(page.locator("[data-line='200000'] mark")).to_be_visible()
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_text("1 of 10 lines")).to_be_visible()
    page.get_by_label("Search, or /expression/").fill("/(/")
    expect(page.get_by_role("status").filter(has_text="regular expression")).to_be_visible()


def test_an_address_leads_to_a_line(visit, million):
    page = visit(f"{million}#L500001").page
    line = page.locator("[data-line='500001']")
    expect(line).to_be_in_viewport()
    expect(line).to_contain_text("line 500000:")
    page.get_by_label("link to line 500003").click()
    expect(page).to_have_url(re.compile("#L500003$"))
    page.reload()
    expect(page.locator("[data-line='500003']")).to_be_in_viewport()


def test_a_log_is_downloaded_whole(visit, million):
    page = visit(million).page
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    with open(download.value.path(), "rb") as file:
        assert sum(1 for _ in file) == LINES + 1


def test_colours_are_shown_and_nothing_that_is_printed_is_obeyed(visit, world):
    world.run(HOSTILE, name="shouting.py")
    visitor = visit("/p/farm/runs/shouting-1/logs/shout.1.log")
    page = visitor.page
    expect(page.locator("[data-line='1']")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator("[data-line='2']")).to_contain_text("click clear")
    assert log(page).locator("img, a[href^=javascript]").count() == 0
    assert "#010203" in page.get_by_text("clear", exact=True).evaluate("on => on.style.color")
    expect(page.locator("[data-line='3']")).to_contain_text("cut here")
    page.get_by_label("wrap long lines").click()
    expect(page.locator("[data-line='3']")).to_be_visible()
    assert log(page).evaluate("on => on.scrollWidth <= on.clientWidth")
    visitor.check_accessibility()


def test_a_live_log_is_followed_until_somebody_scrolls_up(visit, world, tmp_path):
    asked = (LIVE, "--param", f"folder={tmp_path}")
    run = threading.Thread(target=world.run, args=asked, kwargs={"name": "telling.py"})
    run.start()
    try:
        page = visit().page
        page.goto(f"{world.url}/p/farm/runs/telling-1/logs/tell.1.log")
        while page.get_by_role("alert").count():  # the run is not there yet
            page.get_by_role("button", name="Try again").first.click()
            page.wait_for_timeout(200)
        expect(page.locator("[data-line='200']")).to_be_in_viewport()
        (tmp_path / "go").touch()
        expect(page.locator("[data-line='201']")).to_contain_text("told at last")
        expect(page.locator("[data-line='201']")).to_be_in_viewport()
        expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "true")
        log(page).hover()
        page.mouse.wheel(0, -9000)
        expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
        expect(page.locator("[data-line='1']")).to_be_visible()
    finally:
        (tmp_path / "go").touch()
        (tmp_path / "end").touch()
        run.join()
    expect(page.get_by_role("button", name="Follow")).to_have_count(0)


def test_a_log_whose_server_is_away_goes_on_when_it_is_back(visit, world):
    world.run(CHATTER.replace("def chatter", "def away"), "--param", "lines=5", name="away.py")
    visitor = visit()
    visitor.page.route("**/api/**/logs/talk.1.log", lambda route: route.abort())
    page = visitor.go("/p/farm/runs/away-1/logs/talk.1.log")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.unroute("**/api/**/logs/talk.1.log")
    expect(page.locator("[data-line='6']")).to_contain_text("told apart")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_log_or_run_that_is_not_there_is_told(visit, world):
    world.run(CHATTER.replace("def chatter", "def there"), "--param", "lines=2", name="there.py")
    visitor = visit("/p/farm/runs/nothing-1/logs/a.1.log")
    expect(visitor.page.get_by_role("alert").first).to_contain_text("There is no run `nothing-1`")
    visitor.go("/p/farm/runs/there-1/logs/other.1.log")
    expect(visitor.page.get_by_role("alert").first).to_be_visible()
