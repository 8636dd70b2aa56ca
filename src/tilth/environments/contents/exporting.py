"""A locked environment in formats that other tools read: requirements with hashes, and a Dockerfile.

Credentials are taken out of a lock before it comes here. See `sboms` for a bill of materials.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.environments.contents.lockfiles import LockedFile, LockedPackage
    from tilth.records import Environment, Package


@dataclass(frozen=True)
class Exported:
    """A text, and what whoever uses it must know."""

    text: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One package as a requirement."""

    package: Package
    requirement: str
    hashes: tuple[str, ...] = ()
    local: str = ""  # the file or folder on this machine that it is taken from
    found_in: str = ""  # the local folder of files in which an installer finds it by its version
    file: str = ""  # its name there
    index: str = ""
    builds: bool = False  # from an sdist, whose own build requirements have no hashes


def requirements(environment: Environment, locked: Sequence[LockedPackage]) -> Exported:
    """A requirements file that `pip install --require-hashes -r` installs.

    What can have no hash stands in it as a comment; where nothing has any, as in an interpreter whose packages
    were installed by others, these are plain pins.
    """
    lines = _lines(environment, locked)
    if lines and not any(each.hashes for each in lines):
        pins = "".join(f"{each.requirement}\n" for each in lines)
        note = "no hash is known of any package: `--require-hashes` refuses this file"
        local = (
            f"`{each.package.name}` is taken from this machine: {each.local}" for each in lines if each.local
        )
        return Exported(_heading(environment) + "\n" + pins, (note, *local))
    return Exported(_heading(environment) + "\n" + _requirements(lines), _notes(lines))


def dockerfile(environment: Environment, locked: Sequence[LockedPackage], *, version: str = "") -> Exported:
    """A Dockerfile that makes the environment on a public image of Python, by itself.

    Args:
        version: Full version of Python it was made with; by default the newest of its minor version.
    """
    system, _, machine = environment.platform.removesuffix("-musl").partition("-")
    same_system = system == "linux"
    musl = environment.platform.endswith("-musl")
    # Wheels chosen for another system do not install here: any that the lock has may.
    lines = _lines(environment, locked, any_file=not same_system)
    notes = list(_notes(lines))
    if not same_system:
        notes.append(
            f"it was locked for {environment.platform}: other files of the same versions are installed"
        )
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, "") if same_system else ""
    platform = f"--platform=linux/{architecture} " if architecture else ""
    local = [each for each in lines if each.local or each.found_in]
    plain = [each for each in lines if each.hashes and not (each.local or each.found_in)]
    loose = [each for each in lines if not each.hashes and not each.local]
    parts = [
        "# syntax=docker/dockerfile:1",  # which `COPY` of a text in place needs
        _heading(environment).rstrip(),
        f"FROM {platform}python:{version or environment.python}-{'alpine' if musl else 'slim'}",
        *(f"ENV {name}={_quoted(value)}" for name, value in sorted(environment.variables.items())),
    ]
    install = "RUN python -m pip install --no-cache-dir --no-deps"
    if any(re.match(r".*@ git\+", each.requirement) for each in loose):
        get = (
            "apk add --no-cache git"
            if musl
            else "apt-get update && apt-get install -y --no-install-recommends git"
        )
        parts.append(f"RUN {get}")
    if plain:
        parts.append(f"COPY <<'EOF' /build/requirements.txt\n{_requirements(plain)}EOF")
        parts.append(f"{install} --require-hashes -r /build/requirements.txt")
    if local:
        listed = "\n".join(
            f"{each.package.name} @ file:///build/{_file_of(each)} {_hashes(each)}".strip() for each in local
        )
        parts.append("# from this machine: put these files beside the Dockerfile")
        parts += [f"COPY {json.dumps([_file_of(each), f'/build/{_file_of(each)}'])}" for each in local]
        parts.append(f"COPY <<'EOF' /build/local.txt\n{listed}\nEOF")
        parts.append(f"{install} -r /build/local.txt")
        notes += [f"put `{_place_of(each)}` beside the Dockerfile" for each in local]
    if loose:
        parts.append(" \\\n    ".join([install, *(f"'{each.requirement}'" for each in loose)]))
    return Exported("\n".join(parts) + "\n", tuple(dict.fromkeys(notes)))


