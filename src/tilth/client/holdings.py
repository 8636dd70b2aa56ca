"""What the home folder holds, by kind, and what uv keeps beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tilth.environments import disk, pruning
from tilth.environments.files import sharing
from tilth.mounts import existing_part, mount_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tilth.home import Home


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """All things of one kind."""

    kind: str
    number: int
    size: int  # bytes on disk that no holding before this one has
    shared: int  # bytes on disk that one before it has too: hard links to the same files
    oldest: datetime | None
    newest: datetime | None


class FileSystem(msgspec.Struct, frozen=True, kw_only=True):
    """Where a folder is, and what can be done there. None: it cannot be told."""

    kind: str  # `ext4`; empty where the system does not tell
    free: int  # bytes
    links: bool | None  # environments may have files of wheels under another name
    clones: bool | None  # or files of their own that share blocks until one is written


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on this machine that is tilth's or uv's."""

    home: str
    holdings: tuple[Holding, ...]
    size: int  # bytes on disk of all in the home folder
    unreadable: int  # folders that could not be looked into
    file_system: FileSystem
    uv_cache: str  # folder; empty without a uv
    uv_cache_size: int
    uv_cache_files: int


def look(home: Home) -> Holdings:
    """Look at everything; writes nothing that stays."""
    kinds: dict[str, list[Path]] = {}
    for kind, path in _things(home):
        kinds.setdefault(kind, []).append(path)
    seen: set[disk.Inode] = set()
    holdings = []
    unreadable = 0
    for kind in sorted(kinds, key=list(_ORDER).index):
        tree = disk.measure(*kinds[kind])
        shared = sum(size for inode, (size, _, _) in tree.inodes.items() if inode in seen)
        unreadable += tree.unreadable
        holdings.append(
            Holding(
                kind=kind,
                number=len(kinds[kind]),
                size=tree.size - shared,
                shared=shared,
                **_span(kinds[kind]),
            )
        )
        seen.update(tree.inodes)
    uv_cache = _uv_cache()
    kept = disk.measure(uv_cache) if uv_cache else disk.Tree()
    return Holdings(
        home=str(home.root),
        holdings=tuple(holdings),
        size=sum(each.size for each in holdings) + _around(home, kinds),
        unreadable=unreadable,
        file_system=file_system(home),
        uv_cache=str(uv_cache or ""),
        uv_cache_size=kept.size,
        uv_cache_files=kept.files,
    )


def file_system(home: Home) -> FileSystem:
    """What the file system of the home folder is and can. Tries it out in a folder that is removed again."""
    place = existing_part(home.root)
    mount = mount_of(place)
    status = os.statvfs(place)
    links = clones = None
    with suppress(OSError):  # it is read-only or full: there is no telling
        links, clones = sharing(existing_part(home.wheels), existing_part(home.environments))
    return FileSystem(
        kind=mount.kind if mount else "", free=status.f_bavail * status.f_frsize, links=links, clones=clones
    )


# Kind -> what it is. What shares files with another comes after it.
_ORDER = {
    "wheels": "unpacked packages",
    "built wheels": "packages built here from source",
    "environments": "made of the wheels",
    "conda packages": "unpacked packages of conda",
    "conda": "made of them, beneath environments",
    "locks": "what declarations were resolved to",
    "image layers": "layers, configs and manifests of images",
    "built bases": "with system packages or of a Dockerfile, beneath images",
    "image notes": "which wheel became which layer, what is known of bases and registries",
    "artifacts": "what steps gave",
    "bundles": "code of runs",
    "runs": "graphs and logs of runs",
    "database": "records",
    "caches": "what can be made again",
    "quarantined": "changed or damaged, and put aside",
    "leftovers": "of commands that were killed, or run now",
    "other": "",
}


def meaning(kind: str) -> str:
    """What things of a kind are, in a few words."""
    return _ORDER[kind]


