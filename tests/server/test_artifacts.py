"""Artifacts as people are shown them: names, files, contents in part, lineage; and that nothing leads out of them."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from datetime import timedelta
from urllib.parse import quote

import msgspec
import numpy as np
import pandas as pd
import pytest

from tilth.artifact_stores import LocalArtifactStore
from tilth.artifact_stores.cached import CachedArtifactStore
from tilth.artifact_stores.server import ServerObjects, ServerStore
from tilth.home import Home
from tilth.materializers.artifacts import save_artifact
from tilth.materializers.text import HTML
from tilth.records import Artifact, ComponentUsed, OutputRef, Run, State, StepRun, now
from tilth.server.artifact_folders import elsewhere
from tilth.server.artifact_names import find_names
from tilth.server.foreign_files import shown_as
from tilth.server.lineage import artifacts_in, trace
from tilth.store.http import Api
from tilth.store.sql import SqlStore
from tilth.store.sqlite import SqliteDatabase


class Keeper:
    """Keeps values as artifacts of a project, as a run's driver does."""

    def __init__(self, server, admin, folder):
        self.name = uuid.uuid4().hex
        assert admin.post("/projects", {"name": self.name})[0] == 201
        self._admin, self._folder = admin, folder
        self._api = Api(server.url, server.token)
        objects = ServerStore(ServerObjects(self._api, self.name))
        self.store = CachedArtifactStore(LocalArtifactStore(folder / "artifacts"), objects)
        self.url = f"/projects/{self.name}/artifacts"

    def keep(self, value, name="p/s/o", send=True, **more):
        place = self._folder / uuid.uuid4().hex
        place.mkdir()
        looks = self._folder / f"{place.name}.looks"
        manifest = save_artifact(value, place, visualizations=looks, collection=more.pop("collection", False))
        kept = self.store.local.adopt(place, manifest["digest"])
        if looks.is_dir():
            looks.rename(kept.with_name(f"{kept.name}.visualizations"))
        if send:
            self.store.share(manifest["digest"])
        told = {key: manifest[key] for key in ("digest", "type", "materializer", "format", "size")}
        record = Artifact(name=name, length=manifest.get("length"), **told, **more)
        status, answer = self._admin.ask("POST", self.url, content=msgspec.json.encode({"items": [record]}))
        assert status == 201, answer
        return answer["items"][0]["id"]

    def close(self):
        self._api.close()


@pytest.fixture
def keeper(server, admin, tmp_path):
    found = Keeper(server, admin, tmp_path)
    yield found
    found.close()


def raw(admin, path, **more):
    return admin.client.get(f"/api/v1{path}", **more)


def test_files_and_what_there_is_to_look_at_are_listed_and_sent(admin, keeper):
    page = HTML("<h1>ü</h1><script>alert(1)</script>")
    found = keeper.keep(page, name="p/s/page ü")
    status, told = admin.get(f"{keeper.url}/{found}/files")
    assert status == 200
    assert told == {
        "here": True,
        "elsewhere": None,
        "command": "tilth artifacts get 'p/s/page ü@1' .",
        "format": "html",
        "problem": "",
        "files": [{"name": "value.html", "size": len(page.encode())}],
        "visualizations": [{"name": "value.html", "size": len(page.encode())}],
        "tables": [],
    }
    for kind in ("files", "visualizations"):
        sent = raw(admin, f"{keeper.url}/{found}/{kind}/value.html")
        assert sent.text == page
    part = raw(admin, f"{keeper.url}/{found}/files/value.html", headers={"Range": "bytes=4-5"})
    assert (part.status_code, part.text) == (206, "ü")


def test_a_page_of_theirs_has_an_origin_of_its_own(admin, keeper):
    found = keeper.keep(HTML("<script>1</script>"))
    sent = raw(admin, f"{keeper.url}/{found}/files/value.html")
    policy = sent.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; ")
    assert "frame-ancestors 'self'" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy
    assert sent.headers["x-frame-options"] == "SAMEORIGIN"
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert sent.headers.get_list("content-security-policy") == [policy]


