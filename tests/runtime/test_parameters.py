"""Parameters written on a command line, as their annotations want them."""
# ruff: noqa: UP007, UP045 - both spellings are read

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given, strategies

import tilth
from tilth.errors import DefinitionError
from tilth.runtime.parameters import from_text


class Colour(enum.Enum):
    RED = "r"
    BLUE = 2


@dataclass
class Point:
    x: int
    y: float = 0.5


READ = [
    (int, "3", 3), (int, "-3", -3), (float, "3", 3.0), (float, "1e-3", 0.001), (float, "-inf", float("-inf")),
    (bool, "true", True), (bool, "False", False), (str, "3", "3"), (str, "null", "null"), (str, "", ""),
    (Path, "a/b.csv", Path("a/b.csv")), (list, "[1, 2]", [1, 2]), (dict, '{"a": 1}', {"a": 1}),
    (list[int], "[1]", [1]), (list[str], '["1"]', ["1"]), (list[Path], '["a"]', [Path("a")]),
    (tuple[int, ...], "[1, 2]", (1, 2)),
    (set[str], '["a", "a"]', {"a"}), (list[Colour], '["RED"]', [Colour.RED]), (dict[str, int], '{"a": 1}', {"a": 1}),
    (Optional[int], "None", None), (Optional[int], "3", 3), (Optional[str], "3", "3"), (Optional[str], "null", None),
    (Optional[Path], "None", None), (Optional[Path], "x", Path("x")),
    (Union[int, str], "3", 3), (Union[str, int], "3", 3),
    (Union[int, str], "x", "x"), (Union[float, list[int]], "[1]", [1]),
    (Annotated[int, "count"], "3", 3), (Literal["a", 1, None], "1", 1), (Literal["a", 1, None], "None", None),
    (Colour, "RED", Colour.RED), (Colour, "r", Colour.RED), (Colour, "2", Colour.BLUE),
    (datetime.date, "2026-03-01", datetime.date(2026, 3, 1)),
    (datetime.datetime, "2026-03-01T10:00:00", datetime.datetime(2026, 3, 1, 10)),  # noqa: DTZ001
    (datetime.time, "10:30", datetime.time(10, 30)), (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID("12345678123456781234567812345678")),
    (Point, '{"x": 1}', Point(1)), (Any, "3", 3), (Any, "x", "x"), (Any, "[1, null]", [1, None]), (object, "3", 3),
]  # fmt: skip
REFUSED = [
    (int, "3.5"), (int, "three"), (int, "true"), (int, ""), (float, "much"), (float, "true"), (bool, "1"),
    (bool, "yes"),
    (list, '{"a": 1}'), (list, "1"), (dict, "[]"), (list[int], '["x"]'), (list[int], "[1.5]"), (Optional[int], "x"),
    (Literal["a"], "b"), (Colour, "GREEN"), (datetime.date, "yesterday"), (uuid.UUID, "1"), (decimal.Decimal, "x"),
    (set, "[[1]]"), (int | None, "1.5"),
]  # fmt: skip


def flow_of(annotation: Any, default: Any = None) -> Any:
    def flow(value: Any = None) -> None: ...

    flow.__qualname__ = "flow"
    flow.__annotations__["value"] = annotation
    flow.__defaults__ = (default,)
    return tilth.pipeline(flow)


@pytest.mark.parametrize(
    ("annotation", "text", "value"), READ, ids=[f"{kind} {text}" for kind, text, _ in READ]
)
def test_text_is_read_as_the_annotation_asks(annotation: Any, text: str, value: Any) -> None:
    found = from_text(flow_of(annotation), {"value": text})["value"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("annotation", "text"), REFUSED, ids=[f"{kind} {text}" for kind, text in REFUSED])
def test_text_that_is_something_else_is_refused(annotation: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match="parameter `value` of pipeline `flow` is") as caught:
        from_text(flow_of(annotation), {"value": text})
    assert f"`{text}`" in caught.value.summary
    assert "it is declared as `" in caught.value.why


def test_what_a_class_of_the_project_refuses_is_told_in_its_words() -> None:
    with pytest.raises(DefinitionError, match=r"makes no `Point`: .*unexpected keyword argument 'z'"):
        from_text(flow_of(Point), {"value": '{"x": 1, "z": 2}'})


def test_pydantic_models_are_made_and_checked() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Settings(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        rate: float

    assert from_text(flow_of(Settings), {"value": '{"rate": "0.5"}'})["value"] == Settings(rate=0.5)
    with pytest.raises(DefinitionError, match="makes no"):
        from_text(flow_of(Settings), {"value": '{"rate": "x"}'})


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("int", "3", 3),
        ("Optional[Path]", "a", Path("a")),
        ("list[Colour]", '["BLUE"]', [Colour.BLUE]),
        ("'int'", "3", 3),
        ("OnlyForTypeCheckers", "3", 3),
        ("OnlyForTypeCheckers", "x", "x"),
    ],
)
def test_an_annotation_that_is_text_means_the_same(annotation: str, text: str, value: Any) -> None:
    assert from_text(flow_of(annotation), {"value": text}) == {"value": value}


def test_without_an_annotation_the_default_says_whether_it_is_text() -> None:
    empty = __import__("inspect").Parameter.empty
    assert from_text(flow_of(empty, default="x"), {"value": "3"}) == {"value": "3"}
    assert from_text(flow_of(empty, default=1), {"value": "3"}) == {"value": 3}
    assert from_text(flow_of(empty, default=1), {"value": "x y"}) == {"value": "x y"}


def test_a_name_that_is_no_parameter_is_left_to_the_call() -> None:
    assert from_text(flow_of(int), {"valeu": "3"}) == {"valeu": "3"}


@given(strategies.text())
def test_any_text_is_itself_where_text_is_wanted(text: str) -> None:
    assert from_text(flow_of(str), {"value": text}) == {"value": text}


@given(strategies.integers())
def test_any_whole_number_is_read(number: int) -> None:
    assert from_text(flow_of(int), {"value": str(number)}) == {"value": number}
    assert from_text(flow_of(Optional[int]), {"value": str(number)}) == {"value": number}


@given(strategies.text(), strategies.sampled_from([kind for kind, _, _ in READ]))
def test_no_text_breaks_the_reading(text: str, annotation: Any) -> None:
    try:
        from_text(flow_of(annotation), {"value": text})
    except DefinitionError:
        return
