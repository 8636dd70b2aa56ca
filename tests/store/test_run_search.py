"""What runs are found by that no index leads to, and what is counted of them, in both databases."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings, strategies as st

from tilth.errors import UnknownOption
from tilth.records import Run, State
from tilth.store import run_counts, run_search
from tilth.store.postgres import PostgresDatabase
from tilth.store.run_search import RunSearch, search
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase

BEGAN = datetime(2026, 3, 1, tzinfo=timezone.utc)
STATES = [State.COMPLETED, State.COMPLETED, State.FAILED, State.CANCELLED]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request, tmp_path):
    if request.param == "sqlite":
        database = SqliteDatabase(tmp_path / "tilth.db")
    else:
        database = PostgresDatabase(request.getfixturevalue("postgres_database"))
    with SqlStore(database, "here") as store:
        yield store


def make(store, number, **more):
    """A run that was made `number` hours after the first, and took as many seconds."""
    at = BEGAN + timedelta(hours=number)
    given = {
        "pipeline": f"flow-{number % 3}",
        "state": STATES[number % 4],
        "started_at": at,
        "finished_at": at + timedelta(seconds=number),
        "stack": ["", "cluster"][number % 2],
        "tags": ("nightly",) if number % 5 == 0 else (),
    } | more
    return store.start_run(Run(created_at=at, **given))


def everything(store, wanted, limit=7):
    found, after = [], ""
    while True:
        page = search(store, wanted, limit=limit, after=after)
        found += page.items
        if page.next is None:
            return [each.id for each in found]
        after = page.next


SEARCHES = [
    {},
    {"states": ["failed"]},
    {"states": ["failed", "cancelled"]},
    {"pipelines": ["flow-1"]},
    {"pipelines": ["flow-1", "flow-2"], "states": ["completed"]},
    {"name": "LOW-2"},
    {"name": "%"},
    {"tags": ["nightly"]},
    {"tags": ["nightly", "other"]},
    {"stacks": ["cluster"]},
    {"stacks": ["cluster", ""], "tags": ["nightly"]},
    {"since": BEGAN + timedelta(hours=10), "until": BEGAN + timedelta(hours=20)},
]


def is_meant(run, wanted):
    return (
        wanted.name.lower() in run.name
        and (not wanted.states or run.state.value in wanted.states)
        and (not wanted.pipelines or run.pipeline in wanted.pipelines)
        and (not wanted.stacks or run.stack in wanted.stacks)
        and set(wanted.tags) <= set(run.tags)
        and (wanted.since is None or run.created_at >= wanted.since)
        and (wanted.until is None or run.created_at < wanted.until)
    )


@pytest.mark.parametrize("order", ["-created_at", "created_at", "name", "-name", "duration", "-duration"])
@pytest.mark.parametrize("at_once", [4, 1000])
def test_every_search_finds_what_reading_all_would_find_in_its_order(store, monkeypatch, order, at_once):
    monkeypatch.setattr(run_search, "AT_ONCE", at_once)
    runs = [make(store, number) for number in range(40)]
    runs.append(make(store, 41, state=State.RUNNING, finished_at=None))
    SqlStore(store.database, "elsewhere").start_run(Run(pipeline="flow-1", tags=("nightly",)))
    keys = {
        "created_at": lambda run: (run.created_at, run.id),
        "name": lambda run: (run.pipeline, run.number),
        "duration": lambda run: (
            (run.finished_at - run.started_at).seconds if run.finished_at else -1,
            run.id,
        ),
    }
    for given_ in SEARCHES:
        wanted = RunSearch(**given_, order=order)
        meant = [each for each in runs if is_meant(each, wanted)]
        meant.sort(key=keys[order.removeprefix("-")], reverse=order.startswith("-"))
        assert everything(store, wanted) == [each.id for each in meant], given_


@settings(max_examples=30, deadline=None)
@given(tag=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8))
def test_any_tag_is_found_and_nothing_that_only_mentions_it(tmp_path_factory, tag):
    with SqlStore(SqliteDatabase(tmp_path_factory.mktemp("tags") / "tilth.db")) as store:
        tagged = make(store, 1, tags=("other", tag))
        make(store, 2, tags=(tag + "x",), metadata={"tags": [tag], tag: tag}, parameters={"tags": [tag]})
        assert everything(store, RunSearch(tags=[tag])) == [tagged.id]


def test_a_wrong_order_or_page_is_told(store):
    make(store, 1)
    with pytest.raises(UnknownOption, match="not ordered by `nmae`") as caught:
        search(store, RunSearch(order="nmae"), limit=1)
    assert "name" in caught.value.mend
    for after in ("x", '["a", "b"]', "[1]"):
        with pytest.raises(UnknownOption, match="not where a page ends"):
            search(store, RunSearch(), limit=1, after=after)


def test_runs_are_counted_by_day_and_timed(store):
    for number in range(48):
        make(store, number)
    spans = run_counts.spans(store, BEGAN, BEGAN + timedelta(days=2), width_s=86_400)
    assert [each.at for each in spans] == [BEGAN, BEGAN + timedelta(days=1)]
    assert [each.states for each in spans] == [{"completed": 12, "failed": 6, "cancelled": 6}] * 2
    assert spans[0].median_s == 9  # of 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21
    assert spans[0].slow_s == 21
    # Seen from a zone an hour ahead, the last hour of the first day is of the second.
    shifted = run_counts.spans(store, BEGAN, BEGAN + timedelta(days=2), width_s=86_400, shift_s=3600)
    assert [sum(each.states.values()) for each in shifted] == [23, 24, 1]
    assert shifted[1].at == BEGAN + timedelta(hours=23)
    (only,) = run_counts.spans(store, BEGAN, BEGAN + timedelta(hours=24), width_s=86_400, pipeline="flow-1")
    assert sum(only.states.values()) == 8


def test_pipelines_are_listed_by_name_with_their_counts_and_newest_runs(store):
    for number in range(12):
        make(store, number)
    assert run_counts.pipelines(store, after="", limit=2) == ["flow-0", "flow-1"]
    assert run_counts.pipelines(store, after="flow-1", limit=2) == ["flow-2"]
    assert run_counts.pipelines(SqlStore(store.database, "empty"), after="", limit=2) == []
    counts = run_counts.counts(store, ["flow-0", "flow-9"])
    assert counts == {"flow-0": {"completed": 2, "failed": 1, "cancelled": 1}, "flow-9": {}}
    newest = run_counts.newest(store, ["flow-0", "flow-9"], 2)
    assert [(each.state, each.seconds) for each in newest["flow-0"]] == [("completed", 9), ("failed", 6)]
    assert newest["flow-9"] == []


def test_what_ended_lately_is_found_however_long_it_ran(store):
    long = make(store, 0, state=State.FAILED, finished_at=BEGAN + timedelta(days=3))
    make(store, 1, state=State.FAILED)
    make(store, 70, state=State.COMPLETED)
    last = make(store, 71, state=State.FAILED, finished_at=BEGAN + timedelta(days=4))
    found = run_counts.ended_since(
        store, "failed", BEGAN + timedelta(days=2), began_after=BEGAN - timedelta(days=1), most=5
    )
    assert found == [last.id, long.id]
