"""The clouds' logins: ECR against moto, the other two with their own libraries against endpoints made here."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from tests.container_registries.test_flavors import context

from tilth.container_registries import acr, artifact_registry, ecr
from tilth.container_registries.logins import ExpiringCredentials, Lasting
from tilth.errors import DefinitionError, RegistryRefused, RegistryUnavailable, SetupError
from tilth.oci.credentials import Login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services import S3


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No login of whoever runs the tests is found; programs are only those put into `bin`."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def program(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)


@contextmanager
def endpoint(answer: Callable[[str, str, bytes], tuple[int, Any]]) -> Iterator[str]:
    """An HTTP server for `answer(method, path, body) -> status, JSON or text`; gives its host."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, told = answer(self.command, self.path, body)
            content = told.encode() if isinstance(told, str) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Type", "text/plain" if isinstance(told, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


# Amazon


@pytest.fixture
def aws(moto: S3, monkeypatch: pytest.MonkeyPatch) -> ecr.EcrSettings:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto.secret_key)
    return ecr.EcrSettings(
        account="123456789012", region="us-east-1", prefix="t/ml", endpoint=moto.url, create=True
    )


def test_ecr_gives_a_login(aws: ecr.EcrSettings) -> None:
    registry = ecr.EcrFlavor().make(aws, context())
    assert registry.host == "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    lasting = ecr.log_in(aws)  # how long it lasts is not looked at: moto's has ended years ago
    assert lasting.login.user == "AWS"
    assert lasting.login.password


def test_ecr_creates_a_repository_once(aws: ecr.EcrSettings) -> None:
    name = f"t/ml/{time.time_ns()}"
    ecr.create_repository(aws, name)
    ecr.create_repository(aws, name)
    client = ecr._client(aws)
    assert client.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryName"] == name


def test_ecr_without_credentials_is_told(moto: S3) -> None:
    settings = ecr.EcrSettings(account="1", region="cn-north-1", endpoint=moto.url)
    with pytest.raises(RegistryRefused, match=r"amazonaws\.com\.cn") as caught:
        ecr.log_in(settings)
    assert "Unable to locate credentials" in caught.value.why


def test_ecr_goes_by_the_command_line_without_boto3(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    settings = ecr.EcrSettings(account="1", region="eu-west-1", profile="p")
    with pytest.raises(RegistryRefused, match="no login") as caught:
        ecr.log_in(settings)
    assert "tilth[s3]" in caught.value.mend
    program(nobody, "aws", '[ "$*" = "ecr get-login-password --region eu-west-1 --profile p" ] && echo word')
    assert ecr.log_in(settings).login == Login("AWS", "word")
    program(nobody, "aws", "echo hunter2; echo expired >&2; exit 3")
    with pytest.raises(RegistryRefused) as caught:
        ecr.log_in(settings)
    assert "expired" in caught.value.why
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SetupError, match="cannot be created"):
        ecr.create_repository(settings, "a")


# Google


def test_artifact_registry_takes_a_token_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if "/token" in path:
            return 200, {"access_token": "ya29.fake", "expires_in": 3000, "token_type": "Bearer"}
        if "recursive" in path:
            return 200, {"email": "me@example.test", "scopes": ["all"], "aliases": ["default"]}
        return 200, "project" if "project-id" in path else "googleapis.com" if "universe" in path else "ok"

    with endpoint(answer) as host:
        monkeypatch.setenv("GCE_METADATA_HOST", host)
        monkeypatch.setenv("GCE_METADATA_IP", host)
        lasting = artifact_registry.log_in("europe-west1-docker.pkg.dev")
    assert lasting.login == Login("oauth2accesstoken", "ya29.fake")
    assert 2000 < lasting.lasts_s <= 3000


def test_artifact_registry_without_a_login_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(RegistryRefused, match="no login") as caught:
        artifact_registry.log_in("us-docker.pkg.dev")
    assert "gcloud auth application-default login" in caught.value.mend


def test_artifact_registry_goes_by_gcloud_without_its_library(
    nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    program(nobody, "gcloud", '[ "$*" = "auth print-access-token" ] && echo ya29.other')
    assert artifact_registry.log_in("us-docker.pkg.dev").login == Login("oauth2accesstoken", "ya29.other")


def test_artifact_registry_takes_a_key() -> None:
    settings = artifact_registry.ArtifactRegistrySettings(
        location="us", project="example.com:p", repository="ml", key="secret:k"
    )
    key = json.dumps({"type": "service_account"})
    registry = artifact_registry.ArtifactRegistryFlavor().make(settings, context(k=key))
    assert (registry.host, registry.repository("app")) == ("us-docker.pkg.dev", "example.com/p/ml/app")
    credentials = registry.registry()._conversation._credentials
    assert credentials.login("us-docker.pkg.dev") == Login("_json_key", key)
    with pytest.raises(DefinitionError, match="service account") as caught:
        artifact_registry.ArtifactRegistryFlavor().make(settings, context(k="hunter2"))
    assert "hunter2" not in str(caught.value)


# Azure


def test_acr_exchanges_a_token_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, list[str]]] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path.startswith("/identity"):
            return 200, {
                "access_token": "entra",
                "expires_on": str(int(time.time()) + 3600),
                "resource": "x",
                "token_type": "Bearer",
            }
        seen.append(parse_qs(body.decode()))
        return 200, {"refresh_token": "refresh"}

    with endpoint(answer) as host:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{host}/identity")
        monkeypatch.setenv("IDENTITY_HEADER", "x")
        lasting = acr.log_in(host, "name")
    assert lasting.login == Login(token="refresh")
    assert seen == [{"grant_type": ["access_token"], "service": [host], "access_token": ["entra"]}]


@pytest.mark.parametrize(("status", "told"), [(401, {"errors": []}), (200, "nonsense"), (200, {})])
def test_acr_that_gives_no_token_is_told(status: int, told: Any) -> None:
    with (
        endpoint(lambda *_: (status, told)) as host,
        pytest.raises(RegistryRefused, match="no login") as caught,
    ):
        acr.exchange(host, "hunter2")
    assert "az login" in caught.value.mend
    assert "hunter2" not in str(caught.value)


def test_acr_that_is_down_is_told() -> None:
    with endpoint(lambda *_: (200, {})) as host:
        pass
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        acr.exchange(host, "x")


def test_acr_goes_by_az_without_its_library(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    program(nobody, "az", 'echo \'{"accessToken": "t", "loginServer": "name.azurecr.io"}\'')
    assert acr.log_in("name.azurecr.io", "name").login == Login("00000000-0000-0000-0000-000000000000", "t")


def test_acr_takes_a_password() -> None:
    settings = acr.AcrSettings(name="Name", prefix="ml", user="id", password="secret:p")
    registry = acr.AcrFlavor().make(settings, context(p="word"))
    assert (registry.host, registry.repository("app")) == ("name.azurecr.io", "ml/app")
    assert registry.registry()._conversation._credentials.login("name.azurecr.io") == Login("id", "word")


def test_a_login_is_got_again_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[int] = []
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("tilth.container_registries.logins.time", clock)
    now = 1000.0

    def get() -> Lasting:
        got.append(1)
        return Lasting(Login("a", str(len(got))), 121 if len(got) == 1 else 3600)

    credentials = ExpiringCredentials("r.example", get)
    assert credentials.login("other.example") is None
    assert credentials.login("r.example") == credentials.login("r.example") == Login("a", "1")
    now += 1.1
    assert credentials.login("r.example") == credentials.login("r.example") == Login("a", "2")
