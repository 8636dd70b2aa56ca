from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from tilth.cli.tables import pairs, table, to_json

CELLS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.one_of(st.none(), st.integers(), st.text(max_size=12))
)

PRINTED = st.characters(min_codepoint=32, max_codepoint=126)


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [{"name": "x", "n": 1}, {"name": "longer", "n": 22}]
    assert table(["name", "n"], rows).splitlines()[1:] == ["x       1", "longer  22"]


def test_wide_and_combining_letters_take_the_columns_that_a_terminal_gives_them() -> None:
    rows = [{"name": "多い", "n": 1}, {"name": "e\u0301t", "n": 2}, {"name": "größe", "n": 3}]
    assert table(["name", "n"], rows).splitlines()[1:] == ["多い   1", "e\u0301t     2", "größe  3"]


def test_a_long_name_leaves_room_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    rows = [{"step": f"train_{'a' * 40}_{n}", "plan": "run", "why": "it has not run before"} for n in (1, 2)]
    assert table(["step", "plan", "why"], rows).splitlines()[1:] == [
        "train_aaaa…aaaaaaa_1  run   it has not …",
        "train_aaaa…aaaaaaa_2  run   it has not …",
    ]


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.text(PRINTED, max_size=50)), max_size=3),
    st.integers(10, 60),
)
def test_no_line_is_wider_than_its_terminal(rows: list[dict[str, object]], columns: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = table(["a", "b", "c"], rows).split("\n")[1:]
    assert all(len(line) <= columns for line in lines)


def test_an_empty_column_is_left_out() -> None:
    assert table(["name", "tags"], [{"name": "x", "tags": ""}]).splitlines()[1:] == ["x"]


@given(st.lists(CELLS, max_size=5))
def test_a_table_has_one_line_for_each_row(rows: list[dict[str, object]]) -> None:
    lines = table(["a", "b", "c"], rows).split("\n")
    assert len(lines) == 1 + len(rows)
    assert all(line == line.rstrip() for line in lines[1:])


def test_lines_of_a_value_are_aligned() -> None:
    assert pairs({"a": "1", "empty": "", "long": "2\n3"}) == "  a     1\n  long  2\n        3"


def test_a_name_that_is_not_utf8_can_be_printed_as_json() -> None:
    assert json.loads(to_json(["caf\udce9"])) == ["caf\udce9"]
    assert to_json(["caf\udce9"]).isascii()
