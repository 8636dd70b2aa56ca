"""What a step may ask and say while it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tilth.errors import DefinitionError
from tilth.runtime.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class StepContext:
    """The step that runs.

    Attributes:
        run_id: Id of the run.
        run_name: Name of the run, as `churn-12`.
        pipeline: Name of the pipeline.
        step: Id of the step in the graph.
        attempt: 1 for the first try.
        index: Of the item, in a mapped step; else None.
        parameters: The pipeline's parameters.
        extra: The step's `extra` option.
        tags: The step's tags.
    """

    def __init__(
        self, folder: Path, data: Mapping[str, Any], outputs: Sequence[str], mask: Mask | None = None
    ) -> None:
        self.run_id: str = data["run_id"]
        self.run_name: str = data["run_name"]
        self.pipeline: str = data["pipeline"]
        self.step: str = data["step"]
        self.attempt: int = data["attempt"]
        self.index: int | None = data["index"]
        self.tags: tuple[str, ...] = tuple(data["tags"])
        self._data = data
        self._folder = folder
        self._outputs = tuple(outputs)
        self._mask = mask or Mask()
        self._saved = 0

    @property
    def parameters(self) -> dict[str, Any]:
        """As the pipeline was called with them."""
        return self._decoded("parameters")

    @property
    def extra(self) -> dict[str, Any]:
        """As declared."""
        return self._decoded("extra")

    def _decoded(self, name: str) -> dict[str, Any]:
        from tilth.ir.values import (
            decode,
        )  # when it is asked for: types in it may be of modules not loaded here

        return {key: decode(each) for key, each in self._data[name].items()}

    def __repr__(self) -> str:
        item = "" if self.index is None else f"[{self.index}]"
        return f"<step `{self.step}`{item} of run `{self.run_name}`, attempt {self.attempt}>"

    def say(self, event: Mapping[str, Any]) -> None:
        """Append one event, without the step's secrets; it is on disk when this returns."""
        event = hidden(event, self._mask)
        with open(self._folder / "events.jsonl", "a", encoding="utf-8", errors="surrogatepass") as file:
            file.write(json.dumps(event) + "\n")


def hidden(event: Mapping[str, Any], mask: Mask) -> Mapping[str, Any]:
    """An event in which no secret is told."""
    if not mask:
        return event
    told = mask.fields(dict(event), "metadata", "name", "tags")
    if "manifest" in told:
        told["manifest"] = mask.fields(told["manifest"], "metadata")
    return told


_context: StepContext | None = None


def enter(context: StepContext | None) -> None:
    """Set or clear the step that runs in this process."""
    global _context
    _context = context


def get_step_context() -> StepContext:
    """The step that runs here.

    Raises:
        DefinitionError: No step runs here, as when its function is called by itself.
    """
    if _context is None:
        raise DefinitionError(
            "there is no step context here",
            why="it exists only while a pipeline runs the step",
            mend="guard the call when the function is also called by itself",
        )
    return _context


def log_metadata(metadata: Mapping[str, Any], *, output: str | None = None, run: bool = False) -> None:
    """Keep facts beside the step run, one of its outputs, or the run; later values of a key win.

    Outside a run this does nothing, so that a step's function can be called by itself.

    Args:
        metadata: Keys to any JSON values.
        output: Name of one of the step's outputs: keep it beside that artifact.
        run: Keep it beside the run.
    """
    if not isinstance(metadata, dict) or not all(isinstance(key, str) for key in metadata):
        raise DefinitionError(
            "`log_metadata` takes a dict with texts as keys", mend='write `log_metadata({"accuracy": 0.93})`'
        )
    plain = {key: _plain(key, value) for key, value in metadata.items()}
    if _context is None:
        return
    if output is not None and output not in _context._outputs:
        from tilth.errors import nearest

        raise DefinitionError(
            f"step `{_context.step}` has no output `{output}`", mend=nearest(output, _context._outputs)
        )
    target = {"output": output} if output is not None else {"run": True} if run else {}
    _context.say({"event": "metadata", "metadata": plain, **target})


def save_artifact(
    value: Any, name: str, *, tags: Sequence[str] = (), metadata: Mapping[str, Any] | None = None
) -> None:
    """Store a value under a name of its own, beside the step's outputs: a checkpoint, a diagnostic.

    It is recorded when the step ends, also when the step fails afterwards.
    """
    from tilth.define.artifacts import Artifact
    from tilth.materializers.artifacts import save_artifact as save

    named = Artifact(name, tags=tags)
    told = {key: _plain(key, each) for key, each in (metadata or {}).items()}
    context = get_step_context()
    context._saved += 1
    place = f"saved/{context._saved}"
    folder = context._folder / place
    folder.mkdir(parents=True)
    manifest = save(value, folder)
    manifest.pop("files", None)
    event = {"event": "artifact", "folder": place, "name": named.name, "tags": list(named.tags)}
    context.say({**event, "manifest": manifest, "metadata": told})


def load_artifact(name: str, version: int | None = None) -> Any:
    """The value of a stored artifact: its newest version, or the one given.

    In a step this does not make the step depend on the artifact: caching does not see it.
    """
    from tilth.runtime.client import Client

    return Client().get_artifact(name, version).load()


def _plain(key: str, value: Any) -> Any:
    """`value` as JSON; numbers of numpy and the like by their `item()`."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if value == value and abs(value) != float("inf") else str(float(value))
    if isinstance(value, dict):
        return {str(inner): _plain(f"{key}.{inner}", each) for inner, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(f"{key}[{index}]", each) for index, each in enumerate(value)]
    for method in ("isoformat", "item", "tolist"):
        if callable(getattr(value, method, None)):
            try:
                return _plain(key, getattr(value, method)())
            except (TypeError, ValueError):
                continue
    if hasattr(value, "__fspath__"):
        return str(value)
    raise DefinitionError(
        f"metadata `{key}` is a `{type(value).__name__}`, which JSON cannot hold",
        mend="give a number, text, list or dict; return larger things as an output",
    )
