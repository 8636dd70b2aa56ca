"""Classes of the project as parameters on a command line, down to their fields."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import pytest

import tilth
from tilth.errors import DefinitionError
from tilth.runtime.parameters import from_text


class Kind(enum.Enum):
    LINEAR = "linear"
    FOREST = "forest"


@dataclass
class Model:
    kind: Kind
    layers: tuple[int, ...] = ()


@dataclass
class Config:
    model: Model
    data: Path = Path("data")
    label: str = ""
    anything: Any = None
    others: dict[str, Model] = field(default_factory=dict)


class Loose(TypedDict):
    rate: float


class OldModel:
    """Reads its fields as pydantic 1 does: by name, with no `model_validate`."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    @classmethod
    def parse_obj(cls, given: dict[str, Any]) -> OldModel:
        return cls(**given)


def read(annotation: Any, text: str) -> Any:
    def flow(value: Any = None) -> None: ...

    flow.__qualname__ = "flow"
    flow.__annotations__["value"] = annotation
    return from_text(tilth.pipeline(flow), {"value": text})["value"]


def test_fields_become_what_their_annotations_ask_for() -> None:
    text = (
        '{"model": {"kind": "forest", "layers": [1, 2]}, "data": "x", "label": "3", "anything": "3",'
        ' "others": {"a": {"kind": "LINEAR"}}}'
    )
    assert read(Config, text) == Config(
        Model(Kind.FOREST, (1, 2)), Path("x"), "3", "3", {"a": Model(Kind.LINEAR)}
    )
    assert read(Config | None, '{"model": {"kind": "linear"}}') == Config(Model(Kind.LINEAR))


def test_a_field_of_another_type_is_refused_by_name() -> None:
    with pytest.raises(DefinitionError) as caught:
        read(Config, '{"model": {"kind": "tree"}}')
    assert str(caught.value).splitlines()[-3:] == [
        "  its `model` is to be `Model`",
        "  its `kind` is to be `Kind`",
        "  known: `FOREST`, `LINEAR`, `forest`, `linear`",
    ]


@pytest.mark.parametrize("text", ["3", "linear", "[1]"])
def test_what_is_no_instance_of_a_class_is_not_passed_on_for_one(text: str) -> None:
    with pytest.raises(DefinitionError, match="it is declared as `Config`"):
        read(Config, text)


def test_classes_that_read_their_fields_themselves_do_so() -> None:
    assert read(OldModel, '{"a": "7"}').fields == {"a": "7"}
    assert read(Loose, '{"rate": 1}') == {"rate": 1}
    assert read(tuple[int, Kind], '[1, "forest"]') == (1, Kind.FOREST)
