from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from tilth import pipeline
from tilth.runtime.parameters import as_text, declared, is_one


class Mode(enum.Enum):
    FAST = "quick"
    SLOW = "careful"


@pipeline
def plain(
    rows: int,
    rate: Annotated[float, "of learning"] = 0.1,
    name="x",
    flag: bool = False,
    names: list[str] = ["a"],  # noqa: B006
    mode: Mode = Mode.FAST,
    how: Literal["a", "b", 3] = "a",
    where: Path = Path("x"),
    some: int | None = None,
    anything: Any = None,
):
    pass


TOLD = declared(plain)


def test_it_is_told_as_json():
    assert json.loads(json.dumps(TOLD)) == TOLD
    assert TOLD["rows"] == {"type": "int", "kind": "int", "required": True}
    assert TOLD["rate"]["kind"] == "float"
    assert TOLD["name"] == {"type": "str", "kind": "str", "required": False, "default": "x"}
    assert TOLD["mode"]["choices"] == ["quick", "careful", "FAST", "SLOW"]
    assert "default" not in TOLD["where"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", 3), ("rows", "3"), ("rate", 1), ("rate", "1e-3"), ("rate", "inf"), ("name", "7"), ("flag", True),
        ("flag", "True"), ("names", ["a"]), ("names", '["a"]'), ("mode", "FAST"), ("mode", "quick"), ("how", 3),
        ("where", "/tmp"), ("some", None), ("some", 3), ("anything", {"a": [1]}),
    ],
)  # fmt: skip
def test_what_may_be_given(name, value):
    assert is_one(value, TOLD[name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", "x"), ("rows", 1.5), ("rows", None), ("rows", True), ("rows", [1]), ("rate", "fast"), ("flag", 1),
        ("flag", "maybe"), ("names", "a"), ("names", {"a": 1}), ("mode", "fast"), ("how", "c"),
    ],
)  # fmt: skip
def test_what_may_not(name, value):
    assert not is_one(value, TOLD[name])


def test_a_value_is_written_as_on_a_command_line():
    assert [as_text(each) for each in ("a", 1, True, None, [1, "b"])] == [
        "a",
        "1",
        "true",
        "null",
        '[1, "b"]',
    ]
