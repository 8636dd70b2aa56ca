"""The services answer, each as its fixture says."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.services import (
        S3,
        AzureBlob,
        BaseImages,
        DockerEngine,
        GoogleStorage,
        RegistryService,
    )


def ask(registry: RegistryService, path: str, *, login: bool = False, trust: bool = True) -> int:
    """The status of a GET."""
    request = urllib.request.Request(registry.url + path)
    if login:
        pair = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    context = None
    if registry.ca:
        context = ssl.create_default_context(cafile=registry.ca) if trust else ssl.create_default_context()
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.registry
def test_the_plain_registry_lets_everybody_in(registry_plain: RegistryService) -> None:
    assert ask(registry_plain, "/v2/") == 200


@pytest.mark.registry
def test_a_registry_with_a_certificate_is_trusted_by_its_authority_alone(
    registry_tls: RegistryService,
) -> None:
    assert ask(registry_tls, "/v2/") == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(registry_tls, "/v2/", trust=False)


@pytest.mark.registry
def test_a_registry_with_a_password_wants_it(registry_password: RegistryService) -> None:
    assert ask(registry_password, "/v2/") == 401
    assert ask(registry_password, "/v2/", login=True) == 200


@pytest.mark.registry
@pytest.mark.parametrize(
    ("name", "login", "pushed"),
    [("private", True, True), ("private", False, False), ("public", False, False)],
    ids=["with a password", "anybody", "anybody, what all may pull"],
)
def test_a_registry_with_tokens_gives_what_the_token_grants(
    registry_token: RegistryService, base_images: BaseImages, name: str, login: bool, pushed: bool
) -> None:
    target = f"docker://{registry_token.host}/{name}/{registry_token.prefix}:latest"
    source = f"oci:{base_images.layouts['3.11']}"
    who = [f"--dest-creds={registry_token.user}:{registry_token.password}"] if login else ["--dest-no-creds"]
    copied = skopeo("copy", "--quiet", "--dest-tls-verify=false", *who, source, target)
    assert (copied.returncode == 0) == pushed, copied.stderr
    if not pushed:
        assert "denied" in copied.stderr


@pytest.mark.registry
def test_an_identity_token_is_traded_for_a_token(registry_token: RegistryService) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            f"{registry_token.url}/v2/x/tags/list",
            context=ssl.create_default_context(cafile=registry_token.ca),
        )
    refused.value.close()
    realm = refused.value.headers["WWW-Authenticate"].split('realm="')[1].split('"')[0]

    def trade(token: str) -> int:
        form = f"grant_type=refresh_token&service=tilth-registry&refresh_token={token}".encode()
        try:
            with urllib.request.urlopen(realm, data=form, timeout=30) as answer:
                return answer.status if json.load(answer)["access_token"] else 0
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert trade(registry_token.identity_token) == 200
    assert trade("wrong") == 401


@pytest.mark.registry
@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_a_base_image_is_the_same_in_the_registry_and_in_its_layout(
    base_images: BaseImages, python: str
) -> None:
    digests = {
        skopeo("inspect", "--tls-verify=false", "--format={{.Digest}}", place).stdout
        for place in (f"docker://{base_images.registry[python]}", f"oci:{base_images.layouts[python]}")
    }
    assert len(digests) == 1
    assert digests.pop().startswith("sha256:")


@pytest.mark.docker
@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_the_engine_runs_each_base_image(docker_engine: DockerEngine, python: str) -> None:
    code = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run(
        [docker_engine.cli, "run", "--rm", docker_engine.images[python], "python3", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"DOCKER_HOST": docker_engine.host},
    )
    assert (done.stdout, done.stderr) == (f"{python}\n", "")


def s3(server: S3, method: str, key: str, *, secret: str = "", headers: tuple[str, ...] = ()) -> int:
    """The status of a signed request."""
    done = subprocess.run(
        [
            *("curl", "--silent", "--noproxy", "*", "--output", "/dev/null", "--write-out", "%{http_code}"),
            *("--request", method, "--aws-sigv4", f"aws:amz:{server.region}:s3"),
            *("--user", f"{server.access_key}:{secret or server.secret_key}"),
            *("--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"),
            *(part for header in headers for part in ("--header", header)),
            f"{server.url}/{server.bucket}/{key}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.objects
def test_moto_takes_any_secret(moto: S3) -> None:
    assert s3(moto, "PUT", "a", secret="wrong") == 200
    assert s3(moto, "GET", "a") == 200


@pytest.mark.objects
def test_moto_refuses_to_write_over_what_is_there_when_asked_to(moto: S3) -> None:
    assert s3(moto, "PUT", "once", headers=("If-None-Match: *",)) == 200
    assert s3(moto, "PUT", "once", headers=("If-None-Match: *",)) == 412


@pytest.mark.objects
def test_moto_with_signatures_wants_the_right_secret(moto_signed: S3) -> None:
    assert s3(moto_signed, "PUT", "a") == 200
    assert s3(moto_signed, "PUT", "a", secret="wrong") == 403


@pytest.mark.swift
def test_swift_wants_the_right_secret(swift: S3) -> None:
    assert s3(swift, "PUT", "a") == 200
    assert s3(swift, "PUT", "a", secret="wrong") == 403


@pytest.mark.objects
def test_azurite_wants_the_key(azurite: AzureBlob) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{azurite.url}/{azurite.container}?restype=container&comp=list", timeout=30)
    refused.value.close()
    assert refused.value.code in (401, 403, 404)
    assert azurite.key in azurite.connection_string


@pytest.mark.objects
def test_google_storage_refuses_to_write_over_what_is_there_when_asked_to(gcs: GoogleStorage) -> None:
    # In uploads of one request alone; a resumable one is written over here, other than at Google.
    url = f"{gcs.url}/upload/storage/v1/b/{gcs.bucket}/o?uploadType=multipart&ifGenerationMatch=0"
    facts, content = (
        f"--part\r\nContent-Type: {kind}\r\n\r\n{body}\r\n"
        for kind, body in [("application/json", '{"name": "once"}'), ("text/plain", "content")]
    )
    request = urllib.request.Request(
        url,
        data=f"{facts}{content}--part--\r\n".encode(),
        headers={"Content-Type": "multipart/related; boundary=part"},
    )

    def write() -> int:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert (write(), write()) == (200, 412)
