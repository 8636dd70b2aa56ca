"""Runs a step again where it was checked out: on this terminal and, if asked, under the debugger.

What it is given is the step's folder, as a supervisor hands it over, with `recorded.json` in it:

    {"state": "completed", "outputs": {NAME: DIGEST}, "failure": {"type": …, "message": …}}

What the step prints goes where this process prints; how it ended is told on standard error. The exit code is 0
when it completed, 1 when it failed, 130 when it was interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import SetupError
from tilth.runtime import bytecode, call, client, folder as folders
from tilth.runtime.masking import Mask
from tilth.runtime.worker import Channel, connected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

COMPLETED, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
_MADE = ("outputs", "visualizations", "saved")
_VERSION = 1  # of step.json
_USAGE = """usage: run [--debug]
  --debug  under pdb, from the first line of the step's function; after an exception, where it was raised"""


def serve(settings: str, *options: str) -> None:
    """Run the step and end the process.

    Args:
        settings: JSON: `folder` of the step, `cwd` to run it in, and `name`, as `churn-3/train`.
        options: What `./run` was given. `--answers` names where `Client` is answered: an inherited descriptor, or
            the path of a socket.
    """
    config = json.loads(settings)
    answers = None
    given = list(options)
    if given[:1] == ["--answers"]:
        answers = int(given[1]) if given[1].isdigit() else connected(given[1])
        del given[:2]
    if given not in ([], ["--debug"]):
        _tell(_USAGE)
        sys.exit(COMPLETED if given in (["--help"], ["-h"]) else MISUSED)
    sys.exit(_again(Path(config["folder"]), config["cwd"], config["name"], answers, debug=bool(given)))


def _again(folder: Path, cwd: str, name: str, answers: int | None, *, debug: bool) -> int:
    spec = folders.read_json(folder / "step.json")
    if spec is None or spec["version"] != _VERSION:
        _tell(
            f"error: this version of tilth cannot read `{folder}/step.json`\n  hint: check the step out again"
        )
        return FAILED
    _clear(folder)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    sys.path[:0] = spec["roots"]
    bytecode.trust_only_old(spec["roots"])
    os.chdir(cwd)
    client.set_transport(_nobody(name) if answers is None else Channel(answers).ask)
    mask = Mask(os.environ[each] for each in spec.get("secrets", ()) if each in os.environ)

    def around(function: Callable[..., Any], caller: Callable[[], Any]) -> Any:
        return _debugged(function, caller, mask) if debug else caller()

    call.call_step(folder, around=around)
    result = folders.read_json(folder / "result.json")
    if result is None:
        _tell(
            f"error: step `{name}` could not write its result to `{folder}`\n  hint: make room on that disk"
        )
        return FAILED
    recorded = folders.read_json(folder / "recorded.json") or {}
    if result["state"] == "completed":
        _tell("\n".join([f"step {name}: completed", *compared(recorded, result)]))
        return COMPLETED
    if result["type"] == "bdb.BdbQuit":
        _tell(f"step {name}: not completed, the debugger was left")
        return FAILED
    _tell("\n".join(_failure(name, recorded, result, told=debug and result["reason"] == "exception")))
    return INTERRUPTED if result["type"] == "KeyboardInterrupt" else FAILED


def compared(recorded: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """For each output of a step that completed, whether it is what was recorded."""
    lines = []
    for name, made in result["outputs"].items():
        then, now = recorded.get("outputs", {}).get(name), made["digest"]
        if then is None:
            told = f"none is recorded, the step {recorded.get('state', 'was not recorded')} then"
        else:
            told = "same as recorded" if then == now else f"differs: {now} now, {then} recorded"
        lines.append(f"output {name}: {told}")
    return lines


def _failure(name: str, recorded: Mapping[str, Any], result: Mapping[str, Any], *, told: bool) -> list[str]:
    """How a step failed. The traceback comes first, for the last lines are what is read."""
    lines = [] if told else [result["traceback"].rstrip("\n")]
    before = recorded.get("failure")
    if before is None:
        then = f"; it {recorded['state']} when it was recorded" if recorded.get("state") else ""
    elif (before["type"], before["message"]) == (result["type"], result["message"]):
        then = ", as recorded"
    else:
        then = f"; recorded is {_kind(before)}"
    lines.append(f"error: step `{name}` failed: {_kind(result)}{then}")
    lines += [f"  hint: {result['mend']}"] if result.get("mend") else []
    return [each for each in lines if each]


def _kind(failure: Mapping[str, Any]) -> str:
    first = next(iter(failure["message"].splitlines()), "")
    return ": ".join(filter(None, (failure["type"].rpartition(".")[2] or failure["reason"], first)))


def _clear(folder: Path) -> None:
    """Take away what the step made the last time it was run here."""
    for name in _MADE:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("events.jsonl", "result.json"):
        (folder / name).unlink(missing_ok=True)


def _nobody(name: str) -> Callable[[str, dict[str, Any]], Any]:
    def ask(method: str, _params: dict[str, Any]) -> Any:
        raise SetupError(
            f"the step asks for what is recorded (`{method}`), and nobody answers here",
            mend=f"run it with `tilth runs rerun {name} --local`, which does",
        )

    return ask


def _debugged(function: Callable[..., Any], caller: Callable[[], Any], mask: Mask) -> Any:
    """Call the step under pdb: stop at the first line of its function, at breakpoints, and after an exception."""
    import pdb
    from bdb import BdbQuit

    debugger = pdb.Pdb()
    code = call.signed(function).__code__
    debugger.reset()
    debugger.set_break(code.co_filename, code.co_firstlineno, temporary=True, funcname=code.co_name)
    # As if a person had stopped here and said `continue`: nothing of tilth's is stepped through.
    debugger.botframe = sys._getframe()
    debugger.set_continue()
    sys.breakpointhook = lambda *_, **__: debugger.set_trace(sys._getframe(1))
    sys.settrace(debugger.trace_dispatch)
    try:
        return caller()
    except BdbQuit:
        raise
    except Exception as error:
        sys.settrace(None)
        _tell(mask.text(call.traceback_text(error)).rstrip("\n"))
        _tell("post-mortem: `q` leaves the debugger")
        debugger.reset()
        debugger.interaction(None, _of_the_user(error.__traceback__))
        raise
    finally:
        sys.settrace(None)


def _of_the_user(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame that is not tilth's on."""
    ours = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120 - as code names its files
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename.startswith(ours):
        first = first.tb_next
    return first or trace


def _tell(text: str) -> None:
    sys.stdout.flush()
    if text:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is what is told
