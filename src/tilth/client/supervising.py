"""The supervisor's environment: tilth itself, and what the components of the stack need. Locked like any other."""

from __future__ import annotations

import json
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tilth import environments as envs
from tilth.client.environments import records_of
from tilth.define import Environment
from tilth.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tilth.environments import Interpreter, Locked
    from tilth.home import Home
    from tilth.store import Put

NAME = "supervisor"


def tilth_requirement(installed: Distribution | None = None) -> str:
    """What installs the tilth that runs here: its version from an index, or what it was installed from.

    A folder, as of an editable installation, is built into a wheel, as local packages of the project are.

    Raises:
        SetupError: It was installed from nothing that is still there.
    """
    if installed is None:
        try:
            installed = distribution("tilth")
        except PackageNotFoundError as error:
            raise SetupError(
                "tilth is not installed as a package, so its supervisor cannot be either",
                mend="install it: `pip install tilth`",
            ) from error
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    url = origin.get("url", "")
    if not url:
        return f"tilth=={installed.version}"
    commit = origin.get("vcs_info", {}).get("commit_id")
    if commit:
        return f"tilth @ {origin['vcs_info']['vcs']}+{url}@{commit}"
    if url.startswith("file:"):
        from pathlib import Path

        path = Path(unquote(urlsplit(url).path))
        if not path.exists():
            raise SetupError(
                "the supervisor's environment needs the tilth that runs here, and where it came from is gone",
                why=f"it was installed from `{path}`",
                mend="install tilth again",
            )
        return f"tilth @ {path.as_uri()}"
    return f"tilth @ {url}"


def supervisor_environment(requirements: Sequence[str] = ()) -> Environment:
    """The declaration.

    Args:
        requirements: What the components of the stack need beside a step.
    """
    return Environment(NAME, requirements=[tilth_requirement(), *dict.fromkeys(requirements)])


def lock_supervisor(
    requirements: Sequence[str], *, root: Path, interpreter: Interpreter, home: Home, offline: bool = False
) -> Locked:
    """Its lock for an interpreter, here or in an image; resolved when it never was.

    Raises:
        TilthError: As `environments.lock` does.
    """
    declared = supervisor_environment(requirements).to_json()
    return envs.lock(declared, root=root, interpreter=interpreter, home=home, offline=offline)


def supervisor_records(lock: Locked) -> list[Put]:
    """What is remembered of it, beside `Run.supervisor = lock.digest`."""
    return records_of(lock, role="supervisor")
