"""GitHub's registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.container_registries.logins import given_or_dockers
from tilth.container_registries.protocol import OciContainerRegistry, revealed

if TYPE_CHECKING:
    from tilth.container_registries.protocol import Context

NAME = "ghcr"
TITLE = "GitHub's container registry"
EXTRA = ""
_HOST = "ghcr.io"


class GhcrSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a token the login is the one of `docker login ghcr.io`."""

    owner: str  # a user or an organisation; capitals do not matter
    prefix: str = ""  # between the owner and each repository
    user: str = ""  # by default the owner
    token: str = ""  # `secret:NAME`, a token with `write:packages`


SETTINGS = GhcrSettings


def make(settings: GhcrSettings, context: Context) -> OciContainerRegistry:
    """GitHub's registry, as somebody. The token is a password there."""
    token = revealed(settings.token, "token", context)
    return OciContainerRegistry(
        _HOST,
        prefix="/".join(filter(None, (settings.owner.lower(), settings.prefix))),
        credentials=given_or_dockers(_HOST, settings.user or settings.owner, token),
        login_hint="`docker login ghcr.io` with a token that has `write:packages`, or `token` in its settings",
    )
