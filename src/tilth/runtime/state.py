"""What a step may leave behind in a worker, put back before the next one."""

from __future__ import annotations

import os
import sys
from typing import Any


class ProcessState:
    """The interpreter as it was when this was made.

    `restore` puts back what can be put back and gives the reasons, if any, why this process should not
    run another step.
    """

    def __init__(self) -> None:
        self.cwd = os.getcwd()
        self.environ = dict(os.environ)
        self.argv = list(sys.argv)
        self.path = list(sys.path)
        self.umask = os.umask(0o022)
        os.umask(self.umask)
        self.outlets = _outlets()
        self.streams = (sys.stdin, sys.stdout, sys.stderr)
        self.hooks = (sys.excepthook, sys.displayhook)
        self.trace = sys.gettrace()
        self.recursion = sys.getrecursionlimit()
        self.switch = sys.getswitchinterval()

        import signal
        import threading

        self.threads = set(threading.enumerate())
        self.signals = {
            number: signal.getsignal(number)
            for number in (
                signal.SIGINT,
                signal.SIGTERM,
                signal.SIGALRM,
                signal.SIGHUP,
                signal.SIGUSR1,
                signal.SIGUSR2,
            )
        }
        self.warnings: list[Any] | None = None
        self.logging: dict[int, tuple[Any, ...]] = {}  # by id: loggers are never removed
        self.resident = resident_bytes()

    def restore(self, *, growth: int) -> list[str]:
        """Put everything back. `growth` is how many bytes of memory a step may leave behind."""
        import signal
        import threading

        reasons = []
        try:
            os.chdir(self.cwd)
        except OSError:
            reasons.append("its working directory is gone")
        if dict(os.environ) != self.environ:
            for name in os.environ.keys() - self.environ.keys():
                del os.environ[name]
            os.environ.update(self.environ)
        sys.argv[:] = self.argv
        sys.path[:] = self.path
        os.umask(self.umask)
        sys.stdin, sys.stdout, sys.stderr = self.streams
        sys.excepthook, sys.displayhook = self.hooks
        sys.settrace(self.trace)
        sys.setrecursionlimit(self.recursion)
        sys.setswitchinterval(self.switch)
        for number, handler in self.signals.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._restore_warnings()
        self._restore_logging()
        _reseed()
        if _outlets() != self.outlets or any(each is None or each.closed for each in self.streams):
            reasons.append("it closed or redirected its standard streams")
        if left := [
            each.name for each in threading.enumerate() if each not in self.threads and each.is_alive()
        ]:
            reasons.append(f"it left threads running: {', '.join(sorted(left)[:5])}")
        if children := child_processes():
            reasons.append(f"it left processes running: {', '.join(map(str, children[:5]))}")
        if (grown := resident_bytes() - self.resident) > growth:
            reasons.append(f"it left {grown >> 20} MiB more memory in use")
        return reasons

    def observe(self) -> None:
        """Take what a step's imports set up, before its function is called, as what to restore."""
        if warnings := sys.modules.get("warnings"):
            self.warnings = list(warnings.filters)
        self.logging = {
            id(each): (each.level, each.handlers[:], each.filters[:], each.propagate, each.disabled)
            for each in _loggers()
        }

    def _restore_warnings(self) -> None:
        warnings = sys.modules.get("warnings")
        if warnings and self.warnings is not None and warnings.filters != self.warnings:
            warnings.filters[:] = self.warnings
            getattr(warnings, "_filters_mutated_lock_held", getattr(warnings, "_filters_mutated", int))()

    def _restore_logging(self) -> None:
        """Levels and handlers as they were; what a step configured is that step's alone."""
        logging = sys.modules.get("logging")
        if logging is None:
            return
        for each in _loggers():
            if id(each) in self.logging:
                level, handlers, filters, each.propagate, each.disabled = self.logging[id(each)]
                if each.level != level:
                    each.setLevel(level)
                each.handlers[:], each.filters[:] = handlers, filters
            elif each.handlers:
                # Of a library that was imported since: it may say what is to be heard, though not where.
                each.handlers[:] = [one for one in each.handlers if type(one) is logging.NullHandler]
        logging.disable(logging.NOTSET)


def _loggers() -> list[Any]:
    """Every logger there is, the root first."""
    logging = sys.modules.get("logging")
    if logging is None:
        return []
    named = list(logging.Logger.manager.loggerDict.values())
    return [logging.getLogger(), *(each for each in named if isinstance(each, logging.Logger))]


def _outlets() -> list[tuple[int, int] | None]:
    """What standard output and error lead to."""
    found: list[tuple[int, int] | None] = []
    for fd in (1, 2):
        try:
            status = os.fstat(fd)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino))
    return found


def _reseed() -> None:
    """Fresh randomness, as a new process would have: a seed that a step set is that step's alone."""
    if random := sys.modules.get("random"):
        random.seed()
    if (numpy := sys.modules.get("numpy")) and "numpy.random" in sys.modules:
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.seed()


def resident_bytes() -> int:
    """Memory this process has in RAM; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def reset_peak() -> None:
    """Start measuring peak memory from here, where the system can (Linux)."""
    try:
        with open("/proc/self/clear_refs", "wb") as file:
            file.write(b"5")
    except OSError:
        pass


def peak_bytes() -> int:
    """The most memory this process had in RAM since `reset_peak`."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def child_processes() -> list[int]:
    """Ids of this process's living children."""
    found: list[int] = []
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children", "rb") as file:
                found += [int(each) for each in file.read().split()]
    except OSError:
        return found
    return found
