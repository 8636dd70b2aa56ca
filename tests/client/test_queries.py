from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from tilth import Client
from tilth.artifact_stores import LocalArtifactStore
from tilth.client import queries
from tilth.engine.logs import LogWriter
from tilth.errors import LoadError, NotFound, UnknownOption
from tilth.home import Home
from tilth.materializers.artifacts import save_artifact
from tilth.records import (
    Artifact,
    ClientEnvironment,
    Environment,
    Failure,
    Lock,
    OutputRef,
    Package,
    Run,
    State,
    StepRun,
)
from tilth.runtime import client
from tilth.store import Put, open_store

BEGIN = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


class World:
    """Writes what a driver would have written."""

    def __init__(self, root):
        self.home = Home(root)
        self.store = open_store(self.home)
        self.artifacts = LocalArtifactStore(self.home.artifacts)
        self.seconds = 0

    def later(self):
        self.seconds += 1
        return BEGIN + timedelta(seconds=self.seconds)

    def run(self, pipeline="churn", **fields):
        at = self.later()
        return self.store.start_run(Run(pipeline=pipeline, created_at=at, started_at=at, **fields))

    def save(self, value):
        folder = self.home.root / "new" / str(self.later().timestamp())
        folder.mkdir(parents=True)
        manifest = save_artifact(value, folder)
        self.artifacts.adopt(folder, manifest["digest"])
        return manifest

    def step(self, run, step, outputs=None, named=True, **fields):
        at = self.later()
        fields = {"state": State.COMPLETED, "created_at": at, "started_at": at, **fields}
        record = StepRun(run=run.id, pipeline=run.pipeline, step=step, **fields)
        changes, refs = [], {}
        for name, value in (outputs or {}).items():
            manifest = self.save(value)
            artifact = Artifact(
                name=name,
                digest=manifest["digest"],
                run=run.id,
                step_run=record.id,
                step=step,
                output=name,
                type=manifest["type"],
                format=manifest["format"],
                size=manifest["size"],
                created_at=self.later(),
            )
            if named:
                changes.append(Put(artifact))
            refs[name] = OutputRef(digest=manifest["digest"], artifact=artifact.id if named else "")
        record = msgspec.structs.replace(record, outputs=refs, finished_at=self.later())
        self.store.write([*changes, Put(record)])
        return record

    def log(self, record, *lines):
        item = "" if record.index is None else f".{record.index}"
        path = self.home.runs / record.run / "logs" / f"{record.step}{item}.{record.attempt}.log"
        writer = LogWriter(path, lambda stream, text: None)
        for line in lines:
            writer.write("stdout", f"{line}\n".encode())
        writer.close()


@pytest.fixture
def world(home):
    world = World(home)
    with world.store:
        yield world
    queries.close()


def test_a_run_is_found_by_name_id_and_the_beginning_of_its_id(world):
    run = world.run()
    for name in (run.name, run.id, run.id[:-3]):
        assert Client().get_run(name).id == run.id


def test_a_run_that_is_not_there_offers_the_nearest(world):
    world.run()
    with pytest.raises(NotFound, match="did you mean `churn-1`"):
        Client().get_run("chrun-1")
    with pytest.raises(NotFound, match="the newest run of that pipeline is `churn-1`"):
        Client().get_run("churn")


def test_the_beginning_of_several_ids_is_refused(world):
    digests = ["sha256:abcd" + end * 30 for end in ("aa", "ab")]
    world.store.add(*(Environment(id=each, name=f"e{n}") for n, each in enumerate(digests)))
    with pytest.raises(NotFound, match="`sha256:abcd` means more than one environment"):
        Client().get_environment("sha256:abcd")
    assert Client().get_environment("abcdaaa").digest == digests[0]


def test_the_latest_run_of_a_pipeline(world):
    world.run()
    second = world.run()
    world.run("other")
    assert Client().get_latest_run("churn").id == second.id
    with pytest.raises(NotFound, match="did you mean `churn`"):
        Client().get_latest_run("chrun")


def test_runs_are_found_page_by_page(world):
    names = [world.run().name for _ in range(5)]
    world.run("other")
    first = Client().find_runs(pipeline="churn", limit=3)
    rest = Client().find_runs(pipeline="churn", limit=3, after=first.next)
    assert [run.name for run in [*first, *rest]] == names[::-1]
    assert rest.next is None


