"""Recipes on the bases that the services have, and builders that use the engines of this machine."""

from __future__ import annotations

import json
import subprocess
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tilth import Environment
from tilth.home import Home
from tilth.image_builders import Derived, ImageBuilder, Work
from tilth.image_builders.docker import DockerBuilder, DockerBuilderSettings
from tilth.image_builders.podman import PodmanBuilder, PodmanBuilderSettings
from tilth.image_builders.recipes import Recipe, recipe_of
from tilth.images.bases import Base, BaseLayer
from tilth.images.options import container_options
from tilth.oci.descriptors import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services import BaseImages, DockerEngine

SECRET = f"hunter2-{uuid.uuid4().hex}"  # of this process alone: what is in memory is looked for


def base_of(place: str, images: BaseImages, **said: Any) -> Base:
    """The base image with Python 3.11 in a place, as `inspect_base` would describe it."""
    layout, _, _ = images.layouts["3.11"].rpartition(":")
    index = json.loads(Path(layout, "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    manifest = json.loads(Path(layout, "blobs", "sha256", digest.removeprefix("sha256:")).read_text())
    config = json.loads(Path(layout, "blobs", "sha256", manifest["config"]["digest"][7:]).read_text())
    layers = tuple(
        BaseLayer(
            descriptor=Descriptor(media_type=each["mediaType"], digest=each["digest"], size=each["size"]),
            diff_id=diff_id,
        )
        for each, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
    )
    known = {"layers": layers, "identity": manifest["config"]["digest"],
             "os": "linux", "architecture": "amd64", "python": "/usr/bin/python3.11",
             "version": "3.11.2", "libc": "glibc 2.36", "config": said}  # fmt: skip
    if place == "layout":
        return Base(
            reference=f"oci:{images.layouts['3.11']}", source=f"layout:{layout}", digest=digest, **known
        )
    if place == "registry":
        host, _, rest = images.registry["3.11"].partition("/")
        repository, _, tag = rest.rpartition(":")
        asked = urllib.request.Request(
            f"http://{host}/v2/{repository}/manifests/{tag}",
            method="HEAD",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )
        with urllib.request.urlopen(asked, timeout=30) as response:
            digest = response.headers["Docker-Content-Digest"]
        return Base(
            reference=images.registry["3.11"], source=f"registry:{host}/{repository}", digest=digest, **known
        )
    return Base(
        reference=f"docker:{images.engine['3.11']}",
        source="engine:docker",
        digest=manifest["config"]["digest"],
        **known,
    )


@dataclass
class Site:
    """A project, a home, and a builder."""

    root: Path
    home: Home
    builder: ImageBuilder
    start: str  # what a `FROM` takes here
    lines: list[str] = field(default_factory=list)
    left: set[str] = field(default_factory=set)  # in an engine
    below: Base | None = None  # of the last recipe

    def recipe(self, base: Base | None = None, **options: Any) -> Recipe:
        self.below = base
        declared = container_options(Environment("training", **options).to_json())
        recipe = recipe_of("training", declared, root=self.root, base=base, home=self.home)
        assert recipe is not None
        return recipe

    def dockerfile(self, text: str, **options: Any) -> Recipe:
        (self.root / "Dockerfile").write_text(text)
        return self.recipe(dockerfile="Dockerfile", **options)

    def derive(self, recipe: Recipe, *, refresh: bool = False) -> Derived:
        self.lines.clear()
        work = Work(
            home=self.home,
            secret={"token": SECRET}.__getitem__,
            tell=self.lines.append,
            refresh=refresh,
            known=self.known,
        )
        derived = self.builder.derive(recipe, work)
        self.left |= {derived.engine} - {""}
        return derived

    def known(self) -> dict[str, BaseLayer]:
        if self.below is None or not self.below.source.startswith("layout:"):
            return {}
        return {
            each.diff_id: msgspec.structs.replace(each, source=self.below.source)
            for each in self.below.layers
        }

    def look(self, derived: Derived) -> dict[str, Any]:
        """Config of the image, read by a tool that knows nothing of tilth."""
        said = subprocess.run(
            ["skopeo", "inspect", "--config", derived.reference], check=True, capture_output=True, text=True
        )
        return json.loads(said.stdout)

    def unpack(self, derived: Derived) -> Path:
        """Root file system of the image."""
        target = self.root.parent / "unpacked"
        subprocess.run(
            ["umoci", "unpack", "--image", derived.reference.removeprefix("oci:"), str(target)],
            check=True,
            capture_output=True,
        )
        return target / "rootfs"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    from tilth.image_builders.native import NativeBuilder

    (tmp_path / "project").mkdir()
    return Site(tmp_path / "project", Home(tmp_path / "home"), NativeBuilder(), "scratch")


@pytest.fixture
def docker_site(site: Site, docker_engine: DockerEngine) -> Iterator[Site]:
    """A client with BuildKit, where there is one."""
    settings = DockerBuilderSettings(
        program=docker_engine.buildkit_cli or docker_engine.cli, host=docker_engine.host, network="host"
    )
    site.builder, site.start = DockerBuilder(settings), docker_engine.images["3.11"]
    yield site
    for name in site.left:
        # Another test may have removed it: equal recipes have one name.
        subprocess.run(
            [docker_engine.cli, "--host", docker_engine.host, "rmi", name], check=False, capture_output=True
        )


@pytest.fixture(params=["docker", "classic", "podman", "buildah"])
def any_site(
    request: pytest.FixtureRequest, docker_site: Site, docker_engine: DockerEngine, base_images: BaseImages
) -> Site:
    """Each way to build. Podman and Buildah are installed with the engine; without one, by `chroot`."""
    if request.param == "classic":
        settings = DockerBuilderSettings(program=docker_engine.cli, network="host", buildkit="never")
        docker_site.builder = DockerBuilder(settings)
    elif request.param in ("podman", "buildah"):
        docker_site.builder = PodmanBuilder(
            PodmanBuilderSettings(program=request.param, network="host", isolation="chroot", verify_tls=False)
        )
        docker_site.start = base_images.registry["3.11"]
    return docker_site
