"""Parts of `.npy` files, against numpy, which wrote them."""

from __future__ import annotations

import math
import struct

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from tilth.server.previews.cells import Unreadable
from tilth.server.previews.npy import open_array
from tilth.server.previews.tables import open_table

PLAIN = (
    arrays.integer_dtypes(endianness="?")
    | arrays.unsigned_integer_dtypes(endianness="?")
    | arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | arrays.boolean_dtypes()
    | arrays.unicode_string_dtypes(endianness="?", min_len=1)
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)


def as_cell(value):
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) > 1 << 53:
        return str(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_part_of_an_array_is_what_numpy_gives(tmp_path_factory, data):
    array = data.draw(arrays.arrays(data.draw(PLAIN), data.draw(SHAPES)))
    if data.draw(st.booleans()):
        array = np.asfortranarray(array)
    path = tmp_path_factory.mktemp("npy") / "value.npy"
    np.save(path, array)
    rows = array.shape[0] if array.ndim else 1
    order = "F" if np.isfortran(array) else "C"
    matrix = array.reshape((rows, -1), order=order) if array.size else array.reshape((rows, 0))
    first_row = data.draw(st.integers(0, rows + 1))
    count = data.draw(st.integers(0, 8))
    first = data.draw(st.integers(0, matrix.shape[1] + 1))
    across = data.draw(st.integers(0, 8))
    found = open_table(path).table(first_row, count, first, across)
    if array.size:
        assert (found.total_rows, found.total_columns) == matrix.shape
    expected = matrix[first_row : first_row + count, first : first + across]
    if expected.shape[1]:
        cells = [[as_cell(each) for each in row] for row in expected]
        shown = [list(row) for row in found.rows]
        if array.dtype.kind == "f":  # shown with as many digits as tell it from its neighbours
            with np.errstate(over="ignore"):
                shown = [[as_cell(array.dtype.type(each)) for each in row] for row in shown]
        assert shown == cells


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("npy") / "value.npy"
    for before in (b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content))):
        path.write_bytes(before + content)
        with pytest.raises(Unreadable):
            open_table(path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1e3,)}",
        f"{{'descr': '<U0', 'fortran_order': False, 'shape': ({10**400},)}}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (0,)}",
        "{'descr': [('a', '<f8', (-3,)), ('b', '<f8', (3,))], 'fortran_order': False, 'shape': (0,)}",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (0,)}",
        "__import__('os').abort()",
        "(" * 5000,
        "-" * 9000 + "1",
        "[" * 150 + "]" * 150,
        "{'descr': " + "[('a', " * 60 + "'<f8'" + ")]" * 60 + ", 'fortran_order': False, 'shape': (1,)}",
    ],
)
def test_a_hostile_header_is_refused(tmp_path, header):
    path = tmp_path / "value.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    with pytest.raises(Unreadable):
        open_array(path)


def test_an_array_that_was_cut_off_says_so(tmp_path):
    path = tmp_path / "value.npy"
    np.save(path, np.arange(1000))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(Unreadable, match=r"has 8,120 bytes, and says that it has 8,128"):
        open_array(path)


def test_times_are_shown_as_people_write_them(tmp_path):
    path = tmp_path / "value.npy"
    np.save(path, np.array(["2026-11-26T10:00:00.5", "NaT", "1969-12-31"], "datetime64[ns]"))
    assert [row[0] for row in open_table(path).table(0, 9, 0, 9).rows] == [
        "2026-11-26 10:00:00.500000",
        None,
        "1969-12-31 00:00:00",
    ]
    np.save(path, np.array([90, -1], "timedelta64[s]"))
    assert [row[0] for row in open_table(path).table(0, 9, 0, 9).rows] == ["0:01:30", "-1 day, 23:59:59"]
    np.save(path, np.array(["2026-11", "1969-12"], "datetime64[M]"))
    assert [row[0] for row in open_table(path).table(0, 9, 0, 9).rows] == ["2026-11", "1969-12"]
    np.save(path, np.array([1], "datetime64[ns]"))
    assert open_table(path).table(0, 9, 0, 9).rows == (("1970-01-01 00:00:00.000000001",),)


def test_a_structured_array_has_its_fields_as_columns(tmp_path):
    path = tmp_path / "value.npy"
    kind = np.dtype([("a", "<i4"), ("b", "<U3"), ("c", "<f8", (2,))], align=True)
    array = np.zeros(3, kind)
    array["a"], array["b"] = [1, 2, 3], ["x", "yy", "zzz"]
    np.save(path, array)
    found = open_table(path).table(1, 9, 0, 9)
    assert [(each.name, bool(each.problem)) for each in found.columns] == [
        ("a", False),
        ("b", False),
        ("c", True),
    ]
    assert found.rows == ((2, "yy", None), (3, "zzz", None))


def test_a_long_array_is_looked_at_in_part(tmp_path):
    path = tmp_path / "value.npy"
    np.save(path, np.arange(1_000_000, dtype=np.float64))
    found = open_table(path).summaries(0, 9)
    assert found.total_rows == 1_000_000
    assert 15_000 < found.looked_at <= 20_000
    (column,) = found.items
    assert (column.low, column.high, column.missing) == ("0.0", "999999.0", 0)
    assert column.mean == pytest.approx(499_999.5, rel=0.01)
    assert sum(column.counts) == found.looked_at
    assert max(column.counts) < 2 * min(column.counts)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(width=64), min_size=1, max_size=50)
    | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1)
)
def test_a_summary_of_any_numbers_counts_each_once(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("npy") / "value.npy"
    np.save(path, np.array(values))
    (column,) = open_table(path).summaries(0, 1).items
    assert not column.problem
    assert column.missing + sum(column.counts) == len(values)
    assert len(column.edges) in (0, len(column.counts) + 1)
    assert list(column.edges) == sorted(column.edges)


def test_single_precision_is_shown_as_numpy_writes_it(tmp_path):
    path = tmp_path / "value.npy"
    array = np.array([0.1, 1 / 3, 1e-30, 3.4028235e38, 16777216], np.float32)
    np.save(path, array)
    assert [row[0] for row in open_table(path).table(0, 9, 0, 9).rows] == [float(str(each)) for each in array]


def test_items_of_megabytes_are_not_read_by_the_hundred(tmp_path):
    path = tmp_path / "value.npy"
    np.save(path, np.zeros(100, "U300000"))
    found = open_table(path)
    assert "1,200,000 bytes" in found.table(0, 100, 0, 1).columns[0].problem
    assert found.table(0, 10, 0, 1).rows == (("",),) * 10
    assert found.summaries(0, 1).items[0].problem
