from __future__ import annotations

import json

import pytest

from tilth.artifact_stores import LocalArtifactStore
from tilth.artifact_stores.cached import CachedArtifactStore
from tilth.artifact_stores.folder import FolderStore
from tilth.errors import LoadError, NotFound
from tilth.materializers.artifacts import load_artifact, save_artifact
from tilth.testing.artifact_store import ArtifactStoreContract, contents


class Counted:
    """An object store that counts what is written to it and read from it."""

    def __init__(self, objects):
        self._objects = objects
        self.put_keys = []
        self.got = []

    def __getattr__(self, name):
        return getattr(self._objects, name)

    def put(self, key, source, *, digest=""):
        self.put_keys.append(key)
        return self._objects.put(key, source, digest=digest)

    def get(self, key, target, *, digest=""):
        self.got.append(key)
        self._objects.get(key, target, digest=digest)


class TestCachedArtifactStore(ArtifactStoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return CachedArtifactStore(
            LocalArtifactStore(tmp_path / "artifacts"), FolderStore(tmp_path / "objects")
        )


@pytest.fixture
def objects(tmp_path):
    return Counted(FolderStore(tmp_path / "objects"))


@pytest.fixture
def machine(tmp_path, objects):
    """`machine("a")`: the store as a machine of that name has it."""
    return lambda name: CachedArtifactStore(LocalArtifactStore(tmp_path / name / "artifacts"), objects)


@pytest.fixture
def made(tmp_path):
    """Write an artifact; gives folder and digest."""
    count = 0

    def make(value):
        nonlocal count
        count += 1
        folder = tmp_path / f"made{count}"
        folder.mkdir()
        return folder, save_artifact(value, folder)["digest"]

    return make


def test_what_one_machine_made_durable_another_has(machine, made):
    here, there = machine("a"), machine("b")
    folder, digest = made({"numbers": [1, 2, 3]})
    here.adopt(folder, digest)
    assert not there.has(digest)
    here.sync(digest)
    assert there.has(digest)
    assert not there.is_here(digest)
    assert there.manifest(digest)["digest"] == digest
    assert not there.is_here(digest)
    assert load_artifact(there.path(digest)) == {"numbers": [1, 2, 3]}
    assert there.is_here(digest)
    assert there.verify(digest) == []


def test_the_manifest_is_written_last_and_nothing_twice(machine, made, objects):
    store = machine("a")
    folder, digest = made(b"x" * 100_000)
    store.adopt(folder, digest)
    store.sync(digest)
    assert objects.put_keys[-1].endswith("/artifact.json")
    assert len(objects.put_keys) == 2
    store.sync(digest)
    store.share(digest)
    assert len(objects.put_keys) == 2


def test_links_empty_folders_and_odd_names_arrive(machine, tmp_path):
    value = tmp_path / "value"
    (value / "empty" / "below").mkdir(parents=True)
    (value / "ünï 100% [*]?#.txt").write_text("odd")
    (value / "link").symlink_to("ünï 100% [*]?#.txt")
    (value / "none").write_bytes(b"")
    folder = tmp_path / "made"
    folder.mkdir()
    digest = save_artifact(value, folder)["digest"]
    here, there = machine("a"), machine("b")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    here.adopt(folder, digest)
    here.sync(digest)
    place = there.path(digest)
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) == names
    assert there.verify(digest) == []


def test_what_there_is_to_look_at_comes_along(machine, made):
    here, there = machine("a"), machine("b")
    folder, digest = made([1])
    place = here.adopt(folder, digest)
    looks = place.with_name(f"{place.name}.visualizations")
    looks.mkdir()
    (looks / "table.html").write_text("<table>")
    here.sync(digest)
    place = there.path(digest)
    assert (place.with_name(f"{place.name}.visualizations") / "table.html").read_text() == "<table>"
    there.remove(digest)
    assert list(here.objects.list()) == []


