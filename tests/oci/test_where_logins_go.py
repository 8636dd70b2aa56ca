"""A login goes to the registry, and to nobody it sends to."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.oci.answering import Asked, answering
from tests.oci.conftest import QUICK, new_blob

from tilth.errors import RegistryRefused
from tilth.oci.connections import is_loopback
from tilth.oci.credentials import FixedCredentials, Login
from tilth.oci.registry import Registry
from tilth.oci.tokens import Authorization

if TYPE_CHECKING:
    from tests.services import RegistryService

BASIC = {"WWW-Authenticate": 'Basic realm="r"'}


def client(host: str) -> Registry:
    return Registry(host, credentials=FixedCredentials.one(host, Login("me", "word")), patience=QUICK)


def test_a_blob_elsewhere_is_got_without_the_login() -> None:
    blob, seen = new_blob(), []

    def elsewhere(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        seen.append(asked.headers.get("Authorization"))
        return 200, {}, blob.content

    with answering(elsewhere) as other:

        def registry(asked: Asked) -> tuple[int, dict[str, str], bytes]:
            if "Authorization" not in asked.headers:
                return 401, BASIC, b""
            return 307, {"Location": f"http://{other}/signed?key=x"}, b""

        with answering(registry) as host:
            asking = client(host)
            assert asking.read_blob("r", blob.descriptor.digest) == blob.content
            asking.close()
    assert seen == [None]


def test_an_upload_elsewhere_goes_without_the_login() -> None:
    blob, seen = new_blob(), []

    def elsewhere(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        seen.append((asked.method, asked.headers.get("Authorization"), asked.body == blob.content))
        return 201, {}, b""

    with answering(elsewhere) as other:

        def registry(asked: Asked) -> tuple[int, dict[str, str], bytes]:
            if "Authorization" not in asked.headers:
                return 401, BASIC, b""
            return 202, {"Location": f"http://{other}/upload"}, b""

        with answering(registry) as host:
            asking = client(host)
            asking.push_blob("r", blob.descriptor, blob.open)
            asking.close()
    assert seen == [("PUT", None, True)]


def test_a_password_is_not_sent_in_the_open() -> None:
    authorization = Authorization(
        "r.example",
        FixedCredentials.one("r.example", Login("a", "b")),
        "",
        lambda: pytest.fail("asked"),
        plain=False,
    )
    with pytest.raises(RegistryRefused, match="in the open"):
        authorization.learn('Bearer realm="http://tokens.example/t",service="s"', frozenset(), "")


def test_a_token_server_that_fails_is_told() -> None:
    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.path.startswith("/token"):
            return 200, {}, json.dumps({"token": "a\nb"}).encode()
        return 401, {"WWW-Authenticate": f'Bearer realm="http://{asked.headers["Host"]}/token"'}, b""

    with answering(answer) as host:
        asking = client(host)
        with pytest.raises(Exception, match="no token that can be read"):
            asking.check()
        asking.close()


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:80", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("localhost.example.com", False),
        ("10.0.0.1:5000", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_only_this_machine_is_spoken_to_in_the_open(host: str, here: bool) -> None:
    assert is_loopback(host) == here


def test_a_registry_here_with_tls_is_found_out_by_all_threads(registry_tls: RegistryService) -> None:
    registry = Registry(registry_tls.host, insecure=True, patience=QUICK)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: registry.head_manifest("none", "v1"), range(16)))
    assert found == [None] * 16
    registry.close()
