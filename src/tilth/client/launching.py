"""Drives one launch of a snapshot, in a process of its own that a runner started: nobody else is there.

What it is told lies in its folder, and its key in its variables. It realises the environment that the snapshot was
compiled in, compiles again there with the launch's parameters, and drives the run: from the start, or from where a
driver before it was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tilth import environments as envs
from tilth.client.bundle import Bundle, bundle_path
from tilth.client.compilation import compile_file
from tilth.client.driving import RunOptions
from tilth.client.environments import reopen
from tilth.client.resuming import resume
from tilth.client.running import running_on
from tilth.client.snapshots import as_given, compiled_key, find_launch, on_server, server_objects
from tilth.client.submit import Asked, start_compiled
from tilth.client.targets import CLIENT
from tilth.engine import events
from tilth.engine.archives import unpack
from tilth.engine.delivery import bundle_key
from tilth.environments.pylocks import with_paths
from tilth.environments.venvs import IN_IMAGE
from tilth.errors import (
    Conflict,
    DefinitionError,
    DiskFull,
    EnvironmentBroken,
    LoginNeeded,
    NotFound,
    ServerUnavailable,
    SetupError,
    TilthError,
)
from tilth.ir.pipeline import Pipeline
from tilth.records import CodeBundle, Component, Environment, Failure, Lock, Run, Snapshot
from tilth.records.launching import Launch
from tilth.runtime.folder import read_json, write_json
from tilth.settings import setting
from tilth.stack.assembled import AssembledStack
from tilth.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tilth.client.compilation import Compiled
    from tilth.environments import Locked
    from tilth.home import Home
    from tilth.store.http import HttpStore

LAUNCH, ENDED = "launch.json", "ended.json"
# Variables of a driver that is no run itself: `UID:GID` of the container of one, and options of this machine's engine.
OPTIONS = "TILTH_CONTAINER_OPTIONS"
RUNS_AS = "TILTH_RUNS_AS"
GIVEN_UP = 75  # exit code of a driver after which another may go on; EX_TEMPFAIL of sysexits.h


class Told(msgspec.Struct, frozen=True):
    """What a driver says last: why no run came of its launch, if that is so."""

    failure: Failure | None = None


class Ended(NamedTuple):
    """How driving a launch ended: an exit code, and with 0 what there is to tell."""

    code: int
    failure: Failure | None = None


@dataclass(frozen=True)
class Prepared:
    """A pipeline compiled from a snapshot, in the client environment made anew."""

    compiled: Compiled
    bundle: Bundle
    root: Path
    locks: dict[str, Locked]


def drive(folder: Path, home: Home, listener: events.Listener) -> int:
    """Drive the launch of a folder to its end, and write there how it went; nothing, where another is to go on.

    Returns:
        The exit code: `GIVEN_UP` where the server is away, or gave the launch to another.
    """
    told = read_json(folder / LAUNCH)
    launch, snapshot = msgspec.convert(told["launch"], Launch), msgspec.convert(told["snapshot"], Snapshot)
    if snapshot.image:
        from tilth.client.runner_containers import watch  # here for cost

        ended = watch(launch, snapshot, home)
    else:
        ended = _ended(lambda store: _drive(launch, snapshot, store, home, listener), home, listener)
    if ended.code == 0:
        write_json(folder / ENDED, msgspec.to_builtins(Told(ended.failure)))
    return ended.code


def drive_inside(id: str, home: Home, listener: events.Listener) -> Ended:  # noqa: A002
    """Drive the launch of an id to its end, in the container of the runner image of its snapshot."""

    def work(store: HttpStore) -> None:
        launch = find_launch(store, id)
        if not launch.state.is_final:
            _drive(launch, store.get(Snapshot, launch.snapshot), store, home, listener)

    return _ended(work, home, listener)


def _ended(work: Callable[[HttpStore], None], home: Home, listener: events.Listener) -> Ended:
    try:
        with open_store(home) as store:
            work(on_server(store))
    except (ServerUnavailable, LoginNeeded, Conflict) as error:
        listener(events.Notice(str(error)))
        return Ended(GIVEN_UP)
    except TilthError as error:
        failure = failure_of(error)
    except OSError as error:
        failure = Failure(reason="exception", type=type(error).__name__, message=str(error))
    else:
        return Ended(0)
    listener(events.Notice(failure.message))
    return Ended(0, failure)


def failure_of(error: TilthError) -> Failure:
    """What is recorded of a launch that nothing came of."""
    reason = "environment" if isinstance(error, SetupError) else "exception"
    if isinstance(error, DefinitionError):
        reason = "definition"
    elif isinstance(error, DiskFull):
        reason = "disk_full"
    message = "\n".join(filter(None, (error.summary, error.why)))
    return Failure(reason=reason, type=type(error).__name__, message=message, mend=error.mend)


def _drive(
    launch: Launch, snapshot: Snapshot, store: HttpStore, home: Home, listener: events.Listener
) -> None:
    run = _recorded(store, launch.run)
    if run is not None and run.state.is_final:
        return
    folder = home.runs / launch.run
    offline = setting("offline") == "1"
    _fetch_code(snapshot, home, folder / "code")
    with _client_python(snapshot, store, home, folder / "code", listener, offline=offline) as python:
        if run is not None and (folder / "pipeline.json").exists():
            resume(run.id, RunOptions(), listener)
            return
        prepared = _prepare(launch, snapshot, store, home, python)
        running = running_on(
            _stack(snapshot, prepared.root, home),
            root=prepared.root,
            interpreter=prepared.compiled.interpreter,
            home=home,
            tell=lambda text: listener(events.Notice(text)),
            offline=offline,
        )
        options = msgspec.convert(snapshot.options, RunOptions)
        if run is None:
            asked = Asked(
                run=launch.run,
                snapshot=snapshot.id,
                bundle=prepared.bundle,
                git=snapshot.git,
                locks=prepared.locks,
            )
            start_compiled(prepared.compiled, running, options, listener, home, store, asked)
            return
        _take_over(run, prepared, running.pipeline(prepared.compiled.pipeline), folder)
        resume(run.id, RunOptions(), listener)


@contextlib.contextmanager
def _client_python(
    snapshot: Snapshot, store: HttpStore, home: Home, root: Path, listener: events.Listener, *, offline: bool
) -> Iterator[Path]:
    """The interpreter of what the snapshot was compiled in: in its image it is there, elsewhere it is made."""
    if snapshot.image:
        yield Path(IN_IMAGE, "bin", "python")
        return
    lock = _client_lock(snapshot, store, home, root, offline=offline)
    listener(events.EnvironmentStarted(CLIENT, "making"))
    realised, held = envs.use(lock, home, offline=offline)
    with contextlib.closing(held):
        yield realised.python


def _recorded(store: HttpStore, id: str) -> Run | None:  # noqa: A002
    try:
        return store.get(Run, id)
    except NotFound:
        return None


def _fetch_code(snapshot: Snapshot, home: Home, target: Path) -> None:
    archive = bundle_path(snapshot.bundle, home)
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        server_objects(home).get(bundle_key(snapshot.bundle), archive)
    if not target.exists():
        unpack(archive, target)
    # Steps start where the snapshot was made, if that is a folder of the project.
    place = target / snapshot.folder
    os.chdir(place if place.is_dir() else target)


def _client_lock(snapshot: Snapshot, store: HttpStore, home: Home, root: Path, *, offline: bool) -> Locked:
    """The lock of what the snapshot was compiled in, for this platform."""
    here = envs.probe(Path(sys.executable), home)
    if here.platform not in snapshot.locks:
        raise SetupError(
            f"snapshot `{snapshot.label}` is not locked for {here.platform}",
            why=f"it is for {', '.join(sorted(snapshot.locks))}",
            mend=f"make it again for this runner: `tilth snapshots create … --platform {here.platform}`",
        )
    records = {CLIENT: snapshot.locks[here.platform]}
    return _open(records, snapshot, store, home, root, {CLIENT: {"name": CLIENT}}, offline=offline)[CLIENT]


def _open(
    digests: dict[str, str],
    snapshot: Snapshot,
    store: HttpStore,
    home: Home,
    root: Path,
    declared: dict[str, dict[str, Any]],
    *,
    offline: bool,
) -> dict[str, Locked]:
    """Locks by the digests of their environments; what lies in the project's folders is in this one's."""
    found, moved = {}, set()
    for name, digest in digests.items():
        environment = store.get(Environment, digest)
        lock = store.get(Lock, environment.lock)
        text = with_paths(lock.text, lambda path: _moved(path, snapshot.root, root))
        if text != lock.text:
            moved.add(name)
        found[name] = environment, msgspec.structs.replace(lock, text=text)
    here = envs.probe(Path(sys.executable), home)
    opened = reopen(found, root=root, interpreter=here, home=home, declared=declared, offline=offline)
    for name, each in opened.items():
        # What is built from the project's own folders is built anew; all else is what its digest says.
        if each.digest != digests[name] and name not in moved:
            raise EnvironmentBroken(
                f"environment `{name}` cannot be had any more as snapshot `{snapshot.label}` locked it",
                why=f"its digest would be {each.digest}",
                mend="make the snapshot again: it locks what can be had today",
            )
    return opened


def _moved(path: str, before: str, root: Path) -> str:
    inside = Path(path)
    return str(root / inside.relative_to(before)) if before and inside.is_relative_to(before) else path


def _prepare(launch: Launch, snapshot: Snapshot, store: HttpStore, home: Home, python: Path) -> Prepared:
    root = home.runs / launch.run / "code"
    target = str(root / snapshot.file) + (f":{snapshot.function}" if snapshot.function else "")
    given = as_given({**snapshot.parameters, **launch.parameters})
    compiled = compile_file(target, given, home=home, python=str(python), root=root)
    code = store.get(CodeBundle, snapshot.bundle)
    bundle = Bundle(snapshot.bundle, bundle_path(snapshot.bundle, home), code.files, code.size, created=False)
    return Prepared(compiled, bundle, root, _step_locks(snapshot, compiled, store, home, root))


def _step_locks(
    snapshot: Snapshot, compiled: Compiled, store: HttpStore, home: Home, root: Path
) -> dict[str, Locked]:
    """The locks of the snapshot, of those environments that are declared as they were then and run here.

    Those for a base image are found by the stack itself: what they stand on is looked up there.
    """
    text = server_objects(home).read(compiled_key(snapshot.compiled), digest=snapshot.compiled)
    then = Pipeline.from_json(json.loads(text)).environments
    now = compiled.pipeline.environments
    wanted = {}
    for name, digest in snapshot.environments.items():
        if now.get(name) != then.get(name) or now.get(name, {}).get("image"):
            continue
        environment = store.get(Environment, digest)
        if environment.platform == compiled.interpreter.platform and not environment.base:
            wanted[name] = digest
    return _open(wanted, snapshot, store, home, root, now, offline=setting("offline") == "1")


def _stack(snapshot: Snapshot, root: Path, home: Home) -> AssembledStack:
    """The stack as it was when the snapshot was made, whatever its components have become."""
    components = {
        type_: Component(
            project="", type=type_, name=used.component, flavor=used.flavor, settings=used.settings
        )
        for type_, used in snapshot.components.items()
    }
    stack = AssembledStack(snapshot.stack, components, "the snapshot")
    if not snapshot.image:
        return stack
    from tilth.client.runner_images import stack_of_steps, starter_of  # here for cost

    return stack_of_steps(stack, starter_of(stack, root, home))


def _take_over(run: Run, prepared: Prepared, pipeline: Pipeline, folder: Path) -> None:
    """Lay down what going on with a run needs, that was begun on another machine."""
    if pipeline.digest() != run.pipeline_digest:
        raise DefinitionError(
            f"run `{run.name}` cannot be continued here: it was compiled to other steps",
            why="its pipeline gives other steps each time it is called, or on each machine",
            mend="build the graph from the pipeline's parameters and sources alone",
        )
    folder.mkdir(parents=True, exist_ok=True)
    project = {
        "root": str(prepared.root),
        "roots": list(prepared.compiled.roots),
        "cwd": str(Path.cwd()),
        "python": prepared.compiled.interpreter.executable,
    }
    write_json(folder / "project.json", project)
    write_json(folder / "pipeline.json", pipeline.to_json())
