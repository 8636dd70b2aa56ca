"""Packs the project's files into an archive that is named by what is in it.

With git the files are those it tracks or would add; without it, the whole tree. `.tilthignore` and what no
project means as code (virtual environments, caches, the home folder) are left out of either.
"""
# Names are bytes, for a file system knows no encoding; pathlib has none for bytes.
# ruff: noqa: PTH110, PTH112, PTH114, PTH115, PTH116, PTH118, PTH120

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.client.ignored import Ignored
from tilth.engine.archives import Entry, content_digest, entries_digest, unwritable
from tilth.errors import DefinitionError
from tilth.records import Git
from tilth.settings import setting

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator, Sequence

    from tilth.client.code_root import CodeRoot
    from tilth.home import Home

MAX_BYTES = 500_000_000
MAX_FILES = 100_000

_NO_CODE = frozenset({b"pyvenv.cfg", b"tilth.db"})  # a virtual environment, a home folder of tilth's
_LEFT_OUT = frozenset(
    {
        b".git", b".hg", b".svn", b"__pycache__", b"node_modules", b".mypy_cache", b".ruff_cache", b".pytest_cache",
        b".hypothesis", b".tox", b".nox", b".eggs", b".ipynb_checkpoints", b".venv",
    }
)  # fmt: skip
# A file may change twice within one tick of the file system's clock, so a young one is not remembered.
_YOUNG_NS = 2_000_000_000
# In a hook these name the repository that runs it, which need not be the project's.
GIT_VARIABLES = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
)
GIT = (
    "git",
    "--no-optional-locks",
    "-c",
    "safe.directory=*",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.quotePath=false",
)


@dataclass(frozen=True)
class Bundle:
    """An archive of a project's files.

    Attributes:
        digest: Of names, modes and contents, `sha256:…`; not of the archive's bytes.
        path: The archive.
        files: How many there are.
        size: Of all files together, in bytes.
        created: Whether the archive was written now; False when it was there.
    """

    digest: str
    path: Path
    files: int
    size: int
    created: bool


def make_bundle(code: CodeRoot, home: Home) -> Bundle:
    """Archive the project's files as they are now, unless that has been done.

    Raises:
        DefinitionError: The tree is too large, or a file cannot be read.
        DiskFull: There is no space for the archive.
    """
    for _ in range(5):
        entries = _read_entries(code.root, home)
        digest = entries_digest(entries)
        path = bundle_path(digest, home)
        size = sum(each.size for each in entries)
        if path.exists():
            return Bundle(digest, path, len(entries), size, created=False)
        try:
            _write(entries, code.root, path)
        except _Changed:
            continue
        return Bundle(digest, path, len(entries), size, created=True)
    raise DefinitionError(
        f"the files in `{code.root}` change while they are read", mend="wait until what writes them is done"
    )


def bundle_digest(code: CodeRoot, home: Home) -> str:
    """The digest that a bundle of the project would have now."""
    return entries_digest(_read_entries(code.root, home))


def bundle_path(digest: str, home: Home) -> Path:
    """Where the bundle of this digest is, or would be."""
    return home.bundles / f"{digest.partition(':')[2]}.tar"


def git_state(root: Path) -> Git | None:
    """Commit, branch and whether anything below `root` differs from it; None when this is no git repository."""
    output = _git(root, "status", "--porcelain=v2", "--branch", "-z", "--", ".")
    if output is None:
        return None
    commit = branch = ""
    dirty = False
    for line in output.split(b"\0"):
        if line.startswith(b"# branch.oid "):
            commit = os.fsdecode(line[13:])
        elif line.startswith(b"# branch.head "):
            branch = os.fsdecode(line[14:])
        elif line and not line.startswith(b"# "):
            dirty = True
    return Git(
        commit="" if commit == "(initial)" else commit,
        branch="" if branch == "(detached)" else branch,
        dirty=dirty,
    )


class _Changed(Exception):
    """A file is not any more what it was when it was digested."""


def _read_entries(root: Path, home: Home) -> list[Entry]:
    """Every file of the project with its digest, sorted by name."""
    folder = os.fsencode(root)
    ignored = Ignored(root / ".tilthignore")
    names = _without_ignored(_listed(root, ignored), root, home, ignored)
    remembered = _Remembered(root, home)
    entries: list[Entry] = []
    size = 0
    for name in sorted(names):
        entry = _entry(name, folder, remembered)
        if entry is not None:
            entries.append(entry)
            size += entry.size
            if size > MAX_BYTES or len(entries) > MAX_FILES:
                raise _too_large(folder, names)
    remembered.save()
    return entries


