"""Shells and commands in recorded environments, through the real command line."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.conftest import TILTH
from tests.engine.play import wait_until

from tilth.environments.files import alone, remove_tree
from tilth.records import Environment, Package, StepRun
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from tests.client.conftest import Past

WHAT = """
import os, sys, alpha
print(alpha.VERSION, sys.prefix, os.environ["VIRTUAL_ENV"], os.environ["GREETING"])
print(os.environ.get("PYTHONPATH"), os.environ.get("PYTHONHOME"))
"""


@pytest.mark.parametrize("wanted", ["own", "flow-1/train", "flow-2/train"])
def test_a_command_runs_in_an_environment_as_a_step_would(shared_past: Past, wanted: str) -> None:
    venv = shared_past.venv()
    said = shared_past.tilth("env", "shell", wanted, "--", "python", "-c", WHAT, PYTHONPATH="/nowhere")
    assert said.stdout == f"1.0 {venv} {venv} hello\nNone None\n"
    assert said.stderr == ""
    # The double dash may be left out: what comes after the environment is the command's.
    assert shared_past.tilth("env", "shell", wanted, "alpha-says").stdout == "alpha 1.0\n"


def test_the_exit_code_is_the_command_s(shared_past: Past) -> None:
    shared_past.tilth("env", "shell", "own", "--", "sh", "-c", "exit 7", code=7)
    shared_past.tilth("env", "shell", "own", "--", "sh", "-c", "kill -9 $$", code=128 + signal.SIGKILL)


def test_an_environment_that_is_not_there_is_made_from_its_lock_without_an_index(past: Past) -> None:
    venv = past.venv()
    remove_tree(past.home.environments)
    said = past.tilth("env", "shell", "own", "--", "python", "-c", WHAT)
    assert said.stdout.startswith(f"1.0 {venv} ")
    assert said.stderr.startswith("making environment `own`: 1 package\nmade environment `own` in ")


def test_the_lock_alone_is_enough_when_its_runs_are_deleted(past: Past) -> None:
    remove_tree(past.home.environments)
    past.tilth("runs", "delete", "flow-1", "flow-2")
    assert past.tilth("env", "shell", "own", "alpha-says").stdout == "alpha 1.0\n"


def test_a_step_in_the_client_s_interpreter_gives_that(shared_past: Past) -> None:
    said = shared_past.tilth(
        "env", "shell", "flow-1/load", "python", "-c", "import sys; print(sys.executable)"
    )
    assert said.stdout == f"{Path(sys.executable).with_name('python')}\n"


def test_what_has_changed_in_the_client_s_interpreter_is_told(past: Past) -> None:
    minor = "{}.{}".format(*sys.version_info)
    change_recorded_client(past, python=f"{minor}.99", package="no-such-package")
    said = past.tilth("env", "shell", "flow-1/load", "python", "-c", "pass")
    assert (
        f"warning: the client's interpreter is not as it was in run `flow-1`: Python {minor}.99"
        in said.stderr
    )
    assert "no-such-package" not in said.stderr  # the step does not reach it


def test_a_client_s_interpreter_of_another_python_is_refused(past: Past) -> None:
    change_recorded_client(past, python="3.9.1", package="no-such-package")
    said = past.tilth("env", "shell", "flow-1/load", "python", code=1)
    assert "is another Python now" in said.stderr
    assert "it was Python 3.9.1" in said.stderr


def change_recorded_client(past: Past, *, python: str, package: str) -> None:
    """Let the record of `flow-1` say that the client's interpreter was another."""
    run = past.run("flow-1")
    assert run.client
    with contextlib.closing(open_store(past.home)) as store:
        installed = store.get(Environment, run.client.environment)
        packages = (*installed.packages, Package(name=package, version="1.0"))
        other = msgspec.structs.replace(installed, id="sha256:" + "f" * 64, packages=packages)
        store.write([Put(other)])
        client = msgspec.structs.replace(run.client, python=python, environment=other.id)
        store.replace(run, msgspec.structs.replace(run, client=client))


def test_the_client_s_own_environment_can_be_entered_too(shared_past: Past) -> None:
    command = ["python", "-c", "import sys; print(sys.executable)"]
    said = shared_past.tilth("env", "shell", "client", *command)
    assert said.stdout == f"{Path(sys.executable).with_name('python')}\n"


