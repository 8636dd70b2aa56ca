from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from tilth.records import Record, Run, State, StepRun
from tilth.store import schema


def test_marked_fields_become_columns_and_the_rest_does_not():
    names = {column.name: (column.type, column.nullable) for column in schema.columns(StepRun)}
    assert names["run"] == ("TEXT", False)
    assert names["index"] == ("INTEGER", True)
    assert names["created_at"] == ("INTEGER", False)
    assert "outputs" not in names


def test_unique_fields_are_unique():
    assert 'CREATE UNIQUE INDEX "run_by_name" ON "run" ("space", "name")' in schema.statements(Run)


@given(
    st.lists(
        st.datetimes(timezones=st.just(timezone.utc))
        | st.datetimes(timezones=st.just(timezone(timedelta(hours=5)))),
        min_size=2,
    )
)
def test_times_sort_as_their_columns_do(times):
    assert sorted(times) == sorted(times, key=schema.sql_value)


def test_a_time_without_a_zone_is_a_bug():
    with pytest.raises(TypeError):
        schema.sql_value(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_state_is_its_text():
    assert schema.sql_value(State.FAILED) == "failed"
    assert type(schema.sql_value(State.FAILED)) is str


def test_what_no_column_holds_is_refused():
    with pytest.raises(TypeError, match="list"):
        schema.sql_value([])


def test_every_kind_shares_the_columns_of_a_record():
    shared = {column.name for column in schema.columns(Record)}
    assert shared == {"id", "created_at", "revision"}
