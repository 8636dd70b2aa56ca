"""Where an environment will run when that is not here: what can be installed there, without an interpreter to ask.

The names are those of wheels' platform tags, as the field writes them: `x86_64-manylinux`, `aarch64-manylinux_2_35`,
`x86_64-musllinux`, `macos`, `macos-x86_64`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tilth.environments.interpreters import Interpreter
from tilth.errors import UnknownOption, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

PLATFORMS = (
    "x86_64-manylinux",
    "aarch64-manylinux",
    "x86_64-musllinux",
    "aarch64-musllinux",
    "macos-arm64",
    "macos-x86_64",
)
_GLIBC = (
    28  # 2.28, of 2018: what current wheels are built for, and the oldest that distributions still support
)
_KNOWN_TO_UV = (17, 28, *range(31, 41))  # minor versions of glibc that it has targets for
_MUSL = 2  # 1.2
_MACOS = 14  # the oldest that Apple still mends
_LINUX = re.compile(r"(x86_64|aarch64)-(manylinux|musllinux)(?:_(?:2|1)_(\d+))?")
_NAMED = {"manylinux2014": "manylinux_2_17", "linux": "manylinux"}
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}


class Platform(NamedTuple):
    """A platform that is not this machine."""

    name: str  # as in an environment's digest: `linux-x86_64`
    uv: str  # as uv's `--python-platform` has it
    system: str  # `Linux` or `Darwin`
    machine: str
    tags: tuple[str, ...]  # of wheels, best first


def foreign(platform: str, minor: str) -> Interpreter:
    """An interpreter that is somewhere else: CPython of a minor version, as `3.12`, on a platform by name.

    Its `executable` is empty: nothing can be made or built with it here.

    Raises:
        UnknownOption: There is no such platform.
    """
    from packaging.tags import compatible_tags, cpython_tags

    found = parse(platform)
    version = tuple(int(part) for part in minor.split(".")[:2])
    bare = f"cp{version[0]}{version[1]}"
    tags = [*cpython_tags(version, platforms=found.tags), *compatible_tags(version, bare, found.tags)]
    darwin = found.system == "Darwin"
    return Interpreter(
        executable="",
        base="",
        version=f"{minor}.0",
        minor=minor,
        implementation="cpython",
        cache_tag=f"cpython-{version[0]}{version[1]}",
        platform=found.name,
        libc="",
        prefix="",
        library=f"lib/python{minor}/site-packages",
        site_packages=(),
        markers={
            "implementation_name": "cpython",
            "implementation_version": f"{minor}.0",
            "os_name": "posix",
            "platform_machine": found.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": found.system,
            "platform_version": "",
            "python_full_version": f"{minor}.0",
            "python_version": minor,
            "sys_platform": "darwin" if darwin else "linux",
        },
        tags=tuple(dict.fromkeys(map(str, tags))),
        elsewhere=found.uv,
    )


def in_image(
    *, python: str, version: str, libc: str, machine: str, digest: str, here: Interpreter
) -> Interpreter:
    """The interpreter of a base image.

    Args:
        python: Its path in the image.
        version: `3.11.2`.
        libc: `glibc 2.36` or `musl 1.2`.
        machine: `x86_64` or `aarch64`.
        digest: Of the base.
        here: One of this machine.
    Raises:
        UnknownOption: There is no such platform.
    """
    family, _, number = libc.partition(" ")
    kind = {"glibc": "manylinux", "musl": "musllinux"}.get(family, family)
    minor = ".".join(version.split(".")[:2])
    found = foreign(f"{machine}-{kind}_{number.replace('.', '_')}", minor)
    return msgspec.structs.replace(
        found,
        base=python,
        version=version,
        libc=libc,
        markers={**found.markers, "implementation_version": version, "python_full_version": version},
        image=digest,
        here=here.executable,
    )


def parse(name: str) -> Platform:
    """A platform by its name.

    Raises:
        UnknownOption: There is none of that name.
    """
    text = name.lower()
    if text in ("macos", "macos-arm64", "macos-x86_64"):
        return _macos("x86_64" if text.endswith("x86_64") else "arm64")
    machine, _, rest = text.partition("-")
    match = _LINUX.fullmatch(f"{machine}-{_NAMED.get(rest, rest)}")
    if match is None:
        raise UnknownOption(f"`{name}` is no platform that tilth knows", mend=nearest(name, PLATFORMS))
    return _linux(match[1], match[2], int(match[3]) if match[3] else None)


def _linux(machine: str, family: str, minor: int | None) -> Platform:
    if family == "musllinux":
        tags = [f"musllinux_1_{each}_{machine}" for each in range(minor or _MUSL, -1, -1)]
        name, uv = f"linux-{machine}-musl", f"{machine}-unknown-linux-musl"
    else:
        tags = list(_manylinux(machine, minor or _GLIBC))
        known = max(each for each in _KNOWN_TO_UV if each <= max(minor or _GLIBC, _KNOWN_TO_UV[0]))
        name, uv = f"linux-{machine}", f"{machine}-manylinux_2_{known}"
    return Platform(name, uv, "Linux", machine, (f"linux_{machine}", *tags))


def _manylinux(machine: str, newest: int) -> Iterator[str]:
    """PEP 600, newest first, with the names that came before it."""
    for minor in range(newest, _OLDEST_GLIBC[machine] - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_{machine}"


def _macos(machine: str) -> Platform:
    from packaging.tags import mac_platforms

    uv = "aarch64-apple-darwin" if machine == "arm64" else "x86_64-apple-darwin"
    return Platform(f"macos-{machine}", uv, "Darwin", machine, tuple(mac_platforms((_MACOS, 0), machine)))