@pytest.mark.parametrize(
    "name", ["a.svg", "a.html", "a.HTM", "a.xml", "a.md", "a.js", "a.xhtml", "a.pdf", "a", "a.html.gz"]
)
@pytest.mark.parametrize("download", [False, True])
def test_nothing_of_theirs_is_sent_without_a_sandbox(name, download):
    media, headers = shown_as(name, download=download)
    assert headers["Content-Security-Policy"].startswith("sandbox")
    assert "allow-same-origin" not in headers["Content-Security-Policy"]
    scripts = "allow-scripts" in headers["Content-Security-Policy"]
    assert scripts == (media.startswith("text/html"))
    assert (headers["Content-Disposition"] != "inline") == (download or media == "application/octet-stream")


def test_no_name_of_a_file_gets_into_a_header():
    _, headers = shown_as('x"\r\nSet-Cookie: a=1\n/ü".exe')
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%BC%22.exe"
    _, headers = shown_as('x"\r\nSet-Cookie: a=1;.exe')
    assert headers["Content-Disposition"].isascii()
    assert not {"\r", "\n", '"'} & set(headers["Content-Disposition"])


def test_downloads_are_one_file_or_all(admin, keeper):
    one = keeper.keep("x" * 100_000, name="p/s/text")
    sent = raw(admin, f"{keeper.url}/{one}/download")
    assert sent.text == "x" * 100_000
    assert sent.headers["content-disposition"] == "attachment; filename*=UTF-8''p-s-text-1.txt"
    many = keeper.keep(pd.DataFrame({"a": [1], "b": ["x"]}), name="p/s/frame")
    sent = raw(admin, f"{keeper.url}/{many}/download")
    assert sent.headers["content-disposition"] == "attachment; filename*=UTF-8''p-s-frame-1.zip"
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        assert archive.testzip() is None
        assert "frame.json" in archive.namelist()
        assert json.loads(archive.read("frame.json"))["kind"] == "frame"


def test_a_folder_is_downloaded_with_its_links_as_links(admin, keeper, tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "100% ü.txt").write_text("inside")
    (folder / "link").symlink_to("deep/100% ü.txt")
    found = keeper.keep(folder)
    names = {each["name"]: each for each in admin.get(f"{keeper.url}/{found}/files")[1]["files"]}
    assert names["content/folder/link"]["link"] == "deep/100% ü.txt"
    assert raw(admin, f"{keeper.url}/{found}/files/content/folder/link").status_code == 404
    inside = quote("content/folder/deep/100%25 ü.txt")
    assert raw(admin, f"{keeper.url}/{found}/files/{inside}").text == "inside"
    with zipfile.ZipFile(io.BytesIO(raw(admin, f"{keeper.url}/{found}/download").content)) as archive:
        assert archive.read("content/folder/deep/100% ü.txt") == b"inside"
        assert archive.getinfo("content/folder/link").external_attr >> 28 == 0o12


@pytest.mark.parametrize(
    "name",
    ["../artifact.json", "..%2f..%2fsecret", "%2e%2e/x", "/etc/passwd", "a%00b", "nothing", "a" * 5000],
)
def test_no_name_leads_out_of_an_artifact(admin, keeper, name):
    found = keeper.keep({"a": 1})
    for kind in ("files", "visualizations"):
        sent = raw(admin, f"{keeper.url}/{found}/{kind}/{name}")
        assert sent.status_code in (404, 405), sent.text
        assert "root:" not in sent.text


def test_what_is_broken_says_so(server, admin, keeper):
    found = keeper.keep(pd.DataFrame({"a": [1, 2]}))
    digest = admin.get(f"{keeper.url}/{found}")[1]["digest"].removeprefix("sha256:")
    folder = next(server.access.data.glob(f"*/objects/artifacts/*/{digest}"))
    files = {each["name"] for each in admin.get(f"{keeper.url}/{found}/files")[1]["files"]}
    gone = next(each for each in sorted(files) if each.endswith(".npy"))
    (folder / gone).unlink()
    told = admin.get(f"{keeper.url}/{found}/files")[1]["files"]
    assert [each["name"] for each in told if each.get("problem") == "missing"] == [gone]
    status, told = admin.get(f"{keeper.url}/{found}/download")
    assert (status, told["error"]["why"]) == (422, f"`{gone}` is missing")
    (folder / "artifact.json").write_text('{"files": {"../../x": {"size": 1}}}')
    status, told = admin.get(f"{keeper.url}/{found}/files")
    assert (status, bool(told["problem"]), told["files"]) == (200, True, [])