def _entry(name: bytes, folder: bytes, remembered: _Remembered) -> Entry | None:
    path = folder + b"/" + name
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            target = _inside(name, os.readlink(path), folder)
            if target is not None:
                return Entry(name, "link", target, 0)
            status = os.stat(path)  # a link that leads outside: what it leads to is the file
        if not stat.S_ISREG(status.st_mode):
            return None
        digest = remembered.digest(name, path, status)
    except FileNotFoundError:
        return None  # tracked, but deleted; or a link to nothing
    except OSError as error:
        raise _unreadable(name, error) from error
    return Entry(name, "program" if status.st_mode & 0o100 else "file", digest, status.st_size)


def _inside(name: bytes, target: bytes, folder: bytes) -> bytes | None:
    """A link's target relative to the link; None when that is outside of the folder."""
    place = os.path.dirname(name)
    absolute = os.path.normpath(os.path.join(folder, place, target))
    if not absolute.startswith(folder + b"/"):
        return None
    return os.path.relpath(absolute, os.path.join(folder, place))


_Stamps = dict[bytes, tuple[int, int, int, int, bytes]]


class _Remembered:
    """Digests of files seen before, by what a change would change: size, times, inode."""

    def __init__(self, root: Path, home: Home) -> None:
        self._path = home.cache / "files" / f"{sha256(os.fsencode(root)).hexdigest()[:32]}.msgpack"
        self._new: _Stamps = {}
        self._now = time.time_ns()
        try:
            self._known = msgspec.msgpack.decode(self._path.read_bytes(), type=_Stamps)
        except (OSError, msgspec.MsgspecError, ValueError):
            self._known = {}

    def digest(self, name: bytes, path: bytes, status: os.stat_result) -> bytes:
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        known = self._known.get(name)
        if known is not None and known[:4] == stamp:
            self._new[name] = known
            return known[4]
        with open(path, "rb") as file:
            digest = content_digest(iter(lambda: file.read(1 << 20), b""))
        if self._now - max(status.st_mtime_ns, status.st_ctime_ns) > _YOUNG_NS:
            self._new[name] = (*stamp, digest)
        return digest

    def save(self) -> None:
        """Keep what is known now. Losing it costs time only, so trouble with it is none."""
        if self._new == self._known:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            aside = self._path.with_suffix(f".{os.getpid()}")
            aside.write_bytes(msgspec.msgpack.encode(self._new))
            aside.replace(self._path)


def _listed(root: Path, ignored: Ignored) -> list[bytes]:
    """The names of all files below a folder that git would keep, else of all."""
    output = None
    if any((folder / ".git").exists() for folder in (root, *root.parents)):
        output = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if not output:
        # No repository, no git, or a folder that its repository ignores.
        return list(_walk(os.fsencode(root), b"", ignored))
    names: dict[bytes, None] = {}
    for name in output.split(b"\0"):
        path = os.path.join(os.fsencode(root), name)
        if not name:
            continue
        if name.endswith(b"/") or (os.path.isdir(path) and not os.path.islink(path)):
            if os.path.exists(os.path.join(path, b".git")):  # a submodule, or a repository in this one
                inner = name.rstrip(b"/")
                below = _listed(Path(os.fsdecode(path)), Ignored(Path(os.devnull)))
                names.update(dict.fromkeys(inner + b"/" + each for each in below))
        else:
            names[name] = None  # once, though git lists each side of a conflict
    return list(names)


def _walk(root: bytes, prefix: bytes, ignored: Ignored) -> Iterator[bytes]:
    try:
        with os.scandir(root + b"/" + prefix) as found:
            entries = list(found)
    except OSError as error:
        raise _unreadable(prefix or b".", error) from error
    if prefix and (sign := next((each.name for each in entries if each.name in _NO_CODE), None)):
        yield prefix + sign  # tells the caller to leave all of this folder out
        return
    for each in entries:
        if each.is_dir(follow_symlinks=False):
            if each.name not in _LEFT_OUT and not ignored.folder(prefix + each.name):
                yield from _walk(root, prefix + each.name + b"/", ignored)
        else:
            yield prefix + each.name


