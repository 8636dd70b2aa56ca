"""Any registry that speaks OCI's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.container_registries.logins import given_or_dockers
from tilth.container_registries.protocol import OciContainerRegistry, RegistryFlavor
from tilth.errors import DefinitionError
from tilth.oci.layers import Compression  # noqa: TC001 - msgspec reads the annotations
from tilth.oci.references import check_host
from tilth.stack.flavors import SecretText  # noqa: TC001 - the same

if TYPE_CHECKING:
    from tilth.stack.flavors import Context


class OciSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without user and password the login is the one of `docker login`.

    Attributes:
        host: `HOST` or `HOST:PORT`.
        prefix: Before each repository.
        user: Who logs in.
        password: `secret:NAME`.
        token: `secret:NAME`, an identity token that is exchanged for others.
        ca: A PEM file: the authority that signed its certificate.
        insecure: Trust whatever certificate answers.
        plain_http: Speak HTTP; by default to this machine itself alone.
        compression: Of layers: `zstd` is smaller and quicker to unpack; Docker 20.10 and older cannot pull it.
    """

    host: str
    prefix: str = ""
    user: str = ""
    password: SecretText = ""
    token: SecretText = ""
    ca: str = ""
    insecure: bool = False
    plain_http: bool | None = None
    compression: Compression = "gzip"


class OciFlavor(RegistryFlavor[OciSettings]):
    """Any registry that speaks OCI's protocol."""

    name = "oci"
    title = "any registry that speaks OCI's protocol"
    settings = OciSettings

    def make(self, settings: OciSettings, context: Context) -> OciContainerRegistry:
        """The registry that settings describe.

        Raises:
            DefinitionError: They describe none.
        """
        host = check_host(settings.host)
        password = context.value(settings.password)
        if password and not settings.user:
            raise DefinitionError("the container registry has a password and no user", mend="set `user` too")
        return OciContainerRegistry(
            host,
            prefix=settings.prefix,
            credentials=given_or_dockers(host, settings.user, password, context.value(settings.token)),
            ca=settings.ca,
            insecure=settings.insecure,
            plain_http=settings.plain_http,
            login_hint=f"`docker login {host}`, or `user` and `password` in its settings",
            compression=settings.compression,
        )
