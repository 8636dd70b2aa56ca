"""The home folder of this machine, as commands use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.home import Home
from tilth.settings import home_folder
from tilth.store import open_store

if TYPE_CHECKING:
    from tilth.client.administration import Administration
    from tilth.store import Store


def home() -> Home:
    """The home folder of this machine."""
    return Home(home_folder())


def records() -> Store:
    """The records in the home folder, to be used in a `with` statement."""
    return open_store(home(), to_read=True)


def administration() -> Administration:
    """The server that records are on, to be used in a `with` statement."""
    from tilth.client.administration import Administration

    return Administration(home())
