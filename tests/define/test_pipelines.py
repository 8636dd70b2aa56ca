"""Pipelines as users write them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pytest

import tilth
from tilth.define import graph as graphs
from tilth.errors import DefinitionError, UnknownOption

Project = Any  # see conftest.py


@tilth.step
def work(x: int = 0) -> int:
    return x


@tilth.pipeline
def bare(x: int = 1) -> None:
    work(x)


@tilth.pipeline(name="called otherwise", cache=False)
def optioned() -> None:
    work()


def test_a_pipeline_is_called_after_its_function_or_its_option() -> None:
    assert bare.name == bare.__name__ == "bare"
    assert optioned.name == "called otherwise"
    other = optioned.with_options(name="third", retry=2)
    assert (other.name, other.options["cache"], other.options["retry"]) == ("third", False, tilth.Retry(2))
    assert optioned.name == "called otherwise"
    assert repr(other) == "<pipeline `third`>"


async def coroutine() -> None: ...


def positional(a: int, /) -> None: ...


def rest(*args: int) -> None: ...


def more(**kwargs: int) -> None: ...


REFUSED = [
    (coroutine, "`async def coroutine` cannot be a pipeline"),
    (positional, "takes parameters without a name of their own"),
    (rest, "takes parameters without a name of their own"),
    (more, "takes parameters without a name of their own"),
    (lambda: None, "a lambda cannot be a pipeline"),
    (functools.partial(positional, 1), "it is a `partial`"),
    (int, "class `int` cannot be a pipeline"),
    (work, "it is a `Step`"),
    ("name", r"`@pipeline\('name'\)`: options are given by name"),
]


@pytest.mark.parametrize(("thing", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_cannot_be_a_pipeline_is_refused_at_decoration(thing: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        tilth.pipeline(thing)


def test_a_step_s_option_is_none_of_a_pipeline() -> None:
    with pytest.raises(UnknownOption, match="`extra` is no option of a pipeline"):
        tilth.pipeline(extra={})  # type: ignore[call-overload]


def test_a_pipeline_is_not_called_where_steps_run() -> None:
    with graphs.phase("step"), pytest.raises(DefinitionError, match="pipeline `bare` is called in a step"):
        bare()
    with (
        graphs.phase("importing"),
        pytest.raises(DefinitionError, match="when its module is imported") as caught,
    ):
        bare()
    assert 'if __name__ == "__main__":\n        bare()' in caught.value.mend


def test_a_pipeline_called_by_an_imported_module_is_refused_in_every_process(project: Project) -> None:
    with pytest.raises(DefinitionError, match="pipeline `flow` is called when its module is imported"):
        project.load("\n@pipeline\ndef flow(): tell()\nflow()")


def test_a_function_that_both_pipelines_call_shares_their_steps(project: Project) -> None:
    module = project.load(
        """
        def common(x):
            return add(load(), x)
        @pipeline
        def one(): tell(common(1))
        @pipeline
        def two(): tell(common(2)); common(3)
        """
    )
    assert [each.id for each in project.compiled(module.one).nodes] == ["load", "add", "tell"]
    assert [each.id for each in project.compiled(module.two).nodes] == [
        "load",
        "add",
        "tell",
        "load_2",
        "add_2",
    ]


@dataclass
class Point:
    x: int


def test_parameters_are_bound_recorded_and_passed_on(project: Project) -> None:
    module = project.load("\n@pipeline\ndef flow(a, b=2, *, c=None): add(a, b, c=c)")
    compiled = project.compiled(module.flow, 1, c=Point(3))
    point = {"$dataclass": {"type": f"{__name__}:Point", "fields": {"x": 3}}}
    assert compiled.parameters == {"a": 1, "b": 2, "c": point}
    assert compiled.node("add").inputs == {"a": 1, "b": 2, "c": point}


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1,), {"bb": 1}, "has no parameter `bb`"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"b": object()}, "cannot be"),
    ],
)
def test_wrong_parameters_are_refused(project: Project, args: Any, kwargs: Any, told: str) -> None:
    module = project.load("\n@pipeline\ndef flow(a, b=2): add(a)")
    with pytest.raises(DefinitionError, match=told):
        project.compiled(module.flow, *args, **kwargs)


def test_a_pipeline_of_no_step_is_refused(project: Project) -> None:
    with pytest.raises(DefinitionError, match="pipeline `flow` calls no step"):
        project.compile("pass")
