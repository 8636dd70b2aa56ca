"""What the server tells of a run as people look at it: runs are real, made by the command line of another home."""

from __future__ import annotations

import hashlib
import json
import uuid

import msgspec
import pytest
from tests.conftest import run_cli
from tests.server.conftest import asker
from tests.server_running import running_server

from tilth.home import Home
from tilth.ir.pipeline import Pipeline
from tilth.records import OutputRef, Run, State, StepRun, now
from tilth.server.graphs import Counted, Counts, LightStepRun, compare, draw
from tilth.server.items import item_counts, list_items
from tilth.server.sources import find_function
from tilth.settings import home_folder
from tilth.store import Put
from tilth.store.http import HttpStore
from tilth.store.postgres import PostgresDatabase
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase

PIPELINE = '''
"""A small pipeline."""

from tilth import pipeline, step


@step
def load(count: int) -> list[int]:
    return list(range(count))


@step(
    retry=1,
)
def square(number: int) -> int:
    if number == LIMIT:
        raise ValueError(f"{number} is too much")
    return number * number


@step
def total(numbers: list[int]) -> int:
    return sum(numbers)


@pipeline
def sums(count: int = 4):
    total(square.map(load(count)))
'''


@pytest.fixture
def project():
    return uuid.uuid4().hex


