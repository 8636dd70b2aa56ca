"""What a run's steps gave, by digest, and what stands for it in the inputs of later steps."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tilth.errors import TilthError
from tilth.ir.values import canonical, digest
from tilth.materializers.artifacts import collection_items, read_manifest, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tilth.artifact_stores import ArtifactStore
    from tilth.ir.pipeline import Node, Output
    from tilth.records import Artifact, OutputRef

_READ_AGAIN = 8 << 20  # bytes up to which a stored value is digested again before it is reused


class Values:
    """Outputs of the steps of one run, and the manifests of their artifacts."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._outputs: dict[tuple[str, str], OutputRef] = {}
        self._manifests: dict[str, Mapping[str, Any]] = {}
        self._items: dict[str, list[str]] = {}
        self._versions: dict[str, int] = {}

    def give(self, node: str, outputs: Mapping[str, OutputRef]) -> None:
        """A node's outputs are there."""
        for name, ref in outputs.items():
            self._outputs[node, name] = ref

    def know(self, manifest: Mapping[str, Any]) -> None:
        """What is known of an artifact that was just made."""
        self._manifests[manifest["digest"]] = manifest

    def version(self, artifact: Artifact) -> None:
        """The version an artifact got."""
        self._versions[artifact.id] = artifact.version

    def problems(self, digest_: str) -> list[str]:
        """What is wrong with a stored artifact: all of a small one is read, of a large one sizes are compared."""
        if digest_ in self._manifests:
            return []
        folder = self._artifacts.path(digest_)
        try:
            manifest = read_manifest(folder)
        except (TilthError, OSError) as error:
            return [str(getattr(error, "summary", error))]
        if manifest["digest"] != digest_:
            return ["its manifest is that of another artifact"]
        if manifest["format"] == _MAPPED:
            problems = [each for item in self._mapped_items(folder) for each in self.problems(item)]
        elif manifest["size"] <= _READ_AGAIN:
            problems = verify(folder)
        else:
            problems = _wrong_sizes(folder, manifest)
        if not problems:
            self._manifests[digest_] = manifest
        return problems

    def requires(self, digest_: str) -> frozenset[str]:
        """Import names that a reader of this artifact needs."""
        manifest = self._manifests.get(digest_) or read_manifest(self._artifacts.path(digest_))
        return frozenset(manifest.get("requires", ()))

    def items(self, node: str, output: str) -> list[tuple[str, dict[str, Any]]]:
        """(digest, expression that loads it) of each item of an output that is mapped over."""
        ref = self._outputs[node, output]
        folder = self._artifacts.path(ref.digest)
        if read_manifest(folder)["format"] == _MAPPED:
            found = self._mapped_items(folder)
            return [(each, {"$artifact": str(self._artifacts.path(each))}) for each in found]
        return [
            (each.digest, {"$item": [str(folder), index]})
            for index, each in enumerate(collection_items(folder))
        ]

    def as_digest(self, node: str, output: str) -> Any:
        """What stands for an output where only its content matters."""
        return {"$artifact": self._outputs[node, output].digest}

    def as_path(self, node: str, output: str) -> Any:
        """What stands for an output in a step's folder."""
        return {"$artifact": str(self._artifacts.path(self._outputs[node, output].digest))}

    def as_reference(self, node: str, output: str) -> Any:
        """What stands for an output in a record."""
        ref = self._outputs.get((node, output))
        if ref is None:
            return {"$output": [node, output]}
        return {"$artifact": ref.digest, "id": ref.artifact, "from": f"{node}.{output}"}

    def bundle(self, digests: Sequence[str], scratch: Path) -> dict[str, Any]:
        """Store the outputs of a mapped step's items as one artifact that names theirs; gives its manifest."""
        lines = b"".join(
            canonical({"digest": each, "path": self._relative(each)}) + b"\n" for each in digests
        )
        content = {"type": "tilth:mapped", "format": _MAPPED, "items": digest(list(digests))}
        manifest: dict[str, Any] = {
            "version": 1,
            "digest": digest(content),
            "type": "tilth:mapped",
            "materializer": "",
            "materializer_version": 1,
            "format": _MAPPED,
            "requires": sorted({name for each in set(digests) for name in self.requires(each)}),
            "files": {_ITEMS: {"size": len(lines), "sha256": _sha256(lines)}},
            "size": len(lines),
            "length": len(digests),
            "metadata": {},
            "pickled": False,
        }
        folder = scratch / f"mapped-{os.urandom(6).hex()}"
        folder.mkdir(parents=True)
        (folder / _ITEMS).write_bytes(lines)
        (folder / "artifact.json").write_text(json.dumps(manifest))
        self._artifacts.adopt(folder, manifest["digest"])
        self.know(manifest)
        return manifest

    def _relative(self, digest_: str) -> str:
        """Where an item is, seen from the artifact that names it: both are in the same store."""
        place = self._artifacts.path(digest_)
        return f"../../{place.parent.name}/{place.name}"

    def _mapped_items(self, folder: Path) -> list[str]:
        with open(folder / _ITEMS, "rb") as file:
            return [json.loads(line)["digest"] for line in file]


_MAPPED = "mapped"
_ITEMS = "items.jsonl"


def mapped_items(expression: Any, values: Values) -> list[Any]:
    """One expression per item of an input that is mapped over.

    References become `{"$resolved": [DIGEST, EXPRESSION]}`, literals stay as they are.
    """
    if isinstance(expression, list):
        return expression
    (tag, payload), *_ = expression.items()
    if tag == "$output":
        return [{"$resolved": [item, path]} for item, path in values.items(*payload)]
    if tag == "$range":
        return list(range(*payload))
    assert tag == "$tuple", tag
    return list(payload)


def substitute(expression: Any, by: Callable[[str, str], Any]) -> Any:
    """The expression with `by(node, output)` in the place of each reference."""
    if isinstance(expression, dict):
        if len(expression) == 1:
            if "$output" in expression:
                return by(*expression["$output"])
            if "$resolved" in expression:
                item, path = expression["$resolved"]
                return path if by.__name__ == "as_path" else {"$artifact": item}
        return {key: substitute(each, by) for key, each in expression.items()}
    if isinstance(expression, list):
        return [substitute(each, by) for each in expression]
    return expression


def artifact_name(pipeline: str, node: Node, output: Output) -> str:
    """The declared name, else one of its own."""
    return output.artifact or f"{pipeline}/{node.id}/{output.name}"


def _wrong_sizes(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    wrong = []
    for name, file in manifest["files"].items():
        try:
            size = (folder / name).stat().st_size
        except OSError:
            wrong.append(f"`{name}` is missing")
            continue
        if size != file["size"]:
            wrong.append(f"`{name}` has {size} bytes instead of {file['size']}")
    return wrong


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()
