"""Looks after runs that exist: cancel, delete, and what their steps printed."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING

import msgspec

from tilth.client.lookup import find_run
from tilth.client.reporting import ask_to_cancel, is_on_server, lease_of, run_folder
from tilth.engine.lease import is_held
from tilth.engine.logs import LogLine, read_log
from tilth.errors import (
    Conflict,
    NotFound,
    nearest,
)
from tilth.home import Home
from tilth.records import (
    Run,
    State,
    StepRun,
    now,
)
from tilth.runtime.folder import read_json
from tilth.settings import home_folder
from tilth.store import Delete, open_store, walk

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from tilth.store import Store


_FOLLOW_S = 0.2


def is_driven(run: Run, home: Home, store: Store) -> bool:
    """Whether some process drives a run now, here or elsewhere."""
    if is_held(home.runs / run.id):
        return True
    lease = lease_of(run, store)
    return lease is not None and bool(lease["held"])


def cancel(run: str) -> Run:
    """Ask the driver of a run to stop it, wait until it has, and give the run as it ended."""
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        if found.state.is_final:
            raise Conflict(f"run `{found.name}` is over: {found.state.value}")
        folder = home.runs / found.id
        with contextlib.suppress(FileNotFoundError):  # without its folder, nobody drives it here
            (folder / "cancel").touch()
        if not is_held(folder) and is_on_server(store) and is_driven(found, home, store):
            ask_to_cancel(found, store)
        while is_driven(found, home, store):
            time.sleep(_FOLLOW_S / 4)
        (folder / "cancel").unlink(missing_ok=True)
        found = store.get(Run, found.id)
        if not found.state.is_final:  # its driver was gone already
            found = store.replace(
                found, msgspec.structs.replace(found, state=State.CANCELLED, finished_at=now())
            )
        return found


def delete(run: str) -> None:
    """Forget a run, its step runs, logs and folder. Artifacts stay: other runs may use them."""
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        folder = home.runs / found.id
        if is_driven(found, home, store):
            raise Conflict(
                f"run `{found.name}` is running", mend=f"stop it first: `tilth runs cancel {found.name}`"
            )
        steps = [Delete(StepRun, each.id) for each in walk(store, StepRun, run=found.id)]
        store.write([*steps, Delete(Run, found.id)])
        shutil.rmtree(folder, ignore_errors=True)


def logs(run: str, step: str | None = None, attempt: int | None = None) -> Iterator[LogLine]:
    """What the steps of a run printed, step by step in the order they started."""
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        folder = run_folder(found, home, store)
    known = _steps(folder, found, step)
    for path, of in _log_files(folder, known, step, attempt):
        yield from read_log(path, *of)


def follow_logs(run: str, step: str | None = None, attempt: int | None = None) -> Iterator[LogLine]:
    """Like `logs`, and on as more is printed, until the run has ended."""
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        folder = run_folder(found, home, store)
        known = _steps(folder, found, step)
        sizes: dict[Path, int] = {}
        told: dict[Path, int] = {}
        while True:
            running = is_driven(found, home, store)
            if not is_held(folder):
                run_folder(found, home, store)
            for path, of in _log_files(folder, known, step, attempt, sizes):
                lines = list(read_log(path, *of))
                yield from lines[told.get(path, 0) :]
                told[path] = len(lines)
            if not running:
                return
            time.sleep(_FOLLOW_S)


def _steps(folder: Path, run: Run, step: str | None) -> frozenset[str]:
    """The steps of a run, `step` among them if it is given."""
    data = read_json(folder / "pipeline.json") or {"nodes": []}
    known = frozenset(each["id"] for each in data["nodes"])
    if step is not None and step not in known:
        raise NotFound(f"run `{run.name}` has no step `{step}`", mend=nearest(step, known))
    return known


def _log_files(
    folder: Path,
    known: Container[str],
    step: str | None,
    attempt: int | None,
    sizes: dict[Path, int] | None = None,
) -> list[tuple[Path, tuple[str, int | None, int]]]:
    """Log files and (step, index, attempt) of each, in the order they were begun.

    Args:
        sizes: How long each was the last time; only those that have grown are given, and noted in it.
    """
    found = []
    sizes = {} if sizes is None else sizes
    for path in (folder / "logs").glob("*.log"):
        parts = path.name[: -len(".log")].split(".")
        tried = int(parts.pop())
        name, index = ".".join(parts), None
        if len(parts) > 1 and name not in known:
            index = int(parts.pop())
            name = ".".join(parts)
        if step in (None, name) and attempt in (None, tried):
            with contextlib.suppress(FileNotFoundError):  # the run is being deleted
                size = path.stat().st_size
                if size <= sizes.get(path, 0):
                    continue
                sizes[path] = size
                with open(path, "rb") as file:
                    began = file.read(32)
                found.append((began, path, (name, index, tried)))
    return [(path, of) for _, path, of in sorted(found)]
