"""Literals, and containers that hold arrays, frames and models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given, strategies as st

from tilth.materializers import HTML
from tilth.materializers.artifacts import load_artifact

literals = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=8,
)


@dataclass
class Split:
    train: Any
    test: Any
    name: str = "split"


class Report(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    scores: dict[str, float]
    weights: np.ndarray  # type: ignore[type-arg]


@given(literals)
def test_literals_come_back_without_a_pickle(round_trip: Any, value: object) -> None:
    back = round_trip(value)
    assert back == value
    assert type(back) is type(value)
    assert not round_trip.manifest["pickled"]


def test_the_order_of_a_dictionary_is_kept(round_trip: Any) -> None:
    assert list(round_trip({"b": 1, "a": 2})) == ["b", "a"]


def test_containers_of_arrays_and_frames_come_back_without_a_pickle(round_trip: Any) -> None:
    frame = pd.DataFrame({"x": [1.5, 2.5]})
    back = round_trip({"a": np.arange(4), "b": [frame, 3, (np.float32(2.5), HTML("<b>"))]})
    assert np.array_equal(back["a"], np.arange(4))
    pd.testing.assert_frame_equal(back["b"][0], frame)
    assert back["b"][1:] == [3, (np.float32(2.5), "<b>")]
    assert type(back["b"][2][0]) is np.float32
    assert type(back["b"][2][1]) is HTML
    assert not round_trip.manifest["pickled"]
    assert round_trip.manifest["requires"].keys() == {"numpy", "pandas"}


def test_arrays_inside_dataclasses_and_models_come_back(round_trip: Any) -> None:
    back = round_trip(Split(np.ones(3), [np.zeros(2)]))
    assert isinstance(back, Split)
    assert np.array_equal(back.train, np.ones(3))
    report = round_trip(Report(scores={"auc": 0.5}, weights=np.eye(2)))
    assert isinstance(report, Report)
    assert np.array_equal(report.weights, np.eye(2))
    assert not round_trip.manifest["pickled"]


def test_one_array_held_twice_is_stored_once_and_is_one_array_again(round_trip: Any) -> None:
    array = np.arange(5)
    back = round_trip([array, {"again": array}])
    assert back[0] is back[1]["again"]
    assert [name for name in round_trip.manifest["files"] if name.endswith(".npy")] == ["parts/0/value.npy"]


def test_a_container_of_what_only_pickle_can_hold_is_pickled_as_a_whole(round_trip: Any) -> None:
    shared = [1]
    back = round_trip({"array": np.arange(3), "function": lambda: shared, "same": shared})
    assert back["function"]() == [1]
    assert back["function"]() is back["same"]
    assert round_trip.manifest["pickled"]
    assert list(round_trip.manifest["files"]) == ["value.pickle"]


def test_large_text_and_bytes_are_files_of_their_own(round_trip: Any) -> None:
    text = "é\ud800\r\n" * 50_000
    assert round_trip(text) == text
    assert list(round_trip.manifest["files"]) == ["value.txt"]
    assert round_trip(b"\0\xff" * 50_000) == b"\0\xff" * 50_000
    assert list(round_trip.manifest["files"]) == ["value.bin"]
    assert round_trip({"page": b"a" * 100_000})["page"] == b"a" * 100_000


@pytest.mark.parametrize(
    ("value", "metadata"), [(0.5, {"value": 0.5}), ([1, 2], {"length": 2}), (float("nan"), {}), (None, {})]
)
def test_metadata_says_what_is_cheap_to_know(round_trip: Any, value: object, metadata: object) -> None:
    round_trip(value)
    assert round_trip.manifest["metadata"] == metadata


def test_a_part_is_read_only_when_pickles_are_allowed(round_trip: Any) -> None:
    from sklearn.preprocessing import FunctionTransformer

    from tilth.errors import LoadError

    round_trip({"model": FunctionTransformer(lambda x: x)})
    assert round_trip.manifest["pickled"]
    with pytest.raises(LoadError, match="tilth artifacts get"):
        load_artifact(round_trip.folder, pickles=False)
