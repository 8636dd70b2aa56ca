"""The canonical encoding: what comes back equals what went in, and its text is the same everywhere."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import OrderedDict, namedtuple
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import given, settings, strategies as st

from tilth.ir import values
from tilth.ir.values import Unencodable, canonical, decode, digest, encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # lone surrogates among them
    | st.binary()
    | st.complex_numbers()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc) | st.just(ZoneInfo("Europe/Berlin")))
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.fractions()
)
hashable = st.recursive(
    scalars.filter(lambda item: item == item),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
literals = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
    ),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    """Equal in type and value; NaN equals NaN, -0.0 is not 0.0, and the order of a dictionary counts."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.copysign(1, left) == math.copysign(1, right) and left == right) or (
            left != left and right != right
        )
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, (datetime, time)):
        return left.replace(tzinfo=None) == right.replace(tzinfo=None) and (
            left.tzinfo == right.tzinfo and left.fold == right.fold
        )
    return left == right


def through_text(value: object) -> object:
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


class Colour(Enum):
    RED = "r"
    BLUE = ("b", 1)


class Level(IntEnum):
    HIGH = 3


class Access(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: float
    y: float = 0.0
    seed: InitVar[int] = 0
    tags: list[str] = field(default_factory=list)
    norm: float = field(init=False, default=0.0)

    def __post_init__(self, seed: int) -> None:
        self.norm = math.hypot(self.x, self.y)

    @cached_property
    def doubled(self) -> float:
        return 2 * self.x


@dataclass(frozen=True)
class Frozen:
    inner: Point
    when: datetime | None = None


@dataclass(frozen=True, slots=True)
class Slotted:
    a: int
    b: str = "b"


@dataclass
class Strange(dict):  # type: ignore[type-arg]
    a: int = 1


Pair = namedtuple("Pair", "left right")


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    points: list[Slotted] = []
    _secret: int = pydantic.PrivateAttr(default=1)


class Outer(pydantic.BaseModel):
    model: Model
    at: datetime


class Number(float):
    pass


@settings(deadline=None)
@given(literals)
def test_what_comes_back_equals_what_went_in(value: object) -> None:
    assert same(through_text(value), value)


@settings(deadline=None)
@given(literals)
def test_the_text_is_the_same_whatever_the_order_of_sets_and_keys(value: object) -> None:
    assert canonical(encode(value)) == canonical(encode(through_text(value)))
    canonical(encode(value)).decode("ascii")


@pytest.mark.parametrize(
    "value",
    [
        Colour.RED,
        Colour.BLUE,
        Level.HIGH,
        Access.READ,
        Access.READ | Access.WRITE,
        Access(0),
        Point(3.0, 4.0, tags=["a"]),
        Frozen(Point(1.0), datetime(2024, 1, 1, tzinfo=timezone.utc)),
        Slotted(1),
        Pair(1, (2, {3})),
        Path("a/b"),
        PurePosixPath("a/b"),
        PureWindowsPath("c:\\a"),
        Path(os.fsdecode(b"not-\xff-utf8")),
        range(10**30, 0, -3),
        bytearray(b"ab"),
        {"$tuple": [1]},
        {"$tuple": 1, "b": 2},
        {1: "a", "1": "b", None: 0},
        10**5000,
        -(2**63),
        Decimal("1.10"),
        Fraction(10**30, 7),
        [-0.0, 0.0, math.inf, -math.inf, math.nan],
        "\ud800",
        datetime(2024, 10, 27, 2, 30, fold=1),  # noqa: DTZ001
        datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=7))),
        time(1, 2, 3, 4, tzinfo=timezone.utc),
        date(1, 1, 1),
        UUID(int=5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_literal_comes_back(value: object) -> None:
    assert same(through_text(value), value)


def test_the_name_of_a_fixed_time_zone_comes_back() -> None:
    back = through_text(datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")))
    assert isinstance(back, datetime)
    assert back.tzname() == "CET"


def test_a_dataclass_is_not_initialised_a_second_time() -> None:
    point = Point(3.0, 4.0)
    point.norm = -1.0
    assert point.doubled == 6.0
    back = through_text(point)
    assert back == point
    assert vars(back).keys() == {"x", "y", "tags", "norm"}


def test_a_pydantic_model_comes_back_with_extras_private_attributes_and_what_was_set() -> None:
    model = Model(name="a", points=[Slotted(1)], other=(1, 2))
    model._secret = 7
    back = through_text(Outer(model=model, at=datetime(2024, 1, 1)))  # noqa: DTZ001
    assert isinstance(back, Outer)
    assert back.model == model
    assert back.model._secret == 7
    assert back.model.model_fields_set == model.model_fields_set
    assert back.model.model_extra == {"other": (1, 2)}


def test_a_model_of_pydantic_1_comes_back() -> None:
    with pytest.MonkeyPatch.context() as patch:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            v1 = pytest.importorskip("pydantic.v1", exc_type=ImportError)
        if sys.version_info >= (3, 14):
            pytest.skip("pydantic 1 does not run there")

        class Old(v1.BaseModel):  # type: ignore[name-defined,misc]
            name: str
            sizes: tuple[int, ...] = ()

        Old.__qualname__ = "Old"
        patch.setattr(sys.modules[__name__], "Old", Old, raising=False)
        old = Old(name="a", sizes=(1, 2))
        back = through_text(old)
        assert back == old
        assert back.__fields_set__ == {"name", "sizes"}  # type: ignore[attr-defined]


def test_a_value_without_a_canonical_form_is_named_with_the_way_to_it() -> None:
    with pytest.raises(Unencodable) as caught:
        encode({"a": [1, 2, 3, (0, Frozen(Point(1.0, tags=object())))]})  # type: ignore[arg-type]
    assert caught.value.path == '["a"][3][1].inner.tags'
    assert str(caught.value).startswith('`value["a"][3][1].inner.tags` is of type `builtins:object`')


def test_subclasses_of_plain_types_are_refused() -> None:
    import numpy as np

    class Local(Enum):
        A = 1

    beyond = Point(1.0)
    beyond.more = 1  # type: ignore[attr-defined]
    for value in (Number(1), np.float64(1), np.int64(1), OrderedDict(a=1), Strange(), Local.A, beyond):
        with pytest.raises(Unencodable):
            encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(Unencodable, match="contains itself"):
        encode(value)


def test_references_take_the_place_of_values_anywhere_and_come_back() -> None:
    class Output:
        pass

    output = Output()
    encoded = encode(
        {"a": [output, {output}], "b": Pair(output, 1)},
        reference=lambda value: {"$output": ["step", 0]} if isinstance(value, Output) else None,
    )
    assert encoded["a"][0] == {"$output": ["step", 0]}
    seen = []

    def reference(tag: str, payload: object) -> object:
        seen.append((tag, payload))
        return output

    assert decode(encoded, reference=reference) == {"a": [output, {output}], "b": Pair(output, 1)}
    assert seen == [("$output", ["step", 0])] * 3


def test_an_unknown_tag_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\$output"):
        decode({"$output": []})


def test_types_of_a_script_are_written_under_its_canonical_name(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "from dataclasses import dataclass\n"
        "from tilth.ir import values\n"
        "@dataclass\n"
        "class Point:\n    x: int\n"
        "if __name__ == '__main__':\n"
        "    values.canonical_module = lambda name: 'train' if name == '__main__' else name\n"
        "    encoded = values.encode(Point(1))\n"
        "    assert values.decode(encoded) == Point(1)\n"
        "    print(values.canonical(encoded).decode())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"$dataclass": {"type": "train:Point", "fields": {"x": 1}}}


def test_the_digest_is_equal_in_every_process_and_does_not_change() -> None:
    code = "from tilth.ir.values import *; print(digest(encode({'b': {'x', 'y', 'z'}, 'a': (1.5, None)})))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in (1, 2)
    }
    assert found == {digest(encode({"a": (1.5, None), "b": {"z", "y", "x"}}))}
    assert found == {
        "sha256:"
        + __import__("hashlib").sha256(b'{"a":{"$tuple":[1.5,null]},"b":{"$set":["x","y","z"]}}').hexdigest()
    }


def test_importing_it_loads_neither_typing_nor_inspect_nor_dataclasses() -> None:
    code = (
        "import sys; before = set(sys.modules); import tilth.ir.values; "
        "print(*sorted({'typing', 'inspect', 'dataclasses', 'datetime'} & (set(sys.modules) - before)))"
    )
    source = str(Path(values.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    assert "inspect" not in loaded
    assert "dataclasses" not in loaded
    assert "datetime" not in loaded


def test_unique_identifiers_stay_unique() -> None:
    first, second = uuid4(), uuid4()
    assert digest(encode(first)) != digest(encode(second))
