"""Measure what environments cost, beside the tools that people use for it now, on this machine, now.

    python benchmarks/environments.py               all of it: about 5 minutes
    python benchmarks/environments.py --quick       everything once: does it all still run?

tilth and the other tool take turns. Everything they download is in their caches before anything is measured.
Results go to `ENVIRONMENTS.md` beside this file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

from frameworks import HERE, TILTH, install
from measure import run

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("pandas", "scikit-learn", "pyarrow", "matplotlib")
WORK = HERE / ".work" / "environments"
TOOLS = WORK / "tools"
SCRIPTS = HERE / "scripts" / "tilth"
HIT = """
import sys, time
from pathlib import Path
from tilth.environments import find_lock, probe
from tilth.home import Home
home = Home(Path(sys.argv[1]))
interpreter = probe(Path(sys.executable), home)
declared = {"name": "science", "requirements": sys.argv[3:]}
times = []
for _ in range(50):
    start = time.perf_counter()
    assert find_lock(declared, root=Path(sys.argv[2]), interpreter=interpreter, home=home) is not None
    times.append(time.perf_counter() - start)
print("hit", sorted(times)[25])
"""

Measured: TypeAlias = dict[str, list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what environments cost.")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="everything once: does it all still run?")
    options, _ = parser.parse_known_args()  # those of run.py may stand beside them
    repeat = 1 if options.quick else options.repeat
    install(TILTH)
    prepare()
    found: Measured = {}
    for turn in range(repeat):
        for name, take in CASES.items():
            seconds = take()
            found.setdefault(name, []).append(seconds)
            print(f"{turn} {name}: {seconds:.4f} s", file=sys.stderr, flush=True)
    found["lock hit"] = [lock_hit() for _ in range(repeat)]
    page = render(found)
    place = WORK if options.quick else HERE
    (place / "ENVIRONMENTS.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def prepare() -> None:
    """Everything downloaded, and one home in which all has been before."""
    shutil.rmtree(WORK / "project", ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.copytree(SCRIPTS, WORK / "project")
    (WORK / "project" / "tilth.toml").touch()
    (WORK / "in.txt").write_text("".join(f"{each}\n" for each in PACKAGES))
    if not TOOLS.exists():
        subprocess.run([TILTH.python, "-m", "venv", TOOLS], check=True)
        subprocess.run([TOOLS / "bin" / "pip", "install", "--quiet", "pip-tools"], check=True)
    timed([TOOLS / "bin" / "pip-compile", "--quiet", "--upgrade", "-o", WORK / "out.txt", WORK / "in.txt"])
    shutil.rmtree(WORK / "pip", ignore_errors=True)
    pip_install()
    home = WORK / "home"
    remove(home)
    for script in ("science", "many_environments", "one_environment"):
        tilth("run", f"{script}.py", BENCH_ENVIRONMENT="1")
    tilth("run", "one_environment.py")


def remove(folder: Path) -> None:
    """Delete a folder. Only folders are made writable: files may be shared with others."""
    for each in (folder, *folder.rglob("*")) if folder.exists() else ():
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def timed(command: list[str | Path], **variables: str) -> float:
    """Wall seconds of a whole process."""
    environ = {**TILTH.environ(WORK), "TILTH_HOME": str(WORK / "home"), **variables}
    environ["HOME"] = str(Path.home())  # where pip's and uv's caches are
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return run(
        [str(each) for each in command], folder=WORK / "project", environ=environ, trace=WORK / "trace"
    ).wall


def tilth(*arguments: str, **variables: str) -> float:
    return timed([TILTH.python.with_name("tilth"), *arguments], **variables)


def pip_compile() -> float:
    (WORK / "out.txt").unlink(missing_ok=True)
    return timed([TOOLS / "bin" / "pip-compile", "--quiet", "-o", WORK / "out.txt", WORK / "in.txt"])


def tilth_lock() -> float:
    """For one platform, as pip-compile does."""
    return _lock("science-x86_64-manylinux", "--platform", "x86_64-manylinux")


def tilth_lock_for_all() -> float:
    """For every platform and newer Pythons."""
    return _lock("science")


def _lock(name: str, *options: str) -> float:
    written = WORK / "project" / f"pylock.{name}.toml"
    written.unlink(missing_ok=True)
    seconds = tilth("env", "lock", "science.py", "--only", "science", *options)
    written.unlink()
    return seconds


def pip_install() -> float:
    """`python -m venv` and `pip install` of pinned versions that pip has in its cache."""
    shutil.rmtree(WORK / "venv", ignore_errors=True)
    made = timed([TILTH.python, "-m", "venv", WORK / "venv"])
    pip = [WORK / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    return made + timed([*pip, "-r", WORK / "out.txt"])


def tilth_make() -> float:
    """The whole command that makes the environment again from unpacked packages, and does nothing in it."""
    tilth("env", "shell", "science", "true")  # all packages are there
    for venv in sorted((WORK / "home" / "environments").iterdir()):
        if not venv.name.startswith(".") and b'"name":"science"' in (venv / "tilth.json").read_bytes():
            remove(venv)
    return tilth("env", "shell", "--offline", "science", "true")


def with_environment() -> float:
    return tilth("run", "one_environment.py", BENCH_ENVIRONMENT="1")


def without_environment() -> float:
    return tilth("run", "one_environment.py")


def plan() -> float:
    return tilth("plan", "many_environments.py", "--offline")


def diff() -> float:
    return tilth("env", "diff", "science", "small")


def lock_hit() -> float:
    environ = {**os.environ, "TILTH_HOME": str(WORK / "home")}
    said = subprocess.run(
        [TILTH.python, "-c", HIT, WORK / "home", WORK / "project", *PACKAGES],
        env=environ, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(said.stdout.split()[1])


CASES: dict[str, Callable[[], float]] = {
    "pip-compile": pip_compile,
    "tilth env lock": tilth_lock,
    "tilth env lock for all": tilth_lock_for_all,
    "venv and pip install": pip_install,
    "environment made": tilth_make,
    "run with": with_environment,
    "run without": without_environment,
    "plan": plan,
    "diff": diff,
}


def render(found: Measured) -> str:
    """The page."""

    def told(name: str) -> str:
        values = found[name]
        return f"{median(values):.3f} s ({min(values):.3f} to {max(values):.3f}, {len(values)})"

    def ratio(ours: str, theirs: str) -> float:
        return median([one / other for one, other in zip(found[ours], found[theirs], strict=True)])

    added = median([a - b for a, b in zip(found["run with"], found["run without"], strict=True)])
    hit = median(found["lock hit"])
    rows = [
        ("lock of " + ", ".join(PACKAGES), told("tilth env lock"), f"pip-compile: {told('pip-compile')}",
         "1/5", f"1/{1 / ratio('tilth env lock', 'pip-compile'):.1f}"),
        ("the same for all platforms and newer Pythons", told("tilth env lock for all"), "", "", ""),
        ("a lock that is known, in the process", f"{hit * 1000:.1f} ms", "", "20 ms", f"{hit * 1000:.1f} ms"),
        ("environment of it, packages cached", told("environment made"),
         f"venv and pip install: {told('venv and pip install')}", "1/20",
         f"1/{1 / ratio('environment made', 'venv and pip install'):.1f}"),
        ("run of one step in an existing environment", told("run with"),
         f"without one: {told('run without')}", "30 ms more", f"{added * 1000:.0f} ms more"),
        ("plan of 200 steps in 20 environments", told("plan"), "", "1 s", told("plan").split(" s")[0] + " s"),
        ("`tilth env diff`", told("diff"), "", "300 ms", f"{median(found['diff']) * 1000:.0f} ms"),
    ]  # fmt: skip
    lines = [f"| {what} | {ours} | {theirs} | {aim} | {got} |" for what, ours, theirs, aim, got in rows]
    return (
        "# What environments cost\n\n"
        "Wall seconds of whole commands, median (least to most, number of samples); ratios are the median of pairs "
        "measured in turn. No package is downloaded: each tool has what it needs in its cache. To lock, both ask the "
        "index whether its pages have changed, and an index without cache headers sends them anew.\n\n"
        f"- {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores; "
        f"load average at the end {os.getloadavg()[0]:.1f}\n\n"
        "| | tilth | beside | aim | measured |\n|---|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
