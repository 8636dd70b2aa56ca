"""What is kept of a run in files goes with the run."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tilth.records import Run
from tilth.records.launching import RunLease
from tilth.server.access import DEFAULT_PROJECT
from tilth.server.files import Files
from tilth.server.leftovers import sweep
from tilth.store import Delete
from tilth.store.http import HttpStore

OTHER = "artifacts/shared"


@pytest.fixture(params=["churn", DEFAULT_PROJECT])
def store(server, request):
    with HttpStore(server.url, server.token, request.param) as store:
        yield store


def keep(store, run, content=b"{}"):
    """Have a driver send what it sends of a run."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = f"/projects/{store.project}"
    for key in (f"runs/{run.id}/pipeline.json", OTHER):
        asked = f"?digest={digest}&size={len(content)}"
        store.api.request("PUT", f"{path}/objects/{key}{asked}", content)
    store.api.request("PUT", f"{path}/runs/{run.id}/logs/train.1.log?offset=0", b"t O hello\n")
    beat = b'{"holder": "me", "fence": 1}'
    store.api.request("PUT", f"{path}/runs/{run.id}/lease", beat)


def files_of(server, store, run):
    """Names of files that are of this run by their path."""
    root = Files(server.access.data, store.project).root
    return sorted(each.name for each in root.rglob("*") if each.is_file() and run.id in each.parts)


def leases(server, store):
    return [each.id for each in within(server, store).find(RunLease)]


def within(server, store):
    return server.access.store.within("" if store.project == DEFAULT_PROJECT else store.project)


@pytest.mark.parametrize("how", ["with its steps", "by its address"])
def test_files_of_a_run_go_with_it_and_those_of_others_stay(server, store, how):
    run, other = (store.start_run(Run(pipeline="p")) for _ in range(2))
    for each in (run, other):
        keep(store, each)
    assert files_of(server, store, run) == ["pipeline.json", "pipeline.json", "train.1.log"]
    for _ in range(2):  # a request that is sent again finds nothing to do
        if how == "with its steps":
            store.write([Delete(Run, run.id)])
        else:
            store.api.request("DELETE", f"/projects/{store.project}/runs/{run.id}")
    assert files_of(server, store, run) == []
    assert run.id not in leases(server, store)
    assert files_of(server, store, other) == ["pipeline.json", "pipeline.json", "train.1.log"]
    assert other.id in leases(server, store)
    assert Files(server.access.data, store.project).find(OTHER) is not None


def test_a_run_of_another_project_keeps_its_files(server, store):
    run = store.start_run(Run(pipeline="p"))
    keep(store, run)
    with HttpStore(server.url, server.token, "elsewhere") as elsewhere:
        elsewhere.write([Delete(Run, run.id)])
    assert files_of(server, store, run)


@pytest.mark.parametrize("id", ["..", ".", "../../objects", "a/b", "", "x" * 300, "\0"])
def test_an_id_that_no_run_can_have_removes_nothing(server, store, id):  # noqa: A002
    run = store.start_run(Run(pipeline="p"))
    keep(store, run)
    Files(server.access.data, store.project).delete_run(id)
    assert files_of(server, store, run)
    assert Files(server.access.data, store.project).find(OTHER) is not None


def test_what_a_killed_server_left_is_removed_once_it_is_old(server, store):
    runs = gone, kept, young = [store.start_run(Run(pipeline="p")) for _ in range(3)]
    for each in runs:
        keep(store, each)
    for each in (gone, young):  # as a server does that is killed right after
        within(server, store).write([Delete(Run, each.id)])
    root = Files(server.access.data, store.project).root
    for path in [root, *root.rglob("*")]:
        if young.id not in path.parts:
            os.utime(path, (0, 0))
    sweep(server.access.store, Path(server.access.data))
    assert files_of(server, store, gone) == []
    assert files_of(server, store, kept)
    assert files_of(server, store, young)
    assert Files(server.access.data, store.project).find(OTHER) is not None
