"""From a file or a decorated function to a compiled pipeline, wherever it lies and however it is started."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tilth.client.code_root import find_code_root
from tilth.client.compilation import compile_call, compile_file, import_roots, split_target
from tilth.errors import DefinitionError, NotFound, SetupError
from tilth.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLOW = """
from tilth import pipeline, step
{imports}
class Mine:
    pass

@step
def f(x):
    print("ran", __name__, {value})
    return 1

@pipeline
def flow(x: int = 1):
    f(x)

if __name__ == "__main__":
    flow()
"""


def flow(imports: str = "", value: str = "x") -> str:
    return FLOW.format(imports=imports, value=value)


@pytest.fixture
def places(home: Path) -> Home:
    """This test's home."""
    return Home(home)


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., str]:
    """What `python …` prints in the test's folder when it runs a pipeline."""

    def run(*arguments: str, cwd: Path = tmp_path, code: int = 0) -> str:
        environment = {**os.environ, "TILTH_PROGRESS": "plain", "NO_COLOR": "1"}
        ended = subprocess.run(
            [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True,
            errors="surrogateescape", timeout=300, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr
        return ended.stdout if code == 0 else ended.stderr

    return run


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


LAYOUTS: dict[str, tuple[dict[str, str], str, str]] = {
    "script": ({"flow.py": flow()}, "flow.py", "flow"),
    "hyphen": ({"train-model.py": flow()}, "train-model.py", "train-model"),
    "digit": ({"01_train.py": flow()}, "01_train.py", "01_train"),
    "neighbour": (
        {
            "tilth.toml": "", "scripts/helper.py": "x = 'neighbour'",
            "scripts/train.py": flow("import helper", "helper.x"),
        },
        "scripts/train.py",
        "scripts.train",
    ),
    "src": (
        {
            "pyproject.toml": "[project]\nname = 'demo'",
            "src/pkg/__init__.py": "", "src/pkg/helper.py": "x = 'relative'",
            "src/pkg/flow.py": flow("from .helper import x as y\nfrom . import helper", "helper.x"),
        },
        "src/pkg/flow.py",
        "pkg.flow",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "target", "module"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_file_is_compiled_under_the_name_it_is_imported_by(
    tmp_path: Path, places: Home, files: dict[str, str], target: str, module: str
) -> None:
    write(tmp_path, files)
    compiled = compile_file(str(tmp_path / target), {"x": "3"}, home=places)
    assert compiled.pipeline.function == f"{module}:flow"
    assert compiled.pipeline.node("f").function == f"{module}:f"
    assert compiled.pipeline.parameters == {"x": 3}
    assert set(compiled.pipeline.sources) >= {module}
    assert str((tmp_path / target).parent) in compiled.roots


@pytest.mark.parametrize("layout", ["hyphen", "neighbour"])
def test_a_script_started_by_python_runs_as_it_does_by_its_file(
    tmp_path: Path, started: Callable[..., str], tilth: Any, layout: str
) -> None:
    files, target, module = LAYOUTS[layout]
    write(tmp_path, files)
    assert f"[f] ran {module} " in started(target)
    again = tilth("run", target, env={"TILTH_PROGRESS": "plain"})
    assert "f: reused" in again.stderr


def test_a_module_started_by_name_keeps_it(tmp_path: Path, started: Callable[..., str]) -> None:
    write(tmp_path, LAYOUTS["src"][0])
    assert "[f] ran pkg.flow relative" in started("-m", "pkg.flow", cwd=tmp_path / "src")


def test_a_package_that_only_the_path_leads_to_is_found_by_the_steps(
    tmp_path: Path, started: Callable[..., str]
) -> None:
    text = flow("from .helper import x as y", "y")
    write(
        tmp_path,
        {"tilth.toml": "", "lib/q/__init__.py": "", "lib/q/helper.py": "x = 5", "lib/q/flow.py": text},
    )
    assert "[f] ran q.flow 5" in started("-m", "q.flow", cwd=tmp_path / "lib")
    text = "import sys; sys.path.insert(0, 'lib')\nfrom q.flow import flow\nif __name__ == '__main__':\n    flow(7)\n"
    write(tmp_path, {"main.py": text})
    assert "[f] ran q.flow 5" in started("main.py")


def test_a_file_name_need_not_be_utf_8(tmp_path: Path, tilth: Any) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    try:
        write(tmp_path, {name: flow()})
    except (OSError, UnicodeError):
        pytest.skip("this file system has UTF-8 names alone")
    for told in ("f: completed", "f: reused"):
        ended = tilth("run", name, env={"TILTH_PROGRESS": "plain"}, code=None)
        # As ASCII: the name, in a report of a failure, could not travel between processes of the tests.
        assert ended.code == 0, ascii(ended.stderr)
        assert told in ended.stderr, ascii(ended.stderr)


UNGUARDED = flow().replace('if __name__ == "__main__":\n    flow()', "flow()")


def test_a_call_outside_the_guard_is_refused_however_it_is_started(
    tmp_path: Path, started: Callable[..., str], tilth: Any
) -> None:
    write(tmp_path, {"flow.py": UNGUARDED, "main.py": "import flow\n"})
    for told in (
        started("flow.py", code=1),
        started("main.py", code=1),
        started("-m", "flow", code=1),
        tilth("run", "flow.py", code=1).stderr,
    ):
        assert "pipeline `flow` is called when its module is imported" in told
        assert 'if __name__ == "__main__":' in told
    assert not tilth("runs", "list", "--json").json


def test_what_a_module_prints_and_asks_when_it_is_imported_harms_nothing(tmp_path: Path, tilth: Any) -> None:
    text = 'import sys\nprint("printed at import")\nprint("and there", file=sys.stderr)\nassert not sys.stdin.read()\n'
    write(tmp_path, {"flow.py": text + flow()})
    planned = tilth("plan", "flow.py", "--json")
    assert planned.json["pipeline"] == "flow"
    assert "printed at import\n" in planned.stderr


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("os._exit(0)", "ended with code 0, without an answer"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL, without an answer"),
        ("sys.exit()", "ends the program when it is imported"),
    ],
)
def test_a_module_that_ends_the_interpreter_is_told_as_that(
    tmp_path: Path, places: Home, code: str, told: str
) -> None:
    write(tmp_path, {"flow.py": f"import os, sys\n{code}\n"})
    with pytest.raises(DefinitionError, match=told) as caught:
        compile_file(str(tmp_path / "flow.py"), {}, home=places)
    assert "__main__" in caught.value.mend


def test_errors_come_back_as_they_were_raised(tmp_path: Path, places: Home) -> None:
    write(tmp_path, {"flow.py": flow()})
    with pytest.raises(NotFound) as caught:
        compile_file(f"{tmp_path / 'flow.py'}:flwo", {}, home=places)
    assert caught.value.mend == "did you mean `flow`?"
    with pytest.raises(DefinitionError, match="parameter `x` of pipeline `flow` is `two`"):
        compile_file(str(tmp_path / "flow.py"), {"x": "two"}, home=places)
    with pytest.raises(SetupError, match="there is no Python at"):
        compile_file(str(tmp_path / "flow.py"), {}, home=places, python=str(tmp_path / "none"))


def test_options_of_the_project_reach_the_steps(tmp_path: Path, places: Home) -> None:
    write(tmp_path, {"flow.py": flow(), "tilth.toml": "timeout = '1m'\ncache = false\n"})
    compiled = compile_file(str(tmp_path / "flow.py"), {}, home=places)
    assert (compiled.pipeline.node("f").timeout_s, compiled.pipeline.node("f").cache) == (60, False)
    write(tmp_path, {"tilth.toml": "chace = false\n"})
    with pytest.raises(DefinitionError, match="`chace` is no option of a project"):
        compile_file(str(tmp_path / "flow.py"), {}, home=places)


def test_a_pipeline_of_this_process_compiles_as_its_file_does(
    tmp_path: Path, places: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"flow_here.py": flow(), "tilth.toml": ""})
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("flow_here")
    here = compile_call(module.flow, (2,), {}, home=places)
    there = compile_file(str(tmp_path / "flow_here.py"), {"x": "2"}, home=places)
    assert here.pipeline == there.pipeline
    assert here.pipeline.digest() == there.pipeline.digest()
    del sys.modules["flow_here"]


def test_a_pipeline_without_a_file_is_refused(places: Home) -> None:
    scope: dict[str, Any] = {"__name__": "nowhere"}
    exec("from tilth import pipeline\n@pipeline\ndef flow(): ...", scope)
    with pytest.raises(DefinitionError, match="pipeline `flow` was not defined in a file"):
        compile_call(scope["flow"], (), {}, home=places)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("none.py", "there is no file `none.py`"),
        ("none.py:flow", "there is no file `none.py`"),
        (".", "is a folder"),
        ("notes.txt", "is no Python file"),
    ],
)
def test_a_wrong_target_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"notes.txt": ""})
    with pytest.raises((NotFound, DefinitionError), match=told):
        split_target(target)