def test_what_there_is_to_look_at_stays_in_its_folder(machine, made, tmp_path):
    """Whoever may write to the store names it; a digest says nothing of it."""
    here, there = machine("a"), machine("b")
    folder, digest = made([1])
    here.adopt(folder, digest)
    here.sync(digest)
    name = digest.removeprefix("sha256:")
    here.objects.put(
        f"artifacts/{name[:2]}/{name}.visualizations/%2e%2e/%2e%2e/%2e%2e/evil.html", b"<script>"
    )
    place = there.path(digest)
    assert load_artifact(place) == [1]
    written = [path for path in tmp_path.rglob("evil.html") if not path.is_relative_to(tmp_path / "objects")]
    assert written == []


@pytest.mark.parametrize("which", ["value", "artifact.json"])
@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_an_artifact_that_is_damaged_in_the_store_is_refused_and_can_be_made_again(
    machine, made, objects, tmp_path, which, how
):
    here, there = machine("a"), machine("b")
    folder, digest = made(b"some bytes " * 10_000)
    here.adopt(folder, digest)
    here.sync(digest)
    (file,) = (
        path
        for path in (tmp_path / "objects").rglob("*")
        if path.is_file() and (path.name == "artifact.json") == (which == "artifact.json")
    )
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    elif how == "cut":
        file.write_bytes(content[:-20])
    elif which == "value":
        file.write_bytes(content.replace(b"some", b"sane"))
    else:
        file.write_bytes(content.replace(b"110000", b"110001"))
    if which == "artifact.json" and how == "gone":
        assert not there.has(digest)
        assert not there.path(digest).exists()
        return
    with pytest.raises(LoadError, match="is damaged in"):
        there.path(digest)
    assert not there.path(digest).exists()
    assert not there.has(digest)
    folder, digest = made(b"some bytes " * 10_000)
    there.adopt(folder, digest)
    there.sync(digest)
    assert machine("c").verify(digest) == []


def test_a_manifest_cannot_lead_out_of_its_folder(machine, made, objects, tmp_path):
    here = machine("a")
    folder, _ = made([1])
    from tilth.materializers.artifacts import artifact_digest

    manifest = json.loads((folder / "artifact.json").read_text())
    manifest["files"]["../../../../outside"] = next(iter(manifest["files"].values()))
    manifest["digest"] = digest = artifact_digest(manifest)
    (folder / "artifact.json").write_text(json.dumps(manifest))
    here.adopt(folder, digest)
    objects.put(f"artifacts/{digest[7:9]}/{digest[7:]}/artifact.json", json.dumps(manifest).encode())
    with pytest.raises(LoadError, match="is damaged"):
        machine("b").path(digest)
    assert not list(tmp_path.rglob("outside"))


def test_what_is_nowhere_has_no_folder(machine):
    store, digest = machine("a"), "sha256:" + "0" * 64
    assert not store.path(digest).exists()
    with pytest.raises(NotFound):
        store.manifest(digest)


def test_what_another_store_had_is_sent_when_it_is_shared(machine, made, tmp_path):
    local = LocalArtifactStore(tmp_path / "a" / "artifacts")
    folder, digest = made([1, 2])
    local.adopt(folder, digest)
    machine("a").share(digest)
    assert contents(machine("b").path(digest))


def test_what_was_torn_here_while_it_came_is_brought_again(machine, made, tmp_path):
    here, there = machine("a"), machine("b")
    folder, digest = made(b"some bytes " * 10_000)
    here.adopt(folder, digest)
    here.sync(digest)
    (file,) = (each for each in here.manifest(digest)["files"])
    aside = there.local.root / "aside" / f"coming-{digest.removeprefix('sha256:')}"
    (aside / file).parent.mkdir(parents=True)
    (aside / file).write_bytes(b"torn")
    there.path(digest)
    assert there.verify(digest) == []
    assert here.objects.find(f"artifacts/{digest[7:9]}/{digest[7:]}/artifact.json")
