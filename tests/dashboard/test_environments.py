"""Environments of real runs: side by side, from inside, compared, shared, and as files for other tools."""

from __future__ import annotations

import json
import re

import pytest
import tomllib
from playwright.sync_api import expect
from tests.index import build_sdist, build_wheel

SOURCE = """
from tilth import Environment, pipeline, step

LINKS = [{links!r}]
prepare = Environment("prepare", requirements=["alpha==1.0", "shared"], find_links=LINKS)
train = Environment("train", requirements={train!r}, find_links=LINKS, variables={{"THREADS": "2"}})

@step(environment=prepare)
def load() -> int:
    return 1

@step(environment=train)
def fit(value: int) -> int:
    return value

@step(environment=train)
def judge(value: int) -> int:
    return value

@step
def tell(value: int) -> None:
    print(value)

@pipeline
def grow():
    tell(judge(fit(load())))
"""
HOSTILE = "<img src=x onerror=document.title='bitten'>"
ADVISORY = {
    "id": "PYSEC-1",
    "summary": "it answers what it should not",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "shared"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.0"}]}],
        }
    ],
}


@pytest.fixture(scope="module")
def grown(world, tmp_path_factory):
    """Two runs of a pipeline whose environments differ from each other and from run to run; one is checked."""
    index = tmp_path_factory.mktemp("index")
    build_wheel(index, "alpha", "1.0")
    build_wheel(index, "alpha", "2.1", requires=["shared>=1"])
    build_wheel(index, "shared", "1.0", files={"shared/__init__.py": "", "shared/data.bin": bytes(300_000)})
    build_wheel(index, "helper", "1.0")
    build_wheel(index, "loud", "1.0", headers=[f"Summary: {HOSTILE}"])
    build_sdist(index, "made", "0.3", build_requires=["helper"])
    settings = index / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(index))}]\n")
    advisories = index / "osv.json"
    advisories.write_text(json.dumps(ADVISORY))
    env = {
        "UV_CONFIG_FILE": str(settings),
        "UV_CACHE_DIR": str(index / "cache"),
        "UV_OFFLINE": "1",
        "TILTH_ADVISORIES": str(advisories),
    }
    for train in (["alpha==1.0", "loud"], ["alpha==2.1", "loud", "made"]):
        world.run(SOURCE.format(links=str(index), train=train), env=env)
    world.tilth("env", "check", "pipeline.py", env=env, code=None)
    return world


def lane(page, title):
    return page.get_by_role("list", name="kinds of environments").locator(
        "> li", has=page.get_by_role("heading", name=title, level=2)
    )


def test_a_project_without_runs_says_what_to_do(visit, world):
    world.tilth("project", "create", "empty", code=None)
    page = visit("/p/empty/environments").page
    expect(page.get_by_text("No run has been recorded yet")).to_be_visible()
    expect(page.get_by_text("tilth run pipeline.py")).to_be_visible()


def test_the_kinds_of_environments_stand_side_by_side(visit, grown):
    visitor = visit("/p/farm/environments")
    page = visitor.page
    expect(page.get_by_text("grow-2,")).to_be_visible()
    client = lane(page, "Client")
    expect(client.get_by_role("heading", level=3)).to_have_text(["client"])
    expect(client.get_by_text("tell", exact=True)).to_be_visible()
    execution = lane(page, "Execution")
    expect(execution.get_by_role("heading", level=3)).to_have_text(["prepare", "train"])
    train = execution.get_by_role("article").filter(has_text="train")
    for step in ("fit", "judge"):
        expect(train.get_by_text(step, exact=True)).to_be_visible()
    expect(train.get_by_text("vulnerabilit")).to_contain_text("1 vulnerability")
    expect(train.get_by_role("link", name="since grow-1")).to_be_visible()
    expect(lane(page, "Runner and server").get_by_role("heading", level=3)).to_have_text(["this server"])
    builder = lane(page, "Builder")
    expect(builder.get_by_role("heading", level=3)).to_have_text(["build-made"])
    expect(builder.get_by_text("made", exact=True)).to_be_visible()
    visitor.check_accessibility()


def test_versions_that_differ_are_marked(visit, grown):
    page = visit("/p/farm/environments").page
    table = page.get_by_role("table", name="Versions of packages")
    row = table.get_by_role("row", name=re.compile("^alpha"))
    expect(row).to_contain_text("1.0")
    expect(row).to_contain_text("2.1")
    expect(row).to_contain_text("major")
    expect(table.get_by_role("row", name=re.compile("^loud"))).to_have_count(0)
    page.get_by_role("button", name="all (").click()
    expect(page).to_have_url(re.compile("show=all"))
    page.get_by_role("searchbox", name="Search packages").fill("loud")
    expect(table.get_by_role("row", name=re.compile("^loud"))).to_be_visible()
    page.get_by_role("searchbox", name="Search packages").fill("shar")
    expect(page).to_have_url(re.compile("q=shar"))
    expect(table.get_by_role("row", name=re.compile("^loud"))).to_have_count(0)
    page.reload()
    expect(table.get_by_role("row", name=re.compile("^shared"))).to_be_visible()
    page.get_by_role("checkbox", name="prepare").uncheck()
    expect(table.get_by_role("columnheader", name="prepare")).to_have_count(0)


