"""What bases are found to be, wherever they lie."""

from __future__ import annotations

import io
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.images.handmade import DEBIAN, PYTHON, make_image, registries, tar_of, write_layout

from tilth.errors import DiskFull, EngineUnavailable, ImageBroken, ImageNotFound, OutsideError
from tilth.home import Home
from tilth.images.engines import Engine
from tilth.images.filesystems import Filesystem, Pieces
from tilth.images.inspecting import inspect_base, official_python
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import (
    DOCKER_LAYER_GZIP,
    INDEX,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    MANIFEST,
    Descriptor,
    Index,
    digest_of,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.broken_registry import BrokenRegistry
    from tests.services import BaseImages, DockerEngine, RegistryService

    from tilth.oci.registry import Registry

PATH = "/usr/local/bin:/usr/bin:/bin"


@pytest.fixture
def there(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def nobody(host: str) -> Registry:
    raise AssertionError(f"`{host}` was asked")


def filesystem(*layers: Mapping[str, bytes | str | None]) -> Filesystem:
    files = Filesystem("it")
    for each in layers:
        files.add(io.BytesIO(tar_of(each)), LAYER)
    return files


def test_links_are_followed_to_the_interpreter_itself() -> None:
    files = filesystem(
        {
            "./bin": "usr/bin",
            "usr/bin/python3.11": PYTHON,
            "usr/bin/python3": "/etc/alternatives/python3",
            "etc/alternatives/python3": "../../bin/python3.11",
            "usr/lib/x86_64-linux-gnu/libc.so.6": DEBIAN,
        }
    )
    assert files.python("/bin") == ("/usr/bin/python3.11", "3.11.2")
    assert files.libc() == "glibc 2.36"


def test_a_version_that_is_in_the_library_alone_is_found() -> None:
    files = filesystem(
        {
            "usr/local/bin/python3.12": b"small",
            "usr/local/bin/python3": "python3.12",
            "usr/local/lib/libpython3.12.so.1.0": b"....\0003.12.7\0...",
            "usr/lib/libpython3.11.so.1.0": PYTHON,
            "lib/ld-musl-x86_64.so.1": b"musl\0001.2.5\0",
        }
    )
    assert files.python(PATH) == ("/usr/local/bin/python3.12", "3.12.7")
    assert files.libc() == "musl 1.2"


def test_the_first_python3_on_path_is_taken_and_one_of_another_folder_is_not() -> None:
    files = filesystem(
        {
            "opt/python/bin/python3": b"\0003.13.1\0",
            "usr/bin/python3": PYTHON,
            "srv/python3": b"\0003.9.1\0",
        }
    )
    assert files.python("/opt/python/bin:/usr/bin") == ("/opt/python/bin/python3", "3.13.1")
    assert files.python("/usr/bin:/opt/python/bin") == ("/usr/bin/python3", "3.11.2")
    assert files.python("/nowhere") is None


def test_what_a_higher_layer_removes_is_gone_and_what_it_brings_itself_stays() -> None:
    lower = {"usr/bin/python3.11": PYTHON, "usr/bin/python3": "python3.11"}
    assert filesystem(lower, {"usr/bin/.wh.python3.11": b""}).python(PATH) is None
    assert filesystem(lower, {"usr/.wh.bin": b""}).python(PATH) is None
    opaque = {"usr/bin/python3": b"\0003.12.1\0", "usr/bin/.wh..wh..opq": b""}
    assert filesystem(lower, opaque).python(PATH) == ("/usr/bin/python3", "3.12.1")


def test_links_in_a_circle_and_out_of_the_image_lead_nowhere() -> None:
    files = filesystem(
        {"usr/bin/python3": "python", "usr/bin/python": "python3", "bin/python3.9": "../../../x"}
    )
    assert files.python("/usr/bin:/bin") is None


def test_an_official_image_says_its_python_itself() -> None:
    official = {"PATH": PATH, "PYTHON_VERSION": "3.12.7", "PYTHON_SHA256": "ab"}
    assert official_python(official) == ("/usr/local/bin/python3.12", "3.12.7")
    assert official_python({**official, "PATH": f"/opt/conda/bin:{PATH}"}) is None
    assert official_python({"PATH": PATH, "PYTHON_VERSION": "3.12"}) is None


@pytest.mark.registry
@pytest.mark.parametrize(("version", "libc"), [("3.11", "glibc 2.36"), ("3.13", "glibc 2.41")])
def test_a_debian_is_the_same_in_a_registry_and_in_a_layout(
    base_images: BaseImages, there: Home, tmp_path: Path, version: str, libc: str
) -> None:
    clients = registries()
    found = inspect_base(base_images.registry[version], registry=clients, home=there)
    assert (found.python, found.libc) == (f"/usr/bin/python{version}", libc)
    assert found.version.startswith(f"{version}.")
    assert found.platform == "linux/amd64"
    assert found.layers[0].diff_id != found.layers[0].descriptor.digest
    layout = inspect_base(
        f"oci:{base_images.layouts[version]}", registry=nobody, home=Home(tmp_path / "other")
    )
    assert (layout.python, layout.version, layout.libc) == (found.python, found.version, found.libc)
    assert (layout.digest, layout.layers) == (found.digest, found.layers)


@pytest.mark.registry
def test_a_known_tag_costs_one_head_and_a_known_digest_nothing(base_images: BaseImages, there: Home) -> None:
    reference = base_images.registry["3.11"]
    first = inspect_base(reference, registry=registries(), home=there)
    clients = registries()
    again = inspect_base(reference, registry=clients, home=there)
    assert again == first
    assert clients(reference.split("/")[0]).sent.by_method == {"HEAD": 1}
    name = reference.rpartition(":")[0]
    pinned = inspect_base(f"{name}@{first.digest}", registry=nobody, home=there)
    assert pinned.layers == first.layers
    offline = inspect_base(reference, registry=nobody, home=there, offline=True)
    assert offline == first


@pytest.mark.registry
def test_a_tag_that_moved_is_noticed(registry_plain: RegistryService, there: Home) -> None:
    from tests.images.test_pushing import push

    repository = f"{registry_plain.host}/{registry_plain.repository('moved')}:it"
    clients = registries()
    before = make_image(there, {"usr/bin/python3": PYTHON, "lib/libc.so.6": DEBIAN})
    push(before, repository, clients, there)
    assert inspect_base(repository, registry=clients, home=there).version == "3.11.2"
    after = make_image(there, {"usr/bin/python3": b"\0003.12.4\0", "lib/libc.so.6": DEBIAN})
    push(after, repository, clients, there)
    found = inspect_base(repository, registry=clients, home=there)
    assert (found.version, found.digest) == ("3.12.4", after.digest)


@pytest.mark.registry
def test_a_download_that_breaks_off_goes_on_and_one_with_other_bytes_is_refused(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, there: Home, tmp_path: Path
) -> None:
    from tests.images.test_pushing import push

    repository = registry_plain.repository(f"torn-{os.urandom(4).hex()}")
    image = make_image(there, {"usr/bin/python3": PYTHON, "lib/libc.so.6": DEBIAN, "z": os.urandom(400_000)})
    push(image, f"{registry_plain.host}/{repository}:it", registries(), there)
    layer = image.layers[0].descriptor.digest
    BlobStore(there.images).remove(layer)
    name = f"{broken_registry.host}/{repository}:it"

    flipped = broken_registry.rule("GET", f"/blobs/{layer}", flip_response_at=300_000)
    with pytest.raises(ImageBroken):
        inspect_base(name, registry=registries(), home=there)
    assert flipped.used
    cut = broken_registry.rule("GET", f"/blobs/{layer}", cut_response_at=300_000)
    assert inspect_base(name, registry=registries(), home=there).version == "3.11.2"
    assert cut.used


def test_offline_an_unknown_base_is_an_error_that_says_so(there: Home) -> None:
    with pytest.raises(OutsideError, match="is not known on this machine"):
        inspect_base("python:3.11", registry=nobody, home=there, offline=True)


@pytest.mark.registry
def test_a_tag_that_does_not_exist_names_the_nearest(base_images: BaseImages, there: Home) -> None:
    name = base_images.registry["3.11"].replace("bookworm", "bookwrm")
    with pytest.raises(ImageNotFound) as caught:
        inspect_base(name, registry=registries(), home=there)
    assert caught.value.mend == "did you mean `bookworm`?"
    with pytest.raises(ImageNotFound, match="there is no image"):
        inspect_base(name.replace("debian-py", "nothing"), registry=registries(), home=there)


@pytest.mark.registry
def test_an_index_gives_the_platform_or_lists_those_it_has(
    registry_plain: RegistryService, there: Home
) -> None:
    from tests.images.test_pushing import push

    repository = registry_plain.repository("several")
    name = f"{registry_plain.host}/{repository}"
    clients = registries()
    image = make_image(there, {"usr/bin/python3": PYTHON})
    push(image, f"{name}:one", clients, there)
    entries = [
        Descriptor(
            media_type=MANIFEST,
            digest=image.digest,
            size=len(image.manifest),
            platform={
                "os": "linux",
                "architecture": architecture,
                **({"variant": variant} if variant else {}),
            },
        )
        for architecture, variant in (("amd64", ""), ("arm", "v7"), ("unknown", ""))
    ]
    index = encode(Index(manifests=tuple(entries)))
    clients(registry_plain.host).put_manifest(repository, "all", index, INDEX)
    assert inspect_base(f"{name}:all", registry=clients, home=there).digest == image.digest
    with pytest.raises(ImageNotFound) as caught:
        inspect_base(f"{name}:all", registry=clients, home=there, platform="linux/arm64")
    assert "`linux/amd64`" in caught.value.why
    assert "`linux/arm/v7`" in caught.value.why


def test_a_base_for_another_platform_than_asked_for_is_refused(there: Home, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", make_image(there, {"a": b"a"}), there)
    with pytest.raises(ImageNotFound, match="is not there for `linux/arm64`"):
        inspect_base(f"oci:{tmp_path}/layout", registry=nobody, home=there, platform="linux/arm64")


def test_a_base_without_python_is_described(there: Home, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", make_image(there, {"bin/sh": b"#!"}), there)
    found = inspect_base(f"oci:{tmp_path}/layout", registry=nobody, home=there)
    assert (found.python, found.version, found.libc) == ("", "", "")


@pytest.mark.parametrize("packing", ["zstd", "gzip", "plain"])
@pytest.mark.parametrize("broken", ["shorter", "flipped"])
def test_a_layer_that_does_not_unpack_is_an_error(packing: str, broken: str) -> None:
    import gzip

    import zstandard

    plain = tar_of({"usr/bin/python3": os.urandom(60_000), "usr/bin/more": b"x"})
    pack, media_type = {
        "zstd": (zstandard.compress, LAYER_ZSTD),
        "gzip": (gzip.compress, LAYER_GZIP),
        "plain": (bytes, LAYER),
    }[packing]
    content = bytearray(pack(plain))
    if broken == "shorter":
        content = content[:30_000]
    else:
        content[:600] = bytes(each ^ 0xFF for each in content[:600])
    with pytest.raises(ImageBroken, match="a layer of the base image `it` cannot be read"):
        Filesystem("it").add(io.BytesIO(content), media_type)


def test_a_layer_of_a_type_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ImageBroken, match="has a layer of the type `application/x-other`"):
        Filesystem("it").add(io.BytesIO(b""), "application/x-other")


def test_a_base_whose_layer_is_broken_is_named(there: Home, tmp_path: Path) -> None:
    image = make_image(there, {"usr/bin/python3": os.urandom(5000)})
    layout = write_layout(tmp_path / "layout", image, there)
    path = layout.blobs.path(image.layers[0].descriptor.digest)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:2000])
    with pytest.raises(ImageBroken, match="layout` cannot be read"):
        inspect_base(f"oci:{tmp_path}/layout", registry=nobody, home=there)


@pytest.mark.docker
def test_an_image_in_the_engine_is_probed_and_its_layers_are_taken_out_when_wanted(
    docker_engine: DockerEngine, there: Home
) -> None:
    name = docker_engine.images["3.11"]
    engine = Engine(variables={"DOCKER_HOST": docker_engine.host})
    seen = inspect_base(f"docker:{name}", registry=nobody, home=there, engine=engine, with_layers=False)
    assert (seen.python, seen.version[:4], seen.libc) == ("/usr/bin/python3.11", "3.11", "glibc 2.36")
    assert seen.source == "engine:docker"
    whole = inspect_base(f"docker:{name}", registry=nobody, home=there, engine=engine)
    assert (whole.python, whole.version, whole.libc) == (seen.python, seen.version, seen.libc)
    assert [each.diff_id for each in whole.layers] == [each.diff_id for each in seen.layers]
    assert all(BlobStore(there.images).verify(each.descriptor.digest) for each in whole.layers)


@pytest.mark.docker
def test_a_saved_image_is_read_and_one_that_is_not_in_the_engine_is_an_error(
    docker_engine: DockerEngine, there: Home, tmp_path: Path
) -> None:
    archive = tmp_path / "saved.tar"
    subprocess.run(
        ["docker", "save", "-o", str(archive), docker_engine.images["3.11"]],
        check=True,
        env={**os.environ, "DOCKER_HOST": docker_engine.host},
    )
    found = inspect_base(f"docker-archive:{archive}", registry=nobody, home=there)
    assert found.python == "/usr/bin/python3.11"
    assert digest_of(BlobStore(there.images).read(found.digest)) == found.digest
    with pytest.raises(ImageNotFound, match="no image `never-made`"):
        inspect_base("docker:never-made", registry=nobody, home=there)


def test_an_engine_that_is_not_there_says_who_needs_it_and_who_does_not(there: Home) -> None:
    engine = Engine(command="no-such-docker", needed_for="the base image `docker:x`")
    with pytest.raises(EngineUnavailable) as caught:
        inspect_base("docker:x", registry=nobody, home=there, engine=engine)
    assert "the base image `docker:x` needs it" in caught.value.why
    assert "needs no engine" in caught.value.mend
    down = Engine(variables={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    with pytest.raises(EngineUnavailable, match="does not answer"):
        down.image("x")


def test_a_file_that_is_no_archive_and_one_that_is_not_there(there: Home, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"nothing of that kind" * 100)
    with pytest.raises(ImageBroken, match="is no docker archive"):
        inspect_base(f"docker-archive:{tmp_path}/a.tar", registry=nobody, home=there)
    with pytest.raises(ImageNotFound, match="there is no file"):
        inspect_base(f"docker-archive:{tmp_path}/b.tar", registry=nobody, home=there)


def test_of_an_official_image_only_the_layers_up_to_the_c_library_are_read(
    there: Home, tmp_path: Path
) -> None:
    official = [f"PATH={PATH}", "PYTHON_VERSION=3.12.7", "PYTHON_SHA256=ab"]
    image = make_image(there, {"lib/libc.so.6": DEBIAN}, {"large": b"x"}, config={"Env": official})
    layout = write_layout(tmp_path / "layout", image, there)
    layout.blobs.remove(image.layers[1].descriptor.digest)
    found = inspect_base(f"oci:{tmp_path}/layout", registry=nobody, home=there)
    assert (found.python, found.version, found.libc) == ("/usr/local/bin/python3.12", "3.12.7", "glibc 2.36")


@pytest.mark.parametrize("packing", ["zstd", "gzip", "plain"])
def test_layers_are_read_however_they_are_packed(packing: str) -> None:
    import gzip

    import zstandard

    plain = tar_of({"usr/bin/python3": PYTHON, "large": os.urandom(3_000_000)})
    packed, media_type = {
        "zstd": (zstandard.compress(plain), LAYER_ZSTD),
        "gzip": (gzip.compress(plain), DOCKER_LAYER_GZIP),
        "plain": (plain, LAYER),
    }[packing]
    pieces = Pieces(packed[at : at + 7000] for at in range(0, len(packed), 7000))
    files = Filesystem("it")
    files.add(pieces, media_type)
    assert files.python(PATH) == ("/usr/bin/python3", "3.11.2")
    assert pieces.read() == b""


@pytest.mark.faults
def test_a_full_disk_is_named(there: Home, tmp_path: Path) -> None:
    image = make_image(there, {"usr/bin/python3": PYTHON}, config={"Labels": {"long": "x" * 3_000_000}})
    write_layout(tmp_path / "layout", image, there)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        with pytest.raises(DiskFull, match="no space left"):
            inspect_base(f"oci:{tmp_path}/layout", registry=nobody, home=Home(small / "home"))
    finally:
        subprocess.run(["umount", small], check=True)
