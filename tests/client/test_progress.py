from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from inline_snapshot import snapshot

from tilth.client.progress import PlainProgress, Progress, listener, visible
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
from tilth.errors import SetupError
from tilth.ir.pipeline import Node, Pipeline
from tilth.records import Failure, Run, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.engine.events import Event

RUN = Run(name="churn-12", pipeline="churn", number=12)
DIGEST = "sha256:" + "3f0c" * 16
BAD = Failure(
    reason="exception",
    type="ValueError",
    message="bad",
    traceback='Traceback (most recent call last):\n  File "a.py", line 1, in train\nValueError: bad\n',
)


class Clock:
    """Moves on only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def graph(*names: str, **options: object) -> Pipeline:
    nodes = tuple(Node(name, f"m:{name}", **options) for name in names)  # type: ignore[arg-type]
    return Pipeline("churn", "m:churn", nodes=nodes)


def ended(state: State, seconds: float = 3.4) -> RunFinished:
    return RunFinished(msgspec.structs.replace(RUN, state=state), seconds)


def plain(events: Iterable[Event | float], kind: type[Progress] = PlainProgress) -> tuple[str, str]:
    """What is written to standard output and error; a number moves the clock."""
    out, err, clock = io.StringIO(), io.StringIO(), Clock()
    with kind(out, err, clock=clock) as progress:
        for event in events:
            if isinstance(event, float):
                clock.now += event
            else:
                progress(event)
    return out.getvalue(), err.getvalue()


def test_a_run_is_told_in_plain_lines() -> None:
    out, err = plain(
        [
            EnvironmentStarted("training", "locking"),
            0.8,
            EnvironmentStarted("training", "making"),
            RunStarted(RUN, graph("load", "train", "report")),
            1.1,
            EnvironmentReady("training", DIGEST, 14, locked=True, created=True, seconds=1.9),
            EnvironmentReady("small", DIGEST, 1, locked=False, created=False, seconds=0.001),
            StepFinished("load", None, State.CACHED, 0.0, "same code, inputs and environment"),
            StepStarted("train", None, 1),
            StepLine("train", None, "epoch 1", "stdout"),
            StepLine("train", None, "careful", "stderr"),
            StepFinished("train", None, State.COMPLETED, 1.234, "the source of `learn` changed"),
            Notice("step `train` changed its environment; it was made again"),
            StepFinished("report", None, State.COMPLETED, 0.012),
            ended(State.COMPLETED),
        ]
    )
    assert out == "[train] epoch 1\n"
    assert err == snapshot("""\
run churn-12: started: 3 steps
environment training: locked 14 packages in 800 ms, made in 1.1 s
environment small: reused (1 package, sha256:3f0c3f0c3f0c)
load: reused (same code, inputs and environment)
[train] careful
train: completed in 1.2 s
note: step `train` changed its environment; it was made again
report: completed in 12 ms
run churn-12: completed in 3.4 s: 3 steps, 1 reused
""")


def test_a_failed_run_ends_with_the_cause() -> None:
    _, err = plain(
        [
            RunStarted(RUN, graph("train", "report", retry={"max_retries": 1})),
            StepStarted("train", None, 1),
            StepRetrying("train", None, 1, 0.5, BAD),
            StepStarted("train", None, 2),
            StepFinished("train", None, State.FAILED, 0.7, failure=BAD, inputs={"alpha": "0.1"}),
            StepFinished("report", None, State.SKIPPED, 0.0, "step `train` did not complete"),
            ended(State.FAILED),
        ]
    )
    assert err == snapshot("""\
run churn-12: started: 2 steps
train: attempt 1 failed: ValueError: bad; the next in 500 ms
train: failed after 700 ms: ValueError: bad
report: skipped (step `train` did not complete)
run churn-12: failed after 3.4 s: 2 steps, 0 done, 1 failed, 1 skipped
error: step `train` of run `churn-12` failed: ValueError   (attempt 2 of 2)
  inputs: alpha = 0.1
  hint: fix it and run again, completed steps are reused; `tilth runs resume churn-12` keeps the code as it was
  Traceback (most recent call last):
    File "a.py", line 1, in train
  ValueError: bad
