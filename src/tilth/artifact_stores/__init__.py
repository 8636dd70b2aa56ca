"""Where artifacts are kept, under the digest of their content."""

from tilth.artifact_stores.local import LocalArtifactStore
from tilth.artifact_stores.protocol import ArtifactStore

__all__ = ["ArtifactStore", "LocalArtifactStore"]
