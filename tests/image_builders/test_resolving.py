"""What an image that a `FROM` names is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.services import own_name

from tilth.errors import EngineUnavailable, ImageNotFound, RegistryUnavailable
from tilth.home import Home
from tilth.image_builders.docker import DockerBuilder, DockerBuilderSettings
from tilth.image_builders.resolving import resolve
from tilth.oci.patience import Patience
from tilth.oci.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broken_registry import BrokenRegistry
    from tests.services import BaseImages, DockerEngine


class Engine:
    """An engine that has what it is told to have."""

    def __init__(self, *ids: str | None) -> None:
        self.ids = list(ids)
        self.asked = 0

    def image_id(self, name: str) -> str | None:
        self.asked += 1
        return self.ids.pop(0)


def hasty(host: str) -> Registry:
    return Registry(host, patience=Patience(tries=1))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_tag_of_a_registry_costs_one_request_and_no_engine(
    home: Home, base_images: BaseImages, broken_registry: BrokenRegistry
) -> None:
    name = base_images.registry["3.11"].partition("/")[2]
    engine = Engine()
    found = resolve(f"{broken_registry.host}/{name}", registries=hasty, engine=engine.image_id, home=home)
    repository = f"{broken_registry.host}/{name.partition(':')[0]}"
    assert found.startswith(f"{repository}@sha256:")
    assert [each.method for each in broken_registry.requests] == ["HEAD"]
    assert resolve(found, registries=hasty, engine=engine.image_id, home=home) == found
    assert len(broken_registry.requests) == 1
    assert engine.asked == 0
    # Offline, what it was last has to do.
    name = f"{broken_registry.host}/{name}"
    assert resolve(name, registries=hasty, engine=engine.image_id, home=home, offline=True) == found
    assert len(broken_registry.requests) == 1


def test_what_no_registry_has_is_the_engines_and_the_registry_is_not_asked_again(
    home: Home, broken_registry: BrokenRegistry
) -> None:
    name = f"{broken_registry.host}/{own_name()}:1"
    engine = Engine("sha256:1", "sha256:2", "")
    assert resolve(name, registries=hasty, engine=engine.image_id, home=home) == "sha256:1"
    asked = len(broken_registry.requests)
    assert resolve(name, registries=hasty, engine=engine.image_id, home=home) == "sha256:2"
    assert len(broken_registry.requests) == asked
    engine.ids = ["", ""]  # removed there: somebody may have pushed it meanwhile
    with pytest.raises(ImageNotFound):
        resolve(name, registries=hasty, engine=engine.image_id, home=home)


def test_nothing_is_known_of_an_image_in_an_engine_that_cannot_be_asked(home: Home) -> None:
    assert resolve("127.0.0.1:1/nothing", registries=hasty, engine=Engine(None).image_id, home=home) == ""


def test_a_registry_that_fails_is_no_reason_to_take_what_an_engine_calls_so(
    home: Home, base_images: BaseImages, broken_registry: BrokenRegistry
) -> None:
    name = f"{broken_registry.host}/{base_images.registry['3.11'].partition('/')[2]}"
    resolve(name, registries=hasty, engine=Engine().image_id, home=home)
    broken_registry.close()
    with pytest.raises(RegistryUnavailable):
        resolve(name, registries=hasty, engine=Engine("sha256:1").image_id, home=home)


@pytest.mark.docker
def test_a_real_engine_tells_what_it_has(docker_engine: DockerEngine, home: Home) -> None:
    builder = DockerBuilder(DockerBuilderSettings(program=docker_engine.cli))
    name = docker_engine.images["3.11"]
    assert (builder.image_id(name) or "").startswith("sha256:")
    assert builder.image_id(f"{own_name()}:1") == ""
    away = DockerBuilder(DockerBuilderSettings(host="unix:///nowhere/docker.sock"))
    with pytest.raises(EngineUnavailable):
        away.image_id(name)
    with pytest.raises(RegistryUnavailable):  # that comes first, and is what can be mended
        resolve("127.0.0.1:1/nothing", registries=hasty, engine=away.image_id, home=home)