def _without_ignored(names: list[bytes], root: Path, home: Home, ignored: Ignored) -> list[bytes]:
    """Without what no project means as code, and what `.tilthignore` names."""
    signs = tuple(b"/" + each for each in _NO_CODE)
    left_out = [os.path.dirname(each) + b"/" for each in names if each.endswith(signs)]
    with contextlib.suppress(ValueError):
        left_out.append(os.fsencode(home.root.relative_to(root)) + b"/")
    prefixes = tuple(left_out)
    # The key of secrets: where it is kept by itself (see `tilth.secrets.key`), and where somebody wants it to be.
    ends = (b".pyc", b".DS_Store", b".config/tilth/secrets.key", b"tilth-keys/secrets.key")
    wanted = setting("secrets_key")
    key = os.fsencode(os.path.relpath(os.path.expanduser(wanted), root)) if wanted else b""  # noqa: PTH111 - as text
    return [
        name
        for name in names
        if not (prefixes and name.startswith(prefixes))
        and (b"/" not in name or _LEFT_OUT.isdisjoint(name.split(b"/")[:-1]))
        and name != key
        and not name.endswith(ends)
        and not ignored.file(name)
    ]


def _git(root: Path, *arguments: str) -> bytes | None:
    """What git prints; None when there is no git, or no repository."""
    variables = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    try:
        ended = subprocess.run(
            [*GIT, *arguments],
            cwd=root,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return ended.stdout if ended.returncode == 0 else None


def _write(entries: Sequence[Entry], root: Path, path: Path) -> None:
    """Write the archive aside and rename it: nobody sees half of one."""
    import tarfile  # here for cost: an unchanged tree is not written

    aside = path.with_name(f".{path.name}.{os.getpid()}-{time.time_ns()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "xb") as file:
            with tarfile.open(
                fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
            ) as archive:
                for entry in entries:
                    _add(archive, entry, os.fsencode(root))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise unwritable(error, path) from error
    finally:
        with contextlib.suppress(OSError):  # on a read-only disk there is none, and this would hide why
            aside.unlink(missing_ok=True)


def _add(archive: tarfile.TarFile, entry: Entry, root: bytes) -> None:
    import tarfile

    member = tarfile.TarInfo(entry.name.decode("utf-8", "surrogateescape"))
    member.mode = 0o755 if entry.kind == "program" else 0o644
    if entry.kind == "link":
        member.type = tarfile.SYMTYPE
        member.linkname = entry.content.decode("utf-8", "surrogateescape")
        archive.addfile(member)
        return
    try:
        with open(root + b"/" + entry.name, "rb") as file:
            content = file.read()
    except OSError as error:
        raise _Changed from error
    if content_digest(iter((content,))) != entry.content:
        raise _Changed
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _unreadable(name: bytes, error: OSError) -> DefinitionError:
    return DefinitionError(
        f"`{os.fsdecode(name)}` cannot be read: {error.strerror}",
        why="the project's files are archived with each run",
        mend="make it readable, or name it in `.tilthignore`",
    )


def _too_large(folder: bytes, names: Sequence[bytes]) -> DefinitionError:
    """Says which folders, at most two levels down, are the largest."""
    sizes: dict[bytes, tuple[int, int]] = {}
    for name in names:
        with contextlib.suppress(OSError):
            size = os.lstat(folder + b"/" + name).st_size
            place = b"/".join(name.split(b"/")[:-1][:2]) or b"."
            before = sizes.get(place, (0, 0))
            sizes[place] = (before[0] + size, before[1] + 1)
    total = sum(size for size, _ in sizes.values())
    largest = sorted(sizes.items(), key=lambda each: (-each[1][0], -each[1][1]))[:5]
    return DefinitionError(
        f"the project has {total / 1e6:,.0f} MB in {len(names):,} files, too much to archive with each run",
        why=f"at most {MAX_BYTES / 1e6:,.0f} MB and {MAX_FILES:,} files are; "
        f"the largest folders of `{os.fsdecode(folder)}`:\n"
        + "\n".join(
            f"{size / 1e6:,.0f} MB in {count:,} files: {os.fsdecode(place)}"
            for place, (size, count) in largest
        ),
        mend="name what is no code in `.tilthignore`, with the syntax of gitignore",
    )
