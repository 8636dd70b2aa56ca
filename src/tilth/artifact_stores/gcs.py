"""Objects in a bucket of Google Cloud Storage, by its JSON interface (storage/v1)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tilth.artifact_stores.held import held
from tilth.artifact_stores.parts import BLOCK, PART, md5
from tilth.artifact_stores.remote import Kept, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_TIMEOUT_S = (10, 60)  # to connect, to hear something


class GoogleStorage:
    """A `Provider`.

    Google keeps what an upload has sent under an address that it gives at the beginning. That is written to
    `state`, so that another process on this machine goes on; it is good for a week, and for that object alone.

    Args:
        state: A folder for those addresses.
        service_account: JSON of a service account's key; empty: the provider's own chain, as `gcloud auth
            application-default login` or the machine's account.
        endpoint: Of an emulator, which is asked without credentials.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str = "",
        service_account: str = "",
        state: Path,
    ) -> None:
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry

        self._session = _session(service_account, anonymous=bool(endpoint))
        retry = Retry(
            total=4,
            backoff_factor=0.5,
            backoff_jitter=0.5,
            status_forcelist=(408, 429, 500, 502, 503, 504),
            allowed_methods=None,  # all of them: writing the same object twice is writing it once
            raise_on_status=False,
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=32))
        self._base = (endpoint or "https://storage.googleapis.com").rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._state = state
        self.where = f"gs://{bucket}/{self._prefix}".rstrip("/")
        self.host = self._base.split("://", 1)[1]

    def write(self, key: str, content: bytes, digest: str) -> None:
        address = self._begin(key, digest, md5(content))
        answer = self._session.put(address, data=content, timeout=_TIMEOUT_S)
        self._refuse_other(key, self._told(answer), md5(content))

    def upload(self, key: str, file: Path, size: int, digest: str) -> None:
        note = self._state / hashlib.sha256(f"{self.where}/{key}\n{digest}".encode()).hexdigest()
        with held(note.with_suffix(".lock")):  # two may not send to one address at once
            kept = self.look(key)
            if kept is None or kept.digest != digest or kept.size != size:
                self._upload(key, file, size, digest, note)

    def _upload(self, key: str, file: Path, size: int, digest: str, note: Path) -> None:
        whole = _md5_of(file)
        address, offset = self._continued(note, size, whole)
        if offset == size:  # only the answer had not arrived
            note.unlink(missing_ok=True)
            return
        if not address:
            address, offset = self._begin(key, digest, whole), 0
            _write_private(note, address)
        with open(file, "rb") as content:
            while True:
                content.seek(offset)
                block = content.read(PART)  # a multiple of 256 KiB, as Google wants all but the last
                span = f"bytes {offset}-{offset + len(block) - 1}/{size}"
                answer = self._session.put(
                    address, data=block, headers={"Content-Range": span}, timeout=_TIMEOUT_S
                )
                if answer.status_code != 308:
                    break
                arrived = _received(answer)
                if arrived <= offset:
                    raise ConnectionError(f"nothing of what was sent from byte {offset} on has arrived")
                offset = arrived
        if answer.ok or answer.status_code in (404, 410):
            note.unlink(missing_ok=True)  # done, or forgotten; else it goes on there
        self._refuse_other(key, self._told(answer), whole)

    def look(self, key: str) -> Kept | None:
        answer = self._session.get(self._at(key), timeout=_TIMEOUT_S)
        if answer.status_code == 404:
            self._refuse_missing_bucket()
            return None
        told = self._told(answer)
        digest = told.get("metadata", {}).get("sha256", "")
        return Kept(int(told["size"]), str(told["generation"]), digest and f"sha256:{digest}")

    def read(self, key: str, start: int, size: int, version: str) -> bytes:
        answer = self._session.get(
            self._at(key),
            params={"alt": "media", "ifGenerationMatch": version},
            headers={"Range": f"bytes={start}-{start + size - 1}", "Accept-Encoding": "identity"},
            timeout=_TIMEOUT_S,
        )
        self._refuse(answer)
        content: bytes = answer.content
        return content if answer.status_code == 206 else content[start : start + size]

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        params = {"prefix": self._prefix + prefix, "fields": "items(name,size),nextPageToken"}
        while True:
            address = f"{self._base}/storage/v1/b/{quote(self._bucket, safe='')}/o"
            answer = self._session.get(address, params=params, timeout=_TIMEOUT_S)
            if answer.status_code == 404:
                raise Refused(Trouble.BUCKET, f"404: no bucket `{self._bucket}`")
            told = self._told(answer)
            for each in told.get("items", ()):
                yield each["name"].removeprefix(self._prefix), int(each["size"])
            if not told.get("nextPageToken"):
                return
            params["pageToken"] = told["nextPageToken"]

    def delete(self, key: str) -> None:
        answer = self._session.delete(self._at(key), timeout=_TIMEOUT_S)
        if answer.status_code == 404:
            self._refuse_missing_bucket()
        else:
            self._refuse(answer)

    def explain(self, error: Exception) -> tuple[Trouble, str] | None:
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        if isinstance(error, Refused):
            return error.trouble, str(error)
        if isinstance(error, GoogleAuthError):
            return Trouble.CREDENTIALS, str(error)
        return (
            (Trouble.NETWORK, str(error)) if isinstance(error, (RequestException, ConnectionError)) else None
        )

    def _begin(self, key: str, digest: str, whole: bytes) -> str:
        """Where the content of an object is to be sent; Google refuses it when its MD5 is another."""
        answer = self._session.post(
            f"{self._base}/upload/storage/v1/b/{quote(self._bucket, safe='')}/o",
            params={"uploadType": "resumable", "name": self._prefix + key},
            json={
                "name": self._prefix + key,
                "md5Hash": base64.b64encode(whole).decode(),
                "metadata": {"sha256": digest.removeprefix("sha256:")},
            },
            timeout=_TIMEOUT_S,
        )
        if answer.status_code == 404:
            self._refuse_missing_bucket()
        self._refuse(answer)
        return str(answer.headers["Location"])

    def _continued(self, note: Path, size: int, whole: bytes) -> tuple[str, int]:
        """Where an upload goes on, and from which byte: the end when the object is there as a whole."""
        try:
            address = note.read_text()
        except OSError:
            return "", 0
        answer = self._session.put(
            address, headers={"Content-Range": f"bytes */{size}", "Content-Length": "0"}, timeout=_TIMEOUT_S
        )
        if answer.status_code == 308:
            return address, _received(answer)
        if answer.ok and answer.json().get("md5Hash") == base64.b64encode(whole).decode():
            return "", size
        return "", 0  # forgotten, after a week

    def _refuse_other(self, key: str, told: dict[str, Any], whole: bytes) -> None:
        """Google compares by itself; of what does not, nothing may stay that says to be another content."""
        if told.get("md5Hash") != base64.b64encode(whole).decode():
            self.delete(key)
            raise ConnectionError("what was sent is not what the store has now")

    def _refuse_missing_bucket(self) -> None:
        address = f"{self._base}/storage/v1/b/{quote(self._bucket, safe='')}/o"
        answer = self._session.get(address, params={"maxResults": "1"}, timeout=_TIMEOUT_S)
        if answer.status_code == 404:
            raise Refused(Trouble.BUCKET, f"404: no bucket `{self._bucket}`")

    def _at(self, key: str) -> str:
        name = quote(self._prefix + key, safe="")
        return f"{self._base}/storage/v1/b/{quote(self._bucket, safe='')}/o/{name}"

    def _told(self, answer: Any) -> dict[str, Any]:
        self._refuse(answer)
        return dict(answer.json())

    def _refuse(self, answer: Any) -> None:
        if answer.ok:
            return
        code = answer.status_code
        said = ""
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            said = str(answer.json()["error"]["message"])
        if code == 403 and "quota" in said.lower():
            trouble = Trouble.SPACE
        else:
            trouble = _TROUBLE.get(code, Trouble.BUSY if code >= 500 else Trouble.OTHER)
        raise Refused(trouble, f"{code}: {said or answer.reason}")


