"""Pipelines compiled in interpreters of a project, which need not hold tilth."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tilth.errors import DefinitionError, NotFound
from tilth.ir.pipeline import Pipeline
from tilth.runtime.compile import compile_pipeline, load_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOW = """
from __future__ import annotations
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Callable, Dict, List, Literal, Optional, Tuple
import math, uuid

import numpy as np
from pandas import DataFrame as Frame
from sklearn.base import ClassifierMixin
import library_that_is_nowhere as missing
import helpers
from tilth import Artifact, Environment, Resources, Retry, pipeline, step

class Colour(Enum):
    RED = "r"

@dataclass
class Settings:
    rate: float = 0.1
    colour: Colour = Colour.RED
    at: datetime = datetime(2026, 1, 2, tzinfo=timezone.utc)

Pair = Tuple[Annotated[Frame, "left"], Annotated[Dict[str, Callable[[int], str]], Artifact("right", tags=["a", "b"])]]

@step(environment=Environment("ml", requirements=["numpy<2"]), resources=Resources(memory="1GiB"), timeout="1h")
def load(settings: Settings, path: Path, names: set[str] = {"b", "a", "c"}, *, odd: float = math.nan) -> Pair:
    helpers.work()
    return missing.load(path)

@step(extra={"seen": {3, 1, 2}})
async def train(x: np.ndarray, id: uuid.UUID) -> Optional[ClassifierMixin]:
    return missing.Model()

@step
def each(x, kind: Literal["a b", 'c'] = "a b") -> "List[np.ndarray] | None": ...

@step
def report(x) -> None: ...

@pipeline(tags=["weekly"])
def flow(settings: Settings = Settings(), big: int = 2**70, id: uuid.UUID = uuid.UUID(int=7)):
    left, right = load(settings, Path("data") / "a.csv")
    model = train(left, id)
    report({"models": [each.map(right), model], 1: (None, True, -0.0, 1e22)}, after=report(model))
"""
HELPERS = "import json\nfrom pkg import deep\ndef work(): return deep.x\n"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        parts = ["__init__" if part == "init" else part for part in name.split("__")]
        path = folder.joinpath(*parts).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`loaded(text)`: the pipeline of a module with this text, imported here as a project's interpreter does."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def load(text: str, name: str | None = None) -> Any:
        module = f"compiled_{len(list(tmp_path.iterdir()))}"
        write(tmp_path, **{module: text})
        importlib.invalidate_caches()
        return load_pipeline(module, name, [str(tmp_path)])

    yield load
    for name in set(sys.modules) - before:
        if name.startswith("compiled_"):
            del sys.modules[name]


def test_every_python_and_folder_gives_the_same_digest(tmp_path: Path, pythons: Any, compile_in: Any) -> None:
    found: dict[str, str] = {}
    answer: dict[str, Any] = {}
    for index, python in enumerate(pythons):
        folder = write(
            tmp_path / f"{index} ü", flow=FLOW, helpers=HELPERS, pkg__init="", pkg__deep="x = 1\r\n"
        )
        answer = compile_in(python, folder, "flow", parameters={"settings": '{"rate": 0.5}'})
        assert "pipeline" in answer, answer
        compiled = Pipeline.from_json(answer["pipeline"])
        assert json.dumps(compiled.to_json()).find(str(tmp_path)) == -1
        found[str(python)] = compiled.digest()
    assert len(set(found.values())) == 1, found
    compiled = Pipeline.from_json(answer["pipeline"])
    assert [each.id for each in compiled.nodes] == ["load", "train", "each", "report", "report_2"]
    assert [each.type for each in compiled.node("load").outputs] == [
        "pandas.DataFrame",
        "typing.Dict[str, typing.Callable[[int], str]]",
    ]
    assert compiled.node("train").outputs[0].type == "typing.Optional[sklearn.base.ClassifierMixin]"
    assert compiled.node("report_2").after == ("report",)
    assert set(compiled.sources) == {"flow", "helpers", "pkg", "pkg.deep"}
    assert "library_that_is_nowhere" in compiled.needs["flow:load"]


def environment(folder: Path, python: Path, **files: str) -> Path:
    """The interpreter of a new virtual environment that holds these modules, and no tilth."""
    subprocess.run([str(python), "-m", "venv", "--without-pip", str(folder)], check=True)
    (library,) = folder.glob("lib/python3.*/site-packages")
    write(library, **files)
    return folder / "bin" / "python"


def test_a_library_that_is_installed_changes_nothing(tmp_path: Path, compile_in: Any) -> None:
    here = Path(sys.executable)
    project = {"flow": FLOW, "helpers": HELPERS, "pkg__init": "", "pkg__deep": "x = 1\n"}
    without = compile_in(here, write(tmp_path / "without", **project), "flow")["pipeline"]
    library = "def load(path): ...\nclass Model: ...\n"
    python = environment(tmp_path / "venv", here, library_that_is_nowhere=library)
    found = compile_in(python, write(tmp_path / "with", **project), "flow")["pipeline"]
    assert found == without


def test_an_environment_may_hold_any_version_of_our_packages_and_another_tilth(
    tmp_path: Path, pythons: list[Path], compile_in: Any
) -> None:
    python = environment(
        tmp_path / "venv",
        pythons[0],
        click="__version__ = '0.1'",
        msgspec="raise ImportError('not this one')",
        tilth__init="raise SystemExit('another tilth')",
    )
    text = """
