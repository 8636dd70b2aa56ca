"""Container registries: where images are pushed to, and how one logs in there.

A flavor is a module with `NAME`, `TITLE`, `EXTRA`, `SETTINGS` and `make(settings, context)`.
"""

from tilth.container_registries.protocol import ContainerRegistry

FLAVORS = {
    "acr": "tilth.container_registries.acr",
    "artifact-registry": "tilth.container_registries.artifact_registry",
    "dockerhub": "tilth.container_registries.dockerhub",
    "ecr": "tilth.container_registries.ecr",
    "ghcr": "tilth.container_registries.ghcr",
    "oci": "tilth.container_registries.oci",
}

__all__ = ["FLAVORS", "ContainerRegistry"]