def test_a_target_is_a_file_and_perhaps_a_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"a.py": "", "b:c.py": ""})
    assert split_target("a.py") == (tmp_path / "a.py", None)
    assert split_target("a.py:flow") == (tmp_path / "a.py", "flow")
    assert split_target("a.py:") == (tmp_path / "a.py", None)
    assert split_target("b:c.py") == (tmp_path / "b:c.py", None)


@pytest.mark.parametrize(
    ("file", "module", "more"),
    [
        ("a.py", "a", []),
        ("pkg/a.py", "pkg.a", ["pkg"]),
        ("lib/pkg/a.py", "pkg.a", ["lib", "lib/pkg"]),
        ("lib/pkg/__init__.py", "pkg", ["lib", "lib/pkg"]),
        ("lib/pkg/a.py", "__main__", ["lib/pkg"]),
        ("lib/pkg/a.py", "", ["lib/pkg"]),
    ],
)
def test_modules_are_imported_from_where_this_process_found_them(
    tmp_path: Path, file: str, module: str, more: list[str]
) -> None:
    write(tmp_path, {"tilth.toml": "", file: ""})
    path = tmp_path / file
    roots = import_roots(find_code_root(path), path, module)
    assert roots == (str(tmp_path), *(str(tmp_path / each) for each in more))
