"""Outputs that are mapped over: every item by itself, and the whole again."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from tilth.errors import LoadError, OutputError
from tilth.materializers.artifacts import (
    LazySequence,
    collection_items,
    load_artifact,
    load_item,
    save_artifact,
)

if TYPE_CHECKING:
    from pathlib import Path

items = st.lists(
    st.none()
    | st.integers()
    | st.text()
    | st.lists(st.floats(allow_nan=False))
    | st.integers(0, 3).map(lambda n: np.arange(n).tobytes() * 40_000)
    | st.binary(max_size=3).map(lambda raw: (raw, {1}))
)


@given(items)
def test_any_list_comes_back_whole_and_item_by_item(round_trip: Any, value: list[object]) -> None:
    assert round_trip(value, collection=True) == value
    folder = round_trip.folder
    assert round_trip.manifest["length"] == len(value)
    assert list(LazySequence(folder)) == value
    listed = collection_items(folder)
    for index, item in enumerate(value):
        round_trip(item)
        assert listed[index] == (round_trip.manifest["digest"], index)


def test_mixed_items_have_the_digest_they_would_have_alone(round_trip: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    values = [
        1,
        np.arange(3),
        np.arange(30_000),
        pd.DataFrame({"a": [1]}),
        {"x": np.ones(2)},
        tmp_path / "file",
    ]
    round_trip(values, collection=True)
    folder, listed = round_trip.folder, collection_items(round_trip.folder)
    assert not round_trip.manifest["pickled"]
    for index, value in enumerate(values):
        round_trip(value)
        assert listed[index].digest == round_trip.manifest["digest"], value
    assert np.array_equal(load_item(folder, 1), np.arange(3))
    assert np.array_equal(load_item(folder, 2), np.arange(30_000))
    assert load_item(folder, 3).equals(pd.DataFrame({"a": [1]}))
    assert np.array_equal(load_item(folder, 4)["x"], np.ones(2))
    assert load_item(folder, 5).read_text() == "text"
    assert sorted(path.name for path in (folder / "items").iterdir()) == ["2", "5"]


@pytest.mark.parametrize(
    "value",
    [
        (1, "a"),
        range(3, 30, 4),
        np.arange(12).reshape(4, 3),
        np.asfortranarray(np.arange(12.0).reshape(4, 3)),
        np.zeros((0, 3), dtype="f4"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2020", "NaT"], dtype="M8[D]"),
        pd.Series([1, None], index=["a", "b"], dtype="Int64", name="n"),
        pd.Series(["a", "b"], dtype="category"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_whole_is_what_it_was(round_trip: Any, value: Any) -> None:
    back = round_trip(value, collection=True)
    assert type(back) is type(value)
    if isinstance(value, np.ndarray):
        assert (back.dtype, back.shape, back.flags.f_contiguous) == (
            value.dtype,
            value.shape,
            value.flags.f_contiguous,
        )
        assert back.tobytes() == value.tobytes()
    elif isinstance(value, pd.Series):
        pd.testing.assert_series_equal(back, value)
    else:
        assert back == value
    assert round_trip.manifest["length"] == len(value)


def test_an_iterator_is_written_item_by_item(round_trip: Any) -> None:
    assert round_trip((number * number for number in range(3)), collection=True) == [0, 1, 4]


@pytest.mark.parametrize("value", [3, "text", b"text", {"a": 1}, {1, 2}, None, np.array(3)])
def test_what_has_no_order_cannot_be_mapped_over(round_trip: Any, value: object) -> None:
    with pytest.raises(OutputError, match="mapped over"):
        round_trip(value, collection=True)


def test_an_item_that_cannot_be_saved_is_named(round_trip: Any) -> None:
    with pytest.raises(OutputError, match="item 2"):
        round_trip([1, 2, threading.Lock()], collection=True)


def test_one_item_is_loaded_without_reading_the_others(round_trip: Any) -> None:
    round_trip([np.arange(20_000), np.ones(20_000), "small"], collection=True)
    shutil.rmtree(round_trip.folder / "items" / "0")
    assert load_item(round_trip.folder, 1).sum() == 20_000
    assert load_item(round_trip.folder, 2) == "small"


def test_a_lazy_sequence_can_be_sliced_and_joined_from_several_artifacts(round_trip: Any) -> None:
    round_trip(list(range(10)), collection=True)
    many = round_trip.folder
    lazy = LazySequence(many)
    assert len(lazy) == 10
    assert lazy[-1] == 9
    assert isinstance(lazy[2:8:3], LazySequence)
    assert list(lazy[2:8:3]) == [2, 5]
    assert list(reversed(lazy)) == list(range(9, -1, -1))
    with pytest.raises(IndexError):
        lazy[10]
    round_trip("alone")
    assert list(LazySequence([(many, 4), round_trip.folder])) == [4, "alone"]


def test_pickled_items_are_refused_where_pickles_are(round_trip: Any) -> None:
    round_trip([1, lambda: 2], collection=True)
    assert round_trip.manifest["pickled"]
    assert load_item(round_trip.folder, 0, pickles=False) == 1
    assert load_item(round_trip.folder, 1)() == 2
    for read in (load_item, lambda folder, _, pickles: load_artifact(folder, pickles=pickles)):
        with pytest.raises(LoadError):
            read(round_trip.folder, 1, pickles=False)


def test_a_torn_collection_is_a_load_error(round_trip: Any) -> None:
    round_trip([1, 2, 3], collection=True)
    (round_trip.folder / "packed.bin").write_bytes(b"1")
    with pytest.raises(LoadError, match="incomplete"):
        load_item(round_trip.folder, 2)


def test_the_digest_is_that_of_the_items(round_trip: Any, tmp_path: Path) -> None:
    digests = []
    for value in ([1, np.ones(2)], [1, np.ones(2)], [1, np.ones(3)]):
        round_trip(value, collection=True)
        digests.append(round_trip.manifest["digest"])
    assert digests[0] == digests[1] != digests[2]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = save_artifact([], tmp_path / "a", collection=True)
    second = save_artifact((), tmp_path / "b", collection=True)
    assert first["digest"] != second["digest"]
