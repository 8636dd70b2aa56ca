"""What can be wrong with a machine."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tilth.client.doctor import machine
from tilth.client.doctor.finding import OK, SKIPPED, WARNING
from tilth.client.doctor.network import Asking
from tilth.home import Home

if TYPE_CHECKING:
    from pathlib import Path

OFFLINE = Asking(offline=True)


def test_a_clock_that_nobody_confirms_is_shown(home: Path) -> None:
    found = machine.clock(OFFLINE, Home(home))
    assert (found.state, found.told.endswith("compared with no other: tilth is offline")) == (SKIPPED, True)


def test_a_clock_before_this_tilth_was_made_is_found(home: Path) -> None:
    found = machine.clock(OFFLINE, Home(home), now=1_000_000_000)
    assert found.state == WARNING
    assert "it shows 2001-09-0" in found.told


def test_a_clock_that_was_set_back_is_found(home: Path) -> None:
    home.mkdir()
    (home / "tilth.db").touch()
    os.utime(home / "tilth.db", (time.time() + 7200, time.time() + 7200))
    found = machine.clock(OFFLINE, Home(home))
    assert (found.state, found.told.endswith("the database was written 2 h 0 min later")) == (WARNING, True)


@pytest.mark.parametrize(("free", "state"), [(300_000, WARNING), (9_000_000, OK)])
def test_little_memory_is_found(tmp_path: Path, free: int, state: str) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: {free} kB\n")
    assert machine.memory(told_by=tmp_path / "meminfo").state == state


def test_memory_that_is_not_told_is_not_judged(tmp_path: Path) -> None:
    assert machine.memory(told_by=tmp_path / "none").state == SKIPPED
    assert machine.memory().state in (OK, WARNING)


@pytest.mark.parametrize(
    ("soft", "hard", "state", "mend"),
    [
        (4096, 4096, OK, ""),
        (256, 4096, WARNING, "`ulimit -n 1024` before `tilth run`"),
        (
            256,
            512,
            WARNING,
            "`ulimit -n 512` before `tilth run`; more than that is for the administrator to allow",
        ),
    ],
)
def test_a_low_limit_of_open_files_is_found(soft: int, hard: int, state: str, mend: str) -> None:
    code = "from tilth.client.doctor import machine; f = machine.open_files(); print(f.state); print(f.mend)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [state, mend]


def test_a_variable_that_keeps_interpreters_from_keeping_bytecode_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert machine.bytecode().state == OK
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert machine.bytecode().state == WARNING
