"""Steps called in this process and pipelines compiled in others, without a driver."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tilth
from tilth.materializers.artifacts import load_artifact
from tilth.runtime.call import call_step
from tilth.runtime.folder import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SERIAL = itertools.count()
BOOTSTRAP = Path(tilth.__file__).parent / "runtime" / "bootstrap.py"


@pytest.fixture
def step_folder() -> Callable[..., Path]:
    """`step_folder(folder, "module:function", roots=[…])`: see below."""
    return _step_folder


def _step_folder(
    folder: Path, function: str, *, roots: list[str], inputs: Any = (), outputs: Any = (), **context: Any
) -> Path:
    """A step's folder as a supervisor hands it over; outputs as (name, type) or name alone."""
    folder.mkdir(parents=True)
    named = [each if isinstance(each, tuple) else (each, "") for each in outputs]
    write_json(
        folder / "step.json",
        {
            "function": function,
            "environment": "the client's",
            "fence": 7,
            "roots": roots,
            "inputs": dict(inputs),
            "materializers": context.pop("materializers", []),
            "outputs": [
                {"name": name, "annotation": kind, "type": kind, "readers": [], "collection": False}
                for name, kind in named
            ],
            "context": {
                "run_id": "run", "run_name": "flow-1", "pipeline": "flow", "step": function.rpartition(":")[2],
                "attempt": 1, "index": None, "parameters": {}, "extra": {}, "tags": [], **context,
            },
        },
    )  # fmt: skip
    return folder


class Steps:
    """Modules of a project, and their steps called in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = ""
        self.last = folder

    def write(self, text: str) -> str:
        """A new module; the one whose steps are called."""
        self.module = f"called_{next(_SERIAL)}"
        (self.folder / f"{self.module}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return self.module

    def call(self, text: str, *, function: str = "f", **given: Any) -> dict[str, Any]:
        """The result of step `f` of a new module with this text."""
        module = self.write(text)
        self.last = self.folder / "steps" / module
        _step_folder(self.last, f"{module}:{function}", roots=[str(self.folder)], **given)
        completed = call_step(self.last)
        result: dict[str, Any] = read_json(self.last / "result.json")
        assert completed == (result["state"] == "completed")
        assert result["fence"] == 7
        return result

    def output(self, name: str = "output") -> Any:
        """What the last step gave."""
        return load_artifact(self.last / "outputs" / name)


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """Modules that are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Steps(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("called_"):
            del sys.modules[name]


@pytest.fixture
def pythons() -> list[Path]:
    """This interpreter, and one of each other minor version that is found on this machine; oldest first."""
    found = {sys.version_info[:2]: Path(sys.executable)}
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for minor in range(10, 15):
        for path in sorted(installed.glob(f"3.{minor}.*/bin/python3")):
            found.setdefault((3, minor), path)
    return [found[minor] for minor in sorted(found)]


@pytest.fixture
def compile_in() -> Callable[..., dict[str, Any]]:
    """`compile_in(python, folder, module)`: see below."""
    return _compile_in


def _compile_in(
    python: Path,
    folder: Path,
    module: str,
    *,
    parameters: Any = (),
    name: str | None = None,
    project: Any = (),
) -> dict[str, Any]:
    """What an interpreter answers that is asked to compile a module of `folder`."""
    request, result = folder / "request.json", folder / "result.json"
    asked = {
        "module": module, "pipeline": name, "parameters": dict(parameters), "roots": [str(folder)],
        "cwd": str(folder), "project": dict(project), "result": str(result),
    }  # fmt: skip
    write_json(request, asked)
    result.unlink(missing_ok=True)
    subprocess.run(
        [str(python), "-I", str(BOOTSTRAP), "compile", "", str(request)], check=True, stdin=subprocess.DEVNULL
    )
    answer: dict[str, Any] = json.loads(result.read_text())
    return answer
