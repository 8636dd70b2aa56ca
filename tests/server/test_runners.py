from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.index import build_wheel
from tests.server.launching import (
    RunnerInTest,
    asker,
    drivers_in,
    kill_all,
    make_project,
    wait_for,
)
from tests.server_running import running_server

from tilth.records import Run, State
from tilth.records.launching import LaunchState
from tilth.store.sqlite import SqliteDatabase

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("project") / "churn")


@pytest.fixture
def server(tmp_path):
    database = SqliteDatabase(tmp_path / "server" / "tilth.db")
    with running_server(database, data_folder=str(tmp_path / "data"), lease_seconds=5) as server:
        yield server
    database.close()


@pytest.fixture
def client(server, tmp_path):
    with asker(server.url, server.token, tmp_path / "elsewhere") as client:
        yield client


@pytest.fixture
def runners(server, tmp_path):
    """`runners("a")` starts one."""
    started = []

    def start(name="a", *arguments, **variables):
        runner = RunnerInTest(server.url, server.token, tmp_path / f"runner-{name}", *arguments, **variables)
        started.append(runner)
        return runner

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        kill_all(each.drivers())


def test_a_run_is_started_where_nothing_of_the_project_is(runners, client, project):
    runners()
    client.snapshot(project)
    client.open_gate()
    ended = client.tilth("snapshots", "run", "nightly", "--param", "rows=5", "--wait", "--json")
    assert json.loads(ended.stdout)["parameters"] == {"folder": str(client.work), "rows": 5}
    (launch,) = json.loads(client.tilth("snapshots", "launches", "--json").stdout)
    found = client.ended(client.launch(launch["id"]))
    assert (found.state, found.cause) == (LaunchState.ENDED, "user admin")
    run = client.check_once(found)
    assert run.snapshot == found.snapshot
    assert client.said() == ["load", "total"]


def test_a_killed_runner_leaves_its_driver_and_the_next_finds_it(runners, client, project):
    first = runners()
    client.snapshot(project)
    launch = client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    first.kill()
    second = runners()
    assert "found again" in second.log.read_text()
    client.open_gate()
    found = client.ended(launch)
    assert (found.state, found.fence) == (LaunchState.ENDED, 1)
    client.check_once(launch)
    assert client.said() == ["load", "total"]


def test_a_runner_killed_before_the_run_is_recorded_loses_nothing(runners, client, project):
    first = runners()
    client.snapshot(project)
    (client.work / "hold-compile").touch()
    launch = client.ask()
    wait_for(first.drivers, "a driver is there")
    first.kill()
    assert client.launch(launch.id).state is LaunchState.LEASED
    runners()
    (client.work / "hold-compile").unlink()
    client.open_gate()
    assert client.ended(launch).state is LaunchState.ENDED
    client.check_once(launch)


def test_a_driver_killed_before_the_run_is_recorded_is_replaced(runners, client, project):
    runner = runners()
    client.snapshot(project)
    (client.work / "hold-compile").touch()
    launch = client.ask()
    kill_all(wait_for(runner.drivers, "a driver is there"))
    (client.work / "hold-compile").unlink()
    client.open_gate()
    found = client.ended(launch)
    assert (found.state, found.fence) == (LaunchState.ENDED, 2)
    assert client.check_once(launch).fence == 1


def test_a_runner_killed_with_its_driver_is_replaced_by_one_in_the_same_folder(runners, client, project):
    first = runners()
    client.snapshot(project)
    launch = client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    drivers = first.drivers()
    first.kill()
    kill_all(drivers)
    client.open_gate()
    runners()
    found = client.ended(launch)
    assert (found.state, found.fence) == (LaunchState.ENDED, 2)
    run = client.check_once(launch)
    assert run.fence == 2


def test_a_driver_that_is_killed_is_replaced_and_the_run_goes_on(runners, client, project):
    runner = runners()
    client.snapshot(project)
    launch = client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    kill_all(runner.drivers())
    client.open_gate()
    assert client.ended(launch).state is LaunchState.ENDED
    client.check_once(launch)


def test_another_runner_goes_on_when_one_never_comes_back_and_its_driver_writes_no_more(
    runners, client, project, tmp_path
):
    first = runners("a")
    client.snapshot(project)
    launch = client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    (driver,) = first.drivers()
    os.killpg(driver, signal.SIGSTOP)  # it is away, as on a machine that sleeps
    first.kill()
    # Its artifacts are in another home folder, so what was done there is done again here.
    runners("b", TILTH_HOME=str(tmp_path / "other-home"))
    wait_for(lambda: client.said().count("total") == 2, "the second runner begins the step")
    os.killpg(driver, signal.SIGCONT)
    client.open_gate()
    found = client.ended(launch)
    assert (found.state, found.fence) == (LaunchState.ENDED, 2)
    wait_for(lambda: not drivers_in(first.folder), "the first driver gives up")
    (run,) = client.store.find(Run).items
    assert (run.id, run.state.value, run.fence) == (launch.run, "completed", 2)


