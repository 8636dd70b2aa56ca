"""Which store a command works with: the one of its home folder, or a server's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tilth.project_file import marked_root, project_name
from tilth.secrets.store import look_elsewhere
from tilth.settings import setting
from tilth.store.logins import active_server

if TYPE_CHECKING:
    from tilth.home import Home
    from tilth.secrets.store import Secrets
    from tilth.store.protocol import Store


def open_store(home: Home, *, to_read: bool = False, root: Path | None = None) -> Store:
    """The store of a home folder, made or migrated when it must be; after `tilth login`, that of the server.

    Args:
        to_read: A home on a read-only disk will do; writing fails then.
        root: The folder of the project, on a server; by default the one that the current folder belongs to.
    Raises:
        HomeUnwritable, HomeTooNew, SetupError: It cannot be opened.
    """
    server = active_server(home)
    if server is None:
        from tilth.store.sql import SqlStore
        from tilth.store.sqlite import SqliteDatabase

        return SqlStore(SqliteDatabase(home.database, to_read=to_read))
    from tilth.store.http import HttpStore  # here for cost: a run without a server needs none of it

    return HttpStore(server.url, server.token, current_project(root))


def _server_secrets(home: Home) -> Secrets | None:
    server = active_server(home)
    if server is None:
        return None
    from tilth.store.http import Api
    from tilth.store.secrets import ServerSecrets

    return ServerSecrets(home, Api(server.url, server.token), current_project())


look_elsewhere(_server_secrets)


def current_project(root: Path | None = None) -> str:
    """The project that commands work on: `TILTH_PROJECT`, else what a project's file or folder is called.

    Raises:
        DefinitionError: The project's file is no TOML, or gives no usable name.
    """
    if given := setting("project"):
        return given
    here = root or marked_root(Path.cwd() / "any.py") or Path.cwd()
    return project_name(here)
