"""Runs in containers of a real engine: each step in its own, nothing left of any."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engine.play import processes_of, wait_until
from tests.services import own_name

from tilth.errors import DefinitionError, EngineUnavailable, ImageNotFound, SetupError
from tilth.orchestrators import Task
from tilth.orchestrators.docker import DockerSettings, command
from tilth.records import Build, Run, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.play import Played, Project
    from tests.services import DockerEngine

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("only_the_index")]

SOURCE = """
import os, platform, sys
from pathlib import Path
from tilth import Client, Environment, Resources, get_step_context, log_metadata, pipeline, step

small = Environment("small", requirements=["alpha==1.0"], python="3.11")

@step(environment=small)
def load(count: int) -> list:
    import alpha
    print("in", alpha.__file__)
    log_metadata({"node": platform.node(), "python": platform.python_version()})
    return list(range(count))

@step(environment=small)
def square(value: int) -> int:
    return value * value

@step(environment=small.with_options(name="other", requirements=["alpha==2.0"]))
def total(values: list) -> int:
    import alpha
    print(Client().get_run(get_step_context().run_name).state, alpha.VERSION if hasattr(alpha, "VERSION") else "")
    return sum(values)

@pipeline
def sums(count: int = 3):
    total(square.map(load(count)))
"""

ENDS = """
import os, signal, time
from pathlib import Path
from tilth import Environment, Resources, pipeline, step

small = Environment("small", requirements=["beta"], python="3.11")

@step(environment=small)
def raises() -> int:
    raise ValueError("no good")

@step(environment=small)
def dies():
    os.kill(os.getpid(), signal.SIGKILL)

@step(environment=small)
def crashes():
    import ctypes
    ctypes.string_at(0)

@step(environment=small)
def leaves():
    os._exit(7)

@step(environment=small, resources=Resources(memory="64MiB"))
def greedy() -> int:
    return len(b"x" * (1 << 30))

@step(environment=small, timeout="1s")
def slow():
    time.sleep(600)

@pipeline(failure_mode="continue")
def ends():
    raises(); dies(); crashes(); leaves(); greedy(); slow()
"""

HELD = """
import time
from pathlib import Path
from tilth import Environment, pipeline, step

small = Environment("small", requirements=["beta"], python="3.11")

@step(environment=small)
def first() -> int:
    Path("first").write_text("once\\n" + (Path("first").read_text() if Path("first").exists() else ""))
    return 1

@step(environment=small)
def held(value: int) -> int:
    Path("begun").touch()
    while Path("hold").exists():
        time.sleep(0.01)
    return value + 1

@pipeline
def holding():
    held(first())
