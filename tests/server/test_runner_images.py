"""Runs in the container of a runner image: started by real runners, in a real engine, and killed there."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys

import msgspec
import pytest
from tests.index import build_wheel
from tests.server.launching import PROJECT, RunnerInTest, asker, kill_all, make_project, wait_for
from tests.server_running import running_server

from tilth.records import Run, Snapshot, State, StepRun, new_id
from tilth.records.launching import LaunchState
from tilth.store.sqlite import SqliteDatabase

# The index is asked for what tilth itself needs in the image.
pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.network]

FLOW = """
import os, sys
from tilth import Environment, pipeline, step

@step(environment=Environment("tools", requirements=["alpha"], find_links=["WHEELS"]))
def load() -> None:
    import alpha
    print("alpha is", alpha.__file__)

@step
def where() -> None:
    print("python is", sys.executable, os.path.exists("/.dockerenv"))

@pipeline
def flow():
    load()
    where()
"""


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    """The home folder of who makes snapshots: wheels and layers are made once."""
    return tmp_path_factory.mktemp("maker")


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


@pytest.fixture
def snapshot(client, project, docker_engine, maker):
    """`snapshot()` makes `nightly`, on a stack whose containers see the folder of the test."""

    def make(*arguments, folder=project, more=(), code=0, **settings):
        mounted = [f"--volume={each}:{each}" for each in (client.work, *more)]
        given = {
            "base_image": docker_engine.images["3.11"],
            "network": "host",
            "run_options": json.dumps(mounted),
            **settings,
        }
        given = {name: value for name, value in given.items() if value}
        set_ = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
        for words in (
            ["component", "register", "boxes", "--type", "orchestrator", "--flavor", "docker", *set_],
            ["stack", "register", "boxes", "-o", "boxes", "-a", "local"],
        ):
            client.tilth(*words, cwd=folder)
        told = create(client, folder, maker, *arguments, code=code)
        return told if code else client.store.find(Snapshot).items[0]

    return make


def create(client, folder, maker, *arguments, stack="boxes", code=0):
    file = next(folder.glob("*.py")).name
    given = ("--param", f"folder={client.work}") if file == "churn.py" else ()
    return client.tilth(
        "snapshots", "create", file, "--name", "nightly", "--stack", stack, "--runner", "image",
        *given, *arguments, cwd=folder, code=code, TILTH_HOME=str(maker),
    )  # fmt: skip


def containers(launch):
    """Of a launch, those that run: by id."""
    asked = ["docker", "ps", "--quiet", "--filter", f"label=dev.tilth.launch={launch.id}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def until_second_step(client, launch):
    """Until it has begun, and the server has heard that the first one is complete: a container keeps nothing."""

    def heard():
        steps = client.store.find(StepRun, run=launch.run).items
        return any(each.step == "load" and each.state.is_good for each in steps)

    wait_for(lambda: "total" in client.said() and heard(), "the second step begins")


def inside(image, *command):
    """What a command in an image prints."""
    asked = ["docker", "run", "--rm", image, *command]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def until_gone(launch):
    wait_for(lambda: not containers(launch), "its container is gone")


def test_a_run_is_compiled_and_driven_in_the_container_and_nothing_of_the_machine_is_there(
    runners, client, snapshot, tmp_path
):
    wheels = tmp_path / "wheels"
    build_wheel(wheels, "alpha", "1.0", files={"alpha/__init__.py": ""})
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "flow.py").write_text(FLOW.replace("WHEELS", str(wheels)))
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{PROJECT}"\nversion = "0"\n')
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    runners()
    made = snapshot(folder=folder, more=[wheels])
    assert made.image.startswith("tilth/runner:")
    client.tilth("snapshots", "run", "nightly", "--wait")
    printed = client.tilth("runs", "logs", "flow-1").stdout
    assert "alpha is /tmp/tilth/environments/" in printed
    assert "python is /opt/env/bin/python True" in printed
    assert "tilth" not in inside(made.image, "find", "/opt/env/")
    assert "main.py" in inside(made.image, "ls", "/opt/tilth/lib/python3.11/site-packages/tilth/cli")


def test_the_token_is_shown_nowhere_and_the_run_is_of_the_container(runners, client, snapshot):
    runner = runners()
    snapshot()
    launch = client.ask()
    until_second_step(client, launch)
    (container,) = containers(launch)
    shown = subprocess.run(
        ["docker", "inspect", container], capture_output=True, text=True, check=True
    ).stdout
    assert "tilth_run_" not in shown
    assert "TILTH_API_KEY" not in shown
    for pid in runner.drivers():
        with open(f"/proc/{pid}/cmdline") as file:
            assert "tilth_run" not in file.read()
    client.open_gate()
    assert client.ended(launch).state is LaunchState.ENDED
    client.check_once(launch)
    until_gone(launch)


def test_a_container_that_is_killed_is_started_again_and_the_run_goes_on(runners, client, snapshot):
    runners()
    snapshot()
    launch = client.ask()
    until_second_step(client, launch)
    subprocess.run(["docker", "kill", *containers(launch)], check=True, capture_output=True)
    client.open_gate()
    found = client.ended(launch)
    assert (found.state, found.fence) == (LaunchState.ENDED, 2)
    assert client.check_once(launch).fence == 2
    until_gone(launch)


def test_a_container_killed_before_the_run_is_recorded_is_started_again(runners, client, snapshot):
    runners()
    snapshot()
    (client.work / "hold-compile").touch()
    launch = client.ask()
    wait_for(lambda: containers(launch), "its container is there")
    subprocess.run(["docker", "kill", *containers(launch)], check=True, capture_output=True)
    (client.work / "hold-compile").unlink()
    client.open_gate()
    assert client.ended(launch).state is LaunchState.ENDED
    client.check_once(launch)


def test_a_killed_runner_leaves_its_container_and_the_next_finds_it(runners, client, snapshot):
    first = runners()
    snapshot()
    launch = client.ask()
    until_second_step(client, launch)
    before = containers(launch)
    first.kill()
    second = runners()
    assert "found again" in second.log.read_text()
    assert containers(launch) == before
    client.open_gate()
    assert client.ended(launch).fence == 1
    client.check_once(launch)


def test_a_container_ends_with_what_watches_it_and_another_runner_goes_on(runners, client, snapshot):
    first = runners()
    snapshot()
    launch = client.ask()
    until_second_step(client, launch)
    before = containers(launch)
    drivers = first.drivers()
    first.kill()
    for pid in drivers:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not set(containers(launch)) & set(before), "its container ends")
    client.open_gate()
    runners("b")
    found = client.ended(launch)
    assert (found.state, found.fence) == (LaunchState.ENDED, 2)
    client.check_once(launch)


def test_a_launch_that_is_started_twice_runs_once_and_the_first_writes_no_more(runners, client, snapshot):
    first = runners("a")
    snapshot()
    launch = client.ask()
    until_second_step(client, launch)
    before = containers(launch)
    (driver,) = first.drivers()
    os.kill(driver, signal.SIGSTOP)  # it is away, as on a machine that sleeps
    first.kill()
    runners("b")
    wait_for(lambda: containers(launch) not in ([], before), "the second runner's container is there")
    assert len(containers(launch)) == 1
    os.kill(driver, signal.SIGCONT)
    wait_for(lambda: not first.drivers(), "the first driver gives up")
    client.open_gate()
    found = client.ended(launch)
    assert found.state is LaunchState.ENDED
    assert client.check_once(launch).fence >= 2
    until_gone(launch)


def test_a_cancelled_launch_ends_its_container(runners, client, snapshot):
    runner = runners()
    snapshot()
    launch = client.ask()
    until_second_step(client, launch)
    client.tilth("snapshots", "cancel", launch.id)

    def cancelled():
        run = client.store.get(Run, launch.run)
        assert run.state in (State.RUNNING, State.CANCELLED), (run.failure, runner.log.read_text())
        return run.state is State.CANCELLED

    wait_for(cancelled, lambda: f"the run is cancelled: {runner.log.read_text()}")
    until_gone(launch)
    wait_for(lambda: not runner.drivers(), "what watched it ends")
    assert client.launch(launch.id).state is LaunchState.CANCELLED
    assert runner.process.poll() is None


@pytest.mark.skipif(os.getuid() != 0, reason="takes root")
def test_runs_of_another_user_are_of_that_one_in_the_container(runners, client, snapshot):
    nobody = pwd.getpwnam("nobody")
    runners("a", "--user", "nobody", "--container-option", f"--volume={client.work}:{client.work}")
    snapshot(run_options="")
    client.work.chmod(0o777)
    launch = client.ask()
    wait_for(lambda: client.said(), "the first step runs")
    assert (client.work / "said").stat().st_uid == nobody.pw_uid
    (container,) = containers(launch)
    asked = ["docker", "inspect", "--format", "{{.Config.User}}", container]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    assert told == f"{nobody.pw_uid}:{nobody.pw_gid}"
    client.open_gate()
    assert client.ended(launch).state is LaunchState.ENDED
    client.check_once(launch)


def test_code_that_needs_a_missing_package_fails_its_run_with_this_reason(runners, client, snapshot):
    runners()
    snapshot()
    told = client.tilth("snapshots", "run", "nightly", "--param", "rows=13", "--wait", code=1)
    assert "No module named 'not_there_at_all'" in told.stderr
    (run,) = client.store.find(Run).items
    assert (run.state.value, run.failure.reason) == ("failed", "definition")


def test_an_image_that_is_gone_and_a_server_out_of_reach_fail_the_launch(
    runners, client, snapshot, project, maker
):
    runners()
    snapshot(network="bridge")
    told = client.tilth("snapshots", "run", "nightly", "--wait", code=1)
    assert "cannot reach the server at `http://127.0.0.1" in told.stderr
    assert "network=host" in told.stderr
    client.tilth(
        "component", "update", "boxes", "--type", "orchestrator", "--set", "network=host", cwd=project
    )
    create(client, project, maker)
    (found,) = client.store.find(Snapshot, name="nightly", order="-version", limit=1).items
    gone = msgspec.structs.replace(found, image="tilth/runner:gone", id=new_id(), version=0)
    client.store.add(gone)
    told = client.tilth("snapshots", "run", "nightly", "--wait", code=1)
    assert "cannot get the image `tilth/runner:gone`" in told.stderr


def test_a_stack_with_a_registry_has_the_image_there_by_its_digest(
    runners, client, project, maker, docker_engine, registry_plain
):
    runners()
    words = json.dumps([f"--volume={client.work}:{client.work}"])
    for arguments in (
        ["component", "register", "boxes", "--type", "orchestrator", "--flavor", "docker",
         "--set", f"base_image={docker_engine.images['3.11']}", "--set", "network=host",
         "--set", f"run_options={words}"],
        ["component", "register", "shelf", "--type", "container_registry", "--flavor", "oci",
         "--set", f"host={registry_plain.host}", "--set", f"prefix={registry_plain.prefix}"],
        ["stack", "register", "boxes", "-o", "boxes", "-a", "local", "-c", "shelf"],
    ):  # fmt: skip
        client.tilth(*arguments, cwd=project)
    create(client, project, maker)
    (made,) = client.store.find(Snapshot).items
    assert made.image.startswith(f"{registry_plain.host}/{registry_plain.prefix}")
    assert "@sha256:" in made.image
    client.open_gate()
    client.tilth("snapshots", "run", "nightly", "--wait")
    assert client.said() == ["load", "total"]


def test_what_an_image_has_none_of_is_refused(client, snapshot, project, maker, docker_engine, tmp_path):
    told = create(client, project, maker, "--platform", "linux-aarch64", code=2)
    assert "exclude each other" in told.stderr
    folder = make_project(tmp_path / "newer")
    source = (folder / "churn.py").read_text()
    other = source.replace("import pipeline, step", "import Environment, pipeline, step")
    newer = '@step(cache=False, environment=Environment("newer", python="3.13"))\ndef load('
    (folder / "churn.py").write_text(other.replace("@step(cache=False)\ndef load(", newer))
    told = snapshot(folder=folder, code=1)
    assert "environment `newer` asks for Python 3.13, and the runner image has 3.11" in told.stderr
    assert not client.store.find(Snapshot).items


def test_a_stack_that_starts_no_containers_is_refused_by_name(client, project, maker):
    told = create(client, project, maker, stack="default", code=1)
    assert "stack `default` starts no runner images" in told.stderr
    assert "`local`" in told.stderr