def test_runs_are_found_by_state(world):
    failed = world.run(state=State.FAILED)
    world.run(state=State.COMPLETED)
    assert [run.name for run in Client().find_runs(state="failed")] == [failed.name]
    assert [run.name for run in Client().find_runs(state=("failed", "cancelled"))] == [failed.name]
    with pytest.raises(UnknownOption, match="did you mean `failed`"):
        Client().find_runs(state="faild")


def test_what_a_run_recorded_is_there(world):
    failure = Failure(reason="exception", type="ValueError", message="no rows")
    at = world.later()
    made = world.run(
        state=State.FAILED,
        parameters={"alpha": 0.1},
        metadata={"rows": 3},
        failure=failure,
        finished_at=at + timedelta(seconds=2.5),
    )
    run = Client().get_run(made.name)
    assert (run.state, run.parameters, run.metadata) == ("failed", {"alpha": 0.1}, {"rows": 3})
    assert run.started_at == made.started_at
    assert str(run.failure) == "ValueError: no rows"
    assert repr(run) == "<Run churn-1: failed in 1.5 s, ValueError: no rows>"


def test_an_output_of_a_step_is_loaded(world):
    run = world.run()
    world.step(run, "train", {"model": {"weights": [1.5, 2]}, "score": 0.9})
    train = Client().get_run(run.name).steps["train"]
    assert train.outputs["model"].load() == {"weights": [1.5, 2]}
    assert train.outputs["score"].load() == 0.9
    assert train.outputs["score"].version == 1
    assert repr(train.outputs["score"]).startswith("<Artifact `score` version 1: builtins:float, ")
    assert repr(train) == "<StepRun train of churn-1: completed in 5.0 s>"


def test_an_unknown_step_or_output_offers_the_nearest(world):
    run = world.run()
    world.step(run, "train", {"model": 1})
    steps = Client().get_run(run.name).steps
    with pytest.raises(NotFound, match=r"has reached no step `trian`.*\n.*did you mean `train`"):
        steps["trian"]
    with pytest.raises(NotFound, match=r"gave no output `modl`.*\n.*did you mean `model`"):
        steps["train"].outputs["modl"]


def test_a_step_is_shown_in_its_last_attempt(world):
    run = world.run()
    world.step(run, "train", state=State.FAILED, attempt=1)
    world.step(run, "train", attempt=2)
    world.step(run, "report")
    steps = Client().get_run(run.name).steps
    assert list(steps) == ["train", "report"]
    assert (steps["train"].attempt, steps["train"].state) == (2, "completed")


def test_items_of_a_mapped_step_are_in_order_and_apart_from_the_steps(world):
    run = world.run()
    for index in (2, 0, 1):
        world.step(run, "score", {"value": index * 10}, named=False, index=index)
    world.step(run, "score", {"value": 5}, named=False, index=1, attempt=2)
    world.step(run, "score")
    score = Client().get_run(run.name).steps["score"]
    assert score.index is None
    assert [item.index for item in score.items] == [0, 1, 2]
    assert [item.outputs["value"].load() for item in score.items] == [0, 5, 20]
    assert repr(score.items[1]).startswith("<StepRun score[1] of churn-1: completed")