def files_of(
    package: Package, locked: Sequence[LockedPackage]
) -> tuple[LockedPackage | None, LockedFile | None]:
    """The entry of a lock that a package of an environment is, and the very file of it that was taken."""
    for entry in locked:
        if entry.name != package.name or (entry.version and entry.version != package.version):
            continue
        by_digest = next((each for each in entry.files if each.digest == package.digest), None)
        # What was built has the name and digest of the result; the lock has what it was built from.
        source = next((each for each in entry.files if not each.is_wheel), None)
        taken = by_digest or (source if package.is_built else None)
        if taken or not entry.files:
            return entry, taken
    return None, None


def _lines(
    environment: Environment, locked: Sequence[LockedPackage], *, any_file: bool = False
) -> list[Line]:
    lines = []
    for package in environment.packages:
        entry, taken = files_of(package, locked)
        pin = f"{package.name}=={package.version}"
        if entry is None:
            if package.origin.startswith("/"):
                lines.append(
                    Line(package, f"{package.name} @ {Path(package.origin).as_uri()}", local=package.origin)
                )
            else:
                wheel = package.digest and not package.is_built
                lines.append(Line(package, pin, (package.digest,) if wheel else ()))
            continue
        if taken is None:
            source = entry.repository or (Path(entry.folder).absolute().as_uri() if entry.folder else "")
            lines.append(Line(package, f"{package.name} @ {source}", local=entry.folder))
            continue
        files = entry.files if any_file else (taken,)
        hashes = tuple(sorted({each.digest for each in files if each.digest}))
        place = _local_path(taken)
        url = taken.url or Path(place).as_uri()
        builds = not taken.is_wheel
        if taken.direct:
            lines.append(Line(package, f"{package.name} @ {url}", hashes, local=place, builds=builds))
        else:
            found_in = str(Path(place).parent) if place else ""
            lines.append(
                Line(
                    package,
                    pin,
                    hashes,
                    found_in=found_in,
                    file=taken.name,
                    index=entry.index,
                    builds=builds,
                )
            )
    return lines


def _requirements(lines: Sequence[Line]) -> str:
    """With where to find what first, and by hashes."""
    indexes = list(dict.fromkeys(each.index for each in lines if each.index))
    options = [f"--index-url {indexes[0]}"] if indexes else []
    options += [f"--extra-index-url {each}" for each in indexes[1:]]
    options += [f"--find-links {each}" for each in dict.fromkeys(each.found_in for each in lines) if each]
    text = "".join(f"{each}\n" for each in options)
    for each in lines:
        if each.local:
            text += f"# from this machine, by path: {each.local}\n"
        if each.hashes:
            text += (
                f"{each.requirement} \\\n"
                + " \\\n".join(f"    --hash={value}" for value in each.hashes)
                + "\n"
            )
        else:
            text += f"# has no hash: {each.requirement}\n"
    return text


def _notes(lines: Sequence[Line]) -> tuple[str, ...]:
    notes = [
        f"`{each.package.name}` is taken from this machine: {each.local}" for each in lines if each.local
    ]
    folders = dict.fromkeys(each.found_in for each in lines if each.found_in)
    notes += [f"packages are looked for in a folder of this machine: {each}" for each in folders]
    unhashed = [each.package.name for each in lines if not each.hashes]
    if unhashed:
        shown = ", ".join(f"`{each}`" for each in unhashed[:5]) + (", …" if len(unhashed) > 5 else "")
        count = f" ({len(unhashed)})" if len(unhashed) > 5 else ""
        notes.append(f"no hash is known, and with `--require-hashes` pip takes none without: {shown}{count}")
    built = [f"`{each.package.name}`" for each in lines if each.builds]
    if built:
        notes.append(f"built where it is installed, with build requirements of the day: {', '.join(built)}")
    return tuple(notes)


def _heading(environment: Environment) -> str:
    lines = [f"# environment {environment.name}, {environment.id}"]
    lines += [f"# Python {environment.python} on {environment.platform}, exported by tilth"]
    return "\n".join(lines) + "\n"


def _local_path(file: LockedFile) -> str:
    """Where a file lies on this machine; empty for one that is fetched."""
    if file.path:
        return str(Path(file.path).absolute())
    return unquote(urlsplit(file.url).path) if file.url.startswith("file:") else ""


def _place_of(line: Line) -> str:
    return line.local or f"{line.found_in}/{line.file}"


def _file_of(line: Line) -> str:
    return _place_of(line).rstrip("/").rpartition("/")[2]


def _hashes(line: Line) -> str:
    return " ".join(f"--hash={each}" for each in line.hashes)


def _quoted(value: str) -> str:
    """A value of `ENV`: nothing in it is replaced."""
    escaped = re.sub(r'(["\\$])', r"\\\1", value)
    return '"' + escaped.replace("\n", "\\n") + '"'
