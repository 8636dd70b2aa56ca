"""Google's Artifact Registry. A login lasts an hour.

Source: https://cloud.google.com/artifact-registry/docs/docker/authentication
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from tilth.container_registries.logins import ExpiringCredentials, Lasting, dockers_login, no_login, said_by
from tilth.container_registries.protocol import OciContainerRegistry, RegistryFlavor
from tilth.errors import DefinitionError
from tilth.oci.credentials import FixedCredentials, Login
from tilth.oci.layers import Compression  # noqa: TC001 - msgspec reads the annotations
from tilth.stack.flavors import SecretText  # noqa: TC001 - the same

if TYPE_CHECKING:
    from tilth.oci.credentials import Credentials
    from tilth.stack.flavors import Context

_KEY_USER = "_json_key"
_TOKEN_USER = "oauth2accesstoken"  # noqa: S105 - the user's name there
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LASTS_S = 3600
_SHORTEST_S = 600  # of a token that does not say how long it lasts
_MEND = "`gcloud auth application-default login`, or name a service account's key by `key=secret:NAME`"


class ArtifactRegistrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a key the login is that of Google's tools.

    Attributes:
        location: `europe-west1`, `us`.
        project: The project's id.
        repository: Of Artifact Registry: images are below it.
        key: `secret:NAME`, the JSON key of a service account.
        compression: Of layers: `zstd` is smaller and quicker to unpack; Docker 20.10 and older cannot pull it.
    """

    location: str
    project: str
    repository: str
    key: SecretText = ""
    compression: Compression = "gzip"


class ArtifactRegistryFlavor(RegistryFlavor[ArtifactRegistrySettings]):
    """Google Artifact Registry."""

    name = "artifact-registry"
    title = "Google Artifact Registry"
    settings = ArtifactRegistrySettings
    extra = "gcs"  # google-auth

    def make(self, settings: ArtifactRegistrySettings, context: Context) -> OciContainerRegistry:
        """A repository of Artifact Registry.

        Raises:
            DefinitionError: The key is not one.
        """
        host = f"{settings.location}-docker.pkg.dev"
        credentials: Credentials
        if key := context.value(settings.key):
            credentials = FixedCredentials.one(host, Login(_KEY_USER, _checked(key)))
        else:
            credentials = ExpiringCredentials(host, lambda: log_in(host))
        return OciContainerRegistry(
            host,
            # Projects of an organisation are written with a colon, and with a slash in images.
            prefix=f"{settings.project.replace(':', '/')}/{settings.repository}",
            credentials=credentials,
            login_hint=_MEND,
            compression=settings.compression,
        )


def log_in(host: str) -> Lasting:
    """By google-auth when it is installed, else by `gcloud`, else what Docker's configuration knows.

    Raises:
        RegistryRefused: None of them gives a login.
    """
    try:
        import google.auth
        import google.auth.exceptions
        import google.auth.transport.requests
    except ImportError:
        pass
    else:
        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            credentials.refresh(google.auth.transport.requests.Request())
        except google.auth.exceptions.GoogleAuthError as error:
            raise no_login(host, str(error), _MEND) from error
        expiry = credentials.expiry  # without a time zone, meant in UTC
        lasts_s = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if expiry else _SHORTEST_S
        return Lasting(Login(_TOKEN_USER, credentials.token), lasts_s)
    token = said_by("gcloud", "auth", "print-access-token", host=host, mend=_MEND)
    if token:
        return Lasting(Login(_TOKEN_USER, token), _SHORTEST_S)
    return dockers_login(
        host,
        lasts_s=_LASTS_S,
        missing="google-auth nor `gcloud`",
        mend="`pip install 'tilth[gcs]'`, which brings google-auth; or " + _MEND,
    )


def _checked(key: str) -> str:
    try:
        if json.loads(key)["type"] == "service_account":
            return key
    except (ValueError, KeyError, TypeError):
        pass
    raise DefinitionError(
        "the secret of the setting `key` is not the key of a service account",
        why="such a key is JSON with `type` as `service_account`",
        mend="`tilth secret set NAME < key.json`",
    )