def test_files_elsewhere_say_where(admin, keeper):
    run = {"pipeline": "p", "artifact_store": {"flavor": "s3", "settings": {"bucket": "b", "prefix": "x/"}}}
    _, run = admin.post(f"/projects/{keeper.name}/runs/start", run)
    found = keeper.keep({"a": 1}, send=False, run=run["id"], name="it's")
    told = admin.get(f"{keeper.url}/{found}/files")[1]
    assert (told["here"], told["elsewhere"]) == (False, {"flavor": "s3", "place": "s3://b/x"})
    assert told["command"] == """tilth artifacts get 'it'"'"'s@1' ."""
    for path in ("table?file=value.npy", "download", "files/value.json"):
        status, told = admin.get(f"{keeper.url}/{found}/{path}")
        assert status == 404
        assert told["error"]["why"] == "they are in s3://b/x"


@pytest.mark.parametrize(
    ("used", "place"),
    [
        (None, "the home folder of the machine where the run was driven"),
        (ComponentUsed(flavor="gcs", settings={"bucket": "b"}), "gs://b"),
        (ComponentUsed(flavor="azure", settings={"container": "c", "key": "secret:K"}), "az://c"),
        (ComponentUsed(flavor="local", settings={"path": "/mnt/x"}), "the folder `/mnt/x`"),
        (ComponentUsed(flavor="fsspec", settings={"url": "sftp://h/x"}), "sftp://h/x"),
        (ComponentUsed(flavor="own", settings={"n": 3}), "a store of flavor `own`"),
    ],
)
def test_every_store_has_a_place_that_people_know(used, place):
    assert elsewhere(used).place == place


def test_parts_of_frames_and_arrays_are_read(admin, keeper):
    frame = keeper.keep(pd.DataFrame({"a": range(1000), "b": ["x", "y"] * 500}))
    told = admin.get(f"{keeper.url}/{frame}/files")[1]
    assert told["tables"] == ["frame.json"]
    status, told = admin.get(f"{keeper.url}/{frame}/table?file=frame.json&row=998&rows=5")
    assert (status, told["rows"], told["total_rows"]) == (200, [[998, 998, "x"], [999, 999, "y"]], 1000)
    status, told = admin.get(f"{keeper.url}/{frame}/columns?file=frame.json")
    assert [each["kind"] for each in told["items"]] == ["numbers", "values"]
    array = keeper.keep(np.arange(6).reshape(2, 3))
    assert admin.get(f"{keeper.url}/{array}/table?file=value.npy")[1]["rows"] == [[0, 1, 2], [3, 4, 5]]
    for path in ("table?file=artifact.json", "table?file=nothing.npy", "columns?file=../x.npy"):
        assert admin.get(f"{keeper.url}/{array}/{path}")[0] == 404
    status, told = admin.get(f"{keeper.url}/{array}/table?file=value.npy&rows=501")
    assert (status, told["error"]["type"]) == (422, "DefinitionError")


def test_items_come_a_few_at_a_time(admin, keeper):
    found = keeper.keep([{"n": number} for number in range(120)], collection=True)
    seen, after = [], 0
    while after is not None:
        status, told = admin.get(f"{keeper.url}/{found}/items?limit=50&after={after}")
        assert status == 200, told
        seen += [each["text"] for each in told["items"]]
        after = told["next"]
    assert seen == [f'{{"n":{number}}}' for number in range(120)]
    assert admin.get(f"{keeper.url}/{found}/items?after=3")[0] == 422
    other = keeper.keep(3)
    assert admin.get(f"{keeper.url}/{other}/items")[0] == 404


