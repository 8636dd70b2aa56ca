"""Literals and containers as JSON, with arrays, frames and models inside them as parts beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tilth.ir.values import decode, encode
from tilth.materializers.files import open_hashed
from tilth.materializers.protocol import Format, Materializer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tilth.ir.values import Json


_TEXT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class JsonMaterializer(Materializer):
    """What `tilth.ir.values` encodes, in `value.json`.

    A value inside it that has a format of its own is written to `parts/N/`, and stands in the JSON as
    `{"$part": {"folder": "parts/N", "materializer": …, "format": …}}`. One that appears twice is written
    once, and is one object again when loaded.
    """

    formats = (Format("json"),)

    # Both are set by whoever saves and loads: which materializer a part gets is not decided here.
    save_part: Callable[[object, Callable[[], Path]], Json | None]
    load_part: Callable[[Json, Path], object]

    def save(self, value: object, folder: Path) -> None:
        parts: dict[int, Json] = {}
        alive = []  # a part made on the fly, as by a property, must not give its id to the next

        def reference(item: object) -> Json | None:
            known = parts.get(id(item))
            if known is not None:
                return known
            name = f"parts/{len(parts)}"

            def make() -> Path:
                part = folder / name
                part.mkdir(parents=True)
                return part

            described = self.save_part(item, make)
            if described is None:
                return None
            alive.append(item)
            parts[id(item)] = {"$part": {"folder": name, **described}}
            return parts[id(item)]

        encoded = encode(value, reference=reference)
        with open_hashed(folder / "value.json") as file:
            file.write(dump(encoded))

    def load(self, folder: Path) -> object:
        loaded: dict[str, object] = {}

        def reference(tag: str, payload: Json) -> object:
            if tag != "$part":
                raise ValueError(f"unknown tag `{tag}`")
            name = payload["folder"]
            if name not in loaded:
                loaded[name] = self.load_part(payload, folder / name)
            return loaded[name]

        return decode(json.loads((folder / "value.json").read_bytes()), reference=reference)

    def metadata(self, value: Any) -> dict[str, Any]:
        kind = type(value)
        if kind in (bool, int, float) and -1e308 < value < 1e308 and abs(value) < 2**63:
            return {"value": value}
        if kind in (str, bytes, list, tuple, dict, set, frozenset, range):
            return {"length": len(value)}
        return {}


def dump(encoded: Json) -> bytes:
    """The text of `value.json`. The order of keys is part of the value, so they are not sorted."""
    try:
        return _TEXT.encode(encoded).encode()
    except UnicodeEncodeError:  # lone surrogates
        return json.dumps(encoded, separators=(",", ":")).encode()
