"""Checks of programs that tilth calls: uv, Python, git, container engines."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.client.doctor.finding import ERROR, OK, SKIPPED, WARNING, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE_S = 10
_OLDEST_PYTHON = (3, 10)  # what runs in a step's interpreter works from there on
_ENGINES = {"docker": "{{.Server.Version}}", "podman": "{{.Client.Version}}"}


def uv_runs() -> Finding:
    """Whether there is a uv, new enough, that runs."""
    from tilth.environments import uv

    binary = uv.binary()
    said = uv.call(["--version"])
    version = re.search(r"\d+(\.\d+)+", said.output)
    if said.code or version is None:
        return Finding(
            name="uv",
            state=ERROR,
            told=f"`{binary}` does not run: {said.errors.strip() or said.output.strip() or f'code {said.code}'}",
            mend="install it anew: `pip install --force-reinstall uv`",
        )
    wanted = _oldest_uv()
    if _numbers(version[0]) < _numbers(wanted):
        return Finding(
            name="uv",
            state=ERROR,
            told=f"uv {version[0]} at `{binary}` is too old: tilth needs {wanted}",
            mend="upgrade it: `pip install -U uv`",
        )
    return Finding(name="uv", state=OK, told=f"uv {version[0]} at `{binary}`")


def project_python() -> Finding:
    """Which interpreter a pipeline started here is compiled with."""
    from tilth.environments import project_interpreter

    path = project_interpreter(Path.cwd())
    code, output, errors = _call(
        [str(path), "-I", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
    )
    version = output.strip()
    if code or not _numbers(version):
        return Finding(
            name="python",
            state=ERROR,
            told=f"`{path}` does not run: {(errors.strip().splitlines() or ['it gives no reason'])[-1]}",
            mend="make its environment anew, or set `TILTH_PYTHON` to another interpreter",
        )
    if tuple(_numbers(version)[:2]) < _OLDEST_PYTHON:
        return Finding(
            name="python",
            state=ERROR,
            told=f"Python {version} at `{path}` is too old for what tilth runs in it",
            mend="use 3.10 or newer: activate its environment, or set `TILTH_PYTHON`",
        )
    return Finding(name="python", state=OK, told=f"Python {version} at `{path}` for pipelines in this folder")


def pythons() -> Finding:
    """Which versions environments may ask for."""
    from tilth.environments.interpreters import installed_versions

    found = installed_versions()
    usable = [each for each in found if tuple(_numbers(each)[:2]) >= _OLDEST_PYTHON]
    if not usable:
        return Finding(
            name="pythons",
            state=WARNING,
            told="neither uv nor pyenv finds a Python from 3.10 on: environments cannot ask for a version",
            mend="install one, for instance with `uv python install 3.12`",
        )
    return Finding(name="pythons", state=OK, told=f"environments may ask for {', '.join(usable)}")


def git() -> Finding:
    """Whether git is there, which says what files belong to a project."""
    found = shutil.which("git")
    if found is None:
        return Finding(
            name="git",
            state=WARNING,
            told="git is not installed: runs record no commit, and code bundles hold what `.tilthignore` leaves",
            mend="install git",
        )
    code, output, errors = _call([found, "--version"])
    if code:
        return Finding(
            name="git",
            state=WARNING,
            told=f"`{found}` does not run: {errors or output}",
            mend="install git anew",
        )
    return Finding(name="git", state=OK, told=f"{output.strip()} at `{found}`")


def containers() -> Finding:
    """Whether a container engine answers. None is needed for what runs on this machine."""
    silent = []
    for engine, template in _ENGINES.items():
        client = shutil.which(engine)
        if client is None:
            continue
        code, output, errors = _call([client, "version", "--format", template])
        if code == 0 and output.strip():
            return Finding(name="containers", state=OK, told=f"{engine} {output.strip()} answers")
        silent.append((engine, (errors.strip().splitlines() or ["it gives no reason"])[-1]))
    if not silent:
        return Finding(
            name="containers",
            state=SKIPPED,
            told="neither docker nor podman is installed; only steps in containers of this machine need one",
        )
    engine, why = silent[0]
    return Finding(
        name="containers",
        state=WARNING,
        told=f"the client of {engine} is here, and its engine does not answer: {why}",
        mend=f"start it, or see `{engine} info`; runs on this machine and making images need none",
    )


def _oldest_uv() -> str:
    """The lower bound that tilth declares."""
    for requirement in metadata.requires("tilth") or ():
        match = re.match(r"uv\s*>=\s*([\d.]+)", requirement)
        if match:
            return match[1]
    return "0"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _call(arguments: Sequence[str]) -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"no answer within {_PATIENCE_S} seconds"
    except OSError as error:
        return 1, "", str(error)
    return done.returncode, done.stdout, done.stderr
