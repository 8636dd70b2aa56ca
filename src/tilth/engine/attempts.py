"""One attempt to run one unit: prepares the folder, has it run, and reads how it ended."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.engine import events
from tilth.engine.logs import LogWriter, log_name
from tilth.errors import DiskFull, LoadError, StoreUnavailable, TilthError
from tilth.materializers.artifacts import verify
from tilth.orchestrators import Task
from tilth.records import Failure
from tilth.runtime.folder import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tilth.artifact_stores import ArtifactStore
    from tilth.engine.environments import Code, Environments
    from tilth.engine.nodes import Unit
    from tilth.engine.reuse import Reuse
    from tilth.engine.secrets import RunSecrets
    from tilth.engine.values import Values
    from tilth.ir.pipeline import Pipeline
    from tilth.orchestrators import Launcher, Outcome
    from tilth.records import Run


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: with a result, or with a failure."""

    folder: Path
    result: Mapping[str, Any]  # of the step's folder; may be empty after a failure
    failure: Failure | None = None
    notice: str = ""
    seconds: Mapping[str, float] | None = None
    peak_memory: int = 0
    log_bytes: int = 0


class Attempts:
    """Runs attempts of one run.

    Args:
        folder: The run's.
        resumed: Whether a driver before this one may have left finished attempts behind.
    """

    def __init__(
        self,
        run: Run,
        pipeline: Pipeline,
        *,
        folder: Path,
        launcher: Launcher,
        environments: Environments,
        code: Code,
        artifacts: ArtifactStore,
        values: Values,
        reuse: Reuse,
        listener: events.Listener,
        secrets: RunSecrets,
        resumed: bool,
    ) -> None:
        self._run = run
        self._pipeline = pipeline
        self._folder = folder
        self._launcher = launcher
        self._environments = environments
        self._code = code
        self._artifacts = artifacts
        self._values = values
        self._reuse = reuse
        self._tell = listener
        self._secrets = secrets
        self._resumed = resumed

    def folder(self, unit: Unit, attempt: int) -> Path:
        """Where an attempt's files are."""
        steps, node = self._folder / "steps", unit.node.id
        if unit.index is None:
            return steps / f"{node}.{attempt}"
        return (
            steps / "items" / node / f"{unit.index}.{attempt}"
        )  # `items` has no dot: it is no step's folder

    def left_behind(self, unit: Unit, last: int) -> Ended | None:
        """A finished attempt, up to number `last`, of a driver that ended before it could record it."""
        if not self._resumed:
            return None
        for attempt in range(last, 0, -1):
            folder = self.folder(unit, attempt)
            result, spec = read_json(folder / "result.json"), read_json(folder / "step.json")
            if not result or not spec or result["state"] != "completed" or spec.get("key") != unit.key:
                continue
            if all(
                self._is_whole(folder / "outputs" / name, made) for name, made in result["outputs"].items()
            ):
                return Ended(folder, result)
        return None

    async def run(self, unit: Unit, attempt: int) -> Ended:
        """Run one attempt; raises only when cancelled, and nothing of it goes on then."""
        return self._hidden(await self._run_once(unit, attempt))

    async def _run_once(self, unit: Unit, attempt: int) -> Ended:
        node = unit.node
        folder = self.folder(unit, attempt)
        if changed := self._code.changed(self._pipeline.closures[node.module]):
            failure = Failure(
                reason="changed",
                message=f"`{changed[0]}` was changed after the pipeline was compiled",
                mend="start the run again; steps that are not affected are taken from the cache",
            )
            return Ended(folder, {}, failure)
        clock = time.time()
        try:
            place = await self._environments.place(node.environment)
            made = time.time()
            await self._values.bring(node.sources())
            self._write_spec(unit, attempt, folder)
        except TilthError as error:
            reason = "disk_full" if isinstance(error, DiskFull) else "environment"
            if isinstance(error, (LoadError, StoreUnavailable)):
                reason = "input"
            message = "\n".join(filter(None, (error.summary, error.why)))
            return Ended(
                folder,
                {},
                Failure(reason=reason, type=type(error).__name__, message=message, mend=error.mend),
            )
        self._tell(events.StepStarted(node.id, unit.index, attempt))
        log = LogWriter(
            self._folder / "logs" / log_name(node.id, unit.index, attempt),
            lambda stream, text: self._tell(events.StepLine(node.id, unit.index, text, stream)),
            self._secrets.mask,
        )
        task = Task(
            label=node.id,
            folder=folder,
            python=place.python,
            environment=self._environments.digest(node.environment),
            prefix=place.prefix,
            conda=place.conda,
            variables=place.variables,
            secrets=self._secrets.variables(node),
            roots=self._code.roots,
            cwd=self._code.cwd,
            timeout_s=node.timeout_s,
            memory=node.resources.get("memory"),
            cpu=node.resources.get("cpu"),
            gpu=node.resources.get("gpu", 0),
            image=place.image,
            run=self._run.id,
            fresh=node.worker == "fresh",
        )
        launched = time.time()
        try:
            outcome = await self._launcher.run(task, log.write)
        except TilthError as error:
            return Ended(folder, {}, _environment_failure(error))
        except OSError as error:
            failure = Failure(
                reason="environment",
                type=type(error).__name__,
                message=f"no process could be started with `{place.python}`: {error.strerror}",
            )
            return Ended(folder, {}, failure)
        finally:
            log.close()
        seconds = {
            "queued": max(0.0, round(clock - unit.state.ready_at, 6)),
            "environment": round(made - clock, 6),
            "total": round(time.time() - launched, 6),
        }
        result = read_json(folder / "result.json") or {}
        return Ended(
            folder,
            result,
            self._failure(outcome, result),
            notice=outcome.notice,
            seconds=seconds,
            peak_memory=outcome.peak_memory,
            log_bytes=log.size,
        )

    def _hidden(self, ended: Ended) -> Ended:
        """How an attempt ended, without the secrets of the run: a step hides only its own."""
        mask, failure = self._secrets.mask, ended.failure
        if not mask:
            return ended
        if failure is not None:
            failure = msgspec.structs.replace(
                failure,
                message=mask.text(failure.message),
                traceback=mask.text(failure.traceback),
                mend=mask.text(failure.mend),
            )
        result = mask.fields(dict(ended.result), "inputs")
        return replace(ended, failure=failure, result=result, notice=mask.text(ended.notice))

    def _failure(self, outcome: Outcome, result: Mapping[str, Any]) -> Failure | None:
        if outcome.ended != "done":
            return Failure(reason=outcome.ended, message=outcome.detail)
        if result.get("fence") != self._run.fence:
            return Failure(
                reason="disk_full",
                message="the step could not write its result: no space is left for it",
                mend=f"make room, then `tilth runs resume {self._run.name}`",
            )
        if result["state"] == "completed":
            return None
        return Failure(
            reason="out_of_memory" if result["type"] == "MemoryError" else result["reason"],
            type=result["type"],
            message=result["message"],
            traceback=result["traceback"],
            mend=result.get("mend", ""),
        )

    def _is_whole(self, folder: Path, manifest: Mapping[str, Any]) -> bool:
        return not verify(folder) if folder.exists() else self._artifacts.has(manifest["digest"])

    def _write_spec(self, unit: Unit, attempt: int, folder: Path) -> None:
        node = unit.node
        spec = step_spec(
            unit,
            attempt,
            run=self._run,
            pipeline=self._pipeline,
            roots=self._code.roots,
            inputs=unit.state.inputs(unit.index, self._values),
            reuse=self._reuse,
        )
        try:
            try:
                folder.mkdir(parents=True)
            except FileExistsError:  # left by a driver that was killed
                shutil.rmtree(folder)
                folder.mkdir()
            write_json(folder / "step.json", spec)
        except OSError as error:
            raise DiskFull(
                f"the folder of step `{node.id}` cannot be written: {error.strerror}",
                why=str(folder),
                mend=f"make room, then `tilth runs resume {self._run.name}`",
            ) from error


