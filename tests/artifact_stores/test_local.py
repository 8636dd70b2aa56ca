from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tilth.artifact_stores import LocalArtifactStore
from tilth.errors import DiskFull, SetupError
from tilth.materializers.artifacts import save_artifact
from tilth.testing.artifact_store import ArtifactStoreContract, contents, written

RACER = """
import sys
from pathlib import Path
from tilth.artifact_stores import LocalArtifactStore
from tilth.testing.artifact_store import written

store, folder = LocalArtifactStore(Path(sys.argv[1])), Path(sys.argv[2])
for n in range(100):
    digest = written(folder / str(n), str(n % 50))
    place = store.adopt(folder / str(n), digest)
    assert (place / "value").read_text() == str(n % 50)
"""


class TestLocalArtifactStore(ArtifactStoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return LocalArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def store(tmp_path):
    return LocalArtifactStore(tmp_path / "artifacts")


def test_an_artifact_lies_under_its_digest(store, tmp_path):
    digest = written(tmp_path / "a", "text")
    name = digest.removeprefix("sha256:")
    assert store.adopt(tmp_path / "a", digest) == tmp_path / "artifacts" / name[:2] / name
    assert list(store.digests()) == [digest]


def test_what_there_is_to_look_at_goes_with_its_artifact(store, tmp_path):
    digest = written(tmp_path / "a", "text")
    place = store.adopt(tmp_path / "a", digest)
    looks = place.with_name(f"{place.name}.visualizations")
    looks.mkdir()
    (looks / "table.html").write_text("<table>")
    assert list(store.digests()) == [digest]
    store.remove(digest)
    assert not looks.exists()


@pytest.mark.parametrize("manifest", [False, True])
def test_what_was_damaged_without_changing_its_size_is_replaced_when_it_is_made_again(
    store, tmp_path, manifest
):
    def make(folder):
        folder.mkdir()
        return save_artifact("text", folder)["digest"]

    digest = make(tmp_path / "a")
    place = store.adopt(tmp_path / "a", digest)
    (damaged,) = (each for each in place.iterdir() if (each.name == "artifact.json") == manifest)
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes().replace(b"e", b"a"))
    assert store.verify(digest)
    assert store.adopt(tmp_path / "b", make(tmp_path / "b")) == place
    assert store.verify(digest) == []
    assert not (tmp_path / "b").exists()


def test_processes_that_race_for_the_same_artifacts_all_find_them(store, tmp_path):
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, store.root, tmp_path / name])
        for name in ("a", "b", "c")
    ]
    assert [each.wait() for each in racers] == [0, 0, 0]
    assert len(list(store.digests())) == 50
    assert not any((tmp_path / "a").iterdir())


def test_an_artifact_from_another_file_system_is_copied(store, tmp_path, monkeypatch):
    rename = os.rename

    def across(source, place):
        if str(source).startswith(str(tmp_path / "elsewhere")):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, place)

    monkeypatch.setattr(os, "rename", across)
    digest = written(tmp_path / "elsewhere", "text")
    place = store.adopt(tmp_path / "elsewhere", digest)
    assert contents(place) == {"artifact.json", "value", "inner/value"}
    assert not (tmp_path / "elsewhere").exists()
    assert not any((store.root / "aside").iterdir())


@pytest.mark.faults
def test_a_full_disk_is_said_to_be_full_and_leaves_no_half(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False).returncode:
        pytest.skip("needs to mount a small file system")
    try:
        store = LocalArtifactStore(small)
        digest = written(tmp_path / "big", "text")
        (tmp_path / "big" / "more").write_bytes(bytes(2 << 20))
        with pytest.raises(DiskFull, match="no space left for artifacts"):
            store.adopt(tmp_path / "big", digest)
        assert not store.has(digest)
        assert shutil.disk_usage(small).used < 1 << 17
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_folder_that_may_not_be_written_to_is_told():
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # where everybody may go
    digest = written(folder / "a", "text")
    (folder / "artifacts").mkdir()
    (folder / "artifacts").chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:  # who may write everywhere
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, 65534, 65534)
            os.seteuid(65534)
        with pytest.raises(SetupError, match="cannot be written to"):
            LocalArtifactStore(folder / "artifacts").adopt(folder / "a", digest)
    finally:
        if root:
            os.seteuid(0)
        (folder / "artifacts").chmod(0o755)
        shutil.rmtree(folder)


def test_somebody_who_is_not_root_may_adopt_remove_and_put_aside():
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # where everybody may go
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        store = LocalArtifactStore(folder / "artifacts")
        digest = written(folder / "a", "text")
        store.adopt(folder / "a", digest)
        store.adopt(folder / "b", written(folder / "b", "text"))
        store.quarantine(digest)
        store.adopt(folder / "c", written(folder / "c", "text"))
        store.remove(digest)
        assert not store.has(digest)
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)
