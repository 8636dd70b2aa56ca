"""Artifacts: a value as a folder of files and `artifact.json`. The entry for the runtime.

    artifact.json   version, digest, type, materializer, materializer_version, format, requires, python,
                    files, empty (folders), size, metadata, pickled, length (of a collection)

The digest is that of type, materializer, format and files: not of metadata, library versions or time. What
makes an artifact durable, read-only or shared is the store's business, not decided here.
"""

from __future__ import annotations

import json
import os
import sys
from errno import EDQUOT, ENOSPC
from typing import TYPE_CHECKING, Any, NoReturn

from tilth.errors import DiskFull, LoadError, OutputError, TilthError
from tilth.ir.values import Unencodable, digest as digest_json, import_type, is_pydantic, type_name
from tilth.materializers.files import MANIFEST, list_files, problems
from tilth.materializers.plain import JsonMaterializer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tilth.materializers.protocol import Format, Materializer

VERSION = 1
_LARGE_TEXT = 64 << 10  # bytes or characters; from here in a file of their own

# By the top-level package and qualified name of a type: the library itself is imported by the value's owner.
_EXACT = {
    "pandas.DataFrame": "pandas:FrameMaterializer",
    "pandas.Series": "pandas:SeriesMaterializer",
    "numpy.ndarray": "numpy:ArrayMaterializer",
    "numpy.memmap": "numpy:ArrayMaterializer",
    "pathlib.PosixPath": "paths:PathMaterializer",
    "pathlib.WindowsPath": "paths:PathMaterializer",
    "tilth.HTML": "text:HTMLMaterializer",
    "tilth.Markdown": "text:MarkdownMaterializer",
    "tilth.CSV": "text:CSVMaterializer",
}
_LARGE: dict[type, str] = {str: "text:TextMaterializer", bytes: "text:BytesMaterializer"}
_WITH_SUBCLASSES = {
    "pandas.Index": "pandas:IndexMaterializer",
    "numpy.generic": "numpy:ScalarMaterializer",
    "sklearn.BaseEstimator": "sklearn:EstimatorMaterializer",
}


def save_artifact(
    value: object,
    folder: Path,
    *,
    materializers: Sequence[type[Materializer]] = (),
    readers: Sequence[frozenset[str]] = (),
    collection: bool = False,
    visualizations: Path | None = None,
) -> dict[str, Any]:
    """Write `value` into `folder`, which exists and is empty, and give the content of its `artifact.json`.

    Args:
        value: Anything; see `Saver.write` for how it is written.
        folder: Becomes the artifact. `artifact.json` is written last and at once.
        materializers: The user's own, first to be asked.
        readers: For each known consumer, the top-level import names its environment has.
        collection: Whether the output is mapped over: `value` is then written item by item.
        visualizations: Where what a person would look at is written; made when there is something.
    Raises:
        OutputError: The value cannot be saved, or not in a format that every reader has.
        DiskFull: No space left.
    """
    saver = Saver(materializers, readers)
    try:
        if collection:
            from tilth.materializers.collection import write_collection

            described = write_collection(value, folder, saver)
            metadata: dict[str, Any] = {"length": described["length"]}
        else:
            described, materializer = saver.write(value, folder)
            metadata = _metadata(materializer, value)
            if visualizations is not None:
                _visualize(materializer, value, visualizations)
        return write_manifest(folder, described, metadata)
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise DiskFull(
                f"no space left while writing a value of type `{type_name(type(value))}`",
                why=f"writing below `{folder}`",
                mend="free some space, for instance by deleting old runs, and resume the run",
            ) from error
        raise


