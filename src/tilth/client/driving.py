"""Drives a recorded run in this process, whatever else this process does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tilth.client.artifacts import open_artifacts
from tilth.client.describing import described
from tilth.client.reporting import reported
from tilth.engine import events
from tilth.engine.driver import Driver
from tilth.engine.resources import this_machine
from tilth.errors import NotFound, OutsideError, SetupError
from tilth.orchestrators.this_machine import LocalOrchestrator
from tilth.records import Failure, Run, State, StepRun, now
from tilth.settings import worker_count
from tilth.store import Put, walk
from tilth.store.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tilth.client.environments import Changed, ProjectEnvironments
    from tilth.engine.environments import Code
    from tilth.engine.secrets import RunSecrets
    from tilth.home import Home
    from tilth.ir.pipeline import Pipeline
    from tilth.orchestrators import Launcher, Orchestrator
    from tilth.store import Store


@dataclass(frozen=True)
class RunOptions:
    """Options of one run; absent ones are the pipeline's."""

    cache: bool | None = None
    failure_mode: str | None = None
    workers: int | None = None
    in_process: bool = False
    offline: bool = False
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    python: str | None = None
    stack: str | None = None
    detach: bool = False

    def to_json(self) -> dict[str, Any]:
        """Those that differ from their defaults."""
        return {
            name: getattr(self, name)
            for name, field in self.__dataclass_fields__.items()
            if getattr(self, name) != field.default
        }


def drive_run(
    run: Run,
    pipeline: Pipeline,
    tree: Code,
    environments: ProjectEnvironments,
    *,
    options: RunOptions,
    listener: events.Listener,
    home: Home,
    store: Store,
    secrets: RunSecrets,
    done: list[StepRun] | None = None,
    attempts: Mapping[tuple[str, int | None], int] | None = None,
    orchestrator: Orchestrator | None = None,
) -> Run:
    """Drive a run, held by its lease, to its end.

    Args:
        done: Step runs of it that a driver before completed; None for a new run.
        attempts: How often each (step, index) was tried before.
        orchestrator: What starts its steps; by default this machine.
    """
    clock = time.perf_counter()
    before = environments.look_again(suspected=done is None)
    if done is not None:
        done = [each for each in done if not any(changed.met(each) for changed in before)]
    workers = options.workers or worker_count()
    listener(events.RunStarted(run, pipeline, resumed=done is not None))
    forget_for_reuse(before, store, listener)

    async def drive() -> Run:
        driver = Driver(
            run,
            pipeline,
            folder=home.runs / run.id,
            store=store,
            artifacts=open_artifacts(home, run.artifact_store),
            launcher=_launcher(
                options, workers, listener, lambda: driver.settle(), orchestrator or LocalOrchestrator(), home
            ),
            environments=environments,
            code=tree,
            capacity=this_machine(workers),
            listener=listener,
            secrets=secrets,
            cache_on=options.cache,
            failure_mode=options.failure_mode or pipeline.failure_mode,
            done=done or (),
            attempts=attempts,
        )
        with _interrupts(driver.cancel):
            return await driver.drive()

    try:
        with reported(run, home, store), described(run, home, store):
            ended = _run_loop(drive)
    except (OutsideError, SetupError) as error:
        if "runs resume" not in error.mend:
            error.mend = "; ".join(filter(None, (error.mend, f"then `tilth runs resume {run.name}` goes on")))
        raise
    finally:
        forget_for_reuse(environments.leave(), store, listener)
    listener(events.RunFinished(ended, time.perf_counter() - clock))
    return ended


def forget_for_reuse(environments: Sequence[Changed], store: Store, listener: events.Listener) -> None:
    """What steps of any run gave in an environment that one of them changed is not what its digest stands for."""
    for changed in environments:
        for run in walk(store, Run):
            over = run.finished_at is not None and run.finished_at < changed.since
            if over or changed.digest not in run.environments.values():
                continue
            # Those that still run are left to their driver, which finds the change when it ends.
            met = [
                each for each in walk(store, StepRun, run=run.id) if each.state.is_final and changed.met(each)
            ]
            store.write([Put(msgspec.structs.replace(each, cache_key="")) for each in met if each.cache_key])
        listener(events.Notice(changed.told + "; what ran in it is not reused"))


def _launcher(
    options: RunOptions,
    workers: int,
    listener: events.Listener,
    settle: Callable[[], None],
    orchestrator: Orchestrator,
    home: Home,
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
    return orchestrator.launcher(keep=4 * workers, reads=[home.artifacts], answer=answer_settled)


def _run_loop(drive: Callable[[], Any]) -> Run:
    """Run to the end, also where a loop runs already, as in a notebook."""
    # Not in an `except`: what fails in a step of this process would be told as failing because of that.
    if asyncio._get_running_loop() is None:
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
def cancelled_by_interrupt(store: Store, run: str) -> Iterator[None]:
    """Record a run as cancelled also when Ctrl-C comes while no driver listens: before it starts, or a second one."""
    try:
        yield
    except KeyboardInterrupt:
        # It had not been recorded yet; or cannot be, and shows as interrupted.
        with contextlib.suppress(NotFound, OutsideError), PATIENCE.of_a_run(0):
            PATIENCE.leave_soon()
            found = store.get(Run, run)
            if not found.state.is_final:
                failure = Failure(reason="cancelled", message="the run was cancelled")
                store.replace(
                    found,
                    msgspec.structs.replace(found, state=State.CANCELLED, finished_at=now(), failure=failure),
                )
        raise


@contextlib.contextmanager
def _interrupts(cancel: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and a plain kill cancel the run; a second one ends this process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def once(*_: object) -> None:
        restore()
        PATIENCE.leave_soon()
        loop.call_soon_threadsafe(cancel)

    # Not the loop's own handlers: they wait for the loop, which may be waiting for a server that is away.
    for number in before:
        signal.signal(number, once)
    try:
        yield
    finally:
        restore()
