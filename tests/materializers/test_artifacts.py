"""The folder of an artifact: how its format is chosen, what its manifest says, what is wrong with it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilth.errors import DiskFull, LoadError, OutputError
from tilth.materializers import CSV, HTML, Format, Markdown, Materializer
from tilth.materializers.artifacts import load_artifact, read_manifest, save_artifact, verify


class Graph:
    def __init__(self, edges: list[int]) -> None:
        self.edges = edges

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and other.edges == self.edges

    def __hash__(self) -> int:
        return hash(tuple(self.edges))

    def __len__(self) -> int:
        return len(self.edges)


class Tree(Graph):
    pass


class GraphMaterializer(Materializer):
    types = (Graph,)

    def save(self, value: Graph, folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "graph.json").write_text(json.dumps([type(value).__name__, value.edges]))

    def load(self, folder: Path) -> Graph:
        name, edges = json.loads((folder / "sub" / "graph.json").read_text())
        return {"Graph": Graph, "Tree": Tree}[name](edges)

    def metadata(self, value: Graph) -> dict[str, Any]:
        return {"edges": len(value.edges)}

    def visualize(self, value: Graph, folder: Path) -> None:
        (folder / "graph.html").write_text("<p>graph</p>")


class SizedMaterializer(GraphMaterializer):
    types = (Sized,)


class Careless(GraphMaterializer):
    def metadata(self, value: Graph) -> dict[str, Any]:
        raise ZeroDivisionError

    def visualize(self, value: Graph, folder: Path) -> None:
        raise ZeroDivisionError


class Failing(GraphMaterializer):
    def save(self, value: Graph, folder: Path) -> None:
        raise KeyError("edges")


class TwoFormats(GraphMaterializer):
    formats = (Format("fast", ("numpy", "not_installed_anywhere")), Format("slow", ("numpy|polars",)))


class Unpicklable:
    def __init__(self) -> None:
        self.settings = {"locks": [1, threading.Lock()]}


def test_a_custom_materializer_is_used_for_its_type_and_its_subclasses(
    round_trip: Any, tmp_path: Path
) -> None:
    for value in (Graph([1, 2]), Tree([3])):
        shown = tmp_path / type(value).__name__
        back = round_trip(value, materializers=[GraphMaterializer], visualizations=shown)
        assert back == value
        assert type(back) is type(value)
        assert round_trip.manifest["materializer"] == f"{__name__}:GraphMaterializer"
        assert round_trip.manifest["metadata"] == {"edges": len(value)}
        assert (shown / "graph.html").exists()


def test_the_exact_class_comes_before_its_bases_and_those_before_protocols(round_trip: Any) -> None:
    round_trip(Graph([1]), materializers=[SizedMaterializer, GraphMaterializer])
    assert round_trip.manifest["materializer"].endswith(":GraphMaterializer")
    round_trip(Graph([1]), materializers=[SizedMaterializer])
    assert round_trip.manifest["materializer"].endswith(":SizedMaterializer")


def test_a_custom_materializer_is_used_inside_containers_and_collections(round_trip: Any) -> None:
    value = {"graph": Graph([1]), "array": np.ones(2)}
    assert round_trip(value, materializers=[GraphMaterializer])["graph"] == Graph([1])
    assert not round_trip.manifest["pickled"]
    assert round_trip([Graph([1])], materializers=[GraphMaterializer], collection=True) == [Graph([1])]


def test_a_custom_materializer_that_fails_is_named(round_trip: Any) -> None:
    with pytest.raises(OutputError, match=r"Failing.*\n.*KeyError: 'edges'") as caught:
        round_trip(Graph([]), materializers=[Failing])
    assert isinstance(caught.value.__cause__, KeyError)


def test_metadata_that_fails_does_not_cost_the_output(
    round_trip: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert round_trip(Graph([1]), materializers=[Careless], visualizations=tmp_path) == Graph([1])
    assert caplog.text.count("ZeroDivisionError") == 2


def test_the_first_format_that_can_be_written_here_and_read_everywhere_is_chosen(round_trip: Any) -> None:
    round_trip(Graph([1]), materializers=[TwoFormats], readers=[frozenset({"polars"}), frozenset({"numpy"})])
    assert round_trip.manifest["format"] == "slow"


def test_no_format_that_every_reader_has_is_an_error_that_says_what_is_missing(round_trip: Any) -> None:
    with pytest.raises(OutputError) as caught:
        round_trip(np.ones(2), readers=[frozenset({"numpy"}), frozenset({"pandas"})])
    assert "numpy:ndarray" in str(caught.value)
    assert "`npy` needs `numpy`" in str(caught.value)


@pytest.mark.parametrize(("kind", "suffix"), [(HTML, "html"), (Markdown, "md"), (CSV, "csv")])
def test_marked_strings_come_back_as_such_and_are_shown(
    round_trip: Any, tmp_path: Path, kind: type[str], suffix: str
) -> None:
    value = kind("a,é\r\n<b>")
    back = round_trip(value, visualizations=tmp_path)
    assert back == value
    assert type(back) is kind
    assert (tmp_path / f"value.{suffix}").read_bytes() == value.encode()
    assert list(round_trip.manifest["files"]) == [f"value.{suffix}"]


def test_the_digest_depends_on_content_alone(round_trip: Any) -> None:
    digests = set()
    for _ in range(2):
        round_trip({"a": np.ones(3)})
        digests.add(round_trip.manifest["digest"])
    assert len(digests) == 1
    round_trip({"a": np.zeros(3)})
    assert round_trip.manifest["digest"] not in digests
    round_trip(1)
    one = round_trip.manifest["digest"]
    round_trip(True)
    assert round_trip.manifest["digest"] != one


def test_the_manifest_says_what_was_written_and_with_what(round_trip: Any) -> None:
    round_trip(np.ones(2))
    manifest = read_manifest(round_trip.folder)
    assert manifest == round_trip.manifest
    assert manifest["requires"] == {"numpy": np.__version__}
    assert manifest["size"] == sum(path.stat().st_size for path in round_trip.folder.glob("*.npy"))
    assert manifest["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert manifest["pickled"] is False


@pytest.mark.parametrize("content", [None, b"", b'{"version": 1, "dig', b"[]", b"{}", b"\xff"])
def test_a_torn_manifest_is_a_load_error(round_trip: Any, content: bytes | None) -> None:
    round_trip([1])
    path = round_trip.folder / "artifact.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(LoadError, match="incomplete"):
        load_artifact(round_trip.folder)
    assert verify(round_trip.folder)


def test_a_manifest_of_a_newer_tilth_is_refused(round_trip: Any) -> None:
    round_trip([1])
    path = round_trip.folder / "artifact.json"
    path.write_text(json.dumps({**round_trip.manifest, "version": 2}))
    with pytest.raises(LoadError, match="newer version of tilth"):
        load_artifact(round_trip.folder)


def test_a_changed_file_or_manifest_is_found(round_trip: Any) -> None:
    round_trip(np.ones(2))
    path = round_trip.folder / "value.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert verify(round_trip.folder) == ["`value.npy` has other content than was written"]
    round_trip(np.ones(2))
    path = round_trip.folder / "artifact.json"
    path.write_text(json.dumps({**round_trip.manifest, "type": "builtins:list"}))
    assert verify(round_trip.folder) == ["`artifact.json` does not belong to these files"]


def test_a_missing_library_is_named_when_loading(round_trip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    round_trip(np.ones(2))
    path = round_trip.folder / "artifact.json"
    manifest = {**round_trip.manifest, "materializer": "not_installed_anywhere:Thing"}
    path.write_text(json.dumps({**manifest, "requires": {"not_installed_anywhere": "1"}}))
    with pytest.raises(LoadError, match="add `not_installed_anywhere` to the environment"):
        load_artifact(round_trip.folder)


def test_an_unpicklable_value_is_an_error_that_leads_to_the_culprit(round_trip: Any) -> None:
    with pytest.raises(OutputError) as caught:
        round_trip([Unpicklable()])
    assert "`value[0].settings['locks'][1]` is of type `_thread:lock`" in str(caught.value)


def test_pickles_are_refused_in_one_sentence_unless_asked_for(round_trip: Any) -> None:
    round_trip(Graph([1]))
    assert round_trip.manifest["pickled"]
    with pytest.raises(LoadError, match="tilth artifacts get"):
        load_artifact(round_trip.folder, pickles=False)
    round_trip({"a": np.ones(2)})
    load_artifact(round_trip.folder, pickles=False)


def test_classes_of_a_script_are_pickled_by_their_canonical_name(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys, pathlib\n"
        "from tilth.ir import values\n"
        "from tilth.materializers.artifacts import save_artifact\n"
        "class Thing:\n    pass\n"
        "if __name__ == '__main__':\n"
        "    values.canonical_module = lambda name: 'train' if name == '__main__' else name\n"
        "    folder = pathlib.Path(sys.argv[1]); folder.mkdir()\n"
        "    assert save_artifact(Thing(), folder)['type'] == 'train:Thing'\n"
    )
    (tmp_path / "read.py").write_text(
        "import sys, pathlib, train\n"
        "from tilth.materializers.artifacts import load_artifact\n"
        "assert type(load_artifact(pathlib.Path(sys.argv[1]))) is train.Thing\n"
    )
    for script in ("train.py", "read.py"):
        subprocess.run([sys.executable, str(tmp_path / script), str(tmp_path / "artifact")], check=True)


def test_a_full_disk_is_reported_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")

    class Filling(GraphMaterializer):
        def save(self, value: Graph, folder: Path) -> None:
            with open("/dev/full", "wb", buffering=0) as file:
                file.write(b"a")

    with pytest.raises(DiskFull) as caught:
        save_artifact(Graph([1]), tmp_path, materializers=[Filling])
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_the_manifest_appears_last_and_whole(tmp_path: Path) -> None:
    class Looking(GraphMaterializer):
        def save(self, value: Graph, folder: Path) -> None:
            assert os.listdir(folder) == []
            super().save(value, folder)

    save_artifact(Graph([1]), tmp_path, materializers=[Looking])
    assert sorted(os.listdir(tmp_path)) == ["artifact.json", "sub"]


def test_importing_it_loads_no_third_party_module_and_nothing_slow() -> None:
    code = (
        "import sys, json, hashlib; before = set(sys.modules); import tilth.materializers.artifacts; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "numpy",
        "pandas",
        "cloudpickle",
        "inspect",
        "dataclasses",
        "importlib.metadata",
        "tempfile",
    }
