"""Run one command and say what it cost. Knows nothing of frameworks."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

TIMEOUT_S = 900
GRACE_S = 3
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class CommandError(Exception):
    """The command ended badly, or left processes behind; the message has the end of its output."""


@dataclass(frozen=True)
class Sample:
    """What one run of a command cost.

    Attributes:
        wall: Seconds, from start to the end of the command's own process.
        cpu: Seconds, user and system, of all its processes.
        peak_mb: Of the largest of its processes, resident.
        tree_mb: Of all its processes at one moment, shared pages counted once; None unless asked for.
        load: Average load of the machine over the last minute, before the start.
        marks: What its steps wrote into the trace, in order.
    """

    wall: float
    cpu: float
    peak_mb: float
    tree_mb: float | None
    load: float
    marks: list[tuple[str, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def count(self, name: str) -> int:
        """How often a mark was written."""
        return sum(1 for mark, _ in self.marks if mark == name)

    def mark(self, name: str) -> float:
        """The value of the one mark of this name."""
        (value,) = [value for mark, value in self.marks if mark == name]
        return value


def run(
    command: list[str], *, folder: Path, environ: dict[str, str], trace: Path, memory: bool = False
) -> Sample:
    """Run to the end, and clean up what it leaves running.

    Args:
        trace: A file its steps append `NAME NUMBER` lines to; emptied first.
        memory: Also watch the memory of all processes together; costs some speed.
    """
    _adopt_orphans()
    trace.write_bytes(b"")
    output = trace.with_suffix(".out")
    load = os.getloadavg()[0]
    with output.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        watch = _Memory(process.pid) if memory else None
        timer = threading.Timer(TIMEOUT_S, _kill_group, [process.pid])
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        timer.cancel()
    tree_mb = watch.stop() if watch else None
    cpu = usage.ru_utime + usage.ru_stime + _reap_orphans(process.pid)
    tail = "\n".join(output.read_text(errors="replace").strip().splitlines()[-15:])
    if process.returncode:
        raise CommandError(f"`{' '.join(command)}` ended with {process.returncode}:\n{tail}")
    return Sample(
        wall=wall,
        cpu=cpu,
        peak_mb=usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2),
        tree_mb=tree_mb,
        load=load,
        marks=[(name, float(value)) for name, value in map(str.split, trace.read_text().splitlines())],
    )


def _adopt_orphans() -> None:
    """Become the parent of what a command's processes leave behind, so that its cost is counted too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap_orphans(group: int) -> float:
    """CPU seconds of processes that outlived the command; those still there after a while are ended."""
    cpu = 0.0
    deadline = time.monotonic() + GRACE_S
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cpu
        if pid:
            cpu += usage.ru_utime + usage.ru_stime
        elif time.monotonic() > deadline:
            _kill_group(group)
            for child in _children(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        else:
            time.sleep(0.01)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


class _Memory:
    """Samples the memory of a process and all below it: the sum of their proportional set sizes."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak_kib = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def stop(self) -> float:
        """The peak, in MB."""
        self.ended.set()
        self.thread.join()
        return self.peak_kib / 1024

    def _watch(self) -> None:
        while not self.ended.wait(0.01):
            total, waiting = 0, [self.pid]
            while waiting:
                pid = waiting.pop()
                waiting += _children(pid)
                with contextlib.suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                    total += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
            self.peak_kib = max(self.peak_kib, total)
