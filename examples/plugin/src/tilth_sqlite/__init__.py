"""A flavor of artifact store: one SQLite file. Importing this imports nothing that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.errors import DefinitionError
from tilth.stack.flavors import Finding, Flavor

if TYPE_CHECKING:
    from tilth.stack.flavors import Context
    from tilth_sqlite.store import SqliteStore


class SqliteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file.

    Attributes:
        path: Of the file, absolute; it is made when something is first written.
        patience_s: Seconds to wait while another process writes.
    """

    path: str
    patience_s: float = 60.0


class SqliteFlavor(Flavor[SqliteSettings]):
    """Everything in one file."""

    type = "artifact_store"
    name = "sqlite"
    title = "one SQLite file"
    settings = SqliteSettings

    def make(self, settings: SqliteSettings, context: Context) -> SqliteStore:
        """The store; its file is not opened yet."""
        from tilth_sqlite.store import SqliteStore

        path = Path(settings.path)
        if not path.is_absolute():
            raise DefinitionError(
                f"the path of artifact store `{context.component}` is not absolute: `{settings.path}`",
                why="it would be another file wherever a run is started",
                mend=f"give `{context.root / path}`",
            )
        return SqliteStore(path, patience_s=settings.patience_s)

    def check(self, settings: SqliteSettings, context: Context) -> list[Finding]:
        """Write, read and delete a small object."""
        store = self.make(settings, context)
        store.check()
        return [Finding(level="ok", what=f"writes, reads and deletes in `{store.where}`")]
