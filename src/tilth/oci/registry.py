"""The client of one registry: manifests, blobs, tags and what refers to what, held to their digests.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import contextlib
import re
import threading
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import msgspec

from tilth.errors import ImageBroken, ImageNotFound, RegistryRefused
from tilth.oci.conversations import Conversation
from tilth.oci.descriptors import (
    DIGEST,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Descriptor,
    Index,
    digest_of,
)
from tilth.oci.downloads import read_blob_from
from tilth.oci.failures import TooLarge
from tilth.oci.patience import Patience
from tilth.oci.referrers import decoded, find_referrers, put_referrers
from tilth.oci.uploads import Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tilth.oci.access import Access
    from tilth.oci.blobs import BlobStore
    from tilth.oci.conversations import Sent
    from tilth.oci.credentials import Credentials
    from tilth.oci.referrers import AtOnce
    from tilth.oci.tokens import Scopes

ACCEPTED = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)

_CHUNK = 1 << 18
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*rel="?next"?')
_MOST_PAGES = 1000


class Registry:
    """One registry. Any number of threads may use it at once; nothing is connected before it is needed.

    Args:
        host: `HOST` or `HOST:PORT`, as in a reference.
        credentials: Asked only when the registry wants a login.
        ca: A PEM file of the authority that signed its certificate, beside those the system trusts.
        plain_http: Speak HTTP. By default that is so for this machine itself alone, when `ca` is not given.
        insecure: Trust whatever certificate answers.
        patience: How long it is waited for.
        login_hint: How the user mends a refused login; by default `docker login HOST`.
        prepare: Called with each repository before the first push to it: some have to be created.
    """

    def __init__(
        self,
        host: str,
        *,
        credentials: Credentials | None = None,
        ca: Path | None = None,
        plain_http: bool | None = None,
        insecure: bool = False,
        patience: Patience | None = None,
        login_hint: str = "",
        prepare: Callable[[str], None] | None = None,
    ) -> None:
        self.host = host
        self._conversation = Conversation(
            host,
            credentials=credentials,
            ca=ca,
            plain_http=plain_http,
            insecure=insecure,
            patience=patience or Patience(),
            login_hint=login_hint,
        )
        self._prepare = prepare
        self._prepared: set[str] = set()
        self._begun: dict[
            tuple[str, str], str
        ] = {}  # uploads that a mount has begun, by repository and digest
        self._lock = threading.Lock()

    @property
    def sent(self) -> Sent:
        """What went to and fro until now."""
        return self._conversation.sent

    def close(self) -> None:
        """End its connections; they begin anew when it is used again."""
        self._conversation.close()

    def access(self) -> Access:
        """What lets another process in as this one is."""
        return self._conversation.access()

    def prepare(self, repository: str) -> None:
        """Create a repository where that has to be done before something is pushed to it."""
        self._ready(repository)

    def check(self) -> None:
        """Whether it answers, and takes the login where it wants one.

        Raises:
            RegistryUnavailable, RegistryRefused: It does not.
        """
        self._conversation.ask(
            "GET", self._conversation.url(""), asked="a greeting", scopes=frozenset(), expected=[200]
        )

    def check_push(self, repository: str) -> None:
        """Whether blobs may be pushed into a repository: begins an upload, and takes it back.

        Raises:
            RegistryRefused, ImageNotFound: They may not, or it has to be created first.
        """
        asked = f"an upload to `{repository}`"
        answer = self._conversation.ask(
            "POST",
            self._conversation.url(f"{repository}/blobs/uploads/"),
            asked=asked,
            scopes=_push(repository),
            expected=[202],
            body=b"",
        )
        if location := answer.headers.get("location"):
            with contextlib.suppress(
                RegistryRefused, ImageNotFound
            ):  # it goes by itself where it cannot be taken back
                self._conversation.ask(
                    "DELETE",
                    self._conversation.follow(answer.url, location),
                    asked=asked,
                    scopes=_push(repository),
                    expected=[204, 202, 200],
                )

    # manifests

    def head_manifest(self, repository: str, reference: str) -> Descriptor | None:
        """What a tag or digest names, by one HEAD; None when there is no such thing."""
        answer = self._conversation.ask(
            "HEAD",
            self._manifest_url(repository, reference),
            asked=f"the manifest `{_named(repository, reference)}`",
            scopes=_pull(repository),
            expected=[200, 404],
            headers={"Accept": ", ".join(ACCEPTED)},
        )
        if answer.status == 404:
            return None
        digest = answer.headers.get("docker-content-digest") or (reference if _is_digest(reference) else "")
        size = answer.headers.get("content-length", "")
        if not _is_digest(digest) or not size.isdigit():  # the specification leaves both open
            try:
                return self.get_manifest(repository, reference)[1]
            except ImageNotFound:
                return None
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Descriptor(media_type=media_type or MANIFEST, digest=digest, size=int(size))

    def get_manifest(
        self, repository: str, reference: str, accept: Sequence[str] = ACCEPTED
    ) -> tuple[bytes, Descriptor]:
        """The bytes of a manifest or index, held to the digest that was asked for or told.

        Raises:
            ImageNotFound: There is no such tag or digest.
            ImageBroken: The bytes are others.
        """
        answer = self._conversation.ask(
            "GET",
            self._manifest_url(repository, reference),
            asked=f"the manifest `{_named(repository, reference)}`",
            scopes=_pull(repository),
            expected=[200],
            headers={"Accept": ", ".join(accept)},
        )
        digest = digest_of(answer.content)
        told = answer.headers.get("docker-content-digest", "")
        wanted = reference if _is_digest(reference) else told if _is_digest(told) else digest
        if digest != wanted:
            raise ImageBroken(
                f"registry `{self.host}` gives another manifest for `{_named(repository, reference)}`",
                why=f"the digest of what came is `{digest}`, and should be `{wanted}`",
                mend="the registry's storage, or a proxy between, is broken: tell its owner",
            )
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        descriptor = Descriptor(
            media_type=_media_type(answer.content) or media_type, digest=digest, size=len(answer.content)
        )
        return answer.content, descriptor

    def put_manifest(self, repository: str, reference: str, content: bytes, media_type: str) -> str:
        """Put a manifest or index under a tag or its digest; gives the digest. Its blobs have to be there.

        Raises:
            ImageNotFound: One of its blobs is not.
        """
        self.put_and_see(repository, reference, content, media_type)
        return digest_of(content)

    def put_and_see(self, repository: str, reference: str, content: bytes, media_type: str) -> bool:
        """Gives whether the registry itself remembers what the manifest refers to."""
        self._ready(repository)
        asked = f"the manifest `{_named(repository, reference)}`"
        try:
            answer = self._conversation.ask(
                "PUT",
                self._manifest_url(repository, reference),
                asked=asked,
                scopes=_push(repository),
                expected=[201, 200, 202],
                headers={"Content-Type": media_type},
                body=content,
            )
        except TooLarge as large:
            raise large.error from large
        self.sent.count(sent=len(content))
        told = answer.headers.get("docker-content-digest", "")
        if _is_digest(told) and told != digest_of(content):
            raise ImageBroken(
                f"registry `{self.host}` took other bytes for {asked}",
                why=f"it says `{told}`, and `{digest_of(content)}` was sent",
                mend="a proxy between may change what is sent: tell its owner",
            )
        return bool(answer.headers.get("oci-subject"))

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Remove a manifest, and its tags. Blobs stay until the registry collects its garbage.

        Raises:
            ImageNotFound: There is none.
            RegistryRefused: The registry deletes nothing.
        """
        self._conversation.ask(
            "DELETE",
            self._manifest_url(repository, _checked(digest)),
            asked=f"the deletion of `{_named(repository, digest)}`",
            scopes=frozenset({(repository, "delete"), (repository, "pull")}),
            expected=[202, 200, 204],
        )

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository.

        Raises:
            ImageNotFound: There is no such repository.
        """
        found: list[str] = []
        for content in self.pages(f"{repository}/tags/list", f"the tags of `{repository}`", repository):
            told = decoded(content, _Tags, self.host, f"the tags of `{repository}`")
            found += told.tags or ()
        return found

    # blobs

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository has a blob, by one HEAD."""
        answer = self._conversation.ask(
            "HEAD",
            self._conversation.url(f"{repository}/blobs/{_checked(digest)}"),
            asked=f"blob `{digest[:19]}…` of `{repository}`",
            scopes=_pull(repository),
            expected=[200, 404],
        )
        return answer.status == 200

    def read_blob(self, repository: str, digest: str) -> bytes:
        """A small blob, as a config is, held to its digest.

        Raises:
            ImageNotFound: It is not there.
            ImageBroken: The bytes are others, or too many.
        """
        answer = self._conversation.ask(
            "GET",
            self._conversation.url(f"{repository}/blobs/{_checked(digest)}"),
            asked=f"blob `{digest[:19]}…` of `{repository}`",
            scopes=_pull(repository),
            expected=[200],
        )
        if digest_of(answer.content) != digest:
            raise ImageBroken(
                f"registry `{self.host}` gives other bytes for blob `{digest}`",
                why=f"the digest of what came is `{digest_of(answer.content)}`",
                mend="the registry's storage, or a proxy between, is broken: tell its owner",
            )
        return answer.content

    def fetch_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        into: BlobStore,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Bring a blob into a store, whole or not at all; one that is there already is not asked for.

        Args:
            progress: Told how many bytes more have come.

        Returns:
            Bytes that came.
        """
        if into.has(descriptor.digest):
            return 0
        with into.writing() as blob:
            for piece in self.stream_blob(repository, descriptor):
                blob.write(piece)
                if progress:
                    progress(len(piece))
            if blob.digest != descriptor.digest:  # of no bytes at all, nothing was asked
                raise ImageBroken(f"blob `{descriptor.digest}` does not have {descriptor.size} bytes")
        return descriptor.size

    def stream_blob(self, repository: str, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a blob as they come, from an offset on; see `read_blob_from`."""
        _checked(descriptor.digest)
        return read_blob_from(self._conversation, repository, descriptor, offset, scopes=_pull(repository))

    def mount_blob(self, repository: str, digest: str, source_repository: str) -> bool:
        """Let a repository have what another one of the same registry has. False: it has to be uploaded.

        The upload that a registry begins in place of a mount is used by the `push_blob` that follows.
        """
        self._ready(repository)
        url = self._conversation.url(f"{repository}/blobs/uploads/")
        try:
            answer = self._conversation.ask(
                "POST",
                f"{url}?mount={quote(_checked(digest), safe='')}&from={quote(source_repository, safe='')}",
                asked=f"the mount of blob `{digest[:19]}…` from `{source_repository}`",
                scopes=_push(repository) | _pull(source_repository),
                expected=[201, 202],
                body=b"",
            )
        except (RegistryRefused, ImageNotFound):  # what is really wrong shows when it is uploaded
            return False
        if answer.status == 201:
            return True
        if location := answer.headers.get("location"):
            with self._lock:
                self._begun[repository, digest] = self._conversation.follow(answer.url, location)
        return False

    def push_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        open_: Callable[[], IO[bytes]],
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Upload a blob, whether or not it is there; see `Upload`. Gives the bytes sent.

        Raises:
            ImageBroken: The bytes are not those of the digest.
        """

        def begin(offset: int) -> Iterator[bytes]:
            with open_() as file:
                file.seek(offset)
                while piece := file.read(_CHUNK):
                    yield piece

        return self._upload(repository, descriptor, begin, progress)

    def copy_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        source: Registry,
        source_repository: str,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Upload a blob while it comes from another registry; nothing is kept on this machine. Gives the bytes sent."""
        return self._upload(
            repository,
            descriptor,
            lambda offset: source.stream_blob(source_repository, descriptor, offset),
            progress,
        )

    def _upload(
        self,
        repository: str,
        descriptor: Descriptor,
        begin: Callable[[int], Iterator[bytes]],
        progress: Callable[[int], None] | None,
    ) -> int:
        _checked(descriptor.digest)
        self._ready(repository)
        with self._lock:
            location = self._begun.pop((repository, descriptor.digest), "")
        upload = Upload(self._conversation, repository, descriptor, begin, progress, scopes=_push(repository))
        return upload.run(location)

    def _ready(self, repository: str) -> None:
        if self._prepare is None:
            return
        with self._lock:
            if repository not in self._prepared:
                self._prepare(repository)
                self._prepared.add(repository)

    # referrers

    def referrers(self, repository: str, digest: str, artifact_type: str | None = None) -> Index:
        """What refers to a manifest, of one type if asked; nothing when there is no such manifest."""
        return find_referrers(self, repository, _checked(digest), artifact_type)

    def put_referrer(self, repository: str, content: bytes) -> Descriptor:
        """Put a manifest that has a `subject`, by its digest; the list of what refers to that knows it afterwards."""
        return put_referrers(self, repository, [content])[0]

    def put_referrers(
        self, repository: str, contents: Sequence[bytes], *, at_once: AtOnce | None = None
    ) -> list[Descriptor]:
        """Put several manifests that have one `subject`, for little more than one of them costs.

        Args:
            at_once: Calls a function with each, and may do so for several at a time; by default one after another.
        """
        return put_referrers(self, repository, contents, at_once)

    def pages(self, path: str, asked: str, repository: str) -> Iterator[bytes]:
        """All documents of a list, from that at a path below `/v2/` on."""
        url = self._conversation.url(path)
        for _ in range(_MOST_PAGES):
            answer = self._conversation.ask("GET", url, asked=asked, scopes=_pull(repository), expected=[200])
            yield answer.content
            more = _NEXT.search(answer.headers.get("link", ""))
            if more is None:
                return
            url = self._conversation.follow(answer.url, more[1])

    def _manifest_url(self, repository: str, reference: str) -> str:
        return self._conversation.url(f"{repository}/manifests/{reference}")


class _Tags(msgspec.Struct):
    tags: tuple[str, ...] | None = None  # null for a repository without any


class _Typed(msgspec.Struct, rename="camel"):
    media_type: str = ""


def _pull(repository: str) -> Scopes:
    return frozenset({(repository, "pull")})


def _push(repository: str) -> Scopes:
    return frozenset({(repository, "pull"), (repository, "push")})


def _is_digest(text: str) -> bool:
    return DIGEST.fullmatch(text) is not None


def _checked(digest: str) -> str:
    if not _is_digest(digest):
        raise ImageBroken(
            f"`{digest}` is not a digest that can be held to",
            why="only those of sha256 can: `sha256:` and 64 digits",
        )
    return digest


def _named(repository: str, reference: str) -> str:
    return f"{repository}@{reference}" if _is_digest(reference) else f"{repository}:{reference}"


def _media_type(content: bytes) -> str:
    """As a manifest itself says: registries have been seen to tell another in their header."""
    try:
        return msgspec.json.decode(content, type=_Typed).media_type
    except msgspec.DecodeError:
        return ""
