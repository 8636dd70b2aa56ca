"""Frames, series and indexes: exactly what they were, whatever their dtypes and index."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings, strategies as st
from hypothesis.extra import numpy as hnp
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

from tilth.errors import OutputError

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
plain = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="=")
    | hnp.floating_dtypes(endianness="=", sizes=(32, 64))
)


KINDS = [
    *("numpy", "masked", "boolean", "str", "string", "object", "mixed"),
    *("category", "date", "zoned", "delta", "period", "interval"),
]


def array_of(draw: Any, rows: int) -> Any:
    """One column of any kind."""
    kind = draw(st.sampled_from(KINDS))

    def listed(items: Any) -> list[Any]:
        return list(draw(st.lists(items, min_size=rows, max_size=rows)))

    if kind == "numpy":
        return draw(hnp.arrays(draw(plain), rows))
    if kind == "masked":
        return pd.array(
            listed(st.integers(-5, 5) | st.none()), dtype=draw(st.sampled_from(["Int8", "Int64"]))
        )
    if kind == "boolean":
        return pd.array(listed(st.booleans() | st.none()), dtype="boolean")
    if kind in ("str", "string"):
        dtype = draw(
            st.sampled_from(
                [
                    "str",
                    "string",
                    pd.StringDtype("python"),
                    pd.StringDtype("python", na_value=np.nan),
                    pd.StringDtype("pyarrow"),
                ]
            )
        )
        return pd.array(listed(text | st.none()), dtype=dtype)
    if kind == "object":
        return np.array([*listed(text | st.sampled_from([None, float("nan"), pd.NA])), None], dtype=object)[
            :-1
        ]
    if kind == "mixed":
        return np.array([*listed(st.none() | st.integers() | text | st.floats()), None], dtype=object)[:-1]
    if kind == "category":
        categories = draw(
            st.lists(st.integers() | text, unique=True, max_size=4).filter(
                lambda items: len({type(item) for item in items}) < 2
            )
        )
        codes = listed(st.integers(-1, len(categories) - 1))
        dtype = pd.CategoricalDtype(
            pd.Index(categories, dtype=object if not categories else None), draw(st.booleans())
        )
        return pd.Categorical.from_codes(codes, dtype=dtype)
    whole = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 10**9)))
    unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
    if kind == "date":
        return pd.array(whole.astype(f"M8[{unit}]"))
    if kind == "zoned":
        zone = draw(st.sampled_from(["UTC", "Europe/Berlin", "+05:30"]))
        return pd.DatetimeIndex(whole.astype(f"M8[{unit}]")).tz_localize("UTC").tz_convert(zone).array
    if kind == "delta":
        return pd.array(whole.astype(f"m8[{unit}]"))
    if kind == "period":
        return pd.PeriodIndex.from_ordinals(
            whole % 1000, freq=draw(st.sampled_from(["D", "M", "Q-NOV", "h"]))
        ).array
    return pd.arrays.IntervalArray.from_arrays(
        whole * 1.0, whole + 1.5, closed=draw(st.sampled_from(["left", "both"]))
    )


def index_of(draw: Any, rows: int) -> Any:
    kind = draw(st.sampled_from(["range", "column", "multi", "dates"]))
    name = draw(st.none() | text | st.integers() | st.tuples(text, st.integers()))
    if kind == "range":
        start, step = draw(st.integers(-9, 9)), draw(st.sampled_from([-2, 1, 3]))
        return pd.RangeIndex(start, start + rows * step, step, name=name)
    if kind == "dates":
        frequency = draw(st.sampled_from(["D", "ME", "2h", "QS-FEB", "W-WED", "bme".upper()]))
        zone = draw(st.sampled_from([None, "Europe/Berlin"]))
        return pd.date_range("2020-01-05", periods=rows, freq=frequency, tz=zone, name=name)
    if kind == "multi":
        arrays = [array_of(draw, rows) for _ in range(2)]
        try:
            return pd.MultiIndex.from_arrays(
                [pd.Index(each, dtype=each.dtype) for each in arrays], names=[name, None]
            )
        except TypeError:  # pandas cannot sort some mixtures
            reject()
    array = array_of(draw, rows)
    return pd.Index(array, dtype=array.dtype, name=name)


@st.composite
def frames(draw: Any) -> Any:
    rows, width = draw(st.integers(0, 5)), draw(st.integers(0, 4))
    index = index_of(draw, rows)
    series = {}
    for position in range(width):
        array = array_of(draw, rows)
        series[position] = pd.Series(array, index=index, dtype=array.dtype)
    frame = pd.DataFrame(series, index=index)
    frame.columns = draw(
        st.just(frame.columns)
        | st.lists(text | st.integers(), min_size=width, max_size=width).map(
            lambda names: pd.Index(names, dtype=object)
        )
        | st.just(
            pd.MultiIndex.from_tuples([("a", each) for each in range(width)], names=["x", None])
            if width
            else frame.columns
        )
    )
    frame.attrs = draw(st.just({}) | st.dictionaries(text, st.integers(), max_size=1))
    return frame


@settings(deadline=None, max_examples=250)
@given(frames())
def test_any_frame_comes_back(round_trip: Any, frame: Any) -> None:
    back = round_trip(frame)
    assert_frame_equal(back, frame, check_exact=True, check_freq=True, check_column_type="exact")
    assert back.attrs == frame.attrs
    assert type(back.index) is type(frame.index)
    assert [repr(each) for each in back.dtypes] == [repr(each) for each in frame.dtypes]
    if not any(dtype.kind == "O" for dtype in [*frame.dtypes, *levels(frame.index), *levels(frame.columns)]):
        assert not round_trip.manifest["pickled"]


def levels(index: Any) -> list[Any]:
    return [each.dtype for each in index.levels] if isinstance(index, pd.MultiIndex) else [index.dtype]


@settings(deadline=None)
@given(st.data())
def test_any_series_and_index_comes_back(round_trip: Any, data: Any) -> None:
    rows = data.draw(st.integers(0, 4))
    index = index_of(data.draw, rows)
    back = round_trip(index)
    assert_index_equal(back, index, exact=True)
    assert getattr(back, "freq", None) == getattr(index, "freq", None)
    array = array_of(data.draw, rows)
    series = pd.Series(array, index=index, dtype=array.dtype, name=("a", 1))
    assert_series_equal(round_trip(series), series, check_exact=True, check_freq=True)


def test_columns_of_one_name_flags_and_attributes_come_back(round_trip: Any) -> None:
    frame = pd.DataFrame([[1, "a"], [2, "b"]], columns=["same", "same"])
    assert_frame_equal(round_trip(frame), frame)
    frame = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    frame.attrs["source"] = ("x", 1)
    back = round_trip(frame)
    assert back.flags.allows_duplicate_labels is False
    assert back.attrs == {"source": ("x", 1)}


def test_which_value_is_missing_in_a_column_of_objects_is_kept(round_trip: Any) -> None:
    column = pd.Series(["a", None, float("nan"), pd.NA, ""], dtype=object)
    back = round_trip(column)
    assert back[1] is None
    assert isinstance(back[2], float)
    assert back[3] is pd.NA
    assert not round_trip.manifest["pickled"]


@pytest.mark.parametrize("odd", ["plain", "é", "\ud800", None, pd.NA])
def test_many_texts_come_back_as_the_objects_they_were(round_trip: Any, odd: object) -> None:
    column = pd.Series([f"name{number}" for number in range(20_000)] + [odd], dtype=object)
    back = round_trip(column)
    assert set(map(type, back)) == set(map(type, column))
    assert back.tolist()[:-1] == column.tolist()[:-1]
    assert repr(back.iloc[-1]) == repr(odd)


def test_a_column_of_any_objects_is_pickled_and_the_rest_is_not(round_trip: Any) -> None:
    frame = pd.DataFrame({"number": [1.0, 2.0], "thing": [slice(1), slice(2)]})
    with pytest.raises(OutputError, match="lock"):
        round_trip(pd.DataFrame({"handle": [threading.Lock()]}))
    assert_frame_equal(round_trip(frame), frame)
    assert round_trip.manifest["pickled"]
    assert sum(name.endswith(".pickle") for name in round_trip.manifest["files"]) == 1


def test_a_subclass_of_a_frame_stays_one(round_trip: Any) -> None:
    back = round_trip(Special({"a": [1]}))
    assert type(back) is Special
    assert round_trip.manifest["format"] == "cloudpickle"


class Special(pd.DataFrame):
    pass


def test_other_dtypes_come_back(round_trip: Any) -> None:
    frame = pd.DataFrame(
        {
            "sparse": pd.arrays.SparseArray([0, 0, 1]),
            "arrow": pd.array([1, None, 3], dtype="int64[pyarrow]"),
            "complex": [1j, 2, 3],
        }
    )
    assert_frame_equal(round_trip(frame), frame)


def test_a_slice_of_text_stores_that_slice_alone(round_trip: Any) -> None:
    series = pd.Series([f"name{number}" for number in range(10_000)], dtype=pd.StringDtype("pyarrow"))
    part = series.iloc[5000:5003]
    assert_series_equal(round_trip(part), part)
    assert round_trip.manifest["size"] < 2000


def test_the_table_shows_the_first_rows_and_a_summary(round_trip: Any, tmp_path: Any) -> None:
    frame = pd.DataFrame({"n": range(300_000), "s": "<b>"})
    round_trip(frame, visualizations=tmp_path)
    shown = (tmp_path / "frame.html").read_text()
    assert "300,000 rows, 2 columns" in shown
    assert "&lt;b&gt;" in shown
    assert len(shown) < 20_000
    assert round_trip.manifest["metadata"] == {"rows": 300_000, "columns": {"n": "int64", "s": "str"}}
