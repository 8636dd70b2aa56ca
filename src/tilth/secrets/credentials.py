"""Secrets that open something by a user and a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.secrets.store import Secrets

TOKEN_USER = "__token__"  # noqa: S105 - what package indexes call whoever comes with a token alone


def logins(credentials: Mapping[str, str], secrets: Secrets) -> dict[str, tuple[str, str]]:
    """(user, password) by host.

    Args:
        credentials: Name of the secret by host. The secret is `user:password`, or a token alone.

    Raises:
        NotFound: One of the secrets was never set; the error names its host.
    """
    found = {}
    for host, name in credentials.items():
        try:
            found[host] = login(secrets.get(name))
        except NotFound as error:
            error.why = f"it should open `{host}`"
            raise
    return found


def login(value: str) -> tuple[str, str]:
    """User and password as a secret holds them."""
    user, colon, password = value.partition(":")
    return (user, password) if colon else (TOKEN_USER, value)
