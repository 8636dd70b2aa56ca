"""A registry that is down, slow, full, refuses, lies or breaks off, through a proxy that really does so."""

from __future__ import annotations

import time

import pytest
from tests.broken_registry import BrokenRegistry
from tests.oci.answering import answering
from tests.oci.conftest import QUICK, new_blob, push_image
from tests.oci.resuming_registry import ResumingRegistry

from tilth.errors import ImageBroken, RegistryRefused, RegistryUnavailable, TilthError
from tilth.oci.blobs import BlobStore
from tilth.oci.patience import Patience
from tilth.oci.registry import Registry

MB = 1_000_000


def test_a_registry_that_is_down_is_told(
    broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    broken_registry.close()
    with pytest.raises(RegistryUnavailable, match="cannot be reached") as caught:
        broken.head_manifest(repository, "v1")
    assert broken_registry.host in caught.value.summary
    assert "tried 4 times" in caught.value.why


def test_a_registry_without_an_address_is_told() -> None:
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        Registry("registry.invalid", patience=QUICK).check()


def test_a_registry_that_answers_too_late_is_told(broken_registry: BrokenRegistry, repository: str) -> None:
    broken_registry.rule(delay_s=3, times=9)
    registry = Registry(broken_registry.host, patience=Patience(tries=2, first_wait_s=0.01, silence_s=0.3))
    with pytest.raises(RegistryUnavailable, match="does not answer in time"):
        registry.head_manifest(repository, "v1")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(
    broken: Registry, broken_registry: BrokenRegistry, repository: str, status: int
) -> None:
    broken_registry.rule(status=status, times=2)
    assert broken.head_manifest(repository, "v1") is None
    assert [each.status for each in broken_registry.requests] == [status, status, 404]


def test_a_registry_is_waited_for_as_long_as_it_asks(
    broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    broken_registry.rule(status=429, retry_after_s=1)
    began = time.monotonic()
    broken.head_manifest(repository, "v1")
    assert time.monotonic() - began >= 1


def test_a_registry_that_asks_for_too_much_time_is_told(
    broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    broken_registry.rule(status=429, retry_after_s=3600)
    with pytest.raises(RegistryRefused, match="too many requests") as caught:
        broken.get_manifest(repository, "v1")
    assert "wait for 3600 s" in caught.value.why


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (401, RegistryRefused, "wants a login"),
        (403, RegistryRefused, "does not allow"),
        (413, RegistryRefused, "nothing as large"),
        (429, RegistryRefused, "too many requests"),
        (500, RegistryUnavailable, "failed with"),
        (507, RegistryRefused, "no space left"),
        (405, RegistryRefused, "does not do"),
        (418, RegistryRefused, "status 418"),
    ],
)
def test_a_refusal_says_what_was_asked_of_whom_and_why(
    broken: Registry,
    broken_registry: BrokenRegistry,
    repository: str,
    status: int,
    kind: type[TilthError],
    told: str,
) -> None:
    broken_registry.rule(status=status, times=99)
    blob = new_blob(10_000)
    with pytest.raises(kind, match=told) as caught:
        broken.push_blob(repository, blob.descriptor, blob.open)
    assert broken.host in caught.value.summary
    assert repository in caught.value.summary
    assert "BROKEN: broken on purpose" in caught.value.why
    assert caught.value.mend or status in (405, 418)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_upload_is_tried_again_after_failures(
    broken: Registry, broken_registry: BrokenRegistry, repository: str, method: str
) -> None:
    broken_registry.rule(method, status=500, times=2)
    blob = new_blob(10_000)
    broken.push_blob(repository, blob.descriptor, blob.open)
    assert broken.has_blob(repository, blob.descriptor.digest)


def test_an_upload_goes_on_where_it_broke() -> None:
    blob = new_blob(20 * MB)
    taken: list[int] = []
    with ResumingRegistry() as behind, BrokenRegistry(behind.host) as broken:
        broken.rule("PATCH", cut_request_at=12 * MB)
        broken.rule("PATCH", cut_request_at=4 * MB)
        registry = Registry(broken.host, patience=QUICK)
        registry.push_blob("some", blob.descriptor, blob.open, taken.append)
        assert broken.received < 21 * MB
        assert [each.method for each in broken.requests if each.method in ("POST", "PUT")] == ["POST", "PUT"]
        assert behind.blobs == {blob.descriptor.digest: blob.content}
    assert sum(taken) == 20 * MB  # what lay in buffers when the connection was cut is taken back


def test_an_upload_that_the_registry_forgets_begins_anew(
    broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    blob = new_blob(20 * MB)
    broken_registry.rule("PATCH", cut_request_at=12 * MB)
    taken: list[int] = []
    broken.push_blob(repository, blob.descriptor, blob.open, taken.append)
    assert broken.has_blob(repository, blob.descriptor.digest)
    assert broken_registry.received < 33 * MB
    assert sum(taken) == 20 * MB


def test_an_upload_whose_answer_is_lost_is_not_made_again(
    broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    blob = new_blob(2 * MB)
    broken_registry.rule("PUT", cut_response_at=0)
    broken.push_blob(repository, blob.descriptor, blob.open)
    assert broken_registry.received < 2.1 * MB


def test_an_upload_that_always_breaks_ends(
    broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    blob = new_blob(2 * MB)
    broken_registry.rule("PUT", cut_request_at=0, times=99)
    broken_registry.rule("PATCH", cut_request_at=0, times=99)
    with pytest.raises(RegistryUnavailable, match="broke the connection") as caught:
        broken.push_blob(repository, blob.descriptor, blob.open)
    assert "tried 4 times" in caught.value.why


def test_what_is_too_large_at_once_is_sent_in_pieces(
    broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    blob = new_blob(3 * MB)
    broken_registry.rule("PUT", status=413, early=True)
    broken_registry.rule("PATCH", status=413, early=True, times=2)
    broken.push_blob(repository, blob.descriptor, blob.open)
    assert broken.has_blob(repository, blob.descriptor.digest)
    pieces = [
        each.received for each in broken_registry.requests if each.method == "PATCH" and each.status == 202
    ]
    assert len(pieces) == 6
    assert max(pieces) <= 1 << 19


def test_bytes_that_change_on_the_way_in_are_found(
    broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    blob = new_blob(MB)
    broken_registry.rule("PUT", flip_request_at=500_000)
    with pytest.raises(ImageBroken):
        broken.push_blob(repository, blob.descriptor, blob.open)


def test_a_download_goes_on_where_it_broke(
    broken: Registry, broken_registry: BrokenRegistry, repository: str, tmp_path
) -> None:
    blob = new_blob(10 * MB)
    broken.push_blob(repository, blob.descriptor, blob.open)
    broken_registry.rule("GET", cut_response_at=6 * MB)
    broken_registry.rule("GET", cut_response_at=2 * MB)
    broken.fetch_blob(repository, blob.descriptor, BlobStore(tmp_path))
    assert BlobStore(tmp_path).verify(blob.descriptor.digest)
    assert broken.sent.received == 10 * MB
    ranges = [each.headers.get("Range") for each in broken_registry.requests if each.method == "GET"]
    assert len([each for each in ranges if each]) == 2


def test_a_download_that_always_breaks_leaves_nothing(
    broken: Registry, broken_registry: BrokenRegistry, repository: str, tmp_path
) -> None:
    blob = new_blob(MB)
    broken.push_blob(repository, blob.descriptor, blob.open)
    broken_registry.rule("GET", cut_response_at=0, times=99)
    with pytest.raises(RegistryUnavailable):
        broken.fetch_blob(repository, blob.descriptor, BlobStore(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_bytes_that_change_on_the_way_out_are_found(
    broken: Registry, broken_registry: BrokenRegistry, repository: str, tmp_path
) -> None:
    blob = new_blob(MB)
    _, digest = push_image(broken, repository, "v1", blob)
    broken_registry.rule("GET", flip_response_at=10, times=99)
    with pytest.raises(ImageBroken):
        broken.fetch_blob(repository, blob.descriptor, BlobStore(tmp_path))
    assert not BlobStore(tmp_path).has(blob.descriptor.digest)
    with pytest.raises(ImageBroken):
        broken.read_blob(repository, blob.descriptor.digest)
    for reference in ("v1", digest):
        with pytest.raises(ImageBroken):
            broken.get_manifest(repository, reference)


def test_a_copy_goes_on_when_either_side_breaks(
    plain: Registry, broken: Registry, broken_registry: BrokenRegistry, repository: str
) -> None:
    blob = new_blob(8 * MB)
    plain.push_blob(repository, blob.descriptor, blob.open)
    broken_registry.rule("GET", "/blobs/sha256", cut_response_at=5 * MB)
    plain.copy_blob(f"{repository}-from", blob.descriptor, broken, repository)
    broken_registry.rule("PUT", cut_request_at=5 * MB)
    broken.copy_blob(f"{repository}-to", blob.descriptor, plain, repository)
    for name in ("from", "to"):
        assert plain.has_blob(f"{repository}-{name}", blob.descriptor.digest)


def test_too_many_requests_are_no_full_disk() -> None:
    """As Google's registry says it."""
    told = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"Quota exceeded for quota metric \'Requests\'"}]}'
    answers = [(429, {"Retry-After": "0"}, told), (200, {}, b"")]
    with answering(lambda _: answers.pop(0)) as host:
        Registry(host, patience=QUICK).check()
    assert answers == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:abc/x", "http://[/x"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    with answering(lambda _: (202, {"Location": address}, b"")) as host:
        blob = new_blob(10)
        with pytest.raises(RegistryRefused, match="an address that is none"):
            Registry(host, patience=QUICK).push_blob("a", blob.descriptor, blob.open)
    challenge = {"WWW-Authenticate": f'Bearer realm="{address.replace("http", "https")}"'}
    told = pytest.raises(RegistryRefused, match="an address that is none")
    with answering(lambda _: (401, challenge, b"")) as host, told:
        Registry(host, patience=QUICK).check()
