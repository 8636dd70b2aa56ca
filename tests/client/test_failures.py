from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, strategies as st
from inline_snapshot import snapshot

from tilth.client.failures import cause, run_failure, step_failure
from tilth.records import Failure


def raised(frames: int = 2, message: str = "bad", **more: Any) -> Failure:
    lines = ["Traceback (most recent call last):"]
    for number in range(frames):
        lines += [f'  File "learn.py", line {number}, in step_{number}', f"    call_{number}()"]
    text = "\n".join([*lines, f"ValueError: {message}"]) + "\n"
    return Failure(reason="exception", type="ValueError", message=message, traceback=text, **more)


def test_an_exception_is_told_with_its_inputs_and_its_cause_last() -> None:
    lines = step_failure(
        raised(),
        step="train",
        run="churn-12",
        attempt=2,
        attempts=2,
        inputs={"frame": "DataFrame 569 x 31", "alpha": "0.1"},
    )
    assert "\n".join(lines) == snapshot("""\
error: step `train` of run `churn-12` failed: ValueError   (attempt 2 of 2)
  inputs: frame = DataFrame 569 x 31, alpha = 0.1
  hint: fix it and run again, completed steps are reused; `tilth runs resume churn-12` keeps the code as it was
  Traceback (most recent call last):
    File "learn.py", line 0, in step_0
      call_0()
    File "learn.py", line 1, in step_1
      call_1()
  ValueError: bad\
""")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("exited", "exit code 3"),
        ("killed", "SIGSEGV"),
        ("out_of_memory", "it used 2.1 GB of 2.0 GB"),
        ("timeout", "it took longer than 30 s"),
        ("disk_full", "no space left"),
        ("changed", "pipeline.py"),
        ("environment", "no version of `nope` exists"),
    ],
)
def test_an_end_that_is_no_exception_is_told_as_what_it_was(reason: str, message: str) -> None:
    failure = Failure(reason=reason, message=message)
    lines = step_failure(failure, step="train", run="churn-12")
    assert lines[1] == f"  {message}"
    assert lines[2].startswith("  hint: ")
    assert "exception" not in "\n".join(lines)
    assert cause(failure) == f"{reason.replace('_', ' ')}: {message}"


def test_a_killed_step_can_be_resumed_as_it_is() -> None:
    lines = step_failure(Failure(reason="killed", message="SIGKILL"), step="train", run="churn-12")
    assert lines == snapshot(
        [
            "error: step `train` of run `churn-12` was killed",
            "  SIGKILL",
            "  hint: `tilth runs resume churn-12` goes on from here",
        ]
    )


@given(
    st.integers(0, 300),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool),
    st.integers(1, 80),
)
def test_the_longest_failure_fits_a_screen(frames: int, word: str, lines: int) -> None:
    message = "\n".join([word] * lines)
    told = step_failure(raised(frames, message), step="train", run="churn-12", inputs={"x": "y" * 999})
    assert len(told) < 25
    assert f"  {clip(f'ValueError: {word}')}" in told, "the cause is kept whatever is left out"
    assert max(map(len, told)) <= 302


def clip(line: str) -> str:
    return line if len(line) <= 300 else line[:299] + "…"


def test_what_was_left_out_is_counted() -> None:
    told = "\n".join(step_failure(raised(50, "\n".join("abcdefghij")), step="train", run="churn-12"))
    kept = re.findall(r"call_(\d+)", told)
    assert kept == ["45", "46", "47", "48", "49"]
    assert told.splitlines()[-1] == "  … 6 more lines"


def test_lines_that_only_point_at_a_column_go_first() -> None:
    frames = [f'  File "a.py", line {n}, in f\n    g({n})\n      ^^^^' for n in range(5)]
    text = "\n".join(["Traceback (most recent call last):", *frames, "ValueError: bad"])
    failure = Failure(reason="exception", type="ValueError", message="bad", traceback=text)
    told = step_failure(failure, step="train", run="churn-12")
    assert [line.strip() for line in told if "g(" in line] == [f"g({n})" for n in range(5)]
    assert not [line for line in told if "^" in line or "left out" in line]


def test_a_memory_error_shows_where_it_was_raised() -> None:
    text = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nMemoryError\n'
    failure = Failure(reason="out_of_memory", type="MemoryError", traceback=text)
    told = step_failure(failure, step="train", run="churn-12")
    assert told[0].endswith("ran out of memory")
    assert told[-2:] == ['    File "a.py", line 1, in f', "  MemoryError"]


def test_the_whole_traceback_leaves_nothing_out() -> None:
    failure = raised(50, "x" * 5000)
    told = "\n".join(step_failure(failure, step="train", run="churn-12", whole=True))
    assert all(line in told for line in failure.traceback.splitlines())


def test_what_mends_a_failure_stands_before_a_traceback() -> None:
    lines = step_failure(raised(mend="give a number"), step="train", run="churn-12")
    assert lines.index("  hint: give a number") < lines.index("  Traceback (most recent call last):")


def test_an_exception_of_a_library_is_named_without_its_module() -> None:
    failure = Failure(reason="exception", type="sklearn.exceptions.NotFittedError", message="")
    assert cause(failure) == "NotFittedError"
    assert step_failure(failure, step="a", run="b-1")[1] == "  NotFittedError"


def test_a_run_that_failed_without_a_step_says_why() -> None:
    failure = Failure(reason="disk_full", message="the database cannot grow", mend="free some space")
    assert run_failure(failure, run="churn-12") == snapshot(
        ["error: run `churn-12` failed: disk full", "  the database cannot grow", "  hint: free some space"]
    )
