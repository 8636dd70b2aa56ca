"""What processes of this machine use, and what the kernel did to them for want of memory."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def resident(pid: int, *, alone: bool = False) -> int:
    """Memory in RAM of a process and, unless it is meant alone, its descendants, in bytes."""
    total = 0
    for each in [pid] if alone else _family(pid):
        try:
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        except (OSError, ValueError, IndexError):
            continue
    if total or Path("/proc/self").exists():
        return total
    listed = subprocess.run(["ps", "-o", "rss=", "-g", str(pid)], capture_output=True, text=True, check=False)
    return sum(int(each) * 1024 for each in listed.stdout.split() if each.isdigit())


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have; none where there is no `/proc`."""
    return [each for each in _family(pid) if each != pid]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, with that of its ended and collected children."""
    try:
        # The name of a program may hold anything; what follows its last parenthesis does not.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def oom_kills() -> int:
    """How often the kernel has killed a process for want of memory; 0 where it does not say.

    Those of this process's own control group, where that has a limit: other containers of the machine do not
    count. Without one it is the machine that runs out, or a group below.
    """
    counter = _own_counter()
    if counter is None:
        counter = Path("/proc/vmstat")
    try:
        with open(counter, encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0


def control_group(listed: str) -> tuple[int, str] | None:
    """Version and path of the control group that counts memory, from the text of `/proc/self/cgroup`."""
    found = None
    for line in listed.splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return 1, path
        if number == "0" and not controllers:
            found = 2, path
    return found


@cache
def _own_counter() -> Path | None:
    """The file that counts the kills of this process's control group; None where that has no limit."""
    try:
        group = control_group(Path("/proc/self/cgroup").read_text())
    except (OSError, ValueError):
        return None
    if group is None:
        return None
    version, path = group
    name = "memory.oom_control" if version == 1 else "memory.events"
    top = _CGROUPS / "memory" if version == 1 else _CGROUPS
    # In a container the path may be that of the machine, while what is mounted is the container's own group.
    for folder in (top / path.lstrip("/"), top):
        counter = folder / name
        if counter.exists():
            return counter if _is_limited(folder) else None
    return None


def _is_limited(folder: Path) -> bool:
    """Whether a control group has a limit of memory."""
    for name in ("memory.limit_in_bytes", "memory.max"):
        try:
            return int((folder / name).read_text()) < 1 << 60
        except (OSError, ValueError):  # not of this version, or `max`
            continue
    return False


def _family(pid: int) -> list[int]:
    """A process and its descendants, as far as they can be seen."""
    found = []
    stack = [pid]
    while stack:
        each = stack.pop()
        found.append(each)
        try:
            for thread in os.listdir(f"/proc/{each}/task"):
                stack += map(int, Path(f"/proc/{each}/task/{thread}/children").read_text().split())
        except (OSError, ValueError):
            continue
    return found


def size_text(amount: int) -> str:
    """Bytes in words."""
    return f"{amount / (1 << 30):.1f} GiB" if amount >= 1 << 30 else f"{amount / (1 << 20):.0f} MiB"
