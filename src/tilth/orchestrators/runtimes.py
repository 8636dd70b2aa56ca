"""The part of tilth that enters a step's interpreter: as it is installed here, or a copy for elsewhere.

FOLDER/tilth/           what needs the standard library alone: define, ir, materializers, runtime, errors
FOLDER/cloudpickle/     for values that nothing else can write
"""

from __future__ import annotations

import contextlib
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_PACKAGE = Path(__file__).parent.parent
_PARTS = ("__init__.py", "errors.py", "define", "ir", "materializers", "runtime")


class Runtime(NamedTuple):
    """Where a step's interpreter finds it, as that interpreter sees the file system."""

    bootstrap: Path  # the first file it runs
    cloudpickle: str  # a folder; empty when there is none

    @property
    def folders(self) -> list[Path]:
        """All that has to be visible where a step runs."""
        return [self.bootstrap.parent.parent, *([Path(self.cloudpickle)] if self.cloudpickle else [])]


def installed_runtime() -> Runtime:
    """The one of this installation."""
    spec = find_spec("cloudpickle")
    cloudpickle = str(Path(spec.origin).parent) if spec and spec.origin else ""
    return Runtime(_PACKAGE / "runtime" / "bootstrap.py", cloudpickle)


def write_runtime(folder: Path) -> Runtime:
    """Write a copy into `folder`, unless there is one; it appears as a whole.

    It holds nothing that talks to a store, a server or an engine, and nothing of this machine.
    """
    runtime = Runtime(folder / "tilth" / "runtime" / "bootstrap.py", str(folder / "cloudpickle"))
    if folder.exists():
        return runtime
    aside = folder.with_name(f".{folder.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        for name in _PARTS:
            _copy(_PACKAGE / name, aside / "tilth" / name)
        if cloudpickle := installed_runtime().cloudpickle:
            _copy(Path(cloudpickle), aside / "cloudpickle")
        with contextlib.suppress(OSError):  # somebody else was first
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return runtime


def _copy(source: Path, target: Path) -> None:
    """Copy a module or package without its bytecode, which may be of another Python."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(
            source, target, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copy
        )
    else:
        shutil.copy(source, target)
