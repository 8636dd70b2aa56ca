"""One driver for a run, also between processes, and none after its process has ended."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tilth.engine.lease import Lease, is_held
from tilth.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from tilth.engine.lease import Lease

with Lease(Path(sys.argv[1]), "run-1"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lease_is_held_until_it_is_given_back(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with Lease(tmp_path, "run-1"):
        assert is_held(tmp_path)
        with pytest.raises(Conflict, match="`run-1` is being driven"), Lease(tmp_path, "run-1"):
            pass
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with Lease(tmp_path, "run-1"):
        pass


@pytest.mark.faults
def test_a_lease_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match=f"process {process.pid}"), Lease(tmp_path, "run-1"):
            pass
        process.kill()
        process.wait()
        assert not is_held(tmp_path)
        with Lease(tmp_path, "run-1"):
            pass


def test_of_many_threads_one_gets_the_lease(tmp_path: Path) -> None:
    inside: list[int] = []
    refused: list[int] = []
    ready = threading.Barrier(8)

    def work(number: int) -> None:
        ready.wait()
        try:
            with Lease(tmp_path, "run-1"):
                inside.append(number)
                done.wait(180)
        except Conflict:
            refused.append(number)
            if len(refused) == 7:
                done.set()

    done = threading.Event()
    threads = [threading.Thread(target=work, args=[each]) for each in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(inside) == 1
    assert len(refused) == 7
