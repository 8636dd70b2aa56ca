"""The project a pipeline belongs to: its folders, its interpreter, its options, and its code as it is now."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.runtime.sources import source_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tilth.ir.pipeline import Pipeline
    from tilth.records import CodeDelivery

_NOT_OURS = frozenset({"__pycache__", "node_modules", "site-packages"})
_ALL_FILES_S = 1.0  # between two looks at all files of the project


class WorkingTree:
    """The project's code where it lies, and whether it is still what was compiled.

    Args:
        roots: Folders that project modules are imported from.
        cwd: Where the run was started; steps start there.
        bundle: Digest of the code bundle.
    """

    def __init__(self, pipeline: Pipeline, *, roots: Sequence[str], cwd: str, bundle: str) -> None:
        self.roots = tuple(roots)
        self.cwd = cwd
        self.bundle = bundle
        self._pipeline = pipeline
        # What modules with dynamic imports may import.
        self._all = _python_files(self.roots) if pipeline.dynamic else {}
        self._looked_at = time.monotonic()
        self._stamps: dict[str, tuple[int, int, int]] = {}

    def changed(self, modules: Iterable[str]) -> list[str]:
        """Files of these modules that are not any more what was compiled."""
        modules = list(modules)
        changed = [self._pipeline.files[each] for each in modules if self._is_changed(each)]
        if not changed and any(each in self._pipeline.dynamic for each in modules):
            return self._changed_files()
        return changed

    def _changed_files(self) -> list[str]:
        if time.monotonic() - self._looked_at < _ALL_FILES_S:
            return []
        now = _python_files(self.roots)
        self._looked_at = time.monotonic()
        return sorted(path for path in now.keys() | self._all.keys() if now.get(path) != self._all.get(path))

    def _is_changed(self, module: str) -> bool:
        path = self._path(module)
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._stamps.get(module) == stamp:
                return False
            if source_digest(path) != self._pipeline.sources[module]:
                return True
        except (OSError, SyntaxError, UnicodeDecodeError):
            return True
        self._stamps[module] = stamp
        return False

    def _path(self, module: str) -> Path:
        relative = self._pipeline.files[module]
        candidates = [Path(root, relative) for root in self.roots]
        return next((each for each in candidates if each.exists()), candidates[0])


@dataclass
class ImageCode:
    """The project's code in the images that steps run in: what was compiled, whatever the working tree becomes."""

    roots: tuple[str, ...]
    cwd: str
    bundle: str

    def changed(self, modules: Iterable[str]) -> list[str]:
        """Nothing."""
        del modules
        return []


def code_in_image(delivery: CodeDelivery, *, root: Path, roots: Sequence[str], cwd: str) -> ImageCode:
    """Where a project's folders are in an image that has its code."""

    def moved(path: str) -> str:
        inside = Path(path)
        return (
            str(Path(delivery.folder) / inside.relative_to(root))
            if inside.is_relative_to(root)
            else delivery.folder
        )

    return ImageCode(tuple(moved(each) for each in roots), moved(cwd), delivery.bundle)


def _python_files(roots: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The project's Python files, with time and size of each."""
    found: dict[str, tuple[int, int]] = {}
    for root in roots:
        for folder, folders, files in os.walk(root):
            if "pyvenv.cfg" in files:
                folders.clear()
                continue
            folders[:] = [name for name in folders if name[0] != "." and name not in _NOT_OURS]
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(folder, name)  # noqa: PTH118 - there may be thousands
                    with contextlib.suppress(OSError):
                        status = os.stat(path)  # noqa: PTH116
                        found[path] = (status.st_mtime_ns, status.st_size)
    return found
