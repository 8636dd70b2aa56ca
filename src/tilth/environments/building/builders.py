"""The environments that built wheels: found again by the digest that a built package names. Builds nothing itself.

locks/builders/DIGEST.json      the lock of one
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tilth.environments.files import read_bytes, write_atomic
from tilth.environments.locks import Locked

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tilth.home import Home
    from tilth.records import Package


def builders_of(lock: Locked, home: Home) -> list[Locked]:
    """The environments that built packages of a lock, and those that built packages of these; each once.

    One that built several has the name of the first: `build-alpha`.
    """
    return builders_behind(lock.packages, home)


def builders_behind(packages: Iterable[Package], home: Home) -> list[Locked]:
    """As `builders_of`, where there is no lock yet."""
    found: dict[str, Locked] = {}
    waiting = list(packages)
    while waiting:
        package = waiting.pop(0)
        builder = find_builder(package.builder, home) if package.builder not in found else None
        if builder is not None:
            found[package.builder] = msgspec.structs.replace(builder, name=f"build-{package.name}")
            waiting += builder.packages
    return list(found.values())


def find_builder(digest: str, home: Home) -> Locked | None:
    """The lock of the environment of this digest, if it built something here."""
    content = read_bytes(_place(digest, home)) if digest else None
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Locked)
    except msgspec.MsgspecError:
        return None  # torn: it is locked again


def keep_builder(lock: Locked, home: Home) -> None:
    """Let `find_builder` find it."""
    if find_builder(lock.digest, home) is None:
        write_atomic(_place(lock.digest, home), msgspec.json.encode(lock))


def _place(digest: str, home: Home) -> Path:
    return home.locks / "builders" / f"{digest.rpartition(':')[2]}.json"
