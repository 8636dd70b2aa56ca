"""How the failure of a step reads: less than a screen, the cause last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.client.wording import clipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.records import Failure

_FRAME_LINES = 12
_MESSAGE_LINES = 5
_LINE_WIDTH = 300

_WHAT = {
    "exception": "failed",
    "exited": "ended its process",
    "killed": "was killed",
    "out_of_memory": "ran out of memory",
    "timeout": "ran out of time",
    "cancelled": "was cancelled",
    "output": "gave an output that cannot be kept",
    "input": "could not read an input",
    "environment": "could not get its environment",
    "upstream": "was not started",
    "changed": "has other code than when the run was compiled",
    "disk_full": "found no space left",
    "lost": "was lost: nothing is heard of where it ran",
    "upload": "ended, and what it gave could not be stored",
}
_WITH_TRACEBACK = ("exception", "out_of_memory")
# The step's own code is at fault: to resume would run the same code again.
_IN_THE_CODE = ("exception", "output", "exited")


def what_happened(failure: Failure) -> str:
    """The kind of end in a few words: `failed: ValueError`, `was killed`."""
    what = _WHAT.get(failure.reason, f"failed: {failure.reason}")
    return (
        f"{what}: {failure.type.rpartition('.')[2]}"
        if failure.reason == "exception" and failure.type
        else what
    )


def cause(failure: Failure, width: int = 100) -> str:
    """Why, in one line: `ValueError: bad`, `killed: SIGSEGV`."""
    kind = (
        failure.type.rpartition(".")[2] if failure.reason == "exception" else failure.reason.replace("_", " ")
    )
    message = failure.message.strip()
    return clipped(f"{kind}: {message}" if message else kind or failure.reason, width)


def step_failure(
    failure: Failure,
    *,
    step: str,
    run: str,
    attempt: int = 1,
    attempts: int = 1,
    inputs: Mapping[str, str] | None = None,
    whole: bool = False,
) -> list[str]:
    """The lines that tell a user why a step failed. A traceback comes last, with the cause at its end.

    Args:
        attempts: How many there could be.
        inputs: What the step was given, in a few words each.
        whole: Leave nothing out of the traceback and the message.
    """
    tries = ""
    if 1 < attempts >= attempt:
        tries = f"   (attempt {attempt} of {attempts})"
    elif attempt > 1:  # a run that was resumed goes on counting
        tries = f"   (attempt {attempt})"
    lines = [f"error: step `{step}` of run `{run}` {what_happened(failure)}{tries}"]
    if inputs:
        listed = ", ".join(f"{name} = {value}" for name, value in inputs.items())
        lines.append(f"  inputs: {listed if whole else clipped(listed, 2 * 100)}")
    hints = [f"  hint: {clipped(failure.mend, _LINE_WIDTH)}"] if failure.mend else []
    hints.append(f"  hint: {_next(failure, run)}")
    explanation = [f"  {line}" for line in _explanation(failure, whole=whole)]
    if _shows_traceback(failure, whole):
        return lines + hints + explanation
    return lines + explanation + hints


def run_failure(failure: Failure, *, run: str) -> list[str]:
    """The lines that tell why a run failed when no step is at fault."""
    lines = [f"error: run `{run}` failed: {failure.reason.replace('_', ' ')}"]
    lines += [f"  {line}" for line in _explanation(failure, whole=False)]
    if failure.mend:
        lines.append(f"  hint: {clipped(failure.mend, _LINE_WIDTH)}")
    return lines


def _shows_traceback(failure: Failure, whole: bool) -> bool:
    return bool(failure.traceback) and (failure.reason in _WITH_TRACEBACK or whole)


def _exception(failure: Failure) -> str:
    """The name of the exception a step raised, without its module."""
    return failure.type.rpartition(".")[2] if failure.reason == "exception" else ""


def _next(failure: Failure, run: str) -> str:
    if failure.reason == "changed":
        return "run again: completed steps are reused"
    if failure.reason in _IN_THE_CODE:
        again = "fix it and run again, completed steps are reused"
        return f"{again}; `tilth runs resume {run}` keeps the code as it was"
    return f"`tilth runs resume {run}` goes on from here"


def _explanation(failure: Failure, *, whole: bool) -> list[str]:
    message = failure.message.strip("\n")
    if _shows_traceback(failure, whole):
        text = failure.traceback.strip("\n")
        frames, end = text, ""
        if message and text.endswith(message):
            # The line the message begins in starts with the type, so it goes with the message.
            begin = text.rfind("\n", 0, len(text) - len(message)) + 1
            frames, end = text[:begin].rstrip("\n"), text[begin:]
    else:
        told = (_exception(failure), message)
        frames, end = "", ": ".join(filter(None, told)) or failure.reason.replace("_", " ")
    if whole:
        return frames.splitlines() + end.splitlines()
    return [_narrow(line) for line in _frames(frames.splitlines()) + _head(end.splitlines())]


def _frames(lines: list[str]) -> list[str]:
    """At most so many lines of a traceback: its first, and what is nearest to the cause."""
    if len(lines) <= _FRAME_LINES:
        return lines
    kept = [line for line in lines if line.strip(" ^~")]  # lines that only point at a column go first
    if len(kept) > _FRAME_LINES:
        kept = kept[-_FRAME_LINES + 2 :]
        while len(kept) > 1 and kept[0].startswith("    "):  # the rest of a frame without its head
            del kept[0]
        left_out = len(lines) - len(kept) - 1
        kept = [lines[0], f"  … {left_out} lines left out, `--traceback` shows them", *kept]
    return kept


def _head(lines: list[str]) -> list[str]:
    if len(lines) <= _MESSAGE_LINES:
        return lines
    return [*lines[: _MESSAGE_LINES - 1], f"… {len(lines) - _MESSAGE_LINES + 1} more lines"]


def _narrow(line: str) -> str:
    return line if len(line) <= _LINE_WIDTH else line[: _LINE_WIDTH - 1] + "…"
