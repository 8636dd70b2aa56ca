"""Whole runs through the real command, as a user types it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Tilth = Any  # see tests/conftest.py

PROJECT = """
from typing import Annotated

from tilth import log_metadata, pipeline, step


@step
def load(count: int) -> Annotated[list[int], "numbers"]:
    print("loading", count)
    return list(range(count))


@step
def mean(numbers: list[int], scale: float = 1.0) -> Annotated[float, "mean"]:
    import sys

    print("careful", file=sys.stderr)
    log_metadata({"count": len(numbers)})
    return scale * sum(numbers) / len(numbers)


@pipeline
def average(count: int = 10, scale: float = 1.0):
    mean(load(count), scale=scale)
"""

MAPPED = """
from tilth import pipeline, step


@step
def parts() -> list[int]:
    return list(range(20))


@step
def square(part: int) -> int:
    return part * part


@step
def total(squares: list[int]) -> int:
    print("sum", sum(squares))
    return sum(squares)


@pipeline
def squares():
    total(square.map(parts()))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two steps."""
    (tmp_path / "tilth.toml").touch()
    (tmp_path / "pipeline.py").write_text(PROJECT)
    return tmp_path


def test_a_pipeline_runs_and_the_second_time_is_reused(project: Path, tilth: Tilth) -> None:
    first = tilth("run", "pipeline.py")
    assert first.stdout == "[load] loading 10\n"
    assert "[mean] careful\n" in first.stderr
    assert "run average-1: completed in" in first.stderr
    second = tilth("run", "pipeline.py")
    assert second.stdout == ""
    assert "load: reused (same code, inputs and environment)\n" in second.stderr
    assert second.stderr.splitlines()[-1].endswith("2 steps, 2 reused")


def test_a_parameter_changes_what_depends_on_it(project: Path, tilth: Tilth) -> None:
    tilth("run", "pipeline.py")
    changed = tilth("run", "pipeline.py", "--param", "scale=2.5", "--json")
    assert changed.json["parameters"] == {"count": 10, "scale": 2.5}
    shown = tilth("runs", "show", "average-2").stdout
    assert "scale" in next(line for line in shown.splitlines() if line.startswith("mean"))
    assert "reused" in next(line for line in shown.splitlines() if line.startswith("load"))


def test_nothing_is_reused_without_the_cache(project: Path, tilth: Tilth) -> None:
    tilth("run", "pipeline.py")
    assert "reused" not in tilth("run", "pipeline.py", "--no-cache").stderr


def test_a_plan_says_what_would_run_and_why_and_does_nothing(project: Path, tilth: Tilth, home: Path) -> None:
    plan = tilth("plan", "pipeline.py")
    assert plan.stdout.startswith("pipeline average: 2 steps, ")
    assert not (home / "runs").exists()
    tilth("run", "pipeline.py")
    planned = tilth("plan", "pipeline.py", "--json").json
    assert [(each["id"], each["cached"]) for each in planned["steps"]] == [("load", True), ("mean", True)]
    assert "2 reused" in tilth("plan", "pipeline.py").stdout


def test_records_alone_are_on_standard_output_with_json(project: Path, tilth: Tilth) -> None:
    ran = tilth("run", "pipeline.py", "--json")
    assert ran.json["name"] == "average-1"
    assert ran.json["state"] == "completed"
    assert "[load] loading 10\n" in ran.stderr
    for command in (["runs", "list"], ["runs", "show", "average-1"], ["artifacts", "list"], ["env", "list"]):
        assert tilth(*command, "--json").json is not None
    lines = tilth("runs", "logs", "average-1", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["loading 10", "careful"]


def test_a_failing_step_fits_a_screen_with_the_cause_last(project: Path, tilth: Tilth) -> None:
    nested = "\n".join(f"def level_{n}(x):\n    return level_{n + 1}(x)\n" for n in range(40))
    (project / "pipeline.py").write_text(
        PROJECT.replace("return scale *", "level_0(scale)\n    return scale *")
        + nested
        + "\ndef level_40(x):\n    raise ValueError(f'{x} is bad')\n"
    )
    ended = tilth("run", "pipeline.py", code=1)
    lines = ended.stderr.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("error: "))
    assert lines[start] == "error: step `mean` of run `average-1` failed: ValueError"
    assert lines[start + 1] == "  inputs: numbers = list of 10, scale = 1.0"
    assert lines[-1] == "  ValueError: 1.0 is bad"
    assert len(lines) < 25
    assert "runtime/call.py" not in ended.stderr
    whole = tilth("run", "pipeline.py", "--traceback", code=1)
    assert all(f"in level_{n}\n" in whole.stderr for n in range(40))
    assert tilth("runs", "show", "average-1").stdout.splitlines()[-1] == "  ValueError: 1.0 is bad"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os; os._exit(3)", "ended its process"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed"),
        ("import ctypes; ctypes.string_at(0)", "was killed"),
    ],
)
def test_a_step_that_dies_is_told_as_what_it_was(project: Path, tilth: Tilth, code: str, told: str) -> None:
    (project / "pipeline.py").write_text(PROJECT.replace('print("loading", count)', code))
    ended = tilth("run", "pipeline.py", code=1)
    assert f"error: step `load` of run `average-1` {told}\n" in ended.stderr
    assert "mean: skipped" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pipelin.py"], "did you mean `pipeline.py`?"),
        (["."], "name the file in it, as `pipeline.py`"),
        (["pipeline.py", "--param", "count"], "write `--param NAME=VALUE`"),
        (["pipeline.py", "--param", "count=1", "--param", "count=2"], "parameter `count` is given twice"),
        (["pipeline.py", "--workers", "0"], "invalid value for `--workers`"),
    ],
)
def test_misuse_is_told_before_anything_starts(
    project: Path, tilth: Tilth, home: Path, arguments: list[str], told: str
) -> None:
    ended = tilth("run", *arguments, code=2)
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) <= 3
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pipeline.py:averag"], "average"),
        (["pipeline.py", "--param", "cuont=3"], "count"),
        (["pipeline.py", "--param", "count=three"], "three"),
    ],
)
def test_a_wrong_pipeline_or_parameter_names_the_right_one(
    project: Path, tilth: Tilth, arguments: list[str], told: str
) -> None:
    ended = tilth("run", *arguments, code=1)
    assert ended.stderr.startswith("error: ")
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert tilth("runs", "list", "--json").json == []


def test_a_mapped_step_is_one_line(project: Path, tilth: Tilth) -> None:
    (project / "squares.py").write_text(MAPPED)
    ended = tilth("run", "squares.py")
    assert ended.stdout == "[total] sum 2470\n"
    assert next(line for line in ended.stderr.splitlines() if line.startswith("square")).endswith(
        ": 20 items"
    )
    shown = tilth("runs", "show", "squares-1").stdout
    assert next(line for line in shown.splitlines() if line.startswith("square ")).split()[-1] != ""


def test_logs_of_one_step_are_as_it_printed_them(project: Path, tilth: Tilth) -> None:
    tilth("run", "pipeline.py")
    assert tilth("runs", "logs", "average-1").stdout == "[load] loading 10\n[mean] careful\n"
    assert tilth("runs", "logs", "average-1", "load").stdout == "loading 10\n"
    assert "`load`" in tilth("runs", "logs", "average-1", "laod", code=1).stderr


def test_an_artifact_can_be_copied_out(project: Path, tilth: Tilth) -> None:
    tilth("run", "pipeline.py")
    tilth("artifacts", "get", "mean", "mean.json")
    assert json.loads((project / "mean.json").read_text()) == 4.5
    shown = tilth("artifacts", "show", "numbers", "--json").json
    assert shown["produced_by"]["run"] == "average-1"
    assert shown["used_by"] == [{"run": "average-1", "step": "mean"}]


def test_a_deleted_run_is_gone_and_its_artifacts_stay(project: Path, tilth: Tilth) -> None:
    tilth("run", "pipeline.py")
    assert tilth("runs", "delete", "average-1").stderr == "run average-1: deleted\n"
    assert tilth("runs", "list", "--json").json == []
    assert len(tilth("artifacts", "list", "--json").json) == 2


def test_a_failed_run_is_resumed_where_it_failed(project: Path, tilth: Tilth) -> None:
    (project / "pipeline.py").write_text(
        PROJECT.replace(
            "return scale *", "import pathlib; assert pathlib.Path('go').exists()\n    return scale *"
        )
    )
    tilth("run", "pipeline.py", code=1)
    (project / "go").touch()
    resumed = tilth("runs", "resume", "average-1")
    assert "run average-1: resumed" in resumed.stderr
    assert "loading" not in resumed.stdout
    assert tilth("runs", "show", "average-1").stdout.startswith("run average-1: completed\n")


SLEEPS = PROJECT.replace('print("careful", file=sys.stderr)', "import time; print('asleep'); time.sleep(600)")


def started(project: Path, *arguments: str) -> subprocess.Popen[str]:
    """A run that has come to its sleeping step."""
    (project / "pipeline.py").write_text(SLEEPS)
    command = [sys.executable, "-m", "tilth.cli", "run", "pipeline.py", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "asleep" in line:
            return process
    raise AssertionError(process.stderr.read() if process.stderr else "")


def test_an_interrupt_cancels_the_run_at_once(project: Path, tilth: Tilth) -> None:
    process = started(project)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=180)
    assert time.monotonic() - began < 60  # the step sleeps ten minutes
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "  hint: `tilth runs resume average-1` goes on from here"
    assert tilth("runs", "list", "--json").json[0]["state"] == "cancelled"


def test_a_run_is_followed_and_cancelled_from_elsewhere(project: Path, tilth: Tilth) -> None:
    process = started(project)
    assert "running" in tilth("runs", "list").stdout
    assert "is running" in tilth("runs", "delete", "average-1", code=1).stderr
    following = subprocess.Popen(
        [sys.executable, "-m", "tilth.cli", "runs", "logs", "average-1", "--follow"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert tilth("runs", "cancel", "average-1").stderr == "run average-1: cancelled\n"
    process.communicate(timeout=180)
    assert process.returncode == 130
    assert following.communicate(timeout=180)[0] == "[load] loading 10\n[mean] asleep\n"


def test_a_killed_run_is_interrupted_and_can_be_finished(project: Path, tilth: Tilth) -> None:
    process = started(project)
    process.kill()
    process.communicate()
    assert "interrupted" in tilth("runs", "show", "average-1").stdout.splitlines()[0]


def on_a_terminal(project: Path, *arguments: str, rows: int = 24, columns: int = 100, **env: str) -> bytes:
    """Everything that `tilth` writes to a terminal."""
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", **env}
    for name in {"CI", "NO_COLOR", "COLUMNS"} - env.keys():
        environment.pop(name, None)
    command = [sys.executable, "-m", "tilth.cli", *arguments]
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    written = b""
    try:
        while select.select([leader], [], [], 180)[0]:
            data = os.read(leader, 1 << 16)
            if not data:
                break
            written += data
    except OSError:  # Linux: the last one closed the terminal
        pass
    finally:
        os.close(leader)
    assert process.wait(timeout=180) == 0
    return written


def test_a_terminal_gets_a_table_and_its_cursor_back(project: Path, tilth: Tilth) -> None:
    written = on_a_terminal(project, "run", "pipeline.py").decode()
    assert "✓" in written
    assert "loading 10" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert "run average-1: completed in" in written.splitlines()[-1]


def test_no_color_is_respected_on_a_terminal(project: Path, tilth: Tilth) -> None:
    written = on_a_terminal(project, "run", "pipeline.py", NO_COLOR="1").decode()
    colours = [code for code in ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m") if code in written]
    assert colours == []
    assert "\x1b[3" not in on_a_terminal(project, "runs", "list", NO_COLOR="1").decode()


def test_a_terminal_of_a_ci_service_gets_plain_lines(project: Path, tilth: Tilth) -> None:
    assert b"\x1b" not in on_a_terminal(project, "run", "pipeline.py", CI="1")
