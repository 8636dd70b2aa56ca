"""Each thing that can be wrong with a home folder, caused and found."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

from tilth.client.doctor import home as checks
from tilth.client.doctor.finding import ERROR, OK, SKIPPED, WARNING
from tilth.home import Home
from tilth.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Mount = Callable[..., Path]


def read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def test_a_home_that_is_there_or_can_be_made_is_fine(place: Home, tmp_path: Path) -> None:
    assert checks.writable(place).state == OK
    assert checks.writable(Home(tmp_path / "not" / "yet")).told.endswith(", which the first run makes")
    assert not (tmp_path / "not").exists()


def test_a_file_in_the_place_of_the_home_is_found(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    for home in (Home(tmp_path / "home"), Home(tmp_path / "home" / "below")):
        found = checks.writable(home)
        assert (found.state, found.told) == (ERROR, f"`{tmp_path / 'home'}` is not a folder")


@pytest.mark.faults
def test_a_read_only_home_is_found(mount: Mount) -> None:
    disk = mount("-o", "size=16m")
    (disk / "home").mkdir()
    read_only(disk)
    for home in (Home(disk / "home"), Home(disk / "none" / "yet")):
        found = checks.writable(home)
        assert found.state == ERROR
        assert found.told == f"`{home.root}` cannot be written to: read-only file system"
        assert "TILTH_HOME" in found.mend


@pytest.mark.faults
def test_a_read_only_folder_within_the_home_is_found(mount: Mount, place: Home) -> None:
    read_only(mount("-o", "size=1m", at=place.wheels))
    found = checks.writable(place)
    assert (found.state, found.told) == (
        ERROR,
        f"`{place.wheels}` cannot be written to: read-only file system",
    )


@pytest.mark.faults
@pytest.mark.parametrize(
    ("options", "state", "told"),
    [
        ("size=16m", ERROR, "17 MB left on the disk"),
        ("size=500m", WARNING, "524 MB left on the disk"),
        ("size=3g,nr_inodes=100", ERROR, "room for 99 files left on the disk"),
        ("size=3g,nr_inodes=10k", WARNING, "room for 10239 files left on the disk"),
        ("size=3g,nr_inodes=100k", OK, "3.2 GB free on the disk"),
    ],
)
def test_a_disk_with_little_room_is_found(mount: Mount, options: str, state: str, told: str) -> None:
    found = checks.space(Home(mount("-o", options) / "home"))
    assert found.state == state, found
    assert found.told.startswith(told)


@pytest.mark.faults
def test_a_full_disk_is_found(mount: Mount) -> None:
    disk = mount("-o", "size=1m")
    with contextlib.suppress(OSError), open(disk / "filler", "wb") as file:
        file.write(b"x" * (2 << 20))
    assert checks.space(Home(disk / "home")).state == ERROR
    found = checks.writable(Home(disk / "home"))
    assert (found.state, found.told.rpartition(": ")[2]) == (ERROR, "no space is left")


@pytest.mark.parametrize(("mode", "state"), [(0o755, OK), (0o700, OK), (0o775, WARNING), (0o777, ERROR)])
@pytest.mark.parametrize("below", ["", "environments"])
def test_folders_that_others_may_write_to_are_found(place: Home, mode: int, state: str, below: str) -> None:
    (place.root / below).chmod(mode)
    found = checks.permissions(place)
    assert found.state == state
    if state != OK:
        subprocess.run(found.mend.strip("`").split(), check=True)
        assert checks.permissions(place).state == OK


def test_permissions_of_a_home_that_is_not_there_are_not_judged(home: Path) -> None:
    assert checks.permissions(Home(home)).state == SKIPPED


def test_environments_that_share_files_are_fine(place: Home) -> None:
    assert checks.sharing(place).state == OK
    assert list(place.wheels.iterdir()) == list(place.environments.iterdir()) == []


@pytest.mark.faults
def test_wheels_on_another_disk_than_environments_are_found(mount: Mount, place: Home) -> None:
    mount("-o", "size=1m", at=place.wheels)
    found = checks.sharing(place)
    assert found.state == WARNING
    assert "on different file systems" in found.told


@pytest.mark.faults
def test_a_disk_that_cannot_link_is_found_by_trying(mount: Mount, place: Home, tmp_path: Path) -> None:
    # One file system under two mounts: its device is the same, and linking across is refused.
    disk = mount("-o", "size=1m")
    for name in ("a", "b"):
        (disk / name).mkdir()
    mount("--bind", str(disk / "a"), at=place.wheels)
    mount("--bind", str(disk / "b"), at=place.environments)
    found = checks.sharing(place)
    assert found.state == WARNING
    assert "neither be hard-linked nor cloned" in found.told


MOUNTS = "/dev/sda / ext4 rw 0 0\nserver:/export {home} nfs4 rw 0 0\n"


def test_a_local_disk_is_fine(place: Home) -> None:
    assert checks.network_file_system(place).state == OK


# No file server can be had in a test: what the system says of its mounts is given instead.
def test_a_network_file_system_is_found(place: Home, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.format(home=place.root))
    found = checks.network_file_system(place, mounts=mounts)
    assert (found.state, "is on nfs4" in found.told) == (WARNING, True)
    with contextlib.closing(open_store(place)):  # made as on a local disk, with a write-ahead log
        pass
    found = checks.network_file_system(place, mounts=mounts)
    assert found.state == ERROR
    assert "write-ahead log" in found.told


def test_without_a_list_of_mounts_nothing_is_said_of_the_file_system(place: Home, tmp_path: Path) -> None:
    assert checks.network_file_system(place, mounts=tmp_path / "none").state == SKIPPED


def test_a_whole_database_is_fine_and_none_is_too(place: Home) -> None:
    assert checks.database(place).state == SKIPPED
    with contextlib.closing(open_store(place)):
        assert checks.database(place).state == OK  # also while it is open
    assert checks.database(place).state == OK


@pytest.mark.parametrize("damage", ["header", "middle", "cut", "not one"])
def test_a_damaged_database_is_found(place: Home, damage: str) -> None:
    with contextlib.closing(open_store(place)):
        pass
    content = place.database.read_bytes()
    if damage == "header":
        content = b"\0" * 100 + content[100:]
    elif damage == "middle":
        content = content[:4096] + os.urandom(4096 * 3) + content[4096 * 4 :]
    elif damage == "cut":
        content = content[: len(content) // 2]
    else:
        content = b"something else\n" * 100
    place.database.write_bytes(content)
    found = checks.database(place)
    assert found.state == ERROR
    assert f"move `{place.database}`" in found.mend
    assert place.database.read_bytes() == content


def test_a_database_of_a_newer_tilth_is_found(place: Home) -> None:
    with contextlib.closing(sqlite3.connect(place.database)) as connection:
        connection.execute("PRAGMA user_version = 9999")
        connection.commit()
    found = checks.database(place)
    assert (found.state, "newer tilth" in found.told) == (ERROR, True)


@pytest.mark.faults
def test_a_database_on_a_read_only_disk_is_looked_at_all_the_same(mount: Mount) -> None:
    disk = mount("-o", "size=16m")
    home = Home(disk / "home")
    with contextlib.closing(open_store(home)):
        pass
    read_only(disk)
    assert checks.database(home).state == OK


def test_a_cache_of_uv_that_can_be_written_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    assert checks.uv_cache().state == OK
    (tmp_path / "cache").touch()
    found = checks.uv_cache()
    assert (found.state, found.told.rpartition(": ")[2]) == (ERROR, "it is not a folder")


@pytest.mark.faults
def test_a_cache_of_uv_that_is_read_only_or_full_is_found(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mount("-o", "size=1m")
    monkeypatch.setenv("UV_CACHE_DIR", str(disk / "cache"))
    found = checks.uv_cache()
    assert (found.state, "left on the disk" in found.told) == (ERROR, True)
    read_only(disk)
    found = checks.uv_cache()
    assert (found.state, found.told.rpartition(": ")[2]) == (ERROR, "read-only file system")