def load_artifact(folder: Path, *, pickles: bool = True) -> Any:
    """The value of an artifact.

    Args:
        folder: The artifact; its files may be read-only, and must stay while the value is in use: large
            arrays are mapped, and a path leads into it.
        pickles: Whether formats may be read that can run code of the writer's choice.
    Raises:
        LoadError: It is torn, or cannot be read in this environment.
    """
    manifest = read_manifest(folder)
    if manifest["format"] == "mapped":
        from tilth.materializers.collection import mapped_sequence

        return mapped_sequence(folder, pickles=pickles)
    if "length" in manifest:
        from tilth.materializers.collection import load_collection

        return load_collection(folder, manifest, pickles=pickles)
    return load_value(folder, manifest, pickles=pickles)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The content of `artifact.json`.

    Raises:
        LoadError: It is missing, torn, or of a newer version of the layout.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        version = manifest["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(
            "an artifact is incomplete",
            why=f"`{path}` is missing or torn: {error}",
            mend="run the step that made it again",
        ) from error
    if version > VERSION:
        raise LoadError(
            "an artifact was written by a newer version of tilth",
            why=f"`{path}` has layout {version}; this version reads up to {VERSION}",
            mend="upgrade tilth",
        )
    return dict(manifest)


def verify(folder: Path) -> list[str]:
    """What is wrong with an artifact, after reading all of it: missing, added or changed files."""
    try:
        manifest = read_manifest(folder)
    except LoadError as error:
        return [error.why or error.summary]
    found = problems(folder, manifest["files"], manifest.get("empty", []))
    if not found and _digest_of(folder, manifest) != manifest["digest"]:
        found.append(f"`{MANIFEST}` does not belong to these files")
    return found


def artifact_digest(described: dict[str, Any]) -> str:
    """The digest of an artifact's content."""
    content = {key: described[key] for key in ("type", "materializer", "format", "files")}
    content.update({key: described[key] for key in ("empty", "length", "shape") if described.get(key)})
    return digest_json(content)


def _digest_of(folder: Path, manifest: dict[str, Any]) -> str:
    if manifest["format"] != "mapped":
        return artifact_digest(manifest)
    # What a mapped step gave stands for its items, wherever they are.
    with open(folder / "items.jsonl", "rb") as file:
        items = [json.loads(line)["digest"] for line in file]
    return digest_json({"type": manifest["type"], "format": "mapped", "items": digest_json(items)})


