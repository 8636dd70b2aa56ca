"""What is planned, shown, entered and cleared away of runs in containers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.engine.conftest import index as index, only_the_index as only_the_index, project as project
from tests.engine.play import wait_until
from tests.engine.test_containers import boxed as boxed, completed, containers, register
from tests.services import own_name

from tilth.errors import EngineUnavailable
from tilth.records import Run, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.play import Project
    from tests.services import BaseImages, DockerEngine, RegistryService

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("only_the_index")]

SOURCE = """
import os, time
from pathlib import Path
from tilth import Environment, pipeline, step

small = Environment("small", requirements=["beta"], base_image="BASE")

@step(environment=small)
def tells() -> str:
    import beta
    return beta.VERSION

@pipeline
def telling():
    tells()
"""

ASKING = """
import os
from tilth import Client, Environment, get_step_context, pipeline, step

small = Environment("small", requirements=["beta"], python="3.11", secrets=["TOKEN"])

@step(environment=small)
def asks() -> list:
    token = os.environ["TOKEN"]
    assert token.endswith("`more`") and len(token) == 23, token
    return [len(token), str(Client().get_run(get_step_context().run_name).pipeline)]

@pipeline
def asking():
    asks()
"""

HELD = """
import os, time
from pathlib import Path
from tilth import Environment, pipeline, step

small = Environment("small", requirements=["beta"], python="3.11", secrets=["TOKEN"])

@step(environment=small)
def held():
    Path("begun").write_text(str(len(os.environ["TOKEN"])))
    while Path("hold").exists():
        time.sleep(0.01)

@pipeline
def holding():
    held()
