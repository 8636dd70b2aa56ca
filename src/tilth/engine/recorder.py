"""Makes the records of a run from what its steps did, and hands them to the journal."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.engine.values import artifact_name, substitute
from tilth.ir.values import digest
from tilth.records import Artifact, Failure, Json, OutputRef, State, StepRun, now
from tilth.runtime.context import hidden
from tilth.runtime.folder import read_events
from tilth.store import Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from tilth.artifact_stores import ArtifactStore
    from tilth.engine.environments import Environments
    from tilth.engine.journal import Journal
    from tilth.engine.nodes import Unit
    from tilth.engine.values import Values
    from tilth.ir.pipeline import Node, Output, Pipeline
    from tilth.records import Run
    from tilth.runtime.masking import Mask

_PRINTED = 4096  # characters of a literal input kept in a record


class Recorder:
    """Writes down one run. `metadata` gathers what steps logged for the run itself."""

    def __init__(
        self,
        run: Run,
        pipeline: Pipeline,
        *,
        journal: Journal,
        artifacts: ArtifactStore,
        values: Values,
        environments: Environments,
        mask: Mask,
    ) -> None:
        self._run = run
        self._pipeline = pipeline
        self._journal = journal
        self._artifacts = artifacts
        self._values = values
        self._environments = environments
        self._mask = mask
        self.metadata: dict[str, Json] = {}

    def begin(self, unit: Unit, attempt: int, *, started_at: datetime | None = None) -> StepRun:
        """The record of an attempt that starts now. Not written: see `running`."""
        node = unit.node
        inputs: dict[str, Json] = {}
        if unit.index is None:
            inputs = {name: self._shown(each) for name, each in node.inputs.items()}
        return StepRun(
            run=self._run.id,
            step=node.id,
            pipeline=self._pipeline.name,
            attempt=attempt,
            index=unit.index,
            state=State.RUNNING,
            cache_key=unit.key,
            cache_parts=dict(unit.parts),
            cache_reason=unit.reason,
            environment=self._environments.digest(node.environment),
            inputs=inputs,
            started_at=started_at or now(),
            fence=self._run.fence,
            tags=node.tags,
        )

    def running(self, record: StepRun) -> None:
        """An attempt was handed to a worker. Items are written when they end: there may be very many."""
        if record.index is None:
            self._journal.add(Put(record))

    def reused(self, unit: Unit, found: StepRun, reason: str) -> None:
        """A unit took the outputs of another step run."""
        record = msgspec.structs.replace(
            self.begin(unit, 1),
            state=State.CACHED,
            cache_reason=reason,
            outputs=found.outputs,
            reused_from=found.id if found.run else "",
            finished_at=now(),
        )
        self._journal.add(Put(record), shared=[each.digest for each in found.outputs.values()])

    def completed(
        self, unit: Unit, record: StepRun, folder: Path, result: Mapping[str, Any]
    ) -> dict[str, OutputRef]:
        """Take over what an attempt gave, and write it down; its folder goes when that is durable.

        Raises:
            DiskFull: An output cannot be taken over.
        """
        said = self._said(folder)
        changes: list[Put] = []
        fresh: list[str] = []
        outputs: dict[str, OutputRef] = {}
        for output in unit.node.outputs:
            manifest = result["outputs"][output.name]
            looks = tuple(manifest["visualizations"])
            place = self._take_over(folder / "outputs" / output.name, manifest["digest"])
            fresh.append(manifest["digest"])
            if looks:
                _keep_visualizations(folder / "visualizations" / output.name, place)
            self._values.know(manifest)
            identifier = ""
            if unit.index is None:
                artifact = self._artifact(
                    record, unit.node, output, manifest, looks, _metadata(said, output=output.name)
                )
                changes.append(Put(artifact))
                identifier = artifact.id
            outputs[output.name] = OutputRef(digest=manifest["digest"], artifact=identifier)
        changes += self._saved(record, folder, said, fresh)
        of_run = _metadata(said, run=True)
        self.metadata.update(of_run)
        done = msgspec.structs.replace(
            record,
            state=State.COMPLETED,
            outputs=outputs,
            finished_at=now(),
            seconds={**record.seconds, **result["seconds"]},
            metadata=_metadata(said),
            run_metadata=of_run,
        )
        self._journal.add(*changes, Put(done), artifacts=fresh, folder=folder)
        return outputs

    def collected(self, unit: Unit, record: StepRun, seconds: float, scratch: Path) -> dict[str, OutputRef]:
        """Write down a mapped step whose items have all given their outputs."""
        state = unit.state
        outputs: dict[str, OutputRef] = {}
        changes: list[Put] = []
        for output in unit.node.outputs:
            manifest = self._values.bundle(state.collected(output.name), scratch)
            artifact = self._artifact(record, unit.node, output, manifest, (), {})
            changes.append(Put(artifact))
            outputs[output.name] = OutputRef(digest=manifest["digest"], artifact=artifact.id)
        done = msgspec.structs.replace(
            record,
            state=State.COMPLETED,
            outputs=outputs,
            finished_at=now(),
            seconds={"total": round(seconds, 6)},
            metadata={"items": state.items, "reused": state.reused},
        )
        self._journal.add(*changes, Put(done), artifacts=[each.digest for each in outputs.values()])
        return outputs

    def failed(
        self,
        record: StepRun,
        failure: Failure,
        state: State,
        *,
        folder: Path | None = None,
        seconds: Any = None,
    ) -> None:
        """Write down an attempt, or a step, that did not complete. Its folder stays, to be looked at."""
        said = self._said(folder) if folder else []
        fresh: list[str] = []
        saved = self._saved(record, folder, said, fresh) if folder else []
        of_run = _metadata(said, run=True)
        self.metadata.update(of_run)
        ended = msgspec.structs.replace(
            record,
            state=state,
            failure=failure,
            finished_at=now(),
            metadata=_metadata(said),
            run_metadata=of_run,
            seconds={**record.seconds, **(seconds or {})},
        )
        self._journal.add(*saved, Put(ended), artifacts=fresh)

    def _said(self, folder: Path) -> list[Mapping[str, Any]]:
        """A step hides its own secrets; this hides those it got from another step."""
        return [hidden(event, self._mask) for event in read_events(folder)]

    def _take_over(self, folder: Path, digest_: str) -> Path:
        if not folder.exists() and self._artifacts.has(digest_):
            return self._artifacts.path(digest_)  # a driver before this one had adopted it already
        return self._artifacts.adopt(folder, digest_)

    def _shown(self, expression: Any) -> Json:
        """An input as kept in a record: references as digests, literals unless they are large."""
        shown = substitute(expression, self._values.as_reference)
        text = json.dumps(shown)
        return shown if len(text) <= _PRINTED else {"$large": digest(shown), "size": len(text)}

    def _artifact(
        self,
        record: StepRun,
        node: Node,
        output: Output,
        manifest: Mapping[str, Any],
        looks: tuple[str, ...],
        metadata: Mapping[str, Json],
    ) -> Artifact:
        return _described(
            manifest,
            name=artifact_name(self._pipeline.name, node, output),
            run=self._run.id,
            step_run=record.id,
            step=node.id,
            output=output.name,
            visualizations=looks,
            tags=(*output.tags, *((output.version,) if output.version else ())),
            metadata={**manifest.get("metadata", {}), **metadata},
        )

    def _saved(
        self, record: StepRun, folder: Path, said: Iterable[Mapping[str, Any]], fresh: list[str]
    ) -> list[Put]:
        """Artifacts that the step saved by hand; their digests go into `fresh`."""
        changes = []
        for event in said:
            if event.get("event") != "artifact":
                continue
            manifest = event["manifest"]
            self._take_over(folder / event["folder"], manifest["digest"])
            fresh.append(manifest["digest"])
            artifact = _described(
                manifest,
                name=event["name"],
                run=self._run.id,
                step_run=record.id,
                step=record.step,
                tags=tuple(event["tags"]),
                metadata={**manifest.get("metadata", {}), **event["metadata"]},
            )
            changes.append(Put(artifact))
        return changes


def _described(manifest: Mapping[str, Any], **more: Any) -> Artifact:
    """The record of a stored artifact; the store gives it the next version of its name."""
    told = {name: manifest[name] for name in ("digest", "type", "materializer", "format", "size")}
    return Artifact(version=0, length=manifest.get("length"), **told, **more)


def _metadata(
    said: Iterable[Mapping[str, Any]], *, output: str | None = None, run: bool = False
) -> dict[str, Json]:
    """The metadata that a step logged for itself, for one of its outputs or for the run."""
    found: dict[str, Json] = {}
    for event in said:
        if (
            event.get("event") == "metadata"
            and event.get("output") == output
            and event.get("run", False) == run
        ):
            found.update(event["metadata"])
    return found


def _keep_visualizations(folder: Path, artifact: Path) -> None:
    """Beside the artifact, not in it: its digest is of the value alone."""
    place = artifact.with_name(artifact.name + ".visualizations")
    if folder.is_dir() and not place.exists():
        with contextlib.suppress(OSError):  # another run put the same there meanwhile
            folder.rename(place)