class Saver:
    """Chooses how to write values, for one set of custom materializers and known readers."""

    def __init__(
        self, materializers: Sequence[type[Materializer]], readers: Sequence[frozenset[str]]
    ) -> None:
        self._custom = materializers
        self._readers = readers
        self._found: dict[type, type[Materializer] | None] = {}

    def write(self, value: object, folder: Path) -> tuple[dict[str, Any], Materializer]:
        """Write `value` into the empty `folder`: with a custom materializer, a built-in one, or cloudpickle.

        Gives what `artifact.json` says about type and format, and the materializer.
        """
        kind = self.find(value)
        if kind is not None and kind in self._custom:
            return self._write_with(kind, value, folder)
        try:
            return self._write_with(kind or JsonMaterializer, value, folder)
        except Unencodable:
            _clear(folder)
        from tilth.materializers.pickles import CloudpickleMaterializer

        return self._write_with(CloudpickleMaterializer, value, folder)

    def find(self, value: object) -> type[Materializer] | None:
        """The materializer for a value of this type, or None when it belongs in JSON, if anywhere."""
        kind = type(value)
        if kind not in self._found:
            self._found[kind] = self._custom_for(kind) or _builtin_for(kind)
        found = self._found[kind]
        if found is None and isinstance(value, (str, bytes)) and len(value) >= _LARGE_TEXT:
            return _import(_LARGE[kind]) if kind in _LARGE else None
        return found

    def is_custom(self, kind: type[Materializer] | None) -> bool:
        """Whether a materializer is the user's own."""
        return kind in self._custom

    def _custom_for(self, kind: type) -> type[Materializer] | None:
        for base in kind.__mro__[:-1]:
            for each in self._custom:
                if base in each.types:
                    return each
        # Abstract classes and protocols are not among the bases of what they accept.
        for each in self._custom:
            if any(_is_subclass(kind, one) for one in each.types):
                return each
        return None

    def _write_with(
        self, kind: type[Materializer], value: object, folder: Path
    ) -> tuple[dict[str, Any], Materializer]:
        choice = self._choose_format(kind, value)
        materializer = kind(choice.name)
        requires: set[str] = set()
        if isinstance(materializer, JsonMaterializer):

            def save_part(item: object, make: Callable[[], Path]) -> dict[str, Any] | None:
                part_kind = self.find(item)
                if part_kind is None:
                    return None
                described, part = self._write_with(part_kind, item, make())
                requires.update(described["requires"])
                materializer.pickled |= part.pickled
                return {key: described[key] for key in ("materializer", "materializer_version", "format")}

            materializer.save_part = save_part
        if kind in self._custom:
            self._save_custom(materializer, value, folder)
        else:
            materializer.save(value, folder)
        # `save` may have turned to a later format.
        requires.update(*(each.requires for each in kind.formats if each.name == materializer.format))
        described: dict[str, Any] = {
            "type": type_name(type(value)),
            "materializer": type_name(kind),
            "materializer_version": kind.version,
            "format": materializer.format,
            "requires": {name: _version(name) for name in sorted(requires)},
            "pickled": materializer.pickled,
        }
        if materializer.pickled:
            package = type(value).__module__.partition(".")[0]
            if package not in sys.stdlib_module_names and package != "__main__":
                described["requires"].setdefault(package, _version(package))
        return described, materializer

    def _save_custom(self, materializer: Materializer, value: object, folder: Path) -> None:
        try:
            materializer.save(value, folder)
        except (OSError, TilthError):
            raise
        except Exception as error:
            raise OutputError(
                f"`{type_name(type(materializer))}` could not save a value of type "
                f"`{type_name(type(value))}`",
                why=f"{type(error).__name__}: {error}",
            ) from error

    def _choose_format(self, kind: type[Materializer], value: object) -> Format:
        lacking = []
        for choice in kind.formats:
            missing = [name for name in choice.requires if not _importable(name)]
            if missing:
                lacking.append(f"`{choice.name}` needs `{'`, `'.join(missing)}`, which is not installed here")
                continue
            for reader in self._readers:
                missing = [name for name in choice.requires if reader.isdisjoint(name.split("|"))]
                if missing:
                    lacking.append(
                        f"`{choice.name}` needs `{'`, `'.join(missing)}`, which a step that reads it lacks"
                    )
                    break
            else:
                return choice
        raise OutputError(
            f"a value of type `{type_name(type(value))}` has no format that every step can use",
            why="\n".join(lacking),
            mend="add the package to the environments of both steps, or pass on something simpler",
        )


def load_value(folder: Path, described: dict[str, Any], *, pickles: bool) -> Any:
    """Read what `Saver.write` wrote, as it was described then.

    Raises:
        LoadError: It cannot be read in this environment.
    """
    if described["pickled"] and not pickles:
        raise LoadError(
            f"a value of type `{described['type']}` is stored as `{described['format']}`, which only "
            "the environment that wrote it can be trusted to read",
            mend="load it in a step of that environment, or copy its files with `tilth artifacts get`",
        )
    try:
        return _load_with(folder, described)
    except TilthError:
        raise
    except Exception as error:
        _explain(error, described)


