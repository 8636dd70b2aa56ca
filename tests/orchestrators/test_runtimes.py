"""The part of tilth that enters a step's interpreter, as a copy."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tilth.orchestrators.runtimes import installed_runtime, write_runtime
from tilth.orchestrators.usage import control_group

if TYPE_CHECKING:
    from pathlib import Path


def test_a_copy_holds_the_standard_library_part_alone_and_works(tmp_path: Path) -> None:
    runtime = write_runtime(tmp_path / "runtime")
    assert write_runtime(tmp_path / "runtime") == runtime
    names = {each.name for each in (tmp_path / "runtime" / "tilth").iterdir()}
    assert names == {"__init__.py", "errors.py", "define", "ir", "materializers", "runtime"}
    assert not list(tmp_path.rglob("*.pyc"))
    assert [each.name for each in tmp_path.iterdir()] == ["runtime"]
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'runtime')!r})\n"
        "import tilth; [getattr(tilth, name) for name in tilth.__all__]; import cloudpickle; print(tilth.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "runtime" / "tilth" / "__init__.py")
    assert installed_runtime().bootstrap.is_file()


def test_the_control_group_that_counts_memory() -> None:
    assert control_group("3:cpu:/a\n2:memory:/kubepods/b\n0::/c\n") == (1, "/kubepods/b")
    assert control_group("0::/kubepods/b\n") == (2, "/kubepods/b")
    assert control_group("3:cpu:/a\n") is None
