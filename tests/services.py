"""The services that `scripts/services` started, as fixtures. They run on between sessions and several sessions share
them, so each worker of each session has names of its own in them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.broken_registry import BrokenRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser


# The marker each fixture brings: a test says what it needs by what it asks for.
GROUPS = {
    **dict.fromkeys(["registry_plain", "registry_tls", "registry_password", "registry_token"], "registry"),
    **dict.fromkeys(["broken_registry", "base_images"], "registry"),
    "docker_engine": "docker",
    **dict.fromkeys(["moto", "moto_signed", "azurite", "gcs"], "objects"),
    "swift": "swift",
    **dict.fromkeys(["postgres", "postgres_database"], "postgres"),
    "oidc_provider": "oidc",
    "browser": "browser",
    "dashboard": "dashboard",
}


def own_name() -> str:
    """A name nobody else has, allowed as a repository, a bucket and a container."""
    return f"t-{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class RegistryService:
    """A running registry.

    Attributes:
        host: `127.0.0.1:PORT`.
        ca: The certificate authority to trust; None where it speaks plain HTTP.
        prefix: What this worker's repositories begin with.
        identity_token: What may be traded for tokens, at the registry with tokens.
    """

    host: str
    ca: Path | None = None
    user: str = ""
    password: str = ""
    identity_token: str = ""
    prefix: str = field(default_factory=own_name)

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://{self.host}"

    def repository(self, name: str) -> str:
        """`NAME` under the worker's prefix, without the host."""
        return f"{self.prefix}/{name}"


@dataclass(frozen=True)
class BaseImages:
    """Debian with its Python, the same images in every place. Keys are `3.11` (bookworm) and `3.13` (trixie).

    Attributes:
        registry: References in the plain registry, `127.0.0.1:PORT/NAME:TAG`.
        layouts: OCI layouts, `FOLDER:TAG`. Not to be written to.
        engine: Names in the Docker engine; empty where the group `docker` is left out.
    """

    registry: Mapping[str, str]
    layouts: Mapping[str, str]
    engine: Mapping[str, str]


@dataclass(frozen=True)
class DockerEngine:
    """The engine.

    Attributes:
        host: What `DOCKER_HOST` takes.
        cli: The `docker` on PATH.
        buildkit_cli: One that builds with `DOCKER_BUILDKIT=1`; empty where there is none.
        images: Base images in it, by Python version.
    """

    host: str
    cli: str
    buildkit_cli: str
    images: Mapping[str, str]


@dataclass(frozen=True)
class S3:
    """A server that speaks S3, with a bucket of this worker."""

    url: str
    region: str
    access_key: str
    secret_key: str
    bucket: str

    def send(
        self, method: str, key: str = "", *, secret_key: str = "", headers: Mapping[str, str] | None = None
    ) -> int:
        """Send a signed request without a body for the bucket or a key in it, and give the status.

        What the tests of the services themselves need, without a library of S3.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
        """
        path = f"/{self.bucket}/{key}" if key else f"/{self.bucket}"
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        content = hashlib.sha256(b"").hexdigest()
        signed = {"host": self.url.split("//")[1], "x-amz-content-sha256": content, "x-amz-date": now}
        names = ";".join(signed)
        request = "\n".join(
            [method, path, "", *(f"{name}:{value}" for name, value in signed.items()), "", names, content]
        )
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = f"AWS4{secret_key or self.secret_key}".encode()
        for part in (*scope.split("/"), text):
            signature = hmac.digest(signature, part.encode(), hashlib.sha256)
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature.hex()}"
        )
        put = urllib.request.Request(
            self.url + path,
            data=b"" if method == "PUT" else None,
            method=method,
            headers={**signed, **(headers or {}), "Authorization": authorization},
        )
        try:
            with urllib.request.urlopen(put, timeout=30) as response:
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code


@dataclass(frozen=True)
class AzureBlob:
    """A server that speaks Azure Blob, with a container of this worker. `url` ends with the account."""

    url: str
    account: str
    key: str
    container: str

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};"
            f"BlobEndpoint={self.url};"
        )


@dataclass(frozen=True)
class GoogleStorage:
    """A server that speaks Google Cloud Storage, with a bucket of this worker; it lets everybody in."""

    url: str
    bucket: str


@dataclass(frozen=True)
class OidcProvider:
    """A provider of logins. Any name and password log in there; see `scripts/services.d/oidc_provider.js`."""

    issuer: str
    client_id: str
    client_secret: str


def started(config: pytest.Config, group: str) -> dict[str, Any]:
    """What `scripts/services` wrote about a group.

    A test that needs a service fails without it: `scripts/test` is where groups are left out, by name.
    """
    index = config.stash[SERVICES] / "services.json"
    services = json.loads(index.read_text()) if index.exists() else {}
    if group not in services:
        pytest.fail(f"`{group}` does not run: start it with `scripts/services start {group}`", pytrace=False)
    return services[group]


SERVICES = pytest.StashKey[Path]()  # the folder with services.json


def registry(config: pytest.Config, name: str) -> RegistryService:
    facts = started(config, "registry")[name]
    return RegistryService(**{**facts, "ca": Path(facts["ca"]) if "ca" in facts else None})


