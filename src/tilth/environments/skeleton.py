"""The few files that make a folder a virtual environment, and the first line of its scripts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilth.environments.interpreters import Interpreter

_TRAMPOLINE = b"#!/bin/sh\n'''exec' "
_LONGEST = 127  # bytes of a first line that every kernel reads


def write(folder: Path, interpreter: Interpreter, *, beneath: bool = False) -> None:
    """Make an empty virtual environment: what `python -m venv --without-pip` gives, in a millisecond.

    Args:
        beneath: Whether it has what the interpreter itself has installed, too.
    """
    (folder / interpreter.library).mkdir(parents=True)
    (folder / "bin").mkdir()
    base = Path(interpreter.base)
    (folder / "bin" / "python").symlink_to(base)
    for name in ("python3", f"python{interpreter.minor}"):
        (folder / "bin" / name).symlink_to("python")
    if os.uname().sysname == "Linux" and interpreter.library.startswith("lib/"):
        (folder / "lib64").symlink_to("lib")
    (folder / "pyvenv.cfg").write_text(
        f"home = {base.parent}\n"
        f"implementation = {interpreter.implementation}\n"
        f"version_info = {interpreter.version}\n"
        f"include-system-site-packages = {str(beneath).lower()}\n",
        encoding="utf-8",
    )


def strip_shebang(script: Path, python: bytes) -> bool:
    """Cut off a first line that names `python`; whether there was one."""
    with open(script, "rb") as file:
        start = file.read(len(python) + 64)
        if not start.startswith(b"#!") or python not in start:
            return False
        content = start + file.read()
    lines = 3 if content.startswith(_TRAMPOLINE) else 1
    script.write_bytes(content.split(b"\n", lines)[-1])
    return True


def shebang(python: Path) -> bytes:
    """The first line of a script for `python`; through a shell where the kernel would not read it."""
    path = os.fsencode(python)
    if len(path) + 2 <= _LONGEST and b" " not in path:
        return b"#!" + path + b"\n"
    return _TRAMPOLINE + b'"' + path + b'" "$0" "$@"\n\' \'\'\'\n'
