"""What is sent so that another machine runs the same tilth: its files, and the versions of what it needs."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec

import tilth
from tilth.errors import SetupError

_WHEN = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can hold: equal files, equal bytes


class Payload(msgspec.Struct, frozen=True):
    """Tilth as it is here."""

    files: bytes  # a zip to unpack where packages are
    wanted: tuple[str, ...]  # its requirements
    pins: tuple[str, ...]  # the versions of those, and of theirs, that are installed here
    key: str  # of all of it

    @property
    def versions(self) -> bytes:
        """What is installed beside the files, as JSON."""
        return json.dumps({"wanted": self.wanted, "pins": self.pins}).encode()


@cache
def payload() -> Payload:
    """Made once in a process.

    Raises:
        SetupError: Tilth is not installed as a package here, so nobody knows what it needs.
    """
    files = _files()
    wanted, pins = _wanted(), _pins()
    digest = hashlib.sha256(files)
    digest.update(json.dumps([wanted, pins]).encode())
    return Payload(files, wanted, pins, digest.hexdigest()[:24])


def _files() -> bytes:
    root = Path(tilth.__file__).parent
    web = root / "server" / "web"  # what a server shows to browsers
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and web not in path.parents:
                name = path.relative_to(root.parent).as_posix()
                archive.writestr(zipfile.ZipInfo(name, _WHEN), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _wanted() -> tuple[str, ...]:
    """What tilth requires, without its extras: those are for components that stay here."""
    try:
        required = distribution("tilth").requires or ()
    except PackageNotFoundError as error:
        raise SetupError(
            "tilth is not installed as a package, so what it needs elsewhere is not known",
            mend="install it: `pip install tilth`",
        ) from error
    return tuple(sorted(each for each in required if not re.search(r"\bextra\s*==", each)))


def _pins() -> tuple[str, ...]:
    """The versions here of all that tilth needs: with them, what is made there is what would be made here."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    waiting = list(_wanted())
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name in found or (
            requirement.marker and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # resolved there
        found[requirement.name] = installed.version
        waiting += installed.requires or ()
    return tuple(sorted(f"{name}=={version}" for name, version in found.items()))
