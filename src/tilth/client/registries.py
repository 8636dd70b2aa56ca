"""The registries that a project talks to: the stack's own, with its login, and others with Docker's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tilth.container_registries import ContainerRegistry
    from tilth.home import Home
    from tilth.image_builders.sharing import SharedBases
    from tilth.oci.registry import Registry
    from tilth.stack.assembled import AssembledStack


def registry_client(host: str) -> Registry:
    """The client of a registry, with the logins that Docker knows."""
    from tilth.oci.credentials import docker_credentials
    from tilth.oci.registry import Registry

    return Registry(host, credentials=docker_credentials())


def clients(registry: ContainerRegistry | None) -> Callable[[str], Registry]:
    """Clients of registries by host: the stack's own with its login, others with Docker's. Each made once."""
    made: dict[str, Registry] = {}

    def client(host: str) -> Registry:
        if host not in made:
            own = registry is not None and registry.host == host
            # Of two threads that come at once both get the same.
            made.setdefault(
                host, registry.registry() if own and registry is not None else registry_client(host)
            )
        return made[host]

    return client


def stack_registry(stack: AssembledStack, root: Path, home: Home) -> ContainerRegistry | None:
    """The container registry of a stack; many have none."""
    component = stack.component("container_registry")
    if component is None:
        return None
    from tilth.client.stacks import open_component

    opened = open_component("container_registry", component.used, home=home, root=root)
    return cast("ContainerRegistry", opened)


def repository_of(project: str) -> str:
    """The repository of a project's images: its name, as registries allow."""
    return re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-") or "tilth"


def shared_bases(
    registry: ContainerRegistry | None,
    registries: Callable[[str], Registry],
    project: str,
    home: Home,
    tell: Callable[[str], None],
) -> SharedBases | None:
    """Where the bases that a builder makes for a project are shared: with its images, where a registry has those."""
    if registry is None:
        return None
    from tilth.image_builders.sharing import SharedBases

    repository = registry.repository(repository_of(project))
    return SharedBases(registries, registry.host, repository, home, tell=tell)