"""


def containers(run: str = "") -> list[str]:
    """Names of all containers of a run, or of any, whatever their state."""
    label = f"label=dev.tilth.run={run}" if run else "label=dev.tilth.run"
    listed = subprocess.run(
        ["docker", "ps", "--all", "--filter", label, "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def register(project: Project, engine: DockerEngine, name: str = "boxes", /, **settings: str) -> None:
    """A stack of the project whose steps run in containers, and the choice of it."""
    settings = {"base_image": engine.images["3.11"], **settings}
    given = [each for key, value in settings.items() for each in ("--set", f"{key}={value}")]
    for arguments in (
        ["component", "register", name, "--type", "orchestrator", "--flavor", "docker", *given],
        ["stack", "register", name, "-o", name, "-a", "local"],
        ["stack", "set", name],
    ):
        with project.start(*arguments) as command:
            assert command.wait() == 0, command.stderr


@pytest.fixture
def boxed(project: Project, docker_engine: DockerEngine) -> Iterator[Project]:
    """A project whose steps run in containers."""
    register(project, docker_engine)
    yield project
    for run in project.records(Run):
        wait_until(lambda run=run: not containers(run.id), "the end of its containers")


def completed(played: Played) -> Played:
    assert played.run.state is State.COMPLETED, [
        (each.step, each.failure) for each in played.records if each.failure
    ]
    return played


def test_a_pipeline_runs_in_containers_and_gives_what_it_gives_here(boxed: Project) -> None:
    boxed.write(SOURCE)
    there = completed(boxed.run())
    assert there.lines("load")[0].startswith("in /opt/env/lib/python3.11/site-packages/alpha")
    assert there.lines("total")[0].startswith("running")
    digests = boxed.digests()
    metadata = there.steps["load"].metadata
    assert metadata["node"] != os.uname().nodename
    assert (there.run.stack, there.run.orchestrator and there.run.orchestrator.flavor) == ("boxes", "docker")
    assert boxed.load("total") == 5
    assert set(boxed.run().states.values()) == {"cached"}
    if sys.version_info[:2] == (3, 11):
        here = completed(boxed.run(stack="default"))
        assert here.states["load"] == "completed"  # on another C library it is another environment
        assert boxed.digests() == digests


def test_each_end_of_a_step_is_told_apart(boxed: Project) -> None:
    boxed.write(ENDS)
    played = boxed.run()
    told = {each.step: each.failure for each in played.records}
    reasons = {step: failure.reason if failure else "" for step, failure in told.items()}
    assert reasons.pop("greedy") in ("out_of_memory", "killed")  # Docker loses the event now and then
    assert reasons == {
        "raises": "exception",
        "dies": "killed",
        "crashes": "killed",
        "leaves": "exited",
        "slow": "timeout",
    }
    assert told["raises"]
    assert told["raises"].traceback.rstrip().endswith("ValueError: no good")
    assert told["crashes"]
    assert "SIGSEGV" in told["crashes"].message
    assert told["greedy"]
    assert "its resources allow 64 MiB" in told["greedy"].message


@pytest.mark.faults
def test_a_run_whose_client_was_killed_leaves_no_container_and_is_resumed(boxed: Project) -> None:
    boxed.write(HELD)
    (boxed.folder / "hold").touch()
    with boxed.start("run", "pipeline.py") as command:
        wait_until((boxed.folder / "begun").exists)
        run = boxed.last_run()
        assert len(containers(run.id)) == 1
        command.kill()
    wait_until(lambda: containers(run.id) == [])
    (boxed.folder / "hold").unlink()
    resumed = completed(boxed.resume(run.name))
    assert resumed.states == {"first": "completed", "held": "completed"}
    assert (boxed.folder / "first").read_text() == "once\n"
    wait_until(lambda: not processes_of(boxed.home))


def test_a_cancelled_run_ends_its_containers(boxed: Project) -> None:
    boxed.write(HELD)
    (boxed.folder / "hold").touch()
    with boxed.start("run", "--detach", "pipeline.py") as command:
        assert command.wait() == 0
    wait_until((boxed.folder / "begun").exists)
    with boxed.start("runs", "cancel", boxed.last_run().name) as command:
        assert command.wait() == 0
    wait_until(lambda: boxed.last_run().state is State.CANCELLED)
    wait_until(lambda: not containers(boxed.last_run().id), "the end of its containers")


def test_a_secret_comes_to_the_step_and_nowhere_else(boxed: Project) -> None:
    boxed.write(
        """
        import os
        from tilth import Environment, pipeline, step

        small = Environment("small", requirements=["beta"], python="3.11", secrets=["TOKEN"])

        @step(environment=small)
        def tells() -> int:
            print("it is", os.environ["TOKEN"], len(os.environ["TOKEN"]))
            return len(os.environ["TOKEN"])

        @pipeline
        def telling():
            tells()
        """
    )
    with boxed.at_home():
        from tilth.secrets import open_secrets

        open_secrets(boxed.home).set("TOKEN", "s3cr3t-value")
    played = completed(boxed.run())
    assert played.lines("tells") == ["it is *** 12"]


def test_steps_of_two_pythons_run_in_one_pipeline(boxed: Project, docker_engine: DockerEngine) -> None:
    boxed.write(
        f"""
        import sys
        from tilth import Environment, pipeline, step

        old = Environment("old", requirements=["beta"], base_image={docker_engine.images["3.11"]!r})
        new = old.with_options(name="new", base_image={docker_engine.images["3.13"]!r})

        @step(environment=old)
        def one() -> str:
            return "%d.%d" % sys.version_info[:2]

        @step(environment=new)
        def two(before: str) -> list:
            return [before, "%d.%d" % sys.version_info[:2]]

        @pipeline
        def both():
            two(one())
        """
    )
    completed(boxed.run())
    assert boxed.load("two") == ["3.11", "3.13"]


def test_a_base_with_another_python_than_is_asked_for_is_refused(
    boxed: Project, docker_engine: DockerEngine
) -> None:
    boxed.write(
        SOURCE.replace('python="3.11"', f'python="3.12", base_image={docker_engine.images["3.11"]!r}')
    )
    with pytest.raises(DefinitionError, match=r"asks for Python 3\.12, and its base `.*` has 3\.11\.2"):
        boxed.plan()
    with pytest.raises(DefinitionError):
        boxed.run()
    assert boxed.records(Run) == []


def test_a_base_that_is_nowhere_is_told(boxed: Project) -> None:
    boxed.write(SOURCE.replace('python="3.11"', 'base_image="127.0.0.1:9/no/such:base"'))
    with pytest.raises(ImageNotFound, match="no/such:base"):
        boxed.run()


def test_an_image_is_made_and_loaded_where_that_is_asked_for(
    project: Project, docker_engine: DockerEngine
) -> None:
    register(project, docker_engine, delivery="image")
    # Images are named by what is in them. Nobody else may have these, for they are removed.
    own = f'requirements=["alpha==1.0"], variables={{"OWN": "{own_name()}"}}'
    project.write(SOURCE.replace('requirements=["alpha==1.0"]', own))
    played = completed(project.run())
    builds = project.records(Build)
    assert {each.name for each in builds} == {"small", "other"}
    assert played.run.images == {each.name: each.image for each in builds}
    for each in builds:
        (reference,) = each.references
        inside = subprocess.run(
            ["docker", "run", "--rm", reference.removeprefix("docker:"),
             "/opt/env/bin/python", "-c", "import alpha; print(alpha.__file__)"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert inside.stdout.startswith("/opt/env/lib/python3.11/")
    completed(project.run(cache=False))
    assert len(project.records(Build)) == 2
    subprocess.run(
        ["docker", "rmi", "--force", *(each.references[0].removeprefix("docker:") for each in builds)],
        check=True,
        capture_output=True,
    )
    completed(project.run(cache=False))


def test_code_in_the_image_is_what_was_compiled(project: Project, docker_engine: DockerEngine) -> None:
    register(project, docker_engine, delivery="image")
    (project.folder / "tilth.toml").write_text('code = "image"\n')
    project.write("NUMBER = 7\n", "helper.py")
    project.write(
        """
        import os
        import helper
        from tilth import Environment, pipeline, step

        small = Environment("small", requirements=["beta"], python="3.11")

        @step(environment=small)
        def tells() -> list:
            return [helper.NUMBER, os.path.dirname(helper.__file__), os.getcwd()]

        @pipeline
        def telling():
            tells()
        """
    )
    played = completed(project.run())
    assert project.load("tells") == [7, "/opt/code", "/opt/code"]
    assert played.run.code
    assert played.run.code.how == "image"


def test_a_ready_image_is_used_as_it_is(boxed: Project, docker_engine: DockerEngine) -> None:
    boxed.write(
        f"""
        import sys
        from tilth import Environment, pipeline, step

        ready = Environment("ready", image={docker_engine.images["3.13"]!r})

        @step(environment=ready)
        def tells() -> list:
            return [sys.executable, "%d.%d" % sys.version_info[:2]]

        @pipeline
        def telling():
            tells()
        """
    )
    completed(boxed.run())
    assert boxed.load("tells") == ["/usr/bin/python3.13", "3.13"]
    with pytest.raises(DefinitionError, match="is the image"):
        boxed.run(stack="default")


def test_an_engine_that_does_not_answer_is_told_with_what_needs_it(
    boxed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed.write(SOURCE)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(EngineUnavailable) as refused:
        boxed.run()
    assert "docker" in str(refused.value)


def test_limits_and_options_are_passed_on(project: Project, docker_engine: DockerEngine) -> None:
    register(project, docker_engine, network="none", run_options='["--shm-size=96m"]')
    project.write(
        """
        import os
        from pathlib import Path
        from tilth import Environment, Resources, pipeline, step

        small = Environment("small", requirements=["beta"], python="3.11")

        @step(environment=small, resources=Resources(cpu=1, memory="256MiB"))
        def tells() -> dict:
            shm = os.statvfs("/dev/shm")
            limits = [Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory.max")]
            return {
                "user": [os.getuid(), os.getgid()],
                "shared": shm.f_blocks * shm.f_frsize >> 20,
                "memory": [int(each.read_text()) >> 20 for each in limits if each.exists()],
                "networks": os.listdir("/sys/class/net"),
            }

        @pipeline
        def telling():
            tells()
        """
    )
    completed(project.run())
    told = project.load("tells")
    assert told["user"] == [os.getuid(), os.getgid()]
    assert told["shared"] == 96
    assert told["memory"] == [256]
    assert told["networks"] == ["lo"]


def test_a_gpu_that_no_container_can_have_is_refused(boxed: Project) -> None:
    boxed.write(
        SOURCE.replace("@step(environment=small)", "@step(environment=small, resources=Resources(gpu=1))", 1)
    )
    with pytest.raises(SetupError, match="cannot be placed"):
        boxed.run()


def test_a_project_that_would_hide_the_base_is_not_mounted(tmp_path: Path) -> None:
    task = Task(
        label="load",
        folder=tmp_path,
        python=Path("/opt/env/bin/python"),
        image="x",
        roots=("/usr",),
        cwd="/usr",
    )
    with pytest.raises(SetupError, match="`/usr` cannot be mounted"):
        command(task, DockerSettings(), "name", tmp_path / "s", [])
