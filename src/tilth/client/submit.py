"""Starts runs on this machine, and plans them."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tilth import __version__
from tilth.client import checks
from tilth.client.artifacts import check_store, open_artifacts
from tilth.client.compilation import Compiled, compile_call, compile_file, in_client
from tilth.client.delivery import plan_delivery
from tilth.client.driving import RunOptions, cancelled_by_interrupt, drive_run
from tilth.client.environments import ProjectEnvironments
from tilth.client.installed import client_environment, not_recorded
from tilth.client.project import WorkingTree, code_in_image
from tilth.client.running import make_images, running_on
from tilth.client.secrets import missing_secrets, run_secrets
from tilth.client.stacks import active_stack
from tilth.engine import events
from tilth.engine.lease import Lease
from tilth.engine.resources import this_machine
from tilth.environments.files import home_unwritable
from tilth.errors import (
    DiskFull,
    IndexUnavailable,
    RunCancelled,
    RunFailed,
    UnknownOption,
    nearest,
)
from tilth.home import Home
from tilth.project_file import project_options
from tilth.records import (
    ClientEnvironment,
    CodeBundle,
    Run,
    State,
    now,
)
from tilth.runtime.folder import write_json
from tilth.settings import home_folder, setting, worker_count
from tilth.stack.built_in import DEFAULT
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from tilth import runtime
    from tilth.client.bundle import Bundle
    from tilth.client.code_root import CodeRoot
    from tilth.client.plan import Plan, PlannedImage
    from tilth.client.running import Running
    from tilth.define import Pipeline as Defined
    from tilth.engine.environments import Code
    from tilth.engine.secrets import RunSecrets
    from tilth.environments import Interpreter, Locked
    from tilth.ir.pipeline import Pipeline
    from tilth.records import CodeDelivery, Git
    from tilth.store import Store


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
    from tilth.client.plan import existing, plan

    with existing(Home(home_folder())) as (home, store):
        compiled = compile_file(target, parameters, home=home, python=_python(options))
        running = running_on(
            active_stack(home, compiled.code.root, options.stack),
            root=compiled.code.root,
            interpreter=compiled.interpreter,
            home=home,
            act=False,
        )
        compiled = replace(compiled, pipeline=running.pipeline(compiled.pipeline))
        environments = ProjectEnvironments(
            compiled.pipeline,
            root=compiled.code.root,
            interpreter=compiled.interpreter,
            home=home,
            target=running.target,
        )
        if running.target is None:
            checks.refuse_pythons(compiled.pipeline, compiled.interpreter, home)
        environments.find_locks()
        found = [
            *checks.at_compile(compiled.pipeline, environments, home, absent=compiled.absent),
            *checks.since_last_run(compiled.pipeline, environments, compiled.interpreter, store),
        ]
        artifacts = open_artifacts(home, running.artifact_store)
        planned = plan(
            compiled.pipeline,
            environments=environments,
            store=store,
            artifacts=artifacts,
            home=home,
            bundle=bundle_digest(compiled.code, home) if compiled.pipeline.dynamic else "",
            cache_on=options.cache,
        )
        kept = {(step.id, name): digest for step in planned.steps for name, digest in step.outputs.items()}
        found = [*found, *checks.of_stored(compiled.pipeline, environments, home, artifacts, kept)]
        told = [*(each.told() for each in found), *missing_secrets(compiled.pipeline, home)]
        return replace(
            planned,
            warnings=tuple(dict.fromkeys(told)),
            stack=running.stack,
            images=_planned_images(running, environments, compiled.code, store, home),
        )


def _planned_images(
    running: Running, environments: ProjectEnvironments, root: CodeRoot, store: Store, home: Home
) -> tuple[PlannedImage, ...]:
    """What would happen to the images of a run whose steps are started from such."""
    if running.orchestrator.delivery not in ("load", "push"):
        return ()
    from tilth.client.bundle import bundle_digest, bundle_path
    from tilth.client.images import plan_images  # here for cost: most runs need none
    from tilth.client.plan import PlannedImage

    in_image = project_options(root.root).get("code") == "image"
    code = bundle_path(bundle_digest(root, home), home) if in_image else None
    planned = [
        PlannedImage(wanted.names, wanted.base.reference, found.image if found else "", why)
        for wanted, found, why in plan_images(running, environments, store=store, home=home, code=code)
    ]
    unlocked = tuple(
        name
        for name in environments.names
        if not environments.declared(name)[0].get("image") and environments.lock(name) is None
    )
    if unlocked:
        planned.append(PlannedImage(unlocked, "", "", "the environment is not locked yet"))
    return tuple(planned)


def _python(options: RunOptions) -> str | None:
    if options.in_process:
        return sys.executable
    return options.python or setting("python") or None


def _start(compiled: Compiled, options: RunOptions, listener: events.Listener, home: Home) -> Run:
    """Record a new run of a compiled pipeline and drive it to its end."""
    _check(options)
    if options.in_process:
        compiled = in_client(compiled)
    offline = options.offline or setting("offline") == "1"
    running = running_on(
        active_stack(home, compiled.code.root, DEFAULT if options.in_process else options.stack),
        root=compiled.code.root,
        interpreter=compiled.interpreter,
        home=home,
        tell=lambda text: listener(events.Notice(text)),
        offline=offline,
    )
    with contextlib.closing(open_store(home, root=compiled.code.root)) as store:
        return start_compiled(compiled, running, options, listener, home, store)


@dataclass(frozen=True)
class Asked:
    """What is decided of a run before it is started: where a snapshot is started with no client present.

    Attributes:
        run: Id.
        snapshot: Id.
        bundle: The code, packed before.
        locks: Of environments, by name.
    """

    run: str = ""
    snapshot: str = ""
    bundle: Bundle | None = None
    git: Git | None = None
    locks: Mapping[str, Locked] = field(default_factory=dict)


def start_compiled(
    compiled: Compiled,
    running: Running,
    options: RunOptions,
    listener: events.Listener,
    home: Home,
    store: Store,
    asked: Asked | None = None,
) -> Run:
    """Record a new run of a compiled pipeline on a stack, and drive it to its end."""
    from tilth.client.bundle import git_state, make_bundle

    told = asked or Asked()
    root = compiled.code.root
    offline = options.offline or setting("offline") == "1"
    compiled = replace(compiled, pipeline=running.pipeline(compiled.pipeline))
    pipeline = compiled.pipeline
    secrets = run_secrets(pipeline, home)
    environments = ProjectEnvironments(
        pipeline,
        root=root,
        interpreter=compiled.interpreter,
        home=home,
        offline=offline,
        given=told.locks,
        target=running.target,
        listener=listener,
    )
    git = _InBackground(lambda: told.git if asked else git_state(root))
    bundle = told.bundle or make_bundle(compiled.code, home)
    if running.target is None:
        checks.refuse_pythons(pipeline, compiled.interpreter, home)
    environments.make_locks(upgrade=options.upgrade or options.upgrade_packages)
    check_environments(compiled, environments, home, store, listener)
    delivery = plan_delivery(root, bundle.digest, project_options(root), offline=offline)
    images = make_images(running, environments, store, home, listener, code=delivery)
    beside: list[Put] = []
    if asked is None:
        code = CodeBundle(id=bundle.digest, size=bundle.size, files=bundle.files, root=str(root))
        beside.append(Put(code))
    project = {
        "root": str(root),
        "roots": list(compiled.roots),
        "cwd": os.getcwd(),
        "python": compiled.interpreter.executable,
    }
    client = client_environment(compiled.interpreter, environments.inventory())
    run = new_run(
        pipeline,
        environments,
        bundle=bundle.digest,
        client=compiled_in(compiled.interpreter, client.id, git.result()),
        options=options.to_json(),
        running=running,
        images=images,
        code=delivery,
    )
    if asked is not None:
        run = msgspec.structs.replace(run, id=asked.run, snapshot=asked.snapshot)
    tree: Code = WorkingTree(pipeline, roots=compiled.roots, cwd=os.getcwd(), bundle=bundle.digest)
    if images and delivery.how == "image":
        tree = code_in_image(delivery, root=root, roots=compiled.roots, cwd=os.getcwd())
    return start(
        run, pipeline, project, tree, environments, beside=[*not_recorded(client, store), *beside],
        options=options, listener=listener, home=home, store=store, secrets=secrets, running=running,
    )  # fmt: skip


def new_run(
    pipeline: Pipeline,
    environments: ProjectEnvironments,
    *,
    bundle: str,
    client: ClientEnvironment,
    options: dict[str, Any],
    running: Running,
    images: Mapping[str, str] | None = None,
    code: CodeDelivery | None = None,
) -> Run:
    """The record of a run that is about to start; nothing is written."""
    return Run(
        name="",
        number=0,
        pipeline=pipeline.name,
        parameters=pipeline.parameters,
        pipeline_digest=pipeline.digest(),
        bundle=bundle,
        environments=environments.digests(),
        client=client,
        artifact_store=running.artifact_store,
        images=dict(images or {}),
        code=code if code is not None and code.how != "bundle" else None,
        stack=running.stack,
        orchestrator=running.used,
        options=options,
        steps=len(pipeline.nodes),
        started_at=now(),
        tags=pipeline.tags,
    )


def start(
    run: Run,
    pipeline: Pipeline,
    project: Mapping[str, Any],
    tree: Code,
    environments: ProjectEnvironments,
    *,
    beside: Sequence[Put],
    options: RunOptions,
    listener: events.Listener,
    home: Home,
    store: Store,
    secrets: RunSecrets,
    running: Running,
) -> Run:
    """Record a new run and drive it to its end.

    Args:
        project: Where things are, as resuming the run needs it.
        beside: What else is to be recorded with it: its code, the client's environment.
    """
    this_machine(options.workers or worker_count()).check(pipeline.nodes)
    check_store(home, run.artifact_store)
    folder = home.runs / run.id
    with contextlib.ExitStack() as held:
        with _explaining_full_disk(folder):
            # What resuming a run needs, whatever the project has become by then.
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "pipeline.json", pipeline.to_json())
            write_json(folder / "project.json", project)
            held.enter_context(Lease(folder, run.id))
        held.enter_context(cancelled_by_interrupt(store, run.id))
        # Before the run: who lists runs at the same time finds all that a run names.
        store.write([*environments.records(), *beside])
        run = store.start_run(run)
        if not options.detach:
            return drive_run(
                run, pipeline, tree, environments, options=options, listener=listener, home=home, store=store,
                secrets=secrets, orchestrator=running.orchestrator,
            )  # fmt: skip
    from tilth.client.detached import drive_in_background

    environments.leave()
    return drive_in_background(run, home, store, offline=options.offline)


@contextlib.contextmanager
def _explaining_full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        unwritable = home_unwritable(error, folder.parent)
        if unwritable is not None:
            raise unwritable from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"no space left to begin a run in `{folder.parent}`",
            why="nothing was run or recorded",
            mend="make room on that disk, or set `TILTH_HOME` to a folder on another",
        ) from error


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


def compiled_in(interpreter: Interpreter, environment: str, git: Git | None) -> ClientEnvironment:
    """What is recorded of where a run is compiled. `environment`: digest of its record."""
    return ClientEnvironment(
        python=interpreter.version,
        implementation=interpreter.implementation,
        executable=interpreter.executable,
        platform=f"{interpreter.platform} {platform.release()}",
        tilth=__version__,
        environment=environment,
        git=git,
    )


def check_environments(
    compiled: Compiled,
    environments: ProjectEnvironments,
    home: Home,
    store: Store,
    listener: events.Listener,
) -> None:
    """What steps cannot import or read is told before anything runs."""
    pipeline, absent = compiled.pipeline, compiled.absent
    found = checks.at_compile(pipeline, environments, home, absent=absent, guess=False)
    if any(each.uncertain for each in found):
        try:
            environments.make_unknown()
        except IndexUnavailable as error:
            listener(events.Notice(f"imports are not checked: {error.summary}"))
        else:
            found = checks.at_compile(pipeline, environments, home, absent=absent)
    checks.refuse(found)
    found += checks.since_last_run(pipeline, environments, compiled.interpreter, store)
    for each in found:
        if not each.uncertain:
            listener(events.Notice(each.told()))


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
