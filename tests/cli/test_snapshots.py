from __future__ import annotations

import pytest
from tests.conftest import run_cli
from tests.server_running import running_server

from tilth.records import Failure, Run, Snapshot, now
from tilth.records.launching import Launch, LaunchState, Runner
from tilth.store.http import HttpStore
from tilth.store.sqlite import SqliteDatabase

SIGNATURE = {
    "rows": {"type": "int", "kind": "int", "required": False, "default": 3},
    "table": {"type": "Path", "kind": "", "required": True},
}


@pytest.fixture
def server(tmp_path, monkeypatch):
    database = SqliteDatabase(tmp_path / "tilth.db")
    with running_server(database, data_folder=str(tmp_path / "data")) as server:
        monkeypatch.setenv("TILTH_SERVER_URL", server.url)
        monkeypatch.setenv("TILTH_API_KEY", server.token)
        monkeypatch.setenv("TILTH_PROJECT", "churn")
        monkeypatch.chdir(tmp_path)
        yield server
    database.close()


@pytest.fixture
def snapshots(server):
    """Two versions of `nightly`."""
    fields = {
        "pipeline": "churn",
        "file": "churn.py",
        "signature": SIGNATURE,
        "python": "3.12",
        "created_by": "ada",
    }
    with HttpStore(server.url, server.token, "churn") as store:
        return [
            store.add(Snapshot(name="nightly", locks={"linux-x86_64": "d"}, description=text, **fields))[0]
            for text in ("old", "new")
        ]


def test_snapshots_are_listed_newest_first(cli, snapshots):
    said = cli("snapshots", "list")
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == ["snapshot", "nightly:2", "nightly:1"]
    assert "ada" in lines[1]
    assert [each["version"] for each in cli("snapshots", "list", "--json").json] == [2, 1]


def test_no_snapshots_are_told(cli, server):
    assert "`tilth snapshots create FILE --name NAME` makes one" in cli("snapshots", "list").err
    assert "`tilth snapshots run NAME` does" in cli("snapshots", "launches").err
    assert "there is no snapshot `x`" in cli("snapshots", "show", "x").err


def test_a_name_means_its_newest_version(cli, snapshots):
    assert "snapshot nightly:2: pipeline churn" in cli("snapshots", "show", "nightly").out
    old = cli("snapshots", "show", "nightly:1").out
    assert "snapshot nightly:1: pipeline churn" in old
    assert "Python 3.12, on linux-x86_64" in old
    assert cli("snapshots", "show", snapshots[0].id, "--json").json["description"] == "old"


def test_what_a_run_may_be_given_is_shown(cli, snapshots):
    table = cli("snapshots", "show", "nightly").out.splitlines()[-3:]
    assert [line.split() for line in table] == [
        ["parameter", "type", "value"],
        ["rows", "int", "3"],
        ["table", "Path", "to", "be", "given"],
    ]


def test_a_run_is_asked_for_though_no_runner_is_there_and_this_is_told(cli, snapshots):
    said = cli("snapshots", "run", "nightly", "--param", "table=x")
    assert said.code == 0
    assert "warning: no runner is there that takes it: 0 in all" in said.err
    (launch,) = cli("snapshots", "launches", "--json").json
    assert said.out.strip() == launch["id"]
    assert launch["parameters"] == {"table": "x"}
    assert "user admin" in cli("snapshots", "launches", "--snapshot", "nightly:2").out
    assert "nothing was asked for" in cli("snapshots", "launches", "--snapshot", "nightly:1").err


def test_a_launch_is_cancelled(cli, snapshots, server):
    launch = cli("snapshots", "run", "nightly", "--param", "table=x").out.strip()
    assert cli("snapshots", "cancel", launch).code == 0
    assert server.access.store.get(Launch, launch).state is LaunchState.CANCELLED
    waited = cli("snapshots", "run", "nightly", "--param", "table=x", "--key", "k", "--json").json
    cli("snapshots", "cancel", waited["id"])
    run_cli("snapshots", "run", "nightly", "--param", "table=x", "--key", "k", "--wait", code=130)


