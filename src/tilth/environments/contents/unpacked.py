"""What is known on this machine of a package that was locked or installed: its METADATA, and its size unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tilth.environments.files import read_bytes
from tilth.environments.names import normalised
from tilth.environments.wheels import read_entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tilth.home import Home
    from tilth.records import Package

_WANTED = ("Name", "Version", "Requires-Dist", "License-Expression", "License", "Classifier", "Summary")


class Metadata(NamedTuple):
    """Some headers of a METADATA file (core metadata)."""

    headers: dict[str, list[str]]
    requested: bool = False  # the installer noted that somebody asked for it by name (PEP 376)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return self.headers.get(name, [])

    def first(self, name: str) -> str:
        """The first value of a header; empty when it has none."""
        return next(iter(self.all(name)), "")


class Unpacked:
    """Looks into the store of wheels, and then at what an interpreter has installed.

    Args:
        python: Minor version whose copy of a wheel to prefer.
        site_packages: Folders of an interpreter; one with the same package in the same version tells as much.
    """

    def __init__(self, home: Home, python: str, site_packages: Iterable[str] = ()) -> None:
        self._home = home
        self._ending = python.replace(".", "")
        self._folders = [Path(each) for each in site_packages]
        self._installed: dict[tuple[str, str], Metadata] | None = None

    def size(self, package: Package) -> int:
        """In bytes, bytecode included; 0 when the wheel is not in the store."""
        for folder in self._copies(package):
            entry = read_entry(folder)
            if entry is not None:
                return sum(size for size, _, _ in entry.files.values())
        return 0

    def metadata(self, package: Package) -> Metadata | None:
        """None when it is nowhere here."""
        for folder in self._copies(package):
            info = next((folder / "tree").glob("lib/*/site-packages/*.dist-info/METADATA"), None)
            content = read_bytes(info) if info else None
            if content is not None:
                return Metadata(_headers(content))
        if self._installed is None:
            self._installed = dict(self._read_installed())
        return self._installed.get((package.name, package.version))

    def _copies(self, package: Package) -> list[Path]:
        """A wheel's folders in the store, one for each Python, the wanted one first."""
        if not package.digest:
            return []
        found = (self._home.wheels / package.digest.rpartition(":")[2]).glob("*")
        return sorted(found, key=lambda each: (not each.name.endswith(self._ending), each.name))

    def _read_installed(self) -> Iterable[tuple[tuple[str, str], Metadata]]:
        seen: set[str] = set()
        for folder in self._folders:
            for info in sorted([*folder.glob("*.dist-info"), *folder.glob("*.egg-info")]):
                content = read_bytes(info / "METADATA") or read_bytes(info / "PKG-INFO")
                if content is None:
                    continue
                metadata = Metadata(_headers(content), (info / "REQUESTED").exists())
                name = normalised(metadata.first("Name"))
                if name and name not in seen:  # the first on the path is the one imported
                    seen.add(name)
                    yield (name, metadata.first("Version")), metadata


def _headers(content: bytes) -> dict[str, list[str]]:
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    headers: dict[str, list[str]] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, separator, value = line.partition(":")
        if separator and key in _WANTED:
            headers.setdefault(key, []).append(value.strip())
    return headers
