"""Answers to what `Client` asks, as JSON: in a client's own process, and for steps through their supervisor.

A request is the name of a method and its parameters. Nothing here changes anything.
"""

from __future__ import annotations

import inspect
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from tilth.client import lookup
from tilth.client.artifacts import folder_of, holder
from tilth.client.reporting import run_folder
from tilth.engine.logs import log_name, read_log
from tilth.errors import NotFound, UnknownOption, nearest
from tilth.home import Home
from tilth.records import Artifact, Environment, Json, Lock, Record, Run, State, StepRun
from tilth.settings import home_folder
from tilth.store import Page, open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tilth.store import Store

R = TypeVar("R", bound=Record)
_NEWEST = 200  # names looked at for one that was meant


def answer(method: str, params: Mapping[str, Json]) -> Json:
    """Answer one request about the home folder of this process."""
    return _queries(home_folder()).answer(method, params)


_opening = threading.Lock()
_open: dict[Path, Queries] = {}  # of one home folder: the variable that names it seldom changes in a process


def _queries(root: Path) -> Queries:
    with _opening:
        if root not in _open:
            close()
            home = Home(root)
            _open[root] = Queries(open_store(home, to_read=True), home)
        return _open[root]


def close() -> None:
    """Close the store that `answer` opened; it opens another when it must."""
    while _open:
        _, queries = _open.popitem()
        queries.close()


