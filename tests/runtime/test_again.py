"""A step that was checked out, run again on a plain pipe, in every Python that is here."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.runtime.conftest import BOOTSTRAP

from tilth.runtime.again import compared
from tilth.runtime.folder import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STEPS = """
import functools
import sys

def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

def divide(top, bottom):
    share = top / bottom
    return share

@traced
def decorated(top, bottom):
    return divide(top, bottom)

async def waits(top, bottom):
    return divide(top, bottom)

def stops(top, bottom):
    breakpoint()
    share = divide(top, bottom)
    return share

def exits(top, bottom):
    sys.exit(3)

def interrupted(top, bottom):
    raise KeyboardInterrupt
"""


LINES = {  # of the first statement
    name: STEPS[: STEPS.index(f"def {name}(")].count("\n") + 2 for name in ("divide", "decorated", "waits")
}


@pytest.fixture
def checked_out(tmp_path: Path, step_folder: Callable[..., Path]) -> Callable[..., Path]:
    """`checked_out("divide", 6, 3)`: a step's folder as a checkout has it."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "steps.py").write_text(STEPS)

    def make(function: str, top: int, bottom: int, **recorded: Any) -> Path:
        folder = step_folder(
            tmp_path / "step", f"steps:{function}", roots=[str(code)], outputs=["output"],
            inputs={"top": top, "bottom": bottom},
        )  # fmt: skip
        write_json(folder / "step.json", {**read_json(folder / "step.json"), "version": 1})
        if recorded:
            write_json(folder / "recorded.json", {"outputs": {}, "failure": None, **recorded})
        return folder

    return make


def again(python: Path, folder: Path, *options: str, typed: Sequence[str] = ()) -> tuple[int, str]:
    """Exit code, and all that was printed."""
    settings = json.dumps({"folder": str(folder), "cwd": str(folder.parent / "code"), "name": "flow-1/step"})
    done = subprocess.run(
        [python, "-I", BOOTSTRAP, "again", "", settings, *options],
        input="".join(f"{line}\n" for line in typed),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_step_is_run_and_its_output_compared(checked_out: Callable[..., Path], pythons: list[Path]) -> None:
    folder = checked_out("divide", 6, 3, state="completed")
    for python in pythons:
        code, said = again(python, folder)
        assert (code, said) == (
            0, "step flow-1/step: completed\noutput output: none is recorded, the step completed then\n"
        )  # fmt: skip
    digest = read_json(folder / "result.json")["outputs"]["output"]["digest"]
    write_json(
        folder / "recorded.json", {"state": "completed", "outputs": {"output": digest}, "failure": None}
    )
    assert again(pythons[0], folder)[1].endswith("output output: same as recorded\n")


@pytest.mark.parametrize("function", ["divide", "decorated", "waits"])
def test_the_debugger_stops_at_the_function_and_after_its_failure(
    checked_out: Callable[..., Path], pythons: list[Path], function: str
) -> None:
    folder = checked_out(function, 6, 0)
    for python in pythons:
        code, said = again(
            python, folder, "--debug", typed=["p 'at', top", "c", "p 'post', bottom", "w", "q"]
        )
        assert code == 1, said
        assert "('at', 6)" in said
        assert f"steps.py({LINES[function]}){function}()" in said.partition("(Pdb)")[0]
        assert "('post', 0)" in said
        assert "> share = top / bottom" in said
        assert "error: step `flow-1/step` failed: ZeroDivisionError: division by zero" in said
        assert "runtime/call.py" not in said.partition("post-mortem")[2]


def test_a_breakpoint_in_the_code_stops_there(checked_out: Callable[..., Path], pythons: list[Path]) -> None:
    folder = checked_out("stops", 6, 3)
    for python in pythons:
        code, said = again(python, folder, "--debug", typed=["c", "n", "n", "p 'there', share", "c"])
        assert code == 0, said
        assert "('there', 2.0)" in said


def test_without_the_debugger_a_breakpoint_works_too(
    checked_out: Callable[..., Path], pythons: list[Path]
) -> None:
    folder = checked_out("stops", 6, 3)
    for python in pythons:
        code, said = again(python, folder, typed=["p 'there', bottom", "c"])
        assert code == 0, said
        assert "('there', 3)" in said


@pytest.mark.parametrize("typed", [["q"], []])
def test_leaving_the_debugger_is_no_failure_of_the_step(
    checked_out: Callable[..., Path], pythons: list[Path], typed: list[str]
) -> None:
    for python in pythons[-1:]:
        code, said = again(python, checked_out("divide", 6, 3), "--debug", typed=typed)
        assert code == 1
        assert said.endswith("step flow-1/step: not completed, the debugger was left\n")
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("function", "failure", "code", "end"),
    [
        ("divide", None, 1, "ZeroDivisionError: division by zero; it completed when it was recorded"),
        (
            "divide", {"type": "ZeroDivisionError", "reason": "exception", "message": "division by zero"}, 1,
            "ZeroDivisionError: division by zero, as recorded",
        ),
        (
            "divide", {"type": "", "reason": "killed", "message": "its process was killed by SIGKILL"}, 1,
            "ZeroDivisionError: division by zero; recorded is killed: its process was killed by SIGKILL",
        ),
        ("exits", None, 1, "SystemExit: the step called `sys.exit(3)`; it completed when it was recorded"),
        ("interrupted", None, 130, "KeyboardInterrupt; it completed when it was recorded"),
    ],
)  # fmt: skip
def test_a_failure_is_told_beside_the_recorded_one(
    checked_out: Callable[..., Path], pythons: list[Path], function: str, failure: Any, code: int, end: str
) -> None:
    folder = checked_out(function, 1, 0, state="failed" if failure else "completed", failure=failure)
    ended, said = again(pythons[0], folder)
    assert ended == code
    assert said.endswith(f"error: step `flow-1/step` failed: {end}\n")


def test_a_step_of_another_version_is_refused(checked_out: Callable[..., Path], pythons: list[Path]) -> None:
    folder = checked_out("divide", 6, 3)
    write_json(folder / "step.json", {**read_json(folder / "step.json"), "version": 2})
    code, said = again(pythons[0], folder)
    assert code == 1
    assert "cannot read" in said


def test_outputs_are_compared_by_name() -> None:
    recorded = {"state": "completed", "outputs": {"one": "sha256:1", "two": "sha256:2"}}
    result = {"outputs": {"one": {"digest": "sha256:1"}, "two": {"digest": "sha256:3"}}}
    assert compared(recorded, result) == [
        "output one: same as recorded",
        "output two: differs: sha256:3 now, sha256:2 recorded",
    ]
