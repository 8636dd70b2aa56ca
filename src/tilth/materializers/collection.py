"""Outputs that are mapped over: each item can be found, digested and loaded by itself.

    items.jsonl   one line per item: digest, type, and either `json` (offset and size in the pack), or
                  `files` in the pack, or `folder`, with materializer and format
    packed.bin    small items, one after another
    items/N/      the files of a large item, or of one that must stay a file
    whole/        a Series as such, for who reads all of it

An item's digest is the one it would have as an artifact alone, so that a step is cached by its content. The
driver reads `items.jsonl` only, never a value.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from tilth.errors import LoadError, OutputError
from tilth.ir.values import Unencodable, decode, encode, type_name
from tilth.materializers.artifacts import (
    artifact_digest,
    load_artifact,
    load_value,
)
from tilth.materializers.files import list_files, open_hashed
from tilth.materializers.plain import JsonMaterializer, dump

if TYPE_CHECKING:
    from tilth.materializers.artifacts import Saver
    from tilth.materializers.files import HashedFile

_SMALL = 64 << 10  # bytes, all files of an item; from here it gets a folder
_LINE = json.JSONEncoder(separators=(",", ":"))
_JSON = {
    "materializer": type_name(JsonMaterializer),
    "materializer_version": JsonMaterializer.version,
    "format": "json",
    "pickled": False,
    "requires": {},
}


class Item(NamedTuple):
    """One item of a collection: its digest as an artifact alone, and its place."""

    digest: str
    position: int


def collection_items(folder: Path) -> list[Item]:
    """The items of a collection, in order, without reading any of them."""
    return [Item(json.loads(line)["digest"], position) for position, line in enumerate(_lines(folder))]


def load_item(folder: Path, index: int, *, pickles: bool = True) -> Any:
    """One item of a collection; the others are not read.

    Raises:
        LoadError: It is torn, or cannot be read in this environment.
    """
    item = json.loads(_lines(folder)[index])
    if "json" in item:
        with (folder / "packed.bin").open("rb") as pack:
            text = _read_at(pack, *item["json"])
        return _load_json(text, folder, item)
    if "folder" in item:
        return load_value(folder / item["folder"], item, pickles=pickles)
    with tempfile.TemporaryDirectory(prefix="tilth-") as name:
        target = Path(name)
        with (folder / "packed.bin").open("rb") as pack:
            for relative, at in item["files"].items():
                path = target / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_read_at(pack, *at))
        return load_value(target, item, pickles=pickles)


class LazySequence(Sequence[Any]):
    """The items of a collection, or of several artifacts, each loaded when it is asked for.

    Nothing is kept: an item asked for twice is loaded twice.
    """

    __slots__ = ("_items", "_pickles")

    def __init__(self, source: Path | Sequence[Path | tuple[Path, int]], *, pickles: bool = True) -> None:
        """`source`: a collection artifact; or artifacts, each alone or as (collection, position)."""
        self._pickles = pickles
        self._items: Sequence[Path | tuple[Path, int]]
        if isinstance(source, Path):
            self._items = [(source, position) for position in range(len(_lines(source)))]
        else:
            self._items = source

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> LazySequence: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return LazySequence(self._items[index], pickles=self._pickles)
        item = self._items[index]
        if isinstance(item, Path):
            return load_artifact(item, pickles=self._pickles)
        return load_item(*item, pickles=self._pickles)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"<LazySequence of {len(self)} items>"


def mapped_sequence(folder: Path, *, pickles: bool = True) -> LazySequence:
    """What a mapped step gave: an artifact that names those of its items, each by its path from there."""
    with open(folder / "items.jsonl", encoding="utf-8") as lines:
        return LazySequence([folder / json.loads(line)["path"] for line in lines], pickles=pickles)


def write_collection(value: Any, folder: Path, saver: Saver) -> dict[str, Any]:
    """Write a value item by item, and give what `artifact.json` says about it but for its files.

    Raises:
        OutputError: It has no items, or one of them cannot be saved.
    """
    described: dict[str, Any] = {
        "type": type_name(type(value)),
        "materializer": f"{__name__}:load_collection",
        "materializer_version": 1,
        "format": "collection",
        "requires": {},
        "pickled": False,
    }
    shape = _shape(value, folder, saver, described)
    with open_hashed(folder / "items.jsonl") as index, open_hashed(folder / "packed.bin") as pack:
        count = 0
        for item in value:
            try:
                line = _write_item(item, folder, count, pack, saver, described["requires"])
            except OutputError as error:
                raise OutputError(f"item {count}: {error.summary}", why=error.why, mend=error.mend) from error
            described["pickled"] |= line.get("pickled", False)
            index.write(_LINE.encode(line).encode() + b"\n")
            count += 1
    return {**described, "length": count, "shape": shape}


def load_collection(folder: Path, manifest: dict[str, Any], *, pickles: bool) -> Any:
    """The whole value again: a tuple, range, array or Series if it was one, else a list."""
    shape = manifest["shape"]
    kind = shape["kind"]
    if kind == "range":
        return range(*shape["range"])
    items = LazySequence(folder, pickles=pickles)
    if kind == "array":
        import numpy as np

        dtype: Any = decode(shape["dtype"])
        result: Any = np.empty(
            tuple(shape["shape"]), dtype=np.lib.format.descr_to_dtype(dtype), order=shape["order"]
        )
        for position, item in enumerate(items):
            result[position] = item
        return result
    if kind == "series":
        return load_value(folder / "whole", shape["whole"], pickles=pickles)
    return tuple(items) if kind == "tuple" else list(items)


def _shape(value: Any, folder: Path, saver: Saver, described: dict[str, Any]) -> dict[str, Any]:
    """What is needed, beyond its items, to make the whole value again."""
    kind = type(value)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    if kind is range:
        return {"kind": "range", "range": [value.start, value.stop, value.step]}
    if kind in (list, tuple):
        return {"kind": kind.__name__}
    if name == "numpy.ndarray" and value.ndim:
        import numpy as np

        if value.dtype.hasobject:
            return {"kind": "list"}
        return {
            "kind": "array",
            "shape": list(value.shape),
            "dtype": encode(np.lib.format.dtype_to_descr(value.dtype)),
            "order": "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C",
        }
    if name == "pandas.Series":
        (folder / "whole").mkdir()
        whole, materializer = saver.write(value, folder / "whole")
        described["requires"].update(whole["requires"])
        described["pickled"] |= materializer.pickled
        return {"kind": "series", "whole": {**whole, "requires": dict.fromkeys(whole["requires"], "")}}
    if (isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))) or isinstance(
        value, Iterator
    ):
        if isinstance(value, Iterator):
            described["type"] = "builtins:list"  # all that it can be loaded as
        return {"kind": "list"}
    raise OutputError(
        f"a value of type `{type_name(kind)}` cannot be mapped over",
        why="a mapped output is a list, tuple, range, iterator, array or Series: something with an order",
        mend="return a list of the items",
    )


def _write_item(
    item: object, folder: Path, position: int, pack: HashedFile, saver: Saver, requires: dict[str, str]
) -> dict[str, Any]:
    kind = saver.find(item)
    if kind is None:
        try:
            text = dump(encode(item, reference=lambda part: _refuse(saver.find(part))))
        except Unencodable:
            pass
        else:
            if len(text) < _SMALL:
                return _pack_json(item, text, pack)
    target = folder / "items" / str(position)
    target.mkdir(parents=True)
    described, _ = saver.write(item, target)
    files, empty = list_files(target)
    described["files"] = files
    if empty:
        described["empty"] = empty
    line = {"digest": artifact_digest(described), **described}
    # Names alone: the digest of the collection must not depend on the versions that happen to be here.
    line["requires"] = dict.fromkeys(described["requires"], "")
    # What a custom materializer loads may go on using its files, as a path does.
    stays = saver.is_custom(kind) or described["format"] == "path"
    if stays or empty or sum(file["size"] for file in files.values()) >= _SMALL:
        del line["files"]
        line["folder"] = f"items/{position}"
    else:
        line["files"] = {name: _pack_file(target / name, pack) for name in files}
        shutil.rmtree(target)
    requires.update(described["requires"])
    return line


def _pack_file(path: Path, pack: HashedFile) -> list[int]:
    content = path.read_bytes()
    at = pack.tell()
    pack.write(content)
    return [at, len(content)]


def _refuse(kind: object) -> None:
    if kind is not None:
        raise Unencodable("")


def _pack_json(item: object, text: bytes, pack: HashedFile) -> dict[str, Any]:
    from hashlib import sha256

    at = pack.tell()
    pack.write(text)
    name = type_name(type(item))
    files = {"value.json": {"sha256": sha256(text).hexdigest(), "size": len(text)}}
    digest = artifact_digest({"type": name, **_JSON, "files": files})
    return {"digest": digest, "type": name, "json": [at, len(text)]}


def _load_json(text: bytes, folder: Path, item: dict[str, Any]) -> object:
    try:
        return decode(json.loads(text))
    except Exception as error:
        raise LoadError(
            f"an item of type `{item['type']}` in `{folder}` cannot be loaded here",
            why=f"{type(error).__name__}: {error}",
        ) from error


_remembered: dict[tuple[str, int, int], list[bytes]] = {}


def _lines(folder: Path) -> list[bytes]:
    """The lines of `items.jsonl`, kept for the last few collections: a worker loads many items of one."""
    path = folder / "items.jsonl"
    try:
        status = path.stat()
        key = (str(path), status.st_mtime_ns, status.st_ino)
        lines = _remembered.get(key)
        if lines is None:
            lines = path.read_bytes().splitlines()
    except OSError as error:
        raise LoadError("a collection is incomplete", why=f"`{path}` cannot be read: {error}") from error
    if len(_remembered) >= 8 and key not in _remembered:
        _remembered.pop(next(iter(_remembered)), None)
    _remembered[key] = lines
    return lines


def _read_at(pack: Any, at: int, size: int) -> bytes:
    pack.seek(at)
    content: bytes = pack.read(size)
    if len(content) != size:
        raise LoadError("a collection is incomplete", why=f"`{pack.name}` is shorter than it was written")
    return content
