"""Whole runs whose artifacts are shared through a bucket."""

from __future__ import annotations

import shutil
import signal
import socket
import time
import uuid

import pytest
from tests.engine.play import Project, wait_until

from tilth.client import artifacts, queries, submit
from tilth.client.artifacts import open_objects
from tilth.errors import StoreUnavailable
from tilth.home import Home
from tilth.records import Component, ComponentUsed, Run
from tilth.runtime.client import Client
from tilth.secrets import open_secrets
from tilth.stack.assembled import AssembledStack

PIPELINE = """
    from pathlib import Path

    from tilth import pipeline, step, HTML


    def ran(name):
        with open("ran.txt", "a") as file:
            file.write(name + "\\n")


    @step
    def load() -> list:
        ran("load")
        return [1, 2, 3]


    @step
    def score(x: int) -> int:
        ran(f"score {x}")
        return x * 10


    @step
    def total(scores: list, rows: list, extra: int) -> int:
        ran("total")
        return sum(scores) + len(rows) + extra


    @step
    def page(value: int) -> HTML:
        return HTML(f"<b>{value}</b>")


    @pipeline
    def flow(extra: int = 0):
        rows = load()
        page(total(score.map(rows), rows, extra))
"""


@pytest.fixture
def bucket(moto_signed, home):
    """A bucket as a run records it: its secret by name."""
    home.mkdir(parents=True)
    return ComponentUsed(
        flavor="s3",
        component="bucket",
        settings={
            "bucket": moto_signed.bucket,
            "prefix": uuid.uuid4().hex,
            "endpoint": moto_signed.url,
            "region": moto_signed.region,
            "key": moto_signed.access_key,
            "secret": "secret:moto",
        },
    )


def share(monkeypatch, used):
    """Have a stack be active whose artifact store is this one; None for the default stack."""
    local = Component(project="p", type="orchestrator", name="local", flavor="local")
    used = used or ComponentUsed(flavor="local", component="local", settings={})
    store = Component(
        project="p", type="artifact_store", name="bucket", flavor=used.flavor, settings=used.settings
    )
    components = {"orchestrator": local, "artifact_store": store}
    stack = AssembledStack("shared", components)
    monkeypatch.setattr(submit, "active_stack", lambda *_, **__: stack)


@pytest.fixture
def project(tmp_path, home, bucket, moto_signed, monkeypatch):
    """A project whose runs share their artifacts."""
    (tmp_path / "tilth.toml").touch()
    made = Project(tmp_path, Home(home))
    made.write(PIPELINE)
    with made.at_home():
        open_secrets(made.home).set("moto", moto_signed.secret_key)
    share(monkeypatch, bucket)
    yield made
    queries.close()


def ran(project):
    path = project.folder / "ran.txt"
    told = sorted(path.read_text().split("\n")[:-1]) if path.exists() else []
    path.unlink(missing_ok=True)
    return told


def forget(project):
    """What another machine has of it: the records, none of the artifacts."""
    for path in project.home.artifacts.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(project.home.artifacts)


@pytest.mark.objects
def test_cached_steps_are_reused_when_nothing_of_them_is_here(project):
    first = project.run(extra=1)
    assert set(first.states.values()) == {"completed"}
    assert len(ran(project)) == 5
    forget(project)
    again = project.run(extra=1)
    assert set(again.states.values()) == {"cached"}
    assert ran(project) == []
    # Decided without bringing values: only the list that is mapped over is here, for the digests of its items.
    assert len(list(project.home.artifacts.glob("??/*"))) == 1
    # A step that really runs gets its inputs, the items of the mapped step too.
    third = project.run(extra=2)
    assert third.states["total"] == "completed"
    assert third.states["load"] == "cached"
    assert ran(project) == ["total"]
    with project.at_home():
        assert Client().get_run(third.run.name).steps["total"].outputs["output"].load() == 65


@pytest.mark.objects
def test_what_a_run_gave_is_loaded_from_where_its_record_says(project, monkeypatch, tilth, tmp_path):
    run = project.run().run
    forget(project)
    share(monkeypatch, None)  # another stack is active now
    assert run.artifact_store is not None
    assert run.artifact_store.settings["secret"] == "secret:moto"
    with project.at_home():
        steps = Client().get_run(run.name).steps
        assert steps["total"].outputs["output"].load() == 63
        assert list(steps["score"].outputs["output"].load()) == [10, 20, 30]
    forget(project)
    tilth("artifacts", "get", "flow/total/output", "total.json")
    assert "63" in (tmp_path / "total.json").read_text()


@pytest.mark.objects
def test_artifacts_of_a_run_here_are_sent_when_a_shared_run_takes_them_over(project, monkeypatch, bucket):
    share(monkeypatch, None)
    project.run()
    share(monkeypatch, bucket)
    shared = project.run()
    assert set(shared.states.values()) == {"cached"}
    forget(project)
    with project.at_home():
        assert Client().get_run(shared.run.name).steps["total"].outputs["output"].load() == 63
        assert Client().get_run(shared.run.name).steps["score"].outputs["output"].load()[2] == 30


@pytest.mark.objects
def test_an_artifact_that_was_damaged_in_the_bucket_is_made_again(project, bucket):
    first = project.run()
    ran(project)
    forget(project)
    digest = first.steps["load"].outputs["output"].digest.removeprefix("sha256:")
    objects = open_objects(project.home, bucket)
    objects.put(f"artifacts/{digest[:2]}/{digest}/artifact.json", b'{"version": 1}')
    again = project.run()
    assert again.states["load"] == "completed"
    assert ran(project) == ["load"]


@pytest.mark.objects
def test_a_run_whose_store_is_gone_can_be_resumed_when_it_is_back(project, bucket, monkeypatch):
    nowhere = ComponentUsed(
        flavor="s3", settings={**bucket.settings, "endpoint": "http://127.0.0.1:9"}, component="bucket"
    )
    share(monkeypatch, nowhere)
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        project.run()
    assert "; then `tilth runs resume flow-1` goes on" in caught.value.mend
    ran(project)
    monkeypatch.setattr(artifacts, "_opened", {})
    (run,) = project.records(Run)
    real = artifacts.open_objects
    monkeypatch.setattr(artifacts, "open_objects", lambda home, used: real(home, bucket))
    ended = project.resume(run.name)
    assert set(ended.states.values()) <= {"completed", "cached"}


@pytest.fixture
def deaf():
    """A server that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.faults
def test_ctrl_c_twice_ends_a_run_whose_store_does_not_answer(tmp_path, home, deaf):
    """Its library waits for minutes, and what waits for it must not."""
    (tmp_path / "tilth.toml").touch()
    project = Project(tmp_path, Home(home))
    project.write(PIPELINE)
    settings = {"bucket": "b", "endpoint": deaf, "key": "k", "secret": "secret:S3"}
    with project.at_home():
        open_secrets(project.home).set("S3", "hunter2-hunter2")
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    for arguments in (
        ("component", "register", "deaf", "--type", "artifact_store", "--flavor", "s3", *given),
        ("stack", "register", "deaf", "-o", "local", "-a", "deaf", "--set"),
    ):
        with project.start(*arguments) as command:
            assert command.wait(60) == 0, command.stderr
    with project.start("run", "pipeline.py") as command:
        wait_until(lambda: (tmp_path / "ran.txt").exists() and "total" in (tmp_path / "ran.txt").read_text())
        command.signal(signal.SIGINT)
        time.sleep(0.5)
        command.signal(signal.SIGINT)
        assert command.wait(20) == 130
        assert "Traceback" not in command.stderr
