"""Steps as users write them: in a graph, by themselves, and wrongly."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from hypothesis import given, strategies

import tilth
from tilth.define.steps import StepOutput, StepOutputs
from tilth.errors import DefinitionError, UnknownOption

Graph = Any  # see conftest.py
Project = Any


def output(node: str, name: str = "output") -> dict[str, Any]:
    return {"$output": [node, name]}


# In a graph


@pytest.mark.parametrize(
    ("call", "inputs"),
    [
        ("add(1)", {"a": 1, "b": 1, "c": 0}),
        ("add(1, 2, c=3)", {"a": 1, "b": 2, "c": 3}),
        ("add(b=2, a=1)", {"a": 1, "b": 2, "c": 0}),
        ("add([load(), 2])", {"a": [output("load"), 2], "b": 1, "c": 0}),
        ("add({'x': (load(), load())})", {"a": {"x": {"$tuple": [output("load"), output("load_2")]}}, "b": 1, "c": 0}),
        ("add(split(load()).test)", {"a": output("split", "test"), "b": 1, "c": 0}),
        ("add(split(load())['train'])", {"a": output("split", "train"), "b": 1, "c": 0}),
        ("a, b = split(load()); add(b, a)", {"a": output("split", "test"), "b": output("split", "train"), "c": 0}),
        ("add(float('nan'))", {"a": {"$float": "nan"}, "b": 1, "c": 0}),
    ],
)  # fmt: skip
def test_arguments_are_bound_as_python_binds_them(graph: Graph, call: str, inputs: dict[str, Any]) -> None:
    assert graph(call)["add"].inputs == inputs


def test_each_call_of_a_step_has_an_id_of_its_own(project: Project) -> None:
    compiled = project.compile(
        """
        first = load.with_options(name="load_2")()
        tell(first); load(); load(); load(); tell.with_options(name="say")()
        """
    )
    assert [each.id for each in compiled.nodes] == ["load_2", "tell", "load", "load_3", "load_4", "say"]
    assert {each.function.partition(":")[2] for each in compiled.nodes} == {"load", "tell"}


@pytest.mark.parametrize(
    ("after", "waits"),
    [
        ("tell()", ("tell",)),
        ("[tell(), load()]", ("tell", "load")),
        ("split(load())", ("split",)),
        ("(tell(), [tell()])", ("tell", "tell_2")),
        ("[x := load(), x]", ("load",)),
        ("()", ()),
    ],
)
def test_after_waits_for_steps_without_taking_their_outputs(
    graph: Graph, after: str, waits: tuple[str, ...]
) -> None:
    node = graph(f"add.with_options(name='last')(1, after={after})")["last"]
    assert node.after == waits
    assert list(node.sources()) == []


def test_outputs_of_any_name_are_found_by_it() -> None:
    named = [StepOutput("a", name) for name in ("count", "index", "_node", "two words")]
    outputs = StepOutputs("a", named)
    assert [outputs.count, outputs.index, outputs["_node"], outputs["two words"]] == named
    with pytest.raises(AttributeError, match="did you mean `count`"):
        _ = outputs.coutn


def test_an_output_called_as_one_of_our_attributes_can_be_waited_for(project: Project) -> None:
    module = project.load(
        """
        @step
        def odd() -> tuple[Annotated[int, "_node"], Annotated[int, "node"]]:
            return 1, 2
        @pipeline
        def flow():
            tell(after=odd())
        """
    )
    assert project.compiled(module.flow).node("tell").after == ("odd",)


USES = {
    "truth": "if out: pass",
    "not": "not out",
    "length": "len(out)",
    "iteration": "[x for x in out]",
    "unpacking": "a, b = out",
    "item": "out[0]",
    "setting": "out[0] = 1",
    "membership": "1 in out",
    "call": "out()",
    "attribute": "out.shape",
    "our attribute": "out.name",
    "comparison": "out > 0.9",
    "equality": "out == 'x'",
    "inequality": "1 != out",
    "text": "f'{out}'",
    "number": "int(out)",
    "path": "open(out)",
    "sum": "sum([1, out])",
    "right": "2 ** out",
    "minus": "-out",
    "union": "out | {}",
    "range": "range(out)",
    "rounding": "round(out, 2)",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_step_s_output_is_no_value_yet(graph: Graph, use: str) -> None:
    with pytest.raises(DefinitionError, match="is used as a value in the pipeline function") as caught:
        graph(f"out = load()\n{use}")
    assert "no value yet" in caught.value.why
    assert "at `written_" in caught.value.why


def test_a_step_s_output_can_be_shown_and_told_apart() -> None:
    one, other = StepOutput("a", "x"), StepOutput("a", "x")
    assert repr(one) == str(one) == "<output `x` of step `a`>"
    assert {one, other} == {other, one}
    assert one == one
    assert one != other
    assert not hasattr(one, "__array__")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("add()", "missing a required argument: 'a'"),
        ("add(1, 2, 3)", "too many positional arguments"),
        ("add(1, d=2)", "unexpected keyword argument 'd'"),
        ("add(1, a=2)", "multiple values for argument 'a'"),
        ("add(split(load()))", "gets all outputs of step `split` as input `a`"),
        ("add([split(load())])", "gets all outputs of step `split` as input `a`"),
        ("add(tell())", "gets the result of step `tell` as input `a`, which gives nothing"),
        ("add(unmapped(load()))", r"gets `unmapped\(...\)` as input `a`"),
        ("add(object())", "cannot be written into the compiled pipeline"),
        ("add({'x': [open]})", r"value\[\"x\"\]\[0\]"),
        ("add(1, after='load')", "`after=` of step `add` holds a `str`"),
        ("add(1, after=[flow])", "`after=` of step `add` holds a `Pipeline`"),
        ("add.map(1)", "cannot take items of argument `a`"),
        ("add.map('abc')", "cannot take items of argument `a`"),
        ("add.map(split(load()))", "cannot take items of argument `a`"),
        ("add.map(unmapped([1]))", "has nothing to map over"),
        ("flow()", "is called inside pipeline `flow`"),
    ],
)
def test_a_wrong_call_is_refused_where_it_stands(graph: Graph, body: str, told: str) -> None:
    with pytest.raises(DefinitionError, match=told) as caught:
        graph(body)
    assert "at `written_" in caught.value.why


def test_wrong_arguments_show_the_signature(graph: Graph) -> None:
    with pytest.raises(DefinitionError) as caught:
        graph("add(1, 2, 3)")
    assert "its signature is `add(a, b=1, *, c=0)`" in caught.value.why


def test_every_kind_of_parameter_is_recorded_by_name(project: Project) -> None:
    module = project.load(
        """
        @step
        def many(a, /, b, *rest, c=1, **more): ...
        @pipeline
        def flow():
            many(1, 2, 3, load(), d=4, c=5)
        """
    )
    assert project.compiled(module.flow).node("many").inputs == {
        "a": 1, "b": 2, "rest": {"$tuple": [3, output("load")]}, "c": 5, "d": 4,
    }  # fmt: skip


# Map


def test_a_mapped_step_takes_items_and_a_plain_one_all_of_them(graph: Graph) -> None:
    nodes = graph("values = load(); tell(add.map(add.map(values), b=[1, 2, 3], c=unmapped(load())))")
    assert nodes["load"].outputs[0].collection
    assert not nodes["load_2"].outputs[0].collection
    assert nodes["add"].map == ("a",)
    assert not nodes["add"].outputs[0].collection  # it is one by being mapped
    assert nodes["add_2"].map == ("a", "b")
    assert nodes["add_2"].inputs == {"a": output("add"), "b": [1, 2, 3], "c": output("load_2")}
    assert nodes["tell"].map == ()


def test_a_default_is_not_mapped_over_even_when_it_is_a_list(project: Project) -> None:
    module = project.load(
        """
        @step
        def join(x, names=["a", "b"], *, sep="-"):
            return (x, names, sep)
        @pipeline
        def flow():
            join.map([1, 2, 3])
        """
    )
    assert project.compiled(module.flow).node("join").map == ("x",)
    assert module.join.map([1, 2]) == [(1, ["a", "b"], "-"), (2, ["a", "b"], "-")]


@given(
    strategies.lists(strategies.integers()),
    strategies.integers(),
)
def test_map_outside_a_pipeline_is_a_loop(values: list[int], constant: int) -> None:
    found = plus.map(values, tilth.unmapped(constant))
    assert found == [each + constant for each in values]
    assert plus.map(iter(values), values) == [2 * each for each in values]


@tilth.step
def plus(a: int, b: int = 0) -> int:
    return a + b


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (([1, 2], [1]), "`a` has 2, `b` has 1"),
        (("abc",), "cannot take items of argument `a`"),
        (({"a": 1},), "cannot take items of argument `a`"),
        ((5,), "cannot take items of argument `a`"),
        ((tilth.unmapped([1]),), "has nothing to map over"),
        (([1], 2, 3), "too many positional arguments"),
    ],
)
def test_a_wrong_map_outside_a_pipeline_is_told_as_inside(args: tuple[Any, ...], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        plus.map(*args)


# Outside a pipeline


def test_a_step_outside_a_pipeline_is_the_plain_function() -> None:
    assert plus(1, b=2) == 3
    assert plus(1, after=object()) == 1
    assert plus.with_options(name="x", cache=False)(2, 3) == 5
    assert plus.__name__ == "plus"
    assert plus.__wrapped__ is plus.function
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        plus()  # type: ignore[call-arg]


@tilth.step
async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x


def test_an_async_step_outside_a_pipeline_is_a_coroutine_function() -> None:
    assert asyncio.run(later(3)) == 3


class Group:
    @staticmethod
    @tilth.step
    def grouped(x: int) -> int:
        return x + 1


def test_a_static_method_is_a_step(project: Project) -> None:
    assert Group.grouped(1) == 2
    module = project.load(
        """
        class Group:
            @staticmethod
            @step
            def inner(x): return x
        @pipeline
        def flow():
            tell(Group.inner(1)); Group().inner(2)
        """
    )
    compiled = project.compiled(module.flow)
    assert compiled.node("inner").function == f"{module.__name__}:Group.inner"
    assert compiled.node("inner_2").inputs == {"x": 2}


# Refused at decoration


def _local() -> Any:
    def inner() -> None: ...

    return inner


def _closing(value: int) -> Any:
    def inner() -> int:
        return value

    return inner


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


class Methods:
    def method(self, x: int) -> int:
        return x

    @classmethod
    def of_class(cls) -> None: ...

    @staticmethod
    def static(x: int) -> int:
        return x

    def __call__(self) -> None: ...


def waits(after: int) -> int:
    return after


@functools.wraps(waits)
def wrapped_waits(*args: Any, **kwargs: Any) -> int:
    return waits(*args, **kwargs)


REFUSED = [
    (Methods, "class `Methods` cannot be a step"),
    (Methods(), "it is a `Methods`"),
    (Methods.method, "method `Methods.method` cannot be a step: its `self`"),
    (Methods().method, "method `Methods.method` of an object"),
    (Methods.of_class, "method `Methods.of_class` of an object"),
    (Methods.__dict__["of_class"], "`@step` stands above `@classmethod`"),
    (Methods.__dict__["static"], "`@step` stands above `@staticmethod`"),
    (lambda x: x, "a lambda cannot be a step"),
    (_local(), "function `inner` inside another function cannot be a step"),
    (_closing(1), "function `inner` inside another function cannot be a step"),
    (generator, "generator function `generator` cannot be a step"),
    (async_generator, "generator function `async_generator` cannot be a step"),
    (functools.partial(plus, 1), "it is a `partial`"),
    (len, "`len` cannot be a step: it is a `builtin_function_or_method`"),
    (plus, "`plus` cannot be a step: it is a `Step`"),
    (waits, "step `waits` has a parameter named `after`"),
    (wrapped_waits, "step `waits` has a parameter named `after`"),
    ("name", r"`@step\('name'\)`: options are given by name"),
]


@pytest.mark.parametrize(("thing", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_cannot_be_a_step_is_refused_at_decoration(thing: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told) as caught:
        tilth.step(thing)
    assert caught.value.mend
    if callable(thing):
        with pytest.raises(DefinitionError, match=told):
            tilth.step(cache=False)(thing)


def test_a_closure_is_told_what_it_closes_over() -> None:
    with pytest.raises(DefinitionError) as caught:
        tilth.step(_closing(1))
    assert "it also closes over `value`" in caught.value.why


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("first = tell\n@step\ndef tell(): ...\n@pipeline\ndef flow(): first()", "is another step"),
        ("other = tell\ndel tell\n@pipeline\ndef flow(): other()", "does not exist"),
    ],
)
def test_a_step_whose_name_leads_elsewhere_is_refused(project: Project, text: str, told: str) -> None:
    with pytest.raises(DefinitionError, match=f"`tell` cannot be found by its name.*{told}"):
        project.compiled(project.load(text).flow)


def test_other_decorators_may_stand_above_and_below(project: Project) -> None:
    module = project.load(
        """
        import functools
        def timed(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs)
            return wrapper
        @step
        @timed
        def below(x, y=2): return x
        @timed
        @step
        def above(x): return x
        plain = step(name="made")(tell.function)
        @pipeline
        @timed
        def flow(a=1):
            above(below(a)); plain()
        """
    )
    nodes = {each.id: each for each in project.compiled(module.flow).nodes}
    assert nodes["below"].inputs == {"x": 1, "y": 2}
    assert nodes["above"].inputs == {"x": output("below")}
    assert nodes["made"].function == f"{module.__name__}:tell"


def test_an_unknown_option_is_refused_before_there_is_a_function() -> None:
    with pytest.raises(UnknownOption, match="`cahce` is no option of a step"):
        tilth.step(cahce=True)  # type: ignore[call-overload]
    with pytest.raises(UnknownOption):
        plus.with_options(retries=3)  # type: ignore[call-arg]
