"""Bytecode for a tree of modules, the same bytes on every machine and never checked against a clock."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

from tilth.environments import background

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tilth.environments.interpreters import Interpreter

_CHUNK = 1_500_000  # bytes of source compiled by one process: big wheels are spread over the cores
_FULL = 28  # exit code of the compiling process when the disk is full

_COMPILER = """
import json, py_compile, sys
for source, target, shown in json.load(sys.stdin):
    try:
        py_compile.compile(source, target, shown, doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except OSError as error:
        sys.exit(28 if error.errno in (28, 122) else 1)
    except Exception:
        pass  # a template, or written for another Python: it is compiled, and fails, on import
"""


def compile_trees(trees: Sequence[Path], interpreter: Interpreter, *, missing: bool = False) -> bool:
    """Write bytecode beside the modules of each tree; False when the disk is full.

    Unchecked-hash, so that no clock matters. In fresh processes over fixed shares, because what a process
    has compiled before shows in the bytes it writes (strings are interned); so does the hash seed.

    Args:
        missing: Only of modules that have none.
    """
    shares = [share for tree in trees for share in _shares(tree, interpreter, missing)]
    if not shares or not interpreter.cache_tag:
        return True
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"

    def run(share: list[tuple[str, str, str]]) -> int:
        done = background.call(
            [interpreter.base, "-s", "-S", "-W", "ignore", "-c", _COMPILER],
            input=json.dumps(share).encode(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=trees[0],  # `-c` puts it on the path; a tree has no modules at its top
            env=environment,
        )
        return int(done.returncode)

    return _FULL not in background.at_once(run, shares, threads=os.cpu_count() or 1)


def _shares(tree: Path, interpreter: Interpreter, missing: bool) -> list[list[tuple[str, str, str]]]:
    """The modules of one wheel in groups for one process each: (source, bytecode, name in tracebacks)."""
    shares: list[list[tuple[str, str, str]]] = []
    size = _CHUNK
    library = tree / interpreter.library
    for source in sorted(library.rglob("*.py")):
        shown = source.relative_to(library)
        if "tests" in shown.parts[:-1]:
            continue  # half the modules of scientific packages, and hardly ever imported
        target = source.parent / "__pycache__" / f"{source.stem}.{interpreter.cache_tag}.pyc"
        if missing and target.exists():
            continue
        if size >= _CHUNK:
            shares.append([])
            size = 0
        size += source.stat().st_size
        shares[-1].append((os.fspath(source), os.fspath(target), shown.as_posix()))
    return shares
