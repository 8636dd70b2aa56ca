from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.oci.conftest import new_blob

from tilth.container_registries import FLAVORS, dockerhub, ghcr, oci
from tilth.errors import DefinitionError, NotFound, RegistryRefused
from tilth.oci.credentials import Login

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import RegistryService


@dataclass
class Context:
    """Secrets by name, and nothing else."""

    values: dict[str, str] = field(default_factory=dict)

    def open_secrets(self) -> Any:
        return self

    def get(self, name: str) -> str:
        if name not in self.values:
            raise NotFound(f"there is no secret `{name}`")
        return self.values[name]


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins of whoever runs the tests are not looked at."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.mark.parametrize("name", FLAVORS)
def test_every_flavor_has_a_title_and_settings_that_refuse_a_typo(name: str) -> None:
    flavor = importlib.import_module(FLAVORS[name])
    assert name == flavor.NAME
    assert flavor.TITLE
    with pytest.raises(msgspec.ValidationError, match=r"unknown field `hosst`|missing required field"):
        msgspec.convert({"hosst": "x"}, flavor.SETTINGS)


def test_a_registry_is_used_by_its_settings(registry_password: RegistryService) -> None:
    service = registry_password
    settings = oci.OciSettings(
        host=service.host, prefix=service.prefix, user=service.user, password="secret:p", ca=str(service.ca)
    )
    registry = oci.make(settings, Context({"p": service.password}))
    registry.check()
    blob = new_blob()
    repository = registry.repository("app")
    assert repository == f"{service.prefix}/app"
    registry.registry().push_blob(repository, blob.descriptor, blob.open)
    assert registry.registry().has_blob(repository, blob.descriptor.digest)
    assert str(registry.reference("app", "v1")) == f"{service.host}/{service.prefix}/app:v1"


def test_a_wrong_password_names_the_settings(registry_password: RegistryService) -> None:
    service = registry_password
    settings = oci.OciSettings(host=service.host, user="me", password="secret:p", ca=str(service.ca))
    with pytest.raises(RegistryRefused) as caught:
        oci.make(settings, Context({"p": "hunter2"})).check()
    assert "`user` and `password` in its settings" in caught.value.mend
    assert "hunter2" not in str(caught.value)


def test_a_password_in_the_open_is_refused_and_not_repeated() -> None:
    with pytest.raises(DefinitionError, match="`password`") as caught:
        oci.make(oci.OciSettings(host="r.example", user="me", password="hunter2"), Context())
    assert "hunter2" not in str(caught.value)


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(NotFound, match="`gone`"):
        oci.make(oci.OciSettings(host="r.example", user="me", password="secret:gone"), Context())


@pytest.mark.parametrize("host", ["https://r.example", "name", "r.example/path", "", "r example"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(DefinitionError):
        oci.make(oci.OciSettings(host=host), Context())


def test_a_password_needs_a_user() -> None:
    with pytest.raises(DefinitionError, match="no user"):
        oci.make(oci.OciSettings(host="r.example", password="secret:p"), Context({"p": "x"}))


def test_the_hubs_know_their_hosts_and_names() -> None:
    hub = dockerhub.make(
        dockerhub.DockerHubSettings(namespace="team", password="secret:p"), Context({"p": "x"})
    )
    assert (hub.host, hub.repository("app")) == ("docker.io", "team/app")
    assert hub.registry()._conversation._credentials.login("docker.io") == Login("team", "x")
    github = ghcr.make(ghcr.GhcrSettings(owner="Team", prefix="ml", token="secret:p"), Context({"p": "x"}))
    assert (github.host, github.repository("app")) == ("ghcr.io", "team/ml/app")
    assert github.registry()._conversation._credentials.login("ghcr.io") == Login("Team", "x")
