"""Tells listeners what happens in runs. However many listen to one run, its records are looked at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.errors import DatabaseUnavailable, NotFound
from tilth.records import Run, State, StepRun
from tilth.server.documents import text_of
from tilth.server.items import item_counts
from tilth.store.sql import read_row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tilth.server.files import Files
    from tilth.server.graphs import Counts
    from tilth.store.sql import SqlStore

_QUICK_S, _SLOW_S = 0.25, 2.0  # between two looks: while something happens, and when nothing has for a while
_LONGEST_S = 5.0  # that somebody who lost the project is still listened for, while nothing happens
_AT_ONCE = 1 << 16  # bytes of one log in one event
_COUNTED_EVERY_S = 1.0  # at most, and no more than a tenth of the time goes into counting
_FINAL = frozenset(state.value for state in State if state.is_final)

Event = dict[str, Any]


class Listener(NamedTuple):
    """Somebody who listens: the token they showed, and how to ask whether they still may."""

    token: str  # its id
    may_hear: Callable[[], bool]  # asks the database


class Watchers:
    """Everybody who listens to runs at this process."""

    def __init__(self) -> None:
        self._watched: dict[tuple[str, str], _Watched] = {}

    async def watch(
        self, store: SqlStore, files: Files, run: str, listener: Listener, *, logs: bool
    ) -> AsyncIterator[Event]:
        """The events of a run: first what has happened, then what comes, until it has ended.

        Or until the listener has lost their login or the project: asked after an event was found, before it is given.
        """
        key = (store.space, run)
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = _Watched(store, files, run)
        watched.listeners += 1
        try:
            at = 0
            while True:
                events, over = await watched.after(at)
                if not await watched.may_hear(listener, at + len(events)):
                    return
                for event in events:
                    if logs or event["event"] != "log":
                        yield event
                at += len(events)
                if over:
                    return
        finally:
            watched.listeners -= 1
            if not watched.listeners:
                self._watched.pop(key, None)
                watched.stop()


class _Watched:
    """One run: what was seen of it, in order, kept for those who come later."""

    def __init__(self, store: SqlStore, files: Files, run: str) -> None:
        self.listeners = 0
        self._store, self._files, self._run = store, files, run
        self._events: list[Event] = []
        self._revisions: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._counts: Counts = {}
        self._counts_at = 0.0
        self._over = False
        self._asked: dict[str, tuple[int, float, asyncio.Future[bool]]] = {}
        self._changed = asyncio.Condition()
        self._task = asyncio.create_task(self._look_on())

    async def after(self, at: int) -> tuple[list[Event], bool]:
        """What came behind the first `at` events, waited for a while; and whether nothing comes any more."""
        async with self._changed:
            waiting = self._changed.wait_for(lambda: len(self._events) > at or self._over)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(waiting, _LONGEST_S)
            return self._events[at:], self._over

    async def may_hear(self, listener: Listener, upto: int) -> bool:
        """Whether somebody may have the first `upto` events. Those who show one token are asked about once."""
        while True:
            known, asked_at, answer = self._asked.get(listener.token, (-1, 0.0, None))
            if answer is None or known < upto or time.monotonic() - asked_at > _LONGEST_S / 2:
                answer = asyncio.ensure_future(asyncio.to_thread(listener.may_hear))
                self._asked[listener.token] = (len(self._events), time.monotonic(), answer)
            try:
                return await asyncio.shield(answer)
            except DatabaseUnavailable:
                self._asked.pop(listener.token, None)
                await asyncio.sleep(_SLOW_S)

    def stop(self) -> None:
        """Look no more."""
        self._task.cancel()

    async def _look_on(self) -> None:
        pause_s = _QUICK_S
        while not self._over:
            try:
                found, over = await asyncio.to_thread(self._look)
            except DatabaseUnavailable:
                found, over = [], False
            except NotFound:  # deleted
                found, over = [], True
            if found or over:
                async with self._changed:
                    self._events += found
                    self._over = over
                    self._changed.notify_all()
                pause_s = _QUICK_S
            else:
                pause_s = min(pause_s * 1.5, _SLOW_S)
            await asyncio.sleep(pause_s)

    def _look(self) -> tuple[list[Event], bool]:
        """What is new. The run is read first: what its steps did is there before it has ended."""
        run = self._store.get_row(Run, self._run)
        events: list[Event] = []
        for row_id, row in self._new_steps():
            events.append({"event": "step_run", "data": text_of(row), "id": f"{row_id}.{row[1]}"})
        events += self._new_counts(read_row(Run, run))
        events += self._new_lines()
        if self._revisions.get(self._run) != run[1]:
            self._revisions[self._run] = run[1]
            events.append({"event": "run", "data": text_of(run), "id": f"{self._run}.{run[1]}"})
        return events, json.loads(run[0])["state"] in _FINAL

    def _new_steps(self) -> list[tuple[str, tuple[str, int]]]:
        known = self._store.database.select(
            'SELECT id, revision FROM step_run WHERE space = ? AND run = ? AND "index" IS NULL '
            "ORDER BY created_at, id",
            (self._store.space, self._run),
        )
        new = []
        for row_id, revision in known:
            if self._revisions.get(row_id) != revision:
                try:
                    row = self._store.get_row(StepRun, row_id)
                except NotFound:
                    continue
                self._revisions[row_id] = row[1]
                new.append((row_id, row))
        return new

    def _new_counts(self, run: Run) -> list[Event]:
        """Of mapped steps whose items have gone on: how many are in each state. There may be very many of them."""
        began = time.monotonic()
        if began < self._counts_at and not run.state.is_final:
            return []
        counts = item_counts(self._store, run)
        took_s = time.monotonic() - began
        self._counts_at = began + max(_COUNTED_EVERY_S, 10 * took_s)
        changed = {step: each for step, each in counts.items() if self._counts.get(step) != each}
        self._counts = counts
        events: list[Event] = []
        for step, (count, first) in changed.items():
            data = {"step": step, "counts": count, "began": first.isoformat() if first is not None else None}
            events.append({"event": "items", "data": json.dumps(data), "id": f"{step}.{sum(count.values())}"})
        return events

    def _new_lines(self) -> list[Event]:
        events = []
        for name, size in self._files.logs(self._run).items():
            told = self._sizes.get(name, 0)
            while told < size:
                with open(self._files.log(self._run, name), "rb") as file:
                    file.seek(told)
                    part = file.read(_AT_ONCE)
                whole = part[: part.rfind(b"\n") + 1]
                if not whole:
                    break  # the last line is not whole yet
                data = {"log": name, "offset": told, "text": whole.decode("utf-8", "replace")}
                told += len(whole)
                events.append({"event": "log", "data": json.dumps(data), "id": f"{name}.{told}"})
            self._sizes[name] = told
        return events
