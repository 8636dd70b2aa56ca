"""Images on their way into registries: what is sent, what is not, and what goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.engine.play import wait_until
from tests.images.handmade import as_base, make_image, noise, put_layer, registries, write_layout

from tilth.errors import BuildFailed, ImageBroken, RegistryRefused, RegistryUnavailable
from tilth.home import Home
from tilth.images.pushing import Checked, Push, Pushed, Where, push_image
from tilth.oci.blobs import BlobStore
from tilth.oci.credentials import Login
from tilth.oci.references import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.broken_registry import BrokenRegistry
    from tests.services import BaseImages, RegistryService

    from tilth.images.making import Image, ImageLayer
    from tilth.oci.registry import Registry


@pytest.fixture
def there(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def push(image: Image, to: str, clients: Callable[[str], Registry], home: Home, **options: Any) -> Pushed:
    return push_image(image, parse(to), clients, home, **options)


def skopeo(*arguments: str) -> str:
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True).stdout


pytestmark = pytest.mark.registry


def test_skopeo_reads_what_was_pushed(registry_plain: RegistryService, there: Home, tmp_path: Path) -> None:
    image = make_image(there, {"a": noise()}, {"b": noise()}, config={"Env": ["A=1"]})
    name = f"{registry_plain.host}/{registry_plain.repository('read')}"
    pushed = push(image, f"{name}:one", registries(), there, tags=["two"])
    assert pushed.tags == ("one", "two")
    for tag in ("one", "two"):
        seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}:{tag}"))
        assert (seen["Digest"], seen["Env"]) == (image.digest, ["A=1"])
    # Copying reads every blob, and holds it to its digest.
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}:one", f"oci:{tmp_path}/copy:one")
    bundle = tmp_path / "bundle"
    umoci = ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/copy:one", str(bundle)]
    subprocess.run(umoci, check=True, capture_output=True)
    assert sorted(each.name for each in (bundle / "rootfs").iterdir()) == ["a", "b"]


def test_an_image_that_is_there_costs_one_head(registry_plain: RegistryService, there: Home) -> None:
    image = make_image(there, {"a": noise()})
    name = f"{registry_plain.host}/{registry_plain.repository('same')}:it"
    push(image, name, registries(), there)
    clients = registries()
    again = push(image, name, clients, there)
    assert clients(registry_plain.host).sent.by_method == {"HEAD": 1}
    assert (again.sent, again.mounted) == (0, 0)
    assert again.digest == image.digest


def test_another_tag_of_what_is_there_sends_the_manifest_alone(
    registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"a": noise()})
    name = f"{registry_plain.host}/{registry_plain.repository('tags')}"
    push(image, f"{name}:one", registries(), there)
    clients = registries()
    push(image, f"{name}:one", clients, there, tags=["two"])
    sent = clients(registry_plain.host).sent
    assert (sent.by_method, sent.bytes) == ({"HEAD": 2, "PUT": 1}, len(image.manifest))


def test_no_layer_is_sent_twice_to_one_registry(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home
) -> None:
    shared = {"shared": noise(300_000)}
    images = [make_image(there, shared, {"own": noise(10_000)}) for _ in range(6)]
    names = [f"{broken_registry.host}/{registry_plain.repository(f'six-{number}')}:it" for number in range(6)]
    clients = registries()
    done: list[Pushed] = []
    threads = [
        threading.Thread(target=lambda image=image, name=name: done.append(push(image, name, clients, there)))
        for image, name in zip(images, names, strict=True)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(done) == 6
    union = {each.descriptor.digest: each.descriptor.size for image in images for each in image.layers}
    rest = sum(len(each.config) + len(each.manifest) for each in images)
    assert broken_registry.received == sum(union.values()) + rest
    assert sum(each.mounted for each in done) == 5 * images[0].layers[0].descriptor.size
    assert sum(each.sent for each in done) == sum(union.values()) + sum(len(each.config) for each in images)


def test_a_repository_that_lost_a_blob_only_costs_a_request(
    registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"a": noise()})
    digest = image.layers[0].descriptor.digest
    where = Where(there, registry_plain.host)
    where.add(digest, registry_plain.repository("never-filled"))
    target = registry_plain.repository("stale")
    pushed = push(image, f"{registry_plain.host}/{target}:it", registries(), there)
    assert pushed.blobs["sent"] == 2
    assert where.repositories(digest) == [target]
    where.add(image.layers[0].descriptor.digest, registry_plain.repository("elsewhere"))
    where.forget(digest, target)
    assert where.repositories(digest) == [registry_plain.repository("elsewhere")]


def test_layers_of_the_base_are_mounted_within_a_registry(
    base_images: BaseImages, registry_plain: RegistryService, there: Home
) -> None:
    from tilth.images.inspecting import inspect_base

    clients = registries()
    base = inspect_base(base_images.registry["3.11"], registry=clients, home=there)
    image = make_image(there, {"opt/env/hello": noise(1000)}, base=base)
    received = clients(registry_plain.host).sent.received
    pushed = push(image, f"{registry_plain.host}/{registry_plain.repository('based')}:it", clients, there)
    assert pushed.mounted == sum(each.descriptor.size for each in base.layers)
    assert pushed.sent < 5000
    assert clients(registry_plain.host).sent.received - received < 5000


def test_layers_of_the_base_are_copied_between_registries_as_a_stream(
    registry_plain: RegistryService, registry_tls: RegistryService, there: Home, tmp_path: Path
) -> None:
    elsewhere = Home(tmp_path / "elsewhere")
    below = make_image(elsewhere, {"base": noise(400_000)})
    source = f"{registry_plain.host}/{registry_plain.repository('source')}"
    push(below, f"{source}:it", registries(), elsewhere)
    image = make_image(there, {"own": noise(1000)}, base=as_base(below, f"registry:{source}"))

    plain, tls = registries(), registries(ca=registry_tls.ca)
    clients = lambda host: (tls if host == registry_tls.host else plain)(host)  # noqa: E731
    target = f"{registry_tls.host}/{registry_tls.repository('copied')}:it"
    pushed = push(image, target, clients, there)
    assert pushed.blobs == {"copied": 1, "sent": 2}
    assert not BlobStore(there.images).has(below.layers[0].descriptor.digest)
    assert push(image, target, clients, there).skipped == sum(each.descriptor.size for each in image.layers)
    seen = skopeo("inspect", "--tls-verify=false", f"docker://{target}")
    assert json.loads(seen)["Layers"] == [each.descriptor.digest for each in image.layers]


def test_a_broken_copy_of_a_layer_of_the_base_is_taken_from_where_the_base_is(
    registry_plain: RegistryService, registry_tls: RegistryService, there: Home, tmp_path: Path
) -> None:
    elsewhere = Home(tmp_path / "elsewhere")
    below = make_image(elsewhere, {"base": noise(40_000)})
    source = f"{registry_plain.host}/{registry_plain.repository('whole')}"
    push(below, f"{source}:it", registries(), elsewhere)
    image = make_image(there, {"own": noise(1000)}, base=as_base(below, f"registry:{source}"))
    layer = below.layers[0].descriptor
    copy = BlobStore(there.images).path(layer.digest)
    copy.write_bytes(b"x" * layer.size)

    plain, tls = registries(), registries(ca=registry_tls.ca)
    clients = lambda host: (tls if host == registry_tls.host else plain)(host)  # noqa: E731
    target = f"{registry_tls.host}/{registry_tls.repository('whole')}:it"
    assert push(image, target, clients, there).blobs == {"copied": 1, "sent": 2, "remade": 1}
    assert not copy.exists()
    skopeo("copy", "--src-tls-verify=false", f"docker://{target}", f"oci:{tmp_path}/read:it")


def test_a_broken_layer_in_the_layout_of_a_base_names_the_base(
    registry_plain: RegistryService, there: Home, tmp_path: Path
) -> None:
    elsewhere = Home(tmp_path / "elsewhere")
    below = make_image(elsewhere, {"base": noise(40_000)})
    layout = write_layout(tmp_path / "layout", below, elsewhere)
    image = make_image(there, {"own": noise(1000)}, base=as_base(below, f"layout:{layout.path}"))
    broken = layout.blobs.path(below.layers[0].descriptor.digest)
    broken.chmod(0o644)
    broken.write_bytes(b"x" * below.layers[0].descriptor.size)
    target = f"{registry_plain.host}/{registry_plain.repository('broken-base')}:it"
    with pytest.raises(ImageBroken, match="a layer of the base image") as caught:
        push(image, target, registries(), there)
    assert str(layout.path) in caught.value.mend


@pytest.mark.parametrize("which", ["registry_password", "registry_token"])
def test_a_layer_is_mounted_where_one_has_to_log_in(
    request: pytest.FixtureRequest, there: Home, which: str
) -> None:
    service: RegistryService = request.getfixturevalue(which)

    class Known:
        def login(self, _: str) -> Login:
            return Login(user=service.user, password=service.password)

    clients = registries(ca=service.ca, credentials=Known())
    shared = {"shared": noise(50_000)}
    for number in range(2):
        image = make_image(there, shared, {"own": noise(100)})
        name = f"{service.host}/{service.repository(f'login-{number}')}:it"
        pushed = push(image, name, clients, there)
        assert pushed.blobs == ({"mounted": 1, "sent": 2} if number else {"sent": 3})


@pytest.mark.parametrize("packed", [False, True])
def test_layers_of_the_base_are_read_from_a_layout(
    registry_plain: RegistryService, there: Home, tmp_path: Path, packed: bool
) -> None:
    from tilth.oci.layouts import write_tar

    elsewhere = Home(tmp_path / "elsewhere")
    below = make_image(elsewhere, {"base": noise(100_000)})
    layout = write_layout(tmp_path / "layout", below, elsewhere)
    if packed:
        write_tar(layout, tmp_path / "layout.tar")
    source = f"layout:{tmp_path}/layout{'.tar' if packed else ''}"
    image = make_image(there, {"own": noise(1000)}, base=as_base(below, source))
    name = f"{registry_plain.host}/{registry_plain.repository('laid')}"
    assert push(image, f"{name}:it", registries(), there).blobs == {"sent": 3}
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}:it", f"oci:{tmp_path}/copy:it")


def test_a_broken_layer_is_found_made_again_and_pushed(registry_plain: RegistryService, there: Home) -> None:
    files = {"a": noise(200_000)}
    image = make_image(there, files, {"b": noise()})
    store = BlobStore(there.images)
    digest = image.layers[0].descriptor.digest
    path = store.path(digest)
    content = bytearray(path.read_bytes())
    content[1000] ^= 0xFF
    path.unlink()
    path.write_bytes(content)

    name = f"{registry_plain.host}/{registry_plain.repository('broken')}:it"
    made: list[str] = []

    def remake(layer: ImageLayer) -> None:
        made.append(layer.title)
        put_layer(store, files)

    pushed = push(image, name, registries(), there, remake=remake)
    assert (made, pushed.blobs) == (["layer 0"], {"sent": 3, "remade": 1})
    assert store.verify(digest)
    skopeo("inspect", "--tls-verify=false", f"docker://{name}")


@pytest.mark.parametrize("how", ["flipped", "shorter", "longer", "lost"])
def test_a_broken_layer_that_nobody_makes_again_is_an_error_and_harms_nothing(
    registry_plain: RegistryService, there: Home, how: str
) -> None:
    image = make_image(there, {"a": noise(6_000_000)})
    store = BlobStore(there.images)
    path = store.path(image.layers[0].descriptor.digest)
    content = bytearray(path.read_bytes())
    content[1000] ^= 0xFF
    path.unlink()
    if how != "lost":
        path.write_bytes(
            {"flipped": content, "shorter": content[:-5], "longer": bytes(content) + b"more"}[how]
        )
    name = f"{registry_plain.host}/{registry_plain.repository('harm')}:it"
    with pytest.raises(ImageBroken) as caught:
        push(image, name, registries(), there)
    assert "layer 0" in caught.value.summary
    assert not path.exists()
    client = registries()(registry_plain.host)
    assert not client.has_blob(parse(name).repository, image.layers[0].descriptor.digest)
    assert client.head_manifest(parse(name).repository, "it") is None


def test_a_push_that_is_cut_off_goes_on_where_it_was(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"small": noise(50_000)}, {"large": noise(400_000)})
    name = f"{broken_registry.host}/{registry_plain.repository('cut')}:it"
    rule = broken_registry.rule("PUT", r"/manifests/", status=500, times=99)
    with pytest.raises(RegistryUnavailable):
        push(image, name, registries(), there)
    assert rule.used
    broken_registry.heal()
    pushed = push(image, name, registries(), there)
    assert (pushed.sent, pushed.blobs) == (0, {"skipped": 3})


def test_a_cut_connection_in_the_middle_of_a_blob_is_mended(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"large": noise(6_000_000)})
    name = f"{broken_registry.host}/{registry_plain.repository('mended')}:it"
    broken_registry.rule("PATCH", cut_request_at=1_000_000)
    pushed = push(image, name, registries(), there)
    assert pushed.sent > image.layers[0].descriptor.size
    skopeo("inspect", "--tls-verify=false", f"docker://{registry_plain.host}/{name.partition('/')[2]}")


PROGRAM = (
    "import sys,msgspec\nfrom pathlib import Path\nfrom tilth.home import Home\n"
    "from tilth.images.making import Image\nfrom tilth.images.pushing import push_image\n"
    "from tilth.oci.references import parse\nfrom tilth.oci.registry import Registry\n"
    "home=Home(Path(sys.argv[1]))\nimage=msgspec.json.decode((home.root/'image.json').read_bytes(),type=Image)\n"
    "push_image(image,parse(sys.argv[2]),Registry,home)\n"
)


def push_elsewhere(image: Image, to: str, home: Home) -> subprocess.Popen[bytes]:
    """A push in a process of its own."""
    (home.root / "image.json").write_bytes(msgspec.json.encode(image))
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(home.root), to], stderr=subprocess.PIPE)


def wait_until_received(broken: BrokenRegistry, amount: int) -> None:
    deadline = time.monotonic() + 60
    while broken.received < amount:
        assert time.monotonic() < deadline, broken.requests
        time.sleep(0.02)


def test_a_killed_push_leaves_nothing_that_the_next_one_minds(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"first": noise(900_000)}, {"second": noise(1_000_000)})
    name = f"{broken_registry.host}/{registry_plain.repository('killed')}:it"
    broken_registry.rule("", r"/blobs/uploads/", bytes_per_s=400_000, times=99)
    with push_elsewhere(image, name, there) as process:
        wait_until_received(broken_registry, 300_000)
        process.kill()
    broken_registry.heal()
    assert push(image, name, registries(), there).digest == image.digest
    skopeo("inspect", "--tls-verify=false", f"docker://{registry_plain.host}/{name.partition('/')[2]}")


def test_an_interrupted_push_ends_at_once(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"first": noise(2_000_000)}, {"second": noise(2_000_000)})
    name = f"{broken_registry.host}/{registry_plain.repository('interrupted')}:it"
    broken_registry.rule("", r"/blobs/uploads/", bytes_per_s=4000, times=99)  # minutes
    with push_elsewhere(image, name, there) as process:
        wait_until_received(broken_registry, 1000)
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert b"KeyboardInterrupt" in said


def test_too_many_layers_are_refused_before_anything_is_sent(there: Home) -> None:
    image = make_image(there, *({f"f{number}": b"x"} for number in range(100)))
    with pytest.raises(BuildFailed, match="has 100 layers"):
        push(image, "127.0.0.1:9/never/asked:it", registries(), there)


def test_progress_tells_all_bytes(registry_plain: RegistryService, there: Home) -> None:
    image = make_image(there, {"a": noise(100_000)})
    told: dict[str, int] = {}

    def progress(title: str, taken: int) -> None:
        told[title] = told.get(title, 0) + taken

    push(
        image,
        f"{registry_plain.host}/{registry_plain.repository('told')}:it",
        registries(),
        there,
        progress=progress,
    )
    assert told == {"layer 0": image.layers[0].descriptor.size, "config": len(image.config)}


def test_reading_on_from_the_middle_still_finds_what_is_broken_before(there: Home) -> None:
    image = make_image(there, {"a": noise(5000)})
    blob = image.layers[0].descriptor
    store = BlobStore(there.images)
    with Checked(store.open(blob.digest), blob) as file:
        assert file.seek(2000) == 2000
        assert len(file.read()) == blob.size - 2000
    content = bytearray(store.read(blob.digest))
    content[10] ^= 1
    store.path(blob.digest).unlink()
    store.path(blob.digest).write_bytes(content)
    with Checked(store.open(blob.digest), blob) as file:
        file.seek(2000)
        with pytest.raises(ImageBroken):
            file.read(blob.size - 2000)


def test_a_push_goes_on_with_what_was_begun_before_the_image_was_whole(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"a": noise()}, {"b": noise()})
    to = parse(f"{broken_registry.host}/{registry_plain.repository('begun')}:it")
    clients = registries()
    with Push(image.base, to, clients, there) as begun:
        begun.begin(image.layers[0].descriptor, image.layers[0])
        first = image.layers[0].descriptor.digest
        wait_until(lambda: clients(to.registry).has_blob(to.repository, first), "it is there")
        assert clients(to.registry).head_manifest(to.repository, "it") is None
        pushed = push_image(image, to, clients, there, begun=begun)
    assert pushed.blobs == {"sent": 3}
    assert broken_registry.received == pushed.sent + len(image.manifest)
    found = clients(to.registry).head_manifest(to.repository, "it")
    assert found is not None
    assert found.digest == image.digest


def test_a_layer_that_is_refused_is_told_to_whoever_brings_the_next(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"a": noise()}, {"b": noise()})
    to = parse(f"{broken_registry.host}/{registry_plain.repository('refused')}:it")
    broken_registry.rule("POST", r"/blobs/uploads/", status=403, times=99)
    with Push(image.base, to, registries(), there) as begun:
        begun.begin(image.layers[0].descriptor, image.layers[0])

        def refused() -> bool:
            try:
                begun.begin(image.layers[1].descriptor, image.layers[1])
            except RegistryRefused:
                return True
            return False

        wait_until(refused, "the refusal is told")


def test_an_upload_ends_when_its_image_cannot_be_made(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home
) -> None:
    image = make_image(there, {"large": noise(6_000_000)})
    to = parse(f"{broken_registry.host}/{registry_plain.repository('ended')}:it")
    slow = broken_registry.rule("PATCH", bytes_per_s=200_000, times=99)

    def fail() -> None:
        with Push(image.base, to, registries(), there) as begun:
            begun.begin(image.layers[0].descriptor, image.layers[0])
            wait_until(lambda: slow.used, "it is sent")
            raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        fail()
    assert broken_registry.received < image.layers[0].descriptor.size
    assert not registries()(to.registry).has_blob(to.repository, image.layers[0].descriptor.digest)
