"""A home folder to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.client.doctor import network, programs
from tilth.home import Home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers at once is waited for on a busy machine too."""
    for module in (network, programs):
        monkeypatch.setattr(module, "_PATIENCE_S", 180)


@pytest.fixture
def place(home: Path) -> Home:
    """A home folder that is there."""
    made = Home(home)
    for each in (made.wheels, made.environments):
        each.mkdir(parents=True)
    return made
