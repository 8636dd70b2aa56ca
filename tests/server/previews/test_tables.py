"""Frames as tables, against pandas, which wrote them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tilth.materializers.pandas import FrameMaterializer, IndexMaterializer, SeriesMaterializer
from tilth.server.previews.cells import Unreadable
from tilth.server.previews.tables import FRAME, open_table


def saved(value, folder):
    kinds = {pd.DataFrame: FrameMaterializer, pd.Series: SeriesMaterializer}
    folder.mkdir()
    kinds.get(type(value), IndexMaterializer)().save(value, folder)
    return open_table(folder / FRAME)


FRAME_OF_ALL = pd.DataFrame(
    {
        "whole": [1, 2, 3],
        "real": [1.5, float("nan"), -0.25],
        "maybe": pd.array([1, None, 3], dtype="Int64"),
        "yes": [True, False, True],
        "word": ["a", "ü", None],
        "kind": pd.Categorical(["x", None, "y"]),
        "at": pd.to_datetime(["2026-01-01 00:00", None, "2026-03-01 12:00"]),
        "there": pd.to_datetime(["2026-01-01", None, "2026-03-01"]).tz_localize("Europe/Berlin"),
        "month": pd.PeriodIndex(["2026-01", "2026-02", None], freq="M"),
        "span": pd.arrays.IntervalArray.from_tuples([(0, 1), (1, 2), (2, 3)]),
        "list": [[1, 2], {"a": 1}, "text"],
        "any": [object, object, object],
    },
    index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["outer", None]),
)


def test_every_kind_of_column_is_shown(tmp_path):
    found = saved(FRAME_OF_ALL, tmp_path / "f").table(0, 100, 0, 100)
    assert (found.total_rows, found.total_columns, found.index_columns) == (3, 12, 2)
    assert [each.name for each in found.columns] == ["outer", "", *FRAME_OF_ALL.columns]
    assert {each.name: each.problem for each in found.columns if each.problem} == {
        "any": "it is pickled: reading it here would run code of its own"
    }
    columns = dict(zip([each.name for each in found.columns], zip(*found.rows, strict=True), strict=True))
    assert columns == {
        "outer": ("a", "a", "b"),
        "": (1, 2, 1),
        "whole": (1, 2, 3),
        "real": (1.5, "nan", -0.25),
        "maybe": (1, None, 3),
        "yes": (True, False, True),
        "word": ("a", "ü", None),
        "kind": ("x", None, "y"),
        "at": ("2026-01-01 00:00:00", None, "2026-03-01 12:00:00"),
        "there": ("2025-12-31 23:00:00", None, "2026-02-28 23:00:00"),
        "month": ("2026-01", "2026-02", None),
        "span": ("(0, 1]", "(1, 2]", "(2, 3]"),
        "list": ("[1, 2]", '{"a": 1}', "text"),
        "any": (None, None, None),
    }


def test_rows_and_columns_are_cut_where_they_are_asked_for(tmp_path):
    frame = pd.DataFrame(np.arange(3000).reshape(30, 100), columns=[f"c{n}" for n in range(100)])
    found = saved(frame, tmp_path / "f").table(10, 2, 97, 50)
    assert [each.name for each in found.columns] == ["", "c97", "c98", "c99"]
    assert found.rows == ((10, 1097, 1098, 1099), (11, 1197, 1198, 1199))


def test_columns_are_summed_up(tmp_path):
    found = {each.name: each for each in saved(FRAME_OF_ALL, tmp_path / "f").summaries(0, 100).items}
    assert (found["whole"].counts, found["whole"].mean) == ((1, 1, 1), 2.0)
    assert (found["real"].missing, found["real"].low, found["real"].high) == (1, "-0.25", "1.5")
    assert (found["maybe"].missing, found["maybe"].mean) == (1, 2.0)
    assert [(each.value, each.count) for each in found["yes"].top] == [("true", 2), ("false", 1)]
    assert (found["word"].distinct, found["word"].missing) == (2, 1)
    assert (found["at"].kind, found["at"].low, found["at"].high) == (
        "times",
        "2026-01-01 00:00:00",
        "2026-03-01 12:00:00",
    )
    assert (found["month"].low, found["month"].missing) == ("2026-01", 1)
    assert found["any"].problem


@pytest.mark.parametrize(
    "value", [pd.Series([1.0, 2.0], name="s"), pd.Index(["a", "b"], name="i"), pd.DataFrame()]
)
def test_series_indexes_and_nothing_are_tables_too(tmp_path, value):
    found = saved(value, tmp_path / "v").table(0, 10, 0, 10)
    assert found.total_rows == len(value)
    assert len(found.rows) == len(value)


def test_long_texts_are_cut(tmp_path):
    found = saved(pd.DataFrame({"t": ["ü" * 1_000_000, "b"]}), tmp_path / "f").table(0, 10, 0, 10)
    assert found.rows == ((0, "ü" * 299 + "…"), (1, "b"))


def test_one_torn_column_leaves_the_others(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [1.0, 2.0]})
    saved(frame, tmp_path / "f")
    schema = json.loads((tmp_path / "f" / FRAME).read_bytes())
    (tmp_path / "f" / schema["data"][0]["values"]).unlink()
    np.save(tmp_path / "f" / f"{schema['data'][1]['text']}.offsets.npy", np.array([0, 999, 2]))
    opened = open_table(tmp_path / "f" / FRAME)
    found = opened.table(0, 10, 0, 10)
    assert [bool(each.problem) for each in found.columns] == [False, True, True, False]
    assert found.rows == ((0, None, None, 1.0), (1, None, None, 2.0))
    assert [bool(each.problem) for each in opened.summaries(0, 10).items] == [True, True, False]


@pytest.mark.parametrize("name", ["../../secret.npy", "/etc/passwd", "", None, 3, ".hidden.npy"])
def test_no_frame_leads_to_a_file_elsewhere(tmp_path, name):
    np.save(tmp_path / "secret.npy", np.array([42]))
    folder = tmp_path / "a" / "f"
    (tmp_path / "a").mkdir()
    saved(pd.DataFrame({"a": [1]}), folder)
    schema = json.loads((folder / FRAME).read_bytes())
    schema["data"][0]["values"] = name
    (folder / FRAME).write_text(json.dumps(schema))
    found = open_table(folder / FRAME).table(0, 10, 0, 10)
    assert found.columns[1].problem
    assert found.rows == ((0, None),)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"kind": "frame"}', '{"kind": "index", "index": 3}', "[" * 9999]
)
def test_a_torn_schema_is_refused(tmp_path, text):
    (tmp_path / FRAME).write_text(text)
    with pytest.raises(Unreadable):
        open_table(tmp_path / FRAME)