def test_another_project_s_artifact_is_not_found(admin, keeper, server, tmp_path):
    found = keeper.keep({"secret": 1})
    digest = admin.get(f"{keeper.url}/{found}")[1]["digest"]
    (tmp_path / "other").mkdir()
    other = Keeper(server, admin, tmp_path / "other")
    mine = other.keep(2)
    # Neither by its id, nor by naming its digest as an item of one's own.
    assert admin.get(f"{other.url}/{found}/files")[0] == 404
    assert admin.get(f"{other.url}/{mine}/files?item={digest}")[1]["here"] is False
    assert raw(admin, f"{other.url}/{mine}/files/value.json?item={digest}").status_code == 404
    assert raw(admin, f"{other.url}/{mine}/files/value.json?item=sha256:../../x").status_code == 404
    other.close()


def test_a_home_folder_s_artifacts_are_those_of_its_default_project_alone(tmp_path, monkeypatch):
    from tests.server.conftest import asker
    from tests.server_running import running_server

    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    home = Home(tmp_path / "home")
    place = tmp_path / "made"
    place.mkdir()
    manifest = save_artifact({"at": "home"}, place)
    LocalArtifactStore(home.artifacts).adopt(place, manifest["digest"])
    database = SqliteDatabase(home.database)
    record = Artifact(name="a", digest=manifest["digest"], format="json")
    SqlStore(database).add(record)
    with running_server(database, data_folder=str(tmp_path / "data"), schedules=False) as server:
        admin = asker(server, server.token)
        assert raw(admin, f"/projects/default/artifacts/{record.id}/files/value.json").json() == {
            "at": "home"
        }
        admin.post("/projects", {"name": "other"})
        admin.ask("POST", "/projects/other/artifacts", content=msgspec.json.encode({"items": [record]}))
        assert raw(admin, f"/projects/other/artifacts/{record.id}/files/value.json").status_code == 404
        admin.client.close()
    database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path):
    if request.param == "sqlite":
        database = SqliteDatabase(tmp_path / "tilth.db")
    else:
        from tilth.store.postgres import PostgresDatabase

        database = PostgresDatabase(request.getfixturevalue("postgres_database"))
    with SqlStore(database, "a project") as found:
        yield found


def test_names_are_found_with_their_newest_versions(store):
    for name in ("b/c", "a", "b/C2", "ü", "a", "a"):
        store.add(Artifact(name=name, digest="d", type="builtins:int", tags=("x",) if name == "a" else ()))
    store.within("other").add(Artifact(name="hidden", digest="d"))

    def names(**more):
        page = find_names(store, **{"search": "", "after": "", "limit": 10, **more})
        return [(each.name, each.version) for each in page.newest], page.next

    every, following = names()
    assert sorted(every) == [("a", 3), ("b/C2", 1), ("b/c", 1), ("ü", 1)]
    assert following is None
    assert sorted(names(search="C")[0]) == [("b/C2", 1), ("b/c", 1)]
    assert names(search="Ü")[0] == [("ü", 1)]
    assert names(fits=lambda each: "x" in each.tags)[0] == [("a", 3)]
    paged, after = [], ""
    while after is not None:
        some, after = names(limit=1, after=after)
        paged += some
    assert paged == every


def test_many_names_are_gone_through_in_order(store):
    store.add(*(Artifact(name=f"n{number:03d}", digest="d") for number in range(450)))
    page = find_names(store, search="9", after="", limit=1000)
    assert [each.name for each in page.newest] == [f"n{n:03d}" for n in range(450) if "9" in str(n)]
    assert page.next is None