@pytest.fixture
def tilth(server, project, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "sums"\nversion = "1"\n')
    variables = {"TILTH_SERVER_URL": server.url, "TILTH_API_KEY": server.token, "TILTH_PROJECT": project}

    def run(limit: int, *more: str):
        (tmp_path / "sums.py").write_text(PIPELINE + f"\n\nLIMIT = {limit}\n")
        return run_cli("run", "sums.py", *more, cwd=tmp_path, env=variables, code=None)

    return run


def graph(admin, project, run):
    status, told = admin.get(f"/projects/{project}/runs/{run}/graph")
    assert status == 200, told
    return told


def test_a_run_of_a_client_is_told_with_its_graph_counts_reasons_and_sources(admin, project, tilth):
    assert tilth(-1).code == 0
    told = graph(admin, project, "sums-1")
    assert told["whole"]
    assert told["driven"] is False
    assert told["run"]["name"] == "sums-1"
    nodes = {each["id"]: each for each in told["nodes"]}
    assert list(nodes) == ["load", "square", "total"]
    assert {each["state"] for each in nodes.values()} == {"completed"}
    items = nodes["square"]["items"]
    assert (items["total"], items["counts"]) == (4, {"completed": 4})
    assert items["began"] >= told["run"]["started_at"]
    assert "items" not in nodes["load"]
    assert [(each["source"], each["target"], each["outputs"]) for each in told["edges"]] == [
        ("load", "square", ["output"]),
        ("square", "total", ["output"]),
    ]
    assert graph(admin, project, told["run"]["id"]) == told

    path = f"/projects/{project}/runs/sums-1/steps"
    _, square = admin.get(f"{path}/square")
    lines = square["source"]["text"].splitlines()[square["source"]["first"] - 1 : square["source"]["last"]]
    assert (lines[0], lines[3].startswith("def square"), lines[-1]) == (
        "@step(",
        True,
        "    return number * number",
    )
    assert square["declared"]["map"] == ["number"]
    assert square["compared"]["run"] == ""
    assert admin.get(f"{path}/square?index=3")[1]["attempts"][0]["index"] == 3

    assert tilth(-1).code == 0
    _, hit = admin.get(f"/projects/{project}/runs/sums-2/steps/total")
    assert hit["attempts"][0]["state"] == "cached"
    assert (hit["compared"]["hit"], hit["compared"]["run"]) == (True, "sums-1")
    assert {each["change"] for each in hit["compared"]["parts"]} == {"same"}
    assert graph(admin, project, "sums-2")["nodes"][1]["items"]["total"] == 4

    assert tilth(2).code == 1
    told = graph(admin, project, "sums-3")
    square = told["nodes"][1]
    assert square["state"] == "failed"
    assert square["last"]["failure"]["type"] == "ValueError"
    # Each of four items once, though one was tried twice.
    assert sum(square["items"]["counts"].values()) <= 4
    assert square["items"]["counts"]["failed"] == 1
    assert told["nodes"][2]["state"] == "skipped"
    _, items = admin.get(f"/projects/{project}/runs/sums-3/steps/square/items?state=failed")
    assert [(each["index"], each["attempt"]) for each in items["items"]] == [(2, 2)]
    _, missed = admin.get(f"/projects/{project}/runs/sums-3/steps/square?index=2")
    assert [each["attempt"] for each in missed["attempts"]] == [1, 2]
    _, missed = admin.get(f"/projects/{project}/runs/sums-3/steps/load")
    assert missed["compared"]["parts"][0]["name"] == "source `sums`"
    assert missed["compared"]["parts"][0]["change"] == "changed"
    # Named by their content: two compiled pipelines and two sources for three runs.
    _, kept = admin.get(f"/projects/{project}/objects?prefix=pipelines/")
    assert len(kept["items"]) == 2
    _, kept = admin.get(f"/projects/{project}/objects?prefix=sources/")
    assert len(kept["items"]) == 2


def test_runs_of_this_machine_that_no_server_was_told_of_are_shown_whole(tmp_path):
    """A server over a home folder shows the runs that were made in it before."""
    (tmp_path / "sums.py").write_text(PIPELINE + "\n\nLIMIT = -1\n")
    run_cli("run", "sums.py", cwd=tmp_path)
    home = Home(home_folder())
    database = SqliteDatabase(home.database)
    with running_server(database, schedules=False) as server:
        asked = asker(server, server.token)
        told = graph(asked, "default", "sums-1")
        assert told["whole"]
        assert [each["id"] for each in told["nodes"]] == ["load", "square", "total"]
        _, step = asked.get("/projects/default/runs/sums-1/steps/square")
        assert "def square" in step["source"]["text"]
        (tmp_path / "sums.py").write_text("changed = True\n")
        assert asked.get("/projects/default/runs/sums-1/steps/square")[1]["source"] is None
        # No id of a record leads out of the folder of runs.
        with HttpStore(server.url, server.token, "default") as store:
            for wrong in ("..%2F..", "%00"):
                assert asked.get(f"/projects/default/runs/{wrong}/graph")[0] == 404
            store.start_run(Run(id="...", pipeline="p"))
        assert graph(asked, "default", "...")["whole"] is False
        asked.client.close()
    database.close()


def test_a_run_without_its_pipeline_is_told_by_what_was_recorded(server, admin, project):
    with HttpStore(server.url, server.token, project) as store:
        run = store.start_run(Run(pipeline="p", pipeline_digest="sha256:" + "0" * 64))
        given = {"data": {"$artifact": "sha256:1", "id": "", "from": "load.output"}}
        store.write(
            [
                Put(StepRun(run=run.id, step="load", state=State.COMPLETED)),
                Put(StepRun(run=run.id, step="fit", state=State.RUNNING, inputs=given)),
            ]
        )
        told = graph(admin, project, run.name)
    assert told["whole"] is False
    assert [(each["id"], each["state"]) for each in told["nodes"]] == [
        ("load", "completed"),
        ("fit", "running"),
    ]
    assert told["edges"] == [{"source": "load", "target": "fit", "outputs": ["output"]}]
    assert admin.get(f"/projects/{project}/runs/{run.name}/steps/fit")[1]["source"] is None


def test_what_is_not_there_is_told(server, admin, project):
    with HttpStore(server.url, server.token, project) as store:
        run = store.start_run(Run(pipeline="p"))
    status, told = admin.get(f"/projects/{project}/runs/nothing-7/graph")
    assert (status, told["error"]["summary"]) == (404, f"there is no run `nothing-7` in project `{project}`")
    status, told = admin.get(f"/projects/{project}/runs/{run.name}/steps/nothing")
    assert (status, told["error"]["summary"]) == (404, f"run `{run.name}` has no step `nothing`")
    items = f"/projects/{project}/runs/{run.name}/steps/nothing/items"
    assert admin.get(items)[1] == {"items": [], "next": None}
    for wrong in ("after=x", "after=-1", "limit=0", "state=lost", "after=" + "9" * 30):
        assert admin.get(f"{items}?{wrong}")[0] == 422, wrong
    assert admin.get(f"/projects/{project}/runs/{run.name}/steps/x?index=-1")[0] == 422


def test_what_somebody_else_put_in_the_place_of_a_pipeline_breaks_nothing(server, admin, project):
    with HttpStore(server.url, server.token, project) as store:
        run = store.start_run(Run(pipeline="p"))
    for at, content in enumerate(
        (b"[]", b"{", b'{"version": 1}', b'{"version": 2, "nodes": []}', b"[" * 100_000)
    ):
        digest = hashlib.sha256(content).hexdigest()
        path = (
            f"/projects/{project}/objects/pipelines/{digest}.json?digest=sha256:{digest}&size={len(content)}"
        )
        assert admin.put(path, content=content)[0] == 200
        with HttpStore(server.url, server.token, project) as store:
            run = store.start_run(Run(pipeline=f"p{at}", pipeline_digest=f"sha256:{digest}"))
        assert graph(admin, project, run.name)["whole"] is False


def test_a_graph_costs_little_among_very_many_items(server, admin, project):
    """Of 20,000 items of one run, each is counted once, and a page of them is found by its index."""
    with HttpStore(server.url, server.token, project) as store:
        run = store.start_run(Run(pipeline="p"))
        for at in range(0, 20_000, 2000):
            store.write(
                [
                    Put(StepRun(run=run.id, step="fit", index=each, state=State.COMPLETED))
                    for each in range(at, at + 2000)
                ]
            )
        store.write([Put(StepRun(run=run.id, step="fit", index=7, state=State.FAILED, attempt=2))])
        told = graph(admin, project, run.name)
    assert told["nodes"][0]["items"]["total"] is None
    assert told["nodes"][0]["items"]["counts"] == {"completed": 19_999, "failed": 1}
    assert told["nodes"][0]["state"] == "running"
    path = f"/projects/{project}/runs/{run.name}/steps/fit/items?limit=3"
    _, page = admin.get(f"{path}&after=5")
    assert [(each["index"], each["state"]) for each in page["items"]] == [
        (6, "completed"),
        (7, "failed"),
        (8, "completed"),
    ]
    _, page = admin.get(f"{path}&after={page['next']}&state=completed&state=failed")
    assert [each["index"] for each in page["items"]] == [9, 10, 11]
    assert admin.get(f"{path}&after=19996")[1]["next"] is None


def test_items_are_told_as_they_go_on(server, admin, project):
    with HttpStore(server.url, server.token, project) as store:
        run = store.start_run(Run(pipeline="p"))
        store.write(
            [Put(StepRun(run=run.id, step="fit", index=each, state=State.COMPLETED)) for each in (0, 1)]
        )
        store.write([Put(StepRun(run=run.id, step="fit", index=1, state=State.FAILED, attempt=2))])
        store.replace(run, msgspec.structs.replace(run, state=State.FAILED))
    headers = {"Authorization": f"Bearer {server.token}"}
    with admin.client.stream(
        "GET", f"/api/v1/projects/{project}/runs/{run.id}/events?logs=false", headers=headers
    ) as response:
        lines = list(response.iter_lines())
    at = lines.index("event: items")
    told = json.loads(lines[at + 1].removeprefix("data: "))
    assert (told["step"], told["counts"]) == ("fit", {"completed": 1, "failed": 1})


def test_items_are_counted_and_found_in_postgresql(postgres_database):
    database = PostgresDatabase(postgres_database)
    try:
        store = SqlStore(database, "somewhere")
        run = store.start_run(Run(pipeline="p"))
        for attempt, state in ((1, State.FAILED), (2, State.COMPLETED)):
            of = {"run": run.id, "step": "fit", "attempt": attempt, "state": state}
            store.write([Put(StepRun(index=each, **of)) for each in range(0, 10, attempt)])
        store.write([Put(StepRun(run=run.id, step="fit", index=None))])
        assert item_counts(store, run)["fit"].counts == {"failed": 5, "completed": 5}
        rows, following = list_items(store, run, "fit", [State.FAILED], "2", 2)
        assert ([json.loads(body)["index"] for body, _ in rows], following) == ([3, 5], "5")
    finally:
        database.close()


SOURCE = '''
import functools

X = """
def fit(): not this one, which has arguments of another kind
"""


def fit(data):
    return 0


@functools.cache
@step(
    retry=3,
)
async def fit(data):

    """Fits."""
    def inner(): ...
    return 1

@step
def after(): ...

class Steps:
    @staticmethod
    def fit(self):
        return 2

    x = 1
'''


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("fit", "@functools.cache", "    return 1"),
        ("Steps.fit", "    @staticmethod", "        return 2"),
        ("after", "@step", "def after(): ..."),
    ],
)
def test_a_function_is_found_with_its_decorators(name, first, last):
    found = find_function(SOURCE, name)
    lines = SOURCE.splitlines()[found.first - 1 : found.last]
    assert (lines[0], lines[-1]) == (first, last)


