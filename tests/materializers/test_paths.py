"""A path as the file or folder it points to."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tilth.errors import OutputError


def test_a_file_comes_back_under_its_name(round_trip: Any, tmp_path: Path) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(os.urandom(3 << 20))
    back = round_trip(source)
    assert isinstance(back, Path)
    assert back.name == "model.bin"
    assert round_trip.folder in back.parents
    assert back.read_bytes() == source.read_bytes()


def test_a_folder_comes_back_with_links_inside_it_empty_folders_and_any_name(
    round_trip: Any, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a%b.txt").write_text("a")
    strange = os.fsdecode(b"not-\xff-utf8")
    (root / strange).write_text("b")
    (root / "sub" / "up").symlink_to("../a%b.txt")
    (root / "sub" / "absolute").symlink_to(root / "a%b.txt")
    (root / "folder").symlink_to("sub")
    back = round_trip(root)
    assert sorted(path.relative_to(back).as_posix() for path in back.rglob("*")) == sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*")
    )
    assert (back / "sub" / "up").readlink() == Path("../a%b.txt")
    assert (back / "sub" / "absolute").readlink() == Path("../a%b.txt")
    assert (back / strange).read_text() == "b"
    assert (back / "sub" / "empty").is_dir()
    assert round_trip.manifest["empty"] == ["content/data/sub/empty/"]
    assert "content/data/not-%FF-utf8" in round_trip.manifest["files"]


def test_a_link_to_a_file_is_followed(round_trip: Any, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("1,2")
    (tmp_path / "link.csv").symlink_to("real.csv")
    back = round_trip(tmp_path / "link.csv")
    assert back.name == "link.csv"
    assert not back.is_symlink()
    assert back.read_text() == "1,2"


def test_paths_inside_containers_are_stored_too(round_trip: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    assert round_trip({"file": tmp_path / "a"})["file"].read_text() == "text"


def test_a_missing_file_is_an_error_that_names_it(round_trip: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        round_trip(tmp_path / "nowhere")


def test_a_link_that_leads_outside_is_refused(round_trip: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "out").symlink_to("../secret")
    with pytest.raises(OutputError, match="outside"):
        round_trip(tmp_path / "root")


def test_a_socket_is_refused(round_trip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root").mkdir()
    monkeypatch.chdir(tmp_path / "root")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        with pytest.raises(OutputError, match="neither"):
            round_trip(tmp_path / "root")


def test_the_digest_is_that_of_the_content_wherever_it_was(round_trip: Any, tmp_path: Path) -> None:
    digests = set()
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a").write_text("text")
        round_trip(tmp_path / place / "a")
        digests.add(round_trip.manifest["digest"])
    assert len(digests) == 1
