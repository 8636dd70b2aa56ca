from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.oci.conftest import Blob, new_blob

from tilth.errors import DiskFull, ImageBroken, ImageNotFound, SetupError
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, Manifest, encode
from tilth.oci.layouts import NAME, Layout, docker_archive, write_tar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services import BaseImages


def make_layout(folder: Path, store: BlobStore, name: str = "v1") -> tuple[Layout, Descriptor, Blob]:
    layer = new_blob(5000)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    ).encode()
    described = Descriptor(media_type=CONFIG, digest=store.put(config), size=len(config))
    store.put(layer.content)
    manifest = encode(Manifest(config=described, layers=(layer.descriptor,)))
    image = Descriptor(media_type=MANIFEST, digest=store.put(manifest), size=len(manifest))
    layout = Layout(folder)
    for digest in (described.digest, layer.descriptor.digest, image.digest):
        layout.put(digest, store)
    layout.add(image, name)
    return layout, image, layer


def test_an_image_is_found_by_its_name_and_another_takes_it_over(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store")
    layout, image, layer = make_layout(tmp_path / "oci", store)
    assert (
        layout.find("v1").digest == layout.find().digest == layout.find(image.digest).digest == image.digest
    )
    with layout.open(layer.descriptor.digest) as file:
        assert file.read() == layer.content
    _, other, _ = make_layout(tmp_path / "oci", store)
    assert layout.find("v1").digest == other.digest
    make_layout(tmp_path / "oci", store, "v2")
    assert [each.annotations[NAME] for each in layout.manifests()] == ["v1", "v2"]
    with pytest.raises(ImageNotFound, match="there are 2 images") as caught:
        layout.find()
    assert "`v1`, `v2`" in caught.value.why
    with pytest.raises(ImageNotFound, match="no image `v3`"):
        layout.find("v3")


def test_images_that_are_added_at_once_are_all_in_the_index(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store")
    names = [f"v{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: make_layout(tmp_path / "oci", store, name), names))
    layout = Layout(tmp_path / "oci")
    assert sorted(each.annotations[NAME] for each in layout.manifests()) == sorted(names)
    assert sorted(each.name for each in layout.path.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_the_index_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.json").write_text('{"mine": 1}')
    with pytest.raises(SetupError, match="something else than an OCI layout") as caught:
        Layout(tmp_path / "site").make()
    assert caught.value.mend
    (tmp_path / "site" / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    torn = "{"
    (tmp_path / "site" / "index.json").write_text(torn)
    image = Descriptor(media_type=MANIFEST, digest=f"sha256:{'0' * 64}", size=1)
    with pytest.raises(ImageBroken, match="cannot be read"):
        Layout(tmp_path / "site").add(image)
    assert (tmp_path / "site" / "index.json").read_text() == torn


def test_a_tar_of_a_layout_reads_the_same(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store")
    layout, image, layer = make_layout(tmp_path / "oci", store)
    for name in ("a.tar", "b.tar"):
        write_tar(layout, tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    packed = Layout(tmp_path / "a.tar")
    assert packed.find("v1") == layout.find("v1")
    assert packed.read(image.digest) == layout.read(image.digest)
    with packed.open(layer.descriptor.digest) as file:
        file.seek(10)
        assert file.read() == layer.content[10:]
    into = BlobStore(tmp_path / "other")
    assert packed.fetch(layer.descriptor, into) == 5000
    assert into.verify(layer.descriptor.digest)
    with pytest.raises(SetupError, match="is a file"):
        packed.add(image)


def test_a_changed_blob_is_found(tmp_path: Path) -> None:
    layout, image, layer = make_layout(tmp_path / "oci", BlobStore(tmp_path / "store"))
    for digest in (image.digest, layer.descriptor.digest):
        path = layout.blobs.path(digest)
        path.unlink()
        path.write_bytes(b"other")
    with pytest.raises(ImageBroken, match="other bytes"):
        layout.read(image.digest)
    into = BlobStore(tmp_path / "into")
    with pytest.raises(ImageBroken, match="other bytes"):
        layout.fetch(layer.descriptor, into)
    assert not into.has(layer.descriptor.digest)


def test_what_is_no_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound, match="no OCI layout"):
        Layout(tmp_path / "none").find()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageBroken, match="not an OCI layout"):
        Layout(tmp_path / "empty").find()
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(ImageBroken, match="not an OCI layout"):
        Layout(tmp_path / "text").find()
    (tmp_path / "empty" / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    (tmp_path / "empty" / "index.json").write_text("{}")
    with pytest.raises(ImageBroken, match="cannot be read"):
        Layout(tmp_path / "empty").find()


def test_links_in_a_tar_lead_nowhere(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for name in ("oci-layout", "index.json"):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    with pytest.raises(ImageBroken, match="not an OCI layout"):
        Layout(tmp_path / "evil.tar").find()


@pytest.mark.faults
def test_a_full_disk_is_told(tmp_path: Path, mount: Callable[..., Path]) -> None:
    disk = mount("-o", "size=1m")
    store = BlobStore(tmp_path / "store")
    digest = store.put(new_blob(2_000_000).content)
    with pytest.raises(DiskFull):
        Layout(disk / "oci").put(digest, store)
    assert not Layout(disk / "oci").blobs.has(digest)


def test_skopeo_reads_a_layout_and_a_tar_of_it(tmp_path: Path) -> None:
    layout, image, _ = make_layout(tmp_path / "oci", BlobStore(tmp_path / "store"))
    write_tar(layout, tmp_path / "oci.tar")
    for source in (f"oci:{tmp_path}/oci:v1", f"oci-archive:{tmp_path}/oci.tar:v1"):
        said = subprocess.run(["skopeo", "inspect", source], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        assert json.loads(said.stdout)["Digest"] == image.digest


def test_a_base_of_the_services_is_read(base_images: BaseImages) -> None:
    folder, _, name = base_images.layouts["3.11"].rpartition(":")
    layout = Layout(Path(folder))
    manifest = json.loads(layout.read(layout.find(name).digest))
    assert json.loads(layout.read(manifest["config"]["digest"]))["os"] == "linux"


def test_an_archive_for_docker_leaves_out_what_the_engine_has(
    tmp_path: Path, base_images: BaseImages
) -> None:
    folder, _, name = base_images.layouts["3.11"].rpartition(":")
    layout = Layout(Path(folder))
    content = layout.read(layout.find(name).digest)
    manifest = json.loads(content)
    whole = docker_archive(tmp_path / "whole.tar", content, layout.blobs.path, names=["tilth-test:1"])
    assert whole == sum(each["size"] for each in manifest["layers"])
    said = subprocess.run(
        ["skopeo", "inspect", f"docker-archive:{tmp_path}/whole.tar"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    left = docker_archive(
        tmp_path / "left.tar",
        content,
        layout.blobs.path,
        leave_out=[each["digest"] for each in manifest["layers"]],
    )
    assert left == 0
    assert (tmp_path / "left.tar").stat().st_size < 100_000


@pytest.mark.docker
def test_docker_loads_an_archive_without_the_layers_it_has(
    docker_engine, base_images: BaseImages, tmp_path: Path
) -> None:
    """A new image on top of a base in the engine: only its own layer is in the archive."""
    reference = docker_engine.images["3.11"]
    environment = {**os.environ, "DOCKER_HOST": docker_engine.host}

    def docker(*arguments: str) -> str:
        done = subprocess.run(
            [docker_engine.cli, *arguments], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = json.loads(docker("image", "inspect", reference))[0]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("hello")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    store = BlobStore(tmp_path / "store")
    diff_ids = [*told["RootFS"]["Layers"], f"sha256:{hashlib.sha256(packed.getvalue()).hexdigest()}"]
    layer = Blob(gzip.compress(packed.getvalue(), mtime=0))
    store.put(layer.content)
    config = json.dumps(
        {
            "architecture": told["Architecture"],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    base = tuple(Descriptor(media_type=LAYER_GZIP, digest=each, size=1) for each in told["RootFS"]["Layers"])
    top = Descriptor(media_type=LAYER_GZIP, digest=layer.descriptor.digest, size=layer.descriptor.size)
    manifest = encode(
        Manifest(
            config=Descriptor(media_type=CONFIG, digest=store.put(config), size=len(config)),
            layers=(*base, top),
        )
    )
    name = f"tilth-test-{uuid.uuid4().hex[:8]}:1"
    sent = docker_archive(
        tmp_path / "image.tar", manifest, store.path, names=[name], leave_out=[each.digest for each in base]
    )
    assert sent == layer.descriptor.size
    try:
        assert name in docker("load", "--input", str(tmp_path / "image.tar"))
        assert json.loads(docker("image", "inspect", name))[0]["RootFS"]["Layers"] == diff_ids
    finally:
        docker("image", "rm", "--force", name)
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