def test_the_output_of_a_mapped_step_is_a_sequence_of_its_items(world):
    run = world.run()
    digests = [world.save(value)["digest"] for value in ("a", "b")]
    folder = world.home.root / "mapped"
    folder.mkdir()
    lines = []
    for digest in digests:
        place = world.artifacts.path(digest)
        lines.append(json.dumps({"digest": digest, "path": f"../../{place.parent.name}/{place.name}"}))
    (folder / "items.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "artifact.json").write_text(json.dumps({"version": 1, "format": "mapped", "length": 2}))
    digest = "sha256:" + "12" * 32
    world.artifacts.adopt(folder, digest)
    world.store.add(Artifact(name="scores", digest=digest, run=run.id, format="mapped"))
    loaded = Client().get_artifact("scores").load()
    assert (len(loaded), loaded[1], list(loaded)) == (2, "b", ["a", "b"])


def test_artifacts_are_found_by_name_version_label_and_id(world):
    run = world.run()
    for value in ("first", "second", "third"):
        world.step(run, "load", {"frame": value})
    second = world.store.find(queries.Artifact, name="frame", version=2).items[0]
    world.store.write([Put(msgspec.structs.replace(second, tags=("2026-11",)))])
    ask = Client()
    assert ask.load_artifact("frame") == "third"
    assert ask.load_artifact("frame", 1) == "first"
    assert ask.load_artifact("frame", "1") == "first"
    assert ask.load_artifact("frame", "2026-11") == "second"
    assert ask.get_artifact(second.id).version == 2
    assert [each.version for each in ask.find_artifacts(name="frame", run=run.name)] == [3, 2, 1]
    with pytest.raises(NotFound, match="the newest is 3"):
        ask.get_artifact("frame", 9)
    with pytest.raises(NotFound, match="did you mean `frame`"):
        ask.get_artifact("fram")


def test_the_files_of_an_artifact_and_what_to_look_at(world):
    run = world.run()
    world.step(run, "load", {"frame": "text"})
    artifact = Client().get_artifact("frame")
    assert (artifact.path / "artifact.json").is_file()
    record = world.store.get(Artifact, artifact.id)
    world.store.write([Put(msgspec.structs.replace(record, visualizations=("table.html",)))])
    (look,) = Client().get_artifact("frame").visualizations
    assert look == artifact.path.with_name(artifact.path.name + ".visualizations") / "table.html"


def test_an_artifact_whose_files_are_gone_is_told(world):
    run = world.run()
    world.step(run, "load", {"frame": "text"})
    world.artifacts.remove(Client().get_artifact("frame").digest)
    with pytest.raises(NotFound, match="not on this machine"):
        Client().get_artifact("frame").load()


def test_a_value_of_a_library_that_is_not_here_names_its_environment(world, tmp_path):
    (tmp_path / "gone.py").write_text("class Model:\n    pass\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import gone

        digest = "sha256:" + "e" * 64
        world.store.add(Environment(id=digest, name="training"))
        run = world.run()
        world.step(run, "train", {"model": gone.Model()}, environment=digest)
        assert isinstance(Client().get_artifact("model").load(), gone.Model)
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("gone", None)
    with pytest.raises(LoadError, match="was made in environment `training`") as caught:
        Client().get_artifact("model").load()
    assert "gone" in caught.value.why
    assert "environment `training`" in caught.value.mend


def test_a_damaged_value_is_not_blamed_on_the_environment(world):
    digest = "sha256:" + "e" * 64
    world.store.add(Environment(id=digest, name="training"))
    world.step(world.run(), "train", {"model": "text"}, environment=digest)
    manifest = Client().get_artifact("model").path / "artifact.json"
    manifest.chmod(0o644)
    manifest.write_text("{")
    with pytest.raises(LoadError, match="incomplete"):
        Client().get_artifact("model").load()


def test_environments_are_found(world):
    older = Environment(id="sha256:" + "a" * 64, name="training", created_at=BEGIN)
    newer = Environment(
        id="sha256:" + "b" * 64,
        name="training",
        python="3.11",
        packages=(Package(name="numpy", version="2.1"),),
    )
    world.store.add(older, newer)
    found = Client().get_environment("training")
    assert (found.digest, found.packages) == (newer.id, {"numpy": "2.1"})
    assert repr(found) == "<Environment training: Python 3.11, 1 package, sha256:bbbbbbbbbbbb>"
    assert [each.digest for each in Client().find_environments(name="training")] == [newer.id, older.id]
    with pytest.raises(NotFound, match="did you mean `training`"):
        Client().get_environment("trainin")


def test_every_environment_of_a_run_is_found_by_role(world):
    text = 'lock-version = "1.0"'
    world.store.add(Lock(id="sha256:10", text=text))
    builder = Environment(id="sha256:b", name="builder", role="builder")
    client = Environment(id="sha256:c", name="client", role="client")
    built = Package(name="numpy", version="2.1", builder=builder.id)
    training = Environment(id="sha256:e", name="training", lock="sha256:10", packages=(built,))
    world.store.add(builder, client, training)
    where = ClientEnvironment(
        python="3.11.7",
        implementation="cpython",
        executable="p",
        platform="x",
        tilth="1",
        environment=client.id,
    )
    made = world.store.start_run(Run(pipeline="churn", client=where, environments={"fitting": training.id}))
    found = Client().get_run(made.name).all_environments()
    assert [(each.role, each.name, each.digest) for each in found] == [
        ("client", "client", client.id),
        ("execution", "fitting", training.id),  # as the run calls it
        ("builder", "builder", builder.id),
    ]
    assert [each.lock for each in found] == ["", text, ""]
    assert [each.name for each in Client().find_environments(role="builder")] == ["builder"]
    # What an older tilth did not record is not made up.
    assert Client().get_run(world.run().name).all_environments() == []


def test_what_steps_printed_is_in_order(world):
    run = world.run()
    load, item = world.step(run, "load"), world.step(run, "score", index=1)
    world.step(run, "score")
    world.log(load, "reading", "100 rows")
    world.log(item, "0.9")
    found = Client().get_run(run.name)
    assert [str(line) for line in found.logs()] == ["reading", "100 rows", "0.9"]
    assert [line.text for line in found.logs("load")] == ["reading", "100 rows"]
    assert [(line.step, line.index, line.stream) for line in found.steps["score"].logs()] == [
        ("score", 1, "stdout")
    ]
    with pytest.raises(NotFound, match="did you mean `load`"):
        found.logs("laod")


def test_a_run_can_be_asked_for_again(world):
    made = world.run()
    run = Client().get_run(made.name)
    world.store.replace(made, msgspec.structs.replace(made, state=State.COMPLETED))
    assert (run.state, run.refresh().state) == ("running", "completed")


def test_only_the_methods_of_the_table_answer(world):
    for method in ("_run", "answer", "__init__", "get_runs"):
        with pytest.raises(UnknownOption):
            queries.answer(method, {})
    with pytest.raises(UnknownOption, match="did you mean `get_run`"):
        queries.answer("get_runs", {})
    with pytest.raises(UnknownOption, match="cannot be asked like this"):
        queries.answer("get_run", {"nam": "churn-1"})


def test_every_query_is_answered(world):
    public = {name for name, _ in inspect.getmembers(queries.Queries, inspect.isfunction) if name[0] != "_"}
    assert set(queries._queries(world.home.root)._methods) == public - {"answer", "close"}


def test_every_answer_is_json(world):
    run = world.run(metadata={"name": "caf\udce9"})
    step = world.step(run, "train", {"model": 1})
    world.log(step, "line")
    world.store.add(Environment(id="sha256:" + "a" * 64, name="training"))
    world.store.add(Lock(id="sha256:10", text="packages = []"))
    asked = {
        "get_run": {"name": run.name},
        "get_latest_run": {"pipeline": "churn"},
        "find_runs": {},
        "find_step_runs": {"run": run.id},
        "get_outputs": {"step_run": step.id},
        "get_artifact": {"name": "model"},
        "find_artifacts": {},
        "get_artifact_folder": {"digest": step.outputs["model"].digest},
        "get_environment": {"name": "training"},
        "find_environments": {},
        "find_run_environments": {"run": run.name},
        "get_lock": {"digest": "sha256:10"},
        "find_log_lines": {"run": run.id},
    }
    assert set(asked) == set(queries._queries(world.home.root)._methods)
    for method, params in asked.items():
        answer = queries.answer(method, params)
        assert json.dumps(json.loads(json.dumps(answer))) == json.dumps(answer)


def test_in_a_step_everything_goes_through_the_transport(world):
    run = world.run()
    world.step(run, "train", {"model": "text"})
    asked = []

    def transport(method, params):
        asked.append(method)
        return json.loads(json.dumps(queries.answer(method, json.loads(json.dumps(params)))))

    client.set_transport(transport)
    try:
        assert Client().get_run(run.name).steps["train"].outputs["model"].load() == "text"
        assert len(Client().find_runs()) == 1
    finally:
        client.set_transport(None)
    assert asked == ["get_run", "find_step_runs", "get_outputs", "get_artifact_folder", "find_runs"]


def test_the_client_imports_nothing_but_the_standard_library(tmp_path):
    script = """
        import sys
        before = set(sys.modules)
        from tilth import Client
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(sorted(new - set(sys.stdlib_module_names) - {"tilth"}))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_an_interpreter_with_a_part_of_tilth_is_told_so(tmp_path):
    script = """
        import sys
        sys.modules["msgspec"] = None
        from tilth import Client
        Client()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert "`Client` cannot be used in this interpreter" in done.stderr
