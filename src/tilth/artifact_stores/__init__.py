"""Where artifacts are kept, under the digest of their content; and where other files are, under keys."""

from tilth.artifact_stores.local import LocalArtifactStore
from tilth.artifact_stores.objects import ObjectStore, Stored
from tilth.artifact_stores.protocol import ArtifactStore

__all__ = ["ArtifactStore", "LocalArtifactStore", "ObjectStore", "Stored"]
