"""Small disks to look at."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tilth.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`mount("-o", "size=16m")`: a disk of its own; `mount("--bind", folder, at=place)`: another name."""
    mounted: list[Path] = []

    def mount(*options: str, at: Path | None = None) -> Path:
        folder = at or tmp_path / f"disk{len(mounted)}"
        folder.mkdir(parents=True, exist_ok=True)
        what = () if "--bind" in options else ("-t", "tmpfs", "tilth-test")
        made = subprocess.run(
            ["mount", *options, *what, str(folder)], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"nothing can be mounted here: {made.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def place(home: Path) -> Home:
    """A home folder that is there."""
    made = Home(home)
    for each in (made.wheels, made.environments):
        each.mkdir(parents=True)
    return made
