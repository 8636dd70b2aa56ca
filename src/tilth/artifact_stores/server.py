"""Objects at a tilth server, for clients that share no other store."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from tilth.artifact_stores.objects import checked_key
from tilth.artifact_stores.parts import PART
from tilth.artifact_stores.remote import Kept, RemoteStore, Trouble
from tilth.errors import NoProject, StoreUnavailable
from tilth.store.http import in_project

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tilth.store.http import Api

_TOGETHER = 1000  # keys in one request


class ServerStore(RemoteStore):
    """An `ObjectStore` at a tilth server."""

    def __init__(self, objects: ServerObjects) -> None:
        super().__init__(objects)
        self._objects = objects

    def there(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that have an object."""
        return self._objects.there([checked_key(key) for key in keys])


class ServerObjects:
    """A `Provider`. The server keeps what has come of a large object, so that any client goes on with it."""

    host = ""

    def __init__(self, api: Api, project: str) -> None:
        self._api = api
        self._project = project
        self._path = f"/projects/{quote(project, safe='')}"
        self.where = f"{api.url}, project {project}"

    def write(self, key: str, content: bytes, digest: str) -> None:
        self._send(key, content, digest, len(content), 0)

    def upload(self, key: str, file: Path, size: int, digest: str) -> None:
        asked = f"{self._path}/uploads/{digest}"
        told = in_project(self._api, self._project, lambda: self._api.request("GET", asked))
        have = msgspec.json.decode(told)["have"]
        with open(file, "rb") as source:
            while True:
                source.seek(have)
                come = self._send(key, source.read(PART), digest, size, have)
                if come >= size:
                    return
                if come == have:
                    raise StoreUnavailable(
                        f"the artifact store `{self.where}` takes nothing more of `{key}`",
                        why=f"it has {come:,} of {size:,} bytes",
                    )
                have = come

    def look(self, key: str) -> Kept | None:
        response = self._api.send("HEAD", self._object(key), expected=(404,))
        if response.status_code == 404:
            return None
        digest = response.headers["etag"].strip('"')
        return Kept(int(response.headers["content-length"]), digest, digest)

    def there(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that have an object."""
        found: set[str] = set()
        for at in range(0, len(keys), _TOGETHER):
            asked = msgspec.json.encode({"keys": keys[at : at + _TOGETHER]})
            try:
                answer = self._api.request("POST", f"{self._path}/objects/query", asked)
            except NoProject:  # nothing was written to it so far
                break
            found.update(each["key"] for each in msgspec.json.decode(answer)["items"])
        return found

    def read(self, key: str, start: int, size: int, version: str) -> bytes:
        headers = {"Range": f"bytes={start}-{start + size - 1}", "If-Range": f'"{version}"'}
        response = self._api.send("GET", self._object(key), headers=headers)
        content: bytes = response.content
        if response.status_code == 200:  # not a part: it is another object by now, or all was asked for
            content = content[start : start + size]
        return content

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        after: str | None = ""
        while after is not None:
            asked = urlencode({"prefix": prefix, "after": after})
            try:
                page = msgspec.json.decode(self._api.request("GET", f"{self._path}/objects?{asked}"))
            except NoProject:
                return
            yield from ((each["key"], each["size"]) for each in page["items"])
            after = page["next"]

    def delete(self, key: str) -> None:
        with contextlib.suppress(NoProject):
            self._api.request("DELETE", self._object(key))

    def explain(self, error: Exception) -> tuple[Trouble, str] | None:
        """The server's own words are errors of ours already."""
        del error
        return None

    def _send(self, key: str, content: bytes, digest: str, size: int, offset: int) -> int:
        asked = urlencode({"digest": digest, "size": size, "offset": offset})
        path, headers = f"{self._object(key)}?{asked}", {"Content-Type": "application/octet-stream"}
        answer = in_project(
            self._api,
            self._project,
            lambda: self._api.request("PUT", path, content, headers=headers),
        )
        have: int = msgspec.json.decode(answer)["have"]
        return have

    def _object(self, key: str) -> str:
        return f"{self._path}/objects/{quote(key, safe='/')}"
