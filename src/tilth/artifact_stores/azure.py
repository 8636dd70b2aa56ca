"""Objects in a container of Azure Blob Storage."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tilth.artifact_stores.parts import plan_parts, sha256_of
from tilth.artifact_stores.remote import Kept, Trouble, in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tilth.artifact_stores.parts import Part

_CREDENTIALS = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
_RIGHTS = {"AuthorizationFailure", "AuthorizationPermissionMismatch", "InsufficientAccountPermissions"}
_BUSY = {"ServerBusy", "InternalError", "OperationTimedOut"}


class AzureBlobs:
    """A `Provider`.

    A block's id has the digest of its content, so that what an upload that was broken off had sent is
    recognised, and what another content had sent is not.

    Args:
        account: Name of the storage account; may be empty with a connection string.
        key, sas, connection: One of them; none for the provider's own chain, as `az login` or an identity.
        endpoint: Where the account is not at `https://ACCOUNT.blob.core.windows.net`.
    """

    def __init__(
        self,
        container: str,
        *,
        account: str = "",
        prefix: str = "",
        endpoint: str = "",
        key: str = "",
        sas: str = "",
        connection: str = "",
    ) -> None:
        from azure.storage.blob import BlobServiceClient

        options: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 60, "retry_total": 4}
        # Waits of 1, 3, 7 and 15 seconds; the library's own begin at 15.
        options.update(initial_backoff=1, increment_base=2, logging_enable=False)
        if connection:
            service = BlobServiceClient.from_connection_string(connection, **options)
        else:
            url = endpoint or f"https://{account}.blob.core.windows.net"
            credential: Any = {"account_name": account, "account_key": key} if key else sas or _own_chain()
            service = BlobServiceClient(url, credential=credential, **options)
        self._container = service.get_container_client(container)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.where = f"azure://{container}/{self._prefix}".rstrip("/")
        self.host = service.primary_hostname

    def write(self, key: str, content: bytes, digest: str) -> None:
        self._blob(key).upload_blob(
            content, overwrite=True, metadata=_metadata(digest), validate_content=True, max_concurrency=1
        )

    def upload(self, key: str, file: Path, size: int, digest: str) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
        from azure.storage.blob import BlobBlock

        blob, parts = self._blob(key), plan_parts(size)
        try:
            sent = {each.id: each.size for each in blob.get_block_list("uncommitted")[1]}
        except ResourceNotFoundError:
            sent = {}
        names: dict[int, str] = {}

        def send(part: Part) -> None:
            content = part.read(file)
            names[part.number] = name = _block_name(part, content)
            if sent.get(name) != part.size:
                blob.stage_block(name, content, length=part.size, validate_content=True)

        in_parallel(send, parts)
        try:
            blob.commit_block_list(
                [BlobBlock(names[part.number]) for part in parts], metadata=_metadata(digest)
            )
        except HttpResponseError as error:
            # Somebody who sends the same was first: that ends all blocks that are not part of a blob yet.
            kept = self.look(key) if _code(error) == "InvalidBlockList" else None
            if kept is None or kept.digest != digest:
                raise

    def look(self, key: str) -> Kept | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            told = self._blob(key).get_blob_properties()
        except ResourceNotFoundError as error:
            if _code(error) == "ContainerNotFound":
                raise
            return None
        digest = (told.metadata or {}).get("sha256", "")
        return Kept(told.size, told.etag, digest and f"sha256:{digest}")

    def read(self, key: str, start: int, size: int, version: str) -> bytes:
        from azure.core import MatchConditions

        stream = self._blob(key).download_blob(
            start, size, etag=version, match_condition=MatchConditions.IfNotModified, max_concurrency=1
        )
        content: bytes = stream.readall()
        return content

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        for each in self._container.list_blobs(name_starts_with=self._prefix + prefix):
            yield each.name.removeprefix(self._prefix), each.size

    def delete(self, key: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            self._blob(key).delete_blob(delete_snapshots="include")
        except ResourceNotFoundError as error:
            if _code(error) == "ContainerNotFound":
                raise

    def explain(self, error: Exception) -> tuple[Trouble, str] | None:
        from azure.core import exceptions as azure

        if isinstance(error, azure.HttpResponseError):
            code = _code(error)
            # Its message repeats what was signed.
            said = f"{code}: {error.reason or ''}".strip(": ")
            if code == "ContainerNotFound":
                return Trouble.BUCKET, said
            # Azurite says AuthorizationFailure for a wrong key, and why in words.
            unknown = code in _CREDENTIALS or "failed to authenticate" in said
            if isinstance(error, azure.ClientAuthenticationError) or unknown:
                return Trouble.CREDENTIALS, said or str(error.message).splitlines()[0]
            if error.response is None or isinstance(error, azure.IncompleteReadError):
                return Trouble.NETWORK, str(error.message)  # nothing was answered, or not all of it
            if code in {"BlobNotFound", "ConditionNotMet"}:  # or another was written meanwhile
                return Trouble.GONE, said
            if code in _RIGHTS or error.status_code == 403:
                return Trouble.RIGHTS, said
            if code in _BUSY or (error.status_code or 0) in {429, 500, 503}:
                return Trouble.BUSY, said
            return (Trouble.NETWORK if code == "Md5Mismatch" else Trouble.OTHER), said
        if isinstance(error, (azure.ServiceRequestError, azure.ServiceResponseError, ConnectionError)):
            return Trouble.NETWORK, str(error)
        return (Trouble.OTHER, str(error)) if isinstance(error, azure.AzureError) else None

    def _blob(self, key: str) -> Any:
        return self._container.get_blob_client(self._prefix + key)


def _code(error: Any) -> str:
    code = getattr(error, "error_code", None) or error.status_code or ""
    return str(getattr(code, "value", code))


def _own_chain() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _block_name(part: Part, content: bytes) -> str:
    """Of equal length for all blocks of a blob, as Azure wants them."""
    return base64.b64encode(f"{part.number:06d}-{sha256_of(content)[7:39]}".encode()).decode()


def _metadata(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}
