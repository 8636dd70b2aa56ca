"""Checks of the home folder and of uv's cache: who may write there, how much room is left, what the disk can."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.client.doctor.finding import ERROR, OK, SKIPPED, WARNING, Finding
from tilth.client.wording import size
from tilth.environments.files import scratch, sharing as try_sharing
from tilth.mounts import MOUNTS, existing_part, mount_of

if TYPE_CHECKING:
    from tilth.home import Home

_LOW, _HARDLY_ANY = 2_000_000_000, 100_000_000  # bytes: one environment with CUDA; a run with nothing to make
_FEW, _HARDLY_A_FILE = 20_000, 1_000  # inodes: the files of one environment; of a run


def writable(home: Home) -> Finding:
    """Whether tilth may write where it keeps everything."""
    root = home.root
    place = existing_part(root)
    if not place.is_dir():
        return Finding(
            name="home",
            state=ERROR,
            told=f"`{place}` is not a folder",
            mend="set `TILTH_HOME` to a folder, or move the file away",
        )
    wrong = _not_writable(place)
    if wrong:
        return Finding(
            name="home",
            state=ERROR,
            told=f"`{root}` cannot be written to: {wrong}",
            mend="make it a folder you may write to, or set `TILTH_HOME` to one",
        )
    for folder in (home.environments, home.wheels, home.locks, home.artifacts, home.runs, home.cache):
        wrong = _not_writable(folder) if folder.exists() else ""
        if wrong:
            return Finding(
                name="home",
                state=ERROR,
                told=f"`{folder}` cannot be written to: {wrong}",
                mend="make it a folder you may write to",
            )
    return Finding(
        name="home", state=OK, told=f"`{root}`" + ("" if root.exists() else ", which the first run makes")
    )


def permissions(home: Home) -> Finding:
    """Whether others may change what tilth will run."""
    if not home.root.exists():
        return Finding(name="permissions", state=SKIPPED, told="there is no home folder yet")
    for path in (home.root, home.database, home.environments, home.wheels, home.artifacts):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        if mode & (stat.S_IWOTH | stat.S_IWGRP):
            everybody = bool(mode & stat.S_IWOTH)
            return Finding(
                name="permissions",
                state=ERROR if everybody else WARNING,
                told=f"{'everybody' if everybody else 'the group'} may write to `{path}`, and so have you run anything",
                mend=f"`chmod go-w {path}`",
            )
    return Finding(name="permissions", state=OK, told="nobody else may write to the home folder")


def space(home: Home) -> Finding:
    """Whether there is room on the disk, for bytes and for files."""
    place = existing_part(home.root)
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    files = status.f_favail if status.f_files else None  # some file systems have no fixed number
    few = files is not None and files < _FEW
    if free < _LOW or few:
        hardly = free < _HARDLY_ANY or (files is not None and files < _HARDLY_A_FILE)
        left = f"{size(free)}" if free < _LOW else f"room for {files} files"
        return Finding(
            name="space",
            state=ERROR if hardly else WARNING,
            told=f"{left} left on the disk of `{home.root}`",
            mend="`tilth env prune --older-than 30d` and `tilth cache info` help, or set `TILTH_HOME` to another disk",
        )
    return Finding(name="space", state=OK, told=f"{size(free)} free on the disk of `{home.root}`")


def network_file_system(home: Home, *, mounts: Path = MOUNTS) -> Finding:
    """Whether the home folder is on a file system that other machines may write to at the same time."""
    mount = mount_of(home.root, mounts)
    if mount is None:
        return Finding(
            name="file system", state=SKIPPED, told="this system does not tell which file systems it has"
        )
    where = f"`{home.root}` is on {mount.kind}, mounted at `{mount.point}`"
    if not mount.is_network:
        return Finding(name="file system", state=OK, told=where)
    if _journal(home) == "wal":
        return Finding(
            name="file system",
            state=ERROR,
            told=f"{where}; the database has a write-ahead log, which works on one machine only",
            mend="stop every tilth on this home folder, then run any command: it switches the log off",
        )
    return Finding(
        name="file system",
        state=WARNING,
        told=f"{where}, a network or user-space file system: slow for environments, and locks may not hold on it",
        mend="set `TILTH_HOME` to a folder on a local disk",
    )


def sharing(home: Home) -> Finding:
    """Whether environments share the files of the wheel store, or each has a copy."""
    places = [existing_part(each) for each in (home.wheels, home.environments)]
    if places[0].stat().st_dev != places[1].stat().st_dev:
        return Finding(
            name="sharing",
            state=WARNING,
            told=f"`{home.wheels}` and `{home.environments}` are on different file systems: each environment is a copy",
            mend="have both on one file system",
        )
    try:
        links, clones = try_sharing(*places)
    except OSError as error:
        return Finding(
            name="sharing", state=SKIPPED, told=f"it cannot be tried: {(error.strerror or '').lower()}"
        )
    if not links and not clones:
        return Finding(
            name="sharing",
            state=WARNING,
            told="files of wheels can neither be hard-linked nor cloned into environments: each is a copy",
            mend="set `TILTH_HOME` to a folder on one file system that can, as ext4, XFS, Btrfs or APFS",
        )
    return Finding(
        name="sharing", state=OK, told=f"environments share files as {'clones' if clones else 'hard links'}"
    )


def database(home: Home) -> Finding:
    """Whether the records can be read and are whole. Writes nothing."""
    path = home.database
    if not path.exists():
        return Finding(name="database", state=SKIPPED, told="there is none yet")
    mend = (
        f"move `{path}` and `{path.name}-*` beside it to another folder, and run again: a new one is made, artifacts "
        "and environments stay; or put a copy of it in its place"
    )
    try:
        with contextlib.closing(_open_to_read(path)) as connection:
            problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        busy = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        return Finding(
            name="database",
            state=ERROR,
            told=f"`{path}` {'is held by another process' if busy else 'cannot be read'}: {error}",
            mend=f"see which with `fuser {path}`" if busy else mend,
        )
    if problems != ["ok"]:
        return Finding(name="database", state=ERROR, told=f"`{path}` is damaged: {problems[0]}", mend=mend)
    from tilth.store.sqlite import MIGRATIONS

    latest = max(int(each.name[:4]) for each in MIGRATIONS.glob("*.sql"))
    if version > latest:
        return Finding(
            name="database",
            state=ERROR,
            told=f"`{path}` was written by a newer tilth: it has version {version}, this one knows {latest}",
            mend="install the newest tilth, or set `TILTH_HOME` to another folder",
        )
    return Finding(name="database", state=OK, told=f"whole, {size(path.stat().st_size)}")


def uv_cache() -> Finding:
    """Whether uv may keep what it downloads."""
    from tilth.environments import uv

    told = uv.call(["cache", "dir"])
    folder = Path(told.output.strip())
    if told.code or not folder.is_absolute():
        return Finding(
            name="uv cache",
            state=ERROR,
            told=f"uv does not say where its cache is: {told.errors.strip() or told.output.strip()}",
            mend="see `uv cache dir`",
        )
    wrong = _not_writable(existing_part(folder)) if not folder.is_file() else "it is not a folder"
    if wrong:
        return Finding(
            name="uv cache",
            state=ERROR,
            told=f"`{folder}` cannot be written to: {wrong}",
            mend="make it a folder you may write to, or set `UV_CACHE_DIR` to one",
        )
    free = os.statvfs(existing_part(folder))
    if free.f_bavail * free.f_frsize < _HARDLY_ANY:
        return Finding(
            name="uv cache",
            state=ERROR,
            told=f"{size(free.f_bavail * free.f_frsize)} left on the disk of `{folder}`",
            mend="`uv cache prune` makes room, or set `UV_CACHE_DIR` to another disk",
        )
    return Finding(name="uv cache", state=OK, told=f"`{folder}`")


def _not_writable(folder: Path) -> str:
    """Why no file can be made in a folder; empty when one can."""
    try:
        with scratch(folder) as aside:
            (aside / "file").write_bytes(b"x")
            next(aside.iterdir())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "no space is left"
        return (error.strerror or str(error)).lower()
    return ""


def _journal(home: Home) -> str:
    if not home.database.exists():
        return ""
    try:
        with contextlib.closing(_open_to_read(home.database)) as connection:
            return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    except sqlite3.Error:
        return ""


def _open_to_read(path: Path) -> sqlite3.Connection:
    from urllib.parse import quote

    # On a read-only disk the log's index cannot be made, and nobody else can write either.
    still = "&immutable=1" if _not_writable(path.parent) else ""
    return sqlite3.connect(f"file:{quote(os.fspath(path))}?mode=ro{still}", uri=True, timeout=5)
