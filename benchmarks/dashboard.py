"""Measure the dashboard in headless Chromium, on a server with 100,000 runs.

    python benchmarks/dashboard.py             about three minutes
    python benchmarks/dashboard.py --quick     10,000 runs, smaller graph and log: does it all still run?

The server is started by its own command over SQLite; the graph is that of a real run of 1,000 steps, the log what a
real step printed. Times are the browser's own, from the event that begins something to the frame that shows it; each is
the median of several. The dashboard has no peer here that can be measured: the aims stand beside it. Results go to
`DASHBOARD.md` beside this file.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from playwright.sync_api import BrowserContext, Page, sync_playwright

from server import Serving, fill, home_database, serving, tilth
from tilth.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work" / "dashboard"
ROUNDS = 3
PIPELINE = """
from tilth import pipeline, step

@step
def begin(value: int = 0) -> int:
    return value

@step
def one(value: int, number: int) -> int:
    return value + number

@step
def talk(lines: int) -> int:
    for at in range(lines):
        print(f"step {at} of {lines}: loss {1 / (at + 1):.6f}, \\x1b[32maccuracy\\x1b[0m {at / lines:.4f}")
    return lines

@pipeline
def wide(steps: int = 1000):
    # Layers of ten, each step after one of the layer before.
    layer = [begin()]
    for at in range(steps - 1):
        value = one(layer[at % len(layer)], at)
        layer = [*layer[-9:], value]

@pipeline
def loud(lines: int = 1_000_000):
    talk(lines)
