"""What a person sees of a run while it goes on.

What a step prints goes where it printed it, standard output or standard error, each line behind the step's
name; all else goes to standard error. On a terminal the lines scroll above a table of the steps, which is
drawn by `tilth.client.live`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tilth.client.failures import cause, run_failure, step_failure
from tilth.client.wording import clipped, counted, duration, short_digest
from tilth.engine.events import (
    EnvironmentReady,
    EnvironmentStarted,
    MapStarted,
    Notice,
    RunFinished,
    RunStarted,
    StepFinished,
    StepLine,
    StepRetrying,
    StepStarted,
)
from tilth.errors import SetupError, nearest
from tilth.records import State
from tilth.settings import setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from tilth.engine.events import Event
    from tilth.records import Run

_STYLES = ("auto", "live", "plain", "none")
_ITEM_LINES = 5  # failures of items that are told one by one, for each mapped step
_QUIET_S = 10  # between two lines about the items of one mapped step
_OTHERS = 5  # failed steps that are named beside the one that is explained


def listener(
    *, json: bool = False, whole: bool = False, live: bool = True, clock: Callable[[], float] = time.monotonic
) -> Progress:
    """What shows a run to the person at this terminal or behind this log, as the setting `progress` says.

    Use it in a `with` statement, so that a terminal is left in order whatever happens.

    Args:
        json: Standard output is for records: what steps print goes to standard error too.
        whole: Leave nothing out of a failed step's traceback.
        live: Whether a live view may be drawn; not when a step itself talks to the terminal.
    """
    wanted = setting("progress")
    if wanted not in _STYLES:
        raise SetupError(f"`TILTH_PROGRESS` is `{wanted}`", mend=nearest(wanted, _STYLES))
    if wanted == "auto":
        wanted = "live" if _is_terminal() else "plain"
    out = sys.stderr if json else sys.stdout
    if wanted == "live" and live:
        from tilth.client.live import LiveProgress

        return LiveProgress(out, sys.stderr, whole=whole, clock=clock)
    kind = Progress if wanted == "none" else PlainProgress
    return kind(out, sys.stderr, whole=whole, clock=clock)


def _is_terminal() -> bool:
    # `CI` and `TERM` are conventions of their own, not settings of tilth.
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


@dataclass
class WatchedStep:
    """One row: a step, or a mapped step with all its items."""

    id: str
    mapped: bool = False
    attempts: int = 1  # how many there may be
    state: State = State.QUEUED
    started: float | None = None  # by the clock
    seconds: float = 0.0
    reason: str = ""
    note: str = ""  # what is going on: a retry, a cause of failure
    items: int = 0
    done: int = 0
    reused: int = 0  # items
    told: float = 0.0  # when its items were last spoken of
    failed: int = 0  # items


@dataclass
class WatchedEnvironment:
    """An environment on its way."""

    name: str
    doing: str = ""
    since: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)  # doing -> seconds


class Progress:
    """Follows a run and, at its end, says why it failed. Subclasses show more."""

    def __init__(
        self, out: TextIO, err: TextIO, *, whole: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._streams: dict[str, TextIO | None] = {"stdout": out, "stderr": err}
        self._whole = whole
        self.clock = clock
        self.lock = threading.Lock()  # a live view reads what follows while it is written
        self.run: Run | None = None
        self.steps: dict[str, WatchedStep] = {}
        self.environments: dict[str, WatchedEnvironment] = {}  # that are not ready
        self._attempts: dict[tuple[str, int | None], int] = {}
        self._failures: list[StepFinished] = []

    def __call__(self, event: Event) -> None:
        with self.lock:
            lines = self.follow(event)
            self.show(event, lines)
        if isinstance(event, RunFinished):
            self.close()
            self.write("stderr", self.ending(event))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, event: Event, lines: list[str]) -> None:
        """Show what an event means; `lines` are that in words. Called with the lock held."""

    def close(self) -> None:
        """Give the terminal back. May be called again."""

    def ending(self, event: RunFinished) -> list[str]:
        """The last lines about a run."""
        return self._failed(event.run)

    def write(self, stream: str, lines: list[str]) -> None:
        """Write whole lines. When nobody reads any more the run goes on unheard."""
        target = self._streams[stream]
        if target is None or not lines:
            return
        text = "\n".join(lines) + "\n"
        try:
            try:
                target.write(text)
            except UnicodeEncodeError:
                encoding = target.encoding or "ascii"
                target.write(text.encode(encoding, "backslashreplace").decode(encoding))
            target.flush()
        except (BrokenPipeError, ValueError):
            self._streams[stream] = None

    def step(self, name: str) -> WatchedStep:
        """The row of a step."""
        return self.steps.setdefault(name, WatchedStep(name))

    def follow(self, event: Event) -> list[str]:
        """Remember what an event says; what it means in plain lines, often none."""
        match event:
            case RunStarted():
                return self._run_started(event)
            case EnvironmentStarted():
                self._spend(event.name, event.doing)
            case EnvironmentReady():
                return [self._environment_ready(event)]
            case MapStarted():
                row = self.step(event.step)
                row.mapped, row.items, row.state = True, event.items, State.RUNNING
                row.started = row.told = self.clock()
            case StepStarted():
                self._attempts[event.step, event.index] = event.attempt
                row = self.step(event.step)
                row.state, row.note = State.RUNNING, ""
                if row.started is None:
                    row.started = self.clock()
            case StepRetrying():
                return self._retrying(event)
            case StepFinished():
                return self._step_finished(event)
            case Notice():
                return [f"note: {event.text}"]
            case StepLine() | RunFinished():
                pass
        return []

    def _run_started(self, event: RunStarted) -> list[str]:
        self.run = event.run
        for node in event.pipeline.nodes:
            retries = int(node.retry.get("max_retries", 0))
            self.steps[node.id] = WatchedStep(node.id, mapped=bool(node.map), attempts=retries + 1)
        what = "resumed" if event.resumed else "started"
        return [f"run {event.run.name}: {what}: {counted(len(self.steps), 'step')}"]

    def _spend(self, name: str, doing: str) -> None:
        """Book the time since the last word about an environment on what was being done."""
        watched = self.environments.setdefault(name, WatchedEnvironment(name))
        now = self.clock()
        if watched.doing:
            watched.spent[watched.doing] = watched.spent.get(watched.doing, 0) + now - watched.since
        watched.doing, watched.since = doing, now

    def _environment_ready(self, event: EnvironmentReady) -> str:
        self._spend(event.name, "")
        spent = self.environments.pop(event.name).spent
        packages = counted(event.packages, "package")
        if not event.locked and not event.created:
            return f"environment {event.name}: reused ({packages}, {short_digest(event.digest)})"
        # One duration may stand for both when the driver told no beginning.
        locking, making = spent.get("locking", event.seconds), spent.get("making", event.seconds)
        done = [f"locked {packages} in {duration(locking)}"] if event.locked else []
        if event.created:
            done.append(f"made in {duration(making)}" + ("" if event.locked else f" ({packages})"))
        elif event.locked:
            done.append("found as made before")
        return f"environment {event.name}: {', '.join(done)}"

    def _retrying(self, event: StepRetrying) -> list[str]:
        row = self.step(event.step)
        row.note = f"attempt {event.attempt} failed: {cause(event.failure, 60)}"
        if event.index is not None and row.failed >= _ITEM_LINES:
            return []
        name, why = label(event.step, event.index), cause(event.failure)
        return [f"{name}: attempt {event.attempt} failed: {why}; the next in {duration(event.delay_s)}"]

    def _step_finished(self, event: StepFinished) -> list[str]:
        row = self.step(event.step)
        if event.state is State.FAILED:
            self._failures.append(event)
        if event.index is not None:
            return self._item_finished(event, row)
        row.state, row.seconds, row.reason = event.state, event.seconds, event.reason
        row.note = cause(event.failure, 60) if event.failure and event.state is State.FAILED else ""
        if event.items is not None:
            row.mapped, row.items = True, event.items
            row.done = event.items if event.state.is_good else row.done
            row.reused = event.items if event.state is State.CACHED else row.reused
        return [f"{event.step}: {self._outcome(event, row)}"]

    def _item_finished(self, event: StepFinished, row: WatchedStep) -> list[str]:
        row.mapped = True
        row.done += 1
        row.reused += event.state is State.CACHED
        name = label(event.step, event.index)
        if event.state is State.FAILED and event.failure:
            row.failed += 1
            if row.failed <= _ITEM_LINES:
                return [f"{name}: failed{_after(event.seconds)}: {cause(event.failure)}"]
            if row.failed == _ITEM_LINES + 1:
                return [f"{event.step}: more items failed; they are not told one by one"]
        now = self.clock()
        if now - row.told < _QUIET_S or row.done >= row.items:
            return []
        row.told = now
        return [f"{event.step}: {row.done} of {counted(row.items, 'item')} done"]

    def _outcome(self, event: StepFinished, row: WatchedStep) -> str:
        why = f" ({event.reason})" if event.reason else ""
        items = f": {counted(row.items, 'item')}" if row.mapped else ""
        match event.state:
            case State.CACHED:
                return f"reused{items}{why}"
            case State.COMPLETED:
                reused = f", {row.reused} reused" if row.reused else ""
                return f"completed in {duration(event.seconds)}{items}{reused}"
            case State.FAILED:
                told = f": {cause(event.failure)}" if event.failure else ""
                if row.mapped and row.failed:
                    told = f": {row.failed} of {counted(row.items, 'item')} failed"
                return f"failed{_after(event.seconds)}{told}"
            case State.SKIPPED:
                told = event.failure.message if event.failure else event.reason
                return f"skipped ({clipped(told, 100)})" if told else "skipped"
            case _:
                return str(event.state.value)

    def summary(self, event: RunFinished) -> list[str]:
        """How the run ended, in a line or two."""
        name, state = event.run.name, event.run.state
        rows = self.steps.values()
        counts = {each: sum(row.state is each for row in rows) for each in State}
        parts = [counted(len(self.steps), "step")]
        if not state.is_good:
            parts.append(f"{counts[State.COMPLETED] + counts[State.CACHED]} done")
        if counts[State.CACHED]:
            parts.append(f"{counts[State.CACHED]} reused")
        parts += [f"{counts[each]} {each.value}" for each in (State.FAILED, State.SKIPPED) if counts[each]]
        joined = "in" if state.is_good else "after"
        lines = [f"run {name}: {state.value} {joined} {duration(event.seconds)}: {', '.join(parts)}"]
        if state is State.CANCELLED:
            lines.append(f"  hint: `tilth runs resume {name}` goes on from here")
        return lines

    def _failed(self, run: Run) -> list[str]:
        """Why a run failed: other steps in a line each, then the first one in full, its cause last."""
        if run.state is not State.FAILED:
            return []
        explained = self._to_explain()
        if explained is None or explained.failure is None:
            return run_failure(run.failure, run=run.name) if run.failure else []
        lines = []
        others = {each.step: each for each in self._failures if each.step != explained.step and each.failure}
        for each in list(others.values())[:_OTHERS]:
            assert each.failure is not None
            lines.append(f"error: step `{label(each.step, each.index)}` failed too: {cause(each.failure)}")
        if len(others) > _OTHERS:
            more = counted(len(others) - _OTHERS, "more step")
            lines.append(f"error: {more} failed; `tilth runs show {run.name}` names them")
        row = self.step(explained.step)
        return lines + step_failure(
            explained.failure,
            step=label(explained.step, explained.index),
            run=run.name,
            attempt=self._attempts.get((explained.step, explained.index), 1),
            attempts=row.attempts,
            inputs=explained.inputs,
            whole=self._whole,
        )

    def _to_explain(self) -> StepFinished | None:
        """The first failure that is a cause; an item's rather than that of the step it belongs to."""
        causes = [each for each in self._failures if each.failure and each.failure.reason != "upstream"]
        return next(iter(causes or self._failures), None)


class PlainProgress(Progress):
    """A line for each thing that happens: for logs, CI and pipes."""

    def show(self, event: Event, lines: list[str]) -> None:
        if isinstance(event, StepLine):
            self.write(event.stream, [f"[{label(event.step, event.index)}] {visible(event.text)}"])
        else:
            self.write("stderr", lines)

    def ending(self, event: RunFinished) -> list[str]:
        return self.summary(event) + self._failed(event.run)


def _after(seconds: float) -> str:
    return f" after {duration(seconds)}" if seconds else ""


def label(step: str, index: int | None) -> str:
    """The name of a step, or of one item of a mapped step: `score[3]`."""
    return step if index is None else f"{step}[{index}]"


def visible(text: str) -> str:
    """What a terminal would end up showing of a line in which a progress bar went back to its start."""
    return text.rstrip("\r").rpartition("\r")[2]
