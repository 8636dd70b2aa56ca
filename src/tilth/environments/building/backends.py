"""Calls a build backend (PEP 517) in the environment that is locked for it, apart from the project and its settings."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec

from tilth.environments import background
from tilth.environments.files import scratch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tilth.environments.locks import Locked
    from tilth.home import Home

_EPOCH = "315532800"  # the first moment a zip file can hold
# What a build has no business with: indexes and what opens them, our own settings, another interpreter's.
_HIDDEN = re.compile(
    r"(UV|PIP|TILTH|PYTHON|VIRTUAL_ENV|CONDA|__PYVENV)(_.*)?|PYTHON[A-Z]*|GIT_(DIR|WORK_TREE|INDEX_FILE)"
)

# In a builder's interpreter, with the standard library alone. The folder of the source is not on `sys.path`: a
# backend that lives there says so, and must then come from there.
_HOOK = """
import importlib, json, os, sys
sys.path.pop(0)
task = json.load(sys.stdin)
os.umask(0o022)
beside = [os.path.realpath(each) for each in task["path"]]
here = os.path.realpath(".")
for each in beside:
    if each != here and not each.startswith(here + os.sep):
        sys.exit("backend-path leads outside of the source: " + each)
sys.path[:0] = beside
module, _, names = task["backend"].partition(":")
try:
    backend = importlib.import_module(module)
except ImportError as error:
    if (error.name or "").partition(".")[0] != module.partition(".")[0]:
        raise
    sys.exit("the build backend `%s` is not installed: `requires` in [build-system] lacks it" % module)
if beside and not any(os.path.realpath(backend.__file__).startswith(each + os.sep) for each in beside):
    sys.exit("the build backend `%s` is not in backend-path, but in %s" % (module, backend.__file__))
for name in filter(None, names.split(".")):
    backend = getattr(backend, name)
answer = None
if task["hook"] == "build_wheel":
    answer = backend.build_wheel(task["out"], task["settings"], None)
elif hasattr(backend, task["hook"]):
    answer = getattr(backend, task["hook"])(task["settings"])
with open(task["answer"], "w", encoding="utf-8") as file:
    json.dump(answer, file)
"""


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """What builds a source."""

    name: str  # `module` or `module:object`
    path: tuple[str, ...] = ()  # folders below the source that it is imported from


class BackendFailed(Exception):
    """A hook ended with an exit code other than 0, and had printed `output`."""

    def __init__(self, code: int, output: str) -> None:
        super().__init__(code, output)
        self.code = code
        # Our own part of a traceback tells nobody anything.
        lines = [line.rstrip() for line in output.splitlines() if not line.startswith('  File "<string>"')]
        self.output = "\n".join(lines).strip()


def call_hook(
    hook: str,
    backend: Backend,
    folder: Path,
    builder: Locked,
    home: Home,
    *,
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    offline: bool = False,
) -> Any:
    """What a hook of the backend of the source in `folder` answers.

    Args:
        builder: The environment to call it in; made if it is not there.
        settings: For the backend: PEP 517's `config_settings`.
        out: Where the wheel goes.
    Raises:
        BackendFailed: With what the backend printed.
    """
    from tilth.environments import venvs

    realised, held = venvs.use(builder, home, offline=offline)
    try:
        with scratch(home.wheels) as aside:
            answer = aside / "answer.json"
            task = {
                "hook": hook,
                "backend": backend.name,
                "path": backend.path,
                "out": os.fspath(out) if out else "",
                "settings": settings or None,
                "answer": os.fspath(answer),
            }
            (aside / "temporary").mkdir()
            done = background.call(
                [realised.python, "-c", _HOOK],
                input=json.dumps(task),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                env=_variables(realised.path, aside / "temporary"),
            )
            if done.returncode != 0 or not answer.exists():
                raise BackendFailed(done.returncode, done.stdout)
            return json.loads(answer.read_text(encoding="utf-8"))
    finally:
        held.close()
        if venvs.changed_files(realised):  # by a build: whatever is built next must not meet that
            venvs.quarantine(realised, home)


def _variables(venv: Path, temporary: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not _HIDDEN.fullmatch(key)}
    return {
        **kept,
        "PATH": os.pathsep.join([os.fspath(venv / "bin"), os.environ.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": os.fspath(venv),
        "SOURCE_DATE_EPOCH": _EPOCH,
        "TMPDIR": os.fspath(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",  # what was printed before a crash is what tells
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }
