"""Builds of real images into a real registry: their list, layers, and logs as they grow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest
from playwright.sync_api import expect
from tests.conftest import TILTH
from tests.index import build_wheel
from tests.services import own_name

from tilth.records import Build, State
from tilth.server.api import builds

pytestmark = pytest.mark.registry

SOURCE = """
from tilth import Environment, pipeline, step

LINKS = [{links!r}]
small = Environment("small", requirements=["alpha"], base_image={base!r}, find_links=LINKS)
large = Environment("large", requirements=["alpha", "roomy"], base_image={base!r}, find_links=LINKS)

@step(environment=small)
def one() -> int:
    return 1

@step(environment=large)
def two(value: int) -> int:
    return value

@pipeline
def pack():
    two(one())
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    index = tmp_path_factory.mktemp("index")
    build_wheel(index, "alpha", "1.0")
    build_wheel(
        index, "roomy", "1.0", files={"roomy/__init__.py": "", "roomy/data.bin": os.urandom(2_000_000)}
    )
    config = index / "uv.toml"
    config.write_text(f"no-index = true\nfind-links = [{json.dumps(str(index))}]\n")
    env = {"UV_CONFIG_FILE": str(config), "UV_CACHE_DIR": str(index / "cache"), "UV_OFFLINE": "1"}
    return index, env


@pytest.fixture(scope="module")
def packed(world, settings, base_images, registry_plain):
    """Two images that share their base and a package."""
    index, env = settings
    source = SOURCE.format(links=str(index), base=base_images.registry["3.11"])
    (world.project / "pipeline.py").write_text(source)
    place = f"{registry_plain.host}/{registry_plain.prefix}/{own_name()}"
    world.tilth("build", "pipeline.py", "--registry", place, env=env)
    return world


def records(world):
    return {each.name: each for each in world.server.access.store.within("farm").find(Build)}


def test_a_project_without_builds_says_what_to_do(visit, world):
    world.tilth("project", "create", "bare", code=None)
    page = visit("/p/bare/builds").page
    expect(page.get_by_text("No image has been built yet")).to_be_visible()
    expect(page.get_by_text("tilth build pipeline.py --registry")).to_be_visible()


def test_builds_are_listed_with_the_bytes_that_they_made_sent_and_reused(visit, packed):
    visitor = visit("/p/farm/builds")
    page = visitor.page
    table = page.get_by_role("table", name="Builds")
    large = table.get_by_role("row").filter(has_text="large")
    expect(large).to_contain_text("built")
    expect(large).to_contain_text(" MB")
    expect(large.get_by_role("img", name=re.compile("sent, .* reused"))).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("searchbox", name="Environment, in full").fill("small")
    expect(page).to_have_url(re.compile("name=small"))
    expect(large).to_have_count(0)
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_text("No build is like this")).to_be_visible()


def test_a_build_shows_its_log_layers_and_where_the_time_went(visit, packed):
    visitor = visit(f"/p/farm/builds/{records(packed)['large'].id}")
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Image of large")
    log = page.get_by_role("log", name="build log")
    expect(log).to_contain_text("building, as there is none of this environment yet")
    expect(log).to_contain_text("layer `roomy 1.0`: made, ")
    expect(log).to_contain_text("built in")
    layers = page.get_by_role("listitem")
    expect(layers.filter(has_text="alpha 1.0").get_by_role("link", name="small")).to_be_visible()
    expect(layers.filter(has_text="roomy 1.0")).to_contain_text("in no other image")
    expect(page.get_by_role("heading", name="Where the time went")).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("searchbox", name="search the log").fill("roomy")
    expect(log).not_to_contain_text("built in")


def test_the_image_of_an_environment_is_drawn_with_what_is_shared(visit, packed):
    page = visit(f"/p/farm/environments/{records(packed)['large'].environment}?tab=image").page
    expect(page.get_by_role("img", name="layers, to scale")).to_be_visible()
    expect(page.get_by_text("shared with 1 other image")).to_be_visible()


def test_a_build_is_told_as_it_goes_on_and_as_lost_when_its_maker_dies(
    visit, packed, settings, broken_registry, monkeypatch
):
    page = visit("/p/farm/builds").page
    expect(page.get_by_role("table", name="Builds")).to_be_visible()
    _, env = settings
    source = (packed.project / "pipeline.py").read_text().replace('["alpha"]', '["alpha", "roomy"]')
    (packed.project / "other.py").write_text(source.replace('"small"', '"stuck"'))
    broken_registry.rule("PUT", "/manifests/", delay_s=1200, times=100)
    logged_in = {
        "TILTH_HOME": str(packed.home),
        "TILTH_SERVER_URL": packed.url,
        "TILTH_API_KEY": packed.server.token,
    }
    place = f"{broken_registry.host}/{own_name()}"
    with subprocess.Popen(
        [str(TILTH), "build", "other.py", "--only", "stuck", "--registry", place],
        cwd=packed.project,
        env={**os.environ, **env, **logged_in},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as making:
        try:
            link = page.get_by_role("table", name="Builds").get_by_role("link", name="stuck")
            link.click()  # it comes by itself
            expect(page.get_by_role("heading", level=1)).to_have_text("Image of stuck")
            expect(page.get_by_role("log", name="build log")).to_contain_text("layer `roomy 1.0`")
            expect(page.get_by_text("live", exact=True)).to_be_visible()
            expect(page.get_by_text("running", exact=True)).to_be_visible()
        finally:
            making.send_signal(signal.SIGKILL)
    monkeypatch.setattr(builds, "LOST_S", 0)  # as after a minute
    expect(page.get_by_text("Nobody makes this image any more")).to_be_visible()
    expect(page.get_by_text("lost", exact=True)).to_be_visible()
    assert records(packed)["stuck"].state is State.RUNNING


def test_a_build_that_fails_says_why_and_what_to_do(visit, packed, settings, broken_registry):
    _, env = settings
    broken_registry.rule("PUT", "/manifests/", status=403, times=100)
    source = (packed.project / "pipeline.py").read_text().replace('["alpha"]', '["roomy"]')
    (packed.project / "other.py").write_text(source.replace('"small"', '"refused"'))
    place = f"{broken_registry.host}/{own_name()}"
    packed.tilth("build", "other.py", "--only", "refused", "--registry", place, env=env, code=1)
    failed = records(packed)["refused"]
    assert failed.state is State.FAILED
    page = visit(f"/p/farm/builds/{failed.id}").page
    expect(page.get_by_role("alert")).to_contain_text("does not allow the manifest")
    expect(page.get_by_role("log", name="build log")).to_contain_text("layer `roomy 1.0`")


def test_a_build_that_is_gone_is_told(visit, packed):
    page = visit("/p/farm/builds/none").page
    expect(page.get_by_role("alert")).to_contain_text("No build has the id")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_phone_shows_a_build_without_scrolling_sideways(visit, packed):
    visitor = visit(f"/p/farm/builds/{records(packed)['large'].id}", width=390, height=800)
    expect(visitor.page.get_by_role("heading", name=re.compile("layers"))).to_be_visible()
    assert visitor.page.evaluate("document.querySelector('main').scrollWidth") <= 390
    visitor.check_accessibility()
