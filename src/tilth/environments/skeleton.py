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
    for path, target in links(interpreter, linux=os.uname().sysname == "Linux").items():
        (folder / path).symlink_to(target)
    (folder / "pyvenv.cfg").write_text(config(interpreter, beneath=beneath), encoding="utf-8")


def links(interpreter: Interpreter, *, linux: bool) -> dict[str, str]:
    """The symbolic links of a virtual environment, each with what it leads to."""
    found = {"bin/python": interpreter.base}
    found |= dict.fromkeys(("bin/python3", f"bin/python{interpreter.minor}"), "python")
    if linux and interpreter.library.startswith("lib/"):
        found["lib64"] = "lib"
    return found


def config(interpreter: Interpreter, *, beneath: bool = False) -> str:
    """What `pyvenv.cfg` says."""
    return (
        f"home = {Path(interpreter.base).parent}\n"
        f"implementation = {interpreter.implementation}\n"
        f"version_info = {interpreter.version}\n"
        f"include-system-site-packages = {str(beneath).lower()}\n"
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
