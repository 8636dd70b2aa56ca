"""Images in engines and in layouts, without a registry."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st
from tests.images.handmade import as_base, make_image, noise, registries, write_layout

from tilth.errors import EngineUnavailable, NotFound
from tilth.home import Home
from tilth.images.engines import Engine
from tilth.images.inspecting import inspect_base
from tilth.images.loading import load_containerd, load_image, shared_layers, write_layout as write_image
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import digest_of
from tilth.oci.layouts import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services import BaseImages, DockerEngine


@pytest.fixture
def there(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def name() -> str:
    return f"tilth-test/{uuid.uuid4().hex[:12]}:it"


@pytest.fixture
def engine(docker_engine: DockerEngine, name: str) -> Iterator[Engine]:
    """The engine; what the test named is removed from it."""
    engine = Engine(variables={"DOCKER_HOST": docker_engine.host})
    yield engine
    for each in (name, name + "-2", name + "-3"):
        engine.run("image", "rm", "--force", each, check=False)


def run(engine: Engine, name: str, *command: str) -> str:
    return engine.run("run", "--rm", "--network", "none", name, *command).stdout


@pytest.mark.docker
@pytest.mark.registry
def test_docker_is_given_only_the_layers_that_it_does_not_have(
    base_images: BaseImages, engine: Engine, there: Home, name: str
) -> None:
    clients = registries()
    base = inspect_base(base_images.registry["3.11"], registry=clients, home=there)
    libraries = {"opt/library": noise(300_000)}
    image = make_image(there, libraries, {"opt/code": b"one\n"}, base=base)
    loaded = load_image(image, there, clients, engine=engine, names=[name])
    assert loaded.reused == len(base.layers)
    assert loaded.bytes == sum(each.descriptor.size for each in image.own_layers)
    assert not BlobStore(there.images).has(base.layers[0].descriptor.digest)
    assert loaded.id == digest_of(image.config)
    assert run(engine, name, "cat", "/opt/code") == "one\n"

    changed = make_image(there, libraries, {"opt/code": b"two\n"}, base=base)
    again = load_image(changed, there, clients, engine=engine, names=[name + "-2"])
    assert again.bytes == changed.layers[-1].descriptor.size
    assert run(engine, name + "-2", "cat", "/opt/code") == "two\n"

    nothing = load_image(changed, there, clients, engine=engine, names=[name + "-3"])
    assert (nothing.bytes, nothing.reused) == (0, len(changed.layers))
    assert run(engine, name + "-3", "cat", "/opt/code") == "two\n"


@pytest.mark.docker
def test_a_base_that_the_engine_does_not_have_is_handed_over_too(
    engine: Engine, there: Home, name: str, tmp_path: Path
) -> None:
    elsewhere = Home(tmp_path / "elsewhere")
    below = make_image(elsewhere, {"base": noise(5000)})
    write_layout(tmp_path / "layout", below, elsewhere)
    image = make_image(there, {"own": noise(100)}, base=as_base(below, f"layout:{tmp_path}/layout"))
    loaded = load_image(image, there, registries(), engine=engine, names=[name])
    assert (loaded.reused, loaded.bytes) == (0, sum(each.descriptor.size for each in image.layers))
    assert engine.image(name)["RootFS"]["Layers"] == [each.diff_id for each in image.layers]


@pytest.mark.docker
def test_layers_that_went_meanwhile_are_handed_over_after_all(
    engine: Engine, there: Home, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when an image is removed between the question and the load: the engine has what it said no more."""
    image = make_image(there, {"a": noise(100)}, {"b": noise(100)})
    gone = [tuple(each.diff_id for each in image.layers[:1])]
    monkeypatch.setattr(Engine, "chains", lambda _: gone)
    loaded = load_image(image, there, registries(), engine=engine, names=[name])
    assert loaded.bytes == sum(each.descriptor.size for each in image.layers)
    assert engine.has(name)


def test_an_image_whose_own_layer_is_lost_says_to_build_again(there: Home, tmp_path: Path) -> None:
    image = make_image(there, {"a": noise(100)})
    BlobStore(there.images).remove(image.layers[0].descriptor.digest)
    with pytest.raises(NotFound, match="`layer 0` of the image is not on this machine"):
        write_image(image, tmp_path / "layout", there, registries())