def test_a_runner_killed_after_the_driver_ended_tells_the_end_when_it_is_back(runners, client, project):
    first = runners()
    client.snapshot(project)
    launch = client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    first.kill()
    client.open_gate()
    wait_for(lambda: not first.drivers(), "the driver ends")
    assert client.launch(launch.id).state is LaunchState.STARTED
    runners()
    assert client.ended(launch).fence == 1
    client.check_once(launch)


def test_a_cancelled_launch_ends_its_run(runners, client, project):
    runner = runners()
    client.snapshot(project)
    launch = client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    client.tilth("snapshots", "cancel", launch.id)
    wait_for(lambda: client.store.get(Run, launch.run).state is State.CANCELLED, "the run is cancelled")
    wait_for(lambda: not runner.drivers(), "its driver ends")
    assert client.launch(launch.id).state is LaunchState.CANCELLED
    assert runner.process.poll() is None


def test_a_launch_cancelled_just_after_its_runner_and_driver_were_lost_ends_its_run(runners, client, project):
    runner = runners()
    client.snapshot(project)
    launch = client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    (driver,) = runner.drivers()
    runner.kill()
    os.killpg(driver, signal.SIGKILL)
    client.tilth(
        "snapshots", "cancel", launch.id
    )  # its lease has not run out: it could be a runner that stops it
    wait_for(lambda: client.store.get(Run, launch.run).state is State.CANCELLED, "the run is cancelled")


def test_code_that_needs_a_missing_package_fails_its_run_and_nothing_else(runners, client, project):
    runner = runners()
    client.snapshot(project)
    told = client.tilth("snapshots", "run", "nightly", "--param", "rows=13", "--wait", code=1)
    assert "No module named 'not_there_at_all'" in told.stderr
    (run,) = client.store.find(Run).items
    assert (run.state.value, run.failure.reason) == ("failed", "definition")
    client.open_gate()
    client.tilth("snapshots", "run", "nightly", "--wait")
    assert runner.process.poll() is None


