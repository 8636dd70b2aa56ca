"""Docker Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.container_registries.logins import given_or_dockers
from tilth.container_registries.protocol import OciContainerRegistry, RegistryFlavor
from tilth.oci.layers import Compression  # noqa: TC001 - msgspec reads the annotations
from tilth.oci.references import DOCKER_HUB
from tilth.stack.flavors import SecretText  # noqa: TC001 - the same

if TYPE_CHECKING:
    from tilth.stack.flavors import Context


class DockerHubSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a password the login is the one of `docker login`.

    Attributes:
        namespace: A user or an organisation.
        user: By default the namespace.
        password: `secret:NAME`; an access token is one.
        compression: Of layers: `zstd` is smaller and quicker to unpack; Docker 20.10 and older cannot pull it.
    """

    namespace: str
    user: str = ""
    password: SecretText = ""
    compression: Compression = "gzip"


class DockerHubFlavor(RegistryFlavor[DockerHubSettings]):
    """Docker Hub."""

    name = "dockerhub"
    title = "Docker Hub"
    settings = DockerHubSettings

    def make(self, settings: DockerHubSettings, context: Context) -> OciContainerRegistry:
        """Docker Hub, as somebody."""
        password = context.value(settings.password)
        return OciContainerRegistry(
            DOCKER_HUB,
            prefix=settings.namespace,
            credentials=given_or_dockers(DOCKER_HUB, settings.user or settings.namespace, password),
            login_hint="`docker login`, or `user` and `password` in the settings of the container registry",
            compression=settings.compression,
        )
