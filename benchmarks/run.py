"""Measure tilth beside other frameworks, on this machine, now.

    python benchmarks/run.py                     all of it: about 20 minutes
    python benchmarks/run.py --quick             everything once and small: does it all still run?
    python benchmarks/run.py --only chain-100    one case (or several), beside the results there are
    python benchmarks/run.py --render            RESULTS.md again from results.json

Frameworks take turns, so that a change in the machine's speed reaches all of them. Results go to
`results.json` and `RESULTS.md` beside this file; those of `--quick` to `.work/`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases import CASES, Case, sample, warm_up
from frameworks import FRAMEWORKS, HERE, Framework, copy_project, install, version
from measure import CommandError
from render import render

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure tilth beside other frameworks.")
    parser.add_argument(
        "--quick", action="store_true", help="everything once and small; says nothing about speed"
    )
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="a case; may be repeated")
    parser.add_argument(
        "--framework", metavar="NAME", action="append", default=[], help="a framework; may be repeated"
    )
    parser.add_argument(
        "--repeat", type=int, default=0, help="samples of each case, instead of its own number"
    )
    parser.add_argument("--render", action="store_true", help="only write RESULTS.md again")
    options = parser.parse_args()
    for given, known in (
        (options.only, [case.name for case in CASES]),
        (options.framework, list(FRAMEWORKS)),
    ):
        if unknown := set(given) - set(known):
            parser.error(f"no such name: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")

    work = HERE / ".work"
    work.mkdir(exist_ok=True)
    folder = work if options.quick else HERE
    results_file, page = folder / "results.json", folder / "RESULTS.md"
    results = (
        json.loads(results_file.read_text())
        if results_file.exists()
        else {"about": {}, "cases": {}, "failed": {}}
    )
    if not options.render:
        cases = [case for case in CASES if not options.only or case.name in options.only]
        cases = [case for case in cases if not options.quick or case.quick_n]
        shown = set(options.framework or FRAMEWORKS)
        for _ in measure(cases, shown, results, work=work, quick=options.quick, repeat=options.repeat):
            results_file.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    page.write_text(render(results, quick=options.quick), encoding="utf-8")
    print(page.read_text(encoding="utf-8"))
    return 1 if results["failed"] else 0


def measure(
    cases: list[Case], shown: set[str], results: dict[str, Any], *, work: Path, quick: bool, repeat: int
) -> Iterator[Case]:
    """Measure the cases and put them into `results`, in place of older ones of the same name; yield each done."""
    needed = {name for case in cases for name in case.frameworks} & shown
    frameworks = {name: each for name, each in FRAMEWORKS.items() if name in needed or name == "tilth"}
    for framework in frameworks.values():
        install(framework)
    shutil.rmtree(work / "home", ignore_errors=True)
    projects = {name: copy_project(each, work / "projects") for name, each in frameworks.items()}
    results["about"].update(about(frameworks))

    for case in cases:
        names = [name for name in case.frameworks if name in shown]
        for name in names:
            for row in (case.name, f"{case.name}-cached"):
                results["cases"].get(row, {}).pop(name, None)
            results["failed"].pop(f"{case.name} {name}", None)
        turns = 1 if quick else repeat or case.repeat
        for turn in range(-1, turns):
            # Who goes first changes, or one would always run in the other's wake.
            for name in names if turn % 2 else reversed(names):
                label = f"{case.name} {name}"
                if label in results["failed"]:
                    continue
                take = warm_up if turn < 0 else sample
                try:
                    taken = take(case, frameworks[name], project=projects[name], work=work, quick=quick)
                except CommandError as error:
                    lines = str(error).splitlines()
                    summary = lines[0] + (f" {lines[-1]}" if len(lines) > 1 else "")
                    results["failed"][label] = summary.replace(str(HERE.parent), ".")[:300]
                    print(f"{label}: {error}", file=sys.stderr, flush=True)
                    continue
                for row, each in taken.items():
                    results["cases"].setdefault(row, {}).setdefault(name, []).append(each.to_json())
                    figures = f"{each.wall:.2f} s, cpu {each.cpu:.2f} s"
                    print(f"{row} {name}: {figures}", file=sys.stderr, flush=True)
        yield case


def about(frameworks: dict[str, Framework]) -> dict[str, str]:
    """The machine and what is installed; nothing that names whose machine it is."""
    facts = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(_cores()),
        "python": platform.python_version(),
    }
    cpus, memory, system = Path("/proc/cpuinfo"), Path("/proc/meminfo"), Path("/etc/os-release")
    if cpus.exists():
        models = [
            line.split(":", 1)[1].strip() for line in cpus.read_text().splitlines() if "model name" in line
        ]
        facts["processor"] = models[0] if models else platform.processor()
    if memory.exists():
        facts["memory"] = f"{int(memory.read_text().split()[1]) / 2**20:.0f} GiB"
    if system.exists():
        names = dict(line.split("=", 1) for line in system.read_text().splitlines() if "=" in line)
        facts["system"] = f"{names.get('PRETTY_NAME', facts['system']).strip(chr(34))}, {platform.machine()}"
    for framework in frameworks.values():
        if framework.distribution:
            facts[f"version of {framework.distribution}"] = version(framework)
    return facts


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    raise SystemExit(main())
