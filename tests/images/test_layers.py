"""Layers of wheels: made once, found again, remade when they are broken."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.images.locked import LIBRARY, Workshop, workshop as workshop

from tilth.errors import BuildFailed, SetupError
from tilth.images.making import broken_layers
from tilth.images.settings import ImageSettings
from tilth.oci.blobs import BlobStore

if TYPE_CHECKING:
    from pathlib import Path


def blob(shop: Workshop, digest: str) -> Path:
    return BlobStore(shop.home.images).path(digest)


def test_layers_are_made_once_and_shared_between_environments(workshop: Workshop) -> None:
    for name in ("alpha", "beta", "gamma"):
        workshop.wheel(name)
    first = workshop.image("alpha", "beta")
    second = workshop.image("beta", "gamma")
    again = workshop.image("alpha", "beta")
    assert [each.title for each in first.own_layers] == ["skeleton", "alpha 1.0", "beta 1.0"]
    assert len(first.made) == 3
    assert [each.descriptor.digest for each in second.own_layers if each.title.startswith("gamma")] == list(
        second.made
    )
    assert again.made == ()
    assert again.digest == first.digest
    assert first.bytes_made == sum(each.descriptor.size for each in first.own_layers)


def test_six_images_at_once_make_each_layer_once(workshop: Workshop) -> None:
    for index in range(8):
        workshop.wheel(f"package-{index}")
    locks = [
        workshop.lock(*(f"package-{each}" for each in range(index, index + 3)), name=f"step-{index}")
        for index in range(6)
    ]
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda lock=lock: made.extend(workshop.image_of(lock).made)) for lock in locks
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(made) == len(set(made)) == 9  # eight wheels and a skeleton


@pytest.mark.parametrize("harm", ["remove", "shorten", "alter", "note"])
def test_a_broken_layer_is_found_and_made_again(workshop: Workshop, harm: str) -> None:
    workshop.wheel("alpha")
    image = workshop.image("alpha")
    digest = image.own_layers[1].descriptor.digest
    path = blob(workshop, digest)
    whole = path.read_bytes()
    path.chmod(0o644)
    if harm == "remove":
        path.unlink()
    elif harm == "shorten":
        path.write_bytes(whole[:-10])
    elif harm == "alter":
        path.write_bytes(whole[:-1] + b"?")
    else:
        for note in (workshop.home.images / "layers").glob("*.json"):
            note.write_bytes(note.read_bytes()[:20])
    assert broken_layers(image, workshop.home) == ([] if harm == "note" else [digest])
    again = workshop.image("alpha")
    assert digest in again.made
    assert again.digest == image.digest
    assert path.read_bytes() == whole
    assert broken_layers(again, workshop.home) == []


def test_a_shortened_layer_is_not_taken_for_one(workshop: Workshop) -> None:
    workshop.wheel("alpha")
    digest = workshop.image("alpha").own_layers[1].descriptor.digest
    blob(workshop, digest).chmod(0o644)
    blob(workshop, digest).write_bytes(b"torn")
    assert digest in workshop.image("alpha").made


def test_a_wheel_that_a_step_changed_is_fetched_again(workshop: Workshop) -> None:
    workshop.wheel("alpha")
    image = workshop.image("alpha")
    module = next(workshop.home.wheels.glob("*/*/tree/lib/*/site-packages/alpha.py"))
    module.chmod(0o644)
    module.write_text("HARMED = True\n")
    for note in (workshop.home.images / "layers").glob("*.json"):
        note.unlink()
    again = workshop.image("alpha")
    assert again.digest == image.digest
    assert b"HARMED" not in workshop.read(again, f"{LIBRARY}/alpha.py")


@pytest.mark.parametrize("left", [300, 700, 2000])
def test_a_torn_bundle_is_refused(workshop: Workshop, tmp_path: Path, left: int) -> None:
    import io
    import tarfile

    workshop.wheel("alpha")
    bundle = tmp_path / "abc.tar"
    with tarfile.open(bundle, "w") as archive:
        for name in ("one.py", "two.py"):
            member = tarfile.TarInfo(name)
            member.size = 1000
            archive.addfile(member, io.BytesIO(b"x" * 1000))
    bundle.write_bytes(bundle.read_bytes()[:left])
    with pytest.raises(BuildFailed) as refused:
        workshop.image("alpha", code=bundle)
    assert refused.value.mend


def test_bytecode_is_in_the_image_only_when_it_is_asked_for(workshop: Workshop) -> None:
    workshop.wheel("alpha", files={"alpha/__init__.py": "x = 1\n", "alpha/more.py": "y = 2\n"})
    without = workshop.files(workshop.image("alpha"))
    assert not [path for path in without if "__pycache__" in path]
    assert not list(workshop.home.wheels.rglob("*.pyc"))  # writing it takes longer than all else
    image = workshop.image("alpha", settings=ImageSettings(bytecode=True))
    found = [path for path in workshop.files(image) if path.endswith(".pyc")]
    assert len(found) == 2
    assert workshop.image("alpha", settings=ImageSettings(bytecode=True)).made == ()
    code = workshop.read(image, found[0])
    assert code[4:8] == b"\1\0\0\0"  # checked against no clock, so the dates in a layer do not matter


def test_a_module_that_does_not_compile_is_in_the_image_without_bytecode(workshop: Workshop) -> None:
    workshop.wheel("alpha", files={"alpha/__init__.py": "def broken(:\n"})
    image = workshop.image("alpha", settings=ImageSettings(bytecode=True))
    assert not [path for path in workshop.files(image) if path.endswith(".pyc")]


def test_bytecode_that_nothing_here_can_write_is_an_error(workshop: Workshop) -> None:
    from tilth.environments import in_image

    workshop.wheel("alpha")
    base = workshop.base = msgspec.structs.replace(workshop.base, version="3.99.0", libc="glibc 2.36")
    workshop.interpreter = in_image(
        python=base.python,
        version=base.version,
        libc=base.libc,
        machine={"amd64": "x86_64", "arm64": "aarch64"}[base.architecture],
        digest=base.identity,
        here=workshop.interpreter,
    )
    workshop.image("alpha")
    with pytest.raises(SetupError, match=r"no Python 3\.99 on this machine"):
        workshop.image("alpha", settings=ImageSettings(bytecode=True))


def test_bytecode_is_written_for_wheels_that_were_unpacked_without(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tilth.environments import wheels

    workshop.wheel("alpha")
    with monkeypatch.context() as patched:
        patched.setattr(wheels, "compiler_of", lambda interpreter, home: None)
        workshop.image("alpha")
    image = workshop.image("alpha", settings=ImageSettings(bytecode=True))
    assert [path for path in workshop.files(image) if path.endswith(".pyc")]


def test_compression_is_a_setting(workshop: Workshop) -> None:
    workshop.wheel("alpha")
    gzip = workshop.image("alpha")
    zstd = workshop.image("alpha", settings=ImageSettings(compression="zstd"))
    plain = workshop.image("alpha", settings=ImageSettings(compression="none"))
    ids = [[each.diff_id for each in image.layers] for image in (gzip, zstd, plain)]
    assert ids[0] == ids[1] == ids[2]
    assert zstd.own_layers[1].descriptor.media_type.endswith("+zstd")
    assert plain.own_layers[1].descriptor.digest == plain.own_layers[1].diff_id


def test_the_projects_code_is_a_layer_by_choice(workshop: Workshop, tmp_path: Path) -> None:
    from tilth.client.bundle import make_bundle
    from tilth.client.code_root import CodeRoot

    workshop.wheel("alpha")
    project = tmp_path / "code"
    (project / "package").mkdir(parents=True)
    (project / "package" / "größe.py").write_text("x = 1\n")
    (project / "run.sh").write_text("#!/bin/sh\n")
    (project / "run.sh").chmod(0o755)
    (project / "package" / "linked.sh").symlink_to("../run.sh")
    fields = {"root": project}
    bundle = make_bundle(
        CodeRoot(**{**dict.fromkeys(CodeRoot.__dataclass_fields__), **fields}), workshop.home
    )  # type: ignore[arg-type]
    image = workshop.image("alpha", code=bundle.path)
    files = workshop.files(image)
    assert files["opt/code/package/größe.py"].mode == 0o644
    assert files["opt/code/run.sh"].mode == 0o755
    assert files["opt/code/package/linked.sh"].linkname == "../run.sh"
    assert image.own_layers[-1].title == "code"
    without = workshop.image("alpha")
    assert image.layers[:-1] == without.layers  # whether there is code moves nothing else


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("../outside", ""),
        ("/etc/passwd", ""),
        ("a/../../b", ""),
        ("link", "/etc/passwd"),
        ("a/link", "../../etc"),
    ],
)
def test_a_hostile_bundle_is_refused(workshop: Workshop, tmp_path: Path, name: str, link: str) -> None:
    import io
    import tarfile

    workshop.wheel("alpha")
    bundle = tmp_path / "abc.tar"
    with tarfile.open(bundle, "w") as archive:
        member = tarfile.TarInfo(name)
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, link
        archive.addfile(member, io.BytesIO(b""))
    with pytest.raises(BuildFailed, match="cannot be put into an image"):
        workshop.image("alpha", code=bundle)


def test_a_bundle_that_writes_through_a_link_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    import tarfile

    workshop.wheel("alpha")
    bundle = tmp_path / "abc.tar"
    with tarfile.open(bundle, "w") as archive:
        member = tarfile.TarInfo("a")
        member.type, member.linkname = tarfile.SYMTYPE, "b"
        archive.addfile(member)
        archive.addfile(tarfile.TarInfo("a/file"))
    with pytest.raises(BuildFailed, match="cannot be put into an image") as refused:
        workshop.image("alpha", code=bundle)
    assert "`a` is a link, and a folder" in refused.value.why


def test_a_full_disk_is_told(workshop: Workshop, mount: object) -> None:
    from tilth.errors import DiskFull

    workshop.wheel("alpha", files={"alpha.bin": __import__("os").urandom(3 << 20)})
    lock = workshop.lock("alpha")
    workshop.image_of(lock)
    for path in sorted(workshop.home.images.rglob("*"), reverse=True):
        if path.is_file():
            path.unlink()
    mount("-o", "size=1m", at=workshop.home.images)  # type: ignore[operator]
    with pytest.raises(DiskFull, match="training"):
        workshop.image_of(lock)
    assert not [each for each in workshop.home.images.rglob(".*-*") if each.is_file()]


def test_the_layers_of_an_interpreter_elsewhere_are_the_same(workshop: Workshop) -> None:
    from tilth.environments import in_image

    workshop.wheel("alpha", scripts={"alpha-run": "alpha:main"})
    here = workshop.image("alpha")
    base = workshop.base
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[base.architecture]
    workshop.interpreter = in_image(
        python=base.python,
        version=base.version,
        libc=base.libc,
        machine=machine,
        digest=base.identity,
        here=workshop.interpreter,
    )
    there = workshop.image("alpha")
    assert [each.diff_id for each in there.own_layers] == [each.diff_id for each in here.own_layers]
    assert msgspec.json.decode(there.config)["config"]["Labels"]["dev.tilth.environment"]
