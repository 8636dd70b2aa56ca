"""The stacks and components that every project has without registering any. They are stored nowhere."""

from __future__ import annotations

from datetime import datetime, timezone

from tilth.records import Component, Stack

DEFAULT = "default"
_EVER = datetime(1970, 1, 1, tzinfo=timezone.utc)
_COMPONENTS = {  # type -> flavors; each is a component of the same name, without settings
    "orchestrator": ("local", "docker"),
    "artifact_store": ("local",),
    "image_builder": ("native",),
}
_STACKS = {
    DEFAULT: {"orchestrator": "local", "artifact_store": "local"},
    "docker-local": {"orchestrator": "docker", "artifact_store": "local"},
}


def built_in_components(project: str) -> list[Component]:
    """The components that every project has."""
    return [
        Component(
            id=f"built-in:{type_}:{name}",
            created_at=_EVER,
            project=project,
            type=type_,
            name=name,
            flavor=name,
            built_in=True,
        )
        for type_, names in _COMPONENTS.items()
        for name in names
    ]


def built_in_stacks(project: str) -> list[Stack]:
    """The stacks that every project has."""
    return [
        Stack(
            id=f"built-in:{name}",
            created_at=_EVER,
            project=project,
            name=name,
            components=dict(components),
            built_in=True,
        )
        for name, components in _STACKS.items()
    ]
