"""Docker Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.container_registries.logins import given_or_dockers
from tilth.container_registries.protocol import OciContainerRegistry, revealed
from tilth.oci.references import DOCKER_HUB

if TYPE_CHECKING:
    from tilth.container_registries.protocol import Context

NAME = "dockerhub"
TITLE = "Docker Hub"
EXTRA = ""


class DockerHubSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a password the login is the one of `docker login`."""

    namespace: str  # a user or an organisation
    user: str = ""  # by default the namespace
    password: str = ""  # `secret:NAME`; an access token is one


SETTINGS = DockerHubSettings


def make(settings: DockerHubSettings, context: Context) -> OciContainerRegistry:
    """Docker Hub, as somebody."""
    password = revealed(settings.password, "password", context)
    return OciContainerRegistry(
        DOCKER_HUB,
        prefix=settings.namespace,
        credentials=given_or_dockers(DOCKER_HUB, settings.user or settings.namespace, password),
        login_hint="`docker login`, or `user` and `password` in the settings of the container registry",
    )
