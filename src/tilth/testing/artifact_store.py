"""What every `ArtifactStore` must keep. Inherit, give `store`, and pytest finds the promises as tests."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from tilth.errors import NotFound
from tilth.materializers.artifacts import save_artifact

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.artifact_stores.protocol import ArtifactStore


class ArtifactStoreContract:
    """The promises of `tilth.artifact_stores.ArtifactStore`."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ArtifactStore:
        """An empty store."""
        raise NotImplementedError("the inheriting class gives `store`")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Where a test writes what it hands over."""
        folder = tmp_path / "written"
        folder.mkdir()
        return folder

    def test_what_is_adopted_is_there_and_gone_from_where_it_was(
        self, store: ArtifactStore, folder: Path
    ) -> None:
        digest = written(folder / "a", "text")
        assert not store.has(digest)
        place = store.adopt(folder / "a", digest)
        assert store.has(digest)
        assert place == store.path(digest)
        assert contents(place) == {"artifact.json", "value", "inner/value"}
        assert not (folder / "a").exists()

    def test_what_is_adopted_cannot_be_changed(self, store: ArtifactStore, folder: Path) -> None:
        place = store.adopt(folder / "a", written(folder / "a", "text"))
        for path in [place, *place.rglob("*")]:
            assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)

    def test_the_same_artifact_is_kept_once(self, store: ArtifactStore, folder: Path) -> None:
        digest = written(folder / "a", "text")
        place = store.adopt(folder / "a", digest)
        first = (place / "value").stat().st_ino
        assert store.adopt(folder / "b", written(folder / "b", "text")) == place
        assert (place / "value").stat().st_ino == first
        assert not (folder / "b").exists()

    def test_a_torn_artifact_is_replaced(self, store: ArtifactStore, folder: Path) -> None:
        digest = written(folder / "a", "text")
        place = store.adopt(folder / "a", digest)
        (place / "value").chmod(0o644)
        os.truncate(place / "value", 0)
        store.adopt(folder / "b", written(folder / "b", "text"))
        assert (place / "value").read_text() == "text"

    def test_of_many_who_adopt_at_once_all_succeed(self, store: ArtifactStore, folder: Path) -> None:
        failures: list[BaseException] = []
        digests = [written(folder / f"{name}-{n}", str(n % 3)) for n in range(30) for name in ("a", "b")]

        def adopt(name: str) -> None:
            try:
                for n in range(30):
                    store.adopt(folder / f"{name}-{n}", digests[2 * n])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=adopt, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert all(store.has(digest) for digest in digests)
        assert not any(folder.iterdir())

    @pytest.mark.parametrize("count", [1, 100])
    def test_artifacts_are_made_durable_together(
        self, store: ArtifactStore, folder: Path, count: int
    ) -> None:
        digests = [written(folder / str(n), str(n)) for n in range(count)]
        for n, digest in enumerate(digests):
            store.adopt(folder / str(n), digest)
        store.sync(*digests)
        assert all(store.has(digest) for digest in digests)

    def test_what_is_not_there_cannot_be_made_durable_or_put_aside(self, store: ArtifactStore) -> None:
        digest = "sha256:" + "0" * 64
        with pytest.raises(NotFound):
            store.sync(digest)
        with pytest.raises(NotFound):
            store.quarantine(digest)

    def test_removing_leaves_nothing_and_may_be_repeated(self, store: ArtifactStore, folder: Path) -> None:
        digest = written(folder / "a", "text")
        store.adopt(folder / "a", digest)
        for _ in range(2):
            store.remove(digest)
            assert not store.has(digest)
        assert store.adopt(folder / "b", written(folder / "b", "text")) == store.path(digest)

    def test_what_is_put_aside_can_be_looked_at_and_made_again(
        self, store: ArtifactStore, folder: Path
    ) -> None:
        digest = written(folder / "a", "text")
        store.adopt(folder / "a", digest)
        aside = store.quarantine(digest)
        assert not store.has(digest)
        assert (aside / "value").read_text() == "text"
        store.adopt(folder / "b", written(folder / "b", "text"))
        assert store.has(digest)

    def test_changed_content_is_noticed(self, store: ArtifactStore, folder: Path) -> None:
        (folder / "a").mkdir()
        digest = str(save_artifact({"numbers": [1, 2, 3]}, folder / "a")["digest"])
        place = store.adopt(folder / "a", digest)
        assert store.verify(digest) == []
        changed = next(path for path in sorted(place.iterdir()) if path.name != "artifact.json")
        changed.chmod(0o644)
        changed.write_bytes(changed.read_bytes().replace(b"2", b"7"))
        (problem,) = store.verify(digest)
        assert changed.name in problem

    def test_a_manifest_is_read_and_an_artifact_shared(self, store: ArtifactStore, folder: Path) -> None:
        (folder / "a").mkdir()
        digest = str(save_artifact([1, 2], folder / "a")["digest"])
        assert not store.is_here(digest)
        with pytest.raises(NotFound):
            store.manifest(digest)
        store.adopt(folder / "a", digest)
        assert store.is_here(digest)
        assert store.manifest(digest)["digest"] == digest
        store.sync(digest)
        store.share(digest)
        assert store.has(digest)

    def test_what_is_not_there_does_not_verify(self, store: ArtifactStore) -> None:
        assert store.verify("sha256:" + "0" * 64) == ["it is not there"]

    @pytest.mark.parametrize(
        "digest", ["", "abc", "sha256:../../../etc", "sha256:" + "0" * 63, "sha256:" + "A" * 64]
    )
    def test_what_is_no_digest_is_refused(self, store: ArtifactStore, digest: str) -> None:
        with pytest.raises(ValueError, match="not the digest"):
            store.path(digest)

    def test_links_inside_are_kept_and_what_they_lead_to_outside_is_left_alone(
        self, store: ArtifactStore, folder: Path
    ) -> None:
        outside = folder / "outside"
        outside.write_text("mine")
        outside.chmod(0o600)
        digest = written(folder / "a", "text")
        (folder / "a" / "link").symlink_to("value")
        (folder / "a" / "away").symlink_to(outside)
        place = store.adopt(folder / "a", digest)
        assert (place / "link").readlink().name == "value"
        assert stat.S_IMODE(outside.stat().st_mode) == 0o600
        store.remove(digest)
        assert outside.read_text() == "mine"


def written(folder: Path, text: str) -> str:
    """A folder as an artifact's looks, and its digest."""
    (folder / "inner").mkdir(parents=True)
    (folder / "value").write_text(text)
    (folder / "inner" / "value").write_text(text)
    (folder / "artifact.json").write_text(f'{{"about": "{folder.name}"}}')
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def contents(folder: Path) -> set[str]:
    """The files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