class Family:
    """Runs of one pipeline, `load -> train -> test`, of which later ones reuse `load` of the first."""

    def __init__(self, store):
        self.store = store
        self.moment = now()
        first = self.run("p")
        self.data = self.made(first, "load", {}, key="k-load")
        self.model = self.made(first, "train", {"data": self.data}, key="k-1")
        self.score = self.made(first, "test", {"model": self.model, "rows": {"$list": [self.data]}})
        second = self.run("p")
        self.reused(second, "load", self.data, key="k-load")
        self.other = self.made(second, "train", {"data": self.data, "n": 3}, key="k-2")
        self.third = self.run("p")
        self.reused(self.third, "load", self.data, key="k-load")
        self.reused(self.third, "train", self.model, key="k-1", inputs={"data": self.data})
        self.stranger = self.made(self.run("q"), "load", {})

    def run(self, pipeline):
        return self.store.start_run(Run(pipeline=pipeline, state=State.COMPLETED))

    def _step(self, run, step, inputs, key, **more):
        self.moment += timedelta(seconds=1)
        shown = {name: self.shown(each) for name, each in inputs.items()}
        return StepRun(
            run=run.id,
            step=step,
            pipeline=run.pipeline,
            inputs=shown,
            cache_key=key,
            created_at=self.moment,
            **more,
        )

    def shown(self, value):
        if isinstance(value, Artifact):
            return {"$artifact": value.digest, "id": value.id, "from": "x.y"}
        if isinstance(value, dict):
            return {key: [self.shown(item) for item in each] for key, each in value.items()}
        return value

    def made(self, run, step, inputs, key=""):
        (artifact,) = self.store.add(
            Artifact(name=f"{run.pipeline}/{step}/o", digest=f"d-{uuid.uuid4()}", run=run.id, step=step)
        )
        outputs = {"o": OutputRef(digest=artifact.digest, artifact=artifact.id)}
        record = self._step(run, step, inputs, key, state=State.COMPLETED, outputs=outputs)
        artifact = self.store.replace(artifact, msgspec.structs.replace(artifact, step_run=record.id))
        # A first attempt that failed, which had the same inputs.
        failed = msgspec.structs.replace(record, id=f"{record.id}-1", state=State.FAILED, outputs={})
        self.store.add(failed, msgspec.structs.replace(record, attempt=2))
        return artifact

    def reused(self, run, step, artifact, key, inputs=None):
        outputs = {"o": OutputRef(digest=artifact.digest, artifact=artifact.id)}
        self.store.add(self._step(run, step, inputs or {}, key, state=State.CACHED, outputs=outputs))


def test_lineage_goes_both_ways_and_into_runs_that_reused_it(store):
    family = Family(store)
    found = trace(store, family.data, 5)
    assert {each.id for each in found.artifacts} == {
        family.data.id,
        family.model.id,
        family.score.id,
        family.other.id,
    }
    assert sorted((each.run, each.step) for each in found.step_runs) == [
        ("p-1", "load"),
        ("p-1", "test"),
        ("p-1", "train"),
        ("p-2", "train"),
    ]
    edges = {(each.source, each.target) for each in found.edges}
    assert (family.data.id, family.model.step_run) in edges
    assert (family.model.step_run, family.model.id) in edges
    assert (family.data.id, family.score.step_run) in edges
    assert len(edges) == 8
    assert [(each.run, each.step, each.state, each.inputs) for each in found.uses] == [
        ("p-3", "train", State.CACHED, ("data",)),
        ("p-2", "train", State.COMPLETED, ("data",)),
        ("p-1", "test", State.COMPLETED, ("rows",)),
        ("p-1", "train", State.COMPLETED, ("data",)),
    ]
    assert not found.cut

    up = trace(store, family.score, 5)
    assert {each.id for each in up.artifacts} == {family.score.id, family.model.id, family.data.id}
    near = trace(store, family.score, 1)
    assert {each.id for each in near.artifacts} == {family.score.id, family.model.id, family.data.id}
    assert not trace(store, family.stranger, 5).uses


def test_lineage_of_what_lost_its_run_is_what_is_left(store):
    from tilth.store import Delete

    family = Family(store)
    runs = [each.id for each in store.find(Run, pipeline="p")]
    steps = [each.id for each in store.find(StepRun, run=runs)]
    store.write([*(Delete(Run, each) for each in runs), *(Delete(StepRun, each) for each in steps)])
    found = trace(store, family.model, 3)
    assert [each.id for each in found.artifacts] == [family.model.id]
    assert (found.step_runs, found.uses) == ((), ())


def test_inputs_hold_artifacts_at_any_depth():
    held = {"$artifact": "d", "id": "1", "from": "x"}
    assert list(artifacts_in({"a": held, "b": [1, {"c": [held]}], "d": {"$artifact": "d"}, "e": "id"})) == [
        "1",
        "1",
    ]
