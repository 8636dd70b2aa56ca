"""The first file that runs in an interpreter of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tilth

BOOTSTRAP = Path(tilth.__file__).parent / "runtime" / "bootstrap.py"
ASK = """
import json, os, runpy, sys
sys.argv = [{bootstrap!r}, "told", {cloudpickle!r}]
import types
task = types.ModuleType("tilth.runtime.told")
def serve():
    import tilth
    found = {{"path": sys.path, "tilth": tilth.__file__, "argv": sys.argv, "write": sys.dont_write_bytecode}}
    for name in ("cloudpickle", "click", "msgspec"):
        try:
            found[name] = __import__(name).__file__
        except ImportError:
            found[name] = None
    print(json.dumps(found))
task.serve = serve
sys.modules["tilth.runtime.told"] = task
if {first}:
    sys.path.insert(0, {folder!r})
runpy.run_path({bootstrap!r}, run_name="__main__")
"""


def told(*flags: str, cloudpickle: str = "", first: bool = True, **variables: str) -> dict[str, Any]:
    """What a task sees in a bare interpreter, with or without the script's folder put before its path."""
    program = ASK.format(
        bootstrap=str(BOOTSTRAP), cloudpickle=cloudpickle, folder=str(BOOTSTRAP.parent), first=first
    )
    base = getattr(sys, "_base_executable", sys.executable)
    environment = {**os.environ, "PYTHONPATH": "", **variables}
    ended = subprocess.run(
        [base, "-S", *flags, "-c", program], env=environment, capture_output=True, check=True, timeout=300
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_tilth_is_there_and_none_of_its_neighbours() -> None:
    found = told()
    assert found["tilth"] == tilth.__file__
    assert found["argv"] == [""]
    assert [found[name] for name in ("cloudpickle", "click", "msgspec")] == [None, None, None]


@pytest.mark.parametrize("flags", [(), ("-I",), ("-P",)] if sys.version_info >= (3, 11) else [(), ("-I",)])
def test_the_path_stays_what_it_is_but_for_our_folder(flags: tuple[str, ...], tmp_path: Path) -> None:
    with_folder = told(*flags, first=True, PYTHONPATH=str(tmp_path))["path"]
    without = told(*flags, first=False, PYTHONPATH=str(tmp_path))["path"]
    assert with_folder == without
    assert str(BOOTSTRAP.parent) not in with_folder
    assert (str(tmp_path) in with_folder) == ("-I" not in flags)


def test_cloudpickle_of_ours_is_the_last_resort(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours" / "cloudpickle", tmp_path / "theirs" / "cloudpickle"
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    assert told(cloudpickle=str(ours))["cloudpickle"] == str(ours / "__init__.py")
    found = told(cloudpickle=str(ours), PYTHONPATH=str(theirs.parent))
    assert found["cloudpickle"] == str(theirs / "__init__.py")


@pytest.mark.parametrize("value", ["", "1"])
def test_whether_bytecode_of_theirs_is_kept_stays_their_choice(value: str) -> None:
    assert told(PYTHONDONTWRITEBYTECODE=value)["write"] == bool(value)