class Queries:
    """Everything that can be asked, over one store."""

    def __init__(self, store: Store, home: Home) -> None:
        self._store = store
        self._home = home
        self._methods: dict[str, Callable[..., Json]] = {
            each.__name__: each
            for each in (
                self.get_run,
                self.get_latest_run,
                self.find_runs,
                self.find_step_runs,
                self.get_outputs,
                self.get_artifact,
                self.find_artifacts,
                self.get_artifact_folder,
                self.get_environment,
                self.find_environments,
                self.find_run_environments,
                self.get_lock,
                self.find_log_lines,
            )
        }

    def answer(self, method: str, params: Mapping[str, Json]) -> Json:
        """Call one of the methods below by name.

        Raises:
            UnknownOption: There is no such method, or it takes no such parameter.
            NotFound: What was asked for is not there.
        """
        function = self._methods.get(method)
        if function is None:
            raise UnknownOption(f"nothing answers `{method}`", mend=nearest(method, self._methods))
        try:
            inspect.signature(function).bind(**params)
        except TypeError as error:
            raise UnknownOption(f"`{method}` cannot be asked like this", why=str(error)) from error
        return function(**params)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def get_run(self, name: str) -> Json:
        return _json(self._run(name))

    def get_latest_run(self, pipeline: str) -> Json:
        found = self._store.find(Run, pipeline=pipeline, limit=1)
        if not found.items:
            known = {run.pipeline for run in self._store.find(Run, limit=_NEWEST)}
            raise NotFound(f"no run of pipeline `{pipeline}`", mend=nearest(pipeline, known))
        return _json(found.items[0])

    def find_runs(
        self,
        pipeline: str | None = None,
        state: str | list[str] | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Json:
        where = {**_given(pipeline=pipeline), **_states(state)}
        return _page(self._store.find(Run, limit=limit, after=after, **where))

    def find_step_runs(self, run: str, step: str | None = None, items: bool = False) -> Json:
        """The last attempt of each step of a run in the order they were started, or of each item of one."""
        if not items:
            where = _given(step=step)
            found: Iterable[StepRun] = walk(
                self._store, StepRun, order="created_at", run=run, index=None, **where
            )
            return [_json(each) for each in _last_attempts(found)]
        found = walk(self._store, StepRun, order="created_at", run=run, **_given(step=step))
        last = _last_attempts(each for each in found if each.index is not None)
        return [_json(each) for each in sorted(last, key=lambda each: each.index or 0)]

    def get_outputs(self, step_run: str) -> Json:
        """The artifacts that a step run gave, by name of the output."""
        record = self._store.get(StepRun, step_run)
        outputs: dict[str, Json] = {}
        for name, ref in record.outputs.items():
            if ref.artifact:
                outputs[name] = _json(self._store.get(Artifact, ref.artifact))
                continue
            manifest = holder(self._home, self._store, ref.digest, run=record.run).manifest(ref.digest)
            outputs[name] = _json(
                Artifact(
                    id="",
                    name=name,
                    digest=ref.digest,
                    run=record.run,
                    step_run=record.id,
                    step=record.step,
                    output=name,
                    created_at=record.finished_at or record.created_at,
                    type=manifest["type"],
                    materializer=manifest["materializer"],
                    format=manifest["format"],
                    size=manifest["size"],
                    length=manifest.get("length"),
                    metadata=manifest.get("metadata", {}),
                )
            )
        return outputs

    def get_artifact(self, name: str, version: int | str | None = None) -> Json:
        """By name, in its newest version, the numbered one or the newest with that label; or by id."""
        return _json(lookup.find_artifact(self._store, name if version is None else f"{name}@{version}"))

    def find_artifacts(
        self,
        name: str | None = None,
        run: str | None = None,
        digest: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Json:
        where = _given(name=name, run=run and self._run(run).id, digest=digest)
        return _page(self._store.find(Artifact, limit=limit, after=after, **where))

    def get_artifact_folder(self, digest: str) -> Json:
        """Where the files of an artifact are, to be read only."""
        return str(folder_of(self._home, self._store, digest))

    def get_environment(self, name: str) -> Json:
        """By name, as it was resolved last; or by digest or the beginning of one."""
        return _json(lookup.find_environment(self._store, name))

    def find_environments(
        self,
        name: str | None = None,
        role: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Json:
        where = _given(name=name, role=role)
        return _page(self._store.find(Environment, limit=limit, after=after, **where))

    def find_run_environments(self, run: str) -> Json:
        """Every environment of a run, of whatever role, under the names that the run has for them."""
        from tilth.client.subjects import environments_of_run  # here for cost: few ask

        return [_json(each) for each in environments_of_run(self._store, self._run(run))]

    def get_lock(self, digest: str) -> Json:
        """The text of a lock."""
        return self._store.get(Lock, digest).text

    def find_log_lines(self, run: str, step: str | None = None, items: bool = True) -> Json:
        """What the steps of a run printed, attempt after attempt, oldest first."""
        record = self._run(run)
        where: dict[str, Any] = _given(step=step)
        if not items:
            where["index"] = None
        step_runs = walk(self._store, StepRun, order="created_at", run=record.id, **where)
        lines = (line for each in step_runs for line in self._log(each))
        return [
            {**asdict(line), "time": line.time.isoformat()}
            for line in sorted(lines, key=lambda line: line.time)
        ]

    def _log(self, step_run: StepRun) -> Iterator[Any]:
        name = log_name(step_run.step, step_run.index, step_run.attempt)
        run = self._store.get(Run, step_run.run)
        path = run_folder(run, self._home, self._store) / "logs" / name
        return read_log(path, step_run.step, step_run.index, step_run.attempt)

    def _run(self, name: str) -> Run:
        return lookup.find_run(self._store, name)


def _json(record: Record) -> Json:
    return msgspec.to_builtins(record)


def _page(page: Page[R]) -> Json:
    return {"items": [_json(each) for each in page], "next": page.next}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _states(state: str | list[str] | None) -> dict[str, Any]:
    if state is None:
        return {}
    known = [each.value for each in State]
    for each in [state] if isinstance(state, str) else state:
        if each not in known:
            raise UnknownOption(f"`{each}` is no state", mend=nearest(each, known))
    return {"state": state}


def _last_attempts(step_runs: Iterable[StepRun]) -> list[StepRun]:
    """One of each step and index, in the order each was first tried."""
    last: dict[tuple[str, int | None], StepRun] = {}
    for each in step_runs:
        before = last.get((each.step, each.index))
        if before is None or before.attempt <= each.attempt:
            last[each.step, each.index] = each
    return list(last.values())
