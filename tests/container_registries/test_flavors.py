from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.oci.conftest import new_blob

from tilth.container_registries import dockerhub, ghcr, oci
from tilth.errors import DefinitionError, NotFound, RegistryRefused
from tilth.home import Home
from tilth.oci.credentials import Login
from tilth.stack.flavors import GROUP, Context

if TYPE_CHECKING:
    from tests.services import RegistryService


def context(**secrets: str) -> Context:
    """With secrets by name, and nothing else."""

    def reveal(name: str) -> str:
        if name not in secrets:
            raise NotFound(f"there is no secret `{name}`")
        return secrets[name]

    return Context(Home(Path("none")), Path("none"), reveal)


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins of whoever runs the tests are not looked at."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


FLAVORS = [point for point in entry_points(group=GROUP) if point.name.startswith("container_registry.")]


def test_all_flavors_are_declared() -> None:
    names = {point.name.partition(".")[2] for point in FLAVORS}
    assert names >= {"acr", "artifact-registry", "dockerhub", "ecr", "ghcr", "oci"}


@pytest.mark.parametrize("point", FLAVORS, ids=lambda point: point.name)
def test_every_flavor_has_a_title_and_settings_that_refuse_a_typo(point: EntryPoint) -> None:
    flavor = point.load()
    assert f"{flavor.type}.{flavor.name}" == point.name
    assert flavor.title
    with pytest.raises(msgspec.ValidationError, match=r"unknown field `hosst`|missing required field"):
        msgspec.convert({"hosst": "x"}, flavor.settings)
    for name in flavor.settings.__struct_fields__:
        assert f"\n        {name}: " in flavor.settings.__doc__


def test_a_registry_is_used_by_its_settings(registry_password: RegistryService) -> None:
    service = registry_password
    settings = oci.OciSettings(
        host=service.host, prefix=service.prefix, user=service.user, password="secret:p", ca=str(service.ca)
    )
    registry = oci.OciFlavor().make(settings, context(p=service.password))
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
        oci.OciFlavor().make(settings, context(p="hunter2")).check()
    assert "`user` and `password` in its settings" in caught.value.mend
    assert "hunter2" not in str(caught.value)


def test_a_check_finds_that_one_may_push_or_not(
    registry_password: RegistryService, registry_token: RegistryService
) -> None:
    service = registry_password
    settings = oci.OciSettings(host=service.host, user=service.user, password="secret:p", ca=str(service.ca))
    (finding,) = oci.OciFlavor().check(settings, context(p=service.password))
    assert finding.level == "ok"
    # Anybody gets a token here, and may not push with it.
    anybody = oci.OciSettings(host=registry_token.host, ca=str(registry_token.ca))
    with pytest.raises(RegistryRefused):
        oci.OciFlavor().check(anybody, context())


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(NotFound, match="`gone`"):
        oci.OciFlavor().make(oci.OciSettings(host="r.example", user="me", password="secret:gone"), context())


@pytest.mark.parametrize("host", ["https://r.example", "name", "r.example/path", "", "r example"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(DefinitionError):
        oci.OciFlavor().make(oci.OciSettings(host=host), context())


def test_a_password_needs_a_user() -> None:
    with pytest.raises(DefinitionError, match="no user"):
        oci.OciFlavor().make(oci.OciSettings(host="r.example", password="secret:p"), context(p="x"))


def test_the_hubs_know_their_hosts_and_names() -> None:
    hub = dockerhub.DockerHubFlavor().make(
        dockerhub.DockerHubSettings(namespace="team", password="secret:p"), context(p="x")
    )
    assert (hub.host, hub.repository("app")) == ("docker.io", "team/app")
    assert hub.registry()._conversation._credentials.login("docker.io") == Login("team", "x")
    github = ghcr.GhcrFlavor().make(
        ghcr.GhcrSettings(owner="Team", prefix="ml", token="secret:p"), context(p="x")
    )
    assert (github.host, github.repository("app")) == ("ghcr.io", "team/ml/app")
    assert github.registry()._conversation._credentials.login("ghcr.io") == Login("Team", "x")
