"""A module edited within a second, to the same length, runs as it is now."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
from tilth.runtime.bytecode import trust_only_old
sys.path.insert(0, sys.argv[1])
trust_only_old([sys.argv[1]])
import edited
print(edited.VALUE, edited.__spec__.cached)
"""


def value(folder: Path) -> str:
    environment = {name: each for name, each in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return told.stdout.split()[0]


def edit(folder: Path, number: int, *, age_s: float = 0.0) -> None:
    path = folder / "edited.py"
    path.write_text(f"VALUE = {number}\n")
    moment = int(1_700_000_000_000_000_000 + (1 - age_s) * 1e9) if age_s else None
    if moment:
        os.utime(path, ns=(moment, moment))


def test_an_edit_within_the_second_is_seen(tmp_path: Path) -> None:
    seen = []
    for number in range(5):
        edit(tmp_path, number)
        seen.append(value(tmp_path))
    assert seen == ["0", "1", "2", "3", "4"]


def test_bytecode_of_an_old_source_is_used(tmp_path: Path) -> None:
    edit(tmp_path, 1, age_s=10)
    assert value(tmp_path) == "1"
    source = tmp_path / "edited.py"
    stamp = source.stat().st_mtime_ns
    source.write_text("VALUE = 2\n")  # as if nothing had been written: same size, same time
    os.utime(source, ns=(stamp, stamp))
    assert value(tmp_path) == "1"


@pytest.mark.parametrize("moved", [True, False])
def test_young_bytecode_is_written_again_when_its_source_is_old(tmp_path: Path, moved: bool) -> None:
    edit(tmp_path, 1)
    assert value(tmp_path) == "1"
    cached = next((tmp_path / "__pycache__").iterdir())
    first = cached.stat().st_mtime_ns
    if moved:
        later = cached.stat().st_mtime_ns + 5_000_000_000
        os.utime(cached, ns=(later, later))
    assert value(tmp_path) == "1"
    assert (cached.stat().st_mtime_ns == first + 5_000_000_000) is moved