"""


def told(project: Project, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    with project.start(*arguments) as command:
        assert command.wait() == code, command.stderr
    return command.stdout + command.stderr


@pytest.fixture
def newer(boxed: Project, docker_engine: DockerEngine) -> Project:
    """A project whose environment is for a Python that this machine need not have."""
    boxed.write(SOURCE.replace("BASE", docker_engine.images["3.13"]))
    return boxed


def test_a_plan_tells_the_python_of_the_base(newer: Project) -> None:
    assert "to be locked and made  3.13" in told(newer, "plan", "pipeline.py")
    assert not list(newer.home.environments.glob("[0-9a-f]*"))


def test_an_environment_for_containers_stays_when_what_is_broken_is_pruned(newer: Project) -> None:
    completed(newer.run())
    assert "made" in told(newer, "env", "list")
    assert "nothing" in told(newer, "env", "prune")
    completed(newer.run(cache=False))
    shown = told(newer, "env", "show", "small")
    assert "base image    docker:sha256:" in shown
    assert "with Python 3.13." in shown
    assert "stack         boxes, orchestrator boxes" in told(newer, "runs", "show", "telling-1")
    assert "image notes" in told(newer, "cache", "info")


def test_all_environments_can_be_pruned_and_are_made_again(newer: Project) -> None:
    completed(newer.run())
    assert "removed" in told(newer, "env", "prune", "--all")
    assert not list(newer.home.environments.glob("[0-9a-f]*"))
    completed(newer.run(cache=False))


def delivered(boxed: Project, how: str, engine: DockerEngine) -> Project:
    """A project whose environments come to containers in one of two ways, after a run."""
    register(boxed, engine, "others", base_image=engine.images["3.11"], delivery=how)
    boxed.write(SOURCE.replace("BASE", engine.images["3.13"]))
    # No other test has this environment: they share the engine.
    source = (boxed.folder / "pipeline.py").read_text()
    boxed.write(source.replace('"small", ', f'"small", variables={{"OWN": "{own_name()}"}}, '))
    completed(boxed.run())
    return boxed


@pytest.fixture(params=["mount", "image"])
def past(boxed: Project, docker_engine: DockerEngine, request: pytest.FixtureRequest) -> Iterator[Project]:
    """See `delivered`."""
    yield delivered(boxed, request.param, docker_engine)
    told(boxed, "env", "prune", "--all")


def test_a_step_of_a_container_is_entered_checked_out_and_run_again_in_one(past: Project) -> None:
    script = "import beta, os; print(beta.__file__, os.getcwd())"
    inside = told(past, "env", "shell", "telling-1/tells", "--", "python", "-c", script)
    assert f"/opt/env/lib/python3.13/site-packages/beta.py {past.folder}\n" in inside
    assert "no program `nosuch`" in told(past, "env", "shell", "telling-1/tells", "--", "nosuch", code=1)
    assert told(past, "env", "shell", "small", "--", "sh", "-c", "exit 7", code=7) == ""
    assert "output output: same as recorded" in told(past, "runs", "rerun", "telling-1/tells", "--local")
    told(past, "env", "checkout", "telling-1/tells", "out")
    out = past.folder / "out"
    again = subprocess.run([out / "run"], capture_output=True, text=True, check=True)
    assert "output output: same as recorded" in again.stderr
    entered = subprocess.run(
        [out / "enter"], input="python -V; pwd\n", capture_output=True, text=True, check=True
    )
    assert entered.stdout.startswith("Python 3.13.")
    assert entered.stdout.endswith(f"{out / 'code'}\n")
    assert (out / ".venv").is_dir() == (past.last_run().images == {})
    completed(past.played(past.records(Run)[-1]))
    assert "completed" in told(past, "runs", "rerun", "telling-1", "--no-cache")
    assert containers(past.records(Run)[0].id) == []


def test_what_was_pruned_is_made_again_to_be_entered(past: Project) -> None:
    told(past, "env", "prune", "--all")
    assert "1.0" in told(
        past, "env", "shell", "telling-1/tells", "--", "python", "-c", "import beta; print(beta.VERSION)"
    )


def test_a_whole_run_of_containers_is_checked_out(past: Project) -> None:
    told(past, "env", "checkout", "telling-1", "out")
    entered = subprocess.run(
        [past.folder / "out" / "enter-small", "python", "-c", "import beta; print(beta.VERSION)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert entered.stdout == "1.0\n"


def test_a_step_that_is_run_again_in_a_container_gets_its_secrets_and_answers(boxed: Project) -> None:
    from tilth.secrets import open_secrets

    secret = 'it\'s $HOME "and" `more`'
    boxed.write(ASKING)
    with boxed.at_home():
        open_secrets(boxed.home).set("TOKEN", secret)
    completed(boxed.run())
    assert "output output: same as recorded" in told(boxed, "runs", "rerun", "asking-1/asks", "--local")
    printed = ["python", "-c", "import os; print(len(os.environ['TOKEN']))"]
    assert f"{len(secret)}\n" in told(boxed, "env", "shell", "asking-1/asks", "--", *printed)
    told(boxed, "env", "checkout", "asking-1/asks", "out")
    out = boxed.folder / "out"
    bare = subprocess.run([out / "run"], capture_output=True, text=True, check=False)
    assert "variable `TOKEN` is not set" in bare.stderr
    given = subprocess.run(
        [out / "run"], capture_output=True, text=True, check=False, env={**os.environ, "TOKEN": secret}
    )
    assert "asks for what is recorded" in given.stderr  # it came so far with the secret as it is
    assert not list((out / "step").glob(".secrets*"))
    assert secret not in (out / "run").read_text()


def test_without_the_engine_or_the_base_nothing_is_entered(
    newer: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    completed(newer.run())
    told(newer, "env", "checkout", "telling-1/tells", "out")
    for arguments in (
        ("env", "shell", "telling-1/tells", "--", "python", "-V"),
        ("runs", "rerun", "telling-1/tells", "--local"),
        ("env", "checkout", "telling-1/tells", "other"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
            assert "the docker engine does not answer" in told(newer, *arguments, code=1)
    assert not (newer.folder / "other").exists()
    nothing = tmp_path_factory.mktemp("nothing")
    ended = subprocess.run(
        ["/bin/sh", newer.folder / "out" / "run"],
        env={"PATH": str(nothing)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, "there is no docker" in ended.stderr) == (1, True)


def test_what_must_be_built_first_is_planned_and_nothing_is_built(
    boxed: Project, docker_engine: DockerEngine
) -> None:
    (boxed.folder / "tool.Dockerfile").write_text(
        f"FROM {docker_engine.images['3.11']}\nRUN echo hello > /greeting\n"
    )
    boxed.write(
        SOURCE.replace('base_image="BASE"', 'dockerfile="tool.Dockerfile"').replace(
            "return beta.VERSION", 'return Path("/greeting").read_text()'
        )
    )
    planned = told(boxed, "plan", "pipeline.py")
    assert "to be built, locked and made" in planned
    assert "for environment `small`, its Dockerfile must be built first" in planned
    assert "the image builder `native` runs no commands" in told(boxed, "run", "pipeline.py", code=1)
    told(boxed, "component", "register", "maker", "--type", "image_builder", "--flavor", "docker")
    told(boxed, "stack", "update", "boxes", "-i", "maker")
    told(boxed, "run", "pipeline.py")
    assert boxed.load("tells") == "hello\n"
    assert "for environment `small`" not in told(boxed, "plan", "pipeline.py")


def test_a_base_that_the_engine_lacks_is_pulled_and_that_is_told(
    project: Project, docker_engine: DockerEngine, registry_plain: RegistryService
) -> None:
    name = f"{registry_plain.host}/{registry_plain.repository('base')}:{own_name()}"
    for arguments in (["tag", docker_engine.images["3.11"], name], ["push", name], ["rmi", name]):
        subprocess.run(["docker", *arguments], check=True, capture_output=True)
    register(project, docker_engine, base_image=name)
    project.write(SOURCE.replace('base_image="BASE"', 'python="3.11"'))
    try:
        said = told(project, "run", "pipeline.py")
        assert f"`docker` pulls the base image `{name}`" in said
        assert "pulls" not in told(project, "run", "--no-cache", "pipeline.py")
    finally:
        subprocess.run(["docker", "rmi", name], check=False, capture_output=True)


def test_a_user_who_may_not_use_the_folders_is_told(project: Project, docker_engine: DockerEngine) -> None:
    project.folder.chmod(0o700)
    register(project, docker_engine, user="65534:65534")
    project.write(SOURCE.replace('base_image="BASE"', 'python="3.11"'))
    said = told(project, "run", "pipeline.py", code=1)
    assert "may not use its folder" in said
    assert "setting `user`" in said


def test_a_setting_that_the_engine_refuses_is_told(project: Project, docker_engine: DockerEngine) -> None:
    register(project, docker_engine, run_options='["--no-such-option"]')
    project.write(SOURCE.replace('base_image="BASE"', 'python="3.11"'))
    said = told(project, "run", "pipeline.py", code=1)
    assert "unknown flag: --no-such-option" in said
    assert "`run_options`" in said


def test_a_base_without_python_is_refused(boxed: Project) -> None:
    name = f"{own_name()}:1"
    subprocess.run(["docker", "import", "-", name], input=bytes(10240), check=True, capture_output=True)
    try:
        boxed.write(SOURCE.replace("BASE", name))
        assert "has no Python" in told(boxed, "plan", "pipeline.py", code=1)
    finally:
        subprocess.run(["docker", "rmi", "--force", name], check=True, capture_output=True)


def podman_options() -> list[str] | None:
    """What Podman needs to start a container on this machine; None where it cannot, or is not there."""
    if shutil.which("podman") is None:
        return None
    init = next(filter(None, map(shutil.which, ("catatonit", "tini", "docker-init"))), None)
    # A container of a bare folder, so that no image is needed; a machine may not let limits be raised.
    for limits in ([], ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]):
        options = [*limits, *([f"--init-path={init}"] if init else [])]
        tried = subprocess.run(
            ["podman", "run", "--rm", "--init", *options, "--rootfs", "/:O", "/bin/true"],
            capture_output=True, check=False, timeout=300,
        )  # fmt: skip
        if tried.returncode == 0:
            return options
    return None


def test_podman_runs_a_pipeline_too(
    project: Project, docker_engine: DockerEngine, base_images: BaseImages
) -> None:
    options = podman_options()
    if options is None:
        pytest.skip("podman starts no container here")
    name = base_images.registry["3.11"]
    subprocess.run(["podman", "pull", "--quiet", "--tls-verify=false", name], check=True, capture_output=True)
    register(project, docker_engine, engine="podman", base_image=name, run_options=json.dumps(options))
    project.write(SOURCE.replace('base_image="BASE"', 'python="3.11"'))
    completed(project.run())
    of_run = f"label=dev.tilth.run={project.last_run().id}"

    def listed() -> str:
        command = ["podman", "ps", "--all", "--quiet", "--filter", of_run]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    wait_until(lambda: not listed(), "the end of its containers")


def test_another_base_is_another_environment(boxed: Project, docker_engine: DockerEngine) -> None:
    boxed.write(SOURCE.replace("BASE", docker_engine.images["3.11"]))
    completed(boxed.run())
    boxed.write(SOURCE.replace("BASE", docker_engine.images["3.13"]))
    assert boxed.run().states == {"tells": "completed"}


def test_no_engine_at_all_is_told(
    newer: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("nothing")))
    with pytest.raises(EngineUnavailable, match="`docker`"):
        newer.run()


@pytest.fixture
def held(boxed: Project) -> Project:
    """Its step goes on while there is a file `hold`."""
    from tilth.secrets import open_secrets

    boxed.write(HELD)
    (boxed.folder / "hold").touch()
    with boxed.at_home():
        open_secrets(boxed.home).set("TOKEN", "s3cr3t-value")
    return boxed


def begun(project: Project) -> str:
    """Waits for the step; gives the name of its container."""
    wait_until((project.folder / "begun").exists)
    (container,) = containers(project.last_run().id)
    return container


def test_no_secret_is_in_what_an_engine_tells_of_a_container(held: Project) -> None:
    with held.start("run", "pipeline.py") as command:
        container = begun(held)
        inspected = subprocess.run(
            ["docker", "inspect", container], capture_output=True, text=True, check=True
        )
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        seen = f"{inspected.stdout}\n" + "\n".join(line for line in listed.splitlines() if container in line)
        assert held.last_run().id in inspected.stdout
        assert f"--name {container}" in seen
        assert "s3cr3t" not in seen
        assert "TOKEN" not in seen
        (held.folder / "hold").unlink()
        assert command.wait() == 0, command.stderr
    assert (held.folder / "begun").read_text() == str(len("s3cr3t-value"))


# Between a command line and its engine; whoever ends or stops it does so to the engine, as far as that can see.
PROXY = """
import os, socket, sys, threading
here = socket.socket(socket.AF_UNIX)
here.bind(sys.argv[1])
here.listen(64)
def copy(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass
while True:
    near, _ = here.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[2])
    threading.Thread(target=copy, args=(near, far), daemon=True).start()
    threading.Thread(target=copy, args=(far, near), daemon=True).start()
