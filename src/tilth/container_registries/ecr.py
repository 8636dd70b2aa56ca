"""Amazon's registry. It has a repository only when that was created, and a login that lasts twelve hours.

Source: https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.container_registries.logins import ExpiringCredentials, Lasting, dockers_login, no_login, said_by
from tilth.container_registries.protocol import OciContainerRegistry, RegistryFlavor
from tilth.errors import RegistryRefused, SetupError
from tilth.oci.credentials import Login
from tilth.oci.layers import Compression  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from tilth.stack.flavors import Context

_USER = "AWS"
_LASTS_S = 12 * 3600
_MEND = "check the credentials that the AWS tools use (`aws sts get-caller-identity`) and their right for ECR"


class EcrSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The login is that of the AWS tools.

    Attributes:
        account: Twelve digits.
        region: As `eu-west-1`.
        prefix: Before each repository.
        create: Create repositories that are missing.
        profile: Of the AWS configuration.
        endpoint: Address of the API, where it is not the usual one.
        compression: Of layers: `zstd` is smaller and quicker to unpack; Docker 20.10 and older cannot pull it.
    """

    account: str
    region: str
    prefix: str = ""
    create: bool = False
    profile: str = ""
    endpoint: str = ""
    compression: Compression = "gzip"


class EcrFlavor(RegistryFlavor[EcrSettings]):
    """Amazon Elastic Container Registry."""

    name = "ecr"
    title = "Amazon Elastic Container Registry"
    settings = EcrSettings
    extra = "s3"  # boto3

    def make(self, settings: EcrSettings, context: Context) -> OciContainerRegistry:  # noqa: ARG002 - as every flavor
        """The registry of an account in a region."""
        host = host_of(settings)
        return OciContainerRegistry(
            host,
            prefix=settings.prefix,
            credentials=ExpiringCredentials(host, lambda: log_in(settings)),
            login_hint=_MEND,
            prepare=(lambda repository: create_repository(settings, repository)) if settings.create else None,
            made_by_push=False,
            compression=settings.compression,
        )


def host_of(settings: EcrSettings) -> str:
    """The registry's host: China's regions have a domain of their own."""
    domain = "amazonaws.com.cn" if settings.region.startswith("cn-") else "amazonaws.com"
    return f"{settings.account}.dkr.ecr.{settings.region}.{domain}"


def log_in(settings: EcrSettings) -> Lasting:
    """By boto3 when it is installed, else by `aws`, else by Docker's credential helper.

    Raises:
        RegistryRefused: None of them gives a login.
    """
    host = host_of(settings)
    client = _client(settings)
    if client is not None:
        try:
            given = client.get_authorization_token()["authorizationData"][0]
            user, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
        except (KeyError, IndexError, binascii.Error, UnicodeDecodeError) as error:
            raise no_login(host, f"AWS gave none that can be read: {type(error).__name__}", _MEND) from None
        except Exception as error:
            raise _refused(host, error) from error
        return Lasting(Login(user, password), given["expiresAt"].timestamp() - time.time())
    command = ["aws", "ecr", "get-login-password", "--region", settings.region]
    command += ["--profile", settings.profile] if settings.profile else []
    command += ["--endpoint-url", settings.endpoint] if settings.endpoint else []
    password = said_by(*command, host=host, mend=_MEND) or ""
    if password:
        return Lasting(Login(_USER, password), _LASTS_S)
    return dockers_login(
        host,
        lasts_s=_LASTS_S,
        missing="boto3 nor `aws`",
        mend="`pip install 'tilth[s3]'`, which brings boto3, or install the AWS command line",
    )


def create_repository(settings: EcrSettings, repository: str) -> None:
    """Create a repository that is not there.

    Raises:
        RegistryRefused: AWS does not allow it.
        SetupError: Only boto3 can do it, and it is not installed.
    """
    client = _client(settings)
    if client is None:
        raise SetupError(
            f"the repository `{repository}` cannot be created in ECR",
            why="boto3 is not installed",
            mend="`pip install 'tilth[s3]'`, or create it yourself and set `create` to false",
        )
    try:
        client.create_repository(repositoryName=repository)
    except client.exceptions.RepositoryAlreadyExistsException:
        pass
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "botocore":
            raise
        raise RegistryRefused(
            f"the repository `{repository}` cannot be created in `{host_of(settings)}`",
            why=str(error),
            mend="ask for the right `ecr:CreateRepository`, or have somebody create it",
        ) from error


def _client(settings: EcrSettings) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        return None
    try:
        session = boto3.Session(profile_name=settings.profile or None, region_name=settings.region)
        config = Config(retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=10, read_timeout=30)
        return session.client("ecr", endpoint_url=settings.endpoint or None, config=config)
    except Exception as error:
        raise _refused(host_of(settings), error) from error


def _refused(host: str, error: Exception) -> Exception:
    """What AWS says; what is no error of its library is ours, and stays."""
    if type(error).__module__.partition(".")[0] != "botocore":
        return error
    return no_login(host, str(error), _MEND)
