"""An object store behind a network. What one provider does its own way is in a file of its own."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tilth.artifact_stores.downloads import Download, refuse_other
from tilth.artifact_stores.objects import Stored, checked_key, checked_prefix, not_found
from tilth.artifact_stores.parts import PART, Part, file_digest, plan_parts, sha256_of
from tilth.errors import DiskFull, LoadError, StoreUnavailable, TilthError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tilth.artifact_stores.objects import ObjectStore

AT_ONCE = 4  # parts of one file on their way: with 8 MiB each, 32 MiB of memory
_CHANGES = 5  # of an object while it is read, before that is given up
_PATIENCE_S = (0.2, 1.0, 3.0)  # between tries to read what was broken off


class Kept(NamedTuple):
    """What a provider knows of an object."""

    size: int  # bytes
    version: str  # changes with the content
    digest: str = ""  # kept with the object when it was written; empty where the provider keeps none


class Trouble(Enum):
    """What can be wrong with a store, as far as somebody would do something else about it."""

    CREDENTIALS = "it does not accept the credentials"
    CLOCK = "its clock and the one of this machine do not agree"
    RIGHTS = "these credentials may not do that"
    BUCKET = "there is no such bucket"
    SPACE = "there is no space left in it"
    NETWORK = "it cannot be reached"
    BUSY = "it is too busy"
    GONE = "there is no such object"
    OTHER = "it refuses"


_MEND = {
    Trouble.CREDENTIALS: "see that the credentials in the component's settings, or of the provider's own tools, "
    "are those of this store and have not run out",
    Trouble.CLOCK: "set the clock of this machine, as from a time server; a few minutes are too much",
    Trouble.RIGHTS: "let them read, write, list and delete below the prefix",
    Trouble.BUCKET: "make it, or mend its name in the component's settings",
    Trouble.SPACE: "delete what is not needed any more, or raise the quota",
    Trouble.NETWORK: "see that the host is right and reachable from here; what was sent is continued next time",
    Trouble.BUSY: "try again later; what was sent is continued then",
    Trouble.GONE: "",
    Trouble.OTHER: "",
}


class Provider(Protocol):
    """One kind of object store. Raises what its library raises; `explain` tells what that means."""

    where: str  # `s3://bucket/prefix`
    host: str

    def write(self, key: str, content: bytes, digest: str) -> None:
        """Write a small object at once, checked by what the store says it received."""
        ...

    def upload(self, key: str, file: Path, size: int, digest: str) -> None:
        """Write a large object in parts; goes on where a call before was broken off."""
        ...

    def look(self, key: str) -> Kept | None:
        """What is under a key, or None."""
        ...

    def read(self, key: str, start: int, size: int, version: str) -> bytes:
        """`size` bytes from `start` on, of an object that still has this version."""
        ...

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with `prefix`, and sizes."""
        ...

    def delete(self, key: str) -> None:
        """Forget an object that may not be there."""
        ...

    def explain(self, error: Exception) -> tuple[Trouble, str] | None:
        """What is wrong, and the provider's own words; None for an error that is not of its library."""
        ...


class _Changed(Exception):
    """An object became another, or went, while it was read: it is looked at again."""


