"""The format of code bundles: a plain archive of files and links, named by what is in it; and how one is unpacked.

Whoever unpacks trusts nothing: a bundle may come from a store that others write to.
"""
# Names are bytes, for a file system knows no encoding; pathlib has none for bytes.
# ruff: noqa: PTH101, PTH103, PTH117, PTH120, PTH211

from __future__ import annotations

import errno
import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from tilth.errors import DiskFull, HomeUnwritable, NotFound, SetupError

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterable, Iterator, Sequence

_BLOCK = 1 << 20  # bytes
_LEADS_ON = frozenset({b"", b".", b".."})


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One file: `content` is the digest of a regular file, the target of a link."""

    name: bytes  # relative to the root
    kind: Literal["file", "program", "link"]
    content: bytes
    size: int


def unpack(bundle: Path, folder: Path) -> None:
    """Unpack a bundle into a folder that does not exist yet; it appears with everything in it, or not at all.

    Raises:
        NotFound: There is no such bundle.
        SetupError: It is damaged, or has a name or link that leads outside of the folder.
    """
    import tarfile

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder.parent) as aside:
        target = Path(aside, "code")
        target.mkdir()
        root = os.path.realpath(os.fsencode(target))
        try:
            with tarfile.open(bundle, "r:", encoding="utf-8", errors="surrogateescape") as archive:
                entries = [_extract(archive, member, root, bundle) for member in archive]
            # Links may lead through other links, which are all there only now.
            if not all(_is_below(root + b"/" + each.name, root) for each in entries):
                raise _damaged(bundle, "one of its links leads outside")
        except FileNotFoundError:
            raise NotFound(f"there is no code bundle `{bundle.stem}`", mend="start a new run") from None
        except tarfile.TarError as error:
            raise _damaged(bundle, str(error)) from error
        except OSError as error:
            raise unwritable(error, folder) from error
        if entries_digest(entries) != f"sha256:{bundle.stem}":
            raise _damaged(bundle, "its content is not what its name says")
        target.rename(folder)


def entries_digest(entries: Sequence[Entry]) -> str:
    """What a bundle of these is named by: `sha256:…`, whatever their order."""
    # Lengths come first, so that no name can be mistaken for the end of the one before.
    parts = (
        b"%d %s %s %d %s\n" % (len(each.name), each.name, each.kind.encode(), len(each.content), each.content)
        for each in sorted(entries, key=lambda each: each.name)
    )
    return "sha256:" + sha256(b"".join(parts)).hexdigest()


def content_digest(blocks: Iterable[bytes]) -> bytes:
    """Of a file's content: hexadecimal digits."""
    found = sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest().encode()


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, root: bytes, bundle: Path) -> Entry:
    """Write one member below `root`, and nothing outside of it."""
    name = member.name.encode("utf-8", "surrogateescape")
    path = root + b"/" + name
    parts = name.split(b"/")
    if not _LEADS_ON.isdisjoint(parts) or not _is_below(os.path.dirname(path), root):
        raise _damaged(bundle, f"the path `{member.name}` leads outside")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if member.issym():
        link = member.linkname.encode("utf-8", "surrogateescape")
        os.symlink(link, path)
        if os.path.isabs(link) or not _is_below(path, root):
            raise _damaged(bundle, f"the link `{member.name}` leads outside")
        return Entry(name, "link", link, 0)
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise _damaged(bundle, f"`{member.name}` is no file and no link")
    is_program = bool(member.mode & 0o100)
    with open(path, "xb") as written:
        digest = content_digest(_written(file, written))
        size = written.tell()
    os.chmod(path, 0o755 if is_program else 0o644)
    return Entry(name, "program" if is_program else "file", digest, size)


def _written(source: IO[bytes], target: IO[bytes]) -> Iterator[bytes]:
    """The blocks of a file, each when it is written to another."""
    while block := source.read(_BLOCK):
        target.write(block)
        yield block


def _is_below(path: bytes, root: bytes) -> bool:
    return (os.path.realpath(path) + b"/").startswith(root + b"/")


def _damaged(bundle: Path, reason: str) -> SetupError:
    return SetupError(f"the code bundle `{bundle.stem}` is damaged", why=reason, mend="start a new run")


def unwritable(error: OSError, path: Path) -> SetupError:
    """The error for code that cannot be written to `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            "no space left for the project's code", why=f"while writing {path}", mend="free some space"
        )
    return HomeUnwritable(
        f"the project's code cannot be written: {(error.strerror or str(error)).lower()}",
        why=f"while writing `{path}`",
        mend=f"make `{path.parent}` a folder you may write to, or set `TILTH_HOME` to one",
    )
