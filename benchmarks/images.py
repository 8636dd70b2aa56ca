"""Measure what images and steps in containers cost, beside the usual way, on this machine, now.

    python benchmarks/images.py             all of it: about 8 minutes
    python benchmarks/images.py --quick     everything once, and `IMAGES.md` stays: does it all still run?

The usual way is that of ZenML 0.98 and others: a generated Dockerfile that installs the requirements with uv, `docker
build` with BuildKit, `docker push`; ZenML itself is not in those images. Both push to the same registry, use the same
Docker engine and base, and take turns in being first. Requests and bytes are counted in a round of its own, through a
proxy that would slow down what is timed. Needs the services of `scripts/services start docker registry`.
Results go to `IMAGES.md` beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.broken_registry import BrokenRegistry

HERE = Path(__file__).parent
WORK = HERE / ".work" / "images"
TILTH = HERE.parent / ".venv" / "bin" / "tilth"
STATE = Path(os.environ.get("TILTH_SERVICES") or Path.home() / ".cache" / "tilth-services")
SCIENCE = ["pandas==2.2.3", "scikit-learn", "pyarrow", "matplotlib"]
SMALL, BUMPED = "humanize==4.12.0", "pandas==2.2.2"
SCENARIOS = (
    ("cold", SCIENCE),
    ("unchanged", SCIENCE),
    ("code", SCIENCE),
    ("small", [*SCIENCE, SMALL]),
    ("bumped", [BUMPED, *SCIENCE[1:]]),
)
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
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN python3 -m venv /opt/venv && pip install --no-cache-dir uv
COPY requirements.txt .
RUN uv pip install --no-cache-dir -r requirements.txt
COPY . /app
"""
STEP = """
import time
from tilth import Environment, pipeline, step
small = Environment("small", requirements=["humanize==4.12.0"])

@step(environment=small)
def one(value: int = 0) -> int:
    print("first line at", time.time(), flush=True)
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
            bench.images(first=turn % 2)
            bench.six()
            bench.steps(first=turn % 2)
        print("counting", flush=True)
        bench.count()
    finally:
        remove(WORK)
    text = render(bench)
    if not options.quick:
        (HERE / "IMAGES.md").write_text(text)
    print(text)
    return 0


class Bench:
    """One registry, one engine, and what was measured."""

    def __init__(self, services: dict[str, Any]) -> None:
        self.found: Measured = {}
        self.sent: dict[str, list[int]] = {}
        self.counted: dict[str, Counter[str]] = {}  # requests by method, and `bytes`
        self.packed = 0  # bytes of files that layers were made of
        self.known: set[str] = set()  # ids of builds
        self.registry = services["registry"]["plain"]["host"]
        self.base = services["docker"]["images"]["3.11"]
        self.in_registry = services["registry"]["images"]["3.11"]
        self.docker = services["docker"]["buildkit_cli"] or "docker"
        remove(WORK)

    def images(self, first: int) -> None:
        """Cold, nothing changed, code changed, a small package more, another version of a large one.

        Args:
            first: Who begins: 0 for tilth, 1 for the usual way.
        """
        prefix, ours, theirs = f"b-{uuid.uuid4().hex[:8]}", WORK / "ours", WORK / "theirs"
        self.anew(ours, theirs)
        for name, requirements in SCENARIOS:
            if name == "code":
                (ours / "helper.py").write_text(f"NOW = {time.time()}\n")
                (theirs / "helper.py").write_text(f"NOW = {time.time()}\n")
            turns = [
                lambda name=name, wanted=requirements: self.tilth_build(name, ours, prefix, wanted),
                lambda name=name, wanted=requirements: self.docker_build(name, theirs, prefix, wanted),
            ]
            for turn in turns[first:] + turns[:first]:
                turn()
            if name == "unchanged":
                self.layers(ours)

    def anew(self, *folders: Path) -> None:
        """Empty folders for projects, and nothing in caches of tilth and uv."""
        remove(WORK / "home")
        remove(WORK / "uv")
        for folder in folders:
            remove(folder)
            folder.mkdir(parents=True)
            (folder / "tilth.toml").touch()

    def layers(self, folder: Path) -> None:
        """Making all layers anew, from wheels that are there, against what the same bytes cost at least."""
        images, aside = WORK / "home" / "images", WORK / "home" / "aside"
        images.rename(aside)
        _, printed = timed([str(TILTH), "build", "pipeline.py", "--json"], folder)
        (build,) = json.loads(printed)
        remove(images)
        aside.rename(images)
        self.note("layers", build["seconds"]["layers"])
        trees = [str(each) for each in (WORK / "home" / "wheels").glob("*/*/tree")]
        script = str(HERE / "scripts" / "plain" / "pack.py")
        uv = str(TILTH.with_name("uv"))
        _, printed = timed(
            [uv, "run", "-q", "--no-project", "--with", "isal", "python", script, *trees], folder
        )
        least = json.loads(printed)
        self.note("layers least", least["seconds"])
        self.packed = least["bytes"]

    def count(self) -> None:
        """Requests to the registry and bytes sent there, for each scenario."""
        folder = WORK / "counted"
        self.anew(folder)
        with BrokenRegistry(self.registry) as proxy:
            prefix = f"b-{uuid.uuid4().hex[:8]}"
            base = self.in_registry.replace(self.registry, proxy.host)

            def counted(name: str, requirements: list[str], base: str) -> None:
                proxy.requests.clear()
                self.build(folder, f"{proxy.host}/{prefix}", requirements, base)
                counts = Counter(each.method for each in proxy.requests)
                counts["bytes"] = proxy.received
                self.counted[name] = counts
                print(f"  {name}: {dict(counts)}", flush=True)

            for name, requirements in SCENARIOS:
                if name == "code":
                    (folder / "helper.py").write_text(f"NOW = {time.time()}\n")
                counted(name, requirements, base)
            repository, _, tag = base.removeprefix(f"{proxy.host}/").rpartition(":")
            digest = proxy_digest(proxy.url, repository, tag)
            pinned = f"{proxy.host}/{repository}@{digest}"
            counted("pinned at first", SCIENCE, pinned)
            counted("pinned", SCIENCE, pinned)

    def build(
        self, folder: Path, registry: str, requirements: list[str], base: str
    ) -> tuple[float, dict[str, Any]]:
        """`tilth build` of one environment: seconds, and the record."""
        given = f"requirements={requirements!r}, base_image={base!r}"
        environment = f'science = Environment("science", {given})'
        step = "@step(environment=science)\ndef work() -> int:\n    return 1\n"
        source = PIPELINE.format(environments=environment, steps=step, calls="    work()")
        (folder / "pipeline.py").write_text(source)
        seconds, printed = timed(
            [str(TILTH), "build", "pipeline.py", "--registry", registry, "--json"], folder
        )
        (build,) = json.loads(printed)
        return seconds, build

    def tilth_build(self, name: str, folder: Path, prefix: str, requirements: list[str]) -> None:
        seconds, build = self.build(folder, f"{self.registry}/{prefix}", requirements, self.in_registry)
        self.note(f"{name} tilth", seconds)
        # The record of a build before: nothing was made, and nothing sent.
        self.sent.setdefault(f"{name} tilth", []).append(
            0 if build["id"] in self.known else build["bytes_sent"]
        )
        self.known.add(build["id"])

    def docker_build(self, name: str, folder: Path, prefix: str, requirements: list[str]) -> None:
        (folder / "Dockerfile").write_text(DOCKERFILE.format(base=self.base))
        # The round makes it another file: what a round before has made is not to be found.
        (folder / "requirements.txt").write_text("\n".join([f"# {prefix}", *requirements, ""]))
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
            self.anew(folder)
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

    def steps(self, first: int) -> None:
        """A step in a container, when there is nothing to build.

        Args:
            first: As for `images`.
        """
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

        def single() -> None:
            seconds, _ = timed([str(TILTH), "run", "pipeline.py:single", "--no-cache"], folder)
            self.note("step", seconds)
            _, printed = timed([str(TILTH), "runs", "show", "single-2", "--json"], folder)
            _, said = timed([str(TILTH), "runs", "logs", "single-2"], folder)
            began = self.created(f"dev.tilth.run={json.loads(printed)['id']}")
            self.note("first line tilth", float(said.split("first line at", 1)[1].split()[0]) - began)

        def bare() -> None:
            label = f"bench={uuid.uuid4().hex}"
            program = "import time; print(time.time())"
            command = ["docker", "run", "--rm", "--label", label, self.base, "python3", "-c", program]
            seconds, said = timed(command, folder)
            self.note("docker run", seconds)
            self.note("first line docker", float(said) - self.created(label))

        for turn in ([single, bare], [bare, single])[first]:
            turn()
        five, _ = timed([str(TILTH), "run", "pipeline.py:five", "--no-cache"], folder)
        self.note("five steps", five)

    def created(self, label: str) -> float:
        """When the engine made the container with a label, in seconds since 1970.

        Docker cuts `until` to whole seconds: one second from now, so that what was just made is in it.
        """
        command = ["docker", "events", "--since", "10m", "--until=-1s", "--format", "{{.TimeNano}}"]
        for each in ("type=container", "event=create", f"label={label}"):
            command += ["--filter", each]
        _, printed = timed(command, WORK)
        return int(printed.split()[0]) / 1e9

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


def proxy_digest(url: str, repository: str, tag: str) -> str:
    """The digest of what a tag names."""
    wanted = (
        "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    )
    request = urllib.request.Request(
        f"{url}/v2/{repository}/manifests/{tag}", method="HEAD", headers={"Accept": wanted}
    )
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers["Docker-Content-Digest"])


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


def render(bench: Bench) -> str:
    """The page of results."""
    found, sent = bench.found, bench.sent
    one, six = median(found["one"]), median(found["six"])
    mb = {name: median(sent[name]) / 1e6 for name in ("one", "six")}
    layers, least = median(found["layers"]), median(found["layers least"])
    first_line = {name: median(found[f"first line {name}"]) for name in ("tilth", "docker")}
    about = (
        f"Made by `python benchmarks/images.py` on {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"{len(found['cold tilth'])} rounds, load {os.getloadavg()[0]:.1f} at the end; medians."
    )
    beside = (
        "Beside it: a generated Dockerfile, uv, `docker build` with BuildKit and `docker push`, the way of ZenML 0.98, "
        "without ZenML in the image and without what ZenML itself does before and after. The one or the other is "
        "first, in turn."
    )
    counted = (
        "Requests were counted through a proxy, with the base image in the same registry, named by a tag: one `HEAD` "
        "sees whether that has moved. Named by its digest, an image that is there costs "
        f"{requests(bench.counted['pinned'])}."
    )
    overlap = (
        f"- Six environments that overlap: {six:.1f} s, one of them alone {one:.1f} s: {six / one:.2f} times "
        f"(aim 1.5); {mb['six']:.0f} MB sent, {mb['one']:.0f} MB for one."
    )
    packing = (
        f"- Making all layers of {bench.packed / 1e6:.0f} MB of unpacked wheels: {layers:.2f} s. Reading, hashing and "
        f"compressing the same bytes with ISA-L, which writes others on other processors: {least:.2f} s: "
        f"{layers / least:.2f} times (aim 2)."
    )
    line = (
        f"- From the creation of a container to the first line of its step: {first_line['tilth']:.2f} s; of "
        f"`python3 -c` in `docker run` of the same base {first_line['docker']:.2f} s: "
        f"{(first_line['tilth'] - first_line['docker']) * 1e3:.0f} ms more (aim 300 ms)."
    )
    step = (
        f"- One step in a container, all of `tilth run`: {median(found['step']):.2f} s (aim 1.5 s); all of "
        f"`docker run` of the same base {median(found['docker run']):.2f} s."
    )
    five = (
        f"- Five steps one after another: {median(found['five steps']):.2f} s (aim a fifth of ZenML's 44 s)."
    )
    quoted = (
        "Quoted, not measured here: ZenML 0.98 took 7.7 s a step and 44 s for five steps in Docker, with nothing to "
        "build, on a machine of this kind on 2026-11-22."
    )
    table = [
        "| | tilth | beside | ratio | aim | bytes sent | requests to the registry |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, title, aim in ROWS:
        ours, theirs = median(found[f"{name} tilth"]), median(found[f"{name} usual"])
        told = f"1/{1 / aim:.0f}" if aim else "300 ms" if name == "unchanged" else "0 bytes"
        table.append(
            f"| {title} | {ours:.2f} s | {theirs:.1f} s | 1/{theirs / ours:.1f} | {told} "
            f"| {median(sent[f'{name} tilth']) / 1e6:.1f} MB | {requests(bench.counted[name])} |"
        )
    heading = "# Images and containers: what they cost"
    head = [heading, "", about, beside, f"Requirements: {', '.join(SCIENCE)}.", ""]
    return "\n".join([*head, *table, "", counted, "", overlap, packing, line, step, five, "", quoted]) + "\n"


def requests(counts: Counter[str]) -> str:
    """As `2 HEAD, 3 PUT`."""
    return ", ".join(f"{number} {method}" for method, number in sorted(counts.items()) if method != "bytes")


if __name__ == "__main__":
    raise SystemExit(main())
