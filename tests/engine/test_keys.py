"""What must not be taken for the same: each of these once gave another step's outputs."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tilth import Client

if TYPE_CHECKING:
    from tests.engine.play import Project

MAPPED = """
from tilth import pipeline, step, unmapped

@step
def double(xs):
    return xs * 2

@step
def add(a, b):
    return [a, b]

@pipeline
def whole():
    double([1, 2, 3])

@pipeline
def items():
    double.map([1, 2, 3])

@pipeline
def both():
    add.map([1, 2], [3, 4])

@pipeline
def one():
    add.map([1, 2], unmapped([3, 4]))
"""

CONTEXT = """
import tilth
from tilth import get_step_context, pipeline, step

def asked():
    return get_step_context().parameters["n"]

@step
def direct():
    return tilth.get_step_context().parameters["n"]

@step
def through_a_helper():
    return asked()

@step
def without():
    return 1

@pipeline
def context(n: int = 1):
    direct()
    through_a_helper()
    without()
"""


@pytest.mark.parametrize(("first", "second"), [("whole", "items"), ("both", "one")])
def test_a_step_mapped_over_other_inputs_is_another(project: Project, first: str, second: str) -> None:
    project.write(MAPPED)
    project.run(f"pipeline.py:{first}")
    assert set(project.run(f"pipeline.py:{second}").states.values()) == {"completed"}


def test_a_step_that_reads_the_pipelines_parameters_depends_on_them(project: Project) -> None:
    project.write(CONTEXT)
    project.run()
    played = project.run(n=2)
    assert played.states == {"direct": "completed", "through_a_helper": "completed", "without": "cached"}
    assert project.load("through_a_helper") == 2


ODD = """
from tilth import log_metadata, pipeline, save_artifact, step

@step
def wrong_tag():
    save_artifact(1, "checkpoint", tags=[3])

@step
def wrong_name():
    save_artifact(1, 7)

@step
async def waits():
    return 5

@step(name="a.1")
def mapped(x):
    return x

@step(name="a")
def plain():
    log_metadata({"seen": True}, run=True)
    return 1

@pipeline(failure_mode="continue")
def odd():
    wrong_tag(); wrong_name()

@pipeline
def fine():
    waits(); plain(); mapped.map([1, 2, 3])
"""


def test_names_and_tags_that_are_no_text_are_refused_before_they_are_kept(project: Project) -> None:
    project.write(ODD)
    played = project.run("pipeline.py:odd")
    assert "tag `3`" in played.steps["wrong_tag"].failure.message
    assert "`Artifact(name=7)`" in played.steps["wrong_name"].failure.message


@pytest.mark.parametrize("in_process", [False, True])
def test_steps_whose_names_look_alike_do_not_share_a_folder(project: Project, in_process: bool) -> None:
    project.write(ODD)
    played = project.run("pipeline.py:fine", in_process=in_process)
    assert set(played.states.values()) == {"completed"}
    assert played.run.metadata == {"seen": True}
    assert project.load("waits") == 5


PLUGINS = """
import time
from importlib import import_module
from pathlib import Path
from tilth import pipeline, step

@step
def first():
    Path("plug_in.py").write_text("VALUE = 2\\\\n")
    time.sleep(1.1)
    return 1

@step
def second(_):
    return import_module("plug_" + "in").VALUE

@pipeline
def plugins():
    second(first())
"""


def test_what_a_dynamic_import_may_find_must_not_change_during_a_run(project: Project) -> None:
    project.write(PLUGINS)
    project.write("VALUE = 1\n", "plug_in.py")
    played = project.run()
    assert played.steps["second"].failure.reason == "changed"


SAVES = """
from tilth import pipeline, save_artifact, step

@step
def saves():
    save_artifact([1, 2], "checkpoint")
    return 1

@pipeline
def saving():
    saves()
"""
KILLED = """
import os, signal, sys
from tilth.client.driving import RunOptions
from tilth.client.submit import run_file
from tilth.engine import journal
from tilth.records import State

add = journal.Journal.add

def killed(self, *changes, **more):
    if any(getattr(each.record, "state", None) is State.COMPLETED for each in changes):
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, *changes, **more)

journal.Journal.add = killed
run_file("pipeline.py", {}, RunOptions(), lambda _: None)
"""


def test_a_run_killed_between_taking_artifacts_over_and_recording_them_is_resumed(project: Project) -> None:
    project.write(SAVES)
    with project.at_home():
        ended = subprocess.run([sys.executable, "-c", KILLED], cwd=project.folder, check=False)
    assert ended.returncode == -signal.SIGKILL
    played = project.resume("saving-1")
    assert played.states == {"saves": "completed"}
    assert project.load("saves") == 1
    with project.at_home():
        assert Client().load_artifact("checkpoint") == [1, 2]
