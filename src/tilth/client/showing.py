"""What a server is sent of a run, once, so that it can show it: the compiled pipeline, and the sources of its steps.

Both are named by their content, so what one run has sent no other sends again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from tilth.ir.values import canonical
from tilth.runtime.folder import read_json
from tilth.runtime.sources import normal_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tilth.store.http import Api

LARGEST = 1 << 20  # bytes of one source; nobody reads more than that on a page
_TOGETHER = 1000  # keys in one question


class Sendable(NamedTuple):
    """An object to send, and the digest of its content."""

    key: str
    content: bytes
    digest: str


def pipeline_key(digest: str) -> str:
    """Where a server keeps a compiled pipeline: its digest is that of its canonical text."""
    return f"pipelines/{digest.partition(':')[2]}.json"


def source_key(digest: str) -> str:
    """Where a server keeps the source of a module, with newlines normalised."""
    return f"sources/{digest.partition(':')[2]}.py"


def step_modules(pipeline: Mapping[str, Any]) -> list[str]:
    """The modules that the steps of a compiled pipeline are defined in."""
    return sorted({each["function"].partition(":")[0] for each in pipeline["nodes"]})


def find_source(pipeline: Mapping[str, Any], module: str, roots: list[str]) -> bytes | None:
    """The source of a module as it was compiled; None when its file is not that any more, or is none to read.

    Args:
        roots: Folders that modules were imported from.
    """
    file, digest = pipeline["files"].get(module, ""), pipeline["sources"].get(module, "")
    if not file.endswith(".py"):
        return None
    for root in roots:
        try:
            path = Path(root, file)
            content = normal_source(path) if path.stat().st_size <= LARGEST else b""
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue
        if _digest(content) == digest:
            return content
    return None


def to_send(folder: Path) -> Iterator[Sendable]:
    """What a server needs to show the run in this folder."""
    pipeline, project = read_json(folder / "pipeline.json"), read_json(folder / "project.json")
    if pipeline is None:
        return
    text = canonical(pipeline)
    yield Sendable(pipeline_key(_digest(text)), text, _digest(text))
    for module in step_modules(pipeline):
        content = find_source(pipeline, module, (project or {}).get("roots", []))
        if content is not None:
            yield Sendable(source_key(_digest(content)), content, _digest(content))


def send(folder: Path, api: Api, project: str, *, patience_s: float) -> None:
    """Send what the server does not have of the run in this folder."""
    path = f"/projects/{quote(project, safe='')}/objects"
    wanted = {each.key: each for each in to_send(folder)}
    keys = list(wanted)
    for at in range(0, len(keys), _TOGETHER):
        question = msgspec.json.encode({"keys": keys[at : at + _TOGETHER]})
        answer = api.request("POST", f"{path}/query", question, patience_s=patience_s)
        for each in msgspec.json.decode(answer)["items"]:
            del wanted[each["key"]]
    headers = {"Content-Type": "application/octet-stream"}
    for each in wanted.values():
        asked = urlencode({"digest": each.digest, "size": len(each.content)})
        api.request("PUT", f"{path}/{each.key}?{asked}", each.content, headers=headers, patience_s=patience_s)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