""")


def test_of_several_failures_the_first_is_explained_and_the_others_are_named() -> None:
    names = [f"s{number}" for number in range(9)]
    other = msgspec.structs.replace(BAD, message="worse")
    _, err = plain(
        [
            RunStarted(RUN, graph(*names)),
            *[
                StepFinished(name, None, State.FAILED, 0.1, failure=other if name != "s0" else BAD)
                for name in names
            ],
            ended(State.FAILED),
        ]
    )
    lines = err.splitlines()
    assert lines[-1] == "  ValueError: bad"
    assert len([line for line in lines if "failed too: ValueError: worse" in line]) == 5
    assert "error: 3 more steps failed; `tilth runs show churn-12` names them" in lines


def test_a_thousand_items_take_a_few_lines() -> None:
    events: list[Event | float] = [
        RunStarted(RUN, graph("score", map=("part",))),
        MapStarted("score", 1000),
    ]
    for index in range(1000):
        state = State.CACHED if index < 300 else State.COMPLETED
        events += [StepStarted("score", index, 1), StepFinished("score", index, state, 0.0), 0.03]
    events += [StepFinished("score", None, State.COMPLETED, 30.0, items=1000), ended(State.COMPLETED)]
    assert plain(events)[1] == snapshot("""\
run churn-12: started: 1 step
score: 335 of 1000 items done
score: 669 of 1000 items done
score: completed in 30.0 s: 1000 items, 300 reused
run churn-12: completed in 3.4 s: 1 step
""")


def test_items_that_fail_are_told_one_by_one_until_they_are_many() -> None:
    events: list[Event | float] = [
        RunStarted(RUN, graph("score", map=("part",))),
        MapStarted("score", 50),
        *[StepFinished("score", index, State.FAILED, 0.0, failure=BAD) for index in range(50)],
        StepFinished("score", None, State.FAILED, 3.0, failure=BAD, items=50),
        ended(State.FAILED),
    ]
    assert plain(events)[1] == snapshot("""\
run churn-12: started: 1 step
score[0]: failed: ValueError: bad
score[1]: failed: ValueError: bad
score[2]: failed: ValueError: bad
score[3]: failed: ValueError: bad
score[4]: failed: ValueError: bad
score: more items failed; they are not told one by one
score: failed after 3.0 s: 50 of 50 items failed
run churn-12: failed after 3.4 s: 1 step, 0 done, 1 failed
error: step `score[0]` of run `churn-12` failed: ValueError
  hint: fix it and run again, completed steps are reused; `tilth runs resume churn-12` keeps the code as it was
  Traceback (most recent call last):
    File "a.py", line 1, in train
  ValueError: bad
""")


def test_a_cancelled_run_says_how_to_go_on() -> None:
    _, err = plain(
        [
            RunStarted(RUN, graph("load", "train")),
            StepFinished("load", None, State.COMPLETED, 0.1),
            StepFinished("train", None, State.CANCELLED, 1.0, failure=Failure(reason="cancelled")),
            ended(State.CANCELLED, 1.5),
        ]
    )
    assert err == snapshot("""\
run churn-12: started: 2 steps
load: completed in 100 ms
train: cancelled
run churn-12: cancelled after 1.5 s: 2 steps, 1 done
  hint: `tilth runs resume churn-12` goes on from here
""")


def test_without_progress_only_a_failure_is_told() -> None:
    started = RunStarted(RUN, graph("train"))
    line = StepLine("train", None, "epoch 1", "stdout")
    done = StepFinished("train", None, State.COMPLETED, 0.1)
    failed = StepFinished("train", None, State.FAILED, 0.1, failure=BAD)
    assert plain([started, line, done, ended(State.COMPLETED)], Progress) == ("", "")
    out, err = plain([started, line, failed, ended(State.FAILED)], Progress)
    assert out == ""
    assert err.startswith("error: step `train` of run `churn-12` failed: ValueError\n")


def test_a_run_goes_on_when_nobody_reads_its_output(tmp_path: object) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out:
        err = io.StringIO()
        progress = PlainProgress(out, err)
        os.close(reading)
        for _ in range(3):
            progress(StepLine("train", None, "unheard", "stdout"))
        progress(StepLine("train", None, "heard", "stderr"))
        assert err.getvalue() == "[train] heard\n"
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def test_text_that_a_stream_cannot_encode_is_escaped() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    PlainProgress(out, io.StringIO())(StepLine("train", None, "naïve \udcff", "stdout"))
    assert raw.getvalue() == b"[train] na\\xefve \\udcff\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [(" 10%\r 50%\r100%", "100%"), ("windows\r", "windows"), ("plain", "plain"), ("", "")],
)
def test_of_a_progress_bar_its_last_state_is_shown(line: str, shown: str) -> None:
    assert visible(line) == shown


def test_records_on_standard_output_are_not_mixed_with_what_steps_print(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with listener(json=True) as progress:
        progress(StepLine("train", None, "epoch 1", "stdout"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "[train] epoch 1\n")


def test_the_setting_chooses_how_a_run_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(listener()) is PlainProgress, "tests have no terminal"
    monkeypatch.setenv("TILTH_PROGRESS", "none")
    assert type(listener()) is Progress
    monkeypatch.setenv("TILTH_PROGRESS", "liv")
    with pytest.raises(SetupError, match="did you mean `live`"):
        listener()
