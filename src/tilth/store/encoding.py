"""Records as JSON, whatever is in them."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_encoder = msgspec.json.Encoder()


def encode(value: object) -> bytes:
    """A value as JSON."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        # Half a surrogate pair stands for a byte of a file name that is not UTF-8; ASCII escapes can hold it.
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()


def decode(text: bytes | str, decoder: msgspec.json.Decoder[T], kind: Any) -> T:
    """What `encode` told.

    Raises:
        ValueError: It is no JSON, or not of this kind.
    """
    try:
        return decoder.decode(text)
    except msgspec.DecodeError:
        found: T = msgspec.convert(json.loads(text), kind)
        return found


class Parts(msgspec.Struct, frozen=True):
    """A page of records, each as JSON of its own."""

    items: tuple[msgspec.Raw, ...]
    next: str | None = None


_parts = msgspec.json.Decoder(Parts)


def decode_parts(text: bytes) -> Parts:
    """A page without its records being read.

    Raises:
        ValueError: It is none.
    """
    try:
        return _parts.decode(text)
    except msgspec.DecodeError:
        found = json.loads(text)
        return Parts(
            tuple(msgspec.Raw(json.dumps(each).encode()) for each in found["items"]), found.get("next")
        )
