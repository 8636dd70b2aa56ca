"""`tilth doctor`: what it prints, and how it ends."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ended

NAMES = [
    "uv", "python", "pythons", "git", "containers", "home", "permissions", "space", "file system", "sharing",
    "database", "uv cache", "index", "clock", "memory", "open files", "bytecode",
]  # fmt: skip


def test_a_machine_without_errors_ends_with_done_and_nothing_is_made(
    tilth: Callable[..., Ended], home: Path
) -> None:
    ended = tilth("doctor", "--offline")
    lines = [line for line in ended.stdout.splitlines() if not line.startswith(" ")]
    assert [line[9:].split("  ")[0] for line in lines] == NAMES
    assert {line.split()[0] for line in lines} <= {"ok", "warning", "skipped"}
    assert ended.stderr.startswith("found ")
    assert not home.exists()


def test_an_error_ends_with_failed_and_says_how_to_mend_it(tilth: Callable[..., Ended], home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)
    ended = tilth("doctor", "--offline", code=1)
    assert (
        f"error    permissions  everybody may write to `{home}`, and so have you run anything\n"
        in ended.stdout
    )
    assert f"                      hint: `chmod go-w {home}`\n" in ended.stdout
    assert "found 1 error" in ended.stderr


def test_findings_are_records(tilth: Callable[..., Ended], home: Path) -> None:
    home.mkdir()
    (home / "tilth.db").write_text("no database " * 100)
    ended = tilth("doctor", "--json", code=1, env={"TILTH_OFFLINE": "1"})
    found = {each["name"]: each for each in ended.json}
    assert list(found) == NAMES
    assert found["database"]["state"] == "error"
    assert set(found["database"]) == {"name", "state", "told", "mend"}
    assert found["index"] == {
        "name": "index", "state": "skipped", "told": "tilth is offline: no index is asked", "mend": "",
    }  # fmt: skip


@pytest.mark.faults
def test_with_the_network_cut_the_index_is_an_error_and_offline_it_is_none(
    tilth: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("the network cannot be cut here")
    from tests.conftest import TILTH

    (tmp_path / "uv.toml").touch()
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    cut = ["unshare", "-n", str(TILTH), "doctor"]
    done = subprocess.run(cut, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "does not answer" in next(line for line in done.stdout.splitlines() if line.startswith("error"))
    done = subprocess.run([*cut, "--offline"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
