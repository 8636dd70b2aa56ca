"""Runs on this machine: start one, plan one, and look after those that exist."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tilth import __version__
from tilth.artifact_stores import LocalArtifactStore
from tilth.client.compilation import Compiled, compile_call, compile_file, in_client
from tilth.client.environments import ProjectEnvironments, reopen
from tilth.client.imports import check_imports
from tilth.client.project import WorkingTree
from tilth.engine import events
from tilth.engine.driver import Driver
from tilth.engine.lease import Lease, is_held
from tilth.engine.logs import LogLine, read_log
from tilth.engine.resources import this_machine
from tilth.engine.values import Values
from tilth.environments import probe
from tilth.errors import (
    Conflict,
    DefinitionError,
    IndexUnavailable,
    NotFound,
    RunCancelled,
    RunFailed,
    SetupError,
    UnknownOption,
    nearest,
)
from tilth.home import Home
from tilth.ir.pipeline import Pipeline
from tilth.records import (
    ClientEnvironment,
    CodeBundle,
    Environment,
    Lock,
    Package,
    Run,
    State,
    StepRun,
    now,
)
from tilth.runtime.folder import read_json, write_json
from tilth.settings import home_folder, setting, worker_count
from tilth.store import Delete, Put, open_store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from tilth import runtime
    from tilth.client.bundle import Bundle
    from tilth.client.plan import Plan
    from tilth.define import Pipeline as Defined
    from tilth.orchestrators import Launcher
    from tilth.records import Git
    from tilth.store import SqlStore

_FOLLOW_S = 0.2


@dataclass(frozen=True)
class RunOptions:
    """Options of one run; absent ones are the pipeline's."""

    cache: bool | None = None
    failure_mode: str | None = None
    workers: int | None = None
    in_process: bool = False
    offline: bool = False
    upgrade: bool = False
    python: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Those that differ from their defaults."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in given.items() if value not in (None, False)}


