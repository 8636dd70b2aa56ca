"""What a run's steps gave, by digest, and what stands for it in the inputs of later steps."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tilth.environments import background
from tilth.errors import LoadError, NotFound
from tilth.ir.values import canonical, digest
from tilth.materializers.artifacts import collection_items, read_manifest, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tilth.artifact_stores import ArtifactStore
    from tilth.ir.pipeline import Node, Output
    from tilth.records import OutputRef

_READ_AGAIN = 8 << 20  # bytes up to which a stored value is digested again before it is reused


class Values:
    """Outputs of the steps of one run, and what is known of their artifacts: little of each, they may be many."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._outputs: dict[tuple[str, str], OutputRef] = {}
        self._requires: dict[str, frozenset[str]] = {}  # of artifacts that are known to be whole
        self._shared: dict[frozenset[str], frozenset[str]] = {}

    def give(self, node: str, outputs: Mapping[str, OutputRef]) -> None:
        """A node's outputs are there."""
        for name, ref in outputs.items():
            self._outputs[node, name] = ref

    def know(self, manifest: Mapping[str, Any]) -> None:
        """What is known of an artifact that was just made."""
        requires = frozenset(manifest["requires"])
        self._requires[manifest["digest"]] = self._shared.setdefault(requires, requires)

    def problems(self, digest_: str) -> list[str]:
        """What is wrong with a stored artifact: all of a small one is read, of a large one sizes are compared."""
        if digest_ in self._requires:
            return []
        try:
            manifest = self._artifacts.manifest(digest_)
        except (LoadError, NotFound, OSError) as error:
            return [str(getattr(error, "summary", error))]
        if manifest["digest"] != digest_:
            return ["its manifest is that of another artifact"]
        if not self._artifacts.is_here(digest_):  # compared when it is brought, if any step needs it
            self.know(manifest)
            return []
        folder = self._artifacts.path(digest_)
        if manifest["format"] == _MAPPED:
            problems = [each for item in self._mapped_items(folder) for each in self.problems(item)]
        elif manifest["size"] <= _READ_AGAIN:
            problems = verify(folder)
        else:
            problems = _wrong_sizes(folder, manifest)
        if not problems:
            self.know(manifest)
        return problems

    def requires(self, digest_: str) -> frozenset[str]:
        """Import names that a reader of this artifact needs."""
        if digest_ not in self._requires:
            self.know(self._artifacts.manifest(digest_))
        return self._requires[digest_]

    async def bring(self, sources: Iterable[tuple[str, str]]) -> None:
        """Have these outputs on this machine; nothing else waits for that."""
        digests = [self._outputs[each].digest for each in sources if each in self._outputs]
        for digest_ in digests:
            if not self._artifacts.is_here(digest_):
                await asyncio.wrap_future(background.in_thread(partial(self._artifacts.path, digest_)))

    def items(self, node: str, output: str) -> Items:
        """The items of an output that is mapped over."""
        folder = self._artifacts.path(self._outputs[node, output].digest)
        if read_manifest(folder)["format"] == _MAPPED:
            return Items(self._mapped_items(folder), lambda digest_, _: self.artifact(digest_))
        place = str(folder)
        return Items(
            [each.digest for each in collection_items(folder)], lambda _, index: {"$item": [place, index]}
        )

    def artifact(self, digest_: str) -> Any:
        """What stands for an artifact in a step's folder."""
        return {"$artifact": str(self._artifacts.path(digest_))}

    def as_digest(self, node: str, output: str) -> Any:
        """What stands for an output where only its content matters."""
        return {"$artifact": self._outputs[node, output].digest}

    def as_path(self, node: str, output: str) -> Any:
        """What stands for an output in a step's folder."""
        return self.artifact(self._outputs[node, output].digest)

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


class Items(Sequence[Any]):
    """One expression per item of an output: `{"$resolved": [DIGEST, EXPRESSION THAT LOADS IT]}`."""

    def __init__(self, digests: list[str], load: Callable[[str, int], Any]) -> None:
        self._digests = digests
        self._load = load

    def __len__(self) -> int:
        return len(self._digests)

    def __getitem__(self, index: Any) -> Any:
        digest_ = self._digests[index]
        return {"$resolved": [digest_, self._load(digest_, index)]}


def mapped_items(expression: Any, values: Values) -> Sequence[Any]:
    """One expression per item of an input that is mapped over; literals stay as they are."""
    if isinstance(expression, list):
        return expression
    (tag, payload), *_ = expression.items()
    if tag == "$output":
        return values.items(*payload)
    if tag == "$range":
        return list(range(*payload))
    assert tag == "$tuple", tag
    return list(payload)


def substitute(expression: Any, by: Callable[[str, str], Any], *, loading: bool = False) -> Any:
    """The expression with `by(node, output)` in the place of each reference.

    Args:
        loading: Put into the places of items what loads them, rather than their digests.
    """
    if isinstance(expression, dict):
        if len(expression) == 1:
            if "$output" in expression:
                return by(*expression["$output"])
            if "$resolved" in expression:
                item, path = expression["$resolved"]
                return path if loading else {"$artifact": item}
        return {key: substitute(each, by, loading=loading) for key, each in expression.items()}
    if isinstance(expression, list):
        return [substitute(each, by, loading=loading) for each in expression]
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
