"""The artifact stores that come with tilth: their settings, and how each is opened."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.errors import DefinitionError, SetupError, UnknownOption, nearest
from tilth.stack.flavors import REFERENCE, SecretText

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tilth.artifact_stores.objects import ObjectStore
    from tilth.artifact_stores.remote import Provider
    from tilth.home import Home

    Reveal = Callable[[str], str]


class LocalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A folder: this machine's own, or one that others share.

    Attributes:
        path: Absolute. By default artifacts stay in the home folder of this machine, and are not shared.
    """

    path: str = ""

    def __post_init__(self) -> None:
        if self.path and not Path(self.path).expanduser().is_absolute():
            raise ValueError(
                f"`path` is `{self.path}`, which would be another folder wherever a run is started; "
                f"give `{Path(self.path).absolute()}`"
            )


class S3Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bucket of Amazon S3, or of what speaks its protocol.

    Without `key` and `secret`, credentials are found as Amazon's tools find them: variables, profiles, roles.

    Attributes:
        bucket: Name of the bucket.
        prefix: What all keys begin with.
        endpoint: `https://HOST[:PORT]` of a store that is not Amazon's.
        region: As Amazon names it: `eu-west-1`.
        key: The access key's id, or `secret:NAME`.
        secret: `secret:NAME`: the access key itself.
        token: `secret:NAME`: of temporary credentials.
        profile: Of Amazon's configuration files.
        ca: File with the certificate authority of the endpoint.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    key: str = ""
    secret: SecretText = ""
    token: SecretText = ""
    profile: str = ""
    ca: str = ""

    def __post_init__(self) -> None:
        _check_name("bucket", self.bucket)
        _check_endpoint(self.endpoint)


class GcsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bucket of Google Cloud Storage.

    Without `service_account`, credentials are found as Google's tools find them.

    Attributes:
        bucket: Name of the bucket.
        prefix: What all keys begin with.
        endpoint: Of an emulator, which is asked without credentials.
        service_account: `secret:NAME`: the JSON of its key.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    service_account: SecretText = ""

    def __post_init__(self) -> None:
        _check_name("bucket", self.bucket)
        _check_endpoint(self.endpoint)


class AzureSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A container of Azure Blob Storage.

    With none of `key`, `sas` and `connection`, credentials are found as Azure's tools find them.

    Attributes:
        container: Name of the container.
        account: Name of the storage account.
        prefix: What all keys begin with.
        endpoint: Where the account is not at `https://ACCOUNT.blob.core.windows.net`.
        key: `secret:NAME`: of the account.
        sas: `secret:NAME`: a shared access signature.
        connection: `secret:NAME`: a connection string.
    """

    container: str
    account: str = ""
    prefix: str = ""
    endpoint: str = ""
    key: SecretText = ""
    sas: SecretText = ""
    connection: SecretText = ""

    def __post_init__(self) -> None:
        _check_name("container", self.container)
        _check_endpoint(self.endpoint)
        if sum(map(bool, (self.key, self.sas, self.connection))) > 1:
            raise ValueError("one of `key`, `sas` and `connection` is enough, and no more than one is taken")
        if not (self.account or self.connection or (self.endpoint and not self.key)):
            raise ValueError("which account it is in, `account` or `connection` has to say")


class FsspecSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Any URL that fsspec knows: `sftp://…`, `hdfs://…`, `smb://…`.

    Attributes:
        url: Where everything is below.
        storage_options: What fsspec passes on; a text in it may be `secret:NAME`.
    """

    url: str
    storage_options: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if "://" not in self.url:
            raise ValueError(f"`url` is `{self.url}`, and has to begin with a protocol, as `sftp://`")
        # Not repeated: it has a password in it.
        if _LOGIN_IN_URL(self.url):
            raise ValueError(
                "`url` has a password in it, and settings are kept as they are, and shown; leave it out, and give "
                '`--set storage_options=\'{"password": "secret:NAME"}\'` after `tilth secret set NAME`'
            )
        if name := _written_out(self.storage_options):
            raise ValueError(
                f"`{name}` in `storage_options` is a secret that is written out, and settings are kept as they are, "
                "and shown; `tilth secret set NAME`, and give it as `secret:NAME`"
            )


