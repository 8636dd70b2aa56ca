"""Whether a lock runs on a base. Pure, so that planning a run can refuse before anything is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.environments import targets
from tilth.errors import DefinitionError, UnknownOption

if TYPE_CHECKING:
    from tilth.environments.locks import Locked
    from tilth.images.bases import Base

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # images' names -> wheels'
_KINDS = {"glibc": "manylinux", "musl": "musllinux"}


def refuse_unfit(lock: Locked, base: Base) -> None:
    """Refuse a base that a lock does not run on.

    Raises:
        DefinitionError: It has another Python, C library or architecture, or is not the one that was locked for.
    """
    place = f"environment `{lock.name}` does not run on the base `{base.reference}`"
    if lock.base and lock.base != base.identity:
        raise DefinitionError(
            place,
            why=f"it was locked for {lock.base[:19]}…, and the base is {base.identity[:19]}…",
            mend="lock it for this base",
        )
    if base.os != "linux" or base.architecture not in MACHINES:
        raise DefinitionError(
            place, why=f"the base is for {base.platform}", mend="take one for linux/amd64 or linux/arm64"
        )
    if lock.system:
        raise DefinitionError(
            place,
            why="it has packages of conda, which bring a Python of their own",
            mend="declare what it needs from a package index, or use an image that has them: `image=`",
        )
    minor = ".".join(base.version.split(".")[:2])
    if not base.python or minor != lock.python:
        raise DefinitionError(
            place,
            why=f"it is locked for Python {lock.python}, and the base has {base.version or 'none'}",
            mend=f"take a base with Python {lock.python}, such as `python:{lock.python}-slim`"
            + (f', or declare `python="{minor}"`' if base.python else ""),
        )
    family, _, number = base.libc.partition(" ")
    if family not in _KINDS:
        raise DefinitionError(
            place,
            why=f"the C library of the base is {base.libc or 'not known'}",
            mend="take one with glibc or musl",
        )
    machine = MACHINES[base.architecture]
    wanted = f"linux-{machine}" + ("-musl" if family == "musl" else "")
    if lock.platform != wanted:
        raise DefinitionError(
            place,
            why=f"it is locked for {lock.platform}, and the base is {wanted}",
            mend="lock it for this base, or take a base for "
            f"{'another architecture' if machine not in lock.platform else 'the other C library'}",
        )
    _refuse_wheels(lock, base, f"{machine}-{_KINDS[family]}_{number.replace('.', '_')}", place)


def _refuse_wheels(lock: Locked, base: Base, platform: str, place: str) -> None:
    """Look at the wheels themselves: one may need a newer C library than the base has."""
    try:
        takes = set(targets.foreign(platform, lock.python).tags)
    except UnknownOption:
        return  # a C library of a version without a number: nothing to compare
    for package in lock.packages:
        if not package.file.endswith(".whl"):
            continue  # built for it, or its name is not known
        *_, pythons, abis, platforms = package.file.removesuffix(".whl").split("-")
        has = {
            f"{python}-{abi}-{each}"
            for python in pythons.split(".")
            for abi in abis.split(".")
            for each in platforms.split(".")
        }
        if has.isdisjoint(takes):
            raise DefinitionError(
                place,
                why=f"`{package.name}` is locked as `{package.file}`, and the base has {base.libc} "
                f"on {base.architecture}",
                mend="take a newer base, or lock for this one",
            )
