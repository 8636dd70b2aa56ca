"""Packages with flavors, as far as metadata tells: a folder on the path with what an installer leaves there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tilth.stack import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """`installed("tilth-ftp", {"artifact_store.ftp": "tilth_ftp:Ftp"}, code="…")`: as if it were installed."""
    folders = []

    def install(
        name: str, entries: dict[str, str], *, code: str = "", extras: dict[str, list[str]] | None = None
    ) -> Path:
        folder = tmp_path / f"site-{name}"
        info = folder / f"{name.replace('-', '_')}-2.0.dist-info"
        info.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 2.0"]
        for extra, requirements in (extras or {}).items():
            lines.append(f"Provides-Extra: {extra}")
            for each in requirements:
                joined = "and" if ";" in each else ";"
                lines.append(f"Requires-Dist: {each} {joined} extra == '{extra}'")
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(
            "[tilth.flavors]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        )
        (folder / f"{name.replace('-', '_')}.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))
        folders.append(name.replace("-", "_"))
        catalogue.offers.cache_clear()
        return folder

    yield install
    catalogue.offers.cache_clear()
    for module in folders:
        sys.modules.pop(module, None)
