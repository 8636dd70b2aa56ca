"""What is fine and what is wrong on this machine, one small check for each thing, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.client.doctor import home as at_home, machine, network, programs
from tilth.client.doctor.finding import ERROR, OK, SKIPPED, WARNING, Finding
from tilth.environments import background
from tilth.errors import TilthError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tilth.home import Home

__all__ = ["ERROR", "OK", "SKIPPED", "WARNING", "Finding", "examine"]


def examine(home: Home, *, offline: bool = False) -> list[Finding]:
    """Every finding, in the order in which a person would mend them. Several checks at a time."""
    answer = network.Asking(offline=offline)
    checks: Sequence[tuple[str, Callable[[], Finding]]] = (
        ("uv", programs.uv_runs),
        ("python", programs.project_python),
        ("pythons", programs.pythons),
        ("git", programs.git),
        ("containers", programs.containers),
        ("home", lambda: at_home.writable(home)),
        ("permissions", lambda: at_home.permissions(home)),
        ("space", lambda: at_home.space(home)),
        ("file system", lambda: at_home.network_file_system(home)),
        ("sharing", lambda: at_home.sharing(home)),
        ("database", lambda: at_home.database(home)),
        ("uv cache", at_home.uv_cache),
        ("index", answer.index),
        ("clock", lambda: machine.clock(answer, home)),
        ("memory", machine.memory),
        ("open files", machine.open_files),
        ("bytecode", machine.bytecode),
    )
    return background.at_once(lambda check: _look(*check), checks, threads=8)


def _look(name: str, check: Callable[[], Finding]) -> Finding:
    """One check; that it cannot be done is a finding too, and harms no other."""
    try:
        return check()
    except TilthError as error:
        why = f": {error.why}" if error.why else ""
        return Finding(name=name, state=ERROR, told=f"{error.summary}{why}", mend=error.mend)
    except OSError as error:
        return Finding(name=name, state=ERROR, told=f"it could not be looked at: {error}")
