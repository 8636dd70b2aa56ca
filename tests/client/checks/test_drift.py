"""What changed in the client's environment."""

from __future__ import annotations

from inline_snapshot import snapshot

from tilth.client.checks.drift import (
    Snapshot,
    check_against_lock,
    check_since_run,
    newest_from_here,
    only_for_tilth,
)
from tilth.environments.inventories import Installed, Inventory
from tilth.records import Run
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase


def test_what_was_added_removed_and_changed_is_counted_and_the_first_few_named() -> None:
    before = Snapshot("3.11.7", {"a": "1", "gone": "1", **{f"p{i}": "1" for i in range(6)}})
    now = Snapshot("3.12.1", {"a": "1", "new": "2", **{f"p{i}": "2" for i in range(6)}})
    (found,) = check_since_run(before, now, "churn-3")
    assert found.level == "warning"
    assert str(found) == snapshot("""\
the client's environment is not what run `churn-3` was compiled with
  Python 3.11.7 -> 3.12.1
  6 packages changed: `p0` 1 -> 2, `p1` 1 -> 2, `p2` 1 -> 2, `p3` 1 -> 2, …
  1 package added: `new` 2
  1 package removed: `gone` 1
  hint: steps that run in it and use what changed run again\
""")
    assert check_since_run(before, before, "churn-3") == []


def test_against_a_lock_further_groups_tools_and_what_tilth_brings_do_not_count() -> None:
    locked = Snapshot("", {"a": "1", "b": "1"})
    now = Snapshot("3.11.7", {"a": "1", "b": "1", "pip": "24", "extra": "1", "msgspec": "1"})
    assert check_against_lock(locked, now, "uv.lock", known={"extra"}, beside={"msgspec"}) == []
    (found,) = check_against_lock(locked, Snapshot("3.11.7", {"a": "2", "c": "1"}), "uv.lock")
    assert str(found) == snapshot("""\
the client's environment is not what `uv.lock` says
  1 package changed: `a` 1 -> 2
  1 package not locked: `c` 1
  1 package not installed: `b` 1
  hint: `uv sync` installs what is locked; `uv lock` locks what is declared\
""")


def test_what_only_tilth_requires_is_there_for_its_sake() -> None:
    def one(name: str, *requires: str) -> Installed:
        return Installed(name=name, version="1", requires=requires)

    inventory = Inventory(packages=(one("tilth", "click", "msgspec"), one("click", "colorama"), one("colorama"),
                                    one("msgspec"), one("flask", "click")))  # fmt: skip
    assert only_for_tilth(inventory) == {"tilth", "msgspec"}
    assert only_for_tilth(Inventory(packages=(one("flask"),))) == frozenset()


def test_runs_of_a_snapshot_are_no_measure_of_the_client(home):
    home.mkdir(parents=True)
    with SqlStore(SqliteDatabase(home / "tilth.db")) as store:
        by_hand = store.start_run(Run(pipeline="churn"))
        store.start_run(Run(pipeline="churn", snapshot="s"))
        store.start_run(Run(pipeline="other"))
        assert newest_from_here(store, "churn") == by_hand
        assert newest_from_here(store, "none") is None
