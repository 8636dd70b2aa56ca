"""The API for referrers, which the reference registry does not have; see `test_registry` for the tags in its place."""

from __future__ import annotations

import pytest
from tests.oci.answering import Asked, answering
from tests.oci.conftest import QUICK

from tilth.environments import background
from tilth.errors import ImageBroken
from tilth.oci.descriptors import EMPTY, INDEX, MANIFEST, Descriptor, Index, Manifest, digest_of, encode
from tilth.oci.registry import Registry

SUBJECT = Descriptor(media_type=MANIFEST, digest="sha256:" + "a" * 64, size=10)


def referrer(number: int, kind: str) -> Descriptor:
    return Descriptor(media_type=MANIFEST, digest=f"sha256:{number:064}", size=1, artifact_type=kind)


def test_pages_are_followed_and_types_left_out_if_the_registry_does_not() -> None:
    pages = {
        "": Index(manifests=(referrer(1, "a"), referrer(2, "b"))),
        "2": Index(manifests=(referrer(3, "a"),)),
    }

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        page = "2" if "page=2" in asked.path else ""
        more = {} if page else {"Link": f'</v2/r/referrers/{SUBJECT.digest}?page=2>; rel="next"'}
        return 200, {"Content-Type": INDEX, **more}, encode(pages[page])

    with answering(answer) as host:
        registry = Registry(host, patience=QUICK)
        assert [each.digest[-1] for each in registry.referrers("r", SUBJECT.digest).manifests] == [
            "1",
            "2",
            "3",
        ]
        assert [each.digest[-1] for each in registry.referrers("r", SUBJECT.digest, "a").manifests] == [
            "1",
            "3",
        ]
        registry.close()


def test_no_tag_is_written_where_the_registry_remembers_by_itself() -> None:
    put: list[str] = []

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        put.append(asked.path)
        digest = digest_of(asked.body)
        return 201, {"OCI-Subject": SUBJECT.digest, "Docker-Content-Digest": digest}, b""

    config = Descriptor(media_type=EMPTY, digest=digest_of(b"{}"), size=2)
    content = encode(Manifest(artifact_type="a", config=config, layers=(config,), subject=SUBJECT))
    with answering(answer) as host:
        registry = Registry(host, patience=QUICK)
        assert registry.put_referrer("r", content).artifact_type == "a"
        registry.close()
    assert put == [f"/v2/r/manifests/{digest_of(content)}"]


def test_the_tag_is_written_once_for_several_at_a_time() -> None:
    tag = f"/v2/r/manifests/{SUBJECT.digest.replace(':', '-')}"
    listed: list[bytes] = []

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.method == "GET":
            return (200, {"Content-Type": INDEX}, listed[-1]) if listed else (404, {}, b"")
        if asked.path == tag:
            listed.append(asked.body)
        return 201, {"Docker-Content-Digest": digest_of(asked.body)}, b""

    config = Descriptor(media_type=EMPTY, digest=digest_of(b"{}"), size=2)
    contents = [
        encode(Manifest(artifact_type=kind, config=config, layers=(config,), subject=SUBJECT))
        for kind in "ab"
    ]
    with answering(answer) as host:
        registry = Registry(host, patience=QUICK)
        put = registry.put_referrers("r", contents, at_once=background.at_once)
        assert put == registry.put_referrers(
            "r", contents
        )  # what is in the list already is not written again
        registry.close()
    assert [each.artifact_type for each in put] == ["a", "b"]
    assert listed == [encode(Index(manifests=tuple(put)))]


def test_manifests_that_refer_to_different_ones_are_not_put_together() -> None:
    config = Descriptor(media_type=EMPTY, digest=digest_of(b"{}"), size=2)
    subjects = (SUBJECT, referrer(1, "a"))
    contents = [
        encode(Manifest(artifact_type="a", config=config, layers=(config,), subject=each))
        for each in subjects
    ]
    registry = Registry("localhost:1", patience=QUICK)
    with pytest.raises(ValueError, match="different"):
        registry.put_referrers("r", contents)
    registry.close()


def test_something_else_in_the_place_of_an_index_is_told() -> None:
    with answering(lambda _: (200, {"Content-Type": "text/html"}, b"<html>")) as host:
        registry = Registry(host, patience=QUICK)
        with pytest.raises(ImageBroken, match="cannot be read"):
            registry.referrers("r", SUBJECT.digest)
        registry.close()
