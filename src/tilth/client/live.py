"""The live view of a run on a terminal: what steps print scrolls above a table of the steps.

One thread draws, five times a second at most and whatever the number of events, so that the driver never
waits for a terminal. rich is loaded in that thread, beside the work that precedes the first step.
"""

from __future__ import annotations

import atexit
import re
import threading
import zlib
from typing import TYPE_CHECKING

from tilth.client.progress import PlainProgress, label, visible
from tilth.client.wording import counted, duration
from tilth.engine.events import MapStarted, StepFinished, StepLine
from tilth.records import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.table import Table
    from rich.text import Text

    from tilth.client.progress import WatchedEnvironment, WatchedStep
    from tilth.engine.events import Event

_REFRESH_S = 0.2
# Of ECMA-48: every control sequence but those that set colours, lone escapes, and control characters but the tab.
_NOT_SHOWN = re.compile(r"\x1b\[[0-?]*[ -/]*[@-ln-~]|\x1b(?!\[)|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f]")
_BAR_WIDTH = 24
_COLOURS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta", "bright_blue")
_LOOK = {  # state -> (glyph, glyph for a terminal that shows ASCII only, style)
    State.QUEUED: ("·", ".", "dim"),
    State.RUNNING: ("▶", ">", "yellow"),
    State.COMPLETED: ("✓", "+", "green"),
    State.CACHED: ("↺", "=", "cyan"),
    State.FAILED: ("✗", "x", "red"),
    State.CANCELLED: ("■", "#", "magenta"),
    State.SKIPPED: ("○", "-", "dim"),
}
# Which rows matter most when there is no room for all.
_FIRST_TO_SHOW = [
    State.FAILED,
    State.RUNNING,
    State.CANCELLED,
    State.QUEUED,
    State.COMPLETED,
    State.SKIPPED,
    State.CACHED,
]


