"""What tests of images share: locks from an index of tiny wheels, bases, and a way to read an image back."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.index import build_wheel

from tilth.define.environments import Environment
from tilth.environments import locks, probe
from tilth.home import Home
from tilth.images.bases import Base, BaseLayer
from tilth.images.making import Image, make_image
from tilth.images.settings import ImageSettings
from tilth.oci.blobs import BlobStore
from tilth.oci.descriptors import LAYER_GZIP, Descriptor, digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.environments.interpreters import Interpreter
    from tilth.environments.locks import Locked

LIBRARY = f"opt/env/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


class Workshop:
    """One home, one folder of wheels, one base."""

    def __init__(self, home: Home, wheels: Path, root: Path, python: Path = Path(sys.executable)) -> None:
        self.home = home
        self.wheels = wheels
        self.root = root
        self.interpreter: Interpreter = probe(python, home)
        self.base = like(self.interpreter)

    def wheel(self, name: str, version: str = "1.0", **options: Any) -> Path:
        return build_wheel(self.wheels, name, version, **options)

    def lock(self, *requirements: str, name: str = "training", **options: Any) -> Locked:
        declared = Environment(name, requirements=list(requirements), **options).to_json()
        return locks.lock(declared, root=self.root, interpreter=self.interpreter, home=self.home)

    def image(self, *requirements: str, settings: ImageSettings | None = None, **options: Any) -> Image:
        return self.image_of(self.lock(*requirements), settings, **options)

    def image_of(self, lock: Locked, settings: ImageSettings | None = None, **options: Any) -> Image:
        return make_image(lock, self.base, settings or ImageSettings(), self.home, **options)

    def files(self, image: Image) -> dict[str, tarfile.TarInfo]:
        """What the own layers of an image hold, the upper over the lower; `.pax_headers` name the layer."""
        found: dict[str, tarfile.TarInfo] = {}
        for layer, archive in self.archives(image):
            with archive:
                for member in archive:
                    member.pax_headers = {"title": layer}
                    found[member.name] = member
        return found

    def read(self, image: Image, path: str) -> bytes:
        content = None
        for _, archive in self.archives(image):
            with archive:
                if path in archive.getnames():
                    file = archive.extractfile(path)
                    assert file is not None
                    content = file.read()
        assert content is not None, path
        return content

    def archives(self, image: Image) -> list[tuple[str, tarfile.TarFile]]:
        blobs = BlobStore(self.home.images)
        return [
            (
                layer.title,
                tarfile.open(fileobj=io.BytesIO(gzip.decompress(blobs.read(layer.descriptor.digest)))),
            )
            for layer in image.own_layers
        ]


def like(interpreter: Interpreter, **changes: Any) -> Base:
    """A base for an interpreter of this machine, whose layers are nowhere."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    base = Base(
        reference="debian-py",
        source="registry:example.com/debian-py",
        digest=digest_of(b"base"),
        identity=digest_of(b"config of the base"),
        os="linux",
        architecture=architecture,
        layers=(
            BaseLayer(
                descriptor=Descriptor(media_type=LAYER_GZIP, digest=digest_of(b"layer"), size=5),
                diff_id=digest_of(b"plain layer"),
            ),
        ),
        config={
            "Env": ["PATH=/usr/bin:/bin", "LANG=C.UTF-8"],
            "Cmd": ["python3"],
            "Labels": {"of": "the base"},
        },
        history=({"created_by": "debootstrap"},),
        created="2025-02-03T04:05:06Z",
        python=interpreter.base,
        version=interpreter.version,
        libc=interpreter.libc,
    )
    return msgspec.structs.replace(base, **changes)


def base_of(layout: str, interpreter: Interpreter) -> tuple[Base, Path]:
    """A base from an OCI layout, `FOLDER:TAG`, and the folder."""
    folder, _, tag = layout.rpartition(":")
    index = json.loads(Path(folder, "index.json").read_bytes())
    entry = next(
        each for each in index["manifests"] if each["annotations"]["org.opencontainers.image.ref.name"] == tag
    )
    blobs = BlobStore(Path(folder))
    manifest = json.loads(blobs.read(entry["digest"]))
    config = json.loads(blobs.read(manifest["config"]["digest"]))
    layers = tuple(
        BaseLayer(descriptor=msgspec.convert(each, Descriptor), diff_id=diff_id)
        for each, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
    )
    return (
        like(
            interpreter,
            reference=layout,
            source=f"layout:{folder}",
            digest=entry["digest"],
            layers=layers,
            config=config["config"],
            history=tuple(config.get("history", ())),
            created=config.get("created", ""),
            python="/usr/bin/python3.11",
            version="3.11.2",
            libc="glibc 2.36",
        ),
        Path(folder),
    )


def write_layout(image: Image, home: Home, folder: Path, base_layout: Path | None = None) -> str:
    """Write an image as an OCI layout by hand; returns `FOLDER:image`, which other tools take."""
    store = folder / "blobs" / "sha256"
    store.mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    digests = [each.descriptor.digest for each in image.layers]
    digests += [image.digest, json.loads(image.manifest)["config"]["digest"]]
    for digest in digests:
        source = BlobStore(home.images).path(digest)
        if not source.exists() and base_layout is not None:
            source = BlobStore(base_layout).path(digest)
        (store / digest.removeprefix("sha256:")).symlink_to(source)
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {"org.opencontainers.image.ref.name": "image"},
    }
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"{folder}:image"


def run_in(root: Path, *command: str, variables: Mapping[str, str] | None = None) -> str:
    """Run a command in a root file system."""
    if os.geteuid() != 0:
        pytest.skip("`chroot` needs root")
    done = subprocess.run(
        [shutil.which("chroot") or "/usr/sbin/chroot", str(root), *command],
        env={"PATH": "/opt/env/bin:/usr/bin:/bin", **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def workshop(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    wheels, project = tmp_path / "index", tmp_path / "project"
    wheels.mkdir()
    project.mkdir()
    settings = tmp_path / "uv" / "uv.toml"
    settings.parent.mkdir()
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(wheels))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv" / "cache"))
    return Workshop(Home(home), wheels, project)
