"""What goes and what stays of images when house is kept, and that builds go on meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st
from tests.cli.test_build import tilth
from tests.client.test_building import built as built, write
from tests.engine.conftest import index as index, only_the_index as only_the_index, project as project
from tests.engine.play import wait_until
from tests.services import own_name

from tilth.environments import disk
from tilth.environments.pruning import Wishes
from tilth.images import pruning
from tilth.oci.blobs import BlobStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.play import Project
    from tests.services import BaseImages, DockerEngine

pytestmark = [pytest.mark.registry, pytest.mark.usefixtures("only_the_index")]


def blobs(project: Project) -> set[str]:
    return {path.name for path in project.home.images.glob("blobs/sha256/*")}


def built_images(project: Project, *arguments: str) -> list[str]:
    """Digests of the images of a build."""
    told = tilth(project, "build", "pipeline.py", "--json", *arguments).stdout
    return [each["image"] for each in json.loads(told)]


def test_without_options_what_no_image_needs_goes(built: Project) -> None:
    images = built_images(built)
    before = blobs(built)
    orphan = BlobStore(built.home.images).put(b"of nobody")
    planned = tilth(built, "env", "prune", "--plan").stdout
    assert re.search(r"^\d layers? would go", planned, re.MULTILINE)
    assert BlobStore(built.home.images).has(orphan)
    tilth(built, "env", "prune")
    # The config of a base is kept in the record of it.
    assert blobs(built) < before
    again = tilth(built, "build", "pipeline.py")
    assert again.stderr == ""
    assert built_images(built) == images


def test_the_image_of_one_environment_goes_and_leaves_what_others_need(built: Project) -> None:
    images = built_images(built)
    told = tilth(built, "env", "prune", "other").stdout
    assert "it was asked for" in told
    assert not BlobStore(built.home.images).has(images[1])
    again = tilth(built, "build", "pipeline.py")
    assert "image `one`" not in again.stderr
    assert "image `other`: building, as it was built, and is not on this machine" in again.stderr
    assert built_images(built) == images


def test_all_images_can_be_pruned_and_are_made_again(built: Project) -> None:
    images = built_images(built)
    shown = json.loads(tilth(built, "env", "prune", "--all", "--json").stdout)
    assert {each["kind"] for each in shown["items"]} >= {"image", "layer", "note"}
    assert shown["freed"] > 0
    assert blobs(built) == set()
    assert list((built.home.images / "layers").glob("*.json")) == []
    assert built_images(built) == images


def test_the_least_recently_used_goes_first(built: Project) -> None:
    built_images(built, "--only", "one")
    built_images(built, "--only", "other")
    shown = json.loads(tilth(built, "env", "prune", "--max-size", "1", "--plan", "--json").stdout)
    assert all(each["goes"] for each in shown["items"] if each["kind"] == "image")
    tilth(built, "env", "prune")  # what goes anyway
    size = json.loads(tilth(built, "env", "prune", "--plan", "--json").stdout)["before"] - 1
    shown = json.loads(tilth(built, "env", "prune", "--max-size", f"{size}B", "--json").stdout)
    ended = {each["name"]: each["goes"] for each in shown["items"] if each["kind"] == "image"}
    assert ended == {"one": True, "other": False}


def test_a_base_that_was_taken_over_is_taken_over_again(
    built: Project, base_images: BaseImages, tmp_path: Path
) -> None:
    archive = tmp_path / "base.tar"
    subprocess.run(
        ["skopeo", "copy", "--src-tls-verify=false", f"docker://{base_images.registry['3.11']}",
         f"docker-archive:{archive}"],
        check=True, capture_output=True,
    )  # fmt: skip
    write(built, f"docker-archive:{archive}")
    images = built_images(built, "--output", str(tmp_path / "first"))
    tilth(built, "env", "prune", "--all")
    assert built_images(built, "--output", str(tmp_path / "second")) == images


def test_nothing_goes_while_somebody_builds(built: Project) -> None:
    images = built_images(built)
    before = blobs(built)
    with closing(pruning.keep(built.home)):
        told = tilth(built, "env", "prune", "--all").stdout
        assert "images are being made or used now" in told
        assert blobs(built) == before
    tilth(built, "env", "prune", "--all")
    assert built_images(built) == images


@pytest.mark.slow
def test_builds_succeed_while_everything_is_pruned_all_the_time(built: Project, tmp_path: Path) -> None:
    images = built_images(built)
    for attempt in range(3):
        with built.start("env", "prune", "--all") as prune, built.start("env", "prune", "--all") as other:
            layout = tmp_path / f"layout-{attempt}"
            assert built_images(built, "--output", str(layout)) == images
            assert prune.wait(120) == 0, prune.stderr
            assert other.wait(120) == 0, other.stderr
        for each in layout.glob("blobs/sha256/*"):
            assert BlobStore(layout).verify(f"sha256:{each.name}")


@pytest.mark.slow
@pytest.mark.faults
def test_a_prune_that_is_killed_leaves_what_works(built: Project, tmp_path: Path) -> None:
    images = built_images(built)
    for attempt in range(3):
        full = len(blobs(built))
        with built.start("env", "prune", "--all") as prune:
            wait_until(lambda full=full: len(blobs(built)) < full)
            prune.process.kill()
            prune.process.wait()
        assert built_images(built, "--output", str(tmp_path / f"layout-{attempt}")) == images
    tilth(built, "env", "prune", "--all")
    assert blobs(built) == set()


def test_what_a_killed_process_was_writing_goes_and_what_another_writes_stays(built: Project) -> None:
    built_images(built)
    folder = built.home.images / "blobs" / "sha256"
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, living = folder / f".{dead.pid}-0123456789abcdef", folder / ".1-0123456789abcdef"
    left.touch()
    living.touch()
    tilth(built, "env", "prune")
    assert not left.exists()
    assert living.exists()


@pytest.fixture
def loaded(built: Project, docker_engine: DockerEngine) -> Iterator[tuple[Project, str]]:
    """A project whose image is in the engine under a name of its own; the name."""
    own = own_name()
    # An environment that no other test has: they share the engine.
    write(built, f"docker:{docker_engine.images['3.11']}")
    source = (built.folder / "pipeline.py").read_text()
    built.write(source.replace("find_links=", f"variables={{'OWN': '{own}'}}, find_links="))
    told = tilth(built, "build", "pipeline.py", "--load", "docker", "--only", "one").stdout
    name = told.split()[1].partition(":")[2]
    yield built, name
    subprocess.run(["docker", "rmi", "--force", name], check=False, capture_output=True)


def is_in_docker(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True).returncode == 0


@pytest.mark.docker
def test_an_image_in_an_engine_goes_and_nobody_elses_does(
    loaded: tuple[Project, str], docker_engine: DockerEngine
) -> None:
    project, name = loaded
    foreign = f"tilth/{own_name()}:1"
    subprocess.run(["docker", "tag", docker_engine.images["3.11"], foreign], check=True)
    try:
        assert "docker" in tilth(project, "env", "prune", "--plan", "--all").stdout
        assert is_in_docker(name)
        tilth(project, "env", "prune", "--all")
        assert not is_in_docker(name)
        assert is_in_docker(foreign)
        assert is_in_docker(docker_engine.images["3.11"])
    finally:
        subprocess.run(["docker", "rmi", foreign], check=True, capture_output=True)
    assert "is not in docker" in tilth(project, "build", "pipeline.py", "--load", "docker").stderr


@pytest.mark.docker
def test_a_name_that_is_another_image_by_now_is_left_alone(
    loaded: tuple[Project, str], docker_engine: DockerEngine
) -> None:
    project, name = loaded
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True)
    subprocess.run(["docker", "tag", docker_engine.images["3.13"], name], check=True)
    tilth(project, "env", "prune", "--all")
    assert is_in_docker(name)


@pytest.mark.docker
def test_an_image_whose_container_runs_stays_with_all_it_needs(loaded: tuple[Project, str]) -> None:
    project, name = loaded
    container = subprocess.run(
        ["docker", "run", "--detach", "--rm", name, "python", "-c", "import time; time.sleep(600)"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    try:
        assert "docker keeps it" in tilth(project, "env", "prune", "--all").stdout
        assert is_in_docker(name)
        assert tilth(project, "build", "pipeline.py", "--only", "one").stderr == ""  # all of it is here
    finally:
        subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)
    tilth(project, "env", "prune", "--all")
    assert not is_in_docker(name)


@pytest.mark.docker
def test_an_engine_that_does_not_answer_is_told_and_the_rest_goes(
    loaded: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, name = loaded
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
        assert "`docker` does not answer" in tilth(project, "env", "prune", "--all").stderr
    assert is_in_docker(name)
    assert blobs(project) == set()
    tilth(project, "env", "prune", "--all")
    assert not is_in_docker(name)


BOXED = """
from pathlib import Path
from tilth import Environment, pipeline, step

