"""What every `Store` must keep. Inherit, give `make_store`, and pytest finds the promises as tests.

class TestSqlStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path): ...
"""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tilth.errors import Conflict, NotFound, UnknownOption
from tilth.records import (
    KINDS,
    Artifact,
    Build,
    BuiltLayer,
    ClientEnvironment,
    Component,
    Environment,
    Failure,
    OutputRef,
    Package,
    Project,
    Record,
    Run,
    Snapshot,
    Stack,
    State,
    StepRun,
)
from tilth.store.protocol import Delete, Page, Put, Store, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
_text = st.text(max_size=8)
_times = st.integers(0, 5).map(lambda step: _BEGIN + timedelta(microseconds=step * 250_000))
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    # A byte of a file name that is not UTF-8 arrives as half a surrogate pair.
    | st.text(st.characters() | st.sampled_from("\udc80\udcff"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_step_runs = st.builds(
    StepRun,
    run=st.sampled_from(["a", "b"]),
    step=st.sampled_from(["load", "train"]),
    pipeline=st.sampled_from(["p", "q"]),
    index=st.none() | st.integers(0, 3),
    attempt=st.integers(1, 3),
    state=st.sampled_from(State),
    created_at=_times,
    cache_key=st.sampled_from(["", "k1", "k2"]),
    inputs=st.dictionaries(_text, _json, max_size=2),
)
_quick = settings(
    deadline=None,
    # `differing_executors`: several classes inherit a promise, each with stores of its own.
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.differing_executors,
    ],
)


class StoreContract:
    """The promises of `tilth.store.Store`."""

    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        """A function that opens a store that is empty each time."""
        raise NotImplementedError("the inheriting class gives `make_store`")

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Iterator[Store]:
        with closing(make_store()) as store:
            yield store

    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_a_record_of_every_kind_reads_back_equal(self, store: Store, kind: type[Record]) -> None:
        record = full(kind)
        (kept,) = store.add(record)
        assert kept == record
        assert store.get(kind, record.id) == record
        assert store.find(kind).items == (record,)

    @given(record=_step_runs)
    @_quick
    def test_whatever_is_in_a_record_reads_back_equal(
        self, make_store: Callable[[], Store], record: StepRun
    ) -> None:
        with closing(make_store()) as store:
            store.write([Put(record)])
            assert store.get(StepRun, record.id) == record

    def test_a_file_name_that_is_no_utf_8_travels(self, store: Store) -> None:
        record = StepRun(run="a", step="s", inputs={"file": "\udcff.csv"})
        store.write([Put(record)])
        store.add(other := StepRun(run="b", step="s", inputs={"file": "\udc80"}))
        assert store.get(StepRun, record.id) == record
        assert set(map(id_of, store.find(StepRun))) == {record.id, other.id}

    @given(data=st.data(), records=st.lists(_step_runs, max_size=25))
    @_quick
    def test_pages_hold_what_a_list_would_hold(
        self, make_store: Callable[[], Store], data: st.DataObject, records: list[StepRun]
    ) -> None:
        options = {
            "run": st.sampled_from(["a", "b", "c"]),
            "step": st.sampled_from(["load", "train"]),
            "index": st.none() | st.integers(0, 3) | st.lists(st.none() | st.integers(0, 3), max_size=3),
            "state": st.sampled_from(State) | st.lists(st.sampled_from(State), max_size=3),
            "cache_key": st.lists(st.sampled_from(["", "k1", "k2", *map(str, range(20))]), max_size=20),
        }
        where = data.draw(st.fixed_dictionaries({}, optional=options))
        order = data.draw(st.sampled_from(["-created_at", "created_at", "id", "-step", "state", "attempt"]))
        limit = data.draw(st.integers(1, 7))

        column = order.removeprefix("-")
        wanted = sorted(
            (each for each in records if matches(each, where)),
            key=lambda each: (getattr(each, column), each.id),
            reverse=order.startswith("-"),
        )
        with closing(make_store()) as store:
            store.add(*records)
            pages = list(pages_of(store, order, limit, where))
        assert [each for page in pages for each in page] == wanted
        assert all(len(page) == limit for page in pages[:-1])

    def test_a_page_is_not_moved_by_what_is_added_meanwhile(self, store: Store) -> None:
        old = [StepRun(run="a", step=str(n), created_at=_BEGIN + timedelta(seconds=n)) for n in range(4)]
        store.add(*old)
        first = store.find(StepRun, limit=2)
        store.add(StepRun(run="a", step="new", created_at=_BEGIN + timedelta(days=1)))
        assert store.find(StepRun, limit=2, after=first.next).items == (old[1], old[0])

    def test_walking_gives_every_record_once(self, store: Store) -> None:
        records = store.add(*(StepRun(run="a", step="s", index=n) for n in range(25)))
        assert set(map(id_of, walk(store, StepRun, page=4, run="a"))) == set(map(id_of, records))

    def test_ids_are_found_by_their_beginning(self, store: Store) -> None:
        ids = ["sha256:aa1", "sha256:aa2", "sha256:ab"]
        store.add(*(Environment(id=each, name="e") for each in ids))
        assert [each.id for each in store.find(Environment, id_prefix="sha256:aa", order="id")] == ids[:2]

    def test_an_unknown_column_offers_the_nearest(self, store: Store) -> None:
        with pytest.raises(UnknownOption, match="did you mean `state`"):
            store.find(Run, stat="failed")
        with pytest.raises(UnknownOption, match="did you mean `created_at`"):
            store.find(Run, order="-create_at")

    def test_a_cursor_that_is_none_is_refused(self, store: Store) -> None:
        with pytest.raises(UnknownOption, match="not where a page ends"):
            store.find(Run, after="nonsense")

    def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound, match="no step run has the id `x`"):
            store.get(StepRun, "x")

    def test_records_are_added_all_or_none(self, store: Store) -> None:
        there, new = StepRun(run="a", step="s"), StepRun(run="a", step="t")
        store.add(there)
        with pytest.raises(Conflict):
            store.add(new, there)
        assert store.find(StepRun).items == (there,)

    def test_replacing_counts_a_revision(self, store: Store) -> None:
        (run,) = store.add(Run(name="p-1", pipeline="p", number=1))
        done = store.replace(run, msgspec.structs.replace(run, state=State.COMPLETED))
        assert (done.state, done.revision) == (State.COMPLETED, 2)
        assert store.get(Run, run.id) == done
        assert store.find(Run, state="completed").items == (done,)

    def test_only_the_first_of_two_changes_to_one_record_is_kept(self, store: Store) -> None:
        (run,) = store.add(Run(name="p-1", pipeline="p", number=1))
        first = store.replace(run, msgspec.structs.replace(run, tags=("first",)))
        with pytest.raises(Conflict, match="changed by somebody else"):
            store.replace(run, msgspec.structs.replace(run, tags=("second",)))
        assert store.get(Run, run.id) == first

    def test_a_put_is_a_change_too(self, store: Store) -> None:
        (run,) = store.add(Run(name="p-1", pipeline="p", number=1))
        store.write([Put(msgspec.structs.replace(run, steps=3))])
        with pytest.raises(Conflict):
            store.replace(run, msgspec.structs.replace(run, tags=("late",)))

    def test_what_was_never_there_cannot_be_replaced(self, store: Store) -> None:
        run = Run(name="p-1", pipeline="p", number=1)
        with pytest.raises(NotFound):
            store.replace(run, run)

    @given(records=st.lists(_step_runs, max_size=6))
    @_quick
    def test_the_same_write_again_changes_nothing(
        self, make_store: Callable[[], Store], records: list[StepRun]
    ) -> None:
        changes = [Put(record) for record in records] + [Put(Artifact(name="model", digest="d"))]
        with closing(make_store()) as store:
            first = store.write(changes)
            before = store.find(StepRun).items, store.find(Artifact).items
            assert store.write(changes) == first
            assert (store.find(StepRun).items, store.find(Artifact).items) == before

    def test_a_later_write_replaces_what_was_there(self, store: Store) -> None:
        record = StepRun(run="a", step="s")
        store.write([Put(record), Put(msgspec.structs.replace(record, state=State.FAILED))])
        kept = store.get(StepRun, record.id)
        assert kept.state is State.FAILED
        store.write([Put(msgspec.structs.replace(kept, state=State.COMPLETED))])
        assert store.find(StepRun, state="completed").items == (store.get(StepRun, record.id),)

    def test_a_write_is_kept_all_or_none(self, store: Store) -> None:
        store.add(Run(name="p-1", pipeline="p", number=1))
        same_name = Run(name="p-1", pipeline="p", number=2)
        with pytest.raises(Conflict):
            store.write([Put(StepRun(run="a", step="s")), Put(same_name)])
        assert store.find(StepRun).items == ()

    def test_a_deleted_record_is_gone_and_may_be_deleted_again(self, store: Store) -> None:
        (record,) = store.add(StepRun(run="a", step="s"))
        for _ in range(2):
            store.write([Delete(StepRun, record.id)])
            assert store.find(StepRun).items == ()

    def test_a_driver_whose_run_was_taken_over_writes_nothing(self, store: Store) -> None:
        held = store.start_run(Run(pipeline="p"))
        store.write([Put(StepRun(run=held.id, step="before"))], holding=held)
        taken = store.replace(held, msgspec.structs.replace(held, fence=held.fence + 1))
        with pytest.raises(Conflict, match="taken over"):
            store.write([Put(StepRun(run=held.id, step="late"))], holding=held)
        store.write([Put(StepRun(run=held.id, step="after"))], holding=taken)
        assert {each.step for each in store.find(StepRun)} == {"before", "after"}

    def test_runs_are_numbered_within_their_pipeline(self, store: Store) -> None:
        names = [store.start_run(Run(pipeline=each)).name for each in ("churn", "other", "churn")]
        assert names == ["churn-1", "other-1", "churn-2"]

    def test_the_number_of_a_deleted_run_is_not_given_again(self, store: Store) -> None:
        first = store.start_run(Run(pipeline="churn"))
        store.write([Delete(Run, first.id)])
        assert store.start_run(Run(pipeline="churn")).name == "churn-2"

    def test_artifacts_get_the_next_version_of_their_name(self, store: Store) -> None:
        kept = store.write([Put(Artifact(name=name, digest="d")) for name in ("model", "frame", "model")])
        assert [(each.name, each.version) for each in kept if isinstance(each, Artifact)] == [
            ("model", 1),
            ("frame", 1),
            ("model", 2),
        ]
        (added,) = store.add(Artifact(name="model", digest="d"))
        assert added.version == 3
        assert store.get(Artifact, added.id) == added

    def test_snapshots_get_the_next_version_of_their_name(self, store: Store) -> None:
        fields: dict[str, Any] = {"pipeline": "churn", "file": "churn.py"}
        kept = store.write([Put(Snapshot(name=name, **fields)) for name in ("a", "b", "a")])
        assert [each.version for each in kept if isinstance(each, Snapshot)] == [1, 1, 2]
        (added,) = store.add(Snapshot(name="a", **fields))
        assert added.version == 3

    def test_a_version_given_by_hand_is_kept_and_counted_from(self, store: Store) -> None:
        store.add(Artifact(name="model", version=7, digest="d"))
        (following,) = store.add(Artifact(name="model", digest="d"))
        assert following.version == 8
        with pytest.raises(Conflict):
            store.add(Artifact(name="model", version=7, digest="other"))

    def test_what_is_cached_is_the_newest_with_outputs(self, store: Store) -> None:
        def made(state: State, second: int, key: str = "key") -> StepRun:
            at = _BEGIN + timedelta(seconds=second)
            return StepRun(run="a", step="s", state=state, cache_key=key, created_at=at)

        newest = made(State.CACHED, 2)
        store.add(made(State.COMPLETED, 1), newest, made(State.FAILED, 3), made(State.COMPLETED, 4, key=""))
        assert store.cached_step_run("key") == newest
        assert store.cached_step_run("unknown") is None
        assert store.cached_step_run("") is None

    def test_threads_share_a_store(self, store: Store) -> None:
        def work(name: str) -> None:
            for _ in range(20):
                run = store.start_run(Run(pipeline="p"))
                store.write([Put(StepRun(run=run.id, step=name)), Put(Artifact(name="model", digest="d"))])
                assert store.get(Run, run.id) == run

        threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(run.number for run in walk(store, Run)) == list(range(1, 81))
        assert sorted(each.version for each in walk(store, Artifact)) == list(range(1, 81))


