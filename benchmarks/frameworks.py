"""The frameworks: how each is installed, and how each runs one of its scripts. Measures nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENVS = HERE / ".venvs"
DATA = (
    "numpy==2.4.6",
    "pandas==3.1.1",
    "pyarrow==26.0.1",
)  # the same for all, or the artifacts cannot be compared


@dataclass(frozen=True)
class Framework:
    """One column of the tables.

    Attributes:
        requirements: As a user would install it.
        imports: What the first line of a pipeline's file imports.
        cli: Its command, in the venv.
        variables: Of its processes; `{home}` is a folder of its own.
    """

    name: str
    title: str
    distribution: str
    requirements: tuple[str, ...]
    imports: str
    cli: str
    venv: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        return VENVS / self.venv / "bin" / "python"

    def environ(self, home: Path) -> dict[str, str]:
        """Variables for its processes; of the caller's own, none that could change what happens."""
        kept = re.compile(r"LANG|LC_ALL|TMPDIR|TZ|SSL_CERT_\w+|(UV|PIP)_\w+|(https?|no)_proxy", re.IGNORECASE)
        own = {name: text.format(home=home) for name, text in self.variables.items()}
        return {
            **{name: value for name, value in os.environ.items() if kept.fullmatch(name)},
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "USER": "bench",
            "NO_COLOR": "1",
            "DO_NOT_TRACK": "1",
            **own,
        }

    def command(self, script: str, project: Path, n: int) -> list[str]:
        """The command that runs a script; `project` holds a copy of this framework's scripts."""
        if self.venv == "metaflow":
            flow = project / f"{script}_{n}.py"
            if not flow.exists():
                generate = [str(self.python), "generate.py", script, str(n)]
                flow.write_bytes(
                    subprocess.run(generate, cwd=project, check=True, capture_output=True).stdout
                )
            # pylint is not installed, so Metaflow's own check of the flow is all it does first.
            return [str(self.python), flow.name, "run", "--max-num-splits", "1000"]
        return [str(self.python), "tasks.py" if self.venv == "flyte" else f"{script}.py"]


TILTH = Framework(
    name="tilth",
    title="tilth",
    distribution="tilth",
    requirements=(str(HERE.parent),),
    imports="from tilth import pipeline, step",
    cli="tilth",
    venv="tilth",
    # The user's own HOME: where uv finds its configuration. Nothing else of tilth's looks there.
    variables={"TILTH_HOME": "{home}/tilth", "HOME": str(Path.home())},
)
ZENML = Framework(
    name="zenml",
    title="ZenML",
    distribution="zenml",
    requirements=("zenml[local]==0.98.0",),
    imports="from zenml import pipeline, step",
    cli="zenml",
    venv="zenml",
    variables={
        "ZENML_CONFIG_PATH": "{home}/zenml",
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_LOGGING_COLORS_DISABLED": "true",
    },
)
METAFLOW = Framework(
    name="metaflow",
    title="Metaflow",
    distribution="metaflow",
    requirements=("metaflow==2.19.39",),
    imports="from metaflow import FlowSpec, step",
    cli="metaflow",
    venv="metaflow",
    variables={
        "METAFLOW_USER": "bench",
        "METAFLOW_HOME": "{home}/metaflowconfig",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": "{home}/metaflow",
    },
)
FLYTE = Framework(
    name="flyte",
    title="Flyte, nothing kept",
    distribution="flyte",
    requirements=("flyte==2.12.1",),
    imports="import flyte",
    cli="flyte",
    venv="flyte",
    variables={"FLYTE_DISABLE_TELEMETRY": "true"},
)
FLYTE_RECORDED = Framework(
    name="flyte-recorded",
    title="Flyte, recorded",
    distribution="flyte",
    requirements=FLYTE.requirements,
    imports=FLYTE.imports,
    cli=FLYTE.cli,
    venv="flyte",
    variables={**FLYTE.variables, "BENCH_RECORD": "1"},
)
# The same values with the libraries alone, in tilth's venv.
PLAIN = Framework(
    name="plain",
    title="plain files",
    distribution="",
    requirements=(),
    imports="",
    cli="",
    venv="tilth",
)
FRAMEWORKS = {each.name: each for each in (TILTH, ZENML, METAFLOW, FLYTE, FLYTE_RECORDED, PLAIN)}


def install(framework: Framework) -> None:
    """Make the venv of a framework, or bring it up to date; the checkout is installed anew, as a wheel."""
    if not framework.requirements:
        return
    uv = _uv()
    venv = VENVS / framework.venv
    pip_install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(framework.python)]
    wanted = "\n".join([sys.version, *framework.requirements, *DATA])
    stamp = venv / "installed.txt"
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"installing {framework.title.split(',')[0]}", file=sys.stderr, flush=True)
        # With pip, as a user's venv has it: ZenML asks it for the installed packages in each run.
        _run([uv, "venv", "--quiet", "--seed", "--clear", "--python", sys.executable, str(venv)])
        _run([*pip_install, *framework.requirements, *DATA])
        stamp.write_text(wanted)
    elif framework is TILTH:
        _run([*pip_install, "--reinstall-package", "tilth", *framework.requirements])


def version(framework: Framework) -> str:
    """The version that is installed."""
    code = f"import importlib.metadata as m; print(m.version({framework.distribution!r}))"
    return _run([str(framework.python), "-I", "-c", code]).strip()


def copy_project(framework: Framework, folder: Path) -> Path:
    """A project of its own under git, as a user's would be, with this framework's scripts."""
    project = folder / framework.name
    if project.exists():
        shutil.rmtree(project)
    shutil.copytree(HERE / "scripts" / framework.name.removesuffix("-recorded"), project)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    _run(["git", "init", "--quiet"], project)
    _run(["git", "add", "--all"], project)
    _run(["git", *identity, "commit", "--quiet", "--message", "Scripts"], project)
    return project


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise SystemExit("benchmarks need uv: run them as `make benchmark`")
    return found


def _run(command: list[str], folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stderr or done.stdout}")
    return done.stdout
