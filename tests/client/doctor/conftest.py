"""A home folder to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.home import Home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(home: Path) -> Home:
    """A home folder that is there."""
    made = Home(home)
    for each in (made.wheels, made.environments):
        each.mkdir(parents=True)
    return made
