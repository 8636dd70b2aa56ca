"""Conda's part of environments, realised: folders that venvs stand on, read-only, made whole or not at all.

conda/DIGEST/           a conda prefix; `tilth.json`, written last, says what it is
cache/conda/packages/   packages, fetched and unpacked by `rattler`, which prefixes are linked from
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import zipfile
from contextlib import closing, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from tilth.environments import channels, wheels
from tilth.environments.bytecode import compile_trees
from tilth.environments.conda_packages import interpreter_of
from tilth.environments.files import (
    disk_full,
    explaining_full_disk,
    locked,
    move_folder,
    read_bytes,
    remove_tree,
    scratch,
    sweep,
)
from tilth.environments.interpreters import probe
from tilth.environments.inventories import inventory
from tilth.environments.uv import without_credentials
from tilth.errors import EnvironmentBroken, IndexUnavailable, TilthError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home
    from tilth.records import SystemPackage

_RECORD = "tilth.json"
_EXTRA = re.compile(r"extra\s*==")


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """How a prefix was made."""

    digest: str
    packages: tuple[str, ...]  # `name-version-build`
    created_at: str


def prefix_digest(packages: Sequence[SystemPackage]) -> str:
    """What identifies a prefix: the packages in it, as hexadecimal digits."""
    identity = sorted((each.name, each.version, each.build, each.subdir, each.digest) for each in packages)
    return hashlib.sha256(msgspec.json.encode(identity)).hexdigest()


def prefix_folder(packages: Sequence[SystemPackage], home: Home) -> Path:
    """Where the prefix of these packages is, or would be."""
    return home.conda / prefix_digest(packages)


def is_installed(packages: Sequence[SystemPackage], home: Home) -> bool:
    """Whether the prefix is there."""
    return read_bytes(prefix_folder(packages, home) / _RECORD) is not None


def install(
    packages: Sequence[SystemPackage], host: Interpreter, home: Home, *, name: str, offline: bool = False
) -> Interpreter:
    """The Python of a prefix with these packages, which is made if it is not there.

    Any number of threads and processes may ask at once: one makes it, the others wait and use it.

    Args:
        host: An interpreter of this machine.
        name: Of the environment it is for.
    Raises:
        EnvironmentBroken, IndexUnavailable, DiskFull: Nothing half-made is left.
    """
    folder = prefix_folder(packages, home)
    if not is_installed(packages, home):
        with (
            explaining_full_disk(f"environment `{name}`", home.conda),
            closing(
                wheels.keep(home)
            ),  # as wheels are, packages are kept while somebody makes something of them
            locked(home.conda / f".{folder.name}.lock"),
        ):
            if not is_installed(packages, home):
                sweep(home.conda)
                remove_tree(folder)
                _make(packages, folder, interpreter_of(packages, host, name), home, name, offline)
    return probe(folder / "bin" / "python", home)


def packages_folder(home: Home) -> Path:
    """Where rattler keeps packages unpacked: a folder `NAME-VERSION-BUILD` each, and its lock file."""
    return home.cache / "conda" / "packages"


def package_digest(name: str) -> str:
    """What stands for a package in that folder."""
    return f"conda:{name}"


def needed_by(interpreter: Path, home: Home) -> tuple[str, ...]:
    """Digests of the prefix that an interpreter is in, and of the packages that is made of; mostly nothing."""
    real = Path(os.path.realpath(home.conda))  # as interpreters tell where they are
    if not interpreter.is_relative_to(real):
        return ()
    folder = home.conda / interpreter.relative_to(real).parts[0]
    content = read_bytes(folder / _RECORD)
    packages: tuple[str, ...] = ()
    if content is not None:
        with suppress(msgspec.MsgspecError):
            packages = msgspec.json.decode(content, type=Prefix).packages
    return (f"sha256:{folder.name}", *map(package_digest, packages))


def distributions(
    packages: Sequence[SystemPackage], home: Home
) -> dict[str, tuple[str, frozenset[str] | None]]:
    """Distribution -> its version, and the top-level names it lets a step import; None while that is not known."""
    folder = prefix_folder(packages, home)
    if not is_installed(packages, home):
        return {each.name: (each.version, None) for each in packages if _is_for_python(each)}
    found = inventory(probe(folder / "bin" / "python", home), home)
    return {each.name: (each.version, frozenset(each.modules)) for each in found.packages}


def write_stand_ins(interpreter: Interpreter, folder: Path) -> dict[str, Path]:
    """Wheels without content that tell a resolver which distributions a prefix has.

    Returns:
        The wheel of each distribution by its normalised name.
    """
    from importlib import metadata

    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    written: dict[str, Path] = {}
    for each in metadata.distributions(path=list(interpreter.site_packages)):
        try:
            name, version = canonicalize_name(each.metadata["Name"]), Version(each.version)
        except (InvalidVersion, KeyError, TypeError):
            continue  # what has no version is nothing that pip could have asked for
        if name in written:
            continue  # the first on the path is the one that is imported
        # What it requires is conda's matter; only its extras may bring in more.
        extras = each.metadata.get_all("Provides-Extra") or []
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Provides-Extra: {extra}" for extra in extras]
        lines += [f"Requires-Dist: {line}" for line in each.requires or () if _EXTRA.search(line)]
        stem = f"{name.replace('-', '_')}-{version}"
        path = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n")
            wheel.writestr(
                f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
        written[name] = path
    return written


def _is_for_python(package: SystemPackage) -> bool:
    return package.noarch == "python" or any(
        each.split()[0] in ("python", "python_abi") for each in package.depends
    )


def _make(
    packages: Sequence[SystemPackage],
    folder: Path,
    python: Interpreter,
    home: Home,
    name: str,
    offline: bool,
) -> None:
    with scratch(home.conda) as aside:
        prefix = aside / "prefix"
        try:
            _link(packages, prefix, folder, home, name, offline)
        except BaseException:
            _clear(prefix)
            raise
        program = prefix / "bin" / "python"
        if not program.exists():
            raise EnvironmentBroken(
                f"conda's part of environment `{name}` has no `bin/python`",
                why="the package `python` of its channels is none that can be used",
            )
        if not compile_trees([prefix], msgspec.structs.replace(python, base=str(program)), missing=True):
            raise disk_full(f"environment `{name}`", home.conda)
        record = Prefix(
            digest=folder.name,
            packages=tuple(f"{each.name}-{each.version}-{each.build}" for each in packages),
            created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        (prefix / _RECORD).write_bytes(msgspec.json.encode(record))
        _make_read_only(prefix)
        move_folder(prefix, folder)
        folder.chmod(0o555)


def _clear(prefix: Path) -> None:
    """Remove what rattler was making: its threads may go on writing for a moment after it has failed."""
    quiet = 0
    for _ in range(60):
        quiet = 0 if prefix.exists() else quiet + 1
        if quiet > 3:
            return
        remove_tree(prefix)
        time.sleep(0.05)


def _link(
    packages: Sequence[SystemPackage], prefix: Path, final: Path, home: Home, name: str, offline: bool
) -> None:
    """Have rattler fill `prefix` with files that say they are in `final`."""
    rattler = channels.load()
    _check_files(packages, name)
    records = [channels.to_record(each) for each in packages]
    cache = packages_folder(home)
    cache.mkdir(parents=True, exist_ok=True)

    async def fill() -> None:
        if offline:
            index = await rattler.PackageCache(cache).index()
            absent = [
                each.file_name
                for each in records
                if not each.url.startswith("file:") and not index.contains_record(each)
            ]
            if absent:
                raise IndexUnavailable(
                    f"environment `{name}` needs packages of conda, and tilth is offline",
                    why=f"not cached: {', '.join(absent[:3])}{', …' if len(absent) > 3 else ''}",
                    mend="leave out `--offline`, or unset `TILTH_OFFLINE`",
                )
        await rattler.install(
            records,
            target_prefix=prefix,
            cache_dir=cache,
            installed_packages=[],
            execute_link_scripts=False,
            show_progress=False,
            client=rattler.networking.Client.default_client(),
            alternative_target_prefix=final,
        )

    try:
        channels.run(fill())
    except TilthError:
        raise
    except Exception as error:
        if type(error).__module__ in ("exceptions", "rattler.exceptions"):
            raise _not_installed(str(error), name, home) from error
        raise


def _check_files(packages: Sequence[SystemPackage], name: str) -> None:
    """See whether packages in folders are those that were locked: rattler compares only what it downloads."""
    for each in packages:
        kind, _, digest = each.digest.partition(":")
        path = Path(unquote(urlsplit(each.url).path))
        if not (each.url.startswith("file:") and digest and path.is_file()):
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != digest:
            raise _replaced(name, f"{path.name}: expected {each.digest}, found {kind}:{found}")


def _replaced(name: str, why: str) -> EnvironmentBroken:
    return EnvironmentBroken(
        f"a package of conda for environment `{name}` is not the one that was locked",
        why=why,
        mend="somebody replaced the file in the channel; lock again with `--upgrade` if that is meant",
    )


def _not_installed(told: str, name: str, home: Home) -> TilthError:
    lines = [re.sub(r"^(Caused by: )+", "", line).strip() for line in without_credentials(told).splitlines()]
    why = "\n".join(dict.fromkeys(line for line in (lines[0], *lines[-2:]) if line))
    if "No space left on device" in told or "os error 28" in told:
        return disk_full(f"environment `{name}`", home.conda)
    if re.search(r"hash mismatch|did not match|MD5|SHA256", told, re.IGNORECASE):
        return _replaced(name, why)
    if "404" in told or "No such file" in told:
        return EnvironmentBroken(
            f"a package of conda for environment `{name}` is gone",
            why=why,
            mend="put it back into its channel, or lock again with `--upgrade`",
        )
    if "error sending request" in told or "timed out" in told:
        return IndexUnavailable(
            f"a channel of environment `{name}` does not answer", why=why, mend="try again later"
        )
    return EnvironmentBroken(f"conda's part of environment `{name}` cannot be installed", why=why)


def _make_read_only(prefix: Path) -> None:
    for folder, _, files in os.walk(prefix):
        for each in files:
            path = Path(folder, each)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o555 | 0o444)
        Path(folder).chmod(0o555)
    prefix.chmod(0o755)  # until it is where it belongs
