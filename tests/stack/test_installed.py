"""What is installed here, as a requirement elsewhere."""

from __future__ import annotations

import json
from importlib.metadata import Distribution
from typing import TYPE_CHECKING

import pytest

from tilth.errors import SetupError
from tilth.records import Component
from tilth.stack.assembled import AssembledStack, stack_requirements
from tilth.stack.installed import installed_requirement

if TYPE_CHECKING:
    from pathlib import Path

FTP = """
import msgspec
from tilth.stack.flavors import Flavor

class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = ""

class Ftp(Flavor[Settings]):
    type = "artifact_store"
    name = "ftp"
    settings = Settings
"""


class Installed(Distribution):
    """An installation of tilth from somewhere."""

    def __init__(self, origin: dict[str, object] | None) -> None:
        self._origin = origin

    def read_text(self, filename: str) -> str | None:
        if filename == "direct_url.json":
            return json.dumps(self._origin) if self._origin else None
        return "Metadata-Version: 2.1\nName: tilth\nVersion: 1.2.3\n"

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


def test_a_package_comes_from_where_it_was_installed_from(tmp_path: Path) -> None:
    assert installed_requirement("tilth", installed=Installed(None)) == "tilth==1.2.3"
    folder = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    assert installed_requirement("tilth", installed=Installed(folder)) == f"tilth @ {tmp_path.as_uri()}"
    commit = {"url": "https://host/tilth.git", "vcs_info": {"vcs": "git", "commit_id": "ab" * 20}}
    assert (
        installed_requirement("tilth", installed=Installed(commit))
        == f"tilth @ git+https://host/tilth.git@{'ab' * 20}"
    )
    assert installed_requirement("tilth", extra="s3", installed=Installed(folder)).startswith(
        "tilth[s3] @ file://"
    )
    with pytest.raises(SetupError, match="is gone"):
        installed_requirement(
            "tilth", installed=Installed({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
        )


def test_a_package_that_was_installed_from_a_folder_is_taken_from_there(installed, tmp_path) -> None:
    """No index has it."""
    folder = installed("tilth-ftp", {"artifact_store.ftp": "tilth_ftp:Ftp"}, code=FTP)
    origin = {"url": tmp_path.as_uri(), "dir_info": {}}
    (folder / "tilth_ftp-2.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    store = Component(project="p", type="artifact_store", name="files", flavor="ftp")
    stack = AssembledStack("s", {"artifact_store": store})
    assert stack_requirements(stack) == [f"tilth-ftp @ {tmp_path.as_uri()}"]
