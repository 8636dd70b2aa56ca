"""Finishes a run that did not complete, with the code, locks and finished steps it has."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.client.artifacts import open_artifacts
from tilth.client.driving import cancelled_by_interrupt, drive_run
from tilth.client.lookup import find_run
from tilth.client.project import WorkingTree, code_in_image
from tilth.client.reopening import reopen_run
from tilth.engine import events
from tilth.engine.lease import Lease
from tilth.engine.values import Values
from tilth.errors import Conflict, NotFound
from tilth.home import Home
from tilth.records import Run, State, StepRun, now
from tilth.settings import home_folder
from tilth.store import Put, open_store, walk

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from tilth.artifact_stores import ArtifactStore
    from tilth.client.driving import RunOptions
    from tilth.client.recorded import RecordedRun
    from tilth.engine.environments import Code
    from tilth.store import Store


def resume(run: str, options: RunOptions, listener: events.Listener) -> Run:
    """Finish a run that was interrupted, cancelled or failed; completed steps are not repeated.

    Raises:
        Conflict: Another process drives it now, or it has completed.
    """
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        folder = home.runs / found.id
        with Lease(folder, found.name), cancelled_by_interrupt(store, found.id):
            found = store.get(Run, found.id)
            if found.state is State.COMPLETED:
                raise Conflict(f"run `{found.name}` has completed", mend="start a new run")
            return _resume(found, folder, options, listener, home, store)


def _resume(
    found: Run, folder: Path, options: RunOptions, listener: events.Listener, home: Home, store: Store
) -> Run:
    opened = reopen_run(found, options, store, home, listener)
    pipeline, options = opened.recorded.pipeline, opened.options
    tree = own_code(opened.recorded, folder, home, listener)
    steps = list(walk(store, StepRun, run=found.id))
    attempts: dict[tuple[str, int | None], int] = {}
    for each in steps:
        attempts[each.step, each.index] = max(each.attempt, attempts.get((each.step, each.index), 0))
    cached = {node.id for node in pipeline.nodes if node.cache and options.cache is not False}
    done = _still_whole(
        [each for each in steps if each.state.is_good],
        cached,
        open_artifacts(home, found.artifact_store),
        listener,
    )
    (folder / "cancel").unlink(missing_ok=True)
    fenced = msgspec.structs.replace(
        found, state=State.RUNNING, fence=found.fence + 1, finished_at=None, failure=None
    )
    run = store.replace(found, fenced)
    lost = [each for each in steps if each.state is State.RUNNING]
    store.write(
        [Put(msgspec.structs.replace(each, state=State.CANCELLED, finished_at=now())) for each in lost],
        holding=run,
    )
    return drive_run(
        run, pipeline, tree, opened.environments, options=options, listener=listener, home=home, store=store,
        secrets=opened.secrets, done=done, attempts=attempts,
        orchestrator=opened.running.orchestrator,
    )  # fmt: skip


def _still_whole(
    done: Sequence[StepRun], cached: Container[str], artifacts: ArtifactStore, listener: events.Listener
) -> list[StepRun]:
    """Those whose outputs are there as they were made; the others are made again.

    A damaged output is put aside, or it would be taken for what the attempt left behind.

    Args:
        cached: Steps whose outputs the driver will look for, find damaged, put aside and tell of.
    """
    values = Values(artifacts)
    whole = []
    for step in done:
        problems = {name: values.problems(ref.digest) for name, ref in step.outputs.items()}
        if not any(problems.values()):
            whole.append(step)
        for name, found in problems.items():
            if found and step.step not in cached:
                told = (
                    f"stored output `{name}` of step `{step.step}` is damaged ({found[0]}); it is made again"
                )
                with contextlib.suppress(NotFound):  # it is not there at all
                    told += f"; the damaged files are in {artifacts.quarantine(step.outputs[name].digest)}"
                listener(events.Notice(told))
    return whole


def own_code(
    recorded: RecordedRun,
    folder: Path,
    home: Home,
    listener: events.Listener,
    *,
    does: str = "it goes on with",
) -> Code:
    """A run's own code: the working tree when that has not changed, else its bundle, unpacked into `folder`.

    Args:
        does: What is told that a run does with the code it was started with, when the working tree is another.
    """
    from tilth.client.bundle import bundle_path
    from tilth.engine.archives import unpack

    found, pipeline = recorded.run, recorded.pipeline
    if found.images and found.code is not None and found.code.how == "image":
        return code_in_image(found.code, root=recorded.root, roots=recorded.roots, cwd=recorded.cwd)
    tree = WorkingTree(pipeline, roots=recorded.roots, cwd=recorded.cwd, bundle=found.bundle)
    changed = tree.changed(pipeline.sources)
    # Modules that may import any file of the project get the files the run was started with, whatever is here.
    if not changed and not pipeline.dynamic and Path(recorded.cwd).is_dir():
        return tree
    target = folder / "code"
    if not target.exists():
        unpack(bundle_path(found.bundle, home), target)
    listener(
        events.Notice(
            f"the working tree has changed since run `{found.name}` was started"
            + (f" (`{changed[0]}`)" if changed else "")
            + f": {does} the code it was started with"
        )
    )
    roots, cwd = recorded.moved(target)
    return WorkingTree(
        pipeline, roots=roots, cwd=cwd if Path(cwd).is_dir() else str(target), bundle=found.bundle
    )
