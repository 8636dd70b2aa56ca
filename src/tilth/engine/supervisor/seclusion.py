"""Keeps what a supervisor knows from the step that it starts as the same user.

What a process was started with can be read by every other of its user (`/proc/PID/environ`). So the supervisor
starts itself anew with the variables that a step may see, and gets the rest through a file that has no name and is
closed at once. Then it makes itself unreadable, and gives up the right to read others, which what it starts inherits.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OPTION = "--handed"
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_CAP_SYS_PTRACE = 19

# What a step gets of the variables that the supervisor was started with: of the machine and its devices, no more.
_SHOWN = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "HOSTNAME", "TERM",
    "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_COLOR",
    "CUDA_*", "NVIDIA_*", "NCCL_*", "ROCR_*", "HIP_*", "ROCM_*", "ZE_*", "TPU_*", "GPU_*",
    "OMP_*", "MKL_*", "OPENBLAS_*", "NUMEXPR_*", "SLURM_*", "MALLOC_*", "PYTHONHASHSEED",
)  # fmt: skip
_OURS = ("PYTHON*",)  # what the supervisor's own interpreter needs besides


class Handed(NamedTuple):
    """What a supervisor starts with."""

    task: str  # the assignment's text
    variables: dict[str, str]  # all it was started with at first


def shown(variables: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """Those of a supervisor's variables that a step gets. Never one that is known to log in to something."""
    patterns = (*_SHOWN, *more)
    return {
        name: value for name, value in variables.items() if any(fnmatchcase(name, each) for each in patterns)
    }


def seclude(task: str | None) -> Handed:
    """Start this program anew, secluded; returns in the new one, with what the old one had.

    Args:
        task: The assignment's text; None in the program that was started anew.
    """
    if task is None:
        return _received()
    variables = dict(os.environ)
    if hasattr(os, "memfd_create"):  # Linux, which is where engines run steps
        file = os.memfd_create("task")
        os.set_inheritable(file, True)
        _write(file, json.dumps({"task": task, "variables": variables}).encode("utf-8", "surrogateescape"))
        os.lseek(file, 0, os.SEEK_SET)
        sys.stdout.flush()
        sys.stderr.flush()
        command = [sys.executable, *_flags(), "-m", "tilth.engine.supervisor", _OPTION, str(file)]
        os.execve(sys.executable, command, shown(variables, _OURS))  # noqa: S606 - this very program
    return Handed(task, variables)


def is_handed(arguments: list[str]) -> bool:
    """Whether these arguments are those of the program that was started anew."""
    return len(arguments) == 2 and arguments[0] == _OPTION and arguments[1].isdigit()


def _received() -> Handed:
    file = int(sys.argv[2])
    with open(file, "rb") as handed:
        content = json.loads(handed.read().decode("utf-8", "surrogateescape"))
    close_to_others()
    # For the libraries that talk to stores. Set here they are in memory only, not in `/proc/PID/environ`.
    os.environ.update(content["variables"])
    return Handed(content["task"], content["variables"])


def close_to_others() -> None:
    """Nobody of the same user reads this process's memory; root does not either, without a right it gives up here."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE, 0, 0, 0)  # refused to who has no such right anyway


def _flags() -> list[str]:
    """The options that the interpreter was started with."""
    end = sys.orig_argv.index("-m") if "-m" in sys.orig_argv else 1
    return sys.orig_argv[1:end]


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
