from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from inline_snapshot import snapshot

from tilth.engine.lease import Lease
from tilth.records import Run, State
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from tilth.home import Home

Cli = Any  # see conftest.py


def test_runs_are_listed_newest_first(cli: Cli, history: Home) -> None:
    said = cli("runs", "list")
    assert (said.code, said.err) == (0, "")
    assert said.out == snapshot("""\
run      state      started              took   steps  parameters
churn-2  failed     2026-05-04 12:01:00  2.0 s  3      alpha = 2
churn-1  completed  2026-05-04 12:00:00  3.4 s  3      alpha = 0.3
""")


def test_a_list_that_was_cut_says_so(cli: Cli, history: Home) -> None:
    said = cli("runs", "list", "--limit", "1")
    assert len(said.out.splitlines()) == 2
    assert said.err == "these are the newest 1; `--limit` shows more\n"


def test_runs_can_be_chosen_by_state_and_pipeline(cli: Cli, history: Home) -> None:
    assert [each["name"] for each in cli("runs", "list", "--state", "failed", "--json").json] == ["churn-2"]
    assert cli("runs", "list", "--pipeline", "other", "--json").json == []
    assert cli("runs", "list", "--pipeline", "other").err == "no runs like that\n"


def test_without_runs_the_list_says_how_to_make_one(cli: Cli) -> None:
    assert cli("runs", "list") == (0, "", "no runs; `tilth run FILE` makes one\n")


def test_a_completed_run_shows_its_steps_and_what_it_gave(cli: Cli, history: Home) -> None:
    assert cli("runs", "show", "churn-1").out == snapshot("""\
run churn-1: completed
  id            01900000-0000-7000-8000-000000000001
  pipeline      churn
  parameters    alpha = 0.3
  started       2026-05-04 12:00:00, took 3.4 s
  code          commit 1a2b3c4d5e6f on main, with changes, bundle sha256:c0dec0dec0de
  environments  training  sha256:3f0c3f0c3f0c
  client        CPython 3.11.7 on linux-x86_64, tilth 0.1.0, environment sha256:c11ec11ec11e
  metadata      accuracy = 0.97

step   state      took    items        environment  why
load   completed  500 ms                            there is no earlier run of this step
train  completed  500 ms               training     there is no earlier run of this step
score  completed  500 ms  5, 2 reused               there is no earlier run of this step

artifact          version  step   type              size
churn/load/frame  1        load   pandas:DataFrame  81 KB
model             1        train  sklearn:Ridge     1.2 KB
""")


def test_a_failed_run_shows_the_cause_last(cli: Cli, history: Home) -> None:
    out = cli("runs", "show", "churn-2").out
    assert out == snapshot("""\
run churn-2: failed
  id            01900000-0000-7000-8000-000000000002
  pipeline      churn
  parameters    alpha = 2
  started       2026-05-04 12:01:00, took 2.0 s
  code          commit 1a2b3c4d5e6f on main, with changes, bundle sha256:c0dec0dec0de
  environments  training  sha256:3f0c3f0c3f0c
  client        CPython 3.11.7 on linux-x86_64, tilth 0.1.0, environment sha256:c11ec11ec11e

step   state        took    attempts  environment  why
load   reused                                      same code, inputs and environment
train  failed       250 ms  2         training     ValueError: alpha is too large
score  not started

error: step `train` of run `churn-2` failed: ValueError   (attempt 2)
  inputs: frame = load.frame, alpha = 2
  hint: fix it and run again, completed steps are reused; `tilth runs resume churn-2` keeps the code as it was
  Traceback (most recent call last):
    File "learn.py", line 7, in train
      raise ValueError(text)
  ValueError: alpha is too large
""")
    assert out.splitlines()[-1] == "  ValueError: alpha is too large"


def test_a_run_is_found_by_id_and_by_its_beginning(cli: Cli, history: Home) -> None:
    wanted = cli("runs", "show", "churn-2", "--json").json["id"]
    assert cli("runs", "show", wanted, "--json").json["name"] == "churn-2"
    said = cli("runs", "show", wanted[:8])
    assert said.code == 1
    assert said.err == (
        "error: `01900000` means more than one run\n  hint: say which: `churn-2`, `churn-1`\n"
    )


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("chrun-2", "did you mean `churn-2`?"),
        ("churn", "the newest run of that pipeline is `churn-2`"),
        ("???", "known: `churn-1`, `churn-2`"),
    ],
)
def test_an_unknown_run_names_the_nearest(cli: Cli, history: Home, wanted: str, hint: str) -> None:
    assert cli("runs", "show", wanted) == (1, "", f"error: there is no run `{wanted}`\n  hint: {hint}\n")


def test_a_shown_run_is_one_document(cli: Cli, history: Home) -> None:
    document = cli("runs", "show", "churn-1", "--json").json
    assert document["name"] == "churn-1"
    assert {each["step"] for each in document["step_runs"]} == {"load", "train", "score"}
    assert {each["name"] for each in document["artifacts"]} == {"model", "churn/load/frame"}


def test_a_run_whose_driver_is_gone_is_interrupted(cli: Cli, history: Home) -> None:
    with open_store(history) as store:
        run = store.start_run(Run(pipeline="churn", state=State.RUNNING))
    with Lease(history.runs / run.id, run.name):
        assert "churn-3  running" in cli("runs", "list").out
    assert "churn-3  interrupted" in cli("runs", "list").out
    assert cli("runs", "show", "churn-3").out.splitlines()[0] == "run churn-3: interrupted"
    assert "`tilth runs resume churn-3` finishes it" in cli("runs", "show", "churn-3").out


def test_a_run_without_its_folder_can_still_be_shown(cli: Cli, history: Home) -> None:
    shutil.rmtree(history.runs)
    assert "alpha is too large" in cli("runs", "show", "churn-2").out


def test_ten_thousand_items_are_one_row(cli: Cli, history: Home) -> None:
    from tilth.records import StepRun

    with open_store(history) as store:
        run = store.start_run(Run(pipeline="wide", state=State.COMPLETED))
        items = [StepRun(run=run.id, step="score", index=i, state=State.COMPLETED) for i in range(10_000)]
        store.write([Put(StepRun(run=run.id, step="score", state=State.COMPLETED)), *map(Put, items)])
    out = cli("runs", "show", "wide-1").out
    assert [line.split() for line in out.splitlines() if line.startswith("score")] == [
        ["score", "completed", "10000"]
    ]
