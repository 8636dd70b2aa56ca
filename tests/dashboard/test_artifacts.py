"""Artifacts of real runs: lists, versions, every way to look at what is in them, lineage; and what hostile ones try."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tilth.records import Artifact, ComponentUsed, Run, State, StepRun

pytestmark = pytest.mark.dashboard
PIPELINE = '''
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd

from tilth import CSV, HTML, Artifact, Markdown, log_metadata, pipeline, step

EVIL = """
window.parent.postMessage('x', '*');
const tell = (what, how) => {
  try { document.title += how() ? ' REACHED:' + what : ''; } catch { document.title += ' held:' + what; }
};
const say = text => document.body.append(text);
tell('cookie', () => document.cookie !== undefined && document.cookie.includes('tilth'));
tell('storage', () => localStorage.length >= 0);
tell('parent', () => parent !== window && parent.document.body);
if (parent !== window) tell('top', () => { top.location.href = 'https://evil.example/'; return false; });
fetch('/api/v1/me', {credentials: 'include'}).then(() => say(' REACHED:fetch'), () => say(' held:fetch'));
const picture = new Image();
picture.onerror = () => say(' held:picture');
picture.onload = () => say(' REACHED:picture');
picture.src = '/sprout.svg';
"""
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100" onload="%s">
<script>fetch('https://evil.example/svg'); parent.document.body.innerHTML = 'taken'</script>
<rect width="200" height="100" fill="green"/></svg>""" % "alert(1)"
MARKDOWN = """# <script>window.taken = 1</script>Report

<img src=x onerror="window.taken = 2"> <iframe src="javascript:window.taken=3"></iframe>

[click](javascript:window.taken=4) [here](../../../settings/users) [data](data:text/html,x) [good](https://example.com/)

![picture](https://evil.example/track.png) <https://example.com/auto>
"""


@step
def load(rows: int) -> Annotated[pd.DataFrame, "table"]:
    return pd.DataFrame({
        "age": [20 + i % 50 for i in range(rows)],
        "plan": pd.Categorical([("basic", "plus")[i % 5 == 0] for i in range(rows)]),
        "<b>name</b>": [f"<img src=x onerror=alert({i})>" for i in range(rows)],
    })


@step
def embed(table: pd.DataFrame) -> Annotated[np.ndarray, "points"]:
    return np.arange(len(table) * 2, dtype="float32").reshape(-1, 2) / 8


Model = Annotated[dict[str, Any], Artifact("model", tags=["weekly"])]


@step
def train(table: pd.DataFrame, points: np.ndarray, depth: int) -> Model:
    told = {"accuracy": 0.5 + depth / 10, "loss": 1.0 / depth, "deep": {"auc": 0.6 + depth / 20}}
    log_metadata(told, output="model")
    html = "<script>alert(1)</script>"
    return {"depth": depth, "classes": ("stay", "churn"), "html": html, "weights": list(range(300))}


@step
def report(model: dict[str, Any]) -> tuple[
    Annotated[HTML, "page"],
    Annotated[HTML, "evil"],
    Annotated[Markdown, "text"],
    Annotated[CSV, "csv"],
    Annotated[Path, "files"],
]:
    page = HTML("<p id=p></p><script>document.getElementById('p').textContent = 'drawn by ' + (6 * 7)</script>")
    evil = HTML("<title>t</title><body>evil<script>" + EVIL + "</script>")
    folder = Path("files")
    folder.mkdir(exist_ok=True)
    (folder / "drawing.svg").write_text(SVG)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "<img src=x onerror=alert(1)>.txt").write_text("</pre><script>window.taken = 5</script>")
    return page, evil, Markdown(MARKDOWN), CSV("a,b\\n1,<script>alert(1)</script>\\n"), folder


@step
def words() -> Annotated[list[str], "words"]:
    return [f"word {i}" for i in range(130)]


@step
def measure(word: str) -> Annotated[int, "length"]:
    return len(word)


@pipeline
def farm(depth: int = 1, rows: int = 1000):
    table = load(rows)
    model = train(table, embed(table), depth)
    report(model)
    measure.map(words())