def _check_name(setting: str, name: str) -> None:
    if not name.strip():
        raise ValueError(f"`{setting}` is empty")


def _check_endpoint(endpoint: str) -> None:
    if endpoint and not re.match(r"https?://[^/]", endpoint):
        raise ValueError(f"`endpoint` is `{endpoint}`, and has to be as `https://HOST`")


def _written_out(options: Mapping[str, Any]) -> str:
    """The name of an option that is called like a secret, and does not name one."""
    for name, value in options.items():
        if isinstance(value, dict):
            if inner := _written_out(value):
                return inner
        elif isinstance(value, str) and value and not value.startswith(REFERENCE) and _SECRET_NAME(name):
            return name
    return ""


_LOGIN_IN_URL = re.compile(r"://[^/@:]*:[^/@]+@").search
# What file systems of fsspec call their secrets. Files that hold one are named by paths.
_SECRET_NAME = re.compile(r"(password|passwd|passphrase|secret|token|account_key|connection_string)$").search


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The server that this machine is logged in at: what runs use whose stack keeps artifacts at home.

    Attributes:
        project: Whose artifacts they are; by default the project that the current folder belongs to.
    """

    project: str = ""


SETTINGS: dict[str, type[msgspec.Struct]] = {
    "server": ServerSettings,
    "local": LocalSettings,
    "s3": S3Settings,
    "gcs": GcsSettings,
    "azure": AzureSettings,
    "fsspec": FsspecSettings,
}
_SECRET = ("secret", "token", "service_account", "sas", "connection")  # never written out in settings
_LIBRARY = {"s3": "boto3", "gcs": "google.auth", "azure": "azure.storage.blob", "fsspec": "fsspec"}


def open_objects(
    flavor: str, settings: Mapping[str, Any] | msgspec.Struct, *, home: Home, reveal: Reveal
) -> ObjectStore | None:
    """The object store of a component; None for the home folder of this machine, which is not shared.

    Args:
        reveal: Gives the value of a secret by its name.
    Raises:
        UnknownOption: There is no such flavor.
        DefinitionError: The settings are not those of the flavor.
        SetupError: What the flavor needs is not installed.
    """
    checked = check_settings(flavor, settings)
    if isinstance(checked, LocalSettings):
        return _folder(checked)
    if isinstance(checked, ServerSettings):
        return server_objects(checked, home)
    revealed: list[str] = []
    given = _revealed(msgspec.to_builtins(checked), reveal, revealed)
    try:
        import_module(_LIBRARY[flavor])
    except ImportError as error:
        raise SetupError(
            f"an artifact store of flavor `{flavor}` needs what is not installed: `{error.name or error}`",
            mend=f"`tilth integration install {flavor}`",
        ) from error
    try:
        provider = _provider(flavor, given, home)
    except ImportError as error:  # of an fsspec protocol, which says what it needs
        raise SetupError(
            f"an artifact store of flavor `{flavor}` needs what is not installed beside `{_LIBRARY[flavor]}`",
            why=str(error),
            mend="`tilth integration install --package NAME`, with the name of what is missing",
        ) from error
    except ValueError as error:
        told = str(error)
        for each in revealed:
            told = told.replace(each, "***")
        raise DefinitionError(
            f"an artifact store of flavor `{flavor}` cannot be opened with its settings",
            why=told,
            mend="change them: `tilth component update NAME --set …`, or the secrets they name",
        ) from None
    except Exception as error:
        from tilth.artifact_stores.remote import credentials_missing  # here for cost

        raise credentials_missing(flavor, error) from error
    from tilth.artifact_stores.remote import RemoteStore  # here for cost: most runs need none

    return RemoteStore(provider, hidden=revealed)


def check_settings(flavor: str, settings: Mapping[str, Any] | msgspec.Struct) -> msgspec.Struct:
    """The settings of a flavor, if they are that.

    Raises:
        UnknownOption, DefinitionError: They are not.
    """
    if flavor not in SETTINGS:
        raise UnknownOption(
            f"there is no artifact store of flavor `{flavor}`", mend=nearest(flavor, SETTINGS)
        )
    if isinstance(settings, msgspec.Struct):
        checked = settings
    else:
        try:
            checked = msgspec.convert(settings, SETTINGS[flavor])
        except msgspec.ValidationError as error:
            unknown = sorted(settings.keys() - set(SETTINGS[flavor].__struct_fields__))
            mend = nearest(unknown[0], SETTINGS[flavor].__struct_fields__) if unknown else ""
            raise DefinitionError(
                f"the settings of an artifact store of flavor `{flavor}` are wrong", why=str(error), mend=mend
            ) from None
    plain = [
        name
        for name in _plain_secrets(flavor, checked)
        if (value := getattr(checked, name)) and not value.startswith("secret:")
    ]
    if plain:
        raise DefinitionError(
            f"`{plain[0]}` of an artifact store of flavor `{flavor}` is written out",
            why="settings are kept as they are, and shown",
            mend=f"`tilth secret set NAME`, and give `{plain[0]}` as `secret:NAME`",
        )
    return checked


def _plain_secrets(flavor: str, settings: msgspec.Struct) -> list[str]:
    # The id of an access key of Amazon's is no secret; the key of an Azure account is.
    names = (*_SECRET, "key") if flavor == "azure" else _SECRET
    return [name for name in settings.__struct_fields__ if name in names]


def _folder(settings: LocalSettings) -> ObjectStore | None:
    if not settings.path:
        return None
    from tilth.artifact_stores.folder import FolderStore

    return FolderStore(Path(settings.path).expanduser())


def server_objects(settings: ServerSettings, home: Home) -> ObjectStore:
    """Objects at the server that this machine is logged in at.

    Raises:
        SetupError: It is logged in at none.
    """
    from tilth.artifact_stores.server import ServerObjects, ServerStore
    from tilth.store.http import Api
    from tilth.store.logins import active_server
    from tilth.store.opening import current_project

    server = active_server(home)
    if server is None:
        raise SetupError(
            "these artifacts are on a server, and this machine is logged in at none",
            mend="log in with `tilth login URL`",
        )
    return ServerStore(ServerObjects(Api(server.url, server.token), settings.project or current_project()))


def _provider(flavor: str, given: dict[str, Any], home: Home) -> Provider:
    if flavor == "s3":
        from tilth.artifact_stores.s3 import S3

        return S3(given.pop("bucket"), **given)
    if flavor == "gcs":
        from tilth.artifact_stores.gcs import GoogleStorage

        return GoogleStorage(given.pop("bucket"), state=home.cache / "uploads", **given)
    if flavor == "azure":
        from tilth.artifact_stores.azure import AzureBlobs

        return AzureBlobs(given.pop("container"), **given)
    from tilth.artifact_stores.fsspec_url import FsspecFiles

    return FsspecFiles(given["url"], options=given["storage_options"])


def _revealed(value: Any, reveal: Reveal, revealed: list[str]) -> Any:
    """With values in the places of `secret:NAME`; those also go into `revealed`."""
    if isinstance(value, dict):
        return {key: _revealed(each, reveal, revealed) for key, each in value.items()}
    if isinstance(value, list):
        return [_revealed(each, reveal, revealed) for each in value]
    if isinstance(value, str) and value.startswith("secret:"):
        value = reveal(value.removeprefix("secret:"))
        revealed.append(value)
    return value
