"""A driver in the background of this machine: for runs that outlive the terminal they were started in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tilth.engine.lease import is_held
from tilth.errors import RunFailed
from tilth.records import Run

if TYPE_CHECKING:
    from tilth.home import Home
    from tilth.store import Store

LOG = "driver.log"  # what the driver says of the run, in the run's folder
_PATIENCE_S = 60.0  # for the driver to come up


def drive_in_background(run: Run, home: Home, store: Store, *, offline: bool = False) -> Run:
    """Have a process of its own drive a run that is recorded and that nobody drives; gives it as it is then.

    It belongs to no terminal, and goes on when this process ends.

    Raises:
        RunFailed: The process ended before it drove the run. It can be resumed.
    """
    log = home.runs / run.id / LOG
    # `-P`: the folder that the command was called in may have a `json.py`.
    command = [sys.executable, "-P", "-m", "tilth.cli", "runs", "resume", run.name]
    if offline:
        command.append("--offline")
    with open(log, "ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "TILTH_PROGRESS": "plain", "TILTH_HOME": str(home.root)},
            start_new_session=True,
        )
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        found = store.get(Run, run.id)
        if found.fence > run.fence or is_held(home.runs / run.id):
            return found
        time.sleep(0.02)
    found = store.get(Run, run.id)
    if found.fence > run.fence or found.state.is_final:
        return found  # it was quick
    process.kill()
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise RunFailed(
        f"the driver of run `{run.name}` did not start in the background",
        why="\n".join(said),
        mend=f"start it here: `tilth runs resume {run.name}`",
    )
