from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from inline_snapshot import snapshot

from tilth.artifact_stores import LocalArtifactStore
from tilth.records import Artifact
from tilth.store import Put, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tilth.home import Home

Cli = Any  # see conftest.py


def test_artifacts_are_listed_newest_first(cli: Cli, history: Home) -> None:
    assert cli("artifacts", "list").out == snapshot("""\
artifact          version  type              size    created              tags
model             1        sklearn:Ridge     1.2 KB  2026-05-04 12:00:01  best
churn/load/frame  1        pandas:DataFrame  81 KB   2026-05-04 12:00:00
""")


def test_artifacts_of_one_run_or_name(cli: Cli, history: Home) -> None:
    assert len(cli("artifacts", "list", "--run", "churn-1", "--json").json) == 2
    assert cli("artifacts", "list", "--run", "churn-2", "--json").json == []
    assert [each["name"] for each in cli("artifacts", "list", "frame", "--json").json] == ["churn/load/frame"]


def test_an_artifact_shows_where_it_came_from_and_who_used_it(cli: Cli, history: Home) -> None:
    out = cli("artifacts", "show", "frame").out
    assert out.replace(str(history.root), "HOME") == snapshot("""\
artifact churn/load/frame@1
  id           artifact-1
  digest       sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
  type         pandas:DataFrame
  format       columns, written by tilth.materializers.pandas:FrameMaterializer
  size         81 KB
  created      2026-05-04 12:00:00
  produced by  churn-1 load
  used by      churn-2 train
               churn-1 train
  metadata     shape = [569, 31]
  folder       HOME/artifacts/bb/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
  files        0.npy  100 bytes
               schema.json  2 bytes
""")


def test_no_materializer_is_named_where_none_wrote(cli: Cli, history: Home) -> None:
    with contextlib.closing(open_store(history)) as store:
        (frame,) = store.find(Artifact, name="churn/load/frame").items
        mapped = msgspec.structs.replace(frame, format="mapped", materializer="")
        store.write([Put(mapped)])
    assert "  format       mapped\n" in cli("artifacts", "show", "frame").out


def test_a_shown_artifact_is_one_document(cli: Cli, history: Home) -> None:
    document = cli("artifacts", "show", "model", "--json").json
    assert document["produced_by"] == {"run": "churn-1", "step": "train", "output": "model"}
    assert document["used_by"] == [{"run": "churn-1", "step": "score"}]
    assert document["files"] == {"value.skops": 7}


@pytest.mark.parametrize("wanted", ["model", "model@1", "model@best", "artifact-2", "sha256:" + "a" * 64])
def test_an_artifact_is_found_by_what_it_is_called(cli: Cli, history: Home, wanted: str) -> None:
    assert cli("artifacts", "show", wanted, "--json").json["id"] == "artifact-2"


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ("modle", "error: there is no artifact `modle`\n  hint: did you mean `model`?\n"),
        ("model@9", "error: artifact `model` has no version `9`\n  hint: the newest is 1\n"),
        ("fram", "error: there is no artifact `fram`\n  hint: did you mean `frame`?\n"),
    ],
)
def test_an_unknown_artifact_names_the_nearest(cli: Cli, history: Home, wanted: str, error: str) -> None:
    assert cli("artifacts", "show", wanted) == (1, "", error)


def test_the_end_of_a_name_must_mean_one_artifact(cli: Cli, history: Home) -> None:
    with open_store(history) as store:
        store.add(Artifact(name="other/load/frame", digest="sha256:" + "d" * 64))
    assert cli("artifacts", "show", "frame").err == (
        "error: `frame` means more than one artifact\n"
        "  hint: say which: `other/load/frame`, `churn/load/frame`\n"
    )


def test_one_file_becomes_the_file_that_is_named(cli: Cli, history: Home, tmp_path: Path) -> None:
    target = tmp_path / "new" / "model.skops"
    assert cli("artifacts", "get", "model", target).code == 0
    assert target.read_bytes() == b"weights"
    target.write_text("mine to change")


def test_one_file_goes_into_a_folder_that_is_there(cli: Cli, history: Home, tmp_path: Path) -> None:
    assert cli("artifacts", "get", "model", tmp_path).code == 0
    assert (tmp_path / "value.skops").read_bytes() == b"weights"


def test_several_files_become_a_folder(cli: Cli, history: Home, tmp_path: Path) -> None:
    said = cli("artifacts", "get", "frame@1", tmp_path / "frame")
    assert said.err == f"artifact churn/load/frame@1: copied to {tmp_path}/frame (2 files, 102 bytes)\n"
    assert sorted(each.name for each in (tmp_path / "frame").iterdir()) == ["0.npy", "schema.json"]


def test_what_is_there_is_overwritten_only_when_told(cli: Cli, history: Home, tmp_path: Path) -> None:
    target = tmp_path / "model.skops"
    target.write_text("precious")
    said = cli("artifacts", "get", "model", target)
    assert (said.code, said.err) == (
        1,
        f"error: `{target}` exists already\n  hint: `--force` overwrites it\n",
    )
    assert target.read_text() == "precious"
    assert cli("artifacts", "get", "model", target, "--force").code == 0
    assert target.read_bytes() == b"weights"


def test_the_items_of_a_mapped_step_get_a_folder_each(cli: Cli, history: Home, tmp_path: Path) -> None:
    store = LocalArtifactStore(history.artifacts)
    parts = ["sha256:" + letter * 64 for letter in "ef"]
    mapped = "sha256:" + "9" * 64
    lines = []
    for number, digest in enumerate(parts):
        folder = store.path(digest)
        folder.mkdir(parents=True)
        (folder / "artifact.json").write_text(json.dumps({"version": 1, "format": "json"}))
        (folder / "value.json").write_text(str(number))
        lines.append(json.dumps({"digest": digest, "path": f"../../{folder.parent.name}/{folder.name}"}))
    folder = store.path(mapped)
    folder.mkdir(parents=True)
    (folder / "artifact.json").write_text(json.dumps({"version": 1, "format": "mapped"}))
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n")
    with open_store(history) as records:
        records.add(Artifact(name="scores", digest=mapped, length=2))
    assert cli("artifacts", "get", "scores", tmp_path).code == 0
    found = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.json")}
    assert found == {"0/value.json": "0", "1/value.json": "1"}


def test_an_artifact_whose_files_are_gone_names_the_step_to_run(
    cli: Cli, history: Home, tmp_path: Path
) -> None:
    with open_store(history) as store:
        store.add(Artifact(name="gone", digest="sha256:" + "7" * 64, step="train"))
    said = cli("artifacts", "get", "gone", tmp_path / "x")
    assert said.code == 1
    assert said.err.startswith("error: the files of artifact `gone@1` are not on this machine\n")
    assert said.err.endswith("  hint: run step `train` again\n")
