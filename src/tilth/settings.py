"""Every setting of the client: name, type, default and meaning, in one table that also makes the docs page.

A command-line argument beats a `TILTH_*` variable; nothing else in tilth reads the environment for itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tilth.errors import SetupError


@dataclass(frozen=True)
class Setting:
    """One setting. `variable` is its name in the environment."""

    variable: str
    default: str
    meaning: str


SETTINGS = {
    "home": Setting(
        "TILTH_HOME",
        "",
        "folder for runs, artifacts, environments and the database; "
        "by default the platform's data folder, as `~/.local/share/tilth`",
    ),
    "server_url": Setting(
        "TILTH_SERVER_URL",
        "",
        "address of the server that keeps the records; by default the one of `tilth login`, else none",
    ),
    "api_key": Setting(
        "TILTH_API_KEY", "", "what to log in at the server with; by default the token of `tilth login`"
    ),
    "project": Setting(
        "TILTH_PROJECT",
        "",
        "the project on the server; by default `project` of `[tool.tilth]`, else the name in pyproject.toml, else "
        "the folder's",
    ),
    "python": Setting(
        "TILTH_PYTHON", "", "the project's interpreter, when it should not be found as uv finds it"
    ),
    "stack": Setting(
        "TILTH_STACK",
        "",
        "the stack that runs use; by default the one chosen by `tilth stack set`, else `stack` of `[tool.tilth]`, "
        "else `default`",
    ),
    "workers": Setting("TILTH_WORKERS", "", "how many steps run at once; by default the number of cores"),
    "offline": Setting("TILTH_OFFLINE", "0", "`1`: never ask a package index"),
    "secret_store": Setting(
        "TILTH_SECRET_STORE",
        "auto",
        "where secrets are kept: `keyring` or `file`; `auto` is the keyring when there is one that is secure",
    ),
    "secrets_key": Setting(
        "TILTH_SECRETS_KEY",
        "",
        "file with the key of secrets kept in a file; by default in the platform's folder for configuration, "
        "as `~/.config/tilth/secrets.key`",
    ),
    "advisories": Setting(
        "TILTH_ADVISORIES",
        "",
        "known vulnerabilities that `tilth env check` looks for: a folder, JSON or zip file of OSV records, "
        "or the URL of a service with the OSV API; by default none",
    ),
    "progress": Setting("TILTH_PROGRESS", "auto", "`live`, `plain` or `none`; `auto` is live on a terminal"),
}


def setting(name: str) -> str:
    """The value of one setting as text: the variable's when it is set and not empty, else the default."""
    declared = SETTINGS[name]
    return os.environ.get(declared.variable) or declared.default


def home_folder() -> Path:
    """Where tilth keeps everything on this machine."""
    given = setting("home")
    if given:
        return Path(given).expanduser().absolute()
    import platformdirs  # here for cost: 15 ms, and not needed when the variable is set

    return Path(platformdirs.user_data_dir("tilth", appauthor=False))


def worker_count() -> int:
    """How many steps may run at once on this machine."""
    given = setting("workers")
    if not given:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        count = int(given)
    except ValueError:
        count = 0
    if count < 1:
        raise SetupError(f"`TILTH_WORKERS` is `{given}`", mend="give a whole number from 1, or unset it")
    return count
