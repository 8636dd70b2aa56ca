"""Objects in a bucket of S3, or of what speaks its protocol.

Nothing here relies on conditional writes or on deleting many keys by one request: not every server has them.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from tilth.artifact_stores.parts import md5, plan_parts, sha256_of
from tilth.artifact_stores.remote import Kept, Trouble, in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tilth.artifact_stores.parts import Part

_MD5 = re.compile(r'"?([0-9a-f]{32})"?').fullmatch
_MISSING = {"NoSuchKey", "404", "NotFound"}
_TROUBLE = {
    "SignatureDoesNotMatch": Trouble.CREDENTIALS,
    "InvalidAccessKeyId": Trouble.CREDENTIALS,
    "AuthFailure": Trouble.CREDENTIALS,
    "InvalidToken": Trouble.CREDENTIALS,
    "InvalidClientTokenId": Trouble.CREDENTIALS,
    "ExpiredToken": Trouble.CREDENTIALS,
    "AuthorizationHeaderMalformed": Trouble.CREDENTIALS,
    "RequestTimeTooSkewed": Trouble.CLOCK,
    "AccessDenied": Trouble.RIGHTS,
    "AllAccessDisabled": Trouble.RIGHTS,
    "403": Trouble.RIGHTS,
    "NoSuchBucket": Trouble.BUCKET,
    "QuotaExceeded": Trouble.SPACE,
    "XMinioStorageFull": Trouble.SPACE,
    "InsufficientCapacity": Trouble.SPACE,
    "507": Trouble.SPACE,
    "SlowDown": Trouble.BUSY,
    "ServiceUnavailable": Trouble.BUSY,
    "InternalError": Trouble.BUSY,
    "503": Trouble.BUSY,
    "500": Trouble.BUSY,
    "BadDigest": Trouble.NETWORK,  # changed on its way: sent again it may arrive whole
}


class S3:
    """A `Provider`.

    Args:
        key, secret, token: Empty: the provider's own chain, as `aws configure` or a role of the machine.
        endpoint: Of a store that is not Amazon's: `https://HOST`.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str = "",
        region: str = "",
        key: str = "",
        secret: str = "",
        token: str = "",
        profile: str = "",
        ca: str = "",
    ) -> None:
        import boto3
        from botocore.config import Config

        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.where = f"s3://{bucket}/{self._prefix}".rstrip("/")
        session = boto3.session.Session(
            aws_access_key_id=key or None,
            aws_secret_access_key=secret or None,
            aws_session_token=token or None,
            region_name=region or None,
            profile_name=profile or None,
        )
        self._s3 = session.client(
            "s3",
            endpoint_url=endpoint or None,
            region_name=region or session.region_name or "us-east-1",
            verify=ca or None,
            config=Config(
                retries={"max_attempts": 4, "mode": "standard"},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=32,
                # What checks a transfer here is Content-MD5, which every server knows; newer sums not every one.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"} if endpoint else {},
            ),
        )
        self.host = re.sub(r"^https?://", "", self._s3.meta.endpoint_url)

    def write(self, key: str, content: bytes, digest: str) -> None:
        told = self._s3.put_object(
            **self._at(key), Body=content, ContentMD5=_base64(content), Metadata=_metadata(digest)
        )
        if not _is_exact(told, content):
            self._read_back(key, digest)

    def upload(self, key: str, file: Path, size: int, digest: str) -> None:
        parts = plan_parts(size)
        upload, sent = self._begun(key, parts, file)
        for again in (False, True):
            if again or not upload:
                begun = self._s3.create_multipart_upload(**self._at(key), Metadata=_metadata(digest))
                upload, sent = str(begun["UploadId"]), {}
            if self._finish(key, file, parts, upload, sent, digest):
                return
        raise ConnectionError("what was sent is not what the store has now")

    def look(self, key: str) -> Kept | None:
        try:
            told = self._s3.head_object(**self._at(key))
        except self._s3.exceptions.ClientError as error:
            if _code(error) in {"400", "403"}:
                self._refuse_in_words()
            if _code(error) not in _MISSING:
                raise
            self._refuse_missing_bucket(error)
            return None
        digest = told.get("Metadata", {}).get("sha256", "")
        return Kept(told["ContentLength"], told["ETag"], digest and f"sha256:{digest}")

    def read(self, key: str, start: int, size: int, version: str) -> bytes:
        told = self._s3.get_object(
            **self._at(key), Range=f"bytes={start}-{start + size - 1}", IfMatch=version
        )
        with told["Body"] as body:
            content: bytes = body.read()
        return content

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        for page in pages:
            for each in page.get("Contents", ()):
                yield each["Key"].removeprefix(self._prefix), each["Size"]

    def delete(self, key: str) -> None:
        self._s3.delete_object(**self._at(key))

    def explain(self, error: Exception) -> tuple[Trouble, str] | None:
        from botocore import exceptions as boto
        from urllib3.exceptions import HTTPError

        if isinstance(error, boto.ClientError):
            code = _code(error)
            said = f"{code}: {error.response.get('Error', {}).get('Message', '')}"
            if code in _MISSING or code == "PreconditionFailed":  # or another was written meanwhile
                return Trouble.GONE, said
            return _TROUBLE.get(code, Trouble.OTHER), said
        if isinstance(
            error,
            (
                boto.NoCredentialsError,
                boto.PartialCredentialsError,
                boto.TokenRetrievalError,
                boto.ProfileNotFound,
                boto.CredentialRetrievalError,
            ),
        ):
            return Trouble.CREDENTIALS, str(error)
        if isinstance(
            error,
            (
                boto.HTTPClientError,
                boto.ConnectionError,
                boto.IncompleteReadError,
                HTTPError,
                ConnectionError,
            ),
        ):
            return Trouble.NETWORK, str(error)
        return (Trouble.OTHER, str(error)) if isinstance(error, boto.BotoCoreError) else None

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _refuse_in_words(self) -> None:
        """The answer to a question for an object has no body to say why it is refused; this one's has."""
        self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def _refuse_missing_bucket(self, error: Exception) -> None:
        """A question for an object has no body to say that it is the bucket that is not there."""
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except self._s3.exceptions.ClientError as told:
            if _code(told) in {"404", "NoSuchBucket", "NotFound"}:
                told.response["Error"].update(Code="NoSuchBucket", Message=f"no bucket `{self._bucket}`")
                raise told from error

    def _begun(self, key: str, parts: Sequence[Part], file: Path) -> tuple[str, dict[int, str]]:
        """An upload of this file that was broken off, and the tags of the parts it has that are as here."""
        best: tuple[str, dict[int, str]] = ("", {})
        at = self._at(key)
        by_number = {part.number: part for part in parts}
        try:
            found = self._s3.list_multipart_uploads(Bucket=self._bucket, Prefix=at["Key"]).get("Uploads", ())
            for upload in found:
                if upload["Key"] != at["Key"]:
                    continue
                has: dict[int, str] = {}
                pages = self._s3.get_paginator("list_parts").paginate(**at, UploadId=upload["UploadId"])
                for each in (each for page in pages for each in page.get("Parts", ())):
                    part = by_number.get(each["PartNumber"])
                    tag = _MD5(each["ETag"])
                    if part and tag and part.size == each["Size"] and md5(part.read(file)).hex() == tag[1]:
                        has[part.number] = each["ETag"]
                if len(has) > len(best[1]):
                    best = (str(upload["UploadId"]), has)
        except self._s3.exceptions.ClientError as error:
            if _code(error) not in {"AccessDenied", "NoSuchUpload", "NotImplemented", "404"}:
                raise
        return best

    def _finish(
        self, key: str, file: Path, parts: Sequence[Part], upload: str, sent: dict[int, str], digest: str
    ) -> bool:
        """Send what is missing of an upload and end it; False when it was another's, or is gone."""
        at: dict[str, Any] = {**self._at(key), "UploadId": upload}
        tags = dict(sent)

        def send(part: Part) -> None:
            content = part.read(file)
            told = self._s3.upload_part(
                **at, PartNumber=part.number, Body=content, ContentMD5=_base64(content)
            )
            if not _is_exact(told, content):
                raise ConnectionError(f"part {part.number} did not arrive as it was sent")
            tags[part.number] = told["ETag"]

        try:
            in_parallel(send, [part for part in parts if part.number not in sent])
            listed = [{"PartNumber": number, "ETag": tags[number]} for number in sorted(tags)]
            self._s3.complete_multipart_upload(**at, MultipartUpload={"Parts": listed})
        except self._s3.exceptions.ClientError as error:
            # Somebody who sends the same may have ended it; not every server says so with the right code.
            if not self._has(key, file, digest) and _code(error) not in {"NoSuchUpload", "InvalidPart"}:
                raise
        return self._has(key, file, digest)

    def _has(self, key: str, file: Path, digest: str) -> bool:
        kept = self.look(key)
        return kept is not None and kept.digest == digest and kept.size == file.stat().st_size

    def _read_back(self, key: str, digest: str) -> None:
        with self._s3.get_object(**self._at(key))["Body"] as body:
            if sha256_of(body.read()) != digest:
                raise ConnectionError("what was sent is not what the store has now")


def _is_exact(told: dict[str, Any], content: bytes) -> bool:
    """Whether the store received these bytes: it compared them with Content-MD5, or says so by its own sum."""
    if "kms" in told.get("ServerSideEncryption", "") or told.get("SSECustomerAlgorithm"):
        return True  # the tag is of something else then, and such stores hold to Content-MD5
    tag = _MD5(told.get("ETag", ""))
    return tag is not None and tag[1] == md5(content).hex()


def _base64(content: bytes) -> str:
    return base64.b64encode(md5(content)).decode()


def _metadata(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