tool = Environment("tool", requirements=["beta"], dockerfile="tool.Dockerfile")

@step(environment=tool)
def tells() -> str:
    return Path("/greeting").read_text()

@pipeline
def telling():
    tells()
"""


@pytest.mark.docker
def test_a_base_that_was_built_stays_as_long_as_an_environment_needs_it(
    project: Project, docker_engine: DockerEngine
) -> None:
    from tests.engine.test_containers import register

    register(project, docker_engine)
    greeting = own_name()
    (project.folder / "tool.Dockerfile").write_text(
        f"FROM {docker_engine.images['3.11']}\nRUN echo {greeting} > /greeting\n"
    )
    project.write(BOXED)
    tilth(project, "component", "register", "maker", "--type", "image_builder", "--flavor", "docker")
    tilth(project, "stack", "update", "boxes", "-i", "maker")
    tilth(project, "run", "pipeline.py")
    (note,) = project.home.images.glob("derived/*.json")
    name = json.loads(note.read_text())["engine"]
    # It is old enough to go, and its environment is not.
    past = (datetime.now(timezone.utc) - timedelta(days=3)).timestamp()
    os.utime(note, (past, past))
    told = tilth(project, "env", "prune", "--older-than", "2d").stdout
    assert "an environment needs it" in told
    assert is_in_docker(name)
    tilth(project, "env", "prune", "--all")
    assert not is_in_docker(name)
    assert list(project.home.images.glob("derived/*")) == []
    tilth(project, "run", "--no-cache", "pipeline.py")
    assert project.load("tells") == f"{greeting}\n"
    tilth(project, "env", "prune", "--all")


@st.composite
def stocks(draw: st.DrawFn) -> pruning.Stock:
    """Images that share layers, and layers of nobody."""
    digests = [f"sha256:{number:064x}" for number in range(8)]
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
    things = [
        pruning.Piece(kind="layer", path=Path("blobs", each), digest=each, size=1, last_used=moment)
        for each in digests
    ]
    things += [
        pruning.Piece(
            kind="image",
            path=Path("made", str(number)),
            environment=f"env-{number % 2}",
            needs=frozenset(draw(st.sets(st.sampled_from(digests)))),
            last_used=moment + timedelta(days=draw(st.integers(0, 9))),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    trees = {}
    for number, each in enumerate(things):
        tree = disk.Tree()
        if each.kind == "layer":
            tree.inodes[1, number] = (4096, 1, 1)
            trees[each.path] = tree
    return pruning.Stock(things=tuple(things), trees=trees, used=draw(st.booleans()))


@given(
    stocks(),
    st.builds(
        Wishes,
        all=st.booleans(),
        unused_since=st.none() | st.just(datetime(2026, 1, 5, tzinfo=timezone.utc)),
        max_size=st.none() | st.integers(0, 40_000),
        only=st.none() | st.just(frozenset({"env-0"})),
    ),
)
def test_what_an_image_that_stays_needs_never_goes(stock: pruning.Stock, wishes: Wishes) -> None:
    decided = pruning.decide(stock, wishes, ())
    assert len(decided) == len(stock.things)
    staying = [each.thing for each in decided if each.thing.kind == "image" and not each.goes]
    needed = {digest for each in staying if isinstance(each, pruning.Piece) for digest in each.needs}
    gone = {each.thing.digest for each in decided if each.goes and each.thing.kind == "layer"}
    assert not needed & gone
    if stock.used:
        assert not any(each.goes for each in decided)
    elif wishes.max_size is None:
        assert gone == {each.digest for each in stock.of("layer")} - needed
