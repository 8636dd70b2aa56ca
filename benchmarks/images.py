"""Measure what images and steps in containers cost, beside the usual way, on this machine, now.

    python benchmarks/images.py             all of it: about 15 minutes
    python benchmarks/images.py --quick     everything once: does it all still run?

The usual way is that of ZenML 0.98 and others: a generated Dockerfile that installs the requirements with uv, `docker
build` with BuildKit, `docker push`; ZenML itself is not in those images. Both push to the same registry, use the same
Docker engine and base, and take turns. Needs the services of `scripts/services start docker registry`.
Results go to `IMAGES.md` beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

HERE = Path(__file__).parent
WORK = HERE / ".work" / "images"
TILTH = HERE.parent / ".venv" / "bin" / "tilth"
STATE = Path(os.environ.get("TILTH_SERVICES") or Path.home() / ".cache" / "tilth-services")
SCIENCE = ["pandas==2.2.3", "scikit-learn", "pyarrow", "matplotlib"]
SMALL, BUMPED = "humanize==4.12.0", "pandas==2.2.2"
Measured: TypeAlias = dict[str, list[float]]

PIPELINE = """
from tilth import Environment, pipeline, step
{environments}
{steps}
@pipeline
def images():
{calls}
"""
DOCKERFILE = """
FROM {base}
LABEL round={round}
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN python3 -m venv /opt/venv && pip install --no-cache-dir uv
COPY requirements.txt .
RUN uv pip install --no-cache-dir -r requirements.txt
COPY . /app
"""
STEP = """
from tilth import Environment, pipeline, step
small = Environment("small", requirements=["humanize==4.12.0"])

@step(environment=small)
def one(value: int = 0) -> int:
    print("first line", flush=True)
    return value + 1

@pipeline
def single():
    one()

@pipeline
def five():
    value = one()
    for _ in range(4):
        value = one(value)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what images cost.")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="everything once: does it all still run?")
    options, _ = parser.parse_known_args()  # those of run.py may stand beside them
    bench = Bench(json.loads((STATE / "services.json").read_text()))
    try:
        for turn in range(1 if options.quick else options.repeat):
            print(f"round {turn + 1}", flush=True)
            bench.images()
            bench.six()
            bench.steps()
    finally:
        remove(WORK)
    text = render(bench.found, bench.sent)
    if not options.quick:
        (HERE / "IMAGES.md").write_text(text)
    print(text)
    return 0