def test_a_function_that_is_not_there_is_not_found():
    assert find_function(SOURCE, "other") is None
    assert find_function(SOURCE, "Steps.other") is None
    assert find_function("def f(:\n  '''", "f") is not None


def test_parts_that_differ_come_first():
    told = compare({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "0", "d": "4"})
    assert [(each.name, each.change) for each in told] == [
        ("b", "changed"),
        ("c", "new"),
        ("d", "gone"),
        ("a", "same"),
    ]
    assert {each.change for each in compare({"a": "1"}, None)} == {"same"}


def node(id_: str, **more):
    return {
        "id": id_, "function": f"m:{id_}", "inputs": {}, "outputs": [{"name": "output", "tags": ()}],
        "map": (), "after": (), "tags": (), **more,
    }  # fmt: skip


def test_a_mapped_step_tells_of_how_many_items_it_is_before_it_has_ended():
    pipeline = Pipeline.from_json(
        {
            "version": 1,
            "name": "p",
            "function": "m:p",
            "nodes": [
                node("load"),
                node("one", map=["x"], inputs={"x": {"$output": ["load", "output"]}}),
                node("two", map=["x"], inputs={"x": {"$output": ["one", "output"]}}, after=["load"]),
                node("three", map=["x"], inputs={"x": [1, 2, 3]}),
            ],
        }
    )
    run = Run(pipeline="p")
    given = {"output": OutputRef(digest="d", artifact="a")}
    step_runs = [
        LightStepRun(id="1", step="load", state=State.FAILED, attempt=1),
        LightStepRun(id="2", step="load", state=State.COMPLETED, attempt=2, outputs=given),
    ]
    counts: Counts = {"one": Counted({"completed": 2}, now())}
    told = draw(run, pipeline, step_runs, counts, {"a": 5}, driven=True)
    by_id = {each.id: each for each in told.nodes}
    assert [by_id[each].items.total for each in ("one", "two", "three")] == [5, 5, 3]
    assert [each.state.value for each in told.nodes] == ["completed", "running", "queued", "queued"]
    assert by_id["load"].attempts == 2
    assert [(each.source, each.target, each.outputs) for each in told.edges] == [
        ("load", "one", ("output",)),
        ("load", "two", ()),
        ("one", "two", ("output",)),
    ]