def test_what_steps_find_in_their_environment_is_named_one_by_one(runners, client, project, monkeypatch):
    monkeypatch.setenv("TILTH_SERVER_ADMIN_PASSWORD", "hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("GIVEN", "yes")
    runner = runners("a", "--variable", "GIVEN")
    client.snapshot(project)
    client.ask()
    wait_for(lambda: "total" in client.said(), "the second step begins")
    (driver,) = runner.drivers()
    with open(f"/proc/{driver}/environ", "rb") as file:
        found = dict(each.split("=", 1) for each in os.fsdecode(file.read()).split("\0") if each)
    assert "hidden" not in found.values()
    assert found["GIVEN"] == "yes"
    assert found["TILTH_API_KEY"].startswith("tilth_run_")
    client.open_gate()


@pytest.mark.skipif(os.getuid() == 0, reason="root reads what every process was started with")
def test_a_step_cannot_read_what_the_runner_was_started_with(runners, client, project):
    runner = runners()
    client.snapshot(project)
    (client.work / "spy-on").write_text(str(runner.process.pid))
    client.open_gate()
    client.tilth("snapshots", "run", "nightly", "--wait")
    assert client.said() == ["load", "PermissionError", "total"]


def may_nobody_run_python() -> bool:
    """Whether another user of the system can execute this interpreter: not where it lies in root's own folder."""
    if os.getuid() != 0:
        return False
    command = [sys.executable, "-c", "import tilth.cli"]
    try:
        return (
            subprocess.run(command, user="nobody", cwd="/", capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


@pytest.mark.skipif(not may_nobody_run_python(), reason="only root starts processes of other users")
def test_runs_belong_to_another_user_of_the_system(runners, client, project, tmp_path):
    for folder in tmp_path.parents:
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    client.work.chmod(0o777)
    runner = runners("a", "--user", "nobody")
    client.snapshot(project)
    launch = client.ask()
    wait_for(lambda: "total" in client.said() or client.launch(launch.id).state.is_final, "a step begins")
    assert "total" in client.said(), client.launch(launch.id).failure
    (driver,) = runner.drivers()
    assert Path(f"/proc/{driver}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    client.open_gate()
    assert client.ended(launch).state is LaunchState.ENDED
    client.check_once(launch)


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts processes of other users")
def test_a_user_that_cannot_start_python_fails_the_launch_with_that_reason(
    runners, client, project, tmp_path
):
    if may_nobody_run_python():
        pytest.skip("any user may execute this interpreter")
    runners("a", "--user", "nobody")
    client.snapshot(project)
    found = client.ended(client.ask())
    assert found.state is LaunchState.FAILED
    assert "the runner could not start it" in found.failure.message


def test_a_stack_of_this_machine_alone_is_refused_without_a_runner_here(client, project):
    told = client.tilth(
        "snapshots", "create", "churn.py", "--name", "n", "--param", "folder=x", cwd=project, code=1
    )
    assert "stack `default` does not go beyond this machine" in told.stderr
    assert "its orchestrator `local` runs steps on the machine that a run is started on" in told.stderr


def test_two_runners_cannot_share_a_folder(runners, server, tmp_path):
    runners("a")
    second = RunnerInTest(server.url, server.token, tmp_path / "runner-a")
    assert second.process.wait(60) == 1
    assert "works in" in second.log.read_text()


def test_a_lock_that_no_longer_resolves_fails_its_run_with_that_reason(
    runners, client, tmp_path, monkeypatch
):
    index = tmp_path / "index"
    index.mkdir()
    wheel = build_wheel(index, "alpha", "1.0", files={"alpha/__init__.py": "x = 1"})
    settings = tmp_path / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(index))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    project = make_project(tmp_path / "with-alpha")
    install = ["uv", "pip", "install", "--quiet", "--python", project / ".venv", "alpha"]
    subprocess.run([Path(sys.executable).with_name("uv"), *install[1:]], check=True)
    # Another home folder than the client's: what was locked has to be fetched.
    runner = runners("a", TILTH_HOME=str(tmp_path / "other-home"), UV_CACHE_DIR=str(tmp_path / "cache"))
    client.snapshot(project)
    wheel.unlink()
    found = client.ended(client.ask())
    assert (found.state, found.failure.reason) == (LaunchState.FAILED, "environment")
    assert "alpha" in found.failure.message
    assert runner.process.poll() is None
    build_wheel(index, "alpha", "1.0", files={"alpha/__init__.py": "x = 1"})
    client.open_gate()
    assert client.ended(client.ask()).state is LaunchState.ENDED


def test_steps_run_in_the_environments_that_the_snapshot_locked_wherever_the_runner_is(
    runners, client, tmp_path, monkeypatch
):
    index = tmp_path / "index"
    index.mkdir()
    build_wheel(index, "alpha", "1.0", files={"alpha/__init__.py": "version = 1"})
    settings = tmp_path / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{json.dumps(str(index))}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    project = make_project(tmp_path / "with-environment")
    (project / "churn.py").write_text(
        "from pathlib import Path\nfrom tilth import Environment, pipeline, step\n"
        "@step(environment=Environment('steps', requirements=['alpha']))\n"
        "def show(folder: str) -> int:\n    import alpha\n"
        "    Path(folder, 'said').write_text(str(alpha.version))\n    return alpha.version\n"
        "@pipeline\ndef churn(folder: str):\n    show(folder)\n"
    )
    runners("a", TILTH_HOME=str(tmp_path / "other-home"))
    client.snapshot(project)
    build_wheel(index, "alpha", "2.0", files={"alpha/__init__.py": "version = 2"})
    client.tilth("snapshots", "run", "nightly", "--wait")
    assert client.said() == ["1"]


@pytest.mark.network
def test_a_package_of_the_project_itself_comes_with_its_code(runners, client, tmp_path):
    project = make_project(tmp_path / "with-member")
    member = project / "libs" / "member"
    (member / "member").mkdir(parents=True)
    (member / "member" / "__init__.py").write_text("value = 41")
    (member / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='member', version='1', packages=['member'])\n"
    )
    # As `uv sync` installs a member of a workspace: by a file that points there, with nothing built.
    (site,) = (project / ".venv").glob("lib/python*/site-packages")
    (site / "member.pth").write_text(str(member))
    info = site / "member-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: member\nVersion: 1\n")
    url = {"url": member.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(url))
    (info / "RECORD").write_text("")
    (project / "churn.py").write_text(
        "from pathlib import Path\nfrom tilth import pipeline, step\nimport member\n"
        "@step\ndef show(folder: str) -> int:\n"
        "    Path(folder, 'said').write_text(str(member.value))\n    return member.value\n"
        "@pipeline\ndef churn(folder: str):\n    show(folder)\n"
    )
    runners("a", TILTH_HOME=str(tmp_path / "other-home"))
    client.snapshot(project)
    project.rename(tmp_path / "gone")
    client.tilth("snapshots", "run", "nightly", "--wait")
    assert client.said() == ["41"]