def call(pipeline: Defined, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> runtime.client.Run:
    """What calling a pipeline in Python does.

    Raises:
        RunFailed, RunCancelled: The run did not complete.
    """
    _refuse_unguarded(pipeline)
    home = Home(home_folder())
    compiled = compile_call(pipeline, args, kwargs, home=home)
    from tilth.client.progress import listener

    with listener() as progress:
        run = _start(compiled, RunOptions(), progress, home)
    _raise_unless_completed(run)
    from tilth.runtime.client import Client

    return Client().get_run(run.id)


def run_file(
    target: str, parameters: Mapping[str, str], options: RunOptions, listener: events.Listener
) -> Run:
    """Compile `FILE[:PIPELINE]` and run it; gives the run as it ended, completed or not."""
    home = Home(home_folder())
    compiled = compile_file(target, parameters, home=home, python=_python(options))
    return _start(compiled, options, listener, home)


def plan_file(target: str, parameters: Mapping[str, str], options: RunOptions) -> Plan:
    """What running `FILE[:PIPELINE]` would do. Locks, makes and records nothing."""
    from tilth.client.bundle import bundle_digest
    from tilth.client.plan import plan

    home = Home(home_folder())
    compiled = compile_file(target, parameters, home=home, python=_python(options))
    environments = ProjectEnvironments(
        compiled.pipeline, root=compiled.code.root, interpreter=compiled.interpreter, home=home
    )
    environments.find_locks()
    missing, unknown = check_imports(compiled.pipeline, environments, home)
    with contextlib.closing(open_store(home)) as store:
        return plan(
            compiled.pipeline,
            environments=environments,
            store=store,
            artifacts=LocalArtifactStore(home.artifacts),
            home=home,
            bundle=bundle_digest(compiled.code, home) if compiled.pipeline.dynamic else "",
            cache_on=options.cache,
            warnings=[*missing, *unknown],
        )


def resume(run: str, options: RunOptions, listener: events.Listener) -> Run:
    """Finish a run that was interrupted, cancelled or failed; completed steps are not repeated.

    Raises:
        Conflict: Another process drives it now, or it has completed.
    """
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        folder = home.runs / found.id
        with Lease(folder, found.name):
            found = store.get(Run, found.id)
            if found.state is State.COMPLETED:
                raise Conflict(f"run `{found.name}` has completed", mend="start a new run")
            return _resume(found, folder, options, listener, home, store)


def cancel(run: str) -> Run:
    """Ask the driver of a run to stop it, wait until it has, and give the run as it ended."""
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        if found.state.is_final:
            raise Conflict(f"run `{found.name}` has ended: it {found.state.value}")
        folder = home.runs / found.id
        (folder / "cancel").touch()
        while is_held(folder):
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
        if is_held(folder):
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
        folder = home.runs / found.id
        known = _steps(folder)
    if step is not None and step not in known:
        raise NotFound(f"run `{found.name}` has no step `{step}`", mend=nearest(step, known))
    for path, of in _log_files(folder, step, attempt):
        yield from read_log(path, *of)


def follow_logs(run: str, step: str | None = None, attempt: int | None = None) -> Iterator[LogLine]:
    """Like `logs`, and on as more is printed, until the run has ended."""
    home = Home(home_folder())
    with contextlib.closing(open_store(home)) as store:
        found = find_run(store, run)
        folder = home.runs / found.id
        seen: dict[Path, int] = {}
        while True:
            running = is_held(folder)
            for path, of in _log_files(folder, step, attempt):
                lines = list(read_log(path, *of))
                yield from lines[seen.get(path, 0) :]
                seen[path] = len(lines)
            if not running:
                return
            time.sleep(_FOLLOW_S)


def find_run(store: SqlStore, name: str) -> Run:
    """The run with this name, id, or beginning of an id.

    Raises:
        NotFound: There is none, or more than one id begins so.
    """
    page = store.find(Run, name=name, limit=1)
    found = page.items or (store.find(Run, id_prefix=name, limit=2).items if len(name) >= 4 else [])
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(
            f"more than one run's id begins with `{name}`", mend="give more of it, or the run's name"
        )
    recent = [each.name for each in store.find(Run, limit=200).items]
    raise NotFound(
        f"there is no run `{name}`", mend=nearest(name, recent) if recent else "no pipeline has been run yet"
    )


def _python(options: RunOptions) -> str | None:
    if options.in_process:
        return sys.executable
    return options.python or setting("python") or None


def _start(compiled: Compiled, options: RunOptions, listener: events.Listener, home: Home) -> Run:
    """Record a new run of a compiled pipeline and drive it to its end."""
    from tilth.client.bundle import git_state, make_bundle

    _check(options)
    if options.in_process:
        compiled = in_client(compiled)
    pipeline = compiled.pipeline
    offline = options.offline or setting("offline") == "1"
    environments = ProjectEnvironments(
        pipeline,
        root=compiled.code.root,
        interpreter=compiled.interpreter,
        home=home,
        offline=offline,
        listener=listener,
    )
    with contextlib.closing(open_store(home)) as store:
        git = _InBackground(lambda: git_state(compiled.code.root))
        bundle: Bundle = make_bundle(compiled.code, home)
        environments.make_locks(upgrade=options.upgrade)
        _refuse_missing_imports(pipeline, environments, home, listener)
        capacity = this_machine(options.workers or worker_count())
        capacity.check(pipeline.nodes)
        run = Run(
            name="",
            number=0,
            pipeline=pipeline.name,
            parameters=pipeline.parameters,
            pipeline_digest=pipeline.digest(),
            bundle=bundle.digest,
            environments=environments.digests(),
            client=_client_environment(compiled, environments, git.result()),
            options=options.to_json(),
            steps=len(pipeline.nodes),
            started_at=now(),
            tags=pipeline.tags,
        )
        folder = home.runs / run.id
        folder.mkdir(parents=True)
        write_json(folder / "pipeline.json", pipeline.to_json())
        write_json(
            folder / "project.json",
            {"root": str(compiled.code.root), "roots": list(compiled.roots), "cwd": os.getcwd(),
             "python": compiled.interpreter.executable},
        )  # fmt: skip
        with Lease(folder, run.id):
            run = store.start_run(run)
            code = CodeBundle(
                id=bundle.digest, size=bundle.size, files=bundle.files, root=str(compiled.code.root)
            )
            store.write([*environments.records(), Put(code)])
            tree = WorkingTree(pipeline, roots=compiled.roots, cwd=os.getcwd(), bundle=bundle.digest)
            return _drive(
                run, pipeline, tree, environments, options=options, listener=listener, home=home, store=store
            )


def _resume(
    found: Run, folder: Path, options: RunOptions, listener: events.Listener, home: Home, store: SqlStore
) -> Run:
    data, project = read_json(folder / "pipeline.json"), read_json(folder / "project.json")
    if data is None or project is None:
        raise SetupError(f"the folder of run `{found.name}` is incomplete: {folder}", mend="start a new run")
    pipeline = Pipeline.from_json(data)
    python = Path(project["python"])
    if not python.exists():
        raise SetupError(
            f"the interpreter that run `{found.name}` was started with is gone: {python}",
            mend="start a new run",
        )
    interpreter = probe(python, home)
    roots, cwd = _own_code(found, pipeline, project, folder, home, listener)
    known = {
        name: (environment := store.get(Environment, digest), store.get(Lock, environment.lock))
        for name, digest in found.environments.items()
    }
    locks = reopen(
        known, root=Path(project["root"]), interpreter=interpreter, home=home, declared=pipeline.environments
    )
    options = msgspec.convert({**found.options, **options.to_json()}, RunOptions)
    environments = ProjectEnvironments(
        pipeline,
        root=Path(project["root"]),
        interpreter=interpreter,
        home=home,
        offline=options.offline,
        given=locks,
        listener=listener,
    )
    steps = list(walk(store, StepRun, run=found.id))
    attempts: dict[tuple[str, int | None], int] = {}
    for each in steps:
        attempts[each.step, each.index] = max(each.attempt, attempts.get((each.step, each.index), 0))
    values = Values(LocalArtifactStore(home.artifacts))  # what was lost or damaged since is made again
    done = [
        each
        for each in steps
        if each.state.is_good and not any(values.problems(ref.digest) for ref in each.outputs.values())
    ]
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
    tree = WorkingTree(pipeline, roots=roots, cwd=cwd, bundle=found.bundle)
    return _drive(
        run, pipeline, tree, environments, options=options, listener=listener, home=home, store=store, done=done,
        attempts=attempts,
    )  # fmt: skip


def _own_code(
    found: Run,
    pipeline: Pipeline,
    project: Mapping[str, Any],
    folder: Path,
    home: Home,
    listener: events.Listener,
) -> tuple[tuple[str, ...], str]:
    """Where a run's own code is: the working tree when that has not changed, else its bundle, unpacked."""
    from tilth.client.bundle import bundle_path, unpack

    roots, root, cwd = tuple(project["roots"]), Path(project["root"]), project["cwd"]
    tree = WorkingTree(pipeline, roots=roots, cwd=cwd, bundle=found.bundle)
    changed = tree.changed(pipeline.sources)
    if not changed and Path(cwd).is_dir():
        return roots, cwd
    target = folder / "code"
    if not target.exists():
        unpack(bundle_path(found.bundle, home), target)
    listener(
        events.Notice(
            f"the working tree has changed since run `{found.name}` was started"
            + (f" (`{changed[0]}`)" if changed else "")
            + ": it goes on with the code it was started with"
        )
    )

    def moved(path: str) -> str:
        return str(target / Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path

    there = moved(cwd)
    return tuple(map(moved, roots)), there if Path(there).is_dir() else str(target)


def _drive(
    run: Run,
    pipeline: Pipeline,
    tree: WorkingTree,
    environments: ProjectEnvironments,
    *,
    options: RunOptions,
    listener: events.Listener,
    home: Home,
    store: SqlStore,
    done: list[StepRun] | None = None,
    attempts: Mapping[tuple[str, int | None], int] | None = None,
) -> Run:
    clock = time.perf_counter()
    workers = options.workers or worker_count()
    listener(events.RunStarted(run, pipeline, resumed=done is not None))

    async def drive() -> Run:
        driver = Driver(
            run,
            pipeline,
            folder=home.runs / run.id,
            store=store,
            artifacts=LocalArtifactStore(home.artifacts),
            launcher=_launcher(options, workers, listener, lambda: driver.settle()),
            environments=environments,
            code=tree,
            capacity=this_machine(workers),
            listener=listener,
            cache_on=options.cache,
            failure_mode=options.failure_mode or pipeline.failure_mode,
            done=done or (),
            attempts=attempts,
        )
        with _interrupts(driver.cancel):
            return await driver.drive()

    ended = _run_loop(drive)
    for told in environments.check_unchanged():
        listener(events.Notice(told))
    listener(events.RunFinished(ended, time.perf_counter() - clock))
    return ended


def _launcher(
    options: RunOptions, workers: int, listener: events.Listener, settle: Callable[[], None]
) -> Launcher:
    from tilth.client.queries import answer

    def answer_settled(method: str, params: dict[str, Any]) -> Any:
        settle()  # a step may ask for what the steps before it gave, which is written behind them
        return answer(method, params)

    if options.in_process:
        from tilth.orchestrators.in_process import InProcessLauncher

        listener(
            events.Notice(
                "steps run in this process: one at a time, in this interpreter whatever environment they declare, "
                "and a step that crashes ends the run"
            )
        )
        return InProcessLauncher(answer_settled)
    from tilth.orchestrators.local import LocalLauncher

    return LocalLauncher(keep=4 * workers, answer=answer_settled)


def _run_loop(drive: Callable[[], Any]) -> Run:
    """Run to the end, also where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return cast("Run", asyncio.run(drive()))
    ended: list[Run] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            ended.append(asyncio.run(drive()))
        except BaseException as error:  # raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=work, name="tilth-driver")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return ended[0]


@contextlib.contextmanager
def _interrupts(cancel: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and a plain kill cancel the run; a second one ends this process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def once() -> None:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
        cancel()

    for number in before:
        loop.add_signal_handler(number, once)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


class _InBackground:
    """One call in a thread, and its result."""

    def __init__(self, function: Callable[[], Git | None]) -> None:
        self._result: Git | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(function,), daemon=True)
        self._thread.start()

    def _work(self, function: Callable[[], Git | None]) -> None:
        try:
            self._result = function()
        except BaseException as error:  # raised again by `result`
            self._error = error

    def result(self) -> Git | None:
        """What the call gave."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


def _client_environment(
    compiled: Compiled, environments: ProjectEnvironments, git: Git | None
) -> ClientEnvironment:
    interpreter = compiled.interpreter
    return ClientEnvironment(
        python=interpreter.version,
        implementation=interpreter.implementation,
        executable=interpreter.executable,
        platform=f"{interpreter.platform} {platform.release()}",
        tilth=__version__,
        packages=tuple(
            Package(name=each.name, version=each.version) for each in environments.inventory().packages
        ),
        git=git,
    )


def _refuse_missing_imports(
    pipeline: Pipeline, environments: ProjectEnvironments, home: Home, listener: events.Listener
) -> None:
    """What a step imports and its environment lacks is told before anything runs."""
    _, unknown = check_imports(pipeline, environments, home)
    if unknown:
        try:
            environments.make_unknown()
        except IndexUnavailable as error:
            listener(events.Notice(f"imports are not checked: {error.summary}"))
    missing, _ = check_imports(pipeline, environments, home)
    if missing:
        raise DefinitionError(
            missing[0],
            why="\n".join(missing[1:5]),
            mend="add the package to the environment's requirements, or import it in the step that has it",
        )


def _check(options: RunOptions) -> None:
    from tilth.define.options import FAILURE_MODES

    if options.failure_mode is not None and options.failure_mode not in FAILURE_MODES:
        raise UnknownOption(
            f"`{options.failure_mode}` is no failure mode", mend=nearest(options.failure_mode, FAILURE_MODES)
        )
    if options.workers is not None and options.workers < 1:
        raise UnknownOption(f"`workers` is {options.workers}", mend="give a whole number from 1")


def _raise_unless_completed(run: Run) -> None:
    """The whole story has been told by the progress; the exception says in one line how it ends."""
    if run.state is State.COMPLETED:
        return
    if run.state is State.CANCELLED:
        raise RunCancelled(f"run `{run.name}` was cancelled")
    failure = run.failure
    if failure is None:
        raise RunFailed(f"run `{run.name}` failed")
    step, _, message = failure.message.partition(": ")
    first = next(iter(message.strip().splitlines()), "")
    kind = failure.type or failure.reason.replace("_", " ")
    raise RunFailed(f"run `{run.name}` failed in {step}: {kind}" + (f": {first}" if first else ""))


def _refuse_unguarded(pipeline: Defined) -> None:
    """A script that calls its pipeline at the top level would start a run in each of its steps' interpreters."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            break
        frame = frame.f_back
    if frame is None or pipeline.function.__module__ != "__main__":
        return
    import ast

    try:
        tree = ast.parse(Path(frame.f_code.co_filename).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    line = frame.f_lineno
    for node in tree.body:
        if isinstance(node, ast.If) and node.lineno <= line <= (node.end_lineno or line):
            test = ast.unparse(node.test)
            if "__name__" in test and "__main__" in test:
                return
    from tilth.define.graph import refuse_unguarded

    refuse_unguarded(pipeline.name)


def _steps(folder: Path) -> list[str]:
    data = read_json(folder / "pipeline.json") or {"nodes": []}
    return [each["id"] for each in data["nodes"]]


def _log_files(
    folder: Path, step: str | None, attempt: int | None
) -> list[tuple[Path, tuple[str, int | None, int]]]:
    """Log files and (step, index, attempt) of each, in the order they were begun."""
    found = []
    for path in (folder / "logs").glob("*.log"):
        parts = path.name[: -len(".log")].split(".")
        tried = int(parts.pop())
        known = set(_steps(folder)) if len(parts) > 1 else set()
        name, index = ".".join(parts), None
        if len(parts) > 1 and name not in known:
            index = int(parts.pop())
            name = ".".join(parts)
        if step in (None, name) and attempt in (None, tried):
            with contextlib.suppress(FileNotFoundError):
                with open(path, "rb") as file:
                    began = file.read(32)
                found.append((began, path, (name, index, tried)))
    return [(path, of) for _, path, of in sorted(found)]