def full(kind: type[Record]) -> Record:
    """A record of a kind with something in every sort of field."""
    more: dict[type[Record], dict[str, Any]] = {
        Run: {
            "name": "churn-1",
            "pipeline": "churn",
            "number": 1,
            "client": ClientEnvironment(
                python="3.11.7",
                implementation="cpython",
                executable="python",
                platform="linux-x86_64",
                tilth="1",
                environment="sha256:ab",
            ),
            "started_at": _BEGIN,
            "failure": Failure(reason="exception", type="ValueError", message="näh"),
        },
        StepRun: {
            "run": "r",
            "step": "s",
            "outputs": {"model": OutputRef(digest="d", artifact="a")},
            "seconds": {"running": 0.1},
        },
        Artifact: {"name": "model", "version": 1, "digest": "d", "metadata": {"shape": [1, 2]}},
        Build: {
            "key": "sha256:cd",
            "environment": "sha256:ab",
            "layers": (BuiltLayer(digest="sha256:ef", size=3, title="numpy 2.1.0", made=True),),
            "seconds": {"layers": 0.5},
        },
        Component: {
            "project": "churn",
            "type": "artifact_store",
            "name": "s3",
            "flavor": "s3",
            "settings": {"bucket": "models", "retries": 3},
        },
        Stack: {"project": "churn", "name": "cloud", "components": {"artifact_store": "s3"}},
        Project: {"name": "churn", "stack": "cloud"},
        Snapshot: {"name": "nightly", "version": 1, "pipeline": "churn", "file": "churn.py"},
        Environment: {"id": "sha256:ab", "name": "e", "packages": (Package(name="a", version="1"),)},
    }
    given_fields = more.get(kind, {"text": "lock"} if kind.kind == "lock" else {})
    return kind(**given_fields)


def matches(record: StepRun, where: dict[str, Any]) -> bool:
    """Whether a record has the values asked for, said as plainly as can be."""
    return all(
        getattr(record, name) in wanted if isinstance(wanted, list) else getattr(record, name) == wanted
        for name, wanted in where.items()
    )


def pages_of(store: Store, order: str, limit: int, where: dict[str, Any]) -> Iterator[Page[StepRun]]:
    """Every page, following `next`."""
    after: str | None = None
    while True:
        page = store.find(StepRun, order=order, limit=limit, after=after, **where)
        yield page
        after = page.next
        if after is None:
            return


def id_of(record: Record) -> str:
    """The id of a record."""
    return record.id
