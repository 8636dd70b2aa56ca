"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tilth.environments.files import (
    explaining_full_disk,
    locked,
    move_folder,
    remove_tree,
    scratch,
    sweep,
    write_atomic,
)
from tilth.errors import DiskFull

if TYPE_CHECKING:
    from pathlib import Path


def test_a_scratch_folder_is_gone_afterwards_and_what_was_moved_out_stays(tmp_path: Path) -> None:
    with scratch(tmp_path) as aside:
        (aside / "made").mkdir()
        (aside / "made" / "file").touch()
        (aside / "made").chmod(0o555)
        move_folder(aside / "made", tmp_path / "kept")
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


def test_the_scratch_folder_of_the_living_is_left_and_that_of_the_dead_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tilth.environments.files import scratch\n"
        "with scratch(Path(sys.argv[1])) as aside:\n    (aside / 'deep').mkdir(mode=0o555); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    with scratch(tmp_path) as alive:
        sweep(tmp_path)
        assert alive.exists()
        assert not left.exists()


def test_a_file_that_was_never_finished_is_swept_when_it_is_old(tmp_path: Path) -> None:
    new, old = tmp_path / ".tmp-new", tmp_path / ".tmp-old"
    for path in (new, old, tmp_path / "kept"):
        path.touch()
    os.utime(old, (0, 0))
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    assert {each.name for each in tmp_path.iterdir()} == {".tmp-new", "kept"}


def test_a_lock_keeps_another_process_out_until_its_holder_dies(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tilth.environments.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    waiter = subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(timeout=0.5)
    holder.kill()
    assert waiter.stdout is not None
    assert waiter.stdout.readline() == b"held\n"
    waiter.kill()
    holder.communicate()
    waiter.communicate()
    with locked(tmp_path / "lock"):
        pass


def test_a_file_is_replaced_whole_and_nothing_is_left_when_that_fails(tmp_path: Path) -> None:
    write_atomic(tmp_path / "deep" / "file", b"one")
    write_atomic(tmp_path / "deep" / "file", b"two")
    assert (tmp_path / "deep" / "file").read_bytes() == b"two"
    (tmp_path / "deep" / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "deep" / "folder", b"three")
    assert sorted(each.name for each in (tmp_path / "deep").iterdir()) == ["file", "folder"]


def test_a_read_only_tree_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").touch(mode=0o444)
    (tmp_path / "tree" / "link").symlink_to(tmp_path)
    (tmp_path / "tree" / "deep").chmod(0o555)
    (tmp_path / "tree").chmod(0o555)
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_from_other_errors(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFull, match="no space left to write a lock"),
        explaining_full_disk("a lock", tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), explaining_full_disk("a lock", tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
