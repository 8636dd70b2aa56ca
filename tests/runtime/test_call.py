"""One step called: what it is given, what it gives, and how its failure is told."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tilth.runtime.call import described, summary, traceback_text

Steps = Any  # see conftest.py


def lines_of(result: dict[str, Any]) -> list[str]:
    return [line.strip() for line in result["traceback"].splitlines() if set(line.strip()) != {"^"}]


TIMED = """
import functools
def timed(function):
    @functools.wraps(function)
    def wrapper(*a, **b):
        return function(*a, **b)
    return wrapper
"""


# Inputs


@pytest.mark.parametrize(
    "text",
    [
        "def f(a, b=0): return [a, b]",
        "def f(a, /, b): return [a, b]",
        "def f(a, *, b): return [a, b]",
        "def f(**given): return [given['a'], given['b']]",
        "def f(a, /, **given): return [a, given['b']]",
        "async def f(a, b): return [a, b]",
        TIMED + "@timed\nasync def f(a, b): return [a, b]",
        TIMED + "@timed\ndef f(a, /, b): return [a, b]",
        "from tilth import step\n@step\ndef f(a, b): return [a, b]",
        "from tilth import step\n@step(cache=False)\nasync def f(a, b): return [a, b]",
    ],
)
def test_inputs_are_given_as_the_function_takes_them(steps: Steps, text: str) -> None:
    result = steps.call(text, inputs={"a": 1, "b": {"$tuple": [2]}}, outputs=["output"])
    assert result["state"] == "completed", result
    assert steps.output() == [1, (2,)]


def test_positional_inputs_keep_their_places(steps: Steps) -> None:
    inputs = {"b": 2, "a": 1, "rest": {"$tuple": [3, 4]}, "c": 5}
    steps.call("def f(a, b, *rest, c): return [a, b, rest, c]", inputs=inputs, outputs=["output"])
    assert steps.output() == [1, 2, (3, 4), 5]


def test_an_input_that_cannot_be_read_is_told_by_its_name(steps: Steps) -> None:
    result = steps.call("def f(a): ...", inputs={"a": {"$unknown": 1}})
    assert (result["reason"], result["during"]) == ("input", "input `a`")
    result = steps.call("def f(a): ...", inputs={"a": {"$enum": {"type": "nowhere:Colour", "name": "RED"}}})
    assert (result["reason"], result["type"]) == ("input", "ModuleNotFoundError")


# Outputs


@pytest.mark.parametrize(
    ("outputs", "value", "told"),
    [
        ([], "1", "returned a `int`, but declares `-> None`"),
        (["a", "b"], "1", "returned one `int`"),
        (["a", "b"], "None", "returned one `NoneType`"),
        (["a", "b"], "'ab'", "returned one `str`"),
        (["a", "b"], "{'a': 1, 'b': 2}", "returned one `dict`"),
        (["a", "b"], "(1, 2, 3)", "returned 3 values"),
        (["a", "b"], "()", "returned 0 values"),
        (["a", "b"], "(x for x in 'ab')", "returned one `generator`"),
    ],
)
def test_the_wrong_number_of_outputs_is_told(steps: Steps, outputs: list[str], value: str, told: str) -> None:
    result = steps.call(f"def f(): return {value}", outputs=outputs)
    assert (result["state"], result["reason"]) == ("failed", "output")
    assert f"step `f` {told}" in result["message"]
    if outputs:
        assert "it declares 2 outputs: `a`, `b`" in result["message"]
    assert result["traceback"] == ""


def test_several_outputs_are_kept_by_name(steps: Steps) -> None:
    result = steps.call("def f(): return [1, 'x']", outputs=["a", "b c"])
    assert set(result["outputs"]) == {"a", "b c"}
    assert (steps.output("a"), steps.output("b c")) == (1, "x")


def test_a_step_without_outputs_gives_none(steps: Steps) -> None:
    assert steps.call("def f(): pass")["outputs"] == {}
    assert steps.call("def f(): pass", outputs=["output"])["state"] == "completed"
    assert steps.output() is None


RIGHT = [
    ("int", "1"), ("int", "True"), ("int", "np.int64(1)"), ("int", "np.uint8(1)"), ("float", "1"),
    ("float", "1.5"), ("float", "np.float32(1.5)"), ("float", "np.int64(1)"), ("bool", "True"),
    ("bool", "np.bool_(True)"),
    ("complex", "1.5"), ("str", "'x'"), ("str", "np.str_('x')"), ("bytes", "b'x'"),
    ("list[int]", "['not', 'looked', 'into']"),
    ("dict[str, int]", "{}"), ("dict", "collections.OrderedDict()"), ("tuple[int, ...]", "(1,)"),
    ("set", "{1}"),
    ("object", "1"), ("typing.Any", "1"), ("typing.Optional[int]", "None"), ("int | None", "None"),
    ("typing.Union[int, str]", "1.5"), ("typing.Sequence", "(1,)"), ("typing.Sequence[int]", "(1,)"),
    ("typing.Dict[str, int]", "{}"),
    ("collections.abc.Sequence[int]", "[1]"), ("collections.OrderedDict", "collections.OrderedDict()"),
    ("pathlib.Path", "pathlib.Path(__file__)"), ("numpy.ndarray", "np.zeros(2)"), ("nowhere.Thing", "1"),
    ("MODULE.Config", "{'a': 1}"),
    ("MODULE.Shape", "'anything with a protocol'"), ("MODULE.Identity", "3"), ("MODULE.Thing", "Child()"),
    ("T", "1"),
    ("typing.Literal['a']", "'a'"), ("typing.Callable[[int], str]", "len"), ("", "1"),
]  # fmt: skip
WRONG = [
    ("int", "1.0", "float"), ("int", "'1'", "str"), ("int", "None", "NoneType"),
    ("int", "np.float64(1)", "numpy.float64"),
    ("float", "'1'", "str"), ("float", "decimal.Decimal(1)", "decimal.Decimal"), ("bool", "1", "int"),
    ("str", "b'x'", "bytes"),
    ("bytes", "bytearray(b'x')", "bytearray"), ("list[int]", "(1,)", "tuple"), ("dict", "[]", "list"),
    ("tuple[int, str]", "[1, 'x']", "list"),
    ("collections.abc.Sequence[int]", "{1}", "set"), ("pathlib.Path", "'x'", "str"),
    ("numpy.ndarray", "[1]", "list"),
    ("MODULE.Thing", "1", "int"), ("MODULE.Colour", "'RED'", "str"),
]  # fmt: skip
TYPES = """
import collections, collections.abc, decimal, enum, pathlib, typing
import numpy as np
class Config(typing.TypedDict):
    a: int
