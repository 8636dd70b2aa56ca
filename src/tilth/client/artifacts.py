"""Opens the artifact store of a run. The one place that does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.artifact_stores import LocalArtifactStore

if TYPE_CHECKING:
    from tilth.artifact_stores import ArtifactStore, ObjectStore
    from tilth.home import Home


def open_artifacts(home: Home, objects: ObjectStore | None = None) -> ArtifactStore:
    """Artifacts in the home folder; and in `objects`, where a stack has an artifact store elsewhere."""
    local = LocalArtifactStore(home.artifacts)
    if objects is None:
        return local
    from tilth.artifact_stores.cached import CachedArtifactStore  # here for cost: most runs need none

    return CachedArtifactStore(local, objects)
