"""What a step gives, read from its annotation."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tilth.define.annotations import outputs, resolved
from tilth.errors import DefinitionError
from tilth.runtime import tolerant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SERIAL = itertools.count()
HEAD = """\
import numpy_missing as np
import pandas_missing.core as pdc
import pandas_missing as pd
from typing import TYPE_CHECKING, Annotated, Any, List, Literal, Optional, Tuple
from sklearn_missing.base import ClassifierMixin
from tilth.define.artifacts import Artifact
if TYPE_CHECKING:
    import polars_missing as pl
NAME = "from-constant"
class Graph: ...
Frame = Annotated[pd.DataFrame, "frame"]
Both = tuple[Annotated[int, "a"], Annotated[str, "b"]]
"""


@pytest.fixture
def returning(tmp_path: Path) -> Callable[..., Any]:
    """A function with this return annotation, in a module that imports libraries which are not there."""

    def make(annotation: str, *, future: bool = False, head: str = HEAD) -> Any:
        name = f"annotated_{next(_SERIAL)}"
        path = tmp_path / f"{name}.py"
        future_line = "from __future__ import annotations\n" if future else ""
        path.write_text(f"{future_line}{textwrap.dedent(head)}\ndef function(){annotation}: ...\n")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        with tolerant.tolerant_imports(tmp_path):
            spec.loader.exec_module(module)
        return module.function

    return make


CASES = [
    ("", [("output", "", "")]),
    (" -> None", []),
    (" -> int", [("output", "int", "int")]),
    (" -> pd.DataFrame", [("output", "pd.DataFrame", "pandas_missing.DataFrame")]),
    (" -> 'pd.DataFrame'", [("output", "pd.DataFrame", "pandas_missing.DataFrame")]),
    (" -> pdc.Frame | None", [("output", "pdc.Frame | None", "pandas_missing.core.Frame | None")]),
    (" -> list[np.ndarray]", [("output", "list[np.ndarray]", "list[numpy_missing.ndarray]")]),
    (" -> Optional['Graph']", [("output", "Optional['Graph']", "typing.Optional[MODULE.Graph]")]),
    (" -> Literal['int']", [("output", "Literal['int']", "typing.Literal['int']")]),
    (" -> tuple[int, ...]", [("output", "tuple[int, ...]", "tuple[int, ...]")]),
    (" -> tuple[int, str]", [("output", "tuple[int, str]", "tuple[int, str]")]),
    (
        " -> Annotated[ClassifierMixin, 'model']",
        [("model", "ClassifierMixin", "sklearn_missing.base.ClassifierMixin")],
    ),
    (" -> 'Annotated[int, \"n\"]'", [("n", "int", "int")]),
    (
        " -> Annotated[Annotated[int, 'inner'], 'n']",
        [("n", "Annotated[int, 'inner']", "typing.Annotated[int, 'inner']")],
    ),
    (" -> Annotated[int, 5, NAME]", [("from-constant", "int", "int")]),
    (" -> Annotated[int, np.Shape['3'], 'n']", [("n", "int", "int")]),
    (" -> tuple[Annotated[int, 'a'], 'Annotated[str, \"b\"]']", [("a", "int", "int"), ("b", "str", "str")]),
    (" -> Tuple[Annotated[int, 'a'], str]", [("a", "int", "int"), ("output_1", "str", "str")]),
    (
        " -> tuple[\n    Annotated[int, 'a'],  # first\n    Annotated[str, 'b'],\n]",
        [("a", "int", "int"), ("b", "str", "str")],
    ),
    (" -> Frame", [("frame", "pd.DataFrame", "pandas_missing.DataFrame")]),
    (" -> Both", [("a", "int", "int"), ("b", "str", "str")]),
]


@pytest.mark.parametrize(("annotation", "expected"), CASES)
@pytest.mark.parametrize("future", [False, True], ids=["now", "future"])
def test_outputs_are_read_as_written_and_resolved(
    returning: Any, annotation: str, expected: list[tuple[str, str, str]], future: bool
) -> None:
    function = returning(annotation, future=future)
    found = [(each.name, each.annotation, each.type) for each in outputs(function)]
    assert found == [
        (name, text, kind.replace("MODULE", function.__module__)) for name, text, kind in expected
    ]


def test_a_name_that_only_type_checkers_see_is_resolved(returning: Any) -> None:
    (output,) = outputs(returning(" -> Annotated[pl.DataFrame, 'x']", future=True))
    assert (output.name, output.type) == ("x", "polars_missing.DataFrame")
    (output,) = outputs(returning(" -> nowhere.Thing", future=True))
    assert output.type == "nowhere.Thing"


def test_an_artifact_s_options_are_kept(returning: Any) -> None:
    (output,) = outputs(
        returning(" -> Annotated[int, Artifact('churn', version='2', tags=[NAME, 'b'])]", future=True)
    )
    assert (output.name, output.artifact, output.version, output.tags) == (
        "churn",
        "churn",
        "2",
        ("from-constant", "b"),
    )
    (output,) = outputs(returning(" -> Annotated[int, 'model', Artifact('churn')]"))
    assert (output.name, output.artifact) == ("model", "churn")
    (output,) = outputs(returning(" -> Annotated[int, Artifact(tags=['x'])]"))
    assert (output.name, output.artifact, output.tags) == ("output", "", ("x",))


def test_an_alias_from_another_module_is_looked_at_as_an_object(returning: Any) -> None:
    other = returning("").__module__
    function = returning(" -> Frame", head=f"from {other} import Frame")
    (output,) = outputs(function)
    assert (output.name, output.annotation, output.type) == ("frame", "Frame", f"{other}.Frame")


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (" -> tuple[Annotated[int, 'a'], Annotated[str, 'a']]", "two outputs named `a`"),
        (" -> tuple[Annotated[int, 'output_1'], int]", "two outputs named `output_1`"),
        (" -> Annotated[int, Artifact(undefined)]", "undefined"),
        (" -> Annotated[int, 'a/b']", "`a/b`"),
    ],
)
def test_outputs_that_cannot_be_are_refused(returning: Any, annotation: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        outputs(returning(annotation, future=True))


def test_relative_imports_are_resolved_from_the_module_and_from_a_package(returning: Any) -> None:
    head = "if 0:\n    from .types import Frame\n    from .. import base\n"
    function = returning(" -> tuple[Frame, base.X]", future=True, head=head)
    function.__module__ = "pkg.sub.steps"
    assert outputs(function)[0].type == "tuple[pkg.sub.types.Frame, pkg.base.X]"


def test_parameters_are_resolved_alike(returning: Any) -> None:
    function = returning(
        "", future=True, head=HEAD + "def other(a: pd.DataFrame, /, *, b: 'list[Graph]', c=1): ...\n"
    )
    other = function.__globals__["other"]
    assert resolved(other, "a") == "pandas_missing.DataFrame"
    assert resolved(other, "b") == f"list[{function.__module__}.Graph]"
    assert resolved(other, "c") == ""
    assert resolved(other, "nothing") == ""


def test_decorated_functions_and_those_of_one_name_are_told_apart(returning: Any) -> None:
    function = returning(
        " -> float",
        head="""
        import functools
        def keep(f):
            @functools.wraps(f)
            def inner(*args): return f(*args)
            return inner
        @keep
        def function() -> int: ...
        first = function
        """,
    )
    assert outputs(function)[0].type == "float"
    assert outputs(function.__globals__["first"])[0].type == "int"


def test_a_function_without_source_is_read_from_its_annotations() -> None:
    space: dict[str, Any] = {}
    code = (
        "from typing import Annotated\nimport decimal\ndef a() -> decimal.Decimal: ...\ndef b() -> None: ...\n"
        "def c(): ...\ndef d() -> tuple[Annotated[int, 'x'], Annotated[str, 'y']]: ..."
    )
    exec(compile(code, "<nowhere>", "exec", dont_inherit=True), space)
    assert [each.type for each in outputs(space["a"])] == ["decimal.Decimal"]
    assert outputs(space["b"]) == ()
    assert [each.name for each in outputs(space["c"])] == ["output"]
    assert [(each.name, each.type) for each in outputs(space["d"])] == [
        ("x", "int"),
        ("y", "str"),
    ]
