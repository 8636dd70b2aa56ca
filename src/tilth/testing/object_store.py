"""What every `ObjectStore` must keep. Inherit, give `objects`, and pytest finds the promises as tests."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tilth.errors import LoadError, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.artifact_stores.objects import ObjectStore

OTHER = "sha256:" + "0" * 64


class ObjectStoreContract:
    """The promises of `tilth.artifact_stores.ObjectStore`."""

    @pytest.fixture
    def objects(self, tmp_path: Path) -> ObjectStore:
        """An empty store."""
        raise NotImplementedError("the inheriting class gives `objects`")

    @pytest.mark.parametrize("content", [b"", b"text", bytes(range(256)) * 100])
    def test_what_is_put_is_read_and_found(
        self, objects: ObjectStore, tmp_path: Path, content: bytes
    ) -> None:
        digest = objects.put("some/thing", content)
        assert digest == sha256(content)
        assert objects.read("some/thing", digest=digest) == content
        found = objects.find("some/thing")
        assert found is not None
        assert (found.key, found.size) == ("some/thing", len(content))
        objects.get("some/thing", tmp_path / "here", digest=digest)
        assert (tmp_path / "here").read_bytes() == content
        assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []

    def test_a_large_file_arrives_as_it_was(self, objects: ObjectStore, tmp_path: Path) -> None:
        content = os.urandom((20 << 20) + 17)
        (tmp_path / "large").write_bytes(content)
        digest = objects.put("large", tmp_path / "large", digest=sha256(content))
        assert digest == sha256(content)
        objects.get("large", tmp_path / "here", digest=digest)
        assert (tmp_path / "here").read_bytes() == content
        assert objects.read("large") == content

    def test_what_is_put_again_is_replaced(self, objects: ObjectStore) -> None:
        objects.put("thing", b"first and longer")
        objects.put("thing", b"second")
        assert objects.read("thing") == b"second"

    def test_a_large_file_replaces_another_that_begins_as_it_does(
        self, objects: ObjectStore, tmp_path: Path
    ) -> None:
        same = os.urandom(9 << 20)
        for end in (b"one", b"other"):
            (tmp_path / "file").write_bytes(same + end)
            objects.put("file", tmp_path / "file")
        objects.get("file", tmp_path / "here")
        assert (tmp_path / "here").read_bytes() == same + b"other"

    def test_what_is_not_there_is_told(self, objects: ObjectStore, tmp_path: Path) -> None:
        assert objects.find("nothing") is None
        with pytest.raises(NotFound, match="`nothing`"):
            objects.read("nothing")
        with pytest.raises(NotFound, match="`nothing`"):
            objects.get("nothing", tmp_path / "here")
        assert list(tmp_path.glob("here")) == []
        objects.delete("nothing")

    def test_a_file_above_others_is_not_there(self, objects: ObjectStore) -> None:
        objects.put("folder/file", b"x")
        assert objects.find("folder") is None
        with pytest.raises(NotFound):
            objects.read("folder")

    def test_keys_are_listed_below_a_prefix(self, objects: ObjectStore) -> None:
        for key in ("a/one", "a/b/two", "ab/three", "four"):
            objects.put(key, key.encode())
        assert {each.key for each in objects.list()} == {"a/one", "a/b/two", "ab/three", "four"}
        assert {(each.key, each.size) for each in objects.list("a/")} == {("a/one", 5), ("a/b/two", 7)}
        assert list(objects.list("nothing/")) == []

    def test_what_is_deleted_is_gone_and_may_be_deleted_again(self, objects: ObjectStore) -> None:
        objects.put("a/one", b"1")
        objects.put("a/two", b"2")
        for _ in range(2):
            objects.delete("a/one")
        assert objects.find("a/one") is None
        assert [each.key for each in objects.list()] == ["a/two"]

    @pytest.mark.parametrize(
        "name", ["with space", "ünïcödé", "100%", "a%20b", "a+b&c=d", "q?x#y", "[*]", "~.x"]
    )
    def test_names_are_kept_as_they_are(self, objects: ObjectStore, name: str) -> None:
        objects.put(f"names/{name}", name.encode())
        assert objects.read(f"names/{name}") == name.encode()
        assert [each.key for each in objects.list("names/")] == [f"names/{name}"]

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../../b", ".", "a\0b"])
    def test_a_key_that_leads_elsewhere_is_refused(self, objects: ObjectStore, key: str) -> None:
        with pytest.raises(ValueError, match="not the key"):
            objects.put(key, b"x")
        with pytest.raises(ValueError, match="not the key"):
            objects.delete(key)

    def test_what_is_not_what_its_digest_says_is_not_sent(self, objects: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"damaged")
        for source in (b"damaged", tmp_path / "file"):
            with pytest.raises(LoadError, match="damaged"):
                objects.put("thing", source, digest=OTHER)
        assert objects.find("thing") is None

    def test_what_is_not_what_its_digest_says_is_not_brought(
        self, objects: ObjectStore, tmp_path: Path
    ) -> None:
        objects.put("thing", b"text")
        with pytest.raises(LoadError, match="`thing` in the artifact store is damaged"):
            objects.get("thing", tmp_path / "here", digest=OTHER)
        with pytest.raises(LoadError, match="damaged"):
            objects.read("thing", digest=OTHER)
        assert list(tmp_path.iterdir()) == [] or not (tmp_path / "here").exists()
        assert not list(tmp_path.glob(".*.part"))

    def test_many_who_write_and_read_the_same_at_once_all_succeed(
        self, objects: ObjectStore, tmp_path: Path
    ) -> None:
        content = os.urandom(9 << 20)
        (tmp_path / "file").write_bytes(content)
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                objects.put("same", tmp_path / "file")
                objects.get("same", tmp_path / "here", digest=sha256(content))
                objects.put(f"own/{number}", b"%d" % number)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        assert (tmp_path / "here").read_bytes() == content
        assert len(list(objects.list("own/"))) == 4

    def test_a_store_that_works_checks_well_and_keeps_nothing_of_it(self, objects: ObjectStore) -> None:
        objects.check()
        assert list(objects.list()) == []


def sha256(content: bytes) -> str:
    """The digest of bytes, as stores name it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
