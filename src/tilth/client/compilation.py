"""From a file or a decorated function to a compiled pipeline, in the interpreter that the project uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.client.code_root import canonical_module, code_root_at, find_code_root
from tilth.environments import background, probe, project_interpreter
from tilth.errors import DefinitionError, NotFound, SetupError, TilthError
from tilth.ir.pipeline import Pipeline
from tilth.orchestrators.runtimes import installed_runtime
from tilth.project_file import project_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from tilth.client.code_root import CodeRoot
    from tilth.define import Pipeline as Defined
    from tilth.environments import Interpreter
    from tilth.home import Home


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline and the project it comes from."""

    pipeline: Pipeline
    code: CodeRoot
    roots: tuple[str, ...]  # folders that project modules are imported from, first one first
    interpreter: Interpreter
    absent: frozenset[str]  # packages that steps use and the interpreter does not have
    signature: dict[str, Any] = field(default_factory=dict)  # where it was asked for; see `compile_file`


def compile_file(
    target: str,
    parameters: Mapping[str, str],
    *,
    home: Home,
    python: str | None = None,
    root: Path | None = None,
    signature: bool = False,
) -> Compiled:
    """Compile a pipeline named as `FILE[:PIPELINE]`, in a process of the project's interpreter.

    Args:
        parameters: As written on the command line.
        python: Interpreter to use instead of the project's.
        root: The code root, where nothing around the file tells.
        signature: Tell what the pipeline asks for, as `tilth.runtime.parameters.declared` has it.
    """
    file, name = split_target(target)
    code = find_code_root(file) if root is None else code_root_at(root, file)
    module = canonical_module(file, code)
    executable = Path(python).absolute() if python else project_interpreter(file.parent)
    if not executable.exists():
        raise SetupError(f"there is no Python at `{executable}`", mend="give the path of an interpreter")
    interpreter = probe(executable, home)
    roots = import_roots(code, file)
    with tempfile.TemporaryDirectory(prefix="tilth-") as folder:
        request = Path(folder, "request.json")
        result = Path(folder, "result.json")
        request.write_text(
            json.dumps(
                {
                    "module": module,
                    "pipeline": name,
                    "parameters": dict(parameters),
                    "roots": roots,
                    "cwd": os.getcwd(),
                    "project": project_options(code.root),
                    "signature": signature,
                    "result": str(result),
                }
            )
        )
        runtime = installed_runtime()
        command = [str(executable), str(runtime.bootstrap), "compile", runtime.cloudpickle, str(request)]
        # What the module prints when it is imported is talk: data alone goes to standard output.
        ended = background.call(command, stdin=subprocess.DEVNULL, stdout=2)
        answer = json.loads(result.read_text()) if result.exists() else None
    if answer is None:
        status = ended.returncode
        how = f"ended with code {status}" if status >= 0 else f"was killed by {_signal_name(-status)}"
        raise DefinitionError(
            f"the process that compiled `{file.name}` {how}, without an answer",
            why="importing the module ended the interpreter",
            mend='put what starts work under `if __name__ == "__main__":`',
        )
    if "error" in answer:
        raise TilthError.from_json(answer["error"])
    pipeline = Pipeline.from_json(answer["pipeline"])
    absent = frozenset(answer["absent"])
    return Compiled(pipeline, code, roots, interpreter, absent, answer.get("signature", {}))


def begin_compiling(
    target: str, parameters: Mapping[str, str], *, home: Home, python: str | None = None
) -> Future[Compiled]:
    """`compile_file` in the background: another process does it, while this one loads what comes after."""
    return background.in_thread(lambda: compile_file(target, parameters, home=home, python=python))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def compile_call(
    pipeline: Defined, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, home: Home
) -> Compiled:
    """Compile a pipeline that this process has imported, here."""
    from tilth.runtime.compile import absent_packages, compile_pipeline

    file, main = _source_of(pipeline)
    code = find_code_root(file)
    roots = import_roots(code, file, main or pipeline.function.__module__)
    compiled = compile_pipeline(
        pipeline, args, kwargs, roots=roots, main=main, project=project_options(code.root)
    )
    absent = frozenset(absent_packages(compiled))
    return Compiled(compiled, code, roots, probe(Path(sys.executable), home), absent)


def in_client(compiled: Compiled) -> Compiled:
    """The same with every step in the client's own interpreter, whatever environment it declares.

    What is recorded, and what later runs may reuse, is then what really ran.
    """
    nodes = tuple(replace(node, environment=None) for node in compiled.pipeline.nodes)
    return replace(compiled, pipeline=replace(compiled.pipeline, nodes=nodes, environments={}))


def split_target(target: str) -> tuple[Path, str | None]:
    """File and pipeline of `FILE[:PIPELINE]`.

    Raises:
        NotFound: There is no such file.
    """
    path = Path(target)
    name: str | None = None
    if not path.exists() and ":" in target:
        text, _, name = target.rpartition(":")
        path = Path(text)
    if path.is_dir():
        raise NotFound(f"`{path}` is a folder", mend="name a Python file: `FILE[:PIPELINE]`")
    if not path.exists():
        raise NotFound(f"there is no file `{path}`", mend="name a Python file: `FILE[:PIPELINE]`")
    if path.suffix != ".py":
        raise DefinitionError(f"`{path}` is no Python file", mend="name a file that ends in `.py`")
    return path.absolute(), name or None


def import_roots(code: CodeRoot, file: Path, module: str = "") -> tuple[str, ...]:
    """The code's own roots, where this process has found the file's `module`, and the file's folder.

    The module may be of a package in a folder that only `sys.path` tells; a script finds its neighbours beside it.
    """
    parts = tuple(module.split("."))
    stem = file.parent if file.name == "__init__.py" else file.with_suffix("")
    found = [stem.parents[len(parts) - 1]] if stem.parts[-len(parts) :] == parts else []
    return tuple(dict.fromkeys(map(str, [*code.import_roots, *found, file.parent])))


def _source_of(pipeline: Defined) -> tuple[Path, str | None]:
    """The file a pipeline was defined in, and what its module is called elsewhere when it runs as `__main__`."""
    module = sys.modules.get(pipeline.function.__module__)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).exists():
        raise DefinitionError(
            f"pipeline `{pipeline.name}` was not defined in a file",
            why="steps run in other interpreters, which import it from its file",
            mend="save it as a `.py` file and run that",
        )
    path = Path(file).absolute()
    if pipeline.function.__module__ != "__main__":
        return path, None
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name and not spec.name.endswith("__main__"):
        return path, spec.name  # started by `python -m`
    return path, canonical_module(path, find_code_root(path))
