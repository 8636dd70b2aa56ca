"""What folders take up on disk, where one file may have many names: its blocks count once.

Files that share blocks without being one file (clones) count in full: the file system alone knows what they share.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Inode: TypeAlias = "tuple[int, int]"  # device, number


class Tree:
    """The files and folders at one place.

    Attributes:
        inodes: Each with its bytes on disk, its names below the place, and its names anywhere.
        files: Names of files.
        oldest, newest: Times of change among the files, in seconds since the epoch; 0 when there is none.
        unreadable: Folders that could not be looked into.
    """

    __slots__ = ("files", "inodes", "newest", "oldest", "unreadable")

    def __init__(self) -> None:
        self.inodes: dict[Inode, tuple[int, int, int]] = {}
        self.files = 0
        self.oldest = 0.0
        self.newest = 0.0
        self.unreadable = 0

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for size, _, _ in self.inodes.values())

    def add(self, status: os.stat_result) -> None:
        """Take one name into account."""
        inode = status.st_dev, status.st_ino
        size, names, _ = self.inodes.get(inode, (status.st_blocks * 512, 0, 0))
        if stat.S_ISDIR(status.st_mode):
            self.inodes[inode] = size, 1, 1  # its count of links is that of its subfolders
            return
        self.inodes[inode] = size, names + 1, status.st_nlink
        self.files += 1
        moment = status.st_mtime
        self.newest = max(self.newest, moment)
        self.oldest = min(self.oldest, moment) if self.files > 1 else moment


def measure(*places: Path) -> Tree:
    """What is at some places: files, or folders with all that is in them. What vanishes meanwhile is left out."""
    tree = Tree()
    pending: list[str] = []
    for place in places:
        try:
            status = os.lstat(place)
        except OSError:
            continue
        tree.add(status)
        if stat.S_ISDIR(status.st_mode):
            pending.append(os.fspath(place))
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        tree.add(entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            tree.unreadable += 1
    return tree


def freed(trees: Iterable[Tree]) -> int:
    """Bytes that come free when all these trees are removed: those of files that have no name elsewhere."""
    names: dict[Inode, int] = {}
    sizes: dict[Inode, tuple[int, int]] = {}
    for tree in trees:
        for inode, (size, count, links) in tree.inodes.items():
            names[inode] = names.get(inode, 0) + count
            sizes[inode] = size, links
    return sum(size for inode, (size, links) in sizes.items() if names[inode] >= links)


def total(trees: Iterable[Tree]) -> int:
    """Bytes on disk of some trees together."""
    sizes: dict[Inode, int] = {}
    for tree in trees:
        for inode, (size, _, _) in tree.inodes.items():
            sizes[inode] = size
    return sum(sizes.values())
