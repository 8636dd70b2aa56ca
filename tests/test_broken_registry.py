"""The proxy before the registry breaks what it is told to break, and nothing else."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given, strategies as st
from tests.broken_registry import Cut, broken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broken_registry import BrokenRegistry
    from tests.services import RegistryService

CONTENT = os.urandom(300_000)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Client:
    """One kept connection to a registry."""

    def __init__(self, host: str, repository: str) -> None:
        self.connection = http.client.HTTPConnection(host, timeout=180)
        self.repository = repository

    def send(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        self.connection.request(method, path, body, headers or {})  # type: ignore[arg-type]
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def begin(self) -> str:
        """Where to put a blob; the registry's own answer, so it must lead through the proxy."""
        status, headers, _ = self.send("POST", f"/v2/{self.repository}/blobs/uploads/")
        assert status == 202
        assert urlsplit(headers["Location"]).netloc == f"{self.connection.host}:{self.connection.port}"
        target = urlsplit(headers["Location"])
        return f"{target.path}?{target.query}"

    def push(self, content: bytes = CONTENT) -> int:
        return self.send("PUT", f"{self.begin()}&digest={DIGEST}", content)[0]

    def pull(self) -> bytes:
        status, _, content = self.send("GET", f"/v2/{self.repository}/blobs/{DIGEST}")
        assert status == 200
        return content


@pytest.fixture
def client(
    broken_registry: BrokenRegistry, registry_plain: RegistryService, request: pytest.FixtureRequest
) -> Iterator[Client]:
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    client = Client(broken_registry.host, registry_plain.repository(name))
    yield client
    client.connection.close()


def test_without_a_rule_a_blob_goes_through_both_ways(
    broken_registry: BrokenRegistry, client: Client
) -> None:
    assert client.push() == 201
    assert client.pull() == CONTENT
    assert [(request.method, request.status) for request in broken_registry.requests] == [
        ("POST", 202),
        ("PUT", 201),
        ("GET", 200),
    ]
    assert broken_registry.received == len(CONTENT)
    deadline = (
        time.monotonic() + 180
    )  # the last piece is counted when it has been sent, and may be read before
    while broken_registry.sent < len(CONTENT) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert broken_registry.sent == len(CONTENT)


def test_a_body_in_chunks_goes_through(broken_registry: BrokenRegistry, client: Client) -> None:
    pieces: Iterator[bytes] = (CONTENT[start : start + 1000] for start in range(0, len(CONTENT), 1000))
    status, headers, _ = client.send("PATCH", client.begin(), pieces)
    assert (status, headers["Range"]) == (202, f"0-{len(CONTENT) - 1}")
    assert broken_registry.received == len(CONTENT)


@pytest.mark.parametrize("status", [401, 403, 413, 429, 500, 507])
def test_a_status_is_answered_as_often_as_asked(
    broken_registry: BrokenRegistry, client: Client, status: int
) -> None:
    rule = broken_registry.rule("PUT", "/blobs/uploads/", status=status, times=2, retry_after_s=7)
    for _ in range(2):
        got, headers, _ = client.send("PUT", f"{client.begin()}&digest={DIGEST}", CONTENT)
        assert (got, headers["Retry-After"]) == (status, "7")
    assert client.push() == 201
    assert rule.used == 2


def test_an_early_refusal_comes_before_the_body(broken_registry: BrokenRegistry, client: Client) -> None:
    broken_registry.rule("PUT", status=413, early=True)
    target = f"{client.begin()}&digest={DIGEST}"
    client.connection.putrequest("PUT", target)
    client.connection.putheader("Content-Length", "300000")
    client.connection.endheaders()
    response = client.connection.getresponse()
    assert (response.status, broken_registry.requests[-1].received) == (413, 0)


def test_an_early_refusal_is_heard_by_who_sends_on(broken_registry: BrokenRegistry, client: Client) -> None:
    broken_registry.rule("PUT", status=413, early=True)
    assert client.send("PUT", f"{client.begin()}&digest={DIGEST}", bytes(20_000_000))[0] == 413


def test_a_cut_upload_ends_in_a_reset_and_the_blob_is_not_there(
    broken_registry: BrokenRegistry, client: Client
) -> None:
    broken_registry.rule("PUT", cut_request_at=100_000)
    with pytest.raises(ConnectionError):
        client.push()
    assert 100_000 <= broken_registry.requests[-1].received < len(CONTENT)
    assert broken_registry.requests[-1].status == 0
    client.connection.close()
    assert client.send("HEAD", f"/v2/{client.repository}/blobs/{DIGEST}")[0] == 404


def test_a_cut_download_gives_the_first_bytes_alone(broken_registry: BrokenRegistry, client: Client) -> None:
    client.push()
    broken_registry.rule("GET", "/blobs/", cut_response_at=1000)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        client.pull()
    assert broken_registry.requests[-1].sent == 1000
    client.connection.close()
    assert client.pull() == CONTENT


def test_a_flipped_byte_arrives_flipped(broken_registry: BrokenRegistry, client: Client) -> None:
    broken_registry.rule("PUT", flip_request_at=70_000)
    status, _, answer = client.send("PUT", f"{client.begin()}&digest={DIGEST}", CONTENT)
    assert (status, b"DIGEST_INVALID" in answer) == (400, True)
    client.push()
    broken_registry.rule("GET", flip_response_at=70_000)
    pulled = client.pull()
    assert [at for at in range(len(CONTENT)) if pulled[at] != CONTENT[at]] == [70_000]


def test_a_slow_registry_is_slow(broken_registry: BrokenRegistry, client: Client) -> None:
    broken_registry.rule("GET", "^/v2/$", delay_s=0.3)
    begin = time.monotonic()
    client.send("GET", "/v2/")
    assert time.monotonic() - begin >= 0.3


def test_rules_wait_for_their_turn_and_can_be_forgotten(
    broken_registry: BrokenRegistry, client: Client
) -> None:
    broken_registry.rule("GET", "^/v2/$", status=500, skip=1, times=9)
    assert [client.send("GET", "/v2/")[0] for _ in range(3)] == [200, 500, 500]
    broken_registry.heal()
    assert client.send("GET", "/v2/")[0] == 200


def test_a_closed_registry_refuses_connections(broken_registry: BrokenRegistry, client: Client) -> None:
    broken_registry.close()
    with pytest.raises(ConnectionRefusedError):
        client.send("GET", "/v2/")


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=9), max_size=9),
    cut_at=st.none() | st.integers(0, 90),
    flip_at=st.none() | st.integers(0, 90),
)
def test_what_is_broken_is_the_body_up_to_the_cut_with_one_byte_changed(
    pieces: list[bytes], cut_at: int | None, flip_at: int | None
) -> None:
    given_on = b""
    cut = False
    try:
        for piece in broken(iter(pieces), cut_at, flip_at, 0):
            given_on += piece
    except Cut:
        cut = True
    body = b"".join(pieces)
    assert cut == (cut_at is not None)
    assert len(given_on) == len(body[:cut_at])
    changed = [at for at, byte in enumerate(given_on) if byte != body[at]]
    assert changed == ([flip_at] if flip_at is not None and flip_at < len(given_on) else [])