def test_files_that_are_changed_inside_are_told_and_the_environment_made_anew(past: Past) -> None:
    if os.geteuid():
        pytest.skip("only root can write into an environment without further ado")
    said = past.tilth("env", "shell", "own", "--", "sh", "-c", 'echo > "$VIRTUAL_ENV/left"')
    assert "environment `own` was changed while it was open (1 file: `left`); it is made anew" in said.stderr
    again = past.tilth("env", "shell", "own", "--", "sh", "-c", 'ls "$VIRTUAL_ENV"')
    assert "left" not in again.stdout
    assert "made environment `own`" in again.stderr
    # What ran before it was opened met no change.
    assert all(each.cache_key for each in past.records(StepRun, step="train") if each.state.is_good)


def test_an_environment_that_somebody_changed_before_is_made_anew_first(past: Past) -> None:
    venv = past.venv()
    venv.chmod(0o755)
    (venv / "left").touch()
    said = past.tilth("env", "shell", "own", "--", "sh", "-c", 'ls "$VIRTUAL_ENV"')
    assert "was changed by whoever used it before (1 file: `left`)" in said.stderr
    assert "left" not in said.stdout
    assert not any(each.cache_key for each in past.records(StepRun, step="train"))


def test_an_open_environment_is_held(past: Past) -> None:
    users = past.home.environments / f".{past.venv().name}.users"
    marker = past.folder / "open"
    with subprocess.Popen(
        [TILTH, "env", "shell", "own", "--", "sh", "-c", f'touch "{marker}"; exec sleep 600'],
        cwd=past.folder,
        env={**os.environ, **past.variables},
    ) as process:
        wait_until(marker.exists)
        with alone(users) as unused:
            assert not unused
        process.send_signal(signal.SIGTERM)  # is passed on
        assert process.wait(180) == 128 + signal.SIGTERM
    with alone(users) as unused:
        assert unused


def test_pruning_leaves_an_open_environment_alone(past: Past) -> None:
    prune = f'"{TILTH}" env prune --all'
    said = past.tilth("env", "shell", "own", "--", "sh", "-c", f"{prune} >&2 && alpha-says")
    assert said.stdout == "alpha 1.0\n"
    past.tilth("env", "prune", "--all")
    assert not past.venv().exists()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["onw"], "there is no environment `onw`\n  hint: did you mean `own`?"),
        (["flow-1/trian"], "run `flow-1` has reached no step `trian`\n  hint: did you mean `train`?"),
        (["flo-1/train"], "there is no run `flo-1`\n  hint: did you mean `flow-1`?"),
        (["flow-1/score[9]"], "step `score` of run `flow-1` has no item 9\n  hint: it has items 0 to 2"),
        (["flow-1"], "`flow-1` is a run; its steps have environments\n  hint: name one: `flow-1/load`, "),
        (["own", "pyton"], "has no program `pyton`, and the path has none either\n  hint: did you mean `python`?"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_told_with_what_is_near(shared_past: Past, wanted: list[str], said: str) -> None:
    assert said in shared_past.tilth("env", "shell", *wanted, code=1).stderr


def test_an_option_after_the_environment_is_a_misuse(shared_past: Past) -> None:
    said = shared_past.tilth("env", "shell", "own", "--offline", code=2)
    assert "options come before the environment: `tilth env shell --offline own`" in said.stderr


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_shell_on_a_terminal_names_the_environment_in_its_prompt(shared_past: Past, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} on this machine")
    typed = [b"which python\n", b"exit 3\n"]
    code, shown = on_a_terminal(
        shared_past, ["env", "shell", "own"], [(b"(own) ", each) for each in typed], SHELL=program
    )
    assert code == 3
    assert f"{shared_past.venv()}/bin/python" in shown
    assert "environment own: Python" in shown


def on_a_terminal(
    past: Past, arguments: list[str], typed: list[tuple[bytes, bytes]], **variables: str
) -> tuple[int, str]:
    """Run `tilth` on a terminal of its own.

    Args:
        typed: What to wait for, and what to type then.
    Returns:
        Its exit code, and all that it showed.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(past.folder)
        os.execve(TILTH, ["tilth", *arguments], {**os.environ, **past.variables, "TERM": "dumb", **variables})
    shown = seen = b""
    waiting = list(typed)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if waiting and waiting[0][0] in seen:
            os.write(terminal, waiting.pop(0)[1])
            seen = b""
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 4096)
        except OSError:  # nobody has the other side any more
            break
        if not data:
            break
        shown, seen = shown + data, seen + data
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()
