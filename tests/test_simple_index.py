"""The index that tests serve is read by uv, in both of its forms."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.index import build_sdist, build_wheel
from tests.simple_index import SimpleIndex
from uv import find_uv_bin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["json", "html"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimpleIndex]:
    build_wheel(tmp_path / "files", "alpha", "1.0", requires=["beta"])
    build_wheel(tmp_path / "files", "alpha", "2.0", requires=["beta"])
    build_sdist(tmp_path / "files", "beta", "1.0")
    with SimpleIndex(tmp_path / "files", html=request.param == "html") as served:
        yield served


def resolve(requirement: str, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_uv_bin(), "pip", "compile", "-", "--no-header", "--no-annotate", "--no-cache",
         "--default-index", url, *options],
        input=requirement,
        env={**os.environ, "UV_NO_CONFIG": "1", "UV_HTTP_RETRIES": "0"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_versions_and_their_requirements_are_read(index: SimpleIndex) -> None:
    assert resolve("alpha", index.url).stdout == "alpha==2.0\nbeta==1.0\n"
    assert "--hash=sha256:" in resolve("alpha", index.url, "--generate-hashes").stdout
    assert ("GET", "/files/alpha-2.0-py3-none-any.whl.metadata") in index.requests


def test_a_yanked_file_is_passed_over(index: SimpleIndex) -> None:
    index.yank("alpha-2.0-py3-none-any.whl", "it <deletes> files")
    assert resolve("alpha", index.url).stdout == "alpha==1.0\nbeta==1.0\n"
    assert "it <deletes> files" in resolve("alpha==2.0", index.url).stderr


def test_it_may_ask_for_a_login_and_it_may_fail(index: SimpleIndex) -> None:
    index.login = ("me", "pass word@")
    assert "401" in resolve("alpha", index.url).stderr
    assert resolve("alpha", index.url_with_login).returncode == 0
    index.failures["/simple/alpha"] = 503
    assert "503" in resolve("alpha", index.url_with_login).stderr


def test_upload_times_are_told_where_the_form_has_them(index: SimpleIndex) -> None:
    for path in index.folder.iterdir():
        index.uploaded[path.name] = "2024-01-01T00:00:00Z"
    index.uploaded["alpha-2.0-py3-none-any.whl"] = "2025-01-01T00:00:00Z"
    found = resolve("alpha", index.url, "--exclude-newer", "2024-06-01")
    assert found.stdout == ("" if index.html else "alpha==1.0\nbeta==1.0\n")