class Bench:
    """One registry, one engine, and what was measured."""

    def __init__(self, services: dict[str, Any]) -> None:
        self.found: Measured = {}
        self.sent: dict[str, list[int]] = {}
        self.known: set[str] = set()  # ids of builds
        self.registry = services["registry"]["plain"]["host"]
        self.base = services["docker"]["images"]["3.11"]
        self.in_registry = services["registry"]["images"]["3.11"]
        self.docker = services["docker"]["buildkit_cli"] or "docker"
        remove(WORK)

    def images(self) -> None:
        """Cold, nothing changed, code changed, a small package more, another version of a large one."""
        prefix, ours, theirs = f"b-{uuid.uuid4().hex[:8]}", WORK / "ours", WORK / "theirs"
        remove(WORK / "home")
        remove(WORK / "uv")
        for folder in (ours, theirs):
            remove(folder)
            folder.mkdir(parents=True)
        (ours / "tilth.toml").touch()
        for name, requirements in (
            ("cold", SCIENCE),
            ("unchanged", SCIENCE),
            ("code", SCIENCE),
            ("small", [*SCIENCE, SMALL]),
            ("bumped", [BUMPED, *SCIENCE[1:]]),
        ):
            if name == "code":
                (ours / "helper.py").write_text(f"NOW = {time.time()}\n")
                (theirs / "helper.py").write_text(f"NOW = {time.time()}\n")
            self.tilth_build(name, ours, prefix, requirements)
            self.docker_build(name, theirs, prefix, requirements)

    def tilth_build(self, name: str, folder: Path, prefix: str, requirements: list[str]) -> None:
        given = f"requirements={requirements!r}, base_image={self.in_registry!r}"
        environment = f'science = Environment("science", {given})'
        step = "@step(environment=science)\ndef work() -> int:\n    return 1\n"
        source = PIPELINE.format(environments=environment, steps=step, calls="    work()")
        (folder / "pipeline.py").write_text(source)
        seconds, printed = timed(
            [str(TILTH), "build", "pipeline.py", "--registry", f"{self.registry}/{prefix}", "--json"], folder
        )
        self.note(f"{name} tilth", seconds)
        (build,) = json.loads(printed)
        # The record of a build before: nothing was made, and nothing sent.
        self.sent.setdefault(f"{name} tilth", []).append(
            0 if build["id"] in self.known else build["bytes_sent"]
        )
        self.known.add(build["id"])

    def docker_build(self, name: str, folder: Path, prefix: str, requirements: list[str]) -> None:
        (folder / "Dockerfile").write_text(DOCKERFILE.format(base=self.base, round=prefix))
        (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
        tag = f"{self.registry}/{prefix}/usual:latest"
        options = ["--no-cache"] if name == "cold" else []
        build, _ = timed(
            [self.docker, "build", "--network", "host", *options, "--tag", tag, "."],
            folder,
            DOCKER_BUILDKIT="1",
        )
        push, _ = timed([self.docker, "push", tag], folder)
        self.note(f"{name} usual", build + push)

    def six(self) -> None:
        """Six environments that overlap, against one; both cold."""
        sets = [SCIENCE, SCIENCE[:2], SCIENCE[:3], [*SCIENCE, SMALL], SCIENCE[1:], [SCIENCE[0], SMALL]]
        for name, chosen in (("one", sets[:1]), ("six", sets)):
            folder = WORK / name
            remove(folder)
            remove(WORK / "home")
            remove(WORK / "uv")
            folder.mkdir(parents=True)
            (folder / "tilth.toml").touch()
            environments = "\n".join(
                f'e{i} = Environment("e{i}", requirements={each!r}, base_image={self.in_registry!r})'
                for i, each in enumerate(chosen)
            )
            steps = "".join(
                f"@step(environment=e{i})\ndef s{i}() -> int:\n    return 1\n\n" for i in range(len(chosen))
            )
            calls = "\n".join(f"    s{i}()" for i in range(len(chosen)))
            (folder / "pipeline.py").write_text(
                PIPELINE.format(environments=environments, steps=steps, calls=calls)
            )
            target = f"{self.registry}/b-{uuid.uuid4().hex[:8]}"
            seconds, printed = timed(
                [str(TILTH), "build", "pipeline.py", "--registry", target, "--json"], folder
            )
            self.note(name, seconds)
            self.sent.setdefault(name, []).append(sum(each["bytes_sent"] for each in json.loads(printed)))

    def steps(self) -> None:
        """A step in a container, when there is nothing to build."""
        folder = WORK / "steps"
        remove(folder)
        folder.mkdir(parents=True)
        (folder / "tilth.toml").touch()
        (folder / "pipeline.py").write_text(STEP)
        subprocess.run([str(TILTH.with_name("uv")), "venv", "-q", ".venv"], cwd=folder, check=True)
        for command in (
            ["component", "register", "box", "--type", "orchestrator", "--flavor", "docker",
             "--set", f"base_image={self.base}"],
            ["stack", "register", "box", "-o", "box", "-a", "local"],
            ["stack", "set", "box"],
            ["run", "pipeline.py:single"],
        ):  # fmt: skip
            timed([str(TILTH), *command], folder)
        single, _ = timed([str(TILTH), "run", "pipeline.py:single", "--no-cache"], folder)
        five, _ = timed([str(TILTH), "run", "pipeline.py:five", "--no-cache"], folder)
        bare, _ = timed(["docker", "run", "--rm", self.base, "python3", "-c", "print('first line')"], folder)
        self.note("step", single)
        self.note("five steps", five)
        self.note("docker run", bare)
        _, printed = timed([str(TILTH), "runs", "show", "single-2", "--json"], folder)
        run = json.loads(printed)
        steps = run.get("step_runs") or run.get("steps_runs") or []
        if steps and isinstance(steps, list):
            self.note("container", float(steps[0].get("seconds", {}).get("total", 0)))

    def note(self, name: str, seconds: float) -> None:
        print(f"  {name}: {seconds:.2f} s (load {os.getloadavg()[0]:.1f})", flush=True)
        self.found.setdefault(name, []).append(seconds)


def timed(command: list[str], folder: Path, **variables: str) -> tuple[float, str]:
    """Seconds that a command took, and what it printed."""
    environment = {
        **{
            key: value
            for key, value in os.environ.items()
            if key not in ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
        },
        "TILTH_HOME": str(WORK / "home"),
        "UV_CACHE_DIR": str(WORK / "uv"),
        **variables,
    }
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds, done.stdout


def remove(folder: Path) -> None:
    """Remove a folder that may have read-only folders in it."""
    if folder.exists():
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
        shutil.rmtree(folder)


ROWS = (
    ("cold", "cold caches: lock, layers, push", 1 / 3),
    ("unchanged", "nothing changed", None),
    ("code", "code changed", None),
    ("small", "one small package more", 1 / 20),
    ("bumped", "another pandas, 2.2.2 for 2.2.3", 1 / 15),
)


def render(found: Measured, sent: dict[str, list[int]]) -> str:
    """The page of results."""
    about = (
        f"Made by `python benchmarks/images.py` on {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"{len(found['cold tilth'])} rounds, load {os.getloadavg()[0]:.1f} at the end; medians."
    )
    beside = (
        "Beside it: a generated Dockerfile, uv, `docker build` with BuildKit and `docker push`, the way of ZenML "
        "0.98, without ZenML in the image."
    )
    lines = [
        "# Images and containers: what they cost",
        "",
        about,
        beside,
        f"Requirements: {', '.join(SCIENCE)}.",
        "",
        "| | tilth | beside | ratio | aim | bytes sent |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, title, aim in ROWS:
        ours, theirs = median(found[f"{name} tilth"]), median(found[f"{name} usual"])
        told = f"1/{1 / aim:.0f}" if aim else "300 ms" if name == "unchanged" else "0 bytes"
        lines.append(
            f"| {title} | {ours:.2f} s | {theirs:.1f} s | 1/{theirs / ours:.1f} | {told} "
            f"| {median(sent[f'{name} tilth']) / 1e6:.1f} MB |"
        )
    one, six = median(found["one"]), median(found["six"])
    mb = {name: median(sent[name]) / 1e6 for name in ("one", "six")}
    overlap = (
        f"- Six environments that overlap: {six:.1f} s, one of them alone {one:.1f} s: {six / one:.2f} times "
        f"(aim 1.5); {mb['six']:.0f} MB sent, {mb['one']:.0f} MB for one."
    )
    step = (
        f"- One step in a container, all of `tilth run`: {median(found['step']):.2f} s (aim 1.5 s; ZenML 0.98 took "
        f"7.7 s on such a machine, measured apart); `docker run` of the same base {median(found['docker run']):.2f} s."
    )
    five = (
        f"- Five steps one after another: {median(found['five steps']):.2f} s (aim a fifth of ZenML's 44 s)."
    )
    lines += ["", overlap, step, five]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
