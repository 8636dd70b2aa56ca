from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from tests.oci.conftest import QUICK, new_blob

from tilth.errors import RegistryRefused, RegistryUnavailable, SetupError
from tilth.oci.credentials import FixedCredentials, Login, docker_credentials
from tilth.oci.registry import Registry
from tilth.oci.tokens import Challenge, parse_challenge

if TYPE_CHECKING:
    from tests.services import RegistryService


def client(service: RegistryService, login: Login | None = None, **options) -> Registry:
    credentials = FixedCredentials.one(service.host, login) if login else None
    return Registry(
        service.host, **{"ca": service.ca, "credentials": credentials, "patience": QUICK, **options}
    )


def test_a_password_opens(registry_password: RegistryService) -> None:
    service = registry_password
    registry = client(service, Login(service.user, service.password))
    registry.check()
    blob = new_blob()
    registry.push_blob(service.repository("a"), blob.descriptor, blob.open)
    assert registry.has_blob(service.repository("a"), blob.descriptor.digest)


@pytest.mark.parametrize("name", ["registry_password", "registry_token"])
@pytest.mark.parametrize("login", [None, Login("nobody", "hunter2hunter2")])
def test_without_a_login_the_way_to_it_is_told(
    request: pytest.FixtureRequest, name: str, login: Login | None
) -> None:
    service: RegistryService = request.getfixturevalue(name)
    blob = new_blob()
    with pytest.raises(RegistryRefused) as caught:
        client(service, login).push_blob(service.repository("a"), blob.descriptor, blob.open)
    told = str(caught.value)
    assert "wants a login" in told or "does not allow" in told
    assert f"`docker login {service.host}`" in told
    assert "hunter2" not in told


def test_dockers_login_is_used(
    registry_password: RegistryService, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = registry_password
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    auth = base64.b64encode(f"{service.user}:{service.password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {service.host: {"auth": auth}}}))
    Registry(service.host, ca=service.ca, credentials=docker_credentials()).check()


@pytest.mark.parametrize("by_token", [False, True])
def test_a_token_is_got_and_used_for_many_requests(registry_token: RegistryService, by_token: bool) -> None:
    service = registry_token
    login = Login(token=service.identity_token) if by_token else Login(service.user, service.password)
    registry = client(service, login)
    blob, repository = new_blob(), service.repository("a")
    registry.push_blob(repository, blob.descriptor, blob.open)
    assert registry.has_blob(repository, blob.descriptor.digest)
    # One POST was refused, and made again with a token; nothing else was.
    assert registry.sent.by_method == {"POST": 2, "PUT": 1, "HEAD": 1}
    assert registry.mount_blob(service.repository("b"), blob.descriptor.digest, repository)


def test_a_token_that_the_registry_refuses_is_got_anew(registry_token: RegistryService) -> None:
    service = registry_token
    registry = client(service, Login(service.user, service.password))
    blob, repository = new_blob(), service.repository("a")
    registry.push_blob(repository, blob.descriptor, blob.open)
    authorization = registry._conversation._open()[1]
    authorization._tokens = [type(each)("stale", each.scopes, each.until) for each in authorization._tokens]
    assert registry.has_blob(repository, blob.descriptor.digest)


def test_anybody_gets_a_token_for_what_is_public(registry_token: RegistryService) -> None:
    assert client(registry_token).head_manifest("public/none", "v1") is None


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(registry_tls: RegistryService) -> None:
    registry = client(registry_tls, ca=None)
    with pytest.raises(RegistryUnavailable, match="cannot be trusted") as caught:
        registry.check()
    assert f"/etc/docker/certs.d/{registry_tls.host}/ca.crt" in str(caught.value)


def test_its_own_authority_or_none_at_all_opens_a_registry(registry_tls: RegistryService) -> None:
    client(registry_tls).check()
    client(registry_tls, ca=None, insecure=True).check()


def test_a_certificate_that_cannot_be_read_is_named(registry_tls: RegistryService, tmp_path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(SetupError, match=name):
            client(registry_tls, ca=tmp_path / name).check()


def test_tls_to_a_registry_without_is_told(registry_plain: RegistryService) -> None:
    with pytest.raises(RegistryUnavailable, match="does not speak TLS") as caught:
        Registry(registry_plain.host, plain_http=False, patience=QUICK).check()
    assert "`plain_http`" in str(caught.value)


def test_challenges_are_read() -> None:
    header = 'Basic realm="x", Bearer realm="https://a/t?x=1,2",service="s",scope="repository:a/b:pull,push"'
    assert parse_challenge(header) == Challenge(
        "bearer", "https://a/t?x=1,2", "s", frozenset({("a/b", "pull"), ("a/b", "push")})
    )
    assert parse_challenge('Basic realm="x"') == Challenge("basic")
    assert parse_challenge("Negotiate") is None
    assert parse_challenge("") is None
