"""The names of `tilth.environments`: what type checkers see is what loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import tilth.environments


def test_every_public_name_loads_and_type_checkers_see_the_same() -> None:
    tree = ast.parse(Path(tilth.environments.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tilth.environments.")
        for alias in node.names
    }
    assert seen == set(tilth.environments.__all__)
    for name in seen:
        assert getattr(tilth.environments, name) is not None


def test_finding_a_lock_loads_nothing_that_only_making_one_needs() -> None:
    code = (
        "import sys; from tilth.environments import find_lock, is_realised, inventory, probe;"
        "print(sorted({'packaging', 'tomllib', 'concurrent.futures', 'asyncio', 'uv'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