"""


@pytest.fixture
def engine(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine, by a process that can be killed."""
    path = tmp_path_factory.mktemp("engine") / "s"
    command = [sys.executable, "-c", PROXY, str(path), docker_engine.host.removeprefix("unix://")]
    with subprocess.Popen(command) as process:
        try:
            wait_until(path.exists)
            yield Engine(process, {"DOCKER_HOST": f"unix://{path}"})
        finally:
            process.kill()


class Engine(NamedTuple):
    process: subprocess.Popen[bytes]
    variables: dict[str, str]


@pytest.mark.faults
def test_an_engine_that_goes_away_is_told_and_the_step_with_it(held: Project, engine: Engine) -> None:
    with held.start("run", "pipeline.py", env=engine.variables) as command:
        begun(held)
        engine.process.kill()
        assert command.wait() == 1
    failure = held.played(held.last_run()).attempts("held")[0].failure
    assert failure is not None
    assert failure.reason == "lost"
    assert "the container engine went away while it ran" in failure.message
    wait_until(lambda: not containers(held.last_run().id))


@pytest.mark.faults
def test_a_run_is_cancelled_also_when_its_engine_hangs(held: Project, engine: Engine) -> None:
    with held.start("run", "pipeline.py", env=engine.variables) as command:
        begun(held)
        os.kill(engine.process.pid, signal.SIGSTOP)
        try:
            command.signal_group(signal.SIGINT)
            command.wait()
            # Nobody could tell the engine: the container ends because the driver has hung up.
            wait_until(lambda: not containers(held.last_run().id))
        finally:
            os.kill(engine.process.pid, signal.SIGCONT)
    assert held.last_run().state is State.CANCELLED


