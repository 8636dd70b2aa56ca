"""What an interpreter takes of a lock, one file per package. Apart from `pylocks`, which costs 30 ms to import."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Choice(NamedTuple):
    """One package of a lock, and the file of it that fits."""

    name: str
    version: str  # empty where only building tells, as for a repository
    digest: str  # of the file, `sha256:…`; empty where the lock has none
    file: str  # its name; empty for a repository
    source: str  # the key of a PEP 751 package that names it
    size: int = 0  # of the file, in bytes; 0 where the lock does not say
    builder: str = ""  # digest of the environment that built it, where it came as source and was built before

    @property
    def is_wheel(self) -> bool:
        """Whether it can be used as it is: a wheel, whose digest the lock itself names."""
        kind, _, value = self.digest.partition(":")
        return self.file.endswith(".whl") and kind == "sha256" and value in self.source


_HEAD = 2  # lines before the packages


def compose(choices: Iterable[tuple[str, str, str]]) -> str:
    """A PEP 751 document of (name, version, source) alone."""
    lines = ['lock-version = "1.0"', 'created-by = "tilth"']
    for name, version, source in choices:
        lines += ["", "[[packages]]", f"name = {json.dumps(name)}"]
        lines += [f"version = {json.dumps(version)}"] if version else []
        lines += [source]
    if len(lines) == _HEAD:
        lines.append("packages = []")
    return "\n".join(lines) + "\n"
