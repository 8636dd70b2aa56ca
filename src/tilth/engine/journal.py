"""Writes what a driver did, in order and durably, without the driver waiting for the disk.

Artifacts are flushed before the records that name them, and a step's folder goes when it is recorded: until
then it is what a later driver finds. Whatever comes within a moment is written together.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from typing import TYPE_CHECKING

from tilth.errors import DiskFull

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tilth.artifact_stores import ArtifactStore
    from tilth.records import Run
    from tilth.store import Change, Store

_MOMENT_S = 0.03  # a flush costs about as much for fifty records as for one
_PATIENCE_S = (0.1, 0.3, 0.6)  # between tries on a full disk


class Journal:
    """A queue of changes and the thread that writes them.

    Args:
        failed: Called once, in the thread, when writing fails; nothing is written after that.
    """

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        run: Run,
        *,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._run = run
        self._failed = failed
        self._changes: list[Change] = []
        self._digests: list[str] = []
        self._shared: list[str] = []
        self._folders: list[Path] = []
        self._added = 0  # how often `add` was called, and how many of those calls are written
        self._settled = 0
        self._awaited = 0  # up to which of them somebody waits
        self._closing = False
        self._error: BaseException | None = None
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="tilth-journal", daemon=True)
        self._thread.start()

    def add(
        self,
        *changes: Change,
        artifacts: Sequence[str] = (),
        shared: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        """Write these changes, after flushing the artifacts with these digests; then remove the folder.

        Args:
            shared: Digests of artifacts that are durable already, but may have been made for another store.
        """
        with self._condition:
            self._changes += changes
            self._digests += artifacts
            self._shared += shared
            if folder is not None:
                self._folders.append(folder)
            self._added += 1
            self._condition.notify_all()

    def flush(self) -> None:
        """Return when all that was added before is written, or never will be."""
        with self._condition:
            wanted = self._added
            self._awaited = max(self._awaited, wanted)
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._settled >= wanted or self._error is not None)

    def close(self) -> None:
        """Return when everything is written.

        Raises:
            TilthError: It could not be.
        """
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._added > self._settled or self._closing)
                if self._added == self._settled:
                    return
                self._condition.wait_for(lambda: self._closing or self._awaited > self._settled, _MOMENT_S)
                added = self._added
                changes, self._changes = self._changes, []
                digests, self._digests = self._digests, []
                shared, self._shared = self._shared, []
                folders, self._folders = self._folders, []
            try:
                self._write(changes, digests, shared)
                for folder in folders:
                    shutil.rmtree(folder, ignore_errors=True)
            except BaseException as error:  # raised again by `close`
                with self._condition:
                    self._error = error
                    self._condition.notify_all()
                self._failed(error)
                return
            with self._condition:
                self._settled = added
                self._condition.notify_all()

    def _write(self, changes: Sequence[Change], digests: Sequence[str], shared: Sequence[str]) -> None:
        # A step that fills the disk is about to fail, and to give its room back.
        for delay_s in _PATIENCE_S:
            with contextlib.suppress(DiskFull):
                self._write_once(changes, digests, shared)
                return
            time.sleep(delay_s)
        self._write_once(changes, digests, shared)

    def _write_once(self, changes: Sequence[Change], digests: Sequence[str], shared: Sequence[str]) -> None:
        if digests:
            self._artifacts.sync(*dict.fromkeys(digests))
        if shared:
            self._artifacts.share(*dict.fromkeys(shared))
        self._store.write(changes, holding=self._run)