import click
from tilth import Client, CSV, Environment, get_step_context, log_metadata, pipeline, step
try:
    import msgspec
except ImportError as error:
    said = str(error)
@step
def f(): ...
@pipeline
def flow(version=click.__version__, said=said): f()
"""
    answer = compile_in(python, write(tmp_path / "project", flow=text), "flow")
    assert answer["pipeline"]["parameters"] == {"version": "0.1", "said": "not this one"}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; sys.exit(3)", "ends the program when it is imported: `sys.exit(3)`"),
        ("flow()", "pipeline `flow` is called when its module is imported"),
        ("import json.nothing", "cannot be imported"),
        ("1 / 0", "cannot be imported"),
        ("def (", "cannot be imported"),
        ("raise KeyboardInterrupt", "cannot be compiled: KeyboardInterrupt"),
        ("step(cahce=True)", "`cahce` is no option of a step"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_in_few_words(
    tmp_path: Path, compile_in: Any, code: str, told: str
) -> None:
    text = f"from tilth import pipeline, step\n@step\ndef f(): ...\n@pipeline\ndef flow(): f()\n{code}\n"
    answer = compile_in(Path(sys.executable), write(tmp_path, flow=text), "flow")
    assert told in answer["error"]["summary"]
    assert "runtime/compile.py" not in answer["error"]["why"]
    if "cannot be" in told:
        assert 'flow.py", line 6' in answer["error"]["why"]


def test_an_error_in_a_decorator_says_where_it_stands(tmp_path: Path, compile_in: Any) -> None:
    text = "from tilth import pipeline, step\n\n\n@step(retry='often')\ndef f(): ...\n"
    error = compile_in(Path(sys.executable), write(tmp_path, flow=text), "flow")["error"]
    assert (error["summary"], error["why"]) == ("`retry` is `'often'` (a `str`)", "at `flow.py:4`")


def test_threads_that_a_module_starts_do_not_hold_the_answer(tmp_path: Path, compile_in: Any) -> None:
    text = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    text += "from tilth import pipeline, step\n@step\ndef f(): ...\n@pipeline\ndef flow(): f()\nprint('said')"
    answer = compile_in(Path(sys.executable), write(tmp_path, flow=text), "flow")
    assert answer["pipeline"]["name"] == "flow"


def test_an_error_in_the_pipeline_function_shows_its_line(tmp_path: Path, compile_in: Any) -> None:
    text = (
        "from tilth import pipeline\n@pipeline\ndef flow():\n    inner()\ndef inner():\n    return {}['x']\n"
    )
    error = compile_in(Path(sys.executable), write(tmp_path, flow=text), "flow")["error"]
    assert error["summary"] == "pipeline `flow` cannot be compiled: KeyError"
    assert error["why"].splitlines()[-1] == "KeyError: 'x'"
    assert f'File "{tmp_path}/flow.py", line 6, in inner' in error["why"]
    assert "tilth" not in error["why"]


def test_a_pipeline_is_taken_by_its_name_or_its_variable(loaded: Any) -> None:
    text = "from tilth import pipeline\n@pipeline(name='called')\ndef one(): ...\n@pipeline\ndef two(): ...\n"
    assert loaded(text, "one").name == loaded(text, "called").name == "called"
    assert loaded(text, "two").name == "two"
    with pytest.raises(NotFound, match="has 2 pipelines: `one`, `two`") as caught:
        loaded(text)
    assert caught.value.mend == "name one: `FILE:one`"
    with pytest.raises(NotFound, match="has no pipeline `tow`") as caught:
        loaded(text, "tow")
    assert caught.value.mend == "did you mean `two`?"
    with pytest.raises(NotFound, match="has no pipeline"):
        loaded("x = 1")


def test_a_module_s_own_pipeline_wins_over_those_it_imports(loaded: Any, tmp_path: Path) -> None:
    write(tmp_path, other="from tilth import pipeline\n@pipeline\ndef imported(): ...\n")
    assert loaded("from other import imported").name == "imported"
    own = "from tilth import pipeline\nfrom other import imported\n@pipeline\ndef own(): ..."
    assert loaded(own).name == "own"


def test_the_program_s_own_module_has_its_canonical_name(loaded: Any, tmp_path: Path) -> None:
    pipeline = loaded(
        "from dataclasses import dataclass\nfrom tilth import Materializer, pipeline, step\n"
        "@dataclass\nclass Point:\n    x: int\n"
        "class Points(Materializer):\n    types = (Point,)\n"
        "@step(materializers=Points)\ndef f(x) -> Point: ...\n@pipeline\ndef flow(x=Point(1)): f(x)"
    )
    module = sys.modules[pipeline.function.__module__]
    real = module.__name__
    for thing in (module.flow.function, module.f.function, module.Point, module.Points):
        thing.__module__ = "__main__"
    before, sys.modules["__main__"] = sys.modules["__main__"], module
    try:
        compiled = compile_pipeline(pipeline, (), {}, roots=[str(tmp_path)], main=real)
    finally:
        sys.modules["__main__"] = before
    assert "__main__" not in json.dumps(compiled.to_json())
    assert compiled.node("f").function == f"{real}:f"
    assert compiled.node("f").materializers == {f"{real}:Points": 1}
    assert compiled.parameters == {"x": {"$dataclass": {"type": f"{real}:Point", "fields": {"x": 1}}}}


def test_what_other_interpreters_could_not_import_is_refused(loaded: Any, tmp_path: Path) -> None:
    pipeline = loaded(
        "from tilth import Materializer, pipeline, step\n"
        "def make():\n    class Local(Materializer):\n        types = (set,)\n    return Local\n"
        "@step(materializers=[make()])\ndef f(): ...\n@pipeline\ndef flow(): f()"
    )
    with pytest.raises(DefinitionError, match=r"`make.<locals>.Local` is defined inside a function"):
        compile_pipeline(pipeline, (), {}, roots=[str(tmp_path)])
    with pytest.raises(DefinitionError, match="the source of module"):
        compile_pipeline(
            loaded("from tilth import pipeline, step\n@step\ndef f(): ...\n@pipeline\ndef flow(): f()"),
            (),
            {},
            roots=[os.fspath(tmp_path / "elsewhere")],
        )