'''
BIG = """
from typing import Annotated, Any

from tilth import pipeline, step


@step
def events(megabytes: int) -> Annotated[list[dict[str, Any]], "events"]:
    text = "x" * 900
    return [{"id": number, "text": text} for number in range(megabytes * 1060)]


@pipeline
def big(megabytes: int):
    events(megabytes)
"""
HERE = "/p/farm/artifacts"


@pytest.fixture(scope="module")
def runs(world):
    """Three runs of one pipeline, of which the second and the third reuse much."""
    for depth in (1, 2, 3):
        ended = world.run(PIPELINE, "--param", f"depth={depth}")
        assert ended.code == 0, ended
    return [f"farm-{number}" for number in (1, 2, 3)]


def at(name, version=1, **search):
    asked = "&".join(f"{key}={quote(value, safe='')}" for key, value in search.items())
    return f"{HERE}/{quote(name, safe='')}/{version}" + (f"?{asked}" if asked else "")


def artifact(world, name, version=1):
    store = world.server.access.store.within(world.name)
    return store.find(Artifact, name=name, version=version).items[0]


def test_a_project_without_artifacts_says_what_to_do(visit, world):
    from tilth.records.access import Space

    world.server.access.store.add(Space(id="bare", name="bare"))
    visitor = visit("/p/bare/artifacts")
    expect(visitor.page.get_by_text("No artifacts yet")).to_be_visible()
    expect(visitor.page.get_by_text("tilth run pipeline.py")).to_be_visible()
    visitor.check_accessibility()


def test_names_are_listed_with_their_newest_versions_and_filtered(visit, runs):
    visitor = visit(HERE)
    page = visitor.page
    table = page.get_by_role("table")
    expect(table.get_by_role("row").filter(has_text="model")).to_contain_text("v3")
    expect(table.get_by_role("row").filter(has_text="load/table")).to_contain_text("v1")
    visitor.check_accessibility()
    page.get_by_role("searchbox", name="search names").fill("REPORT")
    expect(page).to_have_url(re.compile("search=REPORT"))
    expect(table.get_by_role("row")).to_have_count(6)  # with the header
    page.get_by_role("searchbox", name="type").fill("Markdown")
    expect(table.get_by_role("row")).to_have_count(2)
    page.reload()
    expect(table.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("searchbox", name="type")).to_have_value("Markdown")
    page.get_by_role("searchbox", name="search names").fill("nothing of that")
    page.get_by_role("button", name="Show all").click()
    expect(table.get_by_role("row").filter(has_text="words")).to_be_visible()
    page.get_by_role("searchbox", name="tag").fill("weekly")
    expect(table.get_by_role("row")).to_have_count(2)


def test_a_run_s_artifacts_are_those_that_it_made(visit, runs):
    page = visit(f"{HERE}?run=farm-2").page
    table = page.get_by_role("table")
    expect(table.get_by_role("row").filter(has_text="model")).to_contain_text("v2")
    expect(table.get_by_role("row").filter(has_text="load/table")).to_have_count(0)
    page.get_by_role("searchbox", name="run").fill("farm-99")
    expect(page.get_by_role("alert")).to_contain_text("There is no run `farm-99`")


def test_versions_have_their_numbers_in_a_chart(visit, runs):
    visitor = visit(HERE)
    page = visitor.page
    page.get_by_role("link", name="model", exact=True).click()
    expect(page).to_have_url(re.compile(r"/artifacts/model$"))
    expect(page.get_by_role("row").filter(has_text="v2")).to_contain_text("0.7")
    expect(page.get_by_role("img", name="accuracy of model over its versions")).to_be_visible()
    choice = page.get_by_role("group", name="numbers in charts").get_by_role("button", name="loss")
    choice.click()
    expect(page).to_have_url(re.compile(r"keys=accuracy%2C"))
    expect(page.get_by_role("img", name="loss of model over its versions")).to_have_count(0)
    visitor.check_accessibility()
    page.reload()
    expect(choice).to_have_attribute("aria-pressed", "false")
    page.get_by_role("link", name="v2").click()
    expect(page).to_have_url(re.compile(r"/artifacts/model/2$"))


def test_a_frame_is_a_table_with_histograms(visit, runs):
    visitor = visit(at("farm/load/table"))
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("farm/load/table")
    expect(page.get_by_text("1,000 rows, 3 columns")).to_be_visible()
    expect(page.get_by_role("cell", name="<img src=x onerror=alert(0)>")).to_be_visible()
    expect(page.get_by_role("img", name="histogram of age, from 20 to 69")).to_be_visible()
    expect(page.get_by_text("80 %")).to_be_visible()
    page.get_by_role("button", name="last rows").click()
    expect(page.get_by_text(re.compile("rows 901.1,000"))).to_be_visible()
    expect(page.get_by_role("cell", name="<img src=x onerror=alert(999)>")).to_be_visible()
    visitor.check_accessibility()


def test_what_made_it_and_who_uses_it_is_beside_it(visit, runs):
    page = visit(at("farm/load/table")).page
    about = page.get_by_role("complementary", name="about this artifact")
    expect(about.get_by_role("link", name="farm-1/load")).to_have_attribute(
        "href", re.compile("/runs/farm-1.*step=load")
    )
    expect(about.get_by_role("link", name="farm-3/train")).to_be_visible()
    expect(about.get_by_role("listitem").filter(has_text="farm-3/embed")).to_contain_text("cached")
    expect(about.get_by_text("tilth artifacts get farm/load/table@1 .")).to_be_visible()


def test_arrays_values_lists_and_items_are_shown(visit, runs):
    visitor = visit(at("farm/embed/points"))
    page = visitor.page
    expect(page.get_by_role("cell", name="0.125", exact=True)).to_be_visible()
    visitor.go(at("model", 2))
    expect(page.get_by_text("depth:")).to_be_visible()
    page.get_by_role("button", name=re.compile("weights: ")).click()
    page.get_by_role("button", name="200 more").click()
    expect(page.get_by_text("299:")).to_be_visible()
    visitor.check_accessibility()
    visitor.go(at("farm/report/csv"))
    expect(page.get_by_role("cell", name="<script>alert(1)</script>")).to_be_visible()
    for name, shown in (("farm/words/words", '"word 7"'), ("farm/measure/length", "6")):
        visitor.go(at(name))
        expect(page.get_by_role("cell", name=shown, exact=True).first).to_be_visible()
        page.wait_for_function(  # what is at the end comes as one gets there
            """() => { const box = document.querySelector('[role=table]').parentElement;
            box.scrollTop = box.scrollHeight; return box.textContent.includes('129') }"""
        )
    visitor.check_accessibility()


def test_a_page_is_drawn_by_its_own_script(visit, runs):
    visitor = visit(at("farm/report/page"))
    frame = visitor.page.frame_locator("iframe")
    expect(frame.get_by_text("drawn by 42")).to_be_visible()
    visitor.check_accessibility(leave_out=("frame-tested",))


def test_a_hostile_page_reaches_nothing(browser, world, runs, dashboard):
    for path in (
        at("farm/report/evil"),
        f"/api/v1/projects/farm/artifacts/{artifact(world, 'farm/report/evil').id}/files/value.html",
    ):
        context = browser.new_context()
        context.set_default_timeout(60_000)
        context.add_cookies([{"name": "tilth_session", "value": world.server.token, "url": world.url}])
        page = context.new_page()
        asked = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(world.url + path)
        alone = path.startswith("/api")
        body = (page if alone else page.frame_locator("iframe")).locator("body")
        expect(body).to_contain_text("held:fetch")
        expect(body).to_contain_text("held:picture")
        frame = page.main_frame if alone else page.frames[1]
        title = frame.evaluate("document.title")
        assert "REACHED" not in title + body.inner_text()
        assert {"held:cookie", "held:storage"} <= set(title.split())
        assert frame.evaluate("self.origin") == "null"
        assert [each for each in asked if not each.startswith(world.url)] == []
        if not alone:
            assert page.url == world.url + path  # it did not lead the window away
        context.close()


def test_a_framed_page_leads_its_frame_nowhere(browser, world, runs, dashboard):
    context = browser.new_context()
    context.set_default_timeout(60_000)
    context.add_cookies([{"name": "tilth_session", "value": world.server.token, "url": world.url}])
    page = context.new_page()
    refused = []
    page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    page.goto(world.url + at("farm/report/page"))
    expect(page.frame_locator("iframe").get_by_text("drawn by 42")).to_be_visible()
    for number, target in enumerate(("https://evil.example/", f"{world.url}/p/farm/overview"), start=1):
        page.reload()
        expect(page.frame_locator("iframe").get_by_text("drawn by 42")).to_be_visible()
        refused.clear()
        page.frames[1].evaluate("target => { location.href = target }", target)
        deadline = time.monotonic() + 60
        while not refused and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        assert re.search("Content Security Policy|X-Frame-Options|frame-ancestors", refused[0]), number
    context.close()


@pytest.mark.parametrize("name", ["100% <b>bold</b>/a?b#c&d=ü", "日本 %2F %25", 'it\'s "so"\\', "a" * 300])
def test_any_name_has_pages(visit, world, runs, name):
    store = world.server.access.store.within(world.name)
    store.add(Artifact(name=name, digest=f"sha256:{'2' * 64}", metadata={"n": 1, "<b>": 2}))
    store.add(Artifact(name=name, digest=f"sha256:{'2' * 64}", metadata={"n": 2, "<b>": 2}))
    page = visit(f"{HERE}?search={quote(name[:20], safe='')}").page
    page.get_by_role("table").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.get_by_role("table").get_by_role("link", name="v2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_role("complementary", name="about this artifact")).to_contain_text("nobody knows")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.get_by_role("navigation", name="breadcrumb").get_by_role("link", name=name).click()
    expect(page).to_have_url(re.compile(r"/artifacts/[^/]+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_hostile_pictures_text_and_names_are_only_that(visit, world, runs):
    visitor = visit(at("farm/report/files"))
    page = visitor.page
    page.get_by_role("button", name="drawing.svg").click()
    picture = page.get_by_role("img", name=re.compile("drawing.svg"))
    expect(picture).to_be_visible()
    page.wait_for_function("document.querySelector('main img, img').complete")
    assert page.evaluate("document.querySelector('img[alt*=drawing]').naturalWidth") == 200
    page.get_by_role("button", name="broken.png").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be shown")
    page.get_by_role("button", name="<img src=x onerror=alert(1)>.txt").click()
    expect(page.get_by_text("</pre><script>window.taken = 5</script>")).to_be_visible()
    visitor.check_accessibility()
    # By itself, SVG has no script either.
    one = artifact(world, "farm/report/files")
    answer = visitor.context.request.get(
        f"{world.url}/api/v1/projects/farm/artifacts/{one.id}/files/content/files/drawing.svg"
    )
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


def test_markdown_runs_nothing_and_leads_nowhere_it_should_not(visit, runs):
    visitor = visit(at("farm/report/text"))
    page = visitor.page
    expect(page.get_by_role("link", name="good")).to_have_attribute("rel", "noopener noreferrer nofollow")
    links = page.get_by_role("tabpanel").get_by_role("link")
    assert sorted(links.evaluate_all("all => all.map(each => each.getAttribute('href'))")) == [
        "https://evil.example/track.png",
        "https://example.com/",
        "https://example.com/auto",
    ]
    expect(page.get_by_text("<script>window.taken = 1</script>")).to_be_visible()
    assert page.evaluate("[window.taken, document.querySelectorAll('main img, main iframe').length]") == [
        None,
        0,
    ]
    visitor.check_accessibility()


def test_all_files_are_listed_and_downloaded(visit, world, runs):
    visitor = visit(at("farm/report/files", tab="files"))
    page = visitor.page
    expect(page.get_by_role("row").filter(has_text="broken.png")).to_contain_text("10 B")
    visitor.check_accessibility()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "farm-report-files-1.zip"
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert "content/files/drawing.svg" in archive.namelist()
    page.get_by_role("link", name=re.compile("drawing.svg")).first.click()
    expect(page.get_by_role("img", name=re.compile("drawing.svg"))).to_be_visible()


def test_lineage_is_walked_both_ways(visit, runs):
    visitor = visit(at("model", 2, tab="lineage"))
    page = visitor.page
    graph = page.get_by_role("tabpanel")
    expect(graph.get_by_role("link", name=re.compile("^table"))).to_be_visible()
    expect(graph.get_by_role("link", name=re.compile("^embed"))).to_be_visible()
    expect(graph.get_by_role("link", name=re.compile("^report"))).to_be_visible()
    expect(graph.get_by_text("v2").first).to_be_visible()
    visitor.check_accessibility()
    graph.get_by_role("link", name=re.compile("^table")).press("Enter")  # it may be out of sight
    expect(page).to_have_url(re.compile(r"farm%2Fload%2Ftable/1\?tab=lineage"))
    expect(graph.get_by_role("link", name=re.compile("^train")).first).to_be_visible()
    graph.get_by_role("combobox", name="steps each way").select_option("1")
    expect(page).to_have_url(re.compile("depth=1"))
    expect(graph.get_by_role("link", name=re.compile("^csv"))).to_have_count(0)


def test_what_is_not_here_says_where_it_is(visit, world):
    store = world.server.access.store.within(world.name)
    used = ComponentUsed(flavor="s3", settings={"bucket": "harvest", "prefix": "2026"})
    run = store.start_run(Run(pipeline="away", state=State.COMPLETED, artifact_store=used))
    step = StepRun(run=run.id, step="s", pipeline="away", state=State.COMPLETED)
    store.add(step)
    one = Artifact(
        name="away", digest=f"sha256:{'1' * 64}", run=run.id, step_run=step.id, step="s", type="builtins:dict"
    )
    store.add(one)
    visitor = visit(at("away"))
    expect(visitor.page.get_by_text("They are in s3://harvest/2026.")).to_be_visible()
    expect(visitor.page.get_by_text("tilth artifacts get away@1 .").first).to_be_visible()
    visitor.check_accessibility()


def test_what_is_broken_or_gone_says_so(visit, world, runs):
    one = artifact(world, "farm/embed/points")
    name = one.digest.removeprefix("sha256:")
    folder = next(world.server.access.data.glob(f"*/objects/artifacts/*/{name}"))
    content = (folder / "value.npy").read_bytes()
    (folder / "value.npy").write_bytes(content[:100])
    try:
        visitor = visit(at("farm/embed/points"))
        alert = visitor.page.get_by_role("alert")
        expect(alert).to_contain_text("This artifact is broken")
        expect(alert).to_contain_text("`value.npy`: has 100 bytes instead of")
        visitor.check_accessibility()
    finally:
        (folder / "value.npy").write_bytes(content)
    page = visit(at("model", 99)).page
    expect(page.get_by_role("alert")).to_contain_text("There is no artifact `model@99`")
    page = visit(f"{HERE}/nothing").page
    expect(page.get_by_text("No artifact is called nothing")).to_be_visible()


def test_a_phone_reads_it(visit, runs):
    visitor = visit(at("farm/load/table"), width=390)
    page = visitor.page
    expect(page.get_by_text("1,000 rows, 3 columns")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visitor.check_accessibility()
    for path in (HERE, f"{HERE}/model", at("model", 2, tab="lineage")):
        visitor.go(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


@pytest.mark.slow
def test_a_hundred_megabytes_of_json_are_shown_in_part(visit, world):
    ended = world.run(BIG, "--param", "megabytes=100", name="big.py", timeout=600)
    assert ended.code == 0, ended
    assert artifact(world, "big/events/events").size > 97_000_000
    visitor = visit()
    received = []
    visitor.page.on("response", lambda answer: received.append(int(answer.headers.get("content-length", 0))))
    page = visitor.go(at("big/events/events"))
    expect(page.get_by_role("note")).to_contain_text(re.compile(r"The first 256 kB of \d+ MB are shown"))
    page.get_by_role("button", name=re.compile("^3: ")).click()
    expect(page.get_by_text("id: 3", exact=True)).to_be_visible()
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("note")).to_contain_text("The first 1.0 MB")
    assert max(received) < 2_000_000
    visitor.check_accessibility()
    json.dumps(received)
