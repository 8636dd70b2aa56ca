"""What an object store promises: files under keys, elsewhere. Knows nothing of artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tilth.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Stored(NamedTuple):
    """What is known of an object without reading it."""

    key: str
    size: int  # bytes


class ObjectStore(Protocol):
    """Keeps files under keys such as `bundles/DIGEST.tar`. Any number of threads and processes may share one.

    An object is there as a whole or not at all, and writing one again replaces it at once. A digest is
    `sha256:…`, of the content. A key that leads out of the store raises ValueError.

    Every method raises StoreUnavailable when the store does not answer, or refuses.
    """

    where: str  # for people: `s3://bucket/prefix`

    def put(self, key: str, source: Path | bytes, *, digest: str = "") -> str:
        """Write an object and return its digest, checked by what the store has then.

        A large file goes in parts. When that was broken off, also by the end of the process, putting the same
        file again sends what is missing, where the store can do that: `docs/artifact-stores.md` says which.

        Args:
            source: A file, which must not change meanwhile, or a few bytes.
            digest: What the content has to be; of a file that was damaged here nothing is sent.
        Raises:
            LoadError: `source` is not what `digest` says.
        """
        ...

    def get(self, key: str, target: Path, *, digest: str = "") -> None:
        """Write an object to the file `target`, whole or not at all, its folder being there.

        What a call that was broken off had brought is kept beside `target` and continued.

        Args:
            digest: What the content must have. Without, it is compared with the one kept with the object,
                where the store can keep one.
        Raises:
            NotFound: There is no such object.
            LoadError: The content is not that of the digest.
            DiskFull: No space left for it here.
        """
        ...

    def read(self, key: str, *, digest: str = "") -> bytes:
        """The content of a small object; raises as `get` does."""
        ...

    def find(self, key: str) -> Stored | None:
        """What is under a key, or None."""
        ...

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """The objects whose keys begin with `prefix`, which is empty or ends with `/`; in no order."""
        ...

    def delete(self, key: str) -> None:
        """Forget an object; nothing happens when it is not there."""
        ...

    def check(self) -> None:
        """Write, read and delete a small object, so that what is wrong with the store is told now."""
        ...


class LooksTogether(Protocol):
    """An object store that can be asked for many objects at once. Of others each is asked for."""

    def there(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that have an object."""
        ...


def checked_key(key: str) -> str:
    """The key, if it leads to a place inside a store.

    Raises:
        ValueError: It does not.
    """
    if not key or "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"`{key}` is not the key of an object")
    return key


def checked_prefix(prefix: str) -> str:
    """The beginning of keys, empty or ending with `/`, if it leads to a place inside a store."""
    if prefix:
        checked_key(prefix.removesuffix("/"))
        if not prefix.endswith("/"):
            raise ValueError(f"`{prefix}` is no prefix of keys: it has to end with `/`")
    return prefix


def not_found(key: str, where: str) -> NotFound:
    """The error for an object that is not there."""
    return NotFound(f"there is no `{key}` in the artifact store", why=f"looked for in `{where}`")