_TROUBLE = {
    400: Trouble.OTHER,
    401: Trouble.CREDENTIALS,
    403: Trouble.RIGHTS,
    404: Trouble.GONE,
    412: Trouble.GONE,
    429: Trouble.BUSY,
    507: Trouble.SPACE,
}


class Refused(Exception):
    """Google answered, and does not do it."""

    def __init__(self, trouble: Trouble, said: str) -> None:
        super().__init__(said)
        self.trouble = trouble


def _session(service_account: str, *, anonymous: bool) -> Any:
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2.service_account import Credentials

    if anonymous:
        return AuthorizedSession(AnonymousCredentials())
    if service_account:
        try:
            told = json.loads(service_account)
        except ValueError:  # whose text would show a part of it
            raise ValueError("`service_account` is not the JSON of a service account's key") from None
        credentials: Any = Credentials.from_service_account_info(told, scopes=[_SCOPE])
    else:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    return AuthorizedSession(credentials)


def _received(answer: Any) -> int:
    """Bytes that have arrived, as a 308 tells them: `Range: bytes=0-LAST`."""
    span = answer.headers.get("Range", "")
    return int(span.rsplit("-", 1)[1]) + 1 if span else 0


def _md5_of(file: Path) -> bytes:
    sum_ = hashlib.md5(usedforsecurity=False)
    with open(file, "rb") as content:
        while block := content.read(BLOCK):
            sum_.update(block)
    return sum_.digest()


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}-{os.urandom(4).hex()}")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    aside.rename(path)
