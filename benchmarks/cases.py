"""What is measured, and how one sample of it is taken."""

from __future__ import annotations

import itertools
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from measure import CommandError, Sample, run

if TYPE_CHECKING:
    from pathlib import Path

    from frameworks import Framework

ALL = ("tilth", "zenml", "metaflow", "flyte", "flyte-recorded")
STARTS = ("tilth", "zenml", "metaflow", "flyte")
TWO = ("tilth", "zenml")


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        frameworks: By name, in the order of the first round.
        command: A script; or `import` or `help`.
        n: What the script gets as BENCH_N; `quick_n` instead in a quick look, 0 leaves the case out of it.
        home: `used` is one in which a run has been before, `new` an empty one.
        cached: Whether the same run is measured again, all its steps taken from the cache.
        memory: Whether all processes' memory is watched.
    """

    name: str
    title: str
    frameworks: tuple[str, ...]
    command: str
    n: int = 1
    quick_n: int = 1
    repeat: int = 3
    home: str = "used"
    cached: bool = False
    memory: bool = False


CASES = (
    Case("import", "import what a pipeline's file imports", STARTS, "import", repeat=7),
    Case("help", "`--help` of its command", STARTS, "help", repeat=5),
    Case("first", "one-step script, first ever", TWO, "chain", home="new"),
    Case("chain-1", "one-step script, home used before", ALL, "chain", repeat=5, cached=True),
    Case("chain-10", "10 steps in a row", TWO, "chain", n=10, quick_n=3, cached=True),
    Case("chain-100", "100 steps in a row", ALL, "chain", n=100, quick_n=5, cached=True),
    Case("independent-50", "50 independent steps", ALL, "independent", n=50, quick_n=4, cached=True),
    Case("sleeps", "4 independent steps of 1 s", TWO, "sleeps", n=4, quick_n=2),
    Case(
        "array",
        "array of 200 MB to the next step",
        ("tilth", "zenml", "plain"),
        "big_array",
        n=200,
        quick_n=20,
    ),
    Case(
        "frame",
        "frame of 1M by 5 to the next step",
        ("tilth", "zenml", "plain"),
        "big_frame",
        n=10**6,
        quick_n=10**4,
    ),
    Case("memory-1", "one-step script", TWO, "chain", memory=True, repeat=2),
    Case("memory-100", "100 steps in a row", TWO, "chain", n=100, quick_n=0, memory=True, repeat=1),
    Case("memory-array", "array of 200 MB", TWO, "big_array", n=200, quick_n=0, memory=True, repeat=2),
    Case("memory-frame", "frame of 1M by 5", TWO, "big_frame", n=10**6, quick_n=0, memory=True, repeat=2),
    Case(
        "environments-10",
        "10 steps alternating between two environments",
        ("tilth",),
        "two_environments",
        10,
        4,
    ),
    Case(
        "environments-100",
        "100 steps alternating between two environments",
        ("tilth",),
        "two_environments",
        100,
        10,
    ),
    Case("map-100", "100-way map of a no-op", ("tilth",), "fan_out", n=100, quick_n=10),
    Case("map-10000", "10,000-way map of a no-op", ("tilth",), "fan_out", n=10_000, quick_n=100),
)
# A script's first run in a home is not measured: it makes databases and environments.
_salts = itertools.count(time.time_ns() // 10**6 % 10**9 * 1000, 1000)


def sample(case: Case, framework: Framework, *, project: Path, work: Path, quick: bool) -> dict[str, Sample]:
    """Measure a case once, and again as `NAME-cached` where it wants that and there is a cache."""
    n = case.quick_n if quick else case.n
    if case.home == "new":
        home = work / "new-home" / framework.name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
    else:
        home = used_home(framework, work)
    environ = {**framework.environ(home), "BENCH_N": str(n), "BENCH_KIND": case.command}
    environ |= {"BENCH_TRACE": str(work / "trace"), "BENCH_SALT": str(next(_salts))}

    def once(steps: int | None) -> Sample:
        taken = run(
            _command(case, framework, project, n),
            folder=project,
            environ=environ,
            trace=work / "trace",
            memory=case.memory,
        )
        if steps is not None and taken.count("step") != steps:
            raise CommandError(f"{taken.count('step')} steps ran instead of {steps}")
        return taken

    taken = {case.name: once(_steps(case, framework, n))}
    if case.cached and framework.name in TWO:
        taken[f"{case.name}-cached"] = once(0)
    return taken


def warm_up(case: Case, framework: Framework, *, project: Path, work: Path, quick: bool) -> dict[str, Sample]:
    """What comes before the first measured run: environments made, files in memory. Gives no samples."""
    if case.home == "used" and case.command not in ("import", "help"):
        n = min(case.n, 10 if case.command.startswith("big_") else 2)
        small = Case(case.name, case.title, case.frameworks, case.command, n=n, quick_n=n)
        sample(small, framework, project=project, work=work, quick=quick)
    return {}


def used_home(framework: Framework, work: Path) -> Path:
    """The home in which a framework has run before."""
    home = work / "home" / framework.name
    home.mkdir(parents=True, exist_ok=True)
    return home


def _command(case: Case, framework: Framework, project: Path, n: int) -> list[str]:
    if case.command == "import":
        return [str(framework.python), "-c", framework.imports]
    if case.command == "help":
        return [str(framework.python.with_name(framework.cli)), "--help"]
    return framework.command(case.command, project, n)


def _steps(case: Case, framework: Framework, n: int) -> int | None:
    """How many steps have to leave a mark; None if the script does not mark its steps."""
    if case.command not in ("chain", "independent", "sleeps", "two_environments"):
        return None
    if framework.name == "metaflow":  # a flow has a start and an end, and a join after a foreach
        return max(n, 2) if case.command == "chain" else n + 3
    return n
