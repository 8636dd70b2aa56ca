"""Any registry that speaks OCI's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.container_registries.logins import given_or_dockers
from tilth.container_registries.protocol import OciContainerRegistry, revealed
from tilth.errors import DefinitionError
from tilth.oci.references import parse

if TYPE_CHECKING:
    from tilth.container_registries.protocol import Context

NAME = "oci"
TITLE = "any registry that speaks OCI's protocol"
EXTRA = ""


class OciSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without user and password the login is the one of `docker login`."""

    host: str  # `HOST` or `HOST:PORT`
    prefix: str = ""  # before each repository
    user: str = ""
    password: str = ""  # `secret:NAME`
    token: str = ""  # `secret:NAME`, an identity token that is exchanged for others
    ca: str = ""  # a PEM file: the authority that signed its certificate
    insecure: bool = False  # trust whatever certificate answers
    plain_http: bool | None = None  # speak HTTP; by default to this machine itself alone


SETTINGS = OciSettings


def make(settings: OciSettings, context: Context) -> OciContainerRegistry:
    """The registry that settings describe.

    Raises:
        DefinitionError: They describe none.
    """
    if parse(f"{settings.host}/name").registry != settings.host:
        raise DefinitionError(
            f"`{settings.host}` is not the host of a registry",
            mend="write `HOST`, with a dot in it, or `HOST:PORT`",
        )
    password = revealed(settings.password, "password", context)
    if password and not settings.user:
        raise DefinitionError("the container registry has a password and no user", mend="set `user` too")
    return OciContainerRegistry(
        settings.host,
        prefix=settings.prefix,
        credentials=given_or_dockers(
            settings.host, settings.user, password, revealed(settings.token, "token", context)
        ),
        ca=settings.ca,
        insecure=settings.insecure,
        plain_http=settings.plain_http,
        login_hint=f"`docker login {settings.host}`, or `user` and `password` in its settings",
    )
