"""What an artifact store promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class ArtifactStore(Protocol):
    """Keeps folders of files that never change, each under `sha256:…`. Any number of processes may share one.

    A digest that is none raises ValueError. One that is not there raises NotFound where a folder is needed.
    """

    def path(self, digest: str) -> Path:
        """The folder of an artifact, read-only, brought to this machine if it is not on it. It need not be there.

        Raises:
            LoadError: What would have to be brought is damaged.
            StoreUnavailable: It cannot be brought now.
        """
        ...

    def has(self, digest: str) -> bool:
        """Whether it is there, as a whole; says nothing about what happened to its files since."""
        ...

    def is_here(self, digest: str) -> bool:
        """Whether `path` would give it without bringing anything to this machine."""
        ...

    def manifest(self, digest: str) -> dict[str, Any]:
        """The content of its `artifact.json`; its other files are not brought here for that.

        Raises:
            NotFound: It is not there.
            LoadError: It is torn, or not of this artifact.
        """
        ...

    def adopt(self, folder: Path, digest: str) -> Path:
        """Take a written folder over, whole or not at all, and return its new place.

        `folder` is gone afterwards. When the artifact is there already, that one stays, unless it is damaged.
        Of many who adopt the same digest at once, all succeed and one folder is kept. Not yet durable: see
        `sync`.
        """
        ...

    def sync(self, *digests: str) -> None:
        """Return when these artifacts would survive a power failure, and are where the store shares them."""
        ...

    def share(self, *digests: str) -> None:
        """Return when these artifacts, durable already, are where the store shares them."""
        ...

    def remove(self, digest: str) -> None:
        """Forget an artifact; nothing happens when it is not there."""
        ...

    def verify(self, digest: str) -> list[str]:
        """What is wrong with an artifact's files, read and digested again; empty when all is well."""
        ...

    def quarantine(self, digest: str) -> Path:
        """Move a damaged artifact aside, so that it can be made again, and return where it is now."""
        ...
