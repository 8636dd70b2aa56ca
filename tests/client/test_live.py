from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from hypothesis import given, strategies as st
from inline_snapshot import snapshot
from rich.console import Console

from tilth.client.live import LiveProgress, rows_to_show
from tilth.client.progress import WatchedStep
from tilth.engine.events import (
    EnvironmentStarted,
    MapStarted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepLine,
    StepStarted,
)
from tilth.ir.pipeline import Node, Pipeline
from tilth.records import Failure, Run, State

if TYPE_CHECKING:
    from tilth.engine.events import Event

RUN = Run(name="churn-12", pipeline="churn", state=State.COMPLETED)


class Terminal(io.StringIO):
    """Takes everything; says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def live(*events: Event, encoding: str = "utf-8", height: int = 24) -> str:
    """What stands on the screen in the end, as text without colours."""
    terminal = Terminal()
    terminal.encoding = encoding

    def console() -> Console:
        return Console(
            file=terminal,
            width=90,
            height=height,
            force_terminal=True,
            color_system=None,
            legacy_windows=False,
        )

    with LiveProgress(terminal, terminal, whole=False, clock=lambda: 1000.0, console=console) as progress:
        for event in events:
            progress(event)
    return screen(terminal.getvalue())


def screen(written: str) -> str:
    """Play cursor movements: only going up, clearing a line, and going to its start are used."""
    lines, row = [""], 0
    rest = written
    while rest:
        if rest.startswith("\x1b["):
            end = next(i for i, c in enumerate(rest[2:], 2) if c.isalpha())
            count, code = rest[2:end], rest[end]
            if code == "A":
                row -= int(count or 1)
            elif code == "K":
                lines[row] = ""
            rest = rest[end + 1 :]
        elif rest[0] == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
            rest = rest[1:]
        elif rest[0] == "\r":
            rest = rest[1:]
        else:
            plain = rest[0]
            lines[row] += plain
            rest = rest[1:]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def graph(*names: str) -> Pipeline:
    nodes = tuple(Node(name, f"m:{name}", map=("x",) if name == "score" else ()) for name in names)
    return Pipeline("churn", "m:churn", nodes=nodes)


EVENTS: tuple[Event, ...] = (
    RunStarted(RUN, graph("load", "score", "report")),
    StepFinished("load", None, State.CACHED, 0.0, "same code, inputs and environment"),
    MapStarted("score", 4),
    StepLine("score", 2, "halfway \x1b[31mthere\x1b[0m", "stdout"),
    *(StepFinished("score", index, State.COMPLETED, 0.1) for index in range(4)),
    StepFinished("score", None, State.COMPLETED, 2.0, items=4),
    StepFinished("report", None, State.COMPLETED, 0.25),
    RunFinished(RUN, 2.5),
)


def test_output_scrolls_above_a_table_that_stays() -> None:
    assert live(*EVENTS) == snapshot("""\
run churn-12: started: 3 steps
[score[2]] halfway there
↺  load    reused                                       same code, inputs and environment
✓  score   completed   2.0 s  ━━━━━━━━━━━━━━━━━━━━━━━━  4 of 4
✓  report  completed  250 ms
run churn-12: completed in 2.5 s: 3 steps, 1 reused
""")


def test_items_that_fail_scroll_by_and_those_that_do_not_only_move_the_bar() -> None:
    failure = Failure(reason="killed", message="SIGKILL")
    shown = live(
        RunStarted(RUN, graph("score")),
        MapStarted("score", 3),
        StepFinished("score", 0, State.COMPLETED, 0.1),
        StepFinished("score", 1, State.FAILED, 0.1, failure=failure),
    )
    assert shown == snapshot("""\
run churn-12: started: 1 step
score[1]: failed after 100 ms: killed: SIGKILL
▶  score  running  0 ms  ━━━━━━━━━━━━━━━━          2 of 3
""")


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert live(*EVENTS, encoding="ascii").isascii()


def test_a_terminal_is_given_back_when_something_else_fails() -> None:
    terminal = Terminal()
    console = Console(file=terminal, force_terminal=True, width=80, height=24)
    try:
        with LiveProgress(
            terminal, terminal, whole=False, clock=time.monotonic, console=lambda: console
        ) as progress:
            progress(EnvironmentStarted("training", "locking"))
            raise RuntimeError("elsewhere")
    except RuntimeError:
        pass
    hidden, shown = (terminal.getvalue().rfind(f"\x1b[?25{code}") for code in "lh")
    assert shown > hidden >= 0, "the cursor is shown again"


def test_a_chatty_step_does_not_wait_for_the_terminal() -> None:
    terminal = Terminal()
    with LiveProgress(terminal, terminal, whole=False, clock=time.monotonic, console=None) as progress:
        progress(RunStarted(RUN, graph("train")))
        began = time.perf_counter()
        for number in range(20_000):
            progress(StepLine("train", None, f"line {number}", "stdout"))
        took = time.perf_counter() - began
    # A redraw for each would take minutes; the bound is far from both.
    assert took < 60
    assert all(f"line {number}\n" in terminal.getvalue() for number in (0, 9999, 19999))


def test_what_a_step_prints_cannot_move_the_cursor() -> None:
    shown = live(
        RunStarted(RUN, graph("train")),
        StepLine("train", None, "\x1b[2J\x1b[5Aup \x1b[1;32mgreen\x1b]0;title\x07\tend\x1b", "stdout"),
    )
    assert "[train] up green]0;title\tend\n" in shown


def test_of_many_steps_those_that_matter_are_shown() -> None:
    names = [f"s{number:02}" for number in range(60)]
    failure = Failure(reason="killed", message="SIGKILL")
    shown = live(
        RunStarted(RUN, graph(*names)),
        *(StepFinished(name, None, State.CACHED, 0.0, "same") for name in names[:30]),
        StepFinished("s30", None, State.FAILED, 1.0, failure=failure),
        *(StepStarted(name, None, 1) for name in names[31:33]),
        height=14,
    )
    assert shown == snapshot("""\
run churn-12: started: 60 steps
✗  s30  failed   1.0 s  killed: SIGKILL
▶  s31  running   0 ms
▶  s32  running   0 ms
·  s33  queued
·  s34  queued
·  s35  queued
·  s36  queued
·  s37  queued
·  s38  queued
  and 51 more steps: 21 queued, 30 cached
""")


STATES = st.lists(st.sampled_from(list(State)), max_size=60)


@given(STATES, st.integers(1, 40))
def test_rows_fit_and_none_is_lost(states: list[State], room: int) -> None:
    steps = [WatchedStep(f"s{place}", state=state) for place, state in enumerate(states)]
    shown, left_out = rows_to_show(steps, room)
    assert len(shown) + bool(left_out) <= max(room, 2)
    assert sorted([*shown, *left_out], key=steps.index) == steps
    assert list(shown) == sorted(shown, key=steps.index)
    if any(each.state is State.FAILED for each in left_out):
        assert all(each.state is State.FAILED for each in shown)
