"""Bases that a builder made: built once, shared, found without an engine, and never sent twice."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.conftest import index as index, only_the_index as only_the_index, project as project
from tests.services import own_name

from tilth.home import Home
from tilth.records import Build, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broken_registry import BrokenRegistry
    from tests.engine.play import Project
    from tests.services import BaseImages, DockerEngine, RegistryService

pytestmark = [pytest.mark.registry, pytest.mark.docker, pytest.mark.usefixtures("only_the_index")]

SOURCE = """
from pathlib import Path
from tilth import Environment, pipeline, step

tool = Environment("tool", requirements=["beta"], dockerfile="tool.Dockerfile")

@step(environment=tool)
def tells() -> str:
    import beta
    return Path("/greeting").read_text()

@pipeline
def telling():
    tells()
"""
_LARGE = 10 << 20  # bytes: the base has about fifty million, what a test puts on it a few thousand


@dataclass
class Shop:
    """A project with a Dockerfile, and an engine whose every call is written down."""

    project: Project
    calls: Path  # what the engine's command line was called with
    base: str

    def say(self, *arguments: str, code: int = 0) -> str:
        with self.project.start(*arguments) as command:
            assert command.wait(180) == code, command.stdout + command.stderr
        return command.stdout + command.stderr

    def build(self, registry: str, *arguments: str, code: int = 0) -> str:
        return self.say("build", "pipeline.py", "--registry", registry, *arguments, code=code)

    def dockerfile(self, *lines: str) -> None:
        self.project.write("\n".join([f"FROM {self.base}", *lines, ""]), "tool.Dockerfile")

    @property
    def engine_calls(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    @property
    def image(self) -> str:
        """The newest."""
        return [each.image for each in self.project.records(Build) if each.state is State.COMPLETED][-1]

    def colleague(self, folder: Path) -> Shop:
        """Somebody with the same project, a home of their own, and no engine."""
        return Shop(type(self.project)(self.project.folder, Home(folder / "tilth")), self.calls, self.base)


@pytest.fixture
def shop(
    project: Project,
    base_images: BaseImages,
    docker_engine: DockerEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("engine")
    program = folder / "docker"
    cli = docker_engine.buildkit_cli or docker_engine.cli
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\nexec {cli} "$@"\n')
    program.chmod(0o755)
    made = Shop(project, folder / "calls", base_images.registry["3.11"])
    project.write(SOURCE)
    made.dockerfile(f"RUN echo {own_name()} > /greeting")
    made.say(
        *("component", "register", "maker", "--type", "image_builder", "--flavor", "docker"),
        *("--set", f"program={program}", "--set", "network=host"),
    )
    yield made
    for note in (project.home.images / "derived").glob("*.json"):
        name = json.loads(note.read_text())["engine"]
        subprocess.run([docker_engine.cli, "rmi", "--force", name], check=False, capture_output=True)


def test_a_colleague_without_an_engine_uses_what_was_built(
    shop: Shop, broken_registry: BrokenRegistry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    registry = f"{broken_registry.host}/{own_name()}"
    said = shop.build(registry, "--builder", "maker")
    assert "building its Dockerfile" in said
    assert f"shared through `{broken_registry.host}`" in said
    built = len(shop.engine_calls)
    broken_registry.requests.clear()

    colleague = shop.colleague(tmp_path_factory.mktemp("colleague"))
    said = colleague.build(registry)
    assert f"found in `{broken_registry.host}`, where somebody built it before" in said
    assert colleague.image == shop.image
    assert "it is built" in colleague.build(registry, "--plan")
    assert len(shop.engine_calls) == built
    # The layers are not even looked at: what is in them is said in the manifest.
    assert broken_registry.sent < 100_000
    heads = [each for each in broken_registry.requests if "/manifests/tilth-base-" in each.path]
    assert [each.method for each in heads] == ["HEAD"]

    # Another package goes on it as well, and nothing of it is sent.
    broken_registry.requests.clear()
    colleague.project.write(SOURCE.replace('["beta"]', '["beta", "alpha==1.0"]'))
    colleague.build(registry)
    assert broken_registry.received < 100_000
    assert broken_registry.sent < 100_000
    assert len(shop.engine_calls) == built


def test_layers_that_the_registry_has_are_not_made_or_sent_again(
    shop: Shop, broken_registry: BrokenRegistry, base_images: BaseImages
) -> None:
    shop.base = f"{broken_registry.host}/{base_images.registry['3.11'].partition('/')[2]}"
    shop.dockerfile(f"RUN echo {own_name()} > /greeting")
    shop.build(f"{broken_registry.host}/{own_name()}", "--builder", "maker")
    assert broken_registry.received < 1 << 20
    kept = sum(each.stat().st_size for each in shop.project.home.images.rglob("*") if each.is_file())
    assert kept < 1 << 20
    mounts = [each for each in broken_registry.requests if "mount=" in each.path and each.status == 201]
    assert mounts
    # It is one image: all of it can be read from the registry.
    reference = shop.project.records(Build)[0].references[0]
    name, _, digest = reference.partition("@")
    told = subprocess.run(
        ["skopeo", "copy", "--src-tls-verify=false", f"docker://{name.rpartition(':')[0]}@{digest}",
         f"oci:{shop.project.folder}/read:back"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr


def test_layers_go_once_to_another_registry(shop: Shop, broken_registry: BrokenRegistry) -> None:
    shop.build(f"{broken_registry.host}/{own_name()}", "--builder", "maker")
    largest = max(each.received for each in broken_registry.requests)
    assert _LARGE < broken_registry.received < 1.2 * largest + _LARGE


def test_nothing_changed_costs_no_engine_call_and_no_request_for_the_base(
    shop: Shop, broken_registry: BrokenRegistry, base_images: BaseImages
) -> None:
    shop.base = f"{broken_registry.host}/{base_images.registry['3.11'].partition('/')[2]}"
    shop.dockerfile(f"RUN echo {own_name()} > /greeting")
    registry = f"{broken_registry.host}/{own_name()}"
    shop.build(registry, "--builder", "maker")
    built = len(shop.engine_calls)
    broken_registry.requests.clear()
    # What is in the project beside it does not matter to a Dockerfile that copies nothing.
    shop.project.write(SOURCE.replace("return", "return 'more' + "))
    shop.build(registry, "--builder", "maker")
    assert [each.method for each in broken_registry.requests] == [
        "HEAD",
        "HEAD",
    ]  # the tag in `FROM`, the image
    assert len(shop.engine_calls) == built


def test_a_registry_that_refuses_the_base_stops_nothing(shop: Shop, broken_registry: BrokenRegistry) -> None:
    registry = f"{broken_registry.host}/{own_name()}"
    broken_registry.rule("PUT", r"/manifests/tilth-base-", status=403, times=100)
    said = shop.build(registry, "--builder", "maker")
    assert "note: the base of environment `tool` is not shared: registry" in said
    assert shop.image
    broken_registry.heal()
    assert "shared through" in shop.build(registry, "--builder", "maker")
    assert "shared through" not in shop.build(registry, "--builder", "maker")


def test_a_from_that_moved_is_told_as_the_reason(
    shop: Shop, registry_plain: RegistryService, base_images: BaseImages
) -> None:
    name = f"{registry_plain.host}/{registry_plain.repository(own_name())}:moving"

    def move(python: str) -> None:
        copied = [f"docker://{base_images.registry[python]}", f"docker://{name}"]
        flags = ["--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
        subprocess.run(["skopeo", "copy", *flags, *copied], check=True, capture_output=True)

    move("3.11")
    shop.base = name
    shop.dockerfile(f"RUN echo {own_name()} > /greeting")
    registry = f"{registry_plain.host}/{own_name()}"
    assert "its Dockerfile must be built first" in shop.build(registry, "--plan", "--builder", "maker")
    shop.build(registry, "--builder", "maker")
    assert "it is built" in shop.build(registry, "--plan", "--builder", "maker")
    first = shop.image
    move("3.13")
    planned = shop.build(registry, "--plan", "--builder", "maker")
    assert f"its Dockerfile (`{name}` has moved) must be built first" in planned
    assert f"building its Dockerfile (`{name}` has moved)" in shop.build(registry, "--builder", "maker")
    assert shop.image != first
    move("3.11")  # and back: that is known
    assert "building its Dockerfile" not in shop.build(registry, "--builder", "maker")


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("{}:bookwurm", "did you mean `bookworm`?"),
        ("{}-nowhere:1", "there is no image `"),
        ("{}:UP/per", "is not the name of an image"),
    ],
)
def test_a_from_that_does_not_exist_is_an_error_of_the_plan(
    shop: Shop, base_images: BaseImages, base: str, told: str
) -> None:
    shop.base = base.format(base_images.registry["3.11"].rpartition(":")[0])
    shop.dockerfile()
    said = shop.say("build", "pipeline.py", "--plan", "--builder", "maker", code=1)
    assert told in said
    assert "line 1 of `tool.Dockerfile` names it" in said
    assert "Traceback" not in said


def test_an_image_of_the_engine_alone_can_be_stood_on(shop: Shop, docker_engine: DockerEngine) -> None:
    name = f"127.0.0.1:9/{own_name()}:1"  # a registry that nobody reaches
    subprocess.run([docker_engine.cli, "tag", docker_engine.images["3.11"], name], check=True)
    try:
        shop.base = name
        shop.dockerfile(f"RUN echo {own_name()} > /greeting")
        shop.say("build", "pipeline.py", "--builder", "maker")
        built = len(shop.engine_calls)
        shop.say("build", "pipeline.py", "--builder", "maker")
        asked = [each for each in shop.engine_calls[built:] if not each.startswith("image inspect")]
        assert asked == []
    finally:
        subprocess.run([docker_engine.cli, "rmi", name], check=False, capture_output=True)


class TestInContainers:
    @pytest.fixture
    def boxed(self, shop: Shop) -> Shop:
        for name, delivery in (("boxes", "mount"), ("images", "image")):
            shop.say(
                *("component", "register", name, "--type", "orchestrator", "--flavor", "docker"),
                *("--set", f"delivery={delivery}"),
            )
            shop.say("stack", "register", name, "-o", name, "-a", "local", "-i", "maker")
        return shop

    def test_mounted_environments_and_images_share_cached_steps(self, boxed: Shop) -> None:
        boxed.say("run", "pipeline.py", "--stack", "boxes")
        assert "tells: reused" in boxed.say("run", "pipeline.py", "--stack", "images")

    def test_a_base_that_was_removed_from_the_engine_is_brought_again(
        self, boxed: Shop, docker_engine: DockerEngine
    ) -> None:
        boxed.say("run", "pipeline.py", "--stack", "boxes")
        (note,) = (boxed.project.home.images / "derived").glob("*.json")
        name = json.loads(note.read_text())["engine"]
        subprocess.run([docker_engine.cli, "rmi", "--force", name], check=True, capture_output=True)
        said = boxed.say("run", "pipeline.py", "--stack", "boxes", "--no-cache")
        assert f"`docker` is given the base `{name}`" in said

    def test_a_plan_says_that_a_from_moved(self, boxed: Shop, base_images: BaseImages) -> None:
        boxed.say("run", "pipeline.py", "--stack", "boxes")
        (note,) = (boxed.project.home.images / "derived").glob("*.json")
        known: dict[str, Any] = json.loads(note.read_text())
        # As if the tag had named another image then: the base images of the services are not for moving.
        moved = {**known, "key": "0" * 64, "stands_on": dict.fromkeys(known["stands_on"], "x@sha256:1")}
        note.unlink()
        note.with_name(f"{'0' * 64}.json").write_text(json.dumps(moved))
        planned = boxed.say("plan", "pipeline.py", "--stack", "boxes")
        why = f"its Dockerfile (`{base_images.registry['3.11']}` has moved) must be built first"
        assert why in " ".join(planned.split())