def write_manifest(folder: Path, described: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """List and digest the files, then write `artifact.json` aside and rename it."""
    files, empty = list_files(folder)
    described["files"] = files
    if empty:
        described["empty"] = empty
    manifest = {
        "version": VERSION,
        "digest": artifact_digest(described),
        **described,
        "python": "{}.{}".format(*sys.version_info[:2]),
        "size": sum(each["size"] for each in files.values()),
        "metadata": metadata,
    }
    aside = folder / f".{MANIFEST}"
    aside.write_bytes(json.dumps(manifest, separators=(",", ":")).encode())
    aside.replace(folder / MANIFEST)
    return manifest


def _load_with(folder: Path, described: dict[str, Any]) -> Any:
    kind = import_type(described["materializer"])
    if described["materializer_version"] > kind.version:
        raise LoadError(
            f"a value of type `{described['type']}` was written by a newer `{described['materializer']}`",
            why=f"version {described['materializer_version']}; here it is {kind.version}",
        )
    materializer = kind(described["format"])
    if isinstance(materializer, JsonMaterializer):
        materializer.load_part = lambda part, inner: _load_with(inner, part)
    return materializer.load(folder)


def _explain(error: Exception, described: dict[str, Any]) -> NoReturn:
    reasons = [f"{type(error).__name__}: {error}"]
    mend = ""
    missing = [name for name in described["requires"] if not _importable(name)]
    if missing:
        mend = f"add `{'`, `'.join(missing)}` to the environment of the step that reads it"
    for name, then in described["requires"].items():
        here = "" if name in missing else _version(name)
        if then and here and then != here:
            reasons.append(f"it was written with `{name}` {then}; here it is {here}")
            mend = mend or f"give both steps the same version of `{name}`"
    python = "{}.{}".format(*sys.version_info[:2])
    if described["pickled"] and described.get("python", python) != python:
        reasons.append(f"it was pickled by Python {described['python']}; here it is {python}")
    raise LoadError(
        f"a value of type `{described['type']}` cannot be loaded from `{described['format']}` here",
        why="\n".join(reasons),
        mend=mend,
    ) from error


def _builtin_for(kind: type) -> type[Materializer] | None:
    found = _EXACT.get(_short_name(kind))
    if found is None and not is_pydantic(kind):
        found = next(
            (_WITH_SUBCLASSES[name] for name in map(_short_name, kind.__mro__) if name in _WITH_SUBCLASSES),
            None,
        )
    return None if found is None else _import(found)


def _short_name(kind: type) -> str:
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _import(name: str) -> type[Materializer]:
    kind: type[Materializer] = import_type(f"{__package__}.{name}")
    return kind


def _is_subclass(kind: type, base: type) -> bool:
    try:
        return issubclass(kind, base)
    except TypeError:  # a protocol that cannot be checked at runtime
        return False


def _importable(name: str) -> bool:
    """Whether one of `a|b` is installed here."""
    from importlib.util import find_spec

    for each in name.split("|"):
        if sys.modules.get(each) is not None:
            return True
        try:
            if find_spec(each) is not None:
                return True
        except (ImportError, ValueError):
            continue
    return False


def _version(name: str) -> str:
    """The version of the module that is loaded, of one of `a|b`; else that of its distribution."""
    from importlib.metadata import PackageNotFoundError, version

    for each in name.split("|"):
        found = getattr(sys.modules.get(each), "__version__", None)
        if isinstance(found, str):
            return found
    for each in name.split("|"):
        try:
            return version(each)
        except PackageNotFoundError:
            continue
    return ""


def _metadata(materializer: Materializer, value: object) -> dict[str, Any]:
    """What a materializer says about a value; a mistake in it does not cost the step its output."""
    try:
        found = materializer.metadata(value)
        json.dumps(found)
    except Exception as error:
        _complain("metadata", materializer, error)
        return {}
    return found


def _visualize(materializer: Materializer, value: object, folder: Path) -> None:
    from tilth.materializers.protocol import Materializer as Plain

    if type(materializer).visualize is Plain.visualize:  # most have none, and small steps feel a folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        materializer.visualize(value, folder)
    except OSError:
        raise
    except Exception as error:
        _complain("a visualization", materializer, error)


def _complain(what: str, materializer: Materializer, error: Exception) -> None:
    import logging

    logging.getLogger(__name__).warning(
        "`%s` failed to give %s: %s: %s",
        type_name(type(materializer)),
        what,
        type(error).__name__,
        error,
    )


def _clear(folder: Path) -> None:
    from shutil import rmtree

    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            rmtree(entry.path)
        else:
            os.unlink(entry.path)  # noqa: PTH108 - it is a directory entry


def __getattr__(name: str) -> Any:
    # The runtime's one entry; but most steps have no collection, and need not pay for the module.
    if name in ("Item", "LazySequence", "collection_items", "load_item"):
        from tilth.materializers import collection

        return getattr(collection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if TYPE_CHECKING:
    from tilth.materializers.collection import (
        Item as Item,
        LazySequence as LazySequence,
        collection_items as collection_items,
        load_item as load_item,
    )
