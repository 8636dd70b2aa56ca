"""The examples run as their readers would run them, and refuse what cannot work."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart"
FLOWERS = "petal;colour;kind\n" + "".join(
    f"{index}.5;{'red' if index % 3 else ''};{'rose' if index % 2 else 'tulip'}\n" for index in range(40)
)


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """The quickstart's own modules, imported as scripts in its folder import them."""
    names = ("table", "learn", "page")
    sys.path.insert(0, str(QUICKSTART))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(QUICKSTART))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def read(tmp_path: Path, modules: dict[str, ModuleType]) -> Callable[..., Any]:
    """Read a table from the text of a file."""

    def read(content: str | bytes, target: str = "") -> Any:
        file = tmp_path / "table.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return modules["table"].read(file, target)

    return read


def test_a_table_has_floats_and_text_without_gaps(read: Callable[..., Any]) -> None:
    rows, facts = read(FLOWERS)
    assert facts["target"] == "kind"
    assert facts["classes"] == {"rose": 20, "tulip": 20}
    assert facts["missing_values"] == 14
    assert list(rows["petal"][:2]) == [0.5, 1.5]
    assert list(rows["colour"][:2]) == ["(missing)", "red"]


def test_rows_without_a_label_are_left_out(read: Callable[..., Any]) -> None:
    rows, facts = read(FLOWERS + "9;red;\n")
    assert (len(rows), facts["rows_without_label"]) == (40, 1)


def test_whole_numbers_with_a_gap_stay_whole_labels(read: Callable[..., Any]) -> None:
    _, facts = read("size,kind\n" + "1,0\n2,1\n" * 5 + "3,\n")
    assert facts["classes"] == {"0": 5, "1": 5}


def test_names_and_empty_columns_are_left_out_with_the_reason(read: Callable[..., Any]) -> None:
    lines = [f"person {index},,{index % 7},{'yes' if index % 2 else 'no'}" for index in range(120)]
    rows, facts = read("name,nothing,size,bought\n" + "\n".join(lines))
    assert list(rows) == ["size", "(label)"]
    assert list(facts["left_out"]) == ["name", "nothing"]


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        ("", "", "`table.csv` is empty"),
        ("a,b\n", "", "a header and no rows"),
        ("a,b\n1,x\n2,y,3\n", "", "no CSV table"),
        (b"a,b\n\xff\xfe,\xff\n", "", "not UTF-8"),
        (FLOWERS, "kinds", "no column `kinds`; did you mean `kind`?"),
        (FLOWERS, "price", "no column `price`; it has `petal`, `colour`, `kind`"),
        ("a,b\n" + "1,x\n" * 9, "", "only the value `x`"),
        ("a,b\n1,\n2,\n", "", "`b` has no values"),
        ("a,b\n" + "1,x\n2,y\n" * 9 + "3,z\n", "", "class `z` of `b` has 1 row"),
        ("a,b\n" + "".join(f"1,{index}.25\n" for index in range(30)), "", "classes, not amounts"),
        ("a,b\n" + "".join(f"1,{index}\n" for index in range(99)), "", "99 different values in 99 rows"),
        ("b\n" + "x\ny\n" * 9, "", "no column is left to predict `b` from"),
        ("a,b\n" + ",x\n,y\n" * 9, "", "no column is left to predict `b` from: `a` is empty"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused_in_a_sentence(
    read: Callable[..., Any], content: str | bytes, target: str, message: str
) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*\Z") as caught:
        read(content, target)
    assert message in str(caught.value)


cells = st.sampled_from(
    ["", "0", "1", "2.5", "-3e9", "inf", "yes", "no", "2020-01-01", '"a;b"', "é", "True", "nan"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(cells, cells, st.sampled_from(["yes", "no", ""])), max_size=40),
    st.sampled_from(",;\t|"),
)
def test_any_table_is_refused_or_keeps_what_the_module_promises(
    read: Callable[..., Any], lines: list[tuple[str, ...]], separator: str
) -> None:
    text = "\n".join(separator.join(line) for line in [("a", "b", "label"), *lines])
    try:
        rows, facts = read(text)
    except ValueError:
        return
    labels = rows.pop("(label)")
    assert set(labels) == {"yes", "no"}
    assert len(rows) == facts["rows"]
    for name in rows:
        if pd.api.types.is_numeric_dtype(rows[name]):
            assert not np.isinf(rows[name]).any()
        else:
            assert all(isinstance(value, str) for value in rows[name])


def test_three_classes_and_odd_names_are_learned_and_scored(
    read: Callable[..., Any], modules: dict[str, ModuleType]
) -> None:
    table, learn = modules["table"], modules["learn"]
    kinds = ["<b>", "$x_1$", "plain"]
    lines = [f"{kinds.index(kind)}.{index % 3},{kind}" for index in range(20) for kind in kinds]
    rows, _ = read("$size$,kind\n" + "\n".join(lines))
    training, held_out = table.split(rows, test_share=0.25, seed=1)
    assert sorted(held_out["(label)"].unique()) == sorted(kinds)
    model = learn.fit(training, trees=10, seed=1)
    probabilities = {name: learn.predict(model, held_out) for name in ("one", "two")}
    comparison = learn.compare(held_out, probabilities)
    assert comparison["scores"]["one"]["accuracy"] == 1
    assert comparison["agreement"] == comparison["rows"] == 15
    assert learn.importance(model) == {"$size$": 1.0}
    json.dumps(comparison)


@pytest.mark.network
@pytest.mark.slow
def test_the_quickstart_trains_in_two_environments_and_the_second_run_is_all_cache(
    tilth: Callable[..., Any], tmp_path: Path
) -> None:
    tilth("run", QUICKSTART / "pipeline.py", timeout=1800)
    tilth("artifacts", "get", "report", "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.count("<svg") == 3
    assert "1.5." in text

    tilth("run", QUICKSTART / "pipeline.py")
    latest, first = tilth("runs", "list", "--json").json
    assert (first["state"], latest["state"]) == ("completed", "completed")
    steps = tilth("runs", "show", latest["name"], "--json").json["step_runs"]
    assert [step["state"] for step in steps] == ["cached"] * 6

    (tmp_path / "flowers.csv").write_text(FLOWERS)
    csv = ("--param", "csv=flowers.csv")
    tilth("run", QUICKSTART / "pipeline.py", *csv, "--param", "trees=5")
    wrong = tilth("run", QUICKSTART / "pipeline.py", *csv, "--param", "target=kinds", code=1)
    assert "did you mean `kind`?" in wrong.stderr + wrong.stdout
