"""What every engine does with the same recipes, seen by tools that know nothing of tilth."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.image_builders.conftest import SECRET, base_of
from tests.services import own_name

from tilth.errors import BuildFailed, Conflict, EngineUnavailable, SetupError
from tilth.image_builders.deriving import find_derived
from tilth.image_builders.docker import DockerBuilder, DockerBuilderSettings
from tilth.image_builders.podman import PodmanBuilder, PodmanBuilderSettings

if TYPE_CHECKING:
    from tests.image_builders.conftest import Site
    from tests.services import BaseImages, DockerEngine

pytestmark = pytest.mark.slow


def everywhere(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


class TestAnyEngine:
    def test_a_dockerfile_gives_a_base_that_is_built_once(self, any_site: Site) -> None:
        (any_site.root / "model.txt").write_text("weights")
        recipe = any_site.dockerfile(
            "ARG BASE\nFROM $BASE AS first\nARG WORD\nCOPY model.txt /model.txt\nRUN echo $WORD > /word\n"
            "USER 1000\nFROM first AS second\nRUN false\n",
            build_args={"BASE": any_site.start, "WORD": "a b"},
            build_target="first",
        )
        derived = any_site.derive(recipe)
        assert derived.made
        assert any("COPY model.txt" in line for line in any_site.lines)
        assert any_site.look(derived)["config"]["User"] == "1000"
        rootfs = any_site.unpack(derived)
        assert (rootfs / "word").read_text() == "a b\n"
        assert (rootfs / "model.txt").read_text() == "weights"

        again = any_site.derive(recipe)
        assert not again.made
        assert again.digest == derived.digest
        assert any_site.lines == []

    def test_a_secret_is_seen_by_its_command_and_kept_nowhere(self, any_site: Site) -> None:
        recipe = any_site.dockerfile(
            f"FROM {any_site.start}\n"
            # A name of its own: a command that ran before says nothing again.
            f"RUN --mount=type=secret,id=key : {own_name()}; cat /run/secrets/key;"
            " sha256sum /run/secrets/key > /proof\n",
            build_secrets={"key": "token"},
        )
        if isinstance(any_site.builder, DockerBuilder) and not any_site.builder.buildkit:
            with pytest.raises(SetupError, match="without BuildKit") as caught:
                any_site.derive(recipe)
            assert "docker-buildx" in caught.value.mend
            return
        derived = any_site.derive(recipe)
        rootfs = any_site.unpack(derived)
        assert (rootfs / "proof").read_text().startswith(hashlib.sha256(SECRET.encode()).hexdigest())
        assert any("•••" in line for line in any_site.lines)
        found = (
            everywhere(any_site.home.root),
            everywhere(rootfs / "run"),
            str(any_site.look(derived)).encode(),
        )
        assert all(SECRET.encode() not in each for each in found)
        assert subprocess.run(["grep", "-rqF", SECRET, str(rootfs)], check=False).returncode == 1
        for each in Path("/dev/shm").glob("tilth-*/key"):  # others build too
            with contextlib.suppress(FileNotFoundError):
                assert each.read_text() != SECRET

    def test_a_command_that_fails_is_named_with_what_it_said(self, any_site: Site) -> None:
        recipe = any_site.dockerfile(
            f"FROM {any_site.start}\nRUN echo all is well\nRUN echo no such thing >&2; exit 7\nRUN echo never\n"
        )
        with pytest.raises(BuildFailed) as caught:
            any_site.derive(recipe)
        assert "exit 7" in caught.value.summary
        assert "with exit code 7" in caught.value.summary
        assert "no such thing" in caught.value.why
        assert "never" not in caught.value.why
        log = Path(caught.value.mend.partition("`")[2].partition("`")[0])
        assert "all is well" in log.read_text()
        assert find_derived(recipe, any_site.home) is None
        assert not list((any_site.home.images / "derived").glob(".building-*"))

    def test_a_base_that_does_not_exist_is_named(self, any_site: Site) -> None:
        with pytest.raises(BuildFailed) as caught:
            any_site.derive(any_site.dockerfile("FROM 127.0.0.1:1/nothing:here\nRUN true\n"))
        assert "127.0.0.1:1/nothing" in str(caught.value)

    def test_files_that_are_ignored_do_not_get_in(self, any_site: Site) -> None:
        (any_site.root / ".dockerignore").write_text("*.secret\n!public.secret\nDockerfile\n")
        for name in ("a.secret", "public.secret", "kept"):
            (any_site.root / name).write_text(name)
        derived = any_site.derive(any_site.dockerfile(f"FROM {any_site.start}\nCOPY . /context/\n"))
        rootfs = any_site.unpack(derived)
        found = {each.name for each in (rootfs / "context").iterdir()}
        assert found == {"public.secret", "kept", ".dockerignore"}

    def test_a_context_that_changes_after_the_plan_is_refused(self, any_site: Site) -> None:
        (any_site.root / "data").write_text("one")
        recipe = any_site.dockerfile(f"FROM {any_site.start}\nCOPY data /data\n")
        (any_site.root / "data").write_text("two")
        with pytest.raises(Conflict, match="changed while"):
            any_site.derive(recipe)

    def test_a_torn_result_is_made_again(self, any_site: Site) -> None:
        recipe = any_site.dockerfile(f"FROM {any_site.start}\nRUN true\n")
        first = any_site.derive(recipe)
        blobs = any_site.home.images / "derived" / recipe.key / "blobs" / "sha256"
        largest = max(blobs.iterdir(), key=lambda each: each.stat().st_size)
        largest.unlink()
        second = any_site.derive(recipe)
        assert (first.made, second.made) == (True, True)
        any_site.unpack(second)


@pytest.mark.network
@pytest.mark.parametrize("place", ["registry", "layout", "engine"])
def test_system_packages_are_installed_on_a_base_wherever_it_lies(
    any_site: Site, base_images: BaseImages, place: str
) -> None:
    base = base_of(place, base_images, User="1000:1000")
    derived = any_site.derive(any_site.recipe(base, system_packages=["tree"]))
    config = any_site.look(derived)
    assert config["config"]["User"] == "1000:1000"
    rootfs = any_site.unpack(derived)
    assert (rootfs / "usr/bin/tree").exists()
    assert not list((rootfs / "var/lib/apt/lists").glob("*Packages*"))
    if place == "layout":
        layout = Path(base.source.removeprefix("layout:"))
        manifest = (layout / "blobs/sha256" / base.digest.removeprefix("sha256:")).read_text()
        assert "".join(find_layers(derived.reference)[:1]) in manifest


def find_layers(reference: str) -> list[str]:
    said = subprocess.run(["skopeo", "inspect", reference], check=True, capture_output=True, text=True)
    return json.loads(said.stdout)["Layers"]


@pytest.mark.network
def test_system_packages_go_on_a_dockerfile_and_its_user_stays(any_site: Site) -> None:
    recipe = any_site.dockerfile(
        f"FROM {any_site.start}\nRUN echo mine > /mine\nUSER 1000\n", system_packages=["tree"]
    )
    derived = any_site.derive(recipe)
    assert any_site.look(derived)["config"]["User"] == "1000"
    rootfs = any_site.unpack(derived)
    assert (rootfs / "mine").exists()
    assert (rootfs / "usr/bin/tree").exists()


@pytest.mark.network
def test_a_system_package_that_does_not_exist_is_named(any_site: Site, base_images: BaseImages) -> None:
    recipe = any_site.recipe(base_of("registry", base_images), system_packages=["no-such-package-at-all"])
    with pytest.raises(BuildFailed) as caught:
        any_site.derive(recipe)
    assert caught.value.summary == (
        "the system packages of environment `training` could not be built: `no-such-package-at-all`"
    )
    assert "Unable to locate package no-such-package-at-all" in caught.value.why


def test_refreshing_takes_nothing_from_the_engines_cache(docker_site: Site, base_images: BaseImages) -> None:
    start = base_images.registry["3.11"]  # where a newer one can be looked for
    recipe = docker_site.dockerfile(f"FROM {start}\nRUN cat /proc/sys/kernel/random/uuid > /now\n")
    first = docker_site.derive(recipe)
    assert not docker_site.derive(recipe).made
    assert docker_site.derive(recipe, refresh=True).digest != first.digest


@pytest.mark.parametrize(
    "builder",
    [
        DockerBuilder(DockerBuilderSettings(host="unix:///nowhere/docker.sock")),
        DockerBuilder(DockerBuilderSettings(program="no-such-docker")),
        PodmanBuilder(PodmanBuilderSettings(program="no-such-podman")),
    ],
)
def test_an_absent_engine_is_told_with_who_needs_it(
    site: Site, builder: DockerBuilder, docker_engine: DockerEngine
) -> None:
    site.builder = builder
    with pytest.raises(EngineUnavailable) as caught:
        site.derive(site.dockerfile("FROM scratch\n"))
    assert "image builder" in caught.value.summary
    assert "need none" in caught.value.mend
