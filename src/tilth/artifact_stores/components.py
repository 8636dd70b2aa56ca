"""Artifact stores as flavors of component: what a stack is made of, and `tilth stack check` asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.artifact_stores.flavors import (
    AzureSettings,
    FsspecSettings,
    GcsSettings,
    LocalSettings,
    S3Settings,
    ServerSettings,
    check_settings,
    open_objects,
)
from tilth.stack.flavors import Finding, Flavor, S

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from tilth.artifact_stores.objects import ObjectStore
    from tilth.stack.flavors import Context


class ArtifactStoreFlavor(Flavor[S]):
    """What all artifact stores share: the component is an `ObjectStore`, or None for the home folder alone."""

    type = "artifact_store"

    def make(self, settings: S, context: Context) -> ObjectStore | None:
        """The object store, which is asked for nothing yet."""
        return open_objects(self.name, settings, home=context.home, reveal=context.reveal)

    def check(self, settings: S, context: Context) -> Sequence[Finding]:
        """Write, read and delete a small object."""
        check_settings(self.name, settings)
        objects = self.make(settings, context)
        if objects is None:
            return [Finding(level="ok", what=f"artifacts stay in `{context.home.artifacts}`")]
        objects.check()
        return [Finding(level="ok", what=f"writes, reads and deletes at `{objects.where}`")]


class _Named(ArtifactStoreFlavor[Any]):
    def __init__(
        self, name: str, settings: type[msgspec.Struct], title: str, *, needs_extra: bool = True
    ) -> None:
        self.name = name
        self.settings = settings
        self.title = title
        self.extra = name if needs_extra else ""


LOCAL = _Named("local", LocalSettings, "a folder: this machine's own, or a shared one", needs_extra=False)
S3 = _Named("s3", S3Settings, "a bucket of Amazon S3, or of what speaks its protocol")
GCS = _Named("gcs", GcsSettings, "a bucket of Google Cloud Storage")
AZURE = _Named("azure", AzureSettings, "a container of Azure Blob Storage")
FSSPEC = _Named("fsspec", FsspecSettings, "any URL that fsspec knows: `sftp://…`, `hdfs://…`")
SERVER = _Named("server", ServerSettings, "the server that this machine is logged in at", needs_extra=False)
