"""Azure's registry. Its refresh token is got for an access token of Entra, and lasts three hours.

Source: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.container_registries.logins import (
    ExpiringCredentials,
    Lasting,
    dockers_login,
    given_or_dockers,
    no_login,
    said_by,
)
from tilth.container_registries.protocol import OciContainerRegistry, RegistryFlavor
from tilth.errors import RegistryUnavailable
from tilth.oci.connections import is_loopback, load_httpx
from tilth.oci.credentials import Login
from tilth.oci.layers import Compression  # noqa: TC001 - msgspec reads the annotations
from tilth.stack.flavors import SecretText  # noqa: TC001 - the same

if TYPE_CHECKING:
    from tilth.oci.credentials import Credentials
    from tilth.stack.flavors import Context

_SCOPE = "https://management.azure.com/.default"
_TOKEN_USER = "00000000-0000-0000-0000-000000000000"  # noqa: S105 - who comes with a token as a password
_LASTS_S = 3 * 3600
_TIMEOUT_S = 30
_MEND = "`az login`, and the role `AcrPush` for whom you are; or `user` and `password` in its settings"


class AcrSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a password the login is that of Azure's tools.

    Attributes:
        name: Of the registry: `NAME.azurecr.io`.
        prefix: Before each repository.
        user: Id of a service principal, or the admin user.
        password: `secret:NAME`.
        domain: `azurecr.cn`, `azurecr.us` in clouds of their own.
        compression: Of layers: `zstd` is smaller and quicker to unpack; Docker 20.10 and older cannot pull it.
    """

    name: str
    prefix: str = ""
    user: str = ""
    password: SecretText = ""
    domain: str = "azurecr.io"
    compression: Compression = "gzip"


class AcrFlavor(RegistryFlavor[AcrSettings]):
    """Azure Container Registry."""

    name = "acr"
    title = "Azure Container Registry"
    settings = AcrSettings
    extra = "azure"  # azure-identity

    def make(self, settings: AcrSettings, context: Context) -> OciContainerRegistry:
        """A registry of Azure."""
        host = f"{settings.name.lower()}.{settings.domain}"
        credentials: Credentials
        if password := context.value(settings.password):
            credentials = given_or_dockers(host, settings.user, password)
        else:
            credentials = ExpiringCredentials(host, lambda: log_in(host, settings.name))
        return OciContainerRegistry(
            host,
            prefix=settings.prefix,
            credentials=credentials,
            login_hint=_MEND,
            compression=settings.compression,
        )


def log_in(host: str, name: str) -> Lasting:
    """By azure-identity when it is installed, else by `az`, else what Docker's configuration knows.

    Raises:
        RegistryRefused: None of them gives a login.
    """
    try:
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential
    except ImportError:
        pass
    else:
        try:
            with DefaultAzureCredential() as credential:
                access = credential.get_token(_SCOPE).token
        except AzureError as error:
            raise no_login(host, str(error).splitlines()[0], _MEND) from error
        return Lasting(Login(token=exchange(host, access)), _LASTS_S)
    told = said_by(
        "az", "acr", "login", "--name", name, "--expose-token", "--output", "json", host=host, mend=_MEND
    )
    if told:
        try:
            return Lasting(Login(_TOKEN_USER, str(json.loads(told)["accessToken"])), _LASTS_S)
        except (ValueError, KeyError):
            raise no_login(host, "what `az acr login` printed cannot be read", _MEND) from None
    return dockers_login(
        host,
        lasts_s=_LASTS_S,
        missing="azure-identity nor `az`",
        mend="`pip install 'tilth[azure]'`, which brings azure-identity; or " + _MEND,
    )


def exchange(host: str, access_token: str) -> str:
    """The registry's refresh token for an access token of Entra.

    Raises:
        RegistryRefused: It takes no such token.
        RegistryUnavailable: It does not answer.
    """
    httpx: Any = load_httpx()
    scheme = "http" if is_loopback(host) else "https"
    form = {"grant_type": "access_token", "service": host, "access_token": access_token}
    try:
        answer = httpx.post(f"{scheme}://{host}/oauth2/exchange", data=form, timeout=_TIMEOUT_S)
    except httpx.TransportError as error:
        raise RegistryUnavailable(
            f"registry `{host}` cannot be reached for a login",
            why=str(error),
            mend="check its name, and the network (and proxy) between",
        ) from error
    if answer.status_code != 200:
        raise no_login(host, f"it answers with {answer.status_code} to the exchange of tokens", _MEND)
    try:
        return str(answer.json()["refresh_token"])
    except (ValueError, KeyError, TypeError):
        raise no_login(host, "its answer to the exchange of tokens cannot be read", _MEND) from None