def test_an_older_run_has_its_own(visit, grown):
    page = visit("/p/farm/environments").page
    page.get_by_label("Run", exact=True).select_option(label="grow-1 · completed")
    expect(page).to_have_url(re.compile("run="))
    expect(page.get_by_text("grow-1,")).to_be_visible()
    expect(lane(page, "Builder").get_by_text("nothing had to be built")).to_be_visible()
    page.reload()
    expect(page.get_by_text("grow-1,")).to_be_visible()


def test_an_environment_tells_why_each_package_is_in_it(visit, grown):
    visitor = visit("/p/farm/environments")
    page = visitor.page
    page.get_by_role("heading", name="train", level=3).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("train")
    tree = page.get_by_role("list", name="packages")
    alpha = tree.get_by_role("listitem").filter(has_text="alpha")
    expect(alpha).to_contain_text("requested: alpha==2.1")
    shared = tree.get_by_role("listitem").filter(has_text="shared")
    expect(shared).to_contain_text(">=1")
    expect(shared.get_by_label("has a known vulnerability")).to_be_visible()
    expect(tree.get_by_role("listitem").filter(has_text="made")).to_contain_text("built")
    alpha.get_by_role("button", name="what alpha requires").press("Enter")
    expect(shared).to_have_count(0)
    expect(page.get_by_role("img", name=re.compile("packages by size; the largest: shared"))).to_be_visible()
    expect(page.get_by_text("it answers what it should not")).to_be_visible()
    assert page.title() == "train · tilth"  # a summary is text, whatever is in it
    visitor.check_accessibility()


def test_runs_and_steps_that_share_one_are_listed(visit, grown):
    visitor = visit("/p/farm/environments?pipeline=grow")
    page = visitor.page
    page.get_by_role("heading", name="prepare", level=3).get_by_role("link").click()
    page.get_by_role("tab", name="Used by").click()
    expect(page).to_have_url(re.compile("tab=users"))
    runs = page.get_by_role("listitem").filter(has_text="side by side")
    expect(runs).to_have_count(2)
    expect(runs.first).to_contain_text("grow-2")
    expect(runs.first).to_contain_text("load")
    visitor.check_accessibility()


@pytest.mark.parametrize("form", ["Lock", "Bill of materials"])
def test_lock_and_bill_of_materials_are_downloaded(visit, grown, form):
    page = visit("/p/farm/environments").page
    page.get_by_role("heading", name="train", level=3).get_by_role("link").click()
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as waiting:
        page.get_by_role("menuitem", name=form).click()
    content = waiting.value.path().read_text()
    if form == "Lock":
        assert waiting.value.suggested_filename == "pylock.train.toml"
        assert {each["name"] for each in tomllib.loads(content)["packages"]} >= {"alpha", "shared"}
    else:
        assert waiting.value.suggested_filename == "train.cdx.json"
        purls = {each["ref"]: each.get("dependsOn", []) for each in json.loads(content)["dependencies"]}
        assert purls["pkg:pypi/alpha@2.1"] == ["pkg:pypi/shared@1.0"]


def test_two_are_compared_also_across_runs(visit, grown):
    visitor = visit("/p/farm/environments")
    page = visitor.page
    page.get_by_role("link", name="since grow-1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What differs")
    alpha = page.get_by_role("listitem").filter(has_text="alpha")
    expect(alpha).to_contain_text("1.0")
    expect(alpha).to_contain_text("2.1")
    expect(page.get_by_role("heading", name="2 packages added")).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("button", name="Swap").click()
    expect(page.get_by_role("heading", name="2 packages removed")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="2 packages removed")).to_be_visible()


def test_any_two_of_all_are_compared(visit, grown):
    visitor = visit("/p/farm/environments?tab=all")
    page = visitor.page
    table = page.get_by_role("table", name="Environments")
    expect(table.get_by_role("row").filter(has_text="prepare")).to_be_visible()
    visitor.check_accessibility()
    page.get_by_label("Kind").select_option("builder")
    expect(page).to_have_url(re.compile("role=builder"))
    expect(table.get_by_role("row")).to_have_count(2)
    page.get_by_label("Kind").select_option("")
    for name in ("prepare", "build-made"):
        table.get_by_role("row").filter(has_text=name).get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare two").click()
    expect(page).to_have_url(re.compile(r"environments/diff\?a=.*&b="))
    expect(page.get_by_role("listitem").filter(has_text="helper").first).to_be_visible()


def test_what_is_not_there_is_told_with_what_to_do(visit, grown):
    page = visit("/p/farm/environments/sha256:none").page
    expect(page.get_by_role("alert")).to_contain_text("sha256:none")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page = visit("/p/farm/environments?pipeline=none").page
    expect(page.get_by_role("alert")).to_contain_text("No run of pipeline")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(visit, grown):
    visitor = visit("/p/farm/environments", width=390, height=800)
    page = visitor.page
    expect(lane(page, "Builder").get_by_role("heading", level=3)).to_be_visible()
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 390
    visitor.check_accessibility()
    page.get_by_role("heading", name="train", level=3).get_by_role("link").click()
    expect(page.get_by_role("list", name="packages")).to_be_visible()
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 390
