"""Mapped steps: once for each item, whatever the items come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.engine import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.play import Played, Project

MAPS = """
    from typing import Annotated

    from tilth import get_step_context, pipeline, step, unmapped


    @step
    def numbers(count: int) -> list[int]:
        return list(range(count))


    @step
    def words(count: int) -> list[str]:
        return ["a" * each for each in range(count)]


    @step
    def pair(number: int, word: str, factor: int = 1) -> str:
        return f"{number * factor}{word}"


    @step
    def index_of(item: float) -> int:
        return get_step_context().index


    @step
    def split(number: int) -> tuple[Annotated[int, "tens"], Annotated[int, "ones"]]:
        return divmod(number, 10)


    @step
    def join(parts: list) -> list:
        return list(parts)


    @step
    def lengths(lists: list, table: dict) -> int:
        return len(lists) + sum(table.values())


    @step
    def lazily(parts: list) -> list:
        return [type(parts).__name__, len(parts), parts[1], [each for each in parts[1:]]]


    @pipeline
    def maps(count: int = 3):
        n, w = numbers(count), words(count)
        zipped = pair.map(n, w)
        join(zipped)
        join.with_options(name="chained")(pair.with_options(name="twice").map(n, zipped, factor=unmapped(5)))
        join.with_options(name="literal")(index_of.map([0.5, 1.5, 2.5]))
        join.with_options(name="ranged")(index_of.with_options(name="range").map(range(2)))
        both = split.map([12, 34])
        join.with_options(name="tens")(both.tens)
        join.with_options(name="ones")(both.ones)
        join.with_options(name="none")(pair.with_options(name="nothing").map(numbers(0), words(0)))
        lengths.map([[1], [2]], unmapped({"a": 1}))
        lazily(zipped)
"""


@pytest.fixture(scope="module")
def maps(make_project: Callable[[str], Project]) -> tuple[Project, Played]:
    project = make_project(MAPS)
    return project, project.run()


def test_items_are_taken_side_by_side(maps: tuple[Project, Played]) -> None:
    project, played = maps
    assert played.run.state.value == "completed"
    assert project.load("join") == ["0", "1a", "2aa"]


def test_a_map_over_a_map_takes_its_items(maps: tuple[Project, Played]) -> None:
    assert maps[0].load("chained") == ["00", "51a", "102aa"]


def test_a_literal_list_and_a_range_are_mapped_over(maps: tuple[Project, Played]) -> None:
    assert maps[0].load("literal") == [0, 1, 2]
    assert maps[0].load("ranged") == [0, 1]


def test_each_output_of_a_mapped_step_is_a_sequence(maps: tuple[Project, Played]) -> None:
    assert maps[0].load("tens") == [1, 3]
    assert maps[0].load("ones") == [2, 4]


def test_an_empty_list_gives_an_empty_sequence(maps: tuple[Project, Played]) -> None:
    project, played = maps
    assert project.load("none") == []
    assert played.states["nothing"] == "completed"
    assert played.items("nothing") == []


def test_a_reducing_step_gets_a_sequence_that_loads_what_is_looked_at(maps: tuple[Project, Played]) -> None:
    assert maps[0].load("lazily") == ["LazySequence", 3, "1a", ["1a", "2aa"]]


def test_each_item_has_a_record_with_its_index(maps: tuple[Project, Played]) -> None:
    _, played = maps
    assert [each.index for each in played.items("pair")] == [0, 1, 2]
    assert {each.state.value for each in played.items("pair")} == {"completed"}
    assert [
        each.items for each in played.told if isinstance(each, events.MapStarted) and each.step == "pair"
    ] == [3]


LENGTHS = """
    from tilth import pipeline, step


    @step
    def some(count: int) -> list[int]:
        return list(range(count))


    @step
    def add(a: int, b: int) -> int:
        return a + b


    @pipeline
    def unequal():
        add.map(some(2), some.with_options(name="more")(3))


    @pipeline
    def unequal_literals():
        add.map([1, 2], [1, 2, 3])
"""


@pytest.mark.parametrize("pipeline", ["unequal", "unequal_literals"])
def test_inputs_of_different_lengths_are_refused_with_both_lengths(project: Project, pipeline: str) -> None:
    project.write(LENGTHS)
    played = project.run(f"pipeline.py:{pipeline}")
    failure = played.steps["add"].failure
    assert failure is not None
    assert failure.reason == "input"
    assert "`a` has 2" in failure.message
    assert "`b` has 3" in failure.message
    assert played.items("add") == []


GROWING = """
    from tilth import pipeline, step


    @step
    def names(text: str) -> list[str]:
        return text.split(",")


    @step
    def shout(name: str) -> str:
        with open("calls", "a") as file:
            file.write(name + "\\n")
        if name == "bad":
            raise ValueError("no name: " + name)
        return name.upper()


    @step
    def join(names: list) -> str:
        return "".join(names)


    @pipeline
    def growing(text: str):
        join(shout.map(names(text)))
"""


def test_one_new_item_runs_one_item(project: Project) -> None:
    project.write(GROWING)
    project.run(text="a,b,c")
    (project.folder / "calls").unlink()
    played = project.run(text="a,b,c,d")
    assert project.calls() == ["d"]
    assert [each.state.value for each in played.items("shout")] == ["cached"] * 3 + ["completed"]
    assert project.load("join") == "ABCD"


def test_items_may_come_in_another_order_or_be_left_out(project: Project) -> None:
    project.write(GROWING)
    project.run(text="a,b,c")
    (project.folder / "calls").unlink()
    project.run(text="c,a")
    assert project.calls() == []
    assert project.load("join") == "CA"


def test_equal_items_run_once(project: Project) -> None:
    project.write(GROWING)
    project.run(text="x,y,x,x", workers=1)
    assert sorted(project.calls()) == ["x", "y"]
    assert project.load("join") == "XYXX"


def test_a_map_that_is_all_known_is_taken_as_a_whole(project: Project) -> None:
    project.write(GROWING)
    project.run(text="a,b")
    played = project.run(text="a,b")
    assert played.states == {"names": "cached", "shout": "cached", "join": "cached"}
    assert played.items("shout") == []


def test_the_failure_of_an_item_names_it_and_keeps_what_others_gave(project: Project) -> None:
    project.write(GROWING)
    played = project.run(text="a,bad,c", failure_mode="continue")
    assert played.run.state.value == "failed"
    assert [each.state.value for each in played.items("shout")] == ["completed", "failed", "completed"]
    assert played.states == {"names": "completed", "shout": "failed", "join": "skipped"}
    failure = played.steps["shout"].failure
    assert failure is not None
    assert failure.type == "ValueError"
    assert failure.message == "item 1: no name: bad"
    (project.folder / "calls").unlink()
    project.run(text="a,good,c")
    assert project.calls() == ["good"]
