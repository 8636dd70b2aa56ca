"""File systems: which one a folder is on, and what it can do. Knows nothing of what is kept there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/mounts")
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre"}
    | {"ncpfs", "nfs", "nfs4", "smb3", "smbfs", "vboxsf", "vmhgfs"}
)


@dataclass(frozen=True)
class Mount:
    """Where a file system is, and what kind it is: `ext4`, `nfs4`, `fuse.sshfs`."""

    point: str
    kind: str
    options: tuple[str, ...] = ()

    @property
    def is_network(self) -> bool:
        """Whether it may be shared between machines. Of a user-space file system nobody can tell."""
        return self.kind in _NETWORK or self.kind.startswith("fuse.")


def mount_of(folder: Path, mounts: Path = MOUNTS) -> Mount | None:
    """The file system of a folder, which need not exist yet; None where the system does not tell."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    place = os.path.realpath(folder)
    found = None
    for line in lines:
        _, point, kind, options, *_ = line.split(" ")
        point = point.encode("utf-8", "surrogateescape").decode("unicode_escape") if "\\" in point else point
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and (
            found is None or len(point) >= len(found.point)
        ):  # the last on one point hides those before
            found = Mount(point, kind, tuple(options.split(",")))
    return found


def existing_part(folder: Path) -> Path:
    """A folder, or the nearest above it that is there."""
    for each in (folder, *folder.parents):
        if each.exists():
            return each
    return Path("/")
