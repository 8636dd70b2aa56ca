"""Files and folders that appear whole or not at all, under locks that die with their process.

POSIX only: `flock` on a file keeps others out, and on a scratch folder shows that its maker is alive.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import DiskFull, HomeUnwritable

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRATCH = ".tmp-"
_ABANDONED_S = 3600  # nobody takes this long to write one small file
_FICLONE = 0x40049409  # linux/fs.h


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`; others wait, in this process or another. The file stays behind, empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open_locked(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


class Shared:
    """One use of what many may use at once; see `alone`. Ends when closed or dropped, or with the process.

    When the last one began or ended is the file's time of change.
    """

    def __init__(self, path: Path) -> None:
        try:
            descriptor = _open_locked(path, fcntl.LOCK_SH)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            # From a read-only disk nobody takes anything away: there is nothing to hold.
            descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        _note_use(descriptor)
        self.close = weakref.finalize(self, _end_use, descriptor)


def _end_use(descriptor: int) -> None:
    _note_use(descriptor)
    os.close(descriptor)


def _note_use(descriptor: int) -> None:
    with suppress(OSError):  # it only tells what to remove first
        os.utime(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether nobody has `path` `locked` or a `Shared` of it; if so, nobody gets one meanwhile.

    Who is alone may remove the file: those who wait for it find out, and make a new one.
    """
    try:
        descriptor = _open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def is_used(path: Path) -> bool:
    """Whether somebody has `path` `locked` or a `Shared` of it now. Makes no file; looks for a moment only."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open_locked(path: Path, how: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, how)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # removed while this waited for it: a lock that nobody else will ask for


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder inside `folder`, gone afterwards. What was renamed out of it stays."""
    import tempfile  # here for cost, as below: planning a run makes none

    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder))
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # `sweep` took it
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # else `sweep` took it just now
            break
        os.close(descriptor)
    try:
        yield path
    finally:
        remove_tree(path)
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Delete the scratch folders in `folder` whose makers are dead, and files left by `write_atomic`."""
    for path in folder.glob(f"{_SCRATCH}*"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if path.is_dir():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(path)
            elif time.time() - os.fstat(descriptor).st_mtime > _ABANDONED_S:
                path.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # its maker lives
        finally:
            os.close(descriptor)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file aside, then rename it in place."""
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(prefix=_SCRATCH, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def remember(path: Path, content: bytes) -> None:
    """Write a file that only saves time: a full or read-only disk does not matter to it."""
    with suppress(OSError):
        write_atomic(path, content)


def read_bytes(path: Path) -> bytes | None:
    """What is in a cache file, if there is one."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove_tree(path: Path) -> None:
    """Delete a folder even when it and what is in it is read-only. Nothing happens when it is not there."""
    if not path.is_dir() or path.is_symlink():
        return
    if os.geteuid() == 0:  # who mostly needs no permission: in some containers even root does
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
    with suppress(OSError):
        _make_writable(path)
    shutil.rmtree(path, ignore_errors=True)


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder on one file system. A read-only one is opened for it: its `..` is rewritten."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.chmod(0o755)
    source.rename(target)


def throw_away(folder: Path, within: Path) -> Path:
    """Rename a folder to where nobody looks for it, for `remove_tree`; `sweep` finishes what that does not.

    Takes no room, so it works on a full disk too.
    """
    aside = within / f"{_SCRATCH}{os.urandom(6).hex()}"
    move_folder(folder, aside)
    return aside


def clone_file(source: str, target: str) -> bool:
    """Make `target` share the blocks of `source` until one is written; False where the file system cannot."""
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False
    shutil.copystat(source, target)
    return True


def can_clone(folder: Path) -> bool:
    """Whether the file system of a folder shares blocks between files."""
    source, target = folder / ".clone-source", folder / ".clone-target"
    source.write_bytes(b"x")
    try:
        return clone_file(os.fspath(source), os.fspath(target))
    finally:
        source.unlink()
        target.unlink(missing_ok=True)


def sharing(source: Path, target: Path) -> tuple[bool, bool]:
    """Whether files of one folder can be hard-linked, and cloned, into another. Leaves nothing in either."""
    with scratch(source) as old, scratch(target) as new:
        (old / "file").write_bytes(b"x")
        try:
            os.link(old / "file", new / "link")
            links = True
        except OSError:
            links = False
        try:
            clones = clone_file(os.fspath(old / "file"), os.fspath(new / "clone"))
        except OSError:
            clones = False
    return links, clones


@contextmanager
def explaining_full_disk(what: str, folder: Path) -> Iterator[None]:
    """Turn "no space left", and that nothing may be written there, into an error that names the place."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(what, folder) from error
        unwritable = home_unwritable(error, folder)
        if unwritable is not None:
            raise unwritable from error
        raise


def home_unwritable(error: OSError, folder: Path) -> HomeUnwritable | None:
    """The error for a write into a folder of the home, or beside it, that was refused; None for any other."""
    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return None
    home = folder.parent
    for each in (error.filename2, error.filename):
        place = Path(os.fsdecode(each)) if isinstance(each, (str, bytes)) else None
        if place is not None and place.is_relative_to(home):
            return HomeUnwritable(
                f"`{home.joinpath(*place.relative_to(home).parts[:1])}` cannot be written to",
                why=f"{(error.strerror or str(error)).lower()}: `{place}`",
                mend="make it a folder you may write to, or set `TILTH_HOME` to one",
            )
    return None


def disk_full(what: str, folder: Path) -> DiskFull:
    """The error for a full disk under `folder`."""
    return DiskFull(
        f"no space left to write {what}",
        why=f"the disk that holds `{folder}` is full; nothing half-made was kept",
        mend="free some space, as `tilth env prune` does, or point `TILTH_HOME` to another disk",
    )


def _make_writable(path: Path) -> None:
    path.chmod(stat.S_IRWXU)
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _make_writable(Path(entry.path))