def _things(home: Home) -> Iterator[tuple[str, Path]]:
    """(kind, place) of everything in the home folder, each once."""
    within: dict[str, Callable[[Home], Iterator[tuple[str, Path]]]] = {
        "wheels": _wheels, "environments": _environments, "artifacts": _artifacts, "images": _images,
    }  # fmt: skip
    plain = {"locks": "locks", "bundles": "bundles", "runs": "runs"}
    for path in _listed(home.root):
        if path.name in within and path.is_dir():
            yield from within[path.name](home)
        elif path.name in plain and path.is_dir():
            for each in _listed(path):
                yield _hidden(each) or plain[path.name], each
        elif path.name == "conda":
            for each in _listed(path):
                yield _hidden(each) or "conda", each
        elif path.name == "cache":
            for folder in _listed(path):
                if folder.name == "conda":
                    for each in _listed(folder):
                        if each.name == "packages":
                            yield from (("conda packages", one) for one in _listed(each) if one.is_dir())
                        else:
                            yield "caches", each
                    continue
                for each in _listed(folder) if folder.is_dir() else (folder,):
                    yield ("leftovers" if _is_scratch(each) else "caches"), each
        elif path.name.startswith(home.database.name):
            yield "database", path
        else:
            yield ("leftovers" if _is_scratch(path) else "other"), path


def _wheels(home: Home) -> Iterator[tuple[str, Path]]:
    built = pruning.built_digests(home)
    for path in _listed(home.wheels):
        if path.name == "built":
            for each in _listed(path):
                yield ("leftovers" if _is_scratch(each) else "caches"), each
        elif hidden := _hidden(path):
            yield hidden, path
        else:
            for entry in _listed(path):
                yield ("built wheels" if path.name in built else "wheels"), entry


def _environments(home: Home) -> Iterator[tuple[str, Path]]:
    for path in _listed(home.environments):
        if path.name == ".quarantine":
            for each in _listed(path):
                yield "quarantined", each
        else:
            yield _hidden(path) or "environments", path


def _images(home: Home) -> Iterator[tuple[str, Path]]:
    for path in _listed(home.images):
        if path.name == "blobs":
            for algorithm in _listed(path):
                for each in _listed(algorithm):
                    yield _hidden(each) or "image layers", each
        elif path.is_dir() and not path.name.startswith("."):
            for each in _listed(path):
                kind = "built bases" if path.name == "derived" and each.is_dir() else "image notes"
                yield _hidden(each) or kind, each
        else:
            yield _hidden(path) or "image notes", path


def _artifacts(home: Home) -> Iterator[tuple[str, Path]]:
    for path in _listed(home.artifacts):
        if path.name == "aside":
            for each in _listed(path):
                yield "quarantined", each
        elif path.is_dir():
            for each in _listed(path):
                yield "artifacts", each
        else:
            yield "other", path


def _around(home: Home, kinds: dict[str, list[Path]]) -> int:
    """Bytes on disk of the folders that things are in."""
    around = {home.root} if home.root.is_dir() else set()
    for paths in kinds.values():
        for parent in {each.parent for each in paths}:
            around |= {parent, *parent.parents} if parent not in around else set()
    size = 0
    for each in around:
        if each.is_relative_to(home.root):
            with suppress(OSError):
                size += each.lstat().st_blocks * 512
    return size


def _hidden(path: Path) -> str:
    """The kind of what has a dot before its name."""
    if _is_scratch(path):
        return "leftovers"
    return "caches" if path.name.startswith(".") else ""


def _is_scratch(path: Path) -> bool:
    return path.name.startswith(".tmp-")


def _span(paths: list[Path]) -> dict[str, datetime | None]:
    """When the first and the last of some things were written."""
    moments = []
    for path in paths:
        try:
            moments.append(path.stat().st_mtime)
        except OSError:
            continue
    if not moments:
        return {"oldest": None, "newest": None}
    return {
        "oldest": datetime.fromtimestamp(min(moments), timezone.utc),
        "newest": datetime.fromtimestamp(max(moments), timezone.utc),
    }


def _uv_cache() -> Path | None:
    from tilth.environments import uv
    from tilth.errors import SetupError

    try:
        told = uv.call(["cache", "dir"]).output.strip()
    except SetupError:
        return None  # no uv: `tilth doctor` says so
    return Path(told) if told else None


def _listed(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except OSError:
        return []