"""
# Begins when something is pressed or opened, ends in the frame after `find` gives something.
SEEN = """
([selector, text]) => new Promise((resolve, reject) => {
  const began = performance.now();
  const look = () => {
    if (performance.now() - began > 120_000) return reject(new Error(`${selector} never said ${text}`));
    const found = [...document.querySelectorAll(selector)].some((each) => each.textContent.includes(text));
    if (found) requestAnimationFrame(() => resolve(performance.now()));
    else requestAnimationFrame(look);
  };
  look();
})
"""
# What the main thread could not do anything else in, and how long each frame took, while `work` scrolls.
SCROLL = """
([selector, seconds]) => new Promise((resolve) => {
  const box = document.querySelector(selector);
  const frames = [];
  const began = performance.now();
  let last = began;
  const turn = (at) => {
    frames.push(at - last);
    last = at;
    const share = (at - began) / (seconds * 1000);
    if (share >= 1) return resolve(frames.slice(2));
    box.scrollTop = (box.scrollHeight - box.clientHeight) * share;
    requestAnimationFrame(turn);
  };
  requestAnimationFrame(turn);
})
"""
LONG_TASKS = """
window.__long = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.__long.push(each.duration);
}).observe({ type: "longtask", buffered: true });
"""


def main() -> int:
    """Fill, run, open, measure, write."""
    parser = argparse.ArgumentParser(description="Measure tilth's dashboard.")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, everything once")
    options, _ = parser.parse_known_args()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    project = Path(tempfile.mkdtemp())  # a path with a `.` is no module's
    (project / "pipeline.py").write_text(PIPELINE)
    (project / "tilth.toml").write_text('project = "default"\n')
    home = WORK / "home"
    quick = options.quick
    fill(SqliteDatabase(home_database(home)), 10_000 if quick else 100_000)
    with serving(home) as server:
        client = WORK / "client"
        tilth(
            client,
            project,
            "login",
            server.url,
            "--api-key",
            given=server.headers["Authorization"][7:] + "\n",
        )
        steps, lines = (200, 50_000) if quick else (1000, 1_000_000)
        tilth(client, project, "run", "pipeline.py:wide", "--param", f"steps={steps}")
        tilth(client, project, "run", "pipeline.py:loud", "--param", f"lines={lines}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            bench = Bench(server, 1 if quick else ROUNDS)
            bench.context = lambda: browser.new_context(viewport={"width": 1280, "height": 800})
            bench.first_load()
            bench.list_to_run()
            bench.graph("wide-1", steps)
            bench.log("loud-1", lines)
            browser.close()
    text = bench.render(quick)
    ((WORK if quick else HERE) / "DASHBOARD.md").write_text(text)
    print(text)
    return 0


class Bench:
    """What was measured, row by row."""

    context: Callable[[], BrowserContext]

    def __init__(self, server: Serving, rounds: int) -> None:
        self.server = server
        self.rounds = rounds
        self.rows: list[tuple[str, str, str, bool]] = []

    def note(self, title: str, figure: str, aim: str, met: bool) -> None:
        """One row of the page."""
        self.rows.append((title, f"{figure} (load {os.getloadavg()[0]:.0f})", aim, met))
        print(f"{title}: {figure} ({aim})", flush=True)

    def open(self) -> Page:
        """A page of a browser that has nothing in its cache."""
        context = self.context()
        token = self.server.headers["Authorization"].removeprefix("Bearer ")
        context.add_cookies([{"name": "tilth_session", "value": token, "url": self.server.url}])
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(LONG_TASKS)
        return page

    def first_load(self) -> None:
        """What comes over the wire, and when the page answers."""
        sizes, times = [], []
        for _ in range(self.rounds):
            page = self.open()
            sent: list[Any] = []
            page.on("response", functools.partial(list.append, sent))
            page.goto(f"{self.server.url}/p/default/overview", wait_until="commit")
            # The page's own heading is there, and a key is answered.
            page.evaluate(SEEN, ["main h1", "Overview"])
            page.keyboard.press("?")
            page.wait_for_selector("[role=dialog]")
            times.append(page.evaluate("performance.now()") / 1000)
            page.wait_for_load_state("networkidle")
            sizes.append(
                sum(
                    each.request.sizes()["responseBodySize"]
                    for each in sent
                    if each.request.resource_type == "script"
                )
            )
            page.context.close()
        size, taken = max(sizes) / 1000, median(times)
        self.note("first load: JavaScript, compressed", f"{size:.0f} kB", "250 kB", size < 250)
        self.note("first load: answers a key", f"{taken:.2f} s", "1.5 s", taken < 1.5)

    def list_to_run(self) -> None:
        """From a click in the list of runs to the run with its steps."""
        times = []
        page = self.open()
        for _ in range(self.rounds + 1):
            page.goto(f"{self.server.url}/p/default/runs")
            link = page.locator("[role=row] a").first
            link.wait_for()
            page.wait_for_load_state("networkidle")
            name = link.text_content() or ""
            link.hover()
            page.evaluate(
                "name => document.addEventListener('click', () => { window.__began = performance.now() }, "
                "{capture: true, once: true})",
                name,
            )
            link.click()
            shown = page.evaluate(SEEN, ["main h1", name])
            times.append(shown - page.evaluate("window.__began"))
        page.context.close()
        taken = median(times[1:] or times)
        self.note("from the list of 100,000 runs to a run", f"{taken:.0f} ms", "300 ms", taken < 300)

    def graph(self, run: str, steps: int) -> None:
        """From opening a run to its graph laid out; the rest of the page goes on meanwhile."""
        times, longest = [], []
        for _ in range(self.rounds):
            page = self.open()
            page.goto(f"{self.server.url}/p/default/runs/{run}?tab=graph")
            page.wait_for_selector("[data-laid-out-ms]", state="attached")
            times.append(float(page.locator("[data-laid-out-ms]").get_attribute("data-laid-out-ms") or "nan"))
            longest.append(max([0.0, *page.evaluate("window.__long")]))
            page.context.close()
        taken = median(times) / 1000
        self.note(
            f"a graph of {steps:,} steps laid out, in a worker",
            f"{taken:.2f} s; longest task of the page {median(longest):.0f} ms",
            "1 s",
            taken < 1,
        )

    def log(self, run: str, lines: int) -> None:
        """Frames while a log is scrolled from its first line to its last within five seconds."""
        page = self.open()
        page.goto(f"{self.server.url}/p/default/runs/{run}?tab=logs&step=talk")
        page.wait_for_selector("[data-log]")
        page.evaluate(SEEN, ["[role=status]", f"{lines:,} lines"])
        page.wait_for_load_state("networkidle")
        slowest, frames = [], []
        for _ in range(self.rounds):
            told = page.evaluate(SCROLL, ["[data-log]", 5])
            slowest.append(max(told))
            frames.append(len(told) / 5)
        page.context.close()
        self.note(
            f"scrolling {lines:,} lines of a log: the slowest frame",
            f"{median(slowest):.0f} ms; {median(frames):.0f} frames per second",
            "50 ms",
            median(slowest) < 50,
        )

    def render(self, quick: bool) -> str:
        """The page of results."""
        about = (
            f"Made by `python benchmarks/dashboard.py{' --quick' if quick else ''}` on "
            f"{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, "
            "headless Chromium beside the server. Each figure is the median of "
            f"{self.rounds} with the machine's load, others' included."
        )
        lines = [
            "# The dashboard: what it takes",
            "",
            about,
            "",
            "| | measured | aim | |",
            "|---|---:|---:|---|",
        ]
        lines += [
            f"| {title} | {figure} | {aim} | {'' if met else 'missed'} |"
            for title, figure, aim, met in self.rows
        ]
        return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
