"""Whole graphs: what a pipeline may draw, and what its steps then get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.play import Played, Project

SHAPES = """
    from typing import Annotated

    from tilth import pipeline, step


    @step
    def one() -> int:
        return 1


    @step
    def two() -> int:
        return 2


    @step
    def halves(whole: list[int]) -> tuple[Annotated[list[int], "left"], Annotated[list[int], "right"]]:
        middle = len(whole) // 2
        return whole[:middle], whole[middle:]


    @step
    def nested(tree: dict, *, note: str = "none") -> dict:
        return {"tree": tree, "note": note}


    @step
    def places(first: int, /, second: int, *rest: int, third: int = 3, **named: int) -> list:
        return [first, second, list(rest), third, named]


    @step
    async def waits(value: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return value + 1


    @step
    def defaults(value: int, by: int = 10, names: tuple = ("a", "b")) -> list:
        return [value * by, list(names)]


    class Steps:
        @staticmethod
        @step
        def inside(value: int) -> int:
            return value * 100


    @pipeline
    def shapes(scale: int = 7):
        a, b = one(), two()
        nested({"list": [a, [b, {"deep": a}]], "literal": (1.5, None), "scale": scale}, note="given")
        both = halves([1, 2, 3, scale])
        places(a, b, a, b, third=b, extra=a)
        waits(b)
        defaults(a)
        defaults.with_options(name="renamed")(b, by=2)
        one()
        nested({"left": both.left, "right": both.right})
        Steps.inside(a)
"""


@pytest.fixture(scope="module")
def shapes(make_project: Callable[[str], Project]) -> tuple[Project, Played]:
    project = make_project(SHAPES)
    return project, project.run()


def test_every_step_of_a_graph_runs_once(shapes: tuple[Project, Played]) -> None:
    _, played = shapes
    assert played.run.state.value == "completed"
    assert set(played.states) == {
        "one", "two", "halves", "nested", "places", "waits", "defaults", "renamed", "one_2", "nested_2", "inside",
    }  # fmt: skip
    assert all(each.attempt == 1 for each in played.records)


def test_outputs_and_parameters_may_stand_anywhere_in_lists_and_dicts(shapes: tuple[Project, Played]) -> None:
    project, _ = shapes
    assert project.load("nested") == {
        "tree": {"list": [1, [2, {"deep": 1}]], "literal": (1.5, None), "scale": 7},
        "note": "given",
    }


def test_several_outputs_are_told_apart_by_name(shapes: tuple[Project, Played]) -> None:
    project, _played = shapes
    assert project.load("halves", "left") == [1, 2]
    assert project.load("halves", "right") == [3, 7]
    assert project.load("nested_2") == {"tree": {"left": [1, 2], "right": [3, 7]}, "note": "none"}


def test_arguments_reach_positional_only_variadic_and_keyword_parameters(
    shapes: tuple[Project, Played],
) -> None:
    assert shapes[0].load("places") == [1, 2, [1, 2], 2, {"extra": 1}]


def test_an_async_step_gives_what_it_returns(shapes: tuple[Project, Played]) -> None:
    assert shapes[0].load("waits") == 3


def test_defaults_are_inputs_unless_others_are_given(shapes: tuple[Project, Played]) -> None:
    project, played = shapes
    assert project.load("defaults") == [10, ["a", "b"]]
    assert project.load("renamed") == [4, ["a", "b"]]
    assert played.steps["defaults"].inputs["by"] == 10


def test_a_static_method_can_be_a_step(shapes: tuple[Project, Played]) -> None:
    assert shapes[0].load("inside") == 100


def test_two_calls_of_one_step_are_two_steps(shapes: tuple[Project, Played]) -> None:
    _, played = shapes
    assert played.steps["one"].outputs["output"].digest == played.steps["one_2"].outputs["output"].digest
    assert played.steps["one"].id != played.steps["one_2"].id


AFTER = """
    import time

    from tilth import pipeline, step


    @step
    def slow() -> int:
        time.sleep(0.2)
        note("slow")
        return 1


    @step
    def quiet() -> None:
        time.sleep(0.5)
        note("quiet")


    @step
    def last() -> None:
        note("last")


    def note(text):
        with open("calls", "a") as file:
            file.write(text + "\\n")


    @pipeline
    def with_output():
        last(after=slow())


    @pipeline
    def without_output():
        last(after=quiet())


    @pipeline
    def with_both():
        last(after=[slow(), quiet()])
"""


@pytest.mark.parametrize(
    ("pipeline", "order"),
    [
        ("with_output", [["slow"], ["last"]]),
        ("without_output", [["quiet"], ["last"]]),
        ("with_both", [["slow", "quiet"], ["last"]]),
    ],
)
def test_a_step_starts_after_those_it_is_told_to_wait_for(
    project: Project, pipeline: str, order: list[list[str]]
) -> None:
    project.write(AFTER)
    project.run(f"pipeline.py:{pipeline}", workers=4)
    *before, last = project.calls()
    assert set(before) == set(order[0])
    assert [last] == order[1]