class RemoteStore:
    """An `ObjectStore` at a provider.

    Args:
        hidden: Values that must not show in an error.
    """

    def __init__(self, provider: Provider, *, hidden: Iterable[str] = ()) -> None:
        self._provider = provider
        self._hidden = [each for each in hidden if each]
        self.where = provider.where

    def put(self, key: str, source: Path | bytes, *, digest: str = "") -> str:
        checked_key(key)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        content = source if isinstance(source, bytes) else source.read_bytes() if size <= PART else None
        if content is not None:
            found = sha256_of(content)
        else:
            assert isinstance(source, Path)
            found = file_digest(source)
        if digest and found != digest:
            raise refuse_other(str(source) if content is None else key, "this machine", digest, found)
        with self._explained(f"`{key}` cannot be written"):
            if content is not None:
                self._provider.write(key, content, found)
                return found
            kept = self._provider.look(key)
            if kept is None or kept.digest != found or kept.size != size:
                assert isinstance(source, Path)
                self._provider.upload(key, source, size, found)
        return found

    def get(self, key: str, target: Path, *, digest: str = "") -> None:
        for _ in range(_CHANGES):
            with contextlib.suppress(_Changed):
                self._get(key, target, digest)
                return
        raise self._failure(f"`{key}` cannot be read", Trouble.BUSY, "it is written again and again")

    def _get(self, key: str, target: Path, digest: str) -> None:
        kept = self._look(key)
        wanted = digest or kept.digest
        with Download(target, key=key, version=wanted or kept.version) as download:
            resumed = download.is_begun
            if download.have > kept.size:
                download.restart()
            self._bring(key, kept, download)
            try:
                download.finish(wanted, where=self.where)
                return
            except LoadError:
                if not resumed:
                    raise
        raise _Changed  # what was here of it may have been torn by a power failure

    def read(self, key: str, *, digest: str = "") -> bytes:
        for _ in range(_CHANGES):
            with contextlib.suppress(_Changed):
                return self._read(key, digest)
        raise self._failure(f"`{key}` cannot be read", Trouble.BUSY, "it is written again and again")

    def _read(self, key: str, digest: str) -> bytes:
        kept = self._look(key)
        content = b"".join(self._piece(key, part, kept.version) for part in plan_parts(kept.size))
        wanted = digest or kept.digest
        if wanted and (found := sha256_of(content)) != wanted:
            raise refuse_other(key, self.where, wanted, found)
        return content

    def find(self, key: str) -> Stored | None:
        checked_key(key)
        with self._explained(f"`{key}` cannot be looked at"):
            kept = self._provider.look(key)
        return None if kept is None else Stored(key, kept.size)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        checked_prefix(prefix)
        with self._explained("what is there cannot be listed"):
            for key, size in self._provider.list(prefix):
                yield Stored(key, size)

    def delete(self, key: str) -> None:
        checked_key(key)
        with self._explained(f"`{key}` cannot be deleted"):
            self._provider.delete(key)

    def check(self) -> None:
        key = f".check-{os.urandom(8).hex()}"
        digest = self.put(key, b"tilth")
        try:
            self.read(key, digest=digest)
        finally:
            self.delete(key)

    def _look(self, key: str) -> Kept:
        checked_key(key)
        with self._explained(f"`{key}` cannot be read"):
            kept = self._provider.look(key)
        if kept is None:
            raise not_found(key, self.where)
        return kept

    def _bring(self, key: str, kept: Kept, download: Download) -> None:
        """Add what is missing, in order: then the length of what is here says where to go on.

        When a part fails, the parts after it that came as a whole are kept beside, for the next call.
        """
        start = download.have
        parts = [Part(each.number, start + each.offset, each.size) for each in plan_parts(kept.size - start)]
        if kept.size == start:
            return

        def bring(part: Part) -> bytes:
            block = download.take(part.offset, part.size)
            return self._piece(key, part, kept.version) if block is None else block

        if len(parts) == 1:
            download.write(bring(parts[0]))
            return
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tilth-download") as pool:
            coming = {part: pool.submit(bring, part) for part in parts[:AT_ONCE]}
            try:
                for number, part in enumerate(parts):
                    content = coming.pop(part).result()
                    if (ahead := number + AT_ONCE) < len(parts):
                        coming[parts[ahead]] = pool.submit(bring, parts[ahead])
                    download.write(content)
            except BaseException:
                for each in coming.values():
                    each.cancel()
                pool.shutdown()
                for part, each in coming.items():
                    if not each.cancelled() and each.exception() is None:
                        download.keep(part.offset, each.result())
                raise

    def _piece(self, key: str, part: Part, version: str) -> bytes:
        if part.size == 0:
            return b""
        # The libraries send a request again that failed, not one whose answer breaks off in the middle.
        for pause_s in (*_PATIENCE_S, None):
            with self._explained(f"`{key}` cannot be read"):
                try:
                    content = self._provider.read(key, part.offset, part.size, version)
                    if len(content) == part.size:
                        return content
                    error: Exception = ConnectionError("the answer broke off")
                except Exception as failure:
                    error = failure
                if pause_s is None or not self._passes(error):
                    if (told := self._provider.explain(error)) and told[0] is Trouble.GONE:
                        raise _Changed from error
                    raise error
            time.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def _passes(self, error: Exception) -> bool:
        told = self._provider.explain(error)
        return told is not None and told[0] in (Trouble.NETWORK, Trouble.BUSY)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (TilthError, _Changed):
            raise
        except Exception as error:
            told = self._provider.explain(error)
            if told is None:
                raise
            raise self._failure(what, *told) from error

    def _failure(self, what: str, trouble: Trouble, said: str) -> TilthError:
        for each in self._hidden:
            said = said.replace(each, "***")
        kind = DiskFull if trouble is Trouble.SPACE else StoreUnavailable
        host = f" at `{self._provider.host}`" if self._provider.host else ""
        return kind(
            f"the artifact store `{self.where}`{host} fails: {trouble.value}",
            why=f"{what}: {' '.join(said.split()) or 'it gives no reason'}",
            mend=_MEND[trouble],
        )


if TYPE_CHECKING:
    _keeps_the_promises: type[ObjectStore] = RemoteStore


def in_parallel(work: Callable[[Part], None], parts: Iterable[Part]) -> None:
    """Do something with each part, several at once; raises the first failure, and begins nothing after it."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tilth-upload") as pool:
        running = [pool.submit(work, part) for part in parts]
        try:
            for each in running:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def credentials_missing(flavor: str, error: Exception) -> StoreUnavailable:
    """The error for a provider's own chain that finds nothing, or does not get what it finds."""
    return StoreUnavailable(
        f"no credentials were found for an artifact store of flavor `{flavor}`",
        why=f"{type(error).__name__}: {' '.join(str(error).split())}",
        mend="give them in the component's settings, or log in with the provider's own tools",
    )
