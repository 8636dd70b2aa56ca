"""One blob on its way out of a registry, on from where it broke.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tilth.errors import ImageBroken, RegistryUnavailable
from tilth.oci.patience import Passing, Tries

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tilth.oci.conversations import Conversation
    from tilth.oci.descriptors import Descriptor
    from tilth.oci.tokens import Scopes


def read_blob_from(
    conversation: Conversation, repository: str, descriptor: Descriptor, offset: int, *, scopes: Scopes
) -> Iterator[bytes]:
    """The bytes of a blob from an offset to its end, never more. When read from the start they are held to the digest.

    Raises:
        ImageBroken: They are not those of the digest. What was given before is worth nothing.
    """
    url = conversation.url(f"{repository}/blobs/{descriptor.digest}")
    asked = f"blob `{descriptor.digest[:19]}…` of `{repository}`"
    tries = Tries(conversation.patience)
    found = hashlib.sha256() if not offset else None
    at = offset
    while at < descriptor.size:
        try:
            with conversation.stream(
                "GET",
                url,
                asked=asked,
                scopes=scopes,
                expected=[200, 206],
                headers={"Range": f"bytes={at}-"} if at else {},
            ) as response:
                skip = at - _begins_at(response)
                if skip < 0:
                    raise Passing(_broke_off(conversation.host, asked, "it left bytes out"))
                for piece in response.iter_raw():
                    conversation.sent.count(received=len(piece))
                    if skip:  # it knows no ranges, and begins at the start
                        piece, skip = piece[skip:], max(skip - len(piece), 0)
                    if not piece:
                        continue
                    at += len(piece)
                    if at > descriptor.size:
                        raise _wrong(
                            descriptor, conversation.host, f"it has more than {descriptor.size} bytes"
                        )
                    if found is not None:
                        found.update(piece)
                    tries.progressed()
                    yield piece
            if at < descriptor.size:
                raise Passing(
                    _broke_off(conversation.host, asked, f"{descriptor.size - at} bytes are missing")
                )
        except Passing as passing:
            tries.wait(passing)
    if found is not None and f"sha256:{found.hexdigest()}" != descriptor.digest:
        raise _wrong(
            descriptor, conversation.host, f"the digest of what came is `sha256:{found.hexdigest()}`"
        )


def _begins_at(response: httpx.Response) -> int:
    if response.status_code != 206:
        return 0
    first = response.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else 0


def _broke_off(host: str, asked: str, why: str) -> RegistryUnavailable:
    return RegistryUnavailable(f"registry `{host}` broke the connection: {asked}", why=why, mend="try again")


def _wrong(descriptor: Descriptor, host: str, why: str) -> ImageBroken:
    return ImageBroken(
        f"registry `{host}` gives other bytes for blob `{descriptor.digest}`",
        why=why,
        mend="the registry's storage, or a proxy between, is broken: tell its owner",
    )