class Shape(typing.Protocol):
    def area(self) -> float: ...
Identity = typing.NewType("Identity", int)
class Thing:
    pass
class Child(Thing):
    pass
class Colour(enum.Enum):
    RED = 1
def f():
    return """


def typed(steps: Steps, kind: str, value: str) -> dict[str, Any]:
    pytest.importorskip("numpy")
    upcoming = f"called_{int(steps.write('').rpartition('_')[2]) + 1}"
    result: dict[str, Any] = steps.call(TYPES + value, outputs=[("output", kind.replace("MODULE", upcoming))])
    assert steps.module == upcoming
    return result


@pytest.mark.parametrize(("kind", "value"), RIGHT, ids=[f"{kind} {value}" for kind, value in RIGHT])
def test_a_value_of_the_declared_type_is_kept(steps: Steps, kind: str, value: str) -> None:
    result = typed(steps, kind, value)
    assert result["state"] == "completed", result


@pytest.mark.parametrize(
    ("kind", "value", "found"), WRONG, ids=[f"{kind} {value}" for kind, value, _ in WRONG]
)
def test_a_value_plainly_of_another_type_is_refused(steps: Steps, kind: str, value: str, found: str) -> None:
    result = typed(steps, kind, value)
    assert result["reason"] == "output"
    assert f"output `output` of step `f` is a `{found}`" in result["message"]
    assert "it is declared as" in result["message"]


@pytest.mark.parametrize("value", ["threading.Lock()", "(x for x in 'ab')", "[threading.Lock()]"])
def test_a_value_that_cannot_be_kept_is_told_by_the_name_of_its_output(steps: Steps, value: str) -> None:
    result = steps.call(f"import threading\ndef f(): return 1, {value}", outputs=["good", "bad"])
    assert result["reason"] == "output"
    assert "output `bad` of step `f`" in result["message"]


def test_a_materializer_that_fails_is_told_with_the_output(steps: Steps) -> None:
    text = """
    from tilth import Materializer
    class Thing: ...
    class Broken(Materializer):
        types = (Thing,)
        def save(self, value, folder):
            raise ValueError("no way")
    def f(): return Thing()
    """
    upcoming = f"called_{int(steps.write('').rpartition('_')[2]) + 1}"
    result = steps.call(text, outputs=["thing"], materializers=[f"{upcoming}:Broken"])
    assert result["reason"] == "output"
    assert "output `thing` of step `f`" in result["message"]
    assert "ValueError: no way" in result["message"]


# Failures


def test_a_traceback_has_the_user_s_frames_alone(steps: Steps) -> None:
    result = steps.call("def f():\n    inner()\ndef inner():\n    raise ValueError('bad')")
    assert (result["reason"], result["type"], result["message"]) == ("exception", "ValueError", "bad")
    file = f'"{steps.folder / steps.module}.py"'
    assert lines_of(result) == [
        "Traceback (most recent call last):",
        f"File {file}, line 2, in f", "inner()", f"File {file}, line 4, in inner", "raise ValueError('bad')",
        "ValueError: bad",
    ]  # fmt: skip


FAILING = {
    "cause": """
        def f():
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise KeyError('x') from error
    """,
    "context": """
        def f():
            try:
                1 / 0
            except ZeroDivisionError:
                raise KeyError('x')
    """,
    "async": """
        import asyncio
        async def f():
            await asyncio.sleep(0)
            await inner()
        async def inner():
            raise KeyError('x')
    """,
    "import": """
        import importlib
        def f():
            importlib.import_module('json')
            raise KeyError('x')
    """,
    "again": """
        def f():
            try:
                raise KeyError('x')
            except KeyError as error:
                raise error from error
    """,
}


@pytest.mark.parametrize("text", FAILING.values(), ids=FAILING)
def test_frames_of_ours_are_in_no_part_of_a_traceback(steps: Steps, text: str) -> None:
    result = steps.call(text)
    files = {line.split('"')[1] for line in lines_of(result) if line.startswith("File ")}
    assert files == {f"{steps.folder / steps.module}.py"}
    assert lines_of(result)[-1] == "KeyError: 'x'"
    assert "no running event loop" not in result["traceback"]
    if "1 / 0" in text:
        assert "ZeroDivisionError: division by zero" in lines_of(result)
    assert "RuntimeError" not in result["traceback"]  # that there was no loop yet is nothing of the step's


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are of 3.11")
def test_each_exception_of_a_group_is_shown(steps: Steps) -> None:
    text = """
    import asyncio
    async def f():
        async with asyncio.TaskGroup() as group:
            group.create_task(bad(1))
            group.create_task(bad(2))
    async def bad(number):
        raise ValueError(f"number {number}")
    """
    result = steps.call(text)
    assert result["type"] == "ExceptionGroup"
    assert "ValueError: number 1" in result["traceback"]
    assert "ValueError: number 2" in result["traceback"]
    assert "runners.py" not in result["traceback"]
    assert "runtime/call.py" not in result["traceback"]


@pytest.mark.parametrize("body", ["raise ValueError", "return 3"])
def test_an_exception_whose_text_fails_is_told_all_the_same(steps: Steps, body: str) -> None:
    result = steps.call(
        f"class Odd(Exception):\n    def __str__(self):\n        {body}\ndef f():\n    raise Odd()"
    )
    assert result["type"] == f"{steps.module}.Odd"
    assert result["message"].startswith("(its message cannot be shown: ")
    assert "in f" in result["traceback"]


@pytest.mark.parametrize(
    "text",
    [
        "def f(): f()",
        "def f(): g()\ndef g(): f()",
        "def f(): g()\ndef g(): h()\ndef h(): f()",
        "def f():\n    try:\n        f()\n    except RecursionError as error:\n        raise ValueError(1) from error",
    ],
)
def test_the_traceback_of_endless_recursion_stays_short(steps: Steps, text: str) -> None:
    result = steps.call(text)
    assert result["type"] in ("RecursionError", "ValueError")
    assert len(result["traceback"].splitlines()) < 200
    assert "in f" in result["traceback"].splitlines()[1]
    assert result["type"] in result["traceback"].splitlines()[-1]


def test_a_syntax_error_shows_its_place(steps: Steps) -> None:
    (steps.folder / "torn.py").write_text("x = 1\ny = (\n")
    result = steps.call("def f():\n    import torn")
    assert result["type"] == "SyntaxError"
    assert f'File "{steps.folder}/torn.py", line 2' in lines_of(result)
    result = steps.call("def f(:\n    pass")
    assert (result["type"], result["during"]) == ("SyntaxError", "import")
    assert f'File "{steps.folder / steps.module}.py", line 1' in lines_of(result)


def test_an_error_while_the_module_is_imported_is_told_as_that(steps: Steps) -> None:
    result = steps.call("import json\njson.nothing\ndef f(): ...")
    assert (result["reason"], result["during"], result["type"]) == ("exception", "import", "AttributeError")
    assert lines_of(result)[1].endswith("line 2, in <module>")
    result = steps.call("def g(): ...")
    assert (result["during"], result["type"]) == ("import", "AttributeError")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("import sys; sys.exit(3)", "SystemExit", "the step called `sys.exit(3)`"),
        ("import sys; sys.exit()", "SystemExit", "the step called `sys.exit()`"),
        ("raise SystemExit('enough')", "SystemExit", "the step called `sys.exit('enough')`"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("raise GeneratorExit", "GeneratorExit", ""),
        ("raise BaseException('x')", "BaseException", "x"),
    ],
)
def test_whatever_ends_a_step_fails_it(steps: Steps, body: str, kind: str, message: str) -> None:
    result = steps.call(f"def f():\n    {body}")
    assert (result["state"], result["type"], result["message"]) == ("failed", kind, message)


def test_a_step_s_inputs_are_told_in_a_few_words(steps: Steps) -> None:
    result = steps.call("def f(a, b): raise ValueError", inputs={"a": list(range(100)), "b": "x" * 500})
    assert result["inputs"]["a"] == "list of 100"
    assert len(result["inputs"]["b"]) <= 80


def test_a_pipeline_called_in_a_step_is_refused(steps: Steps) -> None:
    result = steps.call(
        """
        from tilth import pipeline, step
        @pipeline
        def flow(): f()
        @step
        def f(): flow()
        """
    )
    assert "pipeline `flow` is called in a step" in result["message"]
    assert result["mend"]
    assert "File" in result["traceback"]


@pytest.mark.parametrize("body", ["sys.stdout = None", "sys.stdout = io.StringIO(); sys.stdout.close()"])
def test_a_step_may_take_its_standard_output_away(
    steps: Steps, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    assert steps.call(f"import io, sys\ndef f():\n    {body}")["state"] == "completed"


def test_a_value_in_a_few_words_never_fails() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError

        @property
        def shape(self) -> None:
            raise ValueError

    assert summary(Odd()) == "Odd"
    assert summary({1: 2}) == "{1: 2}"
    assert summary("a\nb") == "'a\\nb'"
    numpy = pytest.importorskip("numpy")
    assert summary(numpy.zeros((2, 3))) == "ndarray 2 x 3 float64"


def test_an_exception_that_breaks_tracebacks_is_told_all_the_same() -> None:
    class Odd(Exception):
        @property
        def __cause__(self) -> Any:
            raise ValueError

    assert traceback_text(Odd()) in ("", "(its traceback cannot be shown: ValueError)")
    assert described(Odd())["type"].endswith("Odd")