@pytest.mark.parametrize("form", ["layout", "layout.tar"])
def test_a_broken_layer_gets_into_no_layout(there: Home, tmp_path: Path, form: str) -> None:
    files = {"a": noise(5000)}
    image = make_image(there, files)
    digest = image.layers[0].descriptor.digest

    def damage() -> None:
        path = BlobStore(there.images).path(digest)
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.unlink()
        path.write_bytes(content)

    damage()
    with pytest.raises(NotFound, match="or was broken"):
        write_image(image, tmp_path / form, there, registries())
    make_image(there, files)
    damage()
    write_image(image, tmp_path / form, there, registries(), remake=lambda _: [make_image(there, files)])
    assert digest_of(Layout(tmp_path / form).read(digest)) == digest


def test_an_engine_that_is_down_says_what_needs_it(there: Home) -> None:
    image = make_image(there, {"a": b"a"})
    engine = Engine(
        variables={"DOCKER_HOST": "unix:///nowhere.sock"}, needed_for="the orchestrator `docker-local`"
    )
    with pytest.raises(EngineUnavailable) as caught:
        load_image(image, there, registries(), engine=engine)
    assert caught.value.summary == "the docker engine does not answer"
    assert "the orchestrator `docker-local` needs it" in caught.value.why
    assert "needs no engine" in caught.value.mend
    with pytest.raises(EngineUnavailable, match="no command `no-ctr`"):
        load_containerd(image, there, registries(), name="x", command="no-ctr")


@pytest.mark.docker
def test_podman_takes_the_whole_image(there: Home, name: str) -> None:
    podman = Engine(kind="podman")
    image = make_image(there, {"a": noise(100)})
    try:
        load_image(image, there, registries(), engine=podman, names=[f"localhost/{name}"])
        assert podman.image(f"localhost/{name}")["RootFS"]["Layers"] == [image.layers[0].diff_id]
        assert load_image(image, there, registries(), engine=podman, names=[f"localhost/{name}-2"]).bytes == 0
    finally:
        podman.run("image", "rm", "--force", f"localhost/{name}", f"localhost/{name}-2", check=False)


@pytest.mark.docker
def test_containerd_takes_a_layout(docker_engine: DockerEngine, there: Home, name: str) -> None:
    """The containerd that the Docker engine has, in a namespace of its own."""
    own, system = "/var/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock"
    address = own if Path(own).exists() else system
    image = make_image(there, {"a": noise(100)})
    full, namespace = f"example.test/{name}", f"tilth-{uuid.uuid4().hex[:8]}"
    ctr = ["ctr", "--address", address, "--namespace", namespace]
    try:
        load_containerd(image, there, registries(), name=full, namespace=namespace, address=address)
        listed = subprocess.run([*ctr, "images", "ls"], check=True, capture_output=True, text=True).stdout
        assert full in listed
        assert image.digest in listed
        subprocess.run([*ctr, "images", "check"], check=True, capture_output=True)
    finally:
        subprocess.run([*ctr, "images", "rm", "--sync", full], check=False, capture_output=True)
        subprocess.run([*ctr[:3], "namespaces", "rm", namespace], check=False, capture_output=True)


@pytest.mark.parametrize("form", ["layout", "layout.tar"])
@pytest.mark.registry
def test_skopeo_and_umoci_read_the_layout(
    base_images: BaseImages, there: Home, tmp_path: Path, form: str
) -> None:
    clients = registries()
    base = inspect_base(base_images.registry["3.11"], registry=clients, home=there)
    image = make_image(there, {"opt/own": noise(100)}, base=base, config={"User": "1000"})
    written = write_image(image, tmp_path / form, there, clients, name="it")
    assert written == sum(each.descriptor.size for each in image.layers) + len(image.config) + len(
        image.manifest
    )
    kind = "oci-archive" if form.endswith("tar") else "oci"
    inspect = ["skopeo", "inspect", f"{kind}:{tmp_path}/{form}:it"]
    seen = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)
    assert (seen["Digest"], seen["Architecture"]) == (image.digest, "amd64")
    again = inspect_base(f"oci:{tmp_path}/{form}:it", registry=clients, home=there)
    assert (again.python, again.digest) == (base.python, image.digest)
    if kind == "oci":
        assert write_image(image, tmp_path / form, there, clients, name="it") == 0
        listed = ["umoci", "list", "--layout", f"{tmp_path}/{form}"]
        assert subprocess.run(listed, check=True, capture_output=True, text=True).stdout == "it\n"


LAYERS = st.lists(st.sampled_from("abc"), max_size=5)


@given(mine=LAYERS, chains=st.lists(LAYERS, max_size=4))
def test_what_is_shared_is_the_longest_common_beginning(mine: list[str], chains: list[list[str]]) -> None:
    found = shared_layers(mine, [tuple(each) for each in chains])
    assert any(each[:found] == mine[:found] for each in chains) or not found
    assert all(each[: found + 1] != mine[: found + 1] or len(mine) == found for each in chains)