@pytest.fixture(scope="session")
def registry_plain(pytestconfig: pytest.Config) -> RegistryService:
    """A registry over plain HTTP, for everybody. It has the base images."""
    return registry(pytestconfig, "plain")


@pytest.fixture(scope="session")
def registry_tls(pytestconfig: pytest.Config) -> RegistryService:
    """A registry whose certificate is of `.ca`, for everybody."""
    return registry(pytestconfig, "tls")


@pytest.fixture(scope="session")
def registry_password(pytestconfig: pytest.Config) -> RegistryService:
    """A registry over TLS that wants `.user` and `.password` (basic authentication)."""
    return registry(pytestconfig, "password")


@pytest.fixture(scope="session")
def registry_token(pytestconfig: pytest.Config) -> RegistryService:
    """A registry over TLS that sends to a token server, as hubs do; tokens live 60 s.

    `.user` with `.password`, or `.identity_token`, gets everything; anybody pulls what is under `public/`.
    """
    return registry(pytestconfig, "token")


@pytest.fixture
def broken_registry(registry_plain: RegistryService) -> Iterator[BrokenRegistry]:
    """The plain registry behind a proxy that breaks as it is told; see `tests.broken_registry`."""
    with BrokenRegistry(registry_plain.host) as broken:
        yield broken


@pytest.fixture(scope="session")
def base_images(pytestconfig: pytest.Config) -> BaseImages:
    """Debian with Python 3.11 and 3.13, wherever a base image can be."""
    facts = started(pytestconfig, "registry")
    index = json.loads((pytestconfig.stash[SERVICES] / "services.json").read_text())
    return BaseImages(facts["images"], facts["layouts"], index.get("docker", {}).get("images", {}))


@pytest.fixture  # for a test alone: while it is open, this thread can run no event loop of its own
def browser(pytestconfig: pytest.Config) -> Iterator[Browser]:
    """A browser without cookies."""
    from playwright.sync_api import sync_playwright

    program = started(pytestconfig, "browser")["program"]
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root, nor in most containers.
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=120_000)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def docker_engine(pytestconfig: pytest.Config) -> DockerEngine:
    """A Docker engine with the base images in it."""
    facts = started(pytestconfig, "docker")
    return DockerEngine(facts["socket"], facts["cli"], facts["buildkit_cli"], facts["images"])


def s3(facts: dict[str, str]) -> S3:
    """With a new bucket."""
    server = S3(**facts, bucket=own_name())
    assert server.send("PUT") == 200
    return server


@pytest.fixture(scope="session")
def moto(pytestconfig: pytest.Config) -> S3:
    """S3 that takes any key and secret."""
    return s3(started(pytestconfig, "objects")["moto"])


@pytest.fixture(scope="session")
def moto_signed(pytestconfig: pytest.Config) -> S3:
    """S3 that checks signatures and policies: its key may do `s3:*` and nothing else."""
    return s3(started(pytestconfig, "objects")["moto_signed"])


@pytest.fixture(scope="session")
def swift(pytestconfig: pytest.Config) -> S3:
    """OpenStack Swift by its S3 interface: signatures checked, no conditional writes."""
    return s3(started(pytestconfig, "swift"))


@pytest.fixture(scope="session")
def azurite(pytestconfig: pytest.Config) -> AzureBlob:
    """Azure Blob, with keys checked."""
    blob = AzureBlob(**started(pytestconfig, "objects")["azurite"], container=own_name())
    headers = {
        "x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "x-ms-version": "2021-12-02",
    }
    # Shared key: the verb, eleven empty standard headers, ours by name, then the resource.
    signed = "\n".join(
        [
            *("PUT", *[""] * 11, *(f"{name}:{value}" for name, value in headers.items())),
            # The account twice: once as the account, once as the path of an emulator's address.
            *(f"/{blob.account}/{blob.account}/{blob.container}", "restype:container"),
        ]
    )
    key = hmac.digest(base64.b64decode(blob.key), signed.encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {blob.account}:{base64.b64encode(key).decode()}"
    put = urllib.request.Request(
        f"{blob.url}/{blob.container}?restype=container", method="PUT", headers=headers
    )
    with urllib.request.urlopen(put, timeout=30):
        return blob


@pytest.fixture(scope="session")
def gcs(pytestconfig: pytest.Config) -> GoogleStorage:
    """Google Cloud Storage. It holds `ifGenerationMatch=0` in uploads of one request, not in resumable ones."""
    storage = GoogleStorage(**started(pytestconfig, "objects")["gcs"], bucket=own_name())
    post = urllib.request.Request(
        f"{storage.url}/storage/v1/b?project=tilth",
        data=json.dumps({"name": storage.bucket}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(post, timeout=30):
        return storage


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> str:
    """The address of a PostgreSQL server, without a database's name. Its user may make databases."""
    return str(started(pytestconfig, "postgres")["url"])


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """The address of an empty database of this test."""
    import psycopg

    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield f"{postgres}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def oidc_provider(pytestconfig: pytest.Config) -> OidcProvider:
    """A provider of logins by OpenID Connect, whose client returns to any port of loopback."""
    return OidcProvider(**started(pytestconfig, "oidc"))
