"""Checks of the machine itself: clock, memory, limits, variables."""

from __future__ import annotations

import os
import resource
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.client.doctor.finding import OK, SKIPPED, WARNING, Finding
from tilth.client.wording import duration, moment, size

if TYPE_CHECKING:
    from tilth.client.doctor.network import Asking
    from tilth.home import Home

_RELEASED = datetime(2026, 11, 1, tzinfo=timezone.utc)  # no clock that is right shows an earlier time
_APART_S = 120
_FEW_FILES = 1024
_LITTLE_MEMORY = 1 << 30


def clock(asking: Asking, home: Home, *, now: float | None = None) -> Finding:
    """Whether the time is right: runs, leases and caches are dated by it."""
    now = time.time() if now is None else now
    mend = "set the clock, best by a time service: `timedatectl set-ntp true`"
    shown = moment(datetime.fromtimestamp(now, timezone.utc))
    if now < _RELEASED.timestamp():
        return Finding(
            name="clock",
            state=WARNING,
            told=f"it shows {shown}, which is before this tilth was made",
            mend=mend,
        )
    try:
        ahead = home.database.stat().st_mtime - now
    except OSError:
        ahead = 0
    if ahead > _APART_S:
        told = f"it shows {shown}; the database was written {duration(ahead)} later"
        return Finding(name="clock", state=WARNING, told=told, mend=mend)
    answer = asking.clock()
    if isinstance(answer, str):
        return Finding(
            name="clock", state=SKIPPED, told=f"it shows {shown}, compared with no other: {answer}"
        )
    apart = answer.offset + (now - answer.asked_at)
    if abs(apart) > _APART_S:
        way = "ahead of" if apart > 0 else "behind"
        told = f"it is {duration(abs(apart))} {way} that of `{answer.host}`"
        return Finding(name="clock", state=WARNING, told=told, mend=mend)
    return Finding(name="clock", state=OK, told=f"it agrees with that of `{answer.host}`")


def memory(*, told_by: Path = Path("/proc/meminfo")) -> Finding:
    """Whether there is memory left for steps."""
    try:
        lines = dict(line.split(":", 1) for line in told_by.read_text().splitlines() if ":" in line)
        free, whole = (int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    except (OSError, KeyError, ValueError):
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Finding(name="memory", state=SKIPPED, told=f"{size(whole)}; how much is free is not told here")
    if free < _LITTLE_MEMORY:
        return Finding(
            name="memory",
            state=WARNING,
            told=f"{size(free)} of {size(whole)} are free: steps may be killed for want of it",
            mend="end other programs, or run fewer steps at once: `TILTH_WORKERS=1`",
        )
    return Finding(name="memory", state=OK, told=f"{size(free)} of {size(whole)} are free")


def open_files() -> Finding:
    """Whether a process may open enough files: the driver holds pipes and logs for every worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        most = _FEW_FILES if hard == resource.RLIM_INFINITY else min(_FEW_FILES, hard)
        return Finding(
            name="open files",
            state=WARNING,
            told=f"a process may have {soft} files open, which many workers at once may exceed",
            mend=f"`ulimit -n {most}` before `tilth run`"
            + ("" if most == _FEW_FILES else "; more than that is for the administrator to allow"),
        )
    count = "any number of" if soft == resource.RLIM_INFINITY else str(soft)
    return Finding(name="open files", state=OK, told=f"a process may have {count} files open")


def bytecode() -> Finding:
    """Whether interpreters may keep what they compile."""
    # Not a setting of tilth's: Python itself reads it, in every interpreter that is started.
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return Finding(
            name="bytecode",
            state=WARNING,
            told="`PYTHONDONTWRITEBYTECODE` is set: every interpreter compiles the project's modules again",
            mend="unset it",
        )
    return Finding(name="bytecode", state=OK, told="interpreters keep what they compile")