def test_waiting_tells_why_nothing_came_of_it(cli, snapshots, server):
    from tilth.server.queue import Queue

    launch = cli("snapshots", "run", "nightly", "--param", "table=x", "--key", "k").out.strip()
    queue = Queue(server.access.store)
    held = queue.lease("r")
    assert held.id == launch
    queue.failed(
        held, Failure(reason="environment", message="no such package\nthe index says so", mend="add it")
    )
    said = cli("snapshots", "run", "nightly", "--param", "table=x", "--key", "k", "--wait")
    assert said.code == 1
    assert said.err.endswith("error: no such package\n  the index says so\n  hint: add it\n")
    assert "no such package" in cli("snapshots", "launches").out


def test_a_wrong_parameter_is_told_with_what_is_known(cli, snapshots):
    assert "did you mean `table`" in cli("snapshots", "run", "nightly", "--param", "tabl=x").err
    assert "needs the parameter `table`" in cli("snapshots", "run", "nightly").err
    assert cli("snapshots", "run", "nightly", "--param", "table").code == 2


def test_a_version_that_is_not_there_is_told_with_the_newest(cli, snapshots):
    said = cli("snapshots", "run", "nightly:7").err
    assert "snapshot `nightly` has no version 7" in said
    assert "its newest is `nightly:2`" in said


def test_a_webhook_allows_only_parameters_that_there_are(cli, snapshots):
    made = cli(
        "webhooks", "create", "deploy", "--snapshot", "nightly", "--param", "table=x", "--allow", "tabel"
    )
    assert "has no parameter `tabel`" in made.err
    assert "did you mean `table`" in made.err


def test_a_secret_may_be_the_first_of_a_project(server):
    import subprocess

    from tests.conftest import TILTH

    done = subprocess.run(
        [TILTH, "secret", "set", "TOKEN"], input=b"hunter2hunter2", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert run_cli("secret", "list", "--json").json[0]["kept"] == "server"


def test_who_may_make_no_project_is_told_to_name_one_of_theirs(cli, snapshots, monkeypatch):
    key = cli("key", "create", "ci", "--project", "churn").out.strip()
    monkeypatch.setenv("TILTH_API_KEY", key)
    monkeypatch.setenv("TILTH_PROJECT", "chrun")
    told = run_cli("runs", "list", code=1).stderr
    assert "no project `chrun` of yours is on" in told
    assert "`TILTH_PROJECT`; `tilth project list` shows yours" in told


def test_launches_name_the_runs_that_came_of_them(cli, snapshots, server):
    launch = cli("snapshots", "run", "nightly", "--param", "table=x", "--json").json
    assert "churn-1" not in cli("snapshots", "launches").out
    with HttpStore(server.url, server.token, "churn") as store:
        store.start_run(Run(id=launch["run"], pipeline="churn"))
    assert "churn-1  running" in cli("snapshots", "launches").out


def test_a_snapshot_is_deleted_and_the_one_before_is_the_newest(cli, snapshots):
    assert cli("snapshots", "delete", "nightly").code == 0
    assert "nightly:1" in cli("snapshots", "show", "nightly").out


def test_another_project_has_others(cli, snapshots):
    assert "no snapshots" in cli("snapshots", "list", "--project", "empty").err


def test_runners_are_listed(cli, server):
    assert "`tilth runner start` starts one" in cli("runner", "list").err
    server.access.store.add(
        Runner(name="box", platform="linux-x86_64", place="machine", slots=4, busy=1, seen_at=now())
    )
    assert "box     machine  all      linux-x86_64  1 of 4" in cli("runner", "list").out


def test_without_a_server_it_is_told_how_to_have_one(cli):
    said = cli("snapshots", "list")
    assert "snapshots are kept on a server" in said.err
    assert "tilth server start" in said.err
    assert "a runner needs a server" in cli("runner", "start").err
