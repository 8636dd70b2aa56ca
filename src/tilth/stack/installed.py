"""Packages that are installed where tilth runs, as requirements of environments elsewhere."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tilth.errors import SetupError

if TYPE_CHECKING:
    from importlib.metadata import Distribution


def installed_requirement(package: str, *, extra: str = "", installed: Distribution | None = None) -> str:
    """What installs the package that is installed here: its version from an index, or what it was installed from.

    A folder, as of an editable installation, is built into a wheel, as local packages of the project are.

    Args:
        installed: Where it is found; by default looked for.
    Raises:
        SetupError: It was installed from nothing that is still there, or not as a package.
    Source:
        https://packaging.python.org/en/latest/specifications/direct-url-data-structure/
    """
    if installed is None:
        try:
            installed = distribution(package)
        except PackageNotFoundError as error:
            raise SetupError(
                f"{package} is not installed as a package, so a supervisor elsewhere cannot have it either",
                mend=f"install it: `pip install {package}`",
            ) from error
    name = f"{package}[{extra}]" if extra else package
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    url = origin.get("url", "")
    if not url:
        return f"{name}=={installed.version}"
    commit = origin.get("vcs_info", {}).get("commit_id")
    if commit:
        return f"{name} @ {origin['vcs_info']['vcs']}+{url}@{commit}"
    if url.startswith("file:"):
        path = Path(unquote(urlsplit(url).path))
        if not path.exists():
            raise SetupError(
                f"the supervisor's environment needs the {package} that runs here, and where it came from is gone",
                why=f"it was installed from `{path}`",
                mend=f"install {package} again",
            )
        return f"{name} @ {path.as_uri()}"
    return f"{name} @ {url}"
