"""What a person types, and the records it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tilth.client.lookup import Reference, find_step_run, parse_reference
from tilth.errors import NotFound
from tilth.home import Home
from tilth.records import Run, State, StepRun
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tilth.store.sql import SqlStore


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("churn-3", Reference("churn-3")),
        ("churn-3/train", Reference("churn-3", "train")),
        ("churn-3/train_2", Reference("churn-3", "train_2")),
        ("churn-3/score[0]", Reference("churn-3", "score", 0)),
        ("01900000/score[12]", Reference("01900000", "score", 12)),
    ],
)
def test_a_run_a_step_and_an_item_are_named_in_one_notation(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    ["", "/train", "churn-3/", "churn-3[2]", "churn-3/score[]", "churn-3/score[-1]", "a/b/c", "a/b[1]c"],
)
def test_what_is_no_such_name_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(NotFound, match=r"RUN/STEP\[3\]"):
        parse_reference(text)


@pytest.fixture
def store(home: Path) -> Iterator[SqlStore]:
    with open_store(Home(home)) as opened:
        yield opened


@pytest.fixture
def run(store: SqlStore) -> Run:
    return store.start_run(Run(pipeline="churn"))


def put(store: SqlStore, run: Run, step: str, **more: Any) -> StepRun:
    record = StepRun(run=run.id, step=step, pipeline="churn", **more)
    store.write([Put(record)])
    return record


def test_of_several_attempts_the_last_one_of_the_last_driver_counts(store: SqlStore, run: Run) -> None:
    put(store, run, "train", attempt=3)
    last = put(store, run, "train", attempt=2, fence=2)
    put(store, run, "train", attempt=1, fence=2)
    put(store, run, "train", attempt=9, fence=9, index=0)
    assert find_step_run(store, run, "train") == last


def test_an_item_is_found_by_its_number(store: SqlStore, run: Run) -> None:
    put(store, run, "score")
    items = [put(store, run, "score", index=index) for index in range(3)]
    assert find_step_run(store, run, "score", 2) == items[2]
    with pytest.raises(NotFound, match="has no item 3") as refused:
        find_step_run(store, run, "score", 3)
    assert refused.value.mend == "it has items 0 to 2"


def test_a_misspelt_step_names_the_nearest(store: SqlStore, run: Run) -> None:
    put(store, run, "train")
    with pytest.raises(NotFound, match="has reached no step `trian`") as refused:
        find_step_run(store, run, "trian")
    assert refused.value.mend == "did you mean `train`?"


def test_a_step_of_another_run_is_not_taken(store: SqlStore, run: Run) -> None:
    put(store, store.start_run(Run(pipeline="churn")), "train")
    with pytest.raises(NotFound):
        find_step_run(store, run, "train")


def test_a_step_that_is_not_mapped_has_no_items(store: SqlStore, run: Run) -> None:
    put(store, run, "train")
    with pytest.raises(NotFound) as refused:
        find_step_run(store, run, "train", 0)
    assert refused.value.mend == "it is not mapped; leave out the number: `churn-1/train`"


def test_a_mapped_step_that_was_reused_names_the_run_that_has_its_items(store: SqlStore, run: Run) -> None:
    before = put(store, run, "score")
    put(store, run, "score", index=0)
    again = store.start_run(Run(pipeline="churn"))
    put(store, again, "score", state=State.CACHED, reused_from=before.id)
    with pytest.raises(NotFound) as refused:
        find_step_run(store, again, "score", 0)
    assert refused.value.mend == "it was reused as a whole; its items are those of `churn-1/score`"


def test_a_mapped_step_of_an_interrupted_run_has_only_items(store: SqlStore, run: Run) -> None:
    put(store, run, "score", index=0)
    with pytest.raises(NotFound, match="has no end yet") as refused:
        find_step_run(store, run, "score")
    assert "`churn-1/score[0]`" in refused.value.mend
    assert find_step_run(store, run, "score", 0).index == 0
