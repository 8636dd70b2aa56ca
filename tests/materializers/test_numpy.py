"""Arrays and scalars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

dtypes = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?")
    | hnp.complex_number_dtypes()
    | hnp.datetime64_dtypes()
    | hnp.timedelta64_dtypes()
    | hnp.byte_string_dtypes(max_len=5)
    | hnp.unicode_string_dtypes(max_len=5)
    | hnp.array_dtypes(hnp.scalar_dtypes(), max_size=3)
)
arrays = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))


def assert_same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert left.tobytes() == right.tobytes()


@given(arrays, st.booleans(), st.booleans())
def test_any_array_comes_back_bit_by_bit(round_trip: Any, array: Any, flipped: bool, strided: bool) -> None:
    if flipped:
        array = array.T
    if strided and array.ndim:
        array = array[::2]
    back = round_trip(array)
    assert_same(back, array)
    assert back.flags.f_contiguous >= (array.flags.f_contiguous and array.size > 0)
    assert not round_trip.manifest["pickled"]


@given(arrays.filter(lambda array: array.dtype.names is None))
def test_any_scalar_comes_back(round_trip: Any, array: Any) -> None:
    for scalar in list(array.reshape(-1)[:2]):
        back = round_trip(scalar)
        assert type(back) is type(scalar)
        assert back.dtype == scalar.dtype
        assert back.tobytes() == scalar.tobytes()


def test_large_arrays_are_mapped_and_may_be_changed_without_changing_the_artifact(round_trip: Any) -> None:
    array = np.arange(3_000_000, dtype=np.float64)
    for each in (array, array.reshape(1000, 3000).T, array.reshape(2, -1)[:, ::2].repeat(2, axis=1)):
        back = round_trip(each)
        assert np.array_equal(back, each)
        assert type(back) is np.ndarray
        base = back
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        assert type(base).__name__ == "mmap"
        back[:] = 0
        from tilth.materializers.artifacts import load_artifact, verify

        assert verify(round_trip.folder) == []
        assert np.array_equal(load_artifact(round_trip.folder), each)


def test_large_strided_arrays_are_written_without_a_copy_of_the_whole(round_trip: Any) -> None:
    array = np.arange(6_000_000, dtype=np.int64).reshape(3000, 2000)[::2, ::-1]
    assert np.array_equal(round_trip(array), array)


@pytest.mark.parametrize(
    "value",
    [
        np.array([{"a": 1}, None], dtype=object),
        np.array([(1, "a")], dtype=[("x", "i4"), ("y", object)]),
        np.ma.masked_array([1, 2], mask=[True, False]),
        np.array([[1, 2]]).view(np.recarray),
    ],
    ids=["objects", "fields", "masked", "records"],
)
def test_what_npy_cannot_hold_is_pickled(round_trip: Any, value: Any) -> None:
    back = round_trip(value)
    assert type(back) is type(value)
    assert str(back) == str(value)
    assert round_trip.manifest["pickled"]


def test_metadata_and_a_table_describe_an_array(round_trip: Any, tmp_path: Any) -> None:
    round_trip(np.array([[1.0, np.nan, 3.0]]), visualizations=tmp_path / "shown")
    assert round_trip.manifest["metadata"] == {"shape": [1, 3], "dtype": "float64"}
    shown = (tmp_path / "shown" / "array.html").read_text()
    assert "<th>mean</th><td>2</td>" in shown