def test_a_container_that_is_removed_says_nothing_of_processes(held: Project) -> None:
    with held.start("run", "pipeline.py") as command:
        subprocess.run(["docker", "rm", "--force", begun(held)], check=True, capture_output=True)
        assert command.wait() == 1
    assert "Unknown child process" not in command.stderr


def test_ctrl_c_ends_the_container(held: Project) -> None:
    with held.start("run", "pipeline.py") as command:
        begun(held)
        command.signal_group(signal.SIGINT)
        command.wait()
    assert held.last_run().state is State.CANCELLED
    wait_until(lambda: not containers(held.last_run().id), "the end of its containers")


def test_a_detached_run_goes_on_in_containers(held: Project) -> None:
    told(held, "run", "--detach", "pipeline.py")
    begun(held)
    (held.folder / "hold").unlink()
    wait_until(lambda: held.last_run().state is State.COMPLETED)


def test_a_container_that_somebody_kills_is_tried_again(held: Project) -> None:
    held.write(HELD.replace("@step(", "@step(retry=1, "))
    with held.start("run", "pipeline.py") as command:
        container = begun(held)
        (held.folder / "begun").unlink()
        subprocess.run(["docker", "kill", container], check=True, capture_output=True)
        wait_until((held.folder / "begun").exists)
        (held.folder / "hold").unlink()
        assert command.wait() == 0, command.stderr
    played = held.played(held.last_run())
    assert [each.state.value for each in played.attempts("held")] == ["failed", "completed"]
    assert played.attempts("held")[0].failure
    assert played.attempts("held")[0].failure.reason == "killed"


def test_files_that_a_step_writes_belong_to_who_runs_tilth(newer: Project, tmp_path: Path) -> None:
    newer.write(
        (newer.folder / "pipeline.py")
        .read_text()
        .replace("    import beta\n", '    Path("written").touch()\n    import beta\n')
    )
    completed(newer.run())
    assert (newer.folder / "written").stat().st_uid == os.getuid()
