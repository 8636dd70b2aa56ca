"""Container registries: where images are pushed to, and how one logs in there."""

from tilth.container_registries.protocol import ContainerRegistry

__all__ = ["ContainerRegistry"]