def _environment_failure(error: TilthError) -> Failure:
    """Where a step was to run cannot be had."""
    reason = "disk_full" if isinstance(error, DiskFull) else "environment"
    message = "\n".join(filter(None, (error.summary, error.why)))
    return Failure(reason=reason, type=type(error).__name__, message=message, mend=error.mend)


def step_spec(
    unit: Unit,
    attempt: int,
    *,
    run: Run,
    pipeline: Pipeline,
    roots: Sequence[str],
    inputs: Mapping[str, Any],
    reuse: Reuse,
) -> dict[str, Any]:
    """What `step.json` says.

    Args:
        roots: Folders that modules are imported from.
        inputs: With paths in the places of references.
    """
    node = unit.node
    outputs = [
        {
            "name": each.name,
            "annotation": each.annotation,
            "type": each.type,
            "collection": each.collection,
            "readers": [sorted(reader) for reader in reuse.readers(node.id, each.name)],
        }
        for each in node.outputs
    ]
    spec = {
        "version": 1,
        "function": node.function,
        "environment": node.environment or "the client's",
        "key": unit.key,
        "fence": run.fence,
        "roots": roots,
        "inputs": inputs,
        "materializers": list(node.materializers),
        "outputs": outputs,
        "context": {
            "run_id": run.id,
            "run_name": run.name,
            "pipeline": pipeline.name,
            "step": node.id,
            "attempt": attempt,
            "index": unit.index,
            "parameters": pipeline.parameters,
            "extra": node.extra,
            "tags": list(node.tags),
        },
    }
    if node.secrets:
        spec["secrets"] = list(node.secrets)  # variables, whose values the step hides in what it tells
    return spec
