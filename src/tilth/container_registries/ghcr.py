"""GitHub's registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.container_registries.logins import given_or_dockers
from tilth.container_registries.protocol import OciContainerRegistry, RegistryFlavor
from tilth.oci.layers import Compression  # noqa: TC001 - msgspec reads the annotations
from tilth.stack.flavors import SecretText  # noqa: TC001 - the same

if TYPE_CHECKING:
    from tilth.stack.flavors import Context

_HOST = "ghcr.io"


class GhcrSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a token the login is the one of `docker login ghcr.io`.

    Attributes:
        owner: A user or an organisation; capitals do not matter.
        prefix: Between the owner and each repository.
        user: By default the owner.
        token: `secret:NAME`, a token with `write:packages`.
        compression: Of layers: `zstd` is smaller and quicker to unpack; Docker 20.10 and older cannot pull it.
    """

    owner: str
    prefix: str = ""
    user: str = ""
    token: SecretText = ""
    compression: Compression = "gzip"


class GhcrFlavor(RegistryFlavor[GhcrSettings]):
    """GitHub's container registry."""

    name = "ghcr"
    title = "GitHub's container registry"
    settings = GhcrSettings

    def make(self, settings: GhcrSettings, context: Context) -> OciContainerRegistry:
        """GitHub's registry, as somebody. The token is a password there."""
        token = context.value(settings.token)
        return OciContainerRegistry(
            _HOST,
            prefix="/".join(filter(None, (settings.owner.lower(), settings.prefix))),
            credentials=given_or_dockers(_HOST, settings.user or settings.owner, token),
            login_hint="`docker login ghcr.io` with a token that has `write:packages`, or `token` in its settings",
            compression=settings.compression,
        )