class LiveProgress(PlainProgress):
    """A table that changes in place, below what steps print. Ends as plain progress does."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        whole: bool,
        clock: Callable[[], float],
        console: Callable[[], Console] | None = None,
    ) -> None:
        super().__init__(out, err, whole=whole, clock=clock)
        self._apart = {"stdout": not out.isatty(), "stderr": False}  # what does not go to this terminal
        self._console = console or (lambda: _console(err))
        self._scrolling: list[tuple[str, str]] = []  # (label of a step or nothing, line), to be printed above
        self._closing = threading.Event()
        self._drawer = threading.Thread(target=self._draw, name="progress", daemon=True)
        self._drawer.start()
        atexit.register(self.close)

    def show(self, event: Event, lines: list[str]) -> None:
        if isinstance(event, StepLine):
            if self._apart[event.stream]:
                super().show(event, lines)
            else:
                self._scrolling.append((label(event.step, event.index), visible(event.text)))
        elif isinstance(event, MapStarted) or (
            isinstance(event, StepFinished) and (event.index is None or event.state.is_good)
        ):
            return  # the table shows it
        else:
            self._scrolling += [("", line) for line in lines]

    def close(self) -> None:
        atexit.unregister(self.close)
        self._closing.set()
        self._drawer.join()

    def _draw(self) -> None:
        from rich.live import Live

        console = self._console()
        live = Live(
            console=console,
            auto_refresh=False,
            get_renderable=lambda: self._picture(console),
            # What the user's own code writes to a stream is not for rich to rearrange.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with live:
            while True:
                last = self._closing.wait(_REFRESH_S)
                with self.lock:
                    scrolling, self._scrolling = self._scrolling, []
                if scrolling:
                    console.print(_Scrolled(scrolling), soft_wrap=True, end="")
                live.refresh()
                if last:
                    return

    def _picture(self, console: Console) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        ascii_only = not console.encoding.startswith("utf")
        room = max(console.height - 4, 3)
        with self.lock:
            now = self.clock()
            environments = list(self.environments.values())
            rows, left_out = rows_to_show(list(self.steps.values()), room - min(len(environments), room - 1))
            parts: list[RenderableType] = [_environment(each, now) for each in environments[:room]]
            if rows:
                parts.append(_table(rows, now, ascii_only=ascii_only))
            if left_out:
                counts = {state: sum(row.state is state for row in left_out) for state in State}
                told = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
                parts.append(Text(f"  and {counted(len(left_out), 'more step')}: {told}", style="dim"))
        return Group(*parts)


def rows_to_show(
    steps: Sequence[WatchedStep], room: int
) -> tuple[Sequence[WatchedStep], Sequence[WatchedStep]]:
    """The rows there is room for, and the others, both in the order of the graph.

    What failed and what runs comes first, then what is next, then what was done last.
    """
    if len(steps) <= room:
        return steps, ()
    places = range(len(steps))

    def urgency(place: int) -> tuple[int, int]:
        state = steps[place].state
        return _FIRST_TO_SHOW.index(state), -place if state.is_good else place

    shown = set(sorted(places, key=urgency)[: max(room - 1, 1)])
    return [steps[i] for i in places if i in shown], [steps[i] for i in places if i not in shown]


def _console(err: TextIO) -> Console:
    from rich.console import Console

    return Console(file=err, highlight=False, markup=False, emoji=False)


class _Scrolled:
    """Lines to be printed above the table, given to rich as they are: it would take 0.5 ms to lay out each."""

    def __init__(self, lines: Sequence[tuple[str, str]]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, _options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        quiet = console.get_style("dim")
        styles = {name: console.get_style(_colour(name.partition("[")[0])) for name, _ in self._lines if name}
        for name, line in self._lines:
            if name:
                yield Segment(f"[{name}] ", styles[name])
                yield Segment(_harmless(line) + "\n")
            else:
                yield Segment(line, quiet)
                yield Segment.line()


def _harmless(line: str) -> str:
    """A line that may have colours of its own but moves no cursor, and colours nothing after it."""
    if line.isprintable():
        return line
    line = _NOT_SHOWN.sub("", line)
    return f"{line}\x1b[0m" if "\x1b" in line else line


def _colour(step: str) -> str:
    """The same in every run; Python's own hash of a text is not."""
    return _COLOURS[zlib.crc32(step.encode(errors="replace")) % len(_COLOURS)]


def _environment(environment: WatchedEnvironment, now: float) -> Text:
    from rich.text import Text

    spent = duration(now - environment.since)
    return Text(f"environment {environment.name}: {environment.doing} … {spent}", style="yellow")


def _table(rows: Sequence[WatchedStep], now: float, *, ascii_only: bool) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    with_bars = any(row.mapped and row.items for row in rows)
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    if with_bars:
        table.add_column(no_wrap=True, width=_BAR_WIDTH)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        glyph, plain_glyph, style = _LOOK[row.state]
        running = row.state is State.RUNNING and row.started is not None
        seconds = now - (row.started or now) if running else row.seconds
        timed = running or row.state in (State.COMPLETED, State.FAILED, State.CANCELLED)
        note = row.note or (row.reason if row.state in (State.CACHED, State.SKIPPED) else "")
        cells: list[RenderableType] = [
            Text(plain_glyph if ascii_only else glyph, style=style),
            Text(row.id, style="dim" if row.state is State.QUEUED else ""),
            Text("reused" if row.state is State.CACHED else row.state.value, style=style),
            Text(duration(seconds) if timed else ""),
        ]
        if row.mapped and row.items:
            done = f"{row.done} of {row.items}" + (f", {row.reused} reused" if row.reused else "")
            note = f"{done}; {note}" if note else done
        if with_bars:
            bar = ProgressBar(total=row.items, completed=row.done, width=_BAR_WIDTH)
            cells.append(bar if row.mapped and row.items else "")
        table.add_row(*cells, Text(note, style="dim"))
    return table
