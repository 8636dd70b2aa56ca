"""Removes files of runs and builds that nobody needs, where a server was killed before it could: a thread of each."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from tilth.errors import TilthError
from tilth.records import Run
from tilth.records.access import Space
from tilth.server import relay
from tilth.server.access import DEFAULT_PROJECT
from tilth.server.build_orders import BuildOrders
from tilth.server.files import Files
from tilth.store import walk

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.store.sql import SqlStore

EVERY_S = 3600.0
_UNTOUCHED_S = 3600.0  # what was written since may be of a run that is recorded a moment later
_AT_ONCE = 500  # ids in one question
logger = logging.getLogger("tilth.server")


class Leftovers:
    """Looks for them until it is stopped, once an hour for all servers that share a folder.

    Args:
        store: Of the server itself, not of a project.
        folder: Where the files of all projects are.
    """

    def __init__(self, store: SqlStore, folder: Path, *, every_s: float = EVERY_S) -> None:
        self._store = store
        self._folder = folder
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tilth-leftovers", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(min(self._every_s, 60.0)):
            try:
                if self._is_due():
                    sweep(self._store, self._folder)
            except TilthError as error:
                logger.warning("files of forgotten runs wait: %s", error.summary)
            except Exception:
                logger.exception("files of forgotten runs could not be looked for")

    def _is_due(self) -> bool:
        """Whether no server has looked for an hour; from now on, one has."""
        looked = self._folder / "looked"
        with contextlib.suppress(FileNotFoundError):
            if looked.stat().st_mtime > time.time() - self._every_s:
                return False
        if not self._folder.is_dir():
            return False  # nothing was kept so far
        looked.touch()
        return True


def sweep(store: SqlStore, folder: Path, *, untouched_s: float = _UNTOUCHED_S) -> None:
    """Remove files of runs that no project has, and what is left of builds.

    Args:
        untouched_s: Files that are younger stay, in seconds.
    """
    BuildOrders(store).sweep()
    for name in {DEFAULT_PROJECT, *(each.name for each in walk(store, Space))}:
        files = Files(folder, name)
        for order in relay.left(files, untouched_s=untouched_s):
            relay.forget(files, order)
        found = sorted(files.runs(untouched_s=untouched_s))
        records = store.within("" if name == DEFAULT_PROJECT else name)
        for begin in range(0, len(found), _AT_ONCE):
            asked = found[begin : begin + _AT_ONCE]
            there = {each.id for each in records.find(Run, id=asked, limit=len(asked))}
            for run in asked:
                if run not in there:
                    logger.info("removing files of run %s, which is forgotten", run)
                    files.delete_run(run)
