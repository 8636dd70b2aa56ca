"""Save and load through a folder, as the runtime does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tilth.materializers.artifacts import load_artifact, save_artifact, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class RoundTripper:
    """Saves a value into a new folder, checks the folder, and loads it again."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0
        self.manifest: dict[str, Any] = {}
        self.folder = root

    def new_folder(self) -> Path:
        self._count += 1
        folder = self._root / str(self._count)
        folder.mkdir()
        return folder

    def __call__(self, value: Any, **options: Any) -> Any:
        self.folder = self.new_folder()
        self.manifest = save_artifact(value, self.folder, **options)
        assert verify(self.folder) == []
        return load_artifact(self.folder)


@pytest.fixture(scope="session")
def round_trip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    return RoundTripper(tmp_path_factory.mktemp("artifacts"))
